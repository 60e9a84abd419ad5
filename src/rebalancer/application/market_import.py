"""Import prices, bars, corporate actions and instruments into the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby

import attrs
import numpy as np

from rebalancer.application.market_data import describe_finding
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import no_progress
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.market.actions import (
    DISTRIBUTIONS,
    NO_ACTIONS,
    ActionKind,
    Actions,
    CorporateAction,
    latest_ex_day,
)
from rebalancer.domain.market.adjustment import undo_adjustment
from rebalancer.domain.market.bar_quality import check_bars
from rebalancer.domain.market.bar_rows import BarRows, SortedBars
from rebalancer.domain.market.bars import Bars, bars_of_history
from rebalancer.domain.market.currencies import is_rate_symbol, quote_unit
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.issues import (
    closes_on,
    find_action_issues,
    rate_findings,
    update_verdicts,
)
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Verdict
from rebalancer.domain.market.restatement import infer_actions

_MOST_NAMED = 10
"""Symbols that a note names."""

_A_YEAR = timedelta(days=366)
"""Time before the first bar in which an asset's stored closes show their basis."""

_NO_SOURCES: Mapping[str, str] = {}


@attrs.frozen
class ImportResult:
    """Numbers of assets, and of new or different days, actions and instruments.

    Attributes:
        assets: Assets with prices.
        days: Over all of these and of the exchange rates.
        withheld: Why stored assets are not tradable now, by symbol.
        ended: Those of them that are renamed or delisted, so that no prices are missing.
        findings: What the check of the imported assets found, see `describe_finding`.
        rates: Exchange rates with prices.
        first, last: Days of the first and the last price; None without any.
        inferred: Actions that restated closes showed, with a text each.
        notes: What was left out or counted once, as sentences.
    """

    assets: int
    days: int
    instruments: int
    withheld: Mapping[str, str]
    findings: tuple[dict[str, str], ...] = ()
    rates: int = 0
    actions: int = 0
    first: date | None = None
    last: date | None = None
    inferred: tuple[dict[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


@attrs.frozen
class ImportMarket:
    """Import prices, bars, corporate actions and instruments into the store."""

    store: StoredMarket
    clock: Clock

    def __call__(
        self,
        history: PriceHistory | None,
        listed: Instruments | None = None,
        *,
        usual: Instruments,
        bars: BarRows | None = None,
        actions: Actions = NO_ACTIONS,
        sources: Mapping[str, str] = _NO_SOURCES,
        progress: Callable[[int], None] = no_progress,
    ) -> ImportResult:
        """Add what is given; stored figures of the same days and symbols are replaced.

        Replaced figures are kept with the time until which they counted. Idempotent; a repeated
        import also completes one that was interrupted.

        Args:
            history: Adjusted closes, as their source reports them.
            listed: Instruments; None: those of ``usual`` that have prices in this import and are
                not stored yet.
            usual: Instruments of the packaged list.
            bars: Bars as traded.
            actions: Corporate actions.
            sources: Names of the files of "prices", "bars" and "actions".
            progress: Called with the number of further series that are saved.

        Raises:
            InvalidRequest: the store rejects a value; the message names it.
            Unavailable: the store did not answer; repeat the import.
        """
        self.store.prepare()
        known = self.clock()
        checked = None if bars is None else SortedBars.of(bars)
        traded = [] if checked is None else checked.bars()
        adjusted = [] if history is None else bars_of_history(history)
        symbols = {one.symbol for one in (*traded, *adjusted)}
        instruments = self.store.save_instruments(self._instruments(listed, usual, symbols))
        found = () if checked is None else check_bars(checked, known=known)
        verdicts = self._states(found, (*traded, *adjusted), actions, known, sources)
        new_actions = 0
        if actions:
            new_actions = self.store.save_actions(
                actions, known=known, source=sources.get("actions", "")
            )
        adjusted, inferred, kept_as_traded = self._infer(adjusted, {one.symbol for one in traded})
        for source, found_actions in groupby(inferred, key=lambda one: one.source):
            self.store.save_actions(found_actions, known=known, source=source)
        lost = list(self._lost_days(traded))
        days = 0
        for part, series in (("bars", traded), ("prices", adjusted)):
            if series:
                days += self.store.save_bars(
                    series, known=known, source=sources.get(part, ""), progress=progress
                )
        if verdicts:
            self.store.save_verdicts(verdicts)
        rates = {symbol for symbol in symbols if is_rate_symbol(symbol)}
        first, last = _window((*traded, *adjusted))
        return ImportResult(
            len(symbols - rates),
            days,
            instruments,
            self.store.withheld(),
            (
                *self._findings(symbols | {one.symbol for one in actions}),
                *self._action_findings((*traded, *adjusted), actions),
                *map(_describe_verdict, found),
            ),
            rates=len(rates),
            actions=new_actions,
            first=first,
            last=last,
            inferred=tuple(map(_describe_action, inferred)),
            notes=(
                *_notes(checked),
                *_not_adjusted(kept_as_traded),
                *lost,
                *self._without_prices(actions),
            ),
            ended=self._ended(),
        )

    def _states(
        self,
        found: Sequence[Verdict],
        bars: Sequence[Bars],
        actions: Actions,
        known: datetime,
        sources: Mapping[str, str],
    ) -> list[Verdict]:
        """Return the states of findings that the import changes, see `update_verdicts`."""
        symbols = {one.symbol for one in (*bars, *actions)}
        stored = [one for one in self.store.verdicts() if one.symbol in symbols]
        days: dict[str, set[date]] = {}
        for one in stored:
            days.setdefault(one.symbol, set()).add(one.day)
        before = self.store.store.bars(["close"], symbols=list(days)) if days else {}
        earlier = {one.key: one for one in self.store.store.actions()} if days else {}
        return update_verdicts(
            stored,
            found,
            before=before,
            given=closes_on(bars, days),
            changed_actions={
                (one.symbol, one.ex_day) for one in actions if earlier.get(one.key) != one
            },
            known=known,
            source=", ".join(sources.values()),
        )

    def _infer(
        self, adjusted: Sequence[Bars], traded: Collection[str]
    ) -> tuple[list[Bars], list[CorporateAction], list[str]]:
        """Return adjusted closes to save, actions that restated ones show, and what is not saved.

        The closes to save include stored ones that the file lacks and that its source has restated.
        Actions are sorted by source and key. Not saved are closes of the assets that have bars as
        traded; their symbols are sorted.
        """
        symbols = [one.symbol for one in adjusted if not is_rate_symbol(one.symbol)]
        if not symbols:
            return list(adjusted), [], []
        stored = self.store.store.bars(["close"], symbols=symbols)
        known, instruments = self.store.store.actions().by_symbol, self.store.instruments()
        found: list[CorporateAction] = []
        as_traded, saved = [], []
        for given in adjusted:
            before = stored.get(given.symbol)
            saved.append(given)
            if is_rate_symbol(given.symbol):
                continue
            if given.symbol in traded or (before is not None and not before.adjusted):
                as_traded.append(given.symbol)
            elif before is not None and len(before):
                unit = instruments[given.symbol].currency
                actions, saved[-1] = _restated(before, given, known.get(given.symbol, ()), unit)
                found += actions
        return saved, sorted(found, key=lambda one: (one.source, one.key)), sorted(as_traded)

    def _lost_days(self, traded: Sequence[Bars]) -> Iterable[str]:
        """Yield for which earlier days bars replace adjusted closes without having bars."""
        given = {one.symbol: one for one in traded if len(one) and not is_rate_symbol(one.symbol)}
        if not given:
            return
        first: date = min(one.days[0] for one in given.values()).item()
        recent = self.store.store.bars(["close"], symbols=given, since=first - _A_YEAR)
        adjusted = [symbol for symbol, bars in recent.items() if bars.adjusted]
        stored = self.store.store.bars(["close"], symbols=adjusted) if adjusted else {}
        lost = {}
        for symbol, bars in stored.items():
            earlier = int(np.count_nonzero(bars.days < given[symbol].days[0]))
            if earlier:
                lost[symbol] = (
                    f"{symbol} ({earlier} from {bars.days[0]} on; its bars begin on "
                    f"{given[symbol].days[0]})"
                )
        if lost:
            yield (
                "Bars replace adjusted closes, also those of earlier days, which are no longer "
                f"used: {_name_some(sorted(lost.values()))}. Import bars of these days, too."
            )

    def _instruments(
        self, listed: Instruments | None, usual: Instruments, priced: Iterable[str]
    ) -> Instruments:
        """Return the instruments to save; exchange rates are none."""
        found: Iterable[Instrument]
        if listed is None:
            stored, known = self.store.store.instruments().by_symbol, set(priced)
            found = (it for it in usual if it.symbol in known and it.symbol not in stored)
        else:
            found = listed
        return Instruments.of(it for it in found if not is_rate_symbol(it.symbol))

    def _action_findings(self, bars: Sequence[Bars], actions: Actions) -> Iterable[dict[str, str]]:
        """Yield the findings about actions of this import, or on its days."""
        history = self.store.history()
        if history is None:
            return
        given = {one.key for one in actions}
        windows = {one.symbol: _window([one]) for one in bars}
        checked = []
        for one in self.store.store.actions():
            first, last = windows.get(one.symbol, (None, None))
            if one.key in given or (first and last and first <= one.ex_day <= last):
                checked.append(one)
        for issue in find_action_issues(history, Actions.of(checked), self.store.verdicts()):
            yield {
                "symbol": issue.symbol,
                "rule": issue.rule.value,
                "severity": issue.severity.value,
                "day": issue.day.isoformat(),
                "text": issue.text,
            }

    def _without_prices(self, actions: Actions) -> Iterable[str]:
        """Yield which symbols of actions have no prices, and may be misspelled."""
        named = {one.symbol for one in actions}
        missing = named.difference(self.store.store.symbols()) if named else None
        if missing:
            renamed = {one.other for one in self.store.store.actions()}
            missing = missing - renamed
        if missing:
            yield (
                "There are no prices yet of these assets with corporate actions: "
                f"{_name_some(sorted(missing))}."
            )

    def _ended(self) -> tuple[str, ...]:
        """Return the symbols of assets that are renamed or delisted."""
        history = self.store.history()
        if history is None:
            return ()
        return tuple(one for one in history.withheld if history.ending(one) is not None)

    def _findings(self, symbols: set[str]) -> Iterable[dict[str, str]]:
        history = self.store.history()
        rates = () if history is None else rate_findings(history)
        found = (*self.store.findings(), *rates)
        return (describe_finding(one) for one in found if one.symbol in symbols)


def _restated(
    before: Bars, given: Bars, known: Sequence[CorporateAction], unit: str | None
) -> tuple[tuple[CorporateAction, ...], Bars]:
    """Return the actions that follow from stored and given adjusted closes, and closes to save."""
    days, here, there = np.intersect1d(
        before.days, given.days, assume_unique=True, return_indices=True
    )
    if np.array_equal(before.close[here], given.close[there]):
        return (), given

    own = [_in_unit(action, unit) for action in known]

    def value(action: CorporateAction, _: int) -> float:
        paid = action.kind in DISTRIBUTIONS and action.currency in (None, unit)
        return float(action.value) if paid else float("nan")

    traded = undo_adjustment(before.days, before.close, own, value)
    restated = infer_actions(
        given.symbol,
        days,
        before.close[here],
        given.close[there],
        later=given.days[given.days > before.days[-1]],
        traded=traded[here],
        known=own,
    )
    actions = tuple(
        attrs.evolve(one, currency=unit) if one.kind in DISTRIBUTIONS else one
        for one in restated.actions
    )
    if restated.factors is None:
        return actions, given
    lacking = before.at(np.flatnonzero(~np.isin(before.days, given.days)))
    # A close that the file lacks has the factor of the next day in both.
    factors = np.append(restated.factors, 1.0)[np.searchsorted(days, lacking.days)]
    scaled = Bars(given.symbol, lacking.days, lacking.close * factors)
    changed = scaled.at(np.flatnonzero(factors != 1.0))
    return actions, changed.merged_with(given) if len(changed) else given


def _in_unit(action: CorporateAction, unit: str | None) -> CorporateAction:
    """Return a distribution per share in a unit of its currency; others as they are."""
    if action.kind not in DISTRIBUTIONS or action.currency is None or unit is None:
        return action
    paid, wanted = quote_unit(action.currency), quote_unit(unit)
    if paid.currency != wanted.currency:
        return action
    value = action.value * Decimal(wanted.divisor) / Decimal(paid.divisor)
    return attrs.evolve(action, value=value, currency=unit)


def _describe_action(action: CorporateAction) -> dict[str, str]:
    """Return an inferred action as JSON values."""
    value = f"{action.value.normalize():f}"
    until = latest_ex_day(action)
    when = str(action.ex_day) if until == action.ex_day else f"{action.ex_day} at the earliest"
    what = (
        f"a split of {value} new shares per old one"
        if action.kind is ActionKind.SPLIT
        else f"a dividend of {value} per share"
    )
    return {
        "symbol": action.symbol,
        "ex_date": action.ex_day.isoformat(),
        "kind": action.kind.value,
        "value": value,
        "text": f"{action.symbol} had {what} on {when}, inferred from restated closes",
    }


def _not_adjusted(symbols: Sequence[str]) -> Iterable[str]:
    """Yield which adjusted closes were not taken."""
    if symbols:
        names = _name_some(symbols)
        yield f"Not imported: adjusted closes of {names}, which have prices as traded."


def _name_some(symbols: Sequence[str]) -> str:
    """Name the first symbols, and count the others."""
    more = len(symbols) - _MOST_NAMED
    return ", ".join(symbols[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _describe_verdict(verdict: Verdict) -> dict[str, str]:
    """Return a finding about bars as JSON values, like `describe_finding`."""
    return {
        "symbol": verdict.symbol,
        "rule": verdict.rule.value,
        "severity": verdict.rule.severity.value,
        "day": verdict.day.isoformat(),
        "text": f"{verdict.symbol} {verdict.note}",
    }


def _window(bars: Sequence[Bars]) -> tuple[date | None, date | None]:
    """Return the first and the last day of some bars."""
    if not bars:
        return None, None
    first, last = min(one.days[0] for one in bars), max(one.days[-1] for one in bars)
    return first.item(), last.item()


def _notes(bars: SortedBars | None) -> Iterable[str]:
    """Yield what of the rows was not taken, and is no finding."""
    if bars is None:
        return
    for mask, verb, what in (
        (bars.repeated, "repeat", "the close of an earlier row of the same asset and day"),
        (bars.without_close, "have", "figures but no close"),
    ):
        count = int(np.count_nonzero(mask))
        if count:
            rows = f"1 row that {_SINGULAR[verb]}" if count == 1 else f"{count} rows that {verb}"
            yield f"Not imported: {rows} {what}."


_SINGULAR = {"repeat": "repeats", "have": "has"}
