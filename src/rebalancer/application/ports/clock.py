"""Clock and id generator."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    """Current time; entrypoints read it and pass it on."""

    def __call__(self) -> datetime:
        """Return the current time in UTC."""


class Ids(Protocol):
    """Generator of ids; entrypoints call it and pass the id on."""

    def __call__(self) -> UUID:
        """Return a new unique id."""
