"""People, and how they prove who they are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from rebalancer.domain.portfolio.owner import Bearer, RefreshToken, User


class Users(Protocol):
    """Who is registered."""

    def add(self, user: User) -> None:
        """Keep a new user.

        Raises:
            EmailTaken: somebody has this address.
        """

    def get(self, id: UUID) -> User:
        """The user of this id.

        Raises:
            NotFound: there is none.
        """

    def by_email(self, email: str) -> User | None:
        """The user with this address, as `email_of` gives it."""

    def save(self, user: User) -> None:
        """Replace a user.

        Raises:
            NotFound: there is none of this id.
            EmailTaken: somebody else has this address.
        """


class RefreshTokens(Protocol):
    """Secrets that keep people logged in; only digests are kept."""

    def add(self, token: RefreshToken) -> None:
        """Keep a new token."""

    def get(self, digest: str) -> RefreshToken | None:
        """The token of this digest, used or not; None when there is none, or its family is gone."""

    def mark_used(self, digest: str, now: datetime) -> bool:
        """Mark a token as used; False when somebody else was quicker."""

    def revoke(self, family: UUID) -> None:
        """Forget every token of a family."""

    def delete_expired(self, now: datetime, *, owner: UUID | None = None) -> None:
        """Forget tokens that have ended by ``now``: an owner's, or everybody's when None."""


class Passwords(Protocol):
    """Hashes of passwords."""

    def hash(self, password: str) -> str:
        """A salted hash, slow to compute on purpose."""

    def verify(self, password: str, hashed: str | None) -> bool:
        """Whether a hash is of this password; as slow, and False, for None."""


class Tokens(Protocol):
    """What people show to prove who they are."""

    def create_access_token(self, owner: UUID, family: UUID, now: datetime) -> tuple[str, datetime]:
        """A token that proves for a short while who its bearer is, and when it ends.

        Args:
            owner: Whose.
            family: The login that it descends from, as of `RefreshToken`.
            now: From when on.
        """

    def authenticate(self, token: str, now: datetime) -> Bearer:
        """Whose token it is.

        Raises:
            NotAuthenticated: it is not one of ours, or has ended.
        """

    def create_refresh_secret(self) -> str:
        """A refresh token: text that nobody can guess, never the same twice."""

    def digest(self, secret: str) -> str:
        """What is kept of a secret."""


class Revocations(Protocol):
    """Logins that were ended while access tokens of theirs may still be about.

    Refresh tokens of an ended login are gone from the store at once; this is about the access
    tokens, which prove themselves.
    """

    def revoke(self, family: UUID) -> None:
        """Remember a login for as long as an access token of it could serve.

        It never fails: where it cannot be remembered, access tokens serve out their minutes.
        """

    async def is_revoked(self, family: UUID) -> bool:
        """Whether a login was ended; False, too, where that cannot be known.

        Whoever ended it knows at once; others, too, or at most a second later.
        """


class LocalRevocations(Revocations, Protocol):
    """Those that this process has made itself."""

    def active(self) -> list[tuple[UUID, timedelta]]:
        """Ended logins whose access tokens may still be about, and for how long."""
