"""Keys that are derived from the secret of a deployment, one for each purpose."""

from __future__ import annotations

from typing import Protocol

import attrs

ACCESS_TOKENS = "access-token"
RATE_LIMITS = "rate-limit"
UNSUBSCRIBE = "unsubscribe"


@attrs.frozen
class PurposeKey:
    """Key for one purpose.

    Attributes:
        id: Identifies the key, and reveals nothing of it.
        value: 32 bytes.
    """

    id: str
    value: bytes = attrs.field(repr=False)


class Keys(Protocol):
    """Keys by purpose; a key of one purpose reveals nothing of the others or of the secret."""

    def of(self, purpose: str) -> tuple[PurposeKey, ...]:
        """Return the keys of a purpose: the current one, then those of earlier secrets."""
