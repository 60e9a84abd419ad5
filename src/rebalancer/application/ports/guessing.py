"""Failed logins and known devices."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.accounts.guessing import Failures, KnownDevice


class LoginFailures(Protocol):
    """Failed logins by account and network."""

    def find(self, key: str) -> Failures | None:
        """Return the failures that are counted under a key; None without any."""

    def get(self, key: str, owner: UUID | None, now: datetime) -> Failures:
        """Return the failures that are counted under a key, locked; zero if there are none yet."""

    def save(self, failures: Failures) -> None:
        """Add failures, or replace those of the same key."""

    def clear(self, owner: UUID) -> None:
        """Delete the failures of an account."""

    def delete_before(self, before: datetime) -> None:
        """Delete failures without an owner whose last one is earlier."""


class KnownDevices(Protocol):
    """Devices on which users have logged in before."""

    def save(self, device: KnownDevice) -> None:
        """Add a device, or replace the one of the same digest."""

    def find(self, digest: str) -> KnownDevice | None:
        """Return the device of a token's digest; None if it is unknown."""

    def of_owner(self, owner: UUID) -> list[KnownDevice]:
        """Return the devices of a user, the last used first."""

    def delete(self, digest: str) -> None:
        """Delete a device, if it exists."""

    def forget(self, owner: UUID) -> None:
        """Delete all devices of a user."""

    def delete_unused(self, before: datetime) -> None:
        """Delete devices that were last used earlier."""
