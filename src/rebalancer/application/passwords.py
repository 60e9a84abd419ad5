"""Passwords of accounts: their rules, change, and reset by a mailed link."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.account_mails import AccountPolicy, LinkMailer, invalid_link
from rebalancer.application.account_notices import notify
from rebalancer.application.accounts import find_by_email, load_account, password_matches
from rebalancer.application.audit import record, record_refusal
from rebalancer.application.factors import second_factors
from rebalancer.application.guessing import CountAttempt, forgive_failures
from rebalancer.application.ports.accounts import Passwords, PasswordStrength, Revocations, Tokens
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.sessions import end_sessions, require_recent
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.passwords import (
    check_guesses,
    check_length,
    context_words,
    is_short,
    prepare_password,
)
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.portfolio.owner import User, normalize_email
from rebalancer.domain.text import check_visible


@attrs.frozen
class PasswordRules:
    """Rules that a new password must follow; passwords that were set before stay valid."""

    strength: PasswordStrength

    def check(
        self,
        password: str,
        *,
        email: str,
        name: str,
        has_second_factor: bool = False,
        field: str = "password",
    ) -> str:
        """Return a password as it is hashed.

        Raises:
            InvalidRequest: it is too short, too long, or easy to guess, or has invisible
                characters.
        """
        check_visible(password, field=field)
        prepared = prepare_password(password)
        check_length(prepared, has_second_factor=has_second_factor, field=field)
        words = context_words(email, name)
        guesses = self.strength.guesses(prepared, words)
        check_guesses(prepared, words, guesses, has_second_factor=has_second_factor, field=field)
        return prepared


@attrs.frozen
class ChangePassword:
    """Replace the password of a user who is signed in."""

    work: UnitOfWork
    passwords: Passwords
    rules: PasswordRules
    tokens: Tokens
    revocations: Revocations
    count_attempt: CountAttempt

    def __call__(self, bearer: Bearer, *, current: str, new: str, now: datetime) -> None:
        """Set the new password and end all other sessions.

        Raises:
            TooManyAttempts: too many passwords were wrong; wait.
            InvalidRequest: the current password is wrong, or the new one breaks a rule.
            ReauthenticationRequired: the account has a second factor, and its last proof is too
                old.
            Conflict: the password was changed at the same time.
        """
        with self.work.read() as tx:
            user = load_account(tx, bearer.owner)
            protected = bool(second_factors(tx, user.id))
            if protected:
                require_recent(tx, bearer, now)
        self.count_attempt(user.id, user.email, now=now)
        if not password_matches(self.passwords, current, user):
            action, reason = Action.PASSWORD_CHANGE_REFUSED, "wrong_password"
            record_refusal(self.work, action, at=now, subject=user.id, reason=reason)
            raise InvalidRequest(
                "the current password is wrong", field="current_password", code="wrong_password"
            )
        prepared = self.rules.check(
            new,
            email=user.email,
            name=user.name,
            has_second_factor=protected,
            field="new_password",
        )
        hashed = self.passwords.hash(prepared)
        with self.work.begin() as tx:
            stored = load_account(tx, user.id)
            self.count_attempt.take_back(tx, user.id, now=now)
            forgive_failures(tx, self.tokens, user.id, now)
            if stored.password != user.password:
                raise Conflict(
                    "the password was changed meanwhile; sign in again", code="password_changed"
                )
            tx.users.save(attrs.evolve(stored, password=hashed, short_password=is_short(prepared)))
            record(tx, Action.PASSWORD_CHANGED, at=now, subject=user.id)
            finish_change(tx, self.revocations, stored, except_=bearer.session, now=now)


@attrs.frozen
class RequestPasswordReset:
    """Mail a link to choose a new password."""

    work: UnitOfWork
    mailer: LinkMailer
    policy: AccountPolicy

    def __call__(self, email: str, *, now: datetime) -> None:
        """Mail the link; without an account, mail that there is none.

        Both take the same time, and neither the return nor its time reveals which it was.

        Raises:
            InvalidRequest: the address is invalid.
            Conflict: this service sends no mail.
        """
        address = normalize_email(email)
        if not self.policy.sends_mail:
            raise Conflict(
                "this service sends no mail; ask its operators for a new password",
                code="mail_not_configured",
            )
        with self.work.begin() as tx:
            user = find_by_email(tx, email)
            owner = None if user is None else user.id
            kind = MailKind.NO_ACCOUNT if user is None else MailKind.RESET_PASSWORD
            self.mailer.send(tx, kind, address, owner=owner, now=now)
            record(tx, Action.PASSWORD_RESET_REQUESTED, at=now, subject=owner)


@attrs.frozen
class ResetPassword:
    """Set a new password by the secret of a mailed link."""

    work: UnitOfWork
    passwords: Passwords
    rules: PasswordRules
    mailer: LinkMailer
    revocations: Revocations

    def __call__(self, secret: str, *, new: str, now: datetime) -> None:
        """Set the password and end all sessions; second factors stay.

        A password that breaks a rule leaves the link valid.

        Raises:
            InvalidRequest: the link is invalid, or the password breaks a rule.
        """
        with self.work.read() as tx:
            token = self.mailer.find(tx, MailKind.RESET_PASSWORD, secret, now)
            if token is None or token.owner is None:
                raise invalid_link()
            user = load_account(tx, token.owner)
            protected = bool(second_factors(tx, user.id))
        prepared = self.rules.check(
            new,
            email=user.email,
            name=user.name,
            has_second_factor=protected,
            field="new_password",
        )
        hashed = self.passwords.hash(prepared)
        with self.work.begin() as tx:
            stored = load_account(tx, user.id)
            if self.mailer.take(tx, MailKind.RESET_PASSWORD, secret, now) is None:
                raise invalid_link()
            stored = attrs.evolve(
                stored,
                password=hashed,
                short_password=is_short(prepared),
                verified=stored.verified or (now if token.document.get("mailed", True) else None),
            )
            tx.users.save(stored)
            tx.failures.clear(user.id)
            record(tx, Action.PASSWORD_RESET, at=now, subject=user.id)
            finish_change(tx, self.revocations, stored, now=now)


def finish_change(
    tx: Transaction,
    revocations: Revocations,
    user: User,
    *,
    except_: UUID | None = None,
    now: datetime,
) -> None:
    """End the sessions and links of a user whose password was changed, and notify the user."""
    tx.one_time.delete(user.id, MailKind.RESET_PASSWORD)
    end_sessions(tx, revocations, user.id, except_=except_, now=now)
    notify(tx, user, MailKind.PASSWORD_CHANGED, now=now)
