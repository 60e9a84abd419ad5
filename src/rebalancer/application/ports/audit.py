"""The audit trail, to which events are only ever added."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.audit.chain import Cut, Link, TrailCheck
from rebalancer.domain.audit.events import AuditEvent


class AuditTrail(Protocol):
    """Events in the order of their times; none can be changed."""

    def append(self, event: AuditEvent) -> None:
        """Add an event; its transaction stores it together with what it reports."""

    def page(
        self,
        subject: UUID | None = None,
        *,
        actor: UUID | None = None,
        involved: UUID | None = None,
        action: str | None = None,
        since: datetime | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[AuditEvent]:
        """Return the latest events that fit all conditions, latest first.

        Args:
            subject: Account that the events are about.
            actor: Account that acted.
            involved: Account that is the subject or the actor.
            action: Value of an `Action`.
            since: Earliest time.
            before: Event after which the page begins; unknown ones give an empty page.
            limit: Most events.
        """

    def has_pending(self) -> bool:
        """Return whether events wait for their seals."""

    def seal(self, now: datetime, *, limit: int) -> Link | None:
        """Seal pending events, oldest first; return the new head, None if nothing was pending.

        At most one transaction seals at a time.
        """

    def verify(self, noted: Link | None = None) -> TrailCheck:
        """Follow the chain of seals from the last cut, or from the beginning.

        Args:
            noted: Link that was noted earlier; it must still be in the chain.
        """

    def cut(self, before: datetime, now: datetime) -> Cut | None:
        """Remove the sealed events before a time; return None without any.

        The caller records the cut, without which `verify` reports it as a fault.

        Raises:
            Unavailable: the role of the database may not remove events.
        """

    def erase_origins(self, *, before: datetime | None = None, involved: UUID | None = None) -> int:
        """Erase addresses and agents of events, and count them.

        Args:
            before: Only of events before a time.
            involved: Only of events of which an account is the subject or the actor.
        """
