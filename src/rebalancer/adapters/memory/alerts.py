"""Alerts and automation of portfolios in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

import attrs

from rebalancer.domain.alerts.automation import DaySpending
from rebalancer.domain.alerts.record import AlertRecord, AutomationProgress, AutomationStop
from rebalancer.domain.alerts.settings import AlertKind
from rebalancer.domain.alerts.watches import Episode
from rebalancer.domain.errors import Conflict
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.owner import User

_DEPLOYMENT = UUID(int=0)


@attrs.frozen
class Lease:
    """Who evaluates a record, and until when."""

    worker: UUID
    until: datetime


@attrs.frozen
class KeptEpisode:
    """An episode with the owner of its portfolio."""

    owner: UUID
    episode: Episode


@attrs.frozen
class KeptSpending:
    """What was accepted automatically by one proposal."""

    owner: UUID
    portfolio: UUID
    day: date
    spending: DaySpending


@attrs.frozen
class MemoryAlerts:
    rows: dict[UUID, AlertRecord]
    leases: dict[UUID, Lease]
    kept: dict[UUID, KeptEpisode]
    _portfolios: Mapping[UUID, ManagedPortfolio]
    _closed: Mapping[UUID, datetime]
    _users: Mapping[UUID, User]

    def find(self, portfolio: UUID) -> AlertRecord | None:
        return self.rows.get(portfolio)

    def any(self) -> bool:
        return bool(self.rows)

    def of_owner(self, owner: UUID) -> list[AlertRecord]:
        mine = [row for row in self.rows.values() if row.owner == owner]
        return sorted(mine, key=lambda row: row.portfolio)

    def live(self) -> list[AlertRecord]:
        found = [
            row
            for row in self.rows.values()
            if row.settings.live and row.portfolio not in self._closed
        ]
        return sorted(found, key=lambda row: row.portfolio)

    def save_settings(self, record: AlertRecord) -> None:
        known = self.rows.get(record.portfolio)
        if known is not None:
            record = attrs.evolve(
                known,
                settings=record.settings,
                automation=record.automation,
                changed=record.changed,
                due=record.due,
            )
        self.rows[record.portfolio] = record
        self.leases.pop(record.portfolio, None)

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
        def is_due(row: AlertRecord) -> bool:
            stored = self._portfolios.get(row.portfolio)
            lease = self.leases.get(row.portfolio)
            if stored is None or row.portfolio in self._closed:
                return False
            owner = self._users.get(row.owner)
            if owner is not None and owner.disabled is not None:
                return False
            if lease is not None and lease.until > now:
                return False
            if portfolio is not None:
                return row.portfolio == portfolio
            if row.due <= now or row.version != stored.version or row.market is None:
                return True
            if row.market[:10] != market[:10]:
                return row.market[:10] < market[:10]
            return row.market != market and row.due <= settled

        due = sorted(filter(is_due, self.rows.values()), key=lambda row: (row.due, row.portfolio))
        for row in due[:limit]:
            self.leases[row.portfolio] = Lease(worker, until)
        return due[:limit]

    def finish(self, record: AlertRecord, *, worker: UUID, release: bool = True) -> bool:
        return self._save(
            record.portfolio,
            worker,
            release=release,
            state=record.state,
            progress=record.progress,
            due=record.due,
            version=record.version,
            market=record.market,
        )

    def save_progress(
        self, portfolio: UUID, progress: AutomationProgress, *, worker: UUID, release: bool
    ) -> bool:
        return self._save(portfolio, worker, release=release, progress=progress)

    def begin_episodes(self, owner: UUID, episodes: Sequence[Episode]) -> None:
        for one in episodes:
            if one.id in self.kept:
                raise Conflict("this exists already", code="already_exists")
            self.kept[one.id] = KeptEpisode(owner, one)

    def end_episode(
        self, portfolio: UUID, kind: AlertKind, subject: str, number: int, now: datetime
    ) -> None:
        for id, kept in self.kept.items():
            one = kept.episode
            if (one.portfolio, one.kind, one.subject, one.number) == (
                portfolio,
                kind,
                subject,
                number,
            ):
                self.kept[id] = attrs.evolve(kept, episode=attrs.evolve(one, ended=now))

    def episodes(self, portfolio: UUID, *, before: UUID | None = None, limit: int) -> list[Episode]:
        mine = [one.episode for one in self.kept.values() if one.episode.portfolio == portfolio]
        mine.sort(key=lambda one: (one.began, one.id), reverse=True)
        if before is not None:
            at = next((i for i, one in enumerate(mine) if one.id == before), len(mine))
            mine = mine[at + 1 :]
        return mine[:limit]

    def _save(self, portfolio: UUID, worker: UUID, *, release: bool, **values: object) -> bool:
        lease = self.leases.get(portfolio)
        if lease is None or lease.worker != worker:
            return False
        self.rows[portfolio] = attrs.evolve(self.rows[portfolio], **values)  # type: ignore[arg-type]  # by name
        if release:
            del self.leases[portfolio]
        return True


@attrs.frozen
class MemoryAutomationControls:
    """See `AutomationControls`; writers run one after the other."""

    stops: dict[UUID, AutomationStop]
    kept: dict[UUID, KeptSpending]

    def stop_for(self, owner: UUID) -> AutomationStop | None:
        return self.find_stop(None) or self.find_stop(owner)

    def find_stop(self, owner: UUID | None) -> AutomationStop | None:
        return self.stops.get(owner or _DEPLOYMENT)

    def set_stop(self, owner: UUID | None, now: datetime) -> bool:
        scope = owner or _DEPLOYMENT
        if scope in self.stops:
            return False
        self.stops[scope] = AutomationStop(owner, now)
        return True

    def clear_stop(self, owner: UUID | None) -> bool:
        return self.stops.pop(owner or _DEPLOYMENT, None) is not None

    def spent(self, portfolio: UUID, day: date) -> list[DaySpending]:
        mine = sorted(
            ((id, one) for id, one in self.kept.items() if one.portfolio == portfolio),
            key=lambda item: item[0],
        )
        return [one.spending for _, one in mine if one.day == day]

    def spend(
        self, portfolio: UUID, owner: UUID, day: date, proposal: UUID, spending: DaySpending
    ) -> None:
        if proposal in self.kept:
            raise Conflict("this exists already", code="already_exists")
        self.kept[proposal] = KeptSpending(owner, portfolio, day, spending)
