"""Leases: tasks that one process of a deployment does, until it gives them back or dies."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Leases(Protocol):
    """Leases by name."""

    def take(self, name: str, holder: str, *, now: datetime, until: datetime) -> bool:
        """Take or extend a lease; return whether the holder has it now.

        It is free if it was never taken, has ended by ``now`` or was given back. Of several
        transactions that take a free lease, one gets it.
        """

    def give_back(self, name: str, holder: str) -> None:
        """End a lease, if this holder has it."""

    def holder(self, name: str, now: datetime) -> str | None:
        """Return who has a lease; None if it is free."""
