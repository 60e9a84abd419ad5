"""The audit trail in memory."""

from __future__ import annotations

from datetime import datetime
from secrets import token_hex
from uuid import UUID

import attrs

from rebalancer.domain.audit.chain import (
    ChainCheck,
    Cut,
    Link,
    Seal,
    SealedEvent,
    TrailCheck,
    check_trail,
    commit_to,
    seal_events,
)
from rebalancer.domain.audit.events import AuditEvent


@attrs.frozen
class _Stored:
    event: AuditEvent
    commitment: str | None
    salt: str | None


@attrs.frozen
class MemoryAuditTrail:
    rows: dict[UUID, _Stored]
    seals: dict[UUID, Seal]
    cuts: dict[int, Cut]

    def append(self, event: AuditEvent) -> None:
        salt = token_hex(16)
        commitment = commit_to(event.origin, salt)
        self.rows[event.id] = _Stored(event, commitment, salt if commitment else None)

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
        found = [
            event
            for event in (row.event for row in self.rows.values())
            if subject in (None, event.subject)
            and actor in (None, event.actor)
            and involved in (None, event.subject, event.actor)
            and action in (None, event.action)
            and (since is None or event.at >= since)
        ]
        found.sort(key=_order, reverse=True)
        if before is not None:
            start = self.rows.get(before)
            if start is None:
                return []
            found = [event for event in found if _order(event) < _order(start.event)]
        return found[:limit]

    def has_pending(self) -> bool:
        return len(self.seals) < len(self.rows)

    def seal(self, now: datetime, *, limit: int) -> Link | None:
        pending = [row for row in self.rows.values() if row.event.id not in self.seals]
        pending.sort(key=lambda row: _order(row.event))
        chosen = [(row.event, row.commitment) for row in pending[:limit]]
        new = seal_events(self._head(), chosen, now)
        self.seals.update((seal.event, seal) for seal in new)
        return Link(new[-1].position, new[-1].digest) if new else None

    def verify(self, noted: Link | None = None) -> TrailCheck:
        cut = self._last_cut()
        check = ChainCheck(cut.through if cut else Link(), noted)
        for seal in self._sealed():
            row = self.rows.get(seal.event)
            check.follow(
                SealedEvent(seal, row.event, row.commitment, row.salt)
                if row
                else SealedEvent(seal, None)
            )
        witnesses = [row.event for row in self.rows.values()]
        pending = len(self.rows.keys() - self.seals.keys())
        return check_trail(check, cut, witnesses, pending=pending, unsealed=())

    def cut(self, before: datetime, now: datetime) -> Cut | None:
        through: Seal | None = None
        for seal in self._sealed():
            if self.rows[seal.event].event.at >= before:
                break
            through = seal
        if through is None:
            return None
        for seal in self._sealed():
            if seal.position <= through.position:
                del self.rows[seal.event], self.seals[seal.event]
        made = Cut(Link(through.position, through.digest), before, now)
        self.cuts[through.position] = made
        return made

    def erase_origins(self, *, before: datetime | None = None, involved: UUID | None = None) -> int:
        erased = 0
        for id, row in list(self.rows.items()):
            event = row.event
            accounts = (None, event.subject, event.actor)
            chosen = (before is None or event.at < before) and involved in accounts
            if chosen and row.salt is not None:
                origin = attrs.evolve(event.origin, address=None, agent=None)
                self.rows[id] = _Stored(attrs.evolve(event, origin=origin), row.commitment, None)
                erased += 1
        return erased

    def _sealed(self) -> list[Seal]:
        return sorted(self.seals.values(), key=lambda seal: seal.position)

    def _last_cut(self) -> Cut | None:
        return self.cuts[max(self.cuts)] if self.cuts else None

    def _head(self) -> Link:
        sealed, cut = self._sealed(), self._last_cut()
        if sealed:
            return Link(sealed[-1].position, sealed[-1].digest)
        return cut.through if cut else Link()


def _order(event: AuditEvent) -> tuple[datetime, UUID]:
    return event.at, event.id
