"""People: who they are, how they prove it, and how much risk they bear."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.application.ports.accounts import Passwords, Revocations, Tokens
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.errors import InvalidRequest, NotAuthenticated, NotFound
from rebalancer.domain.portfolio.owner import RefreshToken, User, normalize_email
from rebalancer.domain.portfolio.questions import QUESTIONNAIRE

SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 128
"""Characters; NIST SP 800-63B asks for 8 at least, and no rules beside the length."""

REFRESH_LIFETIME = timedelta(days=30)


@attrs.frozen
class Login:
    """What somebody who has proved who they are is given.

    Attributes:
        user: Who.
        access: Proves for a short while who its bearer is.
        access_ends: Until when.
        refresh: Can be exchanged once for another login.
        refresh_ends: Until when.
    """

    user: User
    access: str = attrs.field(repr=False)
    access_ends: datetime
    refresh: str = attrs.field(repr=False)
    refresh_ends: datetime


@attrs.frozen
class Register:
    """Take somebody in."""

    work: UnitOfWork
    passwords: Passwords

    def __call__(self, *, email: str, password: str, name: str, id: UUID, now: datetime) -> User:
        """The new user.

        Raises:
            InvalidRequest: the address is none, or the password too short or too long.
            EmailTaken: somebody is registered with this address.
        """
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise InvalidRequest(
                f"must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters", field="password"
            )
        address = normalize_email(email)
        if password.casefold() in (address, address.partition("@")[0]):
            raise InvalidRequest("must not be the e-mail address", field="password")
        user = User(
            id=id,
            email=address,
            name=name.strip(),
            password=self.passwords.hash(password),
            created=now,
        )
        with self.work.begin() as tx:
            tx.users.add(user)
        return user


@attrs.frozen
class LogIn:
    """Exchange a password for tokens."""

    work: UnitOfWork
    passwords: Passwords
    tokens: Tokens

    def __call__(self, *, email: str, password: str, family: UUID, now: datetime) -> Login:
        """Tokens of a new family.

        Raises:
            NotAuthenticated: the address or the password is wrong; it does not say which.
        """
        with self.work.read() as tx:
            user = tx.users.by_email(email.strip().casefold())
        right = self.passwords.verify(password, user.password if user else None)
        if user is None or not right:
            raise NotAuthenticated("the e-mail address or the password is wrong")
        login, token = _login(self.tokens, user, family, now)
        with self.work.begin() as tx:
            tx.tokens.delete_expired(now, owner=user.id)
            tx.tokens.add(token)
        return login


@attrs.frozen
class RefreshLogin:
    """Exchange a refresh token for new tokens.

    A token serves once. If it comes a second time, it was stolen, before or after: all that
    descends from the same login ends (RFC 9700, section 4.14.2).
    """

    work: UnitOfWork
    tokens: Tokens
    revocations: Revocations

    def __call__(self, secret: str, *, now: datetime) -> Login:
        """Tokens of the same family.

        Raises:
            NotAuthenticated: the token is not one of ours, has ended, or was used before.
        """
        digest = self.tokens.digest(secret)
        with self.work.begin() as tx:
            old = tx.tokens.get(digest)
            if old is not None and now < old.expires and tx.tokens.mark_used(digest, now):
                login, token = _login(self.tokens, load_account(tx, old.owner), old.family, now)
                tx.tokens.add(token)
                return login
            if old is not None and now < old.expires:
                tx.tokens.revoke(old.family)
        if old is not None and now < old.expires:
            self.revocations.revoke(old.family)
        raise NotAuthenticated("the refresh token has ended or was used before; log in again")


@attrs.frozen
class LogOut:
    """End a login."""

    work: UnitOfWork
    tokens: Tokens
    revocations: Revocations

    def __call__(self, secret: str) -> None:
        """Forget all tokens that descend from the same login; an unknown one is no error."""
        with self.work.begin() as tx:
            token = tx.tokens.get(self.tokens.digest(secret))
            if token is not None:
                tx.tokens.revoke(token.family)
        if token is not None:
            self.revocations.revoke(token.family)


@attrs.frozen
class ReadProfile:
    """Tell people what is known of them."""

    work: UnitOfWork

    def __call__(self, owner: UUID) -> User:
        """The user.

        Raises:
            NotAuthenticated: there is no such user any more.
        """
        with self.work.read() as tx:
            return load_account(tx, owner)


@attrs.frozen
class AssessRisk:
    """Score a risk questionnaire, and remember the outcome."""

    work: UnitOfWork

    def __call__(self, answers: Mapping[str, str], *, owner: UUID, now: datetime) -> User:
        """The user with the assessment.

        Raises:
            InvalidRequest: an answer is missing or unknown; names the question.
            NotAuthenticated: there is no such user any more.
        """
        assessment = QUESTIONNAIRE.assess(answers)
        with self.work.begin() as tx:
            user = attrs.evolve(load_account(tx, owner), assessment=assessment, assessed=now)
            tx.users.save(user)
        return user


def load_account(tx: Transaction, owner: UUID) -> User:
    """Whoever an access token names; it may outlive them.

    Raises:
        NotAuthenticated: there is no such user any more.
    """
    try:
        return tx.users.get(owner)
    except NotFound:
        raise NotAuthenticated("this load_account is gone; register again") from None


def _login(tokens: Tokens, user: User, family: UUID, now: datetime) -> tuple[Login, RefreshToken]:
    access, access_ends = tokens.create_access_token(user.id, family, now)
    secret, ends = tokens.create_refresh_secret(), now + REFRESH_LIFETIME
    token = RefreshToken(tokens.digest(secret), family, user.id, issued=now, expires=ends)
    return Login(user, access, access_ends, secret, ends), token
