"""Reading, sealing, checking and cutting the audit trail."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.audit.chain import Cut, Link, TrailCheck
from rebalancer.domain.audit.events import Action, AuditEvent
from rebalancer.domain.errors import Unavailable

log = logging.getLogger("rebalancer.audit")


@attrs.frozen
class ListAuditEvents:
    """Read events of the audit trail, latest first."""

    work: UnitOfWork

    def __call__(
        self,
        subject: UUID | None = None,
        *,
        involved: UUID | None = None,
        action: str | None = None,
        since: datetime | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[AuditEvent]:
        """Return a page of events; see `AuditTrail.page`."""
        with self.work.read() as tx:
            return tx.audit.page(
                subject, involved=involved, action=action, since=since, before=before, limit=limit
            )


@attrs.frozen
class SealAuditTrail:
    """Add new events to the chain of hashes.

    The head is logged, so that logs on another machine show the removal of later events.

    Attributes:
        batch: Most events per transaction.
    """

    work: UnitOfWork
    batch: int = 500

    def __call__(self, now: datetime) -> Link | None:
        """Seal all events; return the new head; None without new events."""
        head: Link | None = None
        while (link := self._seal(now)) is not None:
            head = link
        if head is not None:
            log.info("the audit trail is sealed through %s", head)
        return head

    def _seal(self, now: datetime) -> Link | None:
        with self.work.read() as tx:  # without new events, no writer is delayed
            if not tx.audit.has_pending():
                return None
        with self.work.begin() as tx:
            return tx.audit.seal(now, limit=self.batch)


@attrs.frozen
class VerifyAuditTrail:
    """Check the chain of hashes."""

    work: UnitOfWork

    def __call__(self, noted: Link | None = None) -> TrailCheck:
        """Return what the check found; see `AuditTrail.verify`."""
        with self.work.read() as tx:
            return tx.audit.verify(noted)


@attrs.frozen
class AuditRetention:
    """How long the audit trail keeps what.

    Attributes:
        events: Age at which events are removed; None: never.
        addresses: Age at which client addresses and programs are erased from them.
    """

    events: timedelta | None
    addresses: timedelta


@attrs.frozen
class CutAuditTrail:
    """Remove old events from the audit trail, and record that."""

    work: UnitOfWork

    def __call__(self, before: datetime, *, now: datetime) -> Cut | None:
        """Remove the sealed events before a time; return None without any.

        Raises:
            Unavailable: the role of the database may not remove events.
        """
        with self.work.begin() as tx:
            cut = tx.audit.cut(before, now)
            if cut is not None:
                record(tx, Action.AUDIT_CUT, at=now, details=cut.details())
        return cut


@attrs.frozen
class ExpireAuditTrail:
    """Erase old addresses, and cut old events, as the retention demands."""

    work: UnitOfWork
    cut: CutAuditTrail
    retention: AuditRetention

    def __call__(self, now: datetime) -> None:
        """Erase and cut what is too old at ``now``."""
        with self.work.begin() as tx:
            tx.audit.erase_origins(before=now - self.retention.addresses)
        if self.retention.events is None:
            return
        try:
            self.cut(now - self.retention.events, now=now)
        except Unavailable as error:
            if error.code != "database_privilege_missing":
                raise
            log.warning(
                "the audit trail has events older than %d days; cut it as the role that owns the "
                "tables: rebalancer audit cut",
                self.retention.events.days,
            )
