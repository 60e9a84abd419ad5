"""Access tokens as signed JWTs (RFC 7519, RFC 9068), refresh tokens as random text."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
import jwt

from rebalancer.application.ports.keys import ACCESS_TOKENS, Keys
from rebalancer.domain.accounts.api_keys import format_api_key
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.errors import NotAuthenticated
from rebalancer.domain.portfolio.owner import ACCESS_LIFETIME

ALGORITHM = "HS256"
ISSUER = "rebalancer"
TYPE = "at+jwt"
CLAIMS = ("iss", "aud", "sub", "client_id", "fam", "jti", "iat", "exp")

CLOCK_SKEW = timedelta(minutes=1)
"""How far the clock of the process that issued a token may be ahead."""


@attrs.frozen
class JwtTokens:
    """See `Tokens`.

    Attributes:
        keys: Derived keys that sign the tokens; those of earlier secrets only verify them.
        audience: Deployment that the tokens are for.
        lifetime: Validity of an access token.
        cached: Most verified tokens that are remembered.
    """

    keys: Keys
    audience: str = ISSUER
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
            "aud": self.audience,
            "sub": str(owner),
            "client_id": ISSUER,
            "fam": str(session),
            "jti": secrets.token_urlsafe(9),
            "iat": now,
            "exp": ends,
        }
        key = self.keys.of(ACCESS_TOKENS)[0]
        headers = {"typ": TYPE, "kid": key.id}
        return jwt.encode(claims, key.value, algorithm=ALGORITHM, headers=headers), ends

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
            raise _expired()
        return bearer

    def ends(self, token: str) -> datetime:
        _, _, ends = self._verified.get(token) or self._decode(token)
        return datetime.fromtimestamp(ends, UTC)

    def _decode(self, token: str) -> tuple[Bearer, float, float]:
        """Return the bearer of a token that one of the keys has signed, and its timestamps.

        Raises:
            NotAuthenticated: the token is not of these keys, or valid for longer than `lifetime`.
        """
        try:
            headers = jwt.get_unverified_header(token)
            claims = jwt.decode(
                token,
                self._verification_key(headers),
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=self.audience,
                # The caller checks the times, because the clock is an argument.
                options={"require": list(CLAIMS), "verify_exp": False, "verify_iat": False},
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

    def _verification_key(self, headers: dict[str, Any]) -> bytes:
        """Return the key that a token names.

        An unknown key, or none, is that of a secret that has been replaced, or of an earlier
        version: to the client such a token has expired, and a new one can be had for it.
        """
        kind, id = headers.get("typ"), headers.get("kid")
        if id is not None and (not isinstance(kind, str) or kind.lower() != TYPE):
            raise ValueError
        for key in self.keys.of(ACCESS_TOKENS):
            if key.id == id:
                return key.value
        raise _expired()

    def create_refresh_secret(self) -> str:
        return secrets.token_urlsafe(32)

    def create_api_key(self) -> str:
        return format_api_key(secrets.token_bytes(32))

    def digest(self, secret: str) -> str:
        return hashlib.sha256(secret.encode()).hexdigest()


def _expired() -> NotAuthenticated:
    return NotAuthenticated(
        "the access token has expired; refresh it or log in again", code="access_token_expired"
    )
