"""One-time passwords by pyotp, and recovery codes."""

from __future__ import annotations

import secrets
from datetime import datetime
from hmac import compare_digest

import attrs
import pyotp

STEP = 30
"""Seconds for which a code is shown."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: 5 bits a character, without letters that look like digits."""

_GROUPS, _GROUP = 4, 6


@attrs.frozen
class OtpCodes:
    """See `FactorCodes`: SHA-1, 6 digits and 30 seconds, which every authenticator app supports.

    Attributes:
        issuer: Name that the app shows.
        window: Time steps before and after the current one that are accepted, too.
    """

    issuer: str = "rebalancer"
    window: int = 1

    def create_totp_secret(self) -> str:
        return pyotp.random_base32(32)

    def totp_uri(self, secret: str, email: str) -> str:
        return pyotp.TOTP(secret, interval=STEP).provisioning_uri(
            name=email, issuer_name=self.issuer
        )

    def totp_step(self, secret: str, code: str, now: datetime) -> int | None:
        current = int(now.timestamp()) // STEP
        totp, found = pyotp.TOTP(secret, interval=STEP), None
        for step in range(current - self.window, current + self.window + 1):
            # Every candidate is compared, so that the time taken does not reveal which one matches.
            if compare_digest(totp.at(step * STEP).encode(), code.encode(errors="replace")):
                found = step
        return found

    def create_recovery_code(self) -> str:
        characters = [secrets.choice(_ALPHABET) for _ in range(_GROUPS * _GROUP)]
        return "-".join(
            "".join(characters[start : start + _GROUP])
            for start in range(0, len(characters), _GROUP)
        )
