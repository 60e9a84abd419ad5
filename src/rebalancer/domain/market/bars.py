"""Prices of one asset, day by day, as providers give them and stores keep them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Dates, Floats, Rows
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.gaps import GAP_RULE, fill_gaps
from rebalancer.domain.market.prices import HIGHEST, PriceHistory

BAR_FIELDS = ("close", "open", "high", "low", "volume")
"""What is known of a day; all but the close may be missing."""


@attrs.frozen(eq=False)
class Bars:
    """Daily bars of one asset, oldest first.

    Attributes:
        symbol: Which asset.
        days: (T,) each once, ascending, as ``datetime64[D]``.
        close: (T,) adjusted for splits and dividends, positive and below 1e12.
        open: (T,) adjusted likewise, or None; so are the next.
        high: See there.
        low: See there.
        volume: (T,) units traded, not negative; or None.
    """

    symbol: str
    days: Dates
    close: Floats
    open: Floats | None = None
    high: Floats | None = None
    low: Floats | None = None
    volume: Floats | None = None

    def __attrs_post_init__(self) -> None:
        if not self.symbol:
            raise InvalidRequest("must not be empty", field="symbol")
        days = np.asarray(self.days, dtype="datetime64[D]")
        if days.ndim != 1 or np.any(np.isnat(days)) or np.any(np.diff(days.astype(np.int64)) <= 0):
            raise InvalidRequest("must ascend, each day once", field=f"{self.symbol}.days")
        _freeze(self, "days", days)
        for name in BAR_FIELDS:
            given = getattr(self, name)
            if given is None:
                continue
            values = np.array(given, dtype=np.float64)
            if values.shape != days.shape:
                raise InvalidRequest(
                    f"has {values.size} values for {days.size} days", field=f"{self.symbol}.{name}"
                )
            if name == "volume":
                right, expected = np.isfinite(values) & (values >= 0), "0 or more"
            else:
                right = (values > 0) & (values < HIGHEST)
                expected = f"more than 0 and less than {HIGHEST:g}"
            if not np.all(right):
                raise InvalidRequest(f"must be {expected}, each", field=f"{self.symbol}.{name}")
            _freeze(self, name, values)

    @classmethod
    def concatenate(cls, symbol: str, parts: Sequence[Mapping[str, NDArray[Any]]]) -> Bars:
        """Bars of parts that follow one another, each with ``days``, ``close`` and other figures.

        A figure that one of them lacks is lacking.

        Raises:
            InvalidRequest: they do not make bars; says what is wrong.
        """
        shared = [name for name in BAR_FIELDS if all(name in part for part in parts)]
        columns = {
            name: np.concatenate([part[name] for part in parts]) for name in ("days", *shared)
        }
        return cls(symbol, **columns)

    def __len__(self) -> int:
        """T."""
        return len(self.days)

    def years(self) -> Iterator[tuple[int, Bars]]:
        """The same year by year, in order."""
        calendar = self.days.astype("datetime64[Y]").astype(int) + 1970
        for year in np.unique(calendar):
            yield int(year), self._rows(np.flatnonzero(calendar == year))

    def columns(self) -> dict[str, NDArray[Any]]:
        """``days``, and each figure that there is."""
        figures = ((name, getattr(self, name)) for name in BAR_FIELDS)
        return {"days": self.days} | {name: held for name, held in figures if held is not None}

    def between(self, first: date | None, last: date | None) -> Bars:
        """Dates from ``first`` to ``last``, both included; None: as far as there are any."""
        begin, end = 0, len(self)
        if first is not None:
            begin = int(np.searchsorted(self.days, np.datetime64(first, "D")))
        if last is not None:
            end = int(np.searchsorted(self.days, np.datetime64(last, "D"), side="right"))
        return self._rows(np.arange(begin, max(begin, end)))

    def merged_with(self, other: Bars) -> Bars:
        """Both, of the same asset; the other's on days that both have.

        A figure that either lacks is lacking, unless nothing is left of ours.
        """
        alone = ~np.isin(self.days, other.days)
        if not alone.any():
            return other
        days = np.concatenate([self.days[alone], other.days])
        order = np.argsort(days)
        figures = {}
        for name in BAR_FIELDS:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours is not None and theirs is not None:
                figures[name] = np.concatenate([ours[alone], theirs])[order]
        return Bars(self.symbol, days[order], **figures)

    def count_changes_since(self, before: Bars | None) -> int:
        """How many of these days are new, or other than they were before."""
        if before is None:
            return len(self)
        _, here, there = np.intersect1d(
            self.days, before.days, assume_unique=True, return_indices=True
        )
        same = np.ones(len(here), dtype=bool)
        for name in BAR_FIELDS:
            now, then = getattr(self, name), getattr(before, name)
            if (now is None) != (then is None):
                return len(self)
            if now is not None:
                same &= now[here] == then[there]
        return len(self) - int(same.sum())

    def _rows(self, rows: Rows) -> Bars:
        columns = {name: values[rows] for name, values in self.columns().items()}
        return Bars(self.symbol, **columns)


def split_by_year(bars: Iterable[Bars]) -> dict[tuple[str, int], Bars]:
    """Bars by symbol and year; of the same day those that come later."""
    found: dict[tuple[str, int], Bars] = {}
    for one in bars:
        for year, part in one.years():
            known = found.get((one.symbol, year))
            found[one.symbol, year] = part if known is None else known.merged_with(part)
    return found


def join_years(
    parts: Mapping[str, Sequence[Mapping[str, NDArray[Any]]]],
    first: date | None = None,
    last: date | None = None,
) -> dict[str, Bars]:
    """Bars by symbol, from ``first`` to ``last``, of parts as in `Bars.concatenate`."""
    joined = (
        (name, Bars.concatenate(name, each).between(first, last)) for name, each in parts.items()
    )
    return {symbol: bars for symbol, bars in joined if len(bars)}


def bars_of_history(history: PriceHistory) -> list[Bars]:
    """The bars of each asset of a history that has a close."""
    found = []
    for column, symbol in enumerate(history.symbols):
        closes = history.closes[:, column]
        known = ~np.isnan(closes)
        if known.any():
            found.append(Bars(symbol, history.dates[known], closes[known]))
    return found


@attrs.frozen(eq=False)
class MarketSnapshot:
    """What can be offered as a price history, of all bars that there are.

    Attributes:
        history: Assets by symbol, over every day on which one of them has a close; None: no asset.
        withheld: Why others are not among them, by symbol: their closes have too long a gap.
    """

    history: PriceHistory | None
    withheld: Mapping[str, str]

    @classmethod
    def of(cls, bars: Iterable[Bars]) -> MarketSnapshot:
        """Put the closes of assets side by side; a gap of at most 5 rows repeats the last."""
        assets = sorted((one for one in bars if len(one)), key=lambda one: one.symbol)
        if not assets:
            return cls(None, {})
        days = np.unique(np.concatenate([one.days for one in assets]))
        closes = np.full((len(days), len(assets)), np.nan)
        for column, one in enumerate(assets):
            closes[np.searchsorted(days, one.days), column] = one.close
        filled, gaps = fill_gaps(closes)
        withheld = {
            assets[column].symbol: f"{len(gap)} rows without a price, {days[gap.first]} to "
            f"{days[gap.last]}; {GAP_RULE}"
            for column, gap in gaps.items()
        }
        left = [column for column in range(len(assets)) if column not in gaps]
        if not left:
            return cls(None, withheld)
        rows = ~np.isnan(closes[:, left]).all(axis=1)
        symbols = [assets[column].symbol for column in left]
        return cls(PriceHistory.of(symbols, days[rows], filled[rows][:, left]), withheld)


def _freeze(bars: Bars, name: str, values: NDArray[np.generic]) -> None:
    values = values.copy()
    values.flags.writeable = False
    object.__setattr__(bars, name, values)
