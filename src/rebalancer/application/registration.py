"""Registration, at once or after the e-mail address was confirmed, and acceptance of terms."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.account_mails import AccountPolicy, LinkMailer
from rebalancer.application.accounts import find_by_email, load_account, password_matches
from rebalancer.application.audit import record
from rebalancer.application.idempotency import ClientRequest
from rebalancer.application.passwords import PasswordRules
from rebalancer.application.ports.accounts import Passwords
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.owner import EmailTaken, User, normalize_email
from rebalancer.domain.text import check_line

LONGEST_TERMS = 40


@attrs.frozen
class NewUsers:
    """Creates users from what they enter, by the rules of this service."""

    passwords: Passwords
    rules: PasswordRules
    policy: AccountPolicy

    def create(
        self,
        *,
        email: str,
        password: str,
        name: str,
        terms: str | None,
        id: UUID,
        now: datetime,
    ) -> User:
        """Return a user who is not stored yet, with the hash of the password.

        Raises:
            InvalidRequest: a value is invalid, or the password breaks a rule.
        """
        check_line(name, field="name")
        address = normalize_email(email)
        prepared = self.rules.check(password, email=address, name=name)
        return User(
            id=id,
            email=address,
            name=unicodedata.normalize("NFC", name).strip(),
            password=self.passwords.hash(prepared),
            created=now,
            terms=terms,
            terms_accepted=None if terms is None else now,
        )

    def check_terms(self, terms: str | None) -> None:
        """Check that the terms of this service are accepted, if it has any.

        Raises:
            InvalidRequest: they are not; the message names their version.
        """
        if self.policy.terms is not None and terms != self.policy.terms:
            raise InvalidRequest(
                f"the terms of version {self.policy.terms} must be accepted; send this version",
                field="terms",
                code="terms_not_accepted",
            )


@attrs.frozen
class Register:
    """Register a user at once."""

    work: UnitOfWork
    new_users: NewUsers

    def __call__(
        self,
        *,
        email: str,
        password: str,
        name: str,
        terms: str | None = None,
        by_operator: bool = False,
        request: ClientRequest | None = None,
        id: UUID,
        now: datetime,
    ) -> User:
        """Return the new user.

        If the same request has registered a user before, with the same password, that one is
        returned, who has another id. An operator vouches for the address, and cannot accept terms
        for the user.

        Raises:
            InvalidRequest: a value is invalid, or the password breaks a rule.
            EmailTaken: a user with this address is registered already.
            Conflict: the key belongs to another request.
        """
        if not by_operator:
            self.new_users.check_terms(terms)
        user = self.new_users.create(
            email=email, password=password, name=name, terms=terms, id=id, now=now
        )
        user = attrs.evolve(user, verified=now if by_operator else None)
        try:
            with self.work.begin() as tx:
                stored = find_by_email(tx, email)
                if stored is not None and normalize_email(stored.email) == user.email:
                    raise EmailTaken("stored in the spelling of an earlier version")
                tx.users.add(user)
                record(tx, Action.REGISTER, at=now, subject=id)
                if request is not None:
                    request.store_result(tx, id, id, now)
        except EmailTaken:
            earlier = None if request is None else self._earlier(request, email, password)
            if earlier is None:
                raise EmailTaken(f"{user.email} is already registered; log in") from None
            return earlier
        return user

    def _earlier(self, request: ClientRequest, email: str, password: str) -> User | None:
        """Return the user whom the same request registered; None without one."""
        with self.work.read() as tx:
            user = find_by_email(tx, email)
        if user is None or not password_matches(self.new_users.passwords, password, user):
            return None
        with self.work.read() as tx:
            return None if request.earlier_result(tx, user.id) is None else user


@attrs.frozen
class RequestAccount:
    """Request an account, which is created when its address is confirmed by a mailed link.

    Until then nothing is stored that a stranger could claim an address with. An address that has
    an account gets another mail; in every other way the request is the same, also in its time.
    """

    work: UnitOfWork
    new_users: NewUsers
    mailer: LinkMailer

    def __call__(
        self,
        *,
        email: str,
        password: str,
        name: str,
        terms: str | None = None,
        id: UUID,
        now: datetime,
    ) -> None:
        """Mail the link.

        Raises:
            InvalidRequest: a value is invalid, or the password breaks a rule.
        """
        self.new_users.check_terms(terms)
        user = self.new_users.create(
            email=email, password=password, name=name, terms=terms, id=id, now=now
        )
        with self.work.begin() as tx:
            is_taken = find_by_email(tx, email) is not None
            kind = MailKind.ALREADY_REGISTERED if is_taken else MailKind.CONFIRM_REGISTRATION
            self.mailer.send(tx, kind, user.email, document=document_of(user), now=now)


@attrs.frozen
class AcceptTerms:
    """Accept the terms of this service."""

    work: UnitOfWork
    new_users: NewUsers

    def __call__(self, owner: UUID, terms: str, *, now: datetime) -> User:
        """Return the user with the acceptance.

        Raises:
            InvalidRequest: this is not the current version.
        """
        self.new_users.check_terms(terms)
        with self.work.begin() as tx:
            user = load_account(tx, owner)
            if user.terms != terms:
                user = attrs.evolve(user, terms=terms, terms_accepted=now)
                tx.users.save(user)
                record(tx, Action.TERMS_ACCEPTED, at=now, details={"version": terms})
        return user


def document_of(user: User) -> dict[str, Any]:
    """Return what is stored of a user whose address is not confirmed yet."""
    return {
        "id": str(user.id),
        "email": user.email,
        "name": user.name,
        "password": user.password,
        "terms": user.terms,
    }


def user_of(document: Mapping[str, Any], now: datetime) -> User:
    """Return the user of a document, whose address is confirmed now."""
    terms = document["terms"]
    return User(
        id=UUID(document["id"]),
        email=document["email"],
        name=document["name"],
        password=document["password"],
        created=now,
        verified=now,
        terms=terms,
        terms_accepted=None if terms is None else now,
    )
