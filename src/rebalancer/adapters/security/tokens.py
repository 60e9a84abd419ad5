"""Access tokens as signed JWTs (RFC 7519), refresh tokens as random text."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

import attrs
import jwt

from rebalancer.domain.errors import NotAuthenticated

ALGORITHM = "HS256"
ISSUER = "rebalancer"


@attrs.frozen
class JwtTokens:
    """Tokens that a key of ours signs.

    Attributes:
        key: Secret of 32 bytes or more.
        lifetime: How long an access token proves something.
    """

    key: str = attrs.field(repr=False)
    lifetime: timedelta = timedelta(minutes=15)

    def access(self, owner: UUID, now: datetime) -> tuple[str, datetime]:
        """See `Tokens.access`."""
        ends = now + self.lifetime
        claims = {"iss": ISSUER, "sub": str(owner), "iat": now, "exp": ends}
        return jwt.encode(claims, self.key, algorithm=ALGORITHM), ends

    def bearer(self, token: str, now: datetime) -> UUID:
        """See `Tokens.bearer`."""
        try:
            claims = jwt.decode(
                token,
                self.key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                # The clock is an argument, so that its end is checked here.
                options={
                    "require": ["exp", "sub", "iss"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            owner, ends = UUID(claims["sub"]), float(claims["exp"])
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise NotAuthenticated("the access token is not one of ours; log in again") from None
        if now.timestamp() >= ends:
            raise NotAuthenticated("the access token has ended; refresh it, or log in again")
        return owner

    def secret(self) -> str:
        """See `Tokens.secret`."""
        return secrets.token_urlsafe(32)

    def digest(self, secret: str) -> str:
        """See `Tokens.digest`."""
        return hashlib.sha256(secret.encode()).hexdigest()
