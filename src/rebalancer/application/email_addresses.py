"""E-mail addresses of accounts: change, and confirmation by a mailed link."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.account_mails import AccountPolicy, LinkMailer, invalid_link
from rebalancer.application.account_notices import notify
from rebalancer.application.accounts import find_by_email, load_account
from rebalancer.application.audit import record
from rebalancer.application.passkeys import add_first_passkey, passkey_from
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.registration import user_of
from rebalancer.application.sessions import require_recent
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.one_time import OneTimeToken
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.audit.events import Action
from rebalancer.domain.portfolio.owner import EmailTaken, User, normalize_email


@attrs.frozen
class ChangeEmail:
    """Change the e-mail address of a user, at once or by a link to the new address."""

    work: UnitOfWork
    mailer: LinkMailer
    policy: AccountPolicy

    def __call__(self, bearer: Bearer, email: str, *, now: datetime) -> User | None:
        """Return the user with the new address; None if a link was mailed to it.

        A link is mailed also to an address that has an account, which it does not change.

        Raises:
            InvalidRequest: the address is invalid.
            ReauthenticationRequired: the last proof of identity is too old.
            EmailTaken: another account has this address, and no link is mailed.
        """
        address = normalize_email(email)
        with self.work.begin() as tx:
            user = load_account(tx, bearer.owner)
            require_recent(tx, bearer, now)
            other = find_by_email(tx, email)
            is_taken = other is not None and other.id != user.id
            if self.policy.verifies_email:
                kind = MailKind.ALREADY_REGISTERED if is_taken else MailKind.CONFIRM_ADDRESS
                document = {"email": address}
                self.mailer.send(tx, kind, address, owner=user.id, document=document, now=now)
                return None
            if is_taken:
                raise EmailTaken(f"{address} is already registered; choose another address")
            if address == user.email:
                return user
            return _replace_address(tx, user, address, verified=None, now=now)


@attrs.frozen
class ConfirmEmail:
    """Confirm an address by the secret of a mailed link: of a new account, or of a change."""

    work: UnitOfWork
    mailer: LinkMailer

    def __call__(self, secret: str, *, now: datetime) -> User:
        """Return the user with the confirmed address.

        Raises:
            InvalidRequest: the link is invalid.
            EmailTaken: another account has the address meanwhile.
        """
        with self.work.begin() as tx:
            token = self.mailer.take(tx, MailKind.CONFIRM_REGISTRATION, secret, now)
            if token is not None:
                return _create_account(tx, token, now)
            token = self.mailer.take(tx, MailKind.CONFIRM_ADDRESS, secret, now)
            if token is None or token.owner is None:
                raise invalid_link()
            return _confirm_address(tx, token.owner, token.document["email"], now)


def _create_account(tx: Transaction, token: OneTimeToken, now: datetime) -> User:
    user = user_of(token.document, now)
    if find_by_email(tx, user.email) is not None:
        raise EmailTaken(f"{user.email} is already registered; log in")
    tx.users.add(user)
    record(tx, Action.REGISTER, at=now, subject=user.id)
    record(tx, Action.EMAIL_VERIFIED, at=now, subject=user.id)
    if "passkey" in token.document:
        add_first_passkey(tx, passkey_from(token.document["passkey"], user.id, now), now)
    return user


def _confirm_address(tx: Transaction, owner: UUID, address: str, now: datetime) -> User:
    user = load_account(tx, owner)
    record(tx, Action.EMAIL_VERIFIED, at=now, subject=owner)
    tx.one_time.delete(owner, MailKind.CONFIRM_ADDRESS)
    if address != user.email:
        return _replace_address(tx, user, address, verified=now, now=now)
    user = attrs.evolve(user, verified=now)
    tx.users.save(user)
    return user


def _replace_address(
    tx: Transaction, user: User, address: str, *, verified: datetime | None, now: datetime
) -> User:
    """Replace the address; links that were mailed to the old one are invalid afterwards."""
    other = find_by_email(tx, address)
    if other is not None and other.id != user.id:
        raise EmailTaken(f"{address} is already registered; choose another address")
    changed = attrs.evolve(user, email=address, verified=verified)
    tx.users.save(changed)
    tx.one_time.delete(user.id, MailKind.RESET_PASSWORD)
    tx.one_time.delete(user.id, MailKind.CONFIRM_ADDRESS)
    record(tx, Action.EMAIL_CHANGED, at=now, subject=user.id)
    notify(tx, user, MailKind.EMAIL_CHANGED, now=now)
    return changed
