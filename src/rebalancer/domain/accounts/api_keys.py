"""API keys: credentials of programs, with a part of their owner's rights."""

from __future__ import annotations

import re
import string
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import attrs

from rebalancer.domain.errors import InvalidRequest, NotAllowed

PREFIX = "rbk_"
"""Begin of every key, by which scanners of leaked secrets find it."""

LONGEST_LIFETIME = timedelta(days=366)
MOST_KEYS = 20
LONGEST_NAME = 60

USE_INTERVAL = timedelta(minutes=10)
"""Time in which the use of a key is noted once."""

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET, _CHECKSUM = 43, 6
"""Characters of 256 random bits and of a CRC-32, to the base 62."""

_PATTERN = re.compile(f"{PREFIX}([0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{{_CHECKSUM}}})")


class Scope(StrEnum):
    """What a key allows; each includes reading."""

    READ = "read"
    PROPOSE = "propose"
    TRADE = "trade"


@attrs.frozen
class ApiKey:
    """Credential of a program of a user.

    Attributes:
        digest: SHA-256 of the key; the key itself is not stored.
        used: Time of its last use, to `USE_INTERVAL`; None before.
    """

    id: UUID
    owner: UUID
    name: str
    scopes: tuple[Scope, ...]
    digest: str
    created: datetime
    expires: datetime
    used: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Return whether the key has not expired."""
        return now < self.expires

    def is_use_due(self, now: datetime) -> bool:
        """Return whether a use is to be noted."""
        return self.used is None or now - self.used >= USE_INTERVAL


def order_scopes(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return scopes once each, in the order of `Scope`.

    Raises:
        InvalidRequest: no scope is named.
    """
    found = set(scopes)
    if not found:
        choices = ", ".join(Scope)
        raise InvalidRequest(
            f"choose at least one of {choices}", field="scopes", code="scope_expected"
        )
    return tuple(scope for scope in Scope if scope in found)


def format_api_key(random: bytes) -> str:
    """Return a key of 32 random bytes, with its checksum."""
    secret = _encode(int.from_bytes(random, "big"), _SECRET)
    return f"{PREFIX}{secret}{_checksum(secret)}"


def looks_like_api_key(text: str) -> bool:
    """Return whether a text is meant as a key; it may be mistyped."""
    return text.startswith(PREFIX)


def has_valid_checksum(text: str) -> bool:
    """Return whether a text has the form of a key, and its checksum is right."""
    match = _PATTERN.fullmatch(text)
    return match is not None and match[2] == _checksum(match[1])


def check_scope(scopes: frozenset[Scope] | None, needed: Scope | None) -> None:
    """Check that a credential allows a request.

    Args:
        scopes: Of an API key; None for a login, which allows everything.
        needed: What the request needs; None: a login.

    Raises:
        NotAllowed: it does not.
    """
    if scopes is None:
        return
    if needed is None:
        raise NotAllowed(
            "API keys do not allow this request; log in instead", code="login_expected"
        )
    if needed not in scopes | {Scope.READ}:
        raise NotAllowed(
            f"this API key lacks the scope {needed}; create a key with it", code="scope_missing"
        )


def _checksum(secret: str) -> str:
    return _encode(zlib.crc32(secret.encode()), _CHECKSUM)


def _encode(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
