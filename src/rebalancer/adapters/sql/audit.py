"""The audit trail in a SQL database.

Rows of events and of seals are only ever inserted: a trigger in SQLite, and the privileges of the
application's role in Postgres, allow nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from secrets import token_hex
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, delete, func, insert, or_, select, tuple_

from rebalancer.adapters.sql.rows import decode_details
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore
from rebalancer.adapters.sql.tables import (
    audit_cuts,
    audit_events,
    audit_origins,
    audit_pending,
    audit_seals,
)
from rebalancer.application.ports.encryption import SYSTEM
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
from rebalancer.domain.audit.events import Action, AuditEvent, Origin, Outcome

_EVENTS, _ORIGINS, _SEALS = audit_events.c, audit_origins.c, audit_seals.c

_LOCK_KEY = int.from_bytes(b"audited", "big")
"""Key of the advisory lock of sealing in Postgres."""

_BATCH = 1000
"""Seals that `verify` reads at a time."""


class SqlAuditTrail(SqlStore):
    def append(self, event: AuditEvent) -> None:
        salt, origin = token_hex(16), event.origin
        commitment = commit_to(origin, salt)
        row = {
            "id": event.id,
            "at": event.at,
            "action": event.action,
            "outcome": event.outcome.value,
            "actor": event.actor,
            "subject": event.subject,
            "target": event.target,
            "via": origin.via,
            "request": origin.request,
            "commitment": commitment,
            "details": dict(event.details),
        }
        self.connection.execute(insert(audit_events), row)
        self.connection.execute(insert(audit_pending), {"event": event.id})
        if commitment is not None:
            erasable = {
                "event": event.id,
                "at": event.at,
                "subject": event.subject,
                "salt": salt,
                "address": origin.address,
                "agent": origin.agent,
            }
            row = seal_row(self.cipher, audit_origins, erasable)
            self.connection.execute(insert(audit_origins), row)

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
        conditions: list[ColumnElement[bool]] = []
        if subject is not None:
            conditions.append(_EVENTS.subject == subject)
        if actor is not None:
            conditions.append(_EVENTS.actor == actor)
        if involved is not None:
            conditions.append(or_(_EVENTS.subject == involved, _EVENTS.actor == involved))
        if action is not None:
            conditions.append(_EVENTS.action == action)
        if since is not None:
            conditions.append(_EVENTS.at >= since)
        if before is not None:
            cursor = audit_events.alias("cursor")
            start = select(cursor.c.at, cursor.c.id).where(cursor.c.id == before)
            conditions.append(tuple_(_EVENTS.at, _EVENTS.id) < start.scalar_subquery())
        query = _with_origins().where(*conditions)
        query = query.order_by(_EVENTS.at.desc(), _EVENTS.id.desc()).limit(limit)
        return [_event_of(self._open(row)) for row in self.connection.execute(query)]

    def has_pending(self) -> bool:
        query = select(audit_pending).limit(1)
        return self.connection.execute(query).one_or_none() is not None

    def seal(self, now: datetime, *, limit: int) -> Link | None:
        if self.connection.dialect.name == "postgresql":  # SQLite has one writer anyway
            self.connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
        query = select(audit_events).join(audit_pending, audit_pending.c.event == _EVENTS.id)
        rows = self.connection.execute(query.order_by(_EVENTS.at, _EVENTS.id).limit(limit)).all()
        if not rows:
            return None
        events = [(_event_of(row), row.commitment) for row in rows]
        seals = seal_events(self._head(), events, now)
        self.connection.execute(
            insert(audit_seals),
            [
                {
                    "position": seal.position,
                    "event": seal.event,
                    "digest": seal.digest,
                    "sealed": seal.sealed,
                }
                for seal in seals
            ],
        )
        sealed = [seal.event for seal in seals]
        self.connection.execute(delete(audit_pending).where(audit_pending.c.event.in_(sealed)))
        return Link(seals[-1].position, seals[-1].digest)

    def verify(self, noted: Link | None = None) -> TrailCheck:
        cut = self._last_cut()
        check = ChainCheck(Link() if cut is None else cut.through, noted)
        for sealed in self._sealed():
            check.follow(sealed)
        witnesses = () if cut is None else self._witnesses(cut)
        pending = select(func.count()).select_from(audit_pending)
        unsealed = (
            select(_EVENTS.id)
            .where(
                ~select(_SEALS.event).where(_SEALS.event == _EVENTS.id).exists(),
                ~select(audit_pending).where(audit_pending.c.event == _EVENTS.id).exists(),
            )
            .order_by(_EVENTS.at, _EVENTS.id)
        )
        return check_trail(
            check,
            cut,
            witnesses,
            pending=self.connection.scalar(pending) or 0,
            unsealed=self.connection.scalars(unsealed).all(),
        )

    def cut(self, before: datetime, now: datetime) -> Cut | None:
        joined = audit_seals.join(audit_events, _SEALS.event == _EVENTS.id)
        kept = select(func.min(_SEALS.position)).select_from(joined).where(_EVENTS.at >= before)
        first = self.connection.scalar(kept)
        last = select(_SEALS.position, _SEALS.digest).order_by(_SEALS.position.desc()).limit(1)
        if first is not None:
            last = last.where(_SEALS.position < first)
        row = self.connection.execute(last).one_or_none()
        if row is None:
            return None
        cut = Cut(Link(row.position, row.digest), before, now)
        self.connection.execute(
            insert(audit_cuts),
            {"position": row.position, "digest": row.digest, "before": before, "cut": now},
        )
        removed = select(_SEALS.event).where(_SEALS.position <= row.position)
        ids = self.connection.scalars(removed).all()
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            self.connection.execute(delete(audit_origins).where(_ORIGINS.event.in_(batch)))
            self.connection.execute(delete(audit_events).where(_EVENTS.id.in_(batch)))
            self.connection.execute(delete(audit_seals).where(_SEALS.event.in_(batch)))
        return cut

    def erase_origins(self, *, before: datetime | None = None, involved: UUID | None = None) -> int:
        erased = delete(audit_origins)
        if before is not None:
            erased = erased.where(_ORIGINS.at < before)
        if involved is not None:
            acted = _ORIGINS.event.in_(select(_EVENTS.id).where(_EVENTS.actor == involved))
            erased = erased.where(or_(_ORIGINS.subject == involved, acted))
        return self.connection.execute(erased).rowcount

    def _open(self, row: Row[Any]) -> Any:
        """Return a row of `_with_origins` with its address and agent opened."""
        return open_row(self.cipher, audit_origins, row, row.origin_subject or SYSTEM)

    def _sealed(self) -> Iterator[SealedEvent]:
        """Yield all seals with their events, by position."""
        query = (
            _with_origins(_SEALS.position, _SEALS.event.label("sealed_event"), _SEALS.digest)
            .add_columns(_SEALS.sealed)
            .order_by(_SEALS.position)
            .limit(_BATCH)
        )
        rows: Sequence[Row[Any]] = self.connection.execute(query).all()
        while rows:
            for row in map(self._open, rows):
                seal = Seal(row.position, row.sealed_event, row.digest, row.sealed)
                event = None if row.id is None else _event_of(row)
                yield SealedEvent(seal, event, row.commitment, row.salt)
            following = query.where(_SEALS.position > rows[-1].position)
            rows = self.connection.execute(following).all()

    def _witnesses(self, cut: Cut) -> Iterator[AuditEvent]:
        """Yield the events that may record a cut."""
        query = _with_origins().where(
            _EVENTS.action == Action.AUDIT_CUT.value, _EVENTS.at >= cut.before
        )
        return (_event_of(self._open(row)) for row in self.connection.execute(query))

    def _last_cut(self) -> Cut | None:
        query = select(audit_cuts).order_by(audit_cuts.c.position.desc()).limit(1)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else Cut(Link(row.position, row.digest), row.before, row.cut)

    def _head(self) -> Link:
        query = select(_SEALS.position, _SEALS.digest).order_by(_SEALS.position.desc()).limit(1)
        row = self.connection.execute(query).one_or_none()
        if row is not None:
            return Link(row.position, row.digest)
        cut = self._last_cut()
        return Link() if cut is None else cut.through


def _with_origins(*seals: ColumnElement[Any]) -> Select[Any]:
    """Select events with their addresses and agents, by their seals if these are selected."""
    columns = (
        audit_events,
        _ORIGINS.event,
        _ORIGINS.subject.label("origin_subject"),
        _ORIGINS.salt,
        _ORIGINS.address,
        _ORIGINS.agent,
    )
    origins = audit_origins
    if seals:
        events = audit_seals.outerjoin(audit_events, _SEALS.event == _EVENTS.id)
        joined = events.outerjoin(origins, _ORIGINS.event == _EVENTS.id)
        return select(*columns, *seals).select_from(joined)
    joined = audit_events.outerjoin(origins, _ORIGINS.event == _EVENTS.id)
    return select(*columns).select_from(joined)


def _event_of(row: Any) -> AuditEvent:
    """Return the event of a row, without address and agent if the row lacks these columns."""
    address, agent = getattr(row, "address", None), getattr(row, "agent", None)
    return AuditEvent(
        id=row.id,
        at=row.at,
        action=row.action,
        outcome=Outcome(row.outcome),
        actor=row.actor,
        subject=row.subject,
        target=row.target,
        origin=Origin(row.via, address, row.request, agent),
        details=decode_details(row.details),
    )
