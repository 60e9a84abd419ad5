"""Access tokens as signed JWTs (RFC 7519), refresh tokens as random text."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

import attrs
import jwt

from rebalancer.domain.errors import NotAuthenticated
from rebalancer.domain.portfolio.owner import ACCESS_LIFETIME, Bearer

ALGORITHM = "HS256"
ISSUER = "rebalancer"

_REMEMBERED = 4_096
"""Verified tokens that are remembered."""


@attrs.frozen
class JwtTokens:
    """Tokens that a key of ours signs.

    Attributes:
        key: Secret of 32 bytes or more.
        lifetime: How long an access token proves something.
    """

    key: str = attrs.field(repr=False)
    lifetime: timedelta = ACCESS_LIFETIME
    _verified: dict[str, tuple[Bearer, float]] = attrs.field(factory=dict, init=False, repr=False)

    def create_access_token(self, owner: UUID, family: UUID, now: datetime) -> tuple[str, datetime]:
        """See `Tokens.create_access_token`."""
        ends = now + self.lifetime
        claims = {
            "iss": ISSUER,
            "sub": str(owner),
            "fam": str(family),
            "iat": now,
            "exp": ends,
        }
        return jwt.encode(claims, self.key, algorithm=ALGORITHM), ends

    def authenticate(self, token: str, now: datetime) -> Bearer:
        """See `Tokens.authenticate`.

        A signature is verified once; that a token has ended, every time.
        """
        known = self._verified.get(token)
        if known is None:
            known = self._claims(token)
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[token] = known
        bearer, ends = known
        if now.timestamp() >= ends:
            self._verified.pop(token, None)
            raise NotAuthenticated("the access token has ended; refresh it, or log in again")
        return bearer

    def _claims(self, token: str) -> tuple[Bearer, float]:
        """Whose token it is, and when it ends.

        Raises:
            NotAuthenticated: it is not one of ours.
        """
        try:
            claims = jwt.decode(
                token,
                self.key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                # The clock is an argument, so that its end is checked by the caller.
                options={
                    "require": ["exp", "sub", "iss"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            family = claims.get("fam")  # which tokens once did without
            bearer = Bearer(UUID(claims["sub"]), None if family is None else UUID(family))
            return bearer, float(claims["exp"])
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise NotAuthenticated("the access token is not one of ours; log in again") from None

    def create_refresh_secret(self) -> str:
        """See `Tokens.create_refresh_secret`."""
        return secrets.token_urlsafe(32)

    def digest(self, secret: str) -> str:
        """See `Tokens.digest`."""
        return hashlib.sha256(secret.encode()).hexdigest()
