"""Alerts and automation of portfolios in a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row, and_, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from rebalancer.adapters.sql.rows import Converter
from rebalancer.adapters.sql.statements import SqlStore, lock_rows, select_latest
from rebalancer.adapters.sql.tables import (
    alert_episodes,
    automatic_acceptances,
    automation_stops,
    portfolio_alerts,
    portfolios,
    users,
)
from rebalancer.domain.alerts.automation import AutomationSettings, DaySpending
from rebalancer.domain.alerts.evaluation import AlertState
from rebalancer.domain.alerts.record import AlertRecord, AutomationProgress, AutomationStop
from rebalancer.domain.alerts.settings import AlertKind, AlertSettings
from rebalancer.domain.alerts.watches import Episode

DEPLOYMENT = UUID(int=0)
"""Scope of the stop that concerns all accounts."""


_RECORDS = Converter(
    AlertRecord,
    settings=msgspec.json.Decoder(AlertSettings).decode,
    automation=msgspec.json.Decoder(AutomationSettings).decode,
    state=msgspec.json.Decoder(AlertState).decode,
    progress=msgspec.json.Decoder(AutomationProgress).decode,
)
_SPENDING = msgspec.json.Decoder(DaySpending)
_DAY = len("2026-01-05")
_SETTINGS = ("settings", "automation", "changed", "due", "live")
_OUTCOME = ("state", "progress", "due", "version", "market")


class SqlAlerts(SqlStore):
    def find(self, portfolio: UUID) -> AlertRecord | None:
        query = select(portfolio_alerts).where(portfolio_alerts.c.portfolio == portfolio)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return None if row is None else _RECORDS.from_row(row)

    def any(self) -> bool:
        query = select(portfolio_alerts.c.portfolio).limit(1)
        return self.connection.scalar(query) is not None

    def of_owner(self, owner: UUID) -> list[AlertRecord]:
        table = portfolio_alerts.c
        query = select(portfolio_alerts).where(table.owner == owner).order_by(table.portfolio)
        return [_RECORDS.from_row(row) for row in self.connection.execute(query)]

    def live(self) -> list[AlertRecord]:
        table = portfolio_alerts.c
        query = (
            select(portfolio_alerts)
            .join(portfolios, portfolios.c.id == table.portfolio)
            .where(table.live, portfolios.c.closed.is_(None))
            .order_by(table.portfolio)
        )
        return [_RECORDS.from_row(row) for row in self.connection.execute(query)]

    def save_settings(self, record: AlertRecord) -> None:
        row = {**_RECORDS.to_row(record), "live": record.settings.live}
        added = self._insert(portfolio_alerts).values(row)
        changed = {name: added.excluded[name] for name in _SETTINGS}
        self.connection.execute(
            added.on_conflict_do_update(
                index_elements=["portfolio"], set_={**changed, "worker": None, "leased": None}
            )
        )

    def claim(
        self,
        now: datetime,
        *,
        worker: UUID,
        until: datetime,
        market: str,
        settled: datetime,
        limit: int,
        portfolio: UUID | None = None,
    ) -> list[AlertRecord]:
        table = portfolio_alerts.c
        day = func.substr(table.market, 1, _DAY)
        is_due = or_(
            table.due <= now,
            table.version.is_distinct_from(portfolios.c.version),
            table.market.is_(None),
            day < market[:_DAY],
            and_(day == market[:_DAY], table.market != market, table.due <= settled),
        )
        query = (
            select(portfolio_alerts)
            .join(portfolios, portfolios.c.id == table.portfolio)
            .join(users, users.c.id == table.owner)
            .where(
                portfolios.c.closed.is_(None),
                users.c.disabled.is_(None),
                or_(table.leased.is_(None), table.leased <= now),
                is_due if portfolio is None else table.portfolio == portfolio,
            )
            .order_by(table.due, table.portfolio)
            .limit(limit)
            .with_for_update(of=portfolio_alerts, skip_locked=True)
        )
        found = [_RECORDS.from_row(row) for row in self.connection.execute(query)]
        mine = table.portfolio.in_([one.portfolio for one in found])
        lease = update(portfolio_alerts).where(mine).values(worker=worker, leased=until)
        if found:
            self.connection.execute(lease)
        return found

    def finish(self, record: AlertRecord, *, worker: UUID, release: bool = True) -> bool:
        row = _RECORDS.to_row(record)
        values = {name: row[name] for name in _OUTCOME}
        return self._save(record.portfolio, worker, values, release=release)

    def save_progress(
        self, portfolio: UUID, progress: AutomationProgress, *, worker: UUID, release: bool
    ) -> bool:
        return self._save(portfolio, worker, {"progress": progress}, release=release)

    def begin_episodes(self, owner: UUID, episodes: Sequence[Episode]) -> None:
        rows = [{**_episode_row(one), "owner": owner} for one in episodes]
        if rows:
            self.connection.execute(insert(alert_episodes), rows)

    def end_episode(
        self, portfolio: UUID, kind: AlertKind, subject: str, number: int, now: datetime
    ) -> None:
        table = alert_episodes.c
        self.connection.execute(
            update(alert_episodes)
            .where(
                table.portfolio == portfolio,
                table.kind == kind.value,
                table.subject == subject,
                table.number == number,
            )
            .values(ended=now)
        )

    def episodes(self, portfolio: UUID, *, before: UUID | None = None, limit: int) -> list[Episode]:
        page = select_latest(
            select(alert_episodes),
            alert_episodes,
            "began",
            before=before,
            limit=limit,
            portfolio=portfolio,
        )
        return [_episode_of(row) for row in self.connection.execute(page)]

    def _save(
        self, portfolio: UUID, worker: UUID, values: dict[str, Any], *, release: bool
    ) -> bool:
        table = portfolio_alerts.c
        ended = {"worker": None, "leased": None} if release else {}
        changed = self.connection.execute(
            update(portfolio_alerts)
            .where(table.portfolio == portfolio, table.worker == worker)
            .values({**values, **ended})
        )
        return changed.rowcount == 1

    def _insert(self, table: Any) -> Any:
        is_sqlite = self.connection.dialect.name == "sqlite"
        return (sqlite_insert if is_sqlite else postgres_insert)(table)


class SqlAutomationControls(SqlStore):
    def stop_for(self, owner: UUID) -> AutomationStop | None:
        scopes = [DEPLOYMENT, owner]
        table = automation_stops.c
        query = select(automation_stops).where(table.scope.in_(scopes)).order_by(table.scope)
        if self.locks:
            for scope in scopes:
                self._ensure(scope)
            query = query.with_for_update(read=True)
        set_ones = [row for row in self.connection.execute(query) if row.since is not None]
        return _stop_of(set_ones[0]) if set_ones else None

    def find_stop(self, owner: UUID | None) -> AutomationStop | None:
        mine = automation_stops.c.scope == (owner or DEPLOYMENT)
        row = self.connection.execute(select(automation_stops).where(mine)).one_or_none()
        return None if row is None or row.since is None else _stop_of(row)

    def set_stop(self, owner: UUID | None, now: datetime) -> bool:
        self._ensure(owner or DEPLOYMENT)
        return self._change(owner, now, automation_stops.c.since.is_(None))

    def clear_stop(self, owner: UUID | None) -> bool:
        return self._change(owner, None, automation_stops.c.since.is_not(None))

    def spent(self, portfolio: UUID, day: date) -> list[DaySpending]:
        table = automatic_acceptances.c
        query = select(table.spending).where(table.portfolio == portfolio, table.day == day)
        return [
            _SPENDING.decode(text)
            for text in self.connection.execute(query.order_by(table.proposal)).scalars()
        ]

    def spend(
        self, portfolio: UUID, owner: UUID, day: date, proposal: UUID, spending: DaySpending
    ) -> None:
        row = {"proposal": proposal, "portfolio": portfolio, "owner": owner, "day": day}
        self.connection.execute(insert(automatic_acceptances), {**row, "spending": spending})

    def _ensure(self, scope: UUID) -> None:
        """Add the row of a scope unless it exists, so that it can be locked."""
        is_sqlite = self.connection.dialect.name == "sqlite"
        added = (sqlite_insert if is_sqlite else postgres_insert)(automation_stops).values(
            scope=scope, owner=None if scope == DEPLOYMENT else scope
        )
        self.connection.execute(added.on_conflict_do_nothing(index_elements=["scope"]))

    def _change(self, owner: UUID | None, since: datetime | None, condition: Any) -> bool:
        mine = automation_stops.c.scope == (owner or DEPLOYMENT)
        changed = update(automation_stops).where(mine, condition).values(since=since)
        return self.connection.execute(changed).rowcount == 1


def _stop_of(row: Row[Any]) -> AutomationStop:
    return AutomationStop(row.owner, row.since)


def _episode_row(episode: Episode) -> dict[str, Any]:
    return {
        "id": episode.id,
        "portfolio": episode.portfolio,
        "kind": episode.kind.value,
        "subject": episode.subject,
        "number": episode.number,
        "began": episode.began,
        "value": episode.value,
        "limit": episode.limit,
        "ended": episode.ended,
    }


def _episode_of(row: Row[Any]) -> Episode:
    return Episode(
        row.portfolio,
        AlertKind(row.kind),
        row.subject,
        row.number,
        row.began,
        row.value,
        row.limit,
        row.ended,
    )
