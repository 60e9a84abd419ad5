"""Keep stored market data up to date by schedule: each task runs once when it is due.

Tasks are rows of the store, so that any number of workers may look at them, and a worker that was
down catches up a missed run with a single one. Only what was synchronized before is scheduled:
nothing is fetched unasked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import attrs
import numpy as np

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.reference_data import RefreshReference
from rebalancer.application.synchronize import DELAY, SyncMarket, SyncReport, last_ended_session
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.market.currencies import is_rate_symbol
from rebalancer.domain.market.synchronization import ScheduledTask, TaskState

log = logging.getLogger("rebalancer.schedule")

RATES, CLEAN_UP, OTHERS = "rates", "clean-up", "bars:other"
FUNDAMENTALS, ECONOMICS = "fundamentals", "economic-series"
"""Names of tasks that belong to no market; those of markets are such as ``bars:XNYS``."""

_BARS = "bars:"

RETRY = timedelta(hours=1)
"""Time until a run that failed in part is repeated."""

ABANDONED = timedelta(minutes=15)
"""Time without a sign of life after which another worker takes over a run."""

LATE = timedelta(hours=4)
"""Time after a close in which bars that a provider has not published yet are asked for again."""

HEARTBEAT = timedelta(minutes=1)

_DAILY = {
    RATES: timedelta(hours=15, minutes=30),
    CLEAN_UP: timedelta(hours=3),
    FUNDAMENTALS: timedelta(hours=4),
    ECONOMICS: timedelta(hours=22, minutes=30),
}
"""Time of the day, in UTC, of tasks without a market: the ECB publishes at about 15:00, most
economic series appear during the day of New York."""

_OTHERS_AT = timedelta(hours=23)
"""The same for assets whose market's sessions are not known."""

_KEPT = timedelta(days=60)
"""Time that spent quotas are remembered."""


class Stopped(RebalancerError):
    """This process ends; the rest of the task is due at once."""

    default_code = "task_stopped"


class TakenOver(RebalancerError):
    """Another worker runs the task by now, because this one gave no sign of life."""

    default_code = "task_taken_over"


@attrs.frozen
class _Outcome:
    """What a run did.

    Attributes:
        failed: Whether it failed in part.
        late: Number of assets whose last bar may yet be published.
    """

    detail: str
    failed: bool = False
    late: int = 0


@attrs.frozen
class RunSchedule:
    """Run what is due of the schedule, one task after the other."""

    synchronize: SyncMarket
    work: UnitOfWork
    clock: Clock
    reference: RefreshReference

    def __call__(self, *, should_stop: Callable[[], bool] = lambda: False) -> list[ScheduledTask]:
        """Return the tasks that ran, as they ended.

        Args:
            should_stop: Asked after each asset; when true, the rest is left for the next run.

        Raises:
            Unavailable: the store did not answer.
        """
        now = self.clock()
        symbols = self._symbols_by_task()
        with self.work.read() as tx:
            known = {task.name: task for task in tx.tasks.all()}
        missing = [name for name in symbols if name not in known]
        if missing:
            with self.work.begin() as tx:
                for name in missing:
                    tx.tasks.add_missing(ScheduledTask(name, self.next_due(name, now)))
        limit = now - ABANDONED
        due = [
            task
            for name, task in known.items()
            if name in symbols and task.is_due(now, abandoned_before=limit)
        ]
        done = []
        for task in due:
            if should_stop():
                break
            with self.work.begin() as tx:
                claimed = tx.tasks.claim(task.name, now, abandoned_before=limit)
            if claimed is not None:
                done.append(self._run(claimed, symbols[task.name], should_stop))
        return done

    def next_due(self, name: str, now: datetime) -> datetime:
        """Return when a task is due next, after a time."""
        market = name.removeprefix(_BARS)
        ends = None if name == market else self.synchronize.calendars.closing_times(market)
        if ends is not None:
            moment = np.datetime64(int((now - DELAY).timestamp()), "s")
            at = int(np.searchsorted(ends, moment, side="right"))
            if at < len(ends):
                seconds = int(ends[at].astype("datetime64[s]").astype(np.int64))
                return datetime.fromtimestamp(seconds, UTC) + DELAY
        begins = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        due = begins + _DAILY.get(name, _OTHERS_AT)
        return due if due > now else due + timedelta(days=1)

    def _symbols_by_task(self) -> Mapping[str, Sequence[str]]:
        """Return the assets of each task, by its name; none before anything was synchronized."""
        with self.work.read() as tx:
            states = tx.syncs.get()
        has_facts, has_series = self.reference.is_needed()
        if not (states or has_facts or has_series):
            return {}
        listed = self.synchronize.market.instruments()
        found: dict[str, list[str]] = {CLEAN_UP: []}
        found |= {FUNDAMENTALS: []} if has_facts else {}
        found |= {ECONOMICS: []} if has_series else {}
        for symbol in states:
            market = listed[symbol].market
            known = market is not None and (
                self.synchronize.calendars.closing_times(market) is not None
            )
            task = RATES if is_rate_symbol(symbol) else f"{_BARS}{market}" if known else OTHERS
            found.setdefault(task, []).append(symbol)
        return found

    def _run(
        self, task: ScheduledTask, symbols: Sequence[str], should_stop: Callable[[], bool]
    ) -> ScheduledTask:
        """Run a claimed task, and store how it ended."""
        try:
            outcome = self._do(task, symbols, should_stop)
        except Stopped:
            now = self.clock()
            waiting = attrs.evolve(task, state=TaskState.WAITING, alive=None, due=now)
            with self.work.begin() as tx:
                tx.tasks.save(waiting, expected=task.started)
            return waiting
        except TakenOver:
            log.warning("task %s is run by another worker by now", task.name)
            return task
        except RebalancerError as error:
            outcome = _Outcome(error.message, failed=True)
        now = self.clock()
        due, failed = self.next_due(task.name, now), outcome.failed
        if failed or outcome.late:
            due = min(due, now + RETRY)
        ended = task.finish(now, due=due, detail=outcome.detail, failed=failed)
        with self.work.begin() as tx:
            tx.tasks.save(ended, expected=task.started)
        level, how = (logging.WARNING, "failed in part") if failed else (logging.INFO, "is done")
        log.log(level, "task %s %s: %s", task.name, how, outcome.detail)
        return ended

    def _do(
        self, task: ScheduledTask, symbols: Sequence[str], should_stop: Callable[[], bool]
    ) -> _Outcome:
        """Return what was done."""
        if task.name == CLEAN_UP:
            before = str((self.clock() - _KEPT).astimezone(UTC).date())
            with self.work.begin() as tx:
                deleted = tx.quotas.delete_before(before)
            return _Outcome(f"{deleted} old quotas deleted")
        alive = [self.clock()]

        def beat() -> None:
            if should_stop():
                raise Stopped("the process ends")
            now = self.clock()
            if now - alive[0] < HEARTBEAT:
                return
            alive[0] = now
            with self.work.begin() as tx:
                if not tx.tasks.save(attrs.evolve(task, alive=now), expected=task.started):
                    raise TakenOver(f"task {task.name} has been taken over")

        if task.name in (FUNDAMENTALS, ECONOMICS):
            refresh = self.reference.facts if task.name == FUNDAMENTALS else self.reference.series
            due, faults = refresh(self.clock(), beat)
            detail = f"{due} fetched again"
            if faults:
                detail += f", {len(faults)} failed: {faults[0]}"
            return _Outcome(detail, bool(faults))
        report = self.synchronize(symbols, progress=lambda _: beat(), check=beat)
        days = sum(one.days for one in report.outcomes)
        detail = f"{len(symbols)} assets, {days} days new or changed"
        if report.failed:
            detail += f", {len(report.failed)} failed: {report.failed[0].fault}"
        late = self._count_late(task, report)
        if late:
            detail += f", {late} not published yet"
        return _Outcome(detail, bool(report.failed), late)

    def _count_late(self, task: ScheduledTask, report: SyncReport) -> int:
        """Return the number of assets whose last bar may yet be published."""
        market, now = task.name.removeprefix(_BARS), self.clock()
        calendars = self.synchronize.calendars
        if market == task.name or calendars.closing_times(market) is None:
            return 0
        last = last_ended_session(calendars, market, now)
        if last is None or last == last_ended_session(calendars, market, now - LATE):
            return 0  # the last close is too long ago
        return sum(
            one.fault is None and one.through is not None and one.through < last
            for one in report.outcomes
        )


@attrs.frozen
class ReadSchedule:
    """Read the schedule."""

    work: UnitOfWork

    def __call__(self) -> list[ScheduledTask]:
        """Return all tasks, by time at which they are due.

        Raises:
            Unavailable: the store did not answer.
        """
        with self.work.read() as tx:
            return tx.tasks.all()
