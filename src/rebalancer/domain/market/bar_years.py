"""Stored years of bars: when each figure became known, its source, and the figures it replaced.

A correction keeps the old figure with the time until which it counted. So the bars can be read as
they were known at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.market.bars import BAR_FIELDS, Bars
from rebalancer.domain.market.currencies import is_rate_symbol

YearKey = tuple[str, int]
"""Symbol and calendar year."""

Instants = NDArray[np.int64]
"""Times in microseconds since 1970-01-01 UTC."""

ALWAYS = int(np.iinfo(np.int64).min)
"""Time from which figures count as known that were stored without one."""

LATEST = int(np.iinfo(np.int64).max)
"""Time at which everything is known."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_of(time: datetime) -> int:
    """Return a time with a zone in microseconds since 1970-01-01 UTC."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def time_of(instant: int) -> datetime:
    """Return the time of microseconds since 1970-01-01 UTC."""
    return _EPOCH + timedelta(microseconds=instant)


@attrs.frozen(eq=False)
class BarYear:
    """Stored bars of one asset and year.

    Attributes:
        bars: May have no day: then bars as traded of other years have replaced them.
        known: (T,) when each day's figures became known; `ALWAYS` if that is not stored.
        sources: (T,) where they come from, text.
    """

    bars: Bars
    known: Instants
    sources: NDArray[np.object_]

    @classmethod
    def of(cls, bars: Bars, known: int, source: str) -> BarYear:
        """Return bars that became known at one time, from one source."""
        sources = np.full(len(bars), source, dtype=object)
        return cls(bars, np.full(len(bars), known, dtype=np.int64), sources)

    def __len__(self) -> int:
        return len(self.bars)

    def at(self, rows: NDArray[Any]) -> BarYear:
        """Return the rows at positions, or where a mask is true."""
        return BarYear(self.bars.at(rows), self.known[rows], self.sources[rows])


@attrs.frozen(eq=False)
class ReplacedBars:
    """Figures of one asset and year that others replaced.

    Attributes:
        figures: As they were stored.
        until: When the others became known.
    """

    figures: BarYear
    until: int


@attrs.frozen
class YearCorrection:
    """What saving bars changes in a stored year.

    Attributes:
        year: All bars of the year afterwards.
        changed: Number of days that are new or different.
        replaced: Figures that others replace, or that are dropped; None: no figure.
    """

    year: BarYear
    changed: int = 0
    replaced: ReplacedBars | None = None

    @property
    def is_needed(self) -> bool:
        """Whether there is something to store."""
        return self.changed > 0 or self.replaced is not None


def years_to_correct(
    given: Mapping[YearKey, Bars], stored: Mapping[YearKey, bool]
) -> dict[YearKey, Bars]:
    """Return the bars to save by year, under the rule that an asset has one basis.

    Adjusted bars of an asset with bars as traded are left out. Bars as traded replace the adjusted
    ones of all years: a year without bars as traded is in the result without days. Exchange rates
    have no basis, whatever earlier versions stored.

    Args:
        given: Bars by year, see `split_by_year`.
        stored: Whether the stored years of the same assets are adjusted.
    """
    traded = {symbol for (symbol, _), adjusted in stored.items() if not adjusted}
    wanted = {key: bars for key, bars in given.items() if not (bars.adjusted and key[0] in traded)}
    now_traded = {symbol for (symbol, _), bars in wanted.items() if not bars.adjusted}
    nothing = np.empty(0)
    for key, adjusted in stored.items():
        replaced = adjusted and not is_rate_symbol(key[0])
        if replaced and key[0] in now_traded and key not in wanted:
            no_days = nothing.astype("datetime64[D]")
            wanted[key] = Bars(key[0], no_days, nothing, adjusted=False)
    return wanted


def correct_year(stored: BarYear | None, given: Bars, known: int, source: str) -> YearCorrection:
    """Return what given bars of the same asset and year change.

    A corrected figure becomes known at ``known``, but always later than the one that it replaces.

    Args:
        stored: The year so far; None: nothing is stored.
        given: Adjusted only if the stored bars are.
        known: When the given figures became known.
        source: Where they come from.
    """
    if stored is None:
        return YearCorrection(BarYear.of(given, known, source), len(given))
    before = stored.bars
    switches = before.adjusted and not given.adjusted
    merged = given if switches else before.merged_with(given)
    changed = merged.changes_since(before)
    replaced = ~np.isin(before.days, merged.days[~changed])
    if not changed.any() and not replaced.any():
        return YearCorrection(stored)
    year = BarYear.of(merged, known, source)
    same = np.searchsorted(before.days, merged.days[~changed])
    year.known[~changed], year.sources[~changed] = stored.known[same], stored.sources[same]
    if not replaced.any():
        return YearCorrection(year, int(changed.sum()))
    until = max(known, int(stored.known[replaced].max()) + 1)
    year.known[changed & np.isin(merged.days, before.days)] = until
    return YearCorrection(
        year, int(changed.sum()), ReplacedBars(stored.at(np.flatnonzero(replaced)), until)
    )


@attrs.frozen
class YearColumns:
    """Columns of one stored year, as a store reads them: ``days`` and some of `BAR_FIELDS`."""

    columns: Mapping[str, NDArray[Any]]
    adjusted: bool


def join_years(parts: Mapping[str, Sequence[YearColumns]]) -> dict[str, Bars]:
    """Return bars by symbol, each from its years in order; assets without days are left out.

    Where some years of an asset are as traded, its adjusted ones do not count: they are about to
    be replaced.
    """
    found = {}
    for symbol, years in parts.items():
        filled = [year for year in years if len(year.columns["days"])]
        adjusted, is_rate = all(year.adjusted for year in years), is_rate_symbol(symbol)
        columns = [year.columns for year in filled if is_rate or year.adjusted == adjusted]
        if columns:
            found[symbol] = Bars.concatenate(symbol, columns, adjusted=adjusted)
    return found


def bars_known_by(
    years: Iterable[BarYear], replaced: Iterable[ReplacedBars], time: int
) -> dict[str, Bars]:
    """Return bars by symbol, sorted, as they were known at a time.

    Args:
        years: What is stored now, of any assets.
        replaced: Figures of the same assets that others replaced.
        time: Figures that became known later do not count.
    """
    visible: dict[str, list[BarYear]] = {}
    for year in years:
        _collect(visible, year, year.known <= time)
    for one in replaced:
        if time < one.until:
            _collect(visible, one.figures, one.figures.known <= time)
    parts = {symbol: _latest(visible[symbol]) for symbol in sorted(visible)}
    return join_years({symbol: [part] for symbol, part in parts.items()})


def bars_since(found: Mapping[str, Bars], first: date | None) -> dict[str, Bars]:
    """Return the days from one on; assets without any are left out."""
    if first is None:
        return dict(found)
    day = np.datetime64(first, "D")
    later = {symbol: bars.at(np.flatnonzero(bars.days >= day)) for symbol, bars in found.items()}
    return {symbol: bars for symbol, bars in later.items() if len(bars)}


def _collect(found: dict[str, list[BarYear]], year: BarYear, seen: NDArray[np.bool_]) -> None:
    if seen.any():
        found.setdefault(year.bars.symbol, []).append(year.at(np.flatnonzero(seen)))


def _latest(pieces: Sequence[BarYear]) -> YearColumns:
    """Return the figures of each day that became known last."""
    adjusted = all(piece.bars.adjusted for piece in pieces)
    chosen = [piece for piece in pieces if piece.bars.adjusted == adjusted]
    tables = [piece.bars.columns() for piece in chosen]
    shared = [name for name in BAR_FIELDS if all(name in table for table in tables)]
    columns = {
        name: np.concatenate([table[name] for table in tables]) for name in ("days", *shared)
    }
    known = np.concatenate([piece.known for piece in chosen])
    order = np.lexsort((known, columns["days"]))
    days = columns["days"][order]
    last = order[np.append(days[1:] != days[:-1], True)]
    return YearColumns({name: values[last] for name, values in columns.items()}, adjusted)
