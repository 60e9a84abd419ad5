"""Time and names."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    """What time it is; entrypoints ask it, and hand the answer on."""

    def __call__(self) -> datetime:
        """Now, in UTC."""


class Ids(Protocol):
    """Names for new things; entrypoints ask for them, and hand them on."""

    def __call__(self) -> UUID:
        """An id that nothing else has."""
