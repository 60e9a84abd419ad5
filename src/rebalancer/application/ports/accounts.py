"""Users, passwords and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.sessions import Bearer, Session
from rebalancer.domain.portfolio.owner import RefreshToken, User


class Users(Protocol):
    """Registered users.

    A user that is read by id in a writing transaction is locked until the transaction ends.
    """

    def add(self, user: User) -> None:
        """Add a new user.

        Raises:
            EmailTaken: another user has this address.
        """

    def get(self, id: UUID) -> User:
        """Return the user of this id.

        Raises:
            NotFound: the user does not exist.
        """

    def lock(self, id: UUID) -> None:
        """Let other transactions that lock this user wait until this one ends.

        An unknown user is ignored.
        """

    def by_email(self, email: str) -> User | None:
        """Return the user with this address, normalized as by `normalize_email`."""

    def save(self, user: User) -> None:
        """Replace a user.

        Raises:
            NotFound: the user does not exist.
            EmailTaken: another user has this address.
        """

    def page(
        self, *, role: Role | None = None, after: UUID | None = None, limit: int
    ) -> list[User]:
        """Return users, oldest first, beginning after the id ``after``; of all roles when None."""

    def enabled_operators(self) -> frozenset[UUID]:
        """Return the operators that stay: neither disabled nor to be deleted.

        All operators are locked in a writing transaction, so that only one of several
        transactions at a time can decide by their number.
        """


class RefreshTokens(Protocol):
    """Refresh tokens; only digests of their secrets are stored."""

    def add(self, token: RefreshToken) -> None:
        """Add a new token."""

    def get(self, digest: str) -> RefreshToken | None:
        """Return the token of this digest, used or not; None if unknown or revoked."""

    def mark_used(self, digest: str, now: datetime) -> bool:
        """Mark a token as used; return False if another request was faster."""

    def unused(self, family: UUID) -> list[RefreshToken]:
        """Return the unused tokens of a family; usually there is one."""

    def revoke(self, family: UUID) -> None:
        """Delete every token of a family."""

    def has_family(self, family: UUID) -> bool:
        """Return whether a family has a token, used or not."""

    def delete_expired(self, now: datetime, *, owner: UUID | None = None) -> None:
        """Delete tokens that have expired by ``now``, of one owner or of all."""


class Sessions(Protocol):
    """Sessions of users."""

    def add(self, session: Session) -> None:
        """Add a new session."""

    def find(self, id: UUID) -> Session | None:
        """Return the session of this id, ended or not; None if it is unknown."""

    def save(self, session: Session) -> None:
        """Replace a session.

        Raises:
            NotFound: the session does not exist.
        """

    def active(self, owner: UUID, now: datetime) -> list[Session]:
        """Return the active sessions of a user, the last used first."""

    def delete_past(self, now: datetime) -> None:
        """Delete the sessions whose ``ends`` has passed."""


class Passwords(Protocol):
    """Hashes of passwords."""

    def hash(self, password: str) -> str:
        """Return a salted hash, which is slow to compute on purpose."""

    def verify(self, password: str, hashed: str | None) -> bool:
        """Return whether the hash is of this password; for None it is False, and as slow."""

    def is_outdated(self, hashed: str) -> bool:
        """Return whether `hash` uses stronger parameters now than those of a hash."""


class PasswordStrength(Protocol):
    """Estimate of the guesses that a password withstands."""

    def guesses(self, password: str, words: Sequence[str]) -> float:
        """Return the guesses, as a power of ten, of an attacker who also tries some words."""


class Tokens(Protocol):
    """Access tokens and refresh secrets."""

    def ends(self, token: str) -> datetime:
        """Return the end of the validity of an access token that `authenticate` has accepted."""

    def create_access_token(
        self, owner: UUID, session: UUID, now: datetime, *, until: datetime | None = None
    ) -> tuple[str, datetime]:
        """Return a new access token for a user and session, and the end of its validity.

        It ends at ``until`` at the latest.
        """

    def authenticate(self, token: str, now: datetime) -> Bearer:
        """Return the user and session of an access token.

        Raises:
            NotAuthenticated: the token is invalid or has expired.
        """

    def create_refresh_secret(self) -> str:
        """Return a new random refresh secret."""

    def create_api_key(self) -> str:
        """Return a new random API key."""

    def digest(self, secret: str) -> str:
        """Return the digest under which a secret is stored."""


class Revocations(Protocol):
    """Revoked logins whose access tokens have not expired yet.

    Refresh tokens of a revoked login are deleted at once. Access tokens are valid by themselves, so
    their login is looked up here.
    """

    def revoke(self, family: UUID) -> None:
        """Remember a login until its last access token has expired.

        It never fails: if the store is down, access tokens stay valid until they expire.
        """

    async def is_revoked(self, family: UUID) -> bool:
        """Return whether a login is revoked; False if the store is down.

        The revoking process sees it at once, others a few seconds later.
        """


class LocalRevocations(Revocations, Protocol):
    """Revocations that this process has made itself."""

    def active(self) -> list[tuple[UUID, timedelta]]:
        """Return revoked logins with unexpired access tokens, and their remaining time."""
