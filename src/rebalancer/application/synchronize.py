"""Bring stored market data up to date from providers, one asset at a time.

Each asset is a unit of work: what is fetched is saved within a second, so that an interrupted run
continues where it ended, without requests for what it has. An asset is asked for only if a session
of its market has ended since it was last asked for.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, date, datetime, timedelta

import attrs
import numpy as np

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import Calendars
from rebalancer.application.ports.providers import Fetched, ProviderFault, UnknownSymbol
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.provider_chain import Answered, ProviderChain
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.currencies import is_rate_symbol, quote_unit
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.source_comparison import (
    SourceComparison,
    compare_sources,
    confirm_changes,
    update_disagreements,
)
from rebalancer.domain.market.synchronization import SyncState

log = logging.getLogger("rebalancer.market")

OVERLAP = timedelta(days=10)
"""Time before the last stored bar that is fetched again, so that corrections are seen."""

DELAY = timedelta(minutes=30)
"""Time after the end of a session until its bars are expected."""

PATIENCE = timedelta(hours=1)
"""Time until a provider that had no newer bar is asked again."""

_MOST_LOGGED = 5
"""Different faults of a run that are logged."""

_GATHER = 0.5
"""Seconds between two times that answers are saved, unless all have come or they are many."""

_CHECK = 1.0
"""Seconds without any answer after which a caller may end a run."""

_BATCH = 32
"""Assets that are saved together at most."""


_ActionsByKey = dict[tuple[str, date, ActionKind, str], CorporateAction]


@attrs.frozen
class SyncOutcome:
    """What synchronizing did to one asset.

    Attributes:
        provider: Name of the provider that answered; None if none did, or none was asked.
        days: Bars that are new or different.
        actions: Corporate actions that are new or different.
        through: Day of the last stored bar; None without any.
        fault: Why no provider answered; None after an answer.
        disagreements: Findings that its figures differ from those of another source.
        unknown: Whether no provider knows the symbol.
        current: Whether no session has ended since the last answer, so that no request was made.
    """

    symbol: str
    provider: str | None = None
    days: int = 0
    actions: int = 0
    through: date | None = None
    fault: str | None = None
    unknown: bool = False
    current: bool = False
    disagreements: int = 0


@attrs.frozen
class SyncReport:
    """What a run did, by symbol in the order in which they were given."""

    outcomes: tuple[SyncOutcome, ...]

    @property
    def failed(self) -> tuple[SyncOutcome, ...]:
        """Assets without an answer."""
        return tuple(one for one in self.outcomes if one.fault is not None)


@attrs.frozen
class SyncMarket:
    """Fetch what is new of assets, and store it.

    Attributes:
        workers: Assets that are fetched at the same time; providers keep their own pace.
    """

    market: StoredMarket
    chain: ProviderChain
    work: UnitOfWork
    calendars: Calendars
    clock: Clock
    workers: int = 4

    def __call__(
        self,
        symbols: Sequence[str],
        *,
        since: date | None = None,
        provider: str | None = None,
        progress: Callable[[SyncOutcome], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> SyncReport:
        """Synchronize assets and rates.

        Args:
            symbols: Assets, or rates such as EURUSD.
            since: Fetch from this day on, also what is stored; None: what is new.
            provider: Name of the only provider to ask; None: those that have the asset.
            progress: Called with each outcome, when it is stored.
            check: Called every second while no answer comes; an exception from it, or from
                ``progress``, ends the run.

        Raises:
            InvalidRequest: the provider is unknown.
            Unavailable: a store did not answer.
        """
        wanted = list(dict.fromkeys(symbols))
        with self.work.read() as tx:
            states = tx.syncs.get(wanted)
        listed = self.market.instruments()
        outcomes: dict[str, SyncOutcome] = {}
        asked: list[str] = []
        for symbol in wanted:
            state = states.get(symbol, SyncState(symbol))
            if since is None and self._is_current(state, listed[symbol], self.clock()):
                done = SyncOutcome(symbol, state.provider, through=state.through, current=True)
                outcomes[symbol] = done
                progress(done)
            else:
                asked.append(symbol)
        actions = {one.key: one for one in self.market.store.actions()} if asked else {}
        saved = time.monotonic()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="sync") as pool:
            running: dict[Future[Answered], SyncState] = {}
            queue = iter(asked)
            try:
                while True:
                    for symbol in queue:  # no more than can be saved soon are fetched ahead
                        state = states.get(symbol, SyncState(symbol))
                        running[pool.submit(self._fetch, state, since, provider)] = state
                        if len(running) >= self.workers + _BATCH:
                            break
                    if not running:
                        break
                    while not wait(running, _CHECK, return_when=FIRST_COMPLETED).done:
                        check()
                    # Those that end soon are saved together, which takes a fraction of the time.
                    ended, _ = wait(running, max(saved + _GATHER - time.monotonic(), 0.0))
                    some = [(running.pop(future), future) for future in list(ended)[:_BATCH]]
                    ended_outcomes = self._save(some, actions)
                    saved = time.monotonic()
                    for done in ended_outcomes:
                        outcomes[done.symbol] = done
                        progress(done)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.chain.close()  # those that wait for their turn end now
                raise
        report = SyncReport(tuple(outcomes[symbol] for symbol in wanted))
        _log_faults(report)
        return report

    def with_rates(
        self,
        symbols: Sequence[str],
        bases: Collection[str],
        *,
        since: date | None = None,
        provider: str | None = None,
        progress: Callable[[SyncOutcome], None] = lambda _: None,
    ) -> SyncReport:
        """Synchronize assets, and the exchange rates that their currencies need.

        Args:
            symbols: As on a call.
            bases: ISO 4217 codes of the currencies into which the assets are converted.
            since: As on a call.
            provider: Name of the only provider to ask for the symbols; None: as on a call.
            progress: As on a call.

        Raises:
            As on a call.
        """
        report = self(symbols, since=since, provider=provider, progress=progress)
        asked = {one.symbol for one in report.outcomes}
        needed = find_rates(self.market.instruments(), bases, symbols)
        rates = [symbol for symbol in needed if symbol not in asked]
        if not rates:
            return report
        further = self(rates, since=since, progress=progress)
        return SyncReport(report.outcomes + further.outcomes)

    def _fetch(self, state: SyncState, since: date | None, provider: str | None) -> Answered:
        begins = since
        if begins is None and state.through is not None:
            begins = state.through - OVERLAP
        return self.chain.bars(state.symbol, since=begins, now=self.clock(), provider=provider)

    def _save(
        self, fetched: Iterable[tuple[SyncState, Future[Answered]]], actions: _ActionsByKey
    ) -> list[SyncOutcome]:
        """Store answers and faults; return what they changed.

        Args:
            fetched: States before, and what came.
            actions: Those that are stored; new ones are added.
        """
        now = self.clock()
        answers: list[tuple[SyncState, Answered]] = []
        states: list[SyncState] = []
        outcomes: list[SyncOutcome] = []
        for state, future in fetched:
            try:
                answers.append((state, future.result()))
            except ProviderFault as fault:
                unknown = isinstance(fault, UnknownSymbol)
                if not unknown or state.checked is not None:  # no mistyped symbol is remembered
                    states.append(attrs.evolve(state, failed=now, fault=fault.message))
                outcomes.append(
                    SyncOutcome(
                        state.symbol,
                        through=state.through,
                        fault=fault.message,
                        unknown=unknown,
                    )
                )
        if answers:
            self._save_instruments([answer.fetched for _, answer in answers])
        for source in dict.fromkeys(answer.provider for _, answer in answers):
            given = [(state, one.fetched) for state, one in answers if one.provider == source]
            saved = self._save_answers(given, source, now, actions)
            outcomes += saved
            states += [SyncState(one.symbol, source, one.through, checked=now) for one in saved]
        if states:
            with self.work.begin() as tx:
                for state in states:
                    tx.syncs.save(state)
        return outcomes

    def _save_answers(
        self,
        given: Sequence[tuple[SyncState, Fetched]],
        source: str,
        now: datetime,
        stored: _ActionsByKey,
    ) -> list[SyncOutcome]:
        """Store the actions, then the bars of answers of one provider, together.

        The states follow them, so that a repetition completes what an interruption has left.
        """
        before = self._stored_bars([one.bars for _, one in given if len(one.bars)])
        compared = [
            self._compare(one, source, now, stored)
            if state.symbol in before
            else SourceComparison(one.bars, one.actions)
            for state, one in given
        ]
        latest = (now + timedelta(days=1)).date()  # of markets that are ahead; others may change
        changed = {
            action.key: attrs.evolve(action, source=source)
            for one in compared
            for action in one.actions
            if action.ex_day <= latest and stored.get(action.key) != action
        }
        if changed:
            self.market.save_actions(changed.values(), known=now, source=source)
            stored.update(changed)
        bars = [one.bars for one in compared if len(one.bars)]
        if bars:
            self.market.save_bars(bars, known=now, source=source)
        actions = Counter(action.symbol for action in changed.values())
        outcomes = []
        for (state, answer), one in zip(given, compared, strict=True):
            known = before.get(state.symbol)
            days = len(one.bars) if known is None else int(one.bars.changes_since(known).sum())
            last = answer.bars.days[-1].item() if len(answer.bars) else None
            outcomes.append(
                SyncOutcome(
                    state.symbol,
                    source,
                    days,
                    actions[state.symbol],
                    max(filter(None, (last, state.through)), default=None),
                    disagreements=len(one.findings),
                )
            )
        return outcomes

    def _stored_bars(self, bars: Sequence[Bars]) -> dict[str, Bars]:
        """Return the stored bars of the same assets and time."""
        if not bars:
            return {}
        since = min(one.days[0] for one in bars).item()
        return self.market.store.bars(symbols=[one.symbol for one in bars], since=since)

    def _compare(
        self, answer: Fetched, source: str, now: datetime, actions: _ActionsByKey
    ) -> SourceComparison:
        """Compare an answer with the stored figures of other sources; store what follows.

        Disagreements are findings, and a withheld change that the answer has, too, is accepted.
        """
        bars, given = answer.bars, answer.actions
        stored = self.market.store.years(bars.symbol, since=bars.days[0].item())
        known = {name for year in stored for name in np.unique(year.sources).tolist()}
        if not known - {"", source}:
            return SourceComparison(bars, given)
        own = sorted(
            (one for one in actions.values() if one.symbol == bars.symbol),
            key=lambda one: (one.ex_day, one.kind),
        )
        found = compare_sources(bars, given, stored, own, source=source, known=now)
        verdicts = self.market.verdicts()
        changed = update_disagreements(verdicts, bars.symbol, found, known=now)
        changed += confirm_changes(
            self.market.findings(), verdicts, bars, found, source=source, known=now
        )
        if changed:
            self.market.save_verdicts(changed)
        return found

    def _save_instruments(self, fetched: Iterable[Fetched]) -> None:
        """List new assets, and complete listed ones; what is stated already stays."""
        stored = self.market.instruments()
        changed = []
        for one in fetched:
            found = one.instrument
            if found is None or is_rate_symbol(found.symbol):
                continue
            known = stored.by_symbol.get(found.symbol)
            completed = found if known is None else _completed(known, found)
            if completed != known:
                changed.append(completed)
        if changed:
            self.market.save_instruments(Instruments.of(changed))

    def _is_current(self, state: SyncState, instrument: Instrument, now: datetime) -> bool:
        """Return whether no bar can be newer than the last answer."""
        if state.checked is None or (state.failed is not None and state.failed > state.checked):
            return False
        ended = last_ended_session(self.calendars, instrument.market, now)
        # A time in the future is that of a clock which was wrong.
        is_recent = timedelta(0) <= now - state.checked < PATIENCE
        return is_recent or (
            ended is not None and state.through is not None and state.through >= ended
        )


def _log_faults(report: SyncReport) -> None:
    """Log each fault once, with the number of its assets, as one line."""
    by_fault: dict[str, list[str]] = {}
    for one in report.failed:
        name = rf"(?<![\w.-]){re.escape(one.symbol)}(?![\w.-]*\w)"
        by_fault.setdefault(re.sub(name, "...", one.fault or ""), []).append(one.symbol)
    for fault, symbols in list(by_fault.items())[:_MOST_LOGGED]:
        more = len(symbols) - 1
        others = f" and {more} other{'s' if more > 1 else ''}" if more else ""
        log.info("cannot synchronize %s%s: %s", symbols[0], others, fault)
    if len(by_fault) > _MOST_LOGGED:
        rest = sum(len(symbols) for symbols in list(by_fault.values())[_MOST_LOGGED:])
        log.info("cannot synchronize %d further assets", rest)


def last_ended_session(calendars: Calendars, market: str | None, now: datetime) -> date | None:
    """Return the day of the last session whose bars are expected by now.

    Weekdays that are over in UTC where the market's sessions are not known; None before any.
    """
    moment = np.datetime64(int((now - DELAY).timestamp()), "s")
    ends = None if market is None else calendars.closing_times(market)
    if market is None or ends is None:
        today = now.astimezone(UTC).date()
        day = today - timedelta(days=1)
        while day.weekday() > 4:
            day -= timedelta(days=1)
        return day
    at = int(np.searchsorted(ends, moment, side="right")) - 1
    if at < 0:
        return None
    ended: date = calendars.sessions([market])[market][at].item()
    return ended


def _completed(known: Instrument, found: Instrument) -> Instrument:
    """Return a listed instrument with what it lacks."""
    return attrs.evolve(
        known,
        name=known.name or found.name,
        asset_class=known.asset_class or found.asset_class,
        currency=known.currency or found.currency,
        market=known.market or found.market,
    )


def find_rates(instruments: Instruments, bases: Iterable[str], symbols: Iterable[str]) -> list[str]:
    """Return the symbols of the euro rates that convert some assets into base currencies, sorted.

    Rates among the symbols are not assets. A single currency needs no rates.
    """
    currencies = set(bases)
    for symbol in symbols:
        unit = instruments[symbol].currency
        if unit is not None and not is_rate_symbol(symbol):
            currencies.add(quote_unit(unit).currency)
    if len(currencies) == 1:
        return []
    return [f"EUR{code}" for code in sorted(currencies - {"EUR"})]
