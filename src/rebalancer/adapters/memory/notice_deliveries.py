"""Messages with notices, in memory."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.not_found import require
from rebalancer.domain.notices.deliveries import DeliveryState, NoticeDelivery


@attrs.frozen
class QueuedDelivery:
    """Message and until when the process that sends it has it for itself."""

    delivery: NoticeDelivery
    claimed: datetime | None = None

    @property
    def owner(self) -> UUID:
        """Owner of the message."""
        return self.delivery.owner

    def is_claimed(self, now: datetime) -> bool:
        """Return whether a process sends it."""
        return self.claimed is not None and self.claimed > now


@attrs.frozen
class MemoryNoticeDeliveries:
    rows: dict[UUID, QueuedDelivery]

    def add(self, delivery: NoticeDelivery) -> None:
        known = self.rows.get(delivery.id)
        if known is None:
            self.rows[delivery.id] = QueuedDelivery(delivery)
        elif known.delivery.closed is None and known.delivery.attempts == 0:
            extra = [one for one in delivery.notices if one not in known.delivery.notices]
            self._change(known, notices=(*known.delivery.notices, *extra))
        else:
            for notice in delivery.notices:
                if notice not in known.delivery.notices:
                    later = delivery.following(notice)
                    self.rows.setdefault(later.id, QueuedDelivery(later))

    def has_due(self, now: datetime) -> bool:
        return any(row.delivery.due <= now for row in self._waiting() if not row.is_claimed(now))

    def claim(
        self, now: datetime, *, until: datetime, without: Collection[str] = ()
    ) -> NoticeDelivery | None:
        busy = {(row.owner, row.delivery.channel) for row in self._waiting() if row.is_claimed(now)}
        due = [
            row
            for row in self._waiting()
            if row.delivery.due <= now
            and row.delivery.channel not in without
            and (row.owner, row.delivery.channel) not in busy
        ]
        if not due:
            return None
        first = min(due, key=lambda row: (row.delivery.due, row.delivery.id))
        delivery = attrs.evolve(first.delivery, attempts=first.delivery.attempts + 1)
        self.rows[delivery.id] = QueuedDelivery(delivery, claimed=until)
        return delivery

    def close(self, id: UUID, state: DeliveryState, now: datetime, *, fault: str = "") -> None:
        row = self.rows.get(id)
        if row is not None and row.delivery.closed is None:
            self._change(row, state=state, closed=now, fault=fault)

    def defer(
        self, id: UUID, due: datetime, *, rest: datetime, attempts: int, fault: str = ""
    ) -> None:
        row = self.rows.get(id)
        if row is None or row.delivery.closed is not None or row.delivery.attempts != attempts:
            return
        self._change(row, due=due, fault=fault)
        for other in self._waiting():
            same = (other.owner, other.delivery.channel) == (row.owner, row.delivery.channel)
            if same and other.delivery.due < rest:
                self.rows[other.delivery.id] = attrs.evolve(
                    other, delivery=attrs.evolve(other.delivery, due=rest)
                )

    def get(self, id: UUID, *, owner: UUID) -> NoticeDelivery:
        row = self.rows.get(id)
        mine = row is not None and row.owner == owner
        return require(row if mine else None, "delivery", id).delivery

    def page(
        self,
        owner: UUID,
        *,
        state: DeliveryState | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[NoticeDelivery]:
        found = [row.delivery for row in self.rows.values() if row.owner == owner]
        found = [row for row in found if state in (None, row.state)]
        found.sort(key=lambda row: (row.created, row.id), reverse=True)
        if before is not None:
            at = next((i for i, row in enumerate(found) if row.id == before), len(found))
            found = found[at + 1 :]
        return found[:limit]

    def retry(self, id: UUID, now: datetime) -> None:
        row = self.rows.get(id)
        if row is not None and row.delivery.state is DeliveryState.FAILED:
            self._change(row, state=DeliveryState.WAITING, due=now, created=now, closed=None)

    def drop(self, owner: UUID, channel: str, now: datetime) -> None:
        for row in self._waiting():
            if (row.owner, row.delivery.channel) == (owner, channel):
                self._change(row, state=DeliveryState.DROPPED, closed=now)

    def delete_closed(self, before: datetime) -> None:
        for id, row in list(self.rows.items()):
            if row.delivery.closed is not None and row.delivery.closed < before:
                del self.rows[id]

    def _waiting(self) -> list[QueuedDelivery]:
        return [row for row in self.rows.values() if row.delivery.closed is None]

    def _change(self, row: QueuedDelivery, **changes: object) -> None:
        """Replace a message, which no process sends now."""
        changed = attrs.evolve(row.delivery, **changes)  # type: ignore[arg-type]  # by name
        self.rows[changed.id] = QueuedDelivery(changed)
