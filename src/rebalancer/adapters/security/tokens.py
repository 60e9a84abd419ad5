"""Access tokens as signed JWTs (RFC 7519), refresh tokens as random text."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

import attrs
import jwt

from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.errors import NotAuthenticated
from rebalancer.domain.portfolio.owner import ACCESS_LIFETIME

ALGORITHM = "HS256"
ISSUER = "rebalancer"

CLOCK_SKEW = timedelta(minutes=1)
"""How far the clock of the process that issued a token may be ahead."""


@attrs.frozen
class JwtTokens:
    """See `Tokens`.

    Attributes:
        key: Secret of 32 bytes or more that signs the tokens.
        lifetime: Validity of an access token.
        cached: Most verified tokens that are remembered.
    """

    key: str = attrs.field(repr=False)
    lifetime: timedelta = ACCESS_LIFETIME
    cached: int = 4_096
    _verified: dict[str, tuple[Bearer, float, float]] = attrs.field(
        factory=dict, init=False, repr=False
    )

    def create_access_token(
        self, owner: UUID, session: UUID, now: datetime, *, until: datetime | None = None
    ) -> tuple[str, datetime]:
        ends = now + self.lifetime if until is None else min(now + self.lifetime, until)
        claims = {
            "iss": ISSUER,
            "sub": str(owner),
            "fam": str(session),
            "iat": now,
            "exp": ends,
        }
        return jwt.encode(claims, self.key, algorithm=ALGORITHM), ends

    def authenticate(self, token: str, now: datetime) -> Bearer:
        """See `Tokens.authenticate`.

        The signature is verified once, the times every time.
        """
        known = self._verified.get(token)
        if known is None:
            known = self._decode(token)
            if len(self._verified) >= self.cached:
                self._verified.clear()
            self._verified[token] = known
        bearer, issued, ends = known
        if issued > now.timestamp() + CLOCK_SKEW.total_seconds():
            raise NotAuthenticated(
                "the access token was issued in the future; log in again",
                code="access_token_invalid",
            )
        if now.timestamp() >= ends:
            self._verified.pop(token, None)
            raise NotAuthenticated(
                "the access token has expired; refresh it or log in again",
                code="access_token_expired",
            )
        return bearer

    def _decode(self, token: str) -> tuple[Bearer, float, float]:
        """Return the bearer of a token that this key has signed, and its times as timestamps.

        Raises:
            NotAuthenticated: the token is not of this key, or valid for longer than `lifetime`.
        """
        try:
            claims = jwt.decode(
                token,
                self.key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                # The caller checks the times, because the clock is an argument.
                options={
                    "require": ["exp", "iat", "sub", "iss", "fam"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            bearer = Bearer(UUID(claims["sub"]), UUID(claims["fam"]))
            issued, ends = float(claims["iat"]), float(claims["exp"])
            if not issued < ends <= issued + self.lifetime.total_seconds():
                raise ValueError
            return bearer, issued, ends
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, OverflowError):
            raise NotAuthenticated(
                "the access token is invalid; log in again", code="access_token_invalid"
            ) from None

    def create_refresh_secret(self) -> str:
        return secrets.token_urlsafe(32)

    def digest(self, secret: str) -> str:
        return hashlib.sha256(secret.encode()).hexdigest()
