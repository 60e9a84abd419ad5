"""Registration with a passkey and without a password."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.account_mails import AccountPolicy, LinkMailer
from rebalancer.application.accounts import find_by_email
from rebalancer.application.audit import record
from rebalancer.application.factors import (
    CHALLENGE_LIFETIME,
    TakeChallenge,
    add_recovery_codes,
)
from rebalancer.application.one_time import create_one_time
from rebalancer.application.passkeys import add_first_passkey, document_of_passkey, passkey_of
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.factors import FactorCodes, PasskeyCeremonies
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.registration import NewUsers, document_of, user_of
from rebalancer.application.sessions import Login, issue_login
from rebalancer.domain.accounts.factors import PASSKEY, Passkey, check_passkey_name
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.audit.events import Action
from rebalancer.domain.portfolio.owner import EmailTaken, User, normalize_email
from rebalancer.domain.text import check_line

_REGISTRATION = "passkey_registration"
"""Purpose of the one-time token that is the challenge of a new account's passkey."""


@attrs.frozen
class StartPasskeyRegistration:
    """Begin to register a user with a passkey."""

    work: UnitOfWork
    tokens: Tokens
    ceremonies: PasskeyCeremonies
    new_users: NewUsers

    def __call__(
        self, *, email: str, name: str, terms: str | None = None, id: UUID, now: datetime
    ) -> Mapping[str, Any]:
        """Return the options with which a client creates the passkey.

        They are the same for addresses that are registered already.

        Raises:
            InvalidRequest: the address or the name is invalid, or the terms are not accepted.
            NotFound: passkeys are not set up on this service.
        """
        check_line(name, field="name")
        self.new_users.check_terms(terms)
        address, shown = normalize_email(email), unicodedata.normalize("NFC", name).strip()
        user = User(id=id, email=address, name=shown, password=None, created=now, terms=terms)
        document = document_of(user)
        with self.work.begin() as tx:
            challenge = create_one_time(
                tx, self.tokens, _REGISTRATION, None, CHALLENGE_LIFETIME, document, now
            )
            return self.ceremonies.creation_options(
                challenge, user=id, email=address, name=shown, exclude=()
            )


@attrs.frozen
class RegisterWithPasskey:
    """Register a user with a passkey."""

    work: UnitOfWork
    tokens: Tokens
    codes: FactorCodes
    ceremonies: PasskeyCeremonies
    take_challenge: TakeChallenge
    mailer: LinkMailer
    policy: AccountPolicy

    def __call__(
        self,
        credential: Mapping[str, Any],
        *,
        passkey_name: str,
        passkey_id: UUID,
        session_id: UUID,
        now: datetime,
    ) -> tuple[Login, tuple[str, ...]] | None:
        """Return tokens of a first session, and recovery codes; None if a link was mailed.

        Where addresses must be confirmed, the link creates the account. An address that has an
        account gets another mail, and in every other way the request is the same.

        Raises:
            InvalidRequest: the name is invalid, or the credential cannot be verified.
            NotAuthenticated: the challenge is invalid.
            EmailTaken: a user with this address is registered already.
            Conflict: the passkey is registered already.
        """
        passkey_name = check_passkey_name(passkey_name)
        answer = self.take_challenge(credential, _REGISTRATION, now=now)
        new = self.ceremonies.register(credential, answer.claimed.challenge)
        user = attrs.evolve(user_of(answer.token.document, now), verified=None)
        passkey = passkey_of(new, id=passkey_id, owner=user.id, name=passkey_name, now=now)
        if self.policy.verifies_email:
            self._mail(user, passkey, now)
            return None
        with self.work.begin() as tx:
            if find_by_email(tx, user.email) is not None:
                raise EmailTaken(f"{user.email} is already registered; log in")
            tx.users.add(user)
            record(tx, Action.REGISTER, at=now, subject=user.id)
            add_first_passkey(tx, passkey, now)
            codes = add_recovery_codes(tx, self.tokens, self.codes, user.id, now)
            login = issue_login(
                tx, self.tokens, user, session_id=session_id, method=PASSKEY, now=now
            )
        return login, codes

    def _mail(self, user: User, passkey: Passkey, now: datetime) -> None:
        """Mail the link that creates the account."""
        document = document_of(user) | {"passkey": document_of_passkey(passkey)}
        with self.work.begin() as tx:
            is_taken = find_by_email(tx, user.email) is not None
            kind = MailKind.ALREADY_REGISTERED if is_taken else MailKind.CONFIRM_REGISTRATION
            self.mailer.send(tx, kind, user.email, document=document, now=now)
