"""Daily bars of one asset, as providers deliver and stores save them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.actions import NO_ACTIONS, Actions
from rebalancer.domain.market.assembly import US_DOLLARS, PricingTerms, assemble_history
from rebalancer.domain.market.close_columns import (
    PRICE_RANGE,
    CloseColumns,
    CloseTable,
    close_columns,
    days_not_increasing,
    invalid_value,
    join_closes,
)
from rebalancer.domain.market.currencies import is_rate_symbol
from rebalancer.domain.market.history_tables import OpenTables, TablesInMemory
from rebalancer.domain.market.prices import HIGHEST, PriceHistory

BAR_FIELDS = ("close", "open", "high", "low", "volume")
"""Fields of a daily bar; all but the close may be missing."""


@attrs.frozen(eq=False)
class Bars:
    """Daily bars of one asset, oldest first.

    Attributes:
        days: Shape (T,), strictly increasing, ``datetime64[D]``.
        close: Shape (T,), > 0 and < 1e12, in the asset's quote unit.
        open, high, low: As ``close``, or None.
        volume: Units traded, shape (T,), >= 0; or None.
        adjusted: Whether prices are adjusted for splits and distributions; otherwise they are as
            traded. Exchange rates never are.
    """

    symbol: str
    days: Dates
    close: Floats
    open: Floats | None = None
    high: Floats | None = None
    low: Floats | None = None
    volume: Floats | None = None
    adjusted: bool = attrs.field(default=True, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not self.symbol:
            raise InvalidRequest(
                "the symbol is empty; enter one", field="symbol", code="empty_symbol"
            )
        if self.adjusted and is_rate_symbol(self.symbol):
            object.__setattr__(self, "adjusted", False)
        days = np.asarray(self.days, dtype="datetime64[D]")
        if days.ndim != 1 or np.any(np.isnat(days)) or np.any(np.diff(days.astype(np.int64)) <= 0):
            raise days_not_increasing(self.symbol)
        _freeze(self, "days", days)
        for name in BAR_FIELDS:
            given = getattr(self, name)
            if given is None:
                continue
            values = np.array(given, dtype=np.float64)
            if values.shape != days.shape:
                raise InvalidRequest(
                    f"{values.size} values do not fit {days.size} days",
                    field=f"{self.symbol}.{name}",
                    code="bar_shape",
                )
            if name == "volume":
                right, expected = np.isfinite(values) & (values >= 0), "0 or more"
            else:
                right = (values > 0) & (values < HIGHEST)
                expected = PRICE_RANGE
            if not np.all(right):
                raise invalid_value(self.symbol, name, values[~right][0], expected)
            _freeze(self, name, values)

    @classmethod
    def concatenate(
        cls, symbol: str, parts: Sequence[Mapping[str, NDArray[Any]]], *, adjusted: bool = True
    ) -> Bars:
        """Return bars of consecutive parts, each with ``days``, ``close`` and other fields.

        A field is left out unless all parts have it.

        Raises:
            InvalidRequest: the parts do not make valid bars.
        """
        shared = [name for name in BAR_FIELDS if all(name in part for part in parts)]
        columns: dict[str, Any] = {
            name: np.concatenate([part[name] for part in parts]) for name in ("days", *shared)
        }
        return cls(symbol, **columns, adjusted=adjusted)

    def __len__(self) -> int:
        """Return T, the number of days."""
        return len(self.days)

    def before(self, day: np.datetime64) -> Bars:
        """Return the bars of earlier days than one."""
        return self.at(np.flatnonzero(self.days < day))

    def years(self) -> Iterator[tuple[int, Bars]]:
        """Yield each calendar year and its bars, in order."""
        calendar = self.days.astype("datetime64[Y]").astype(int) + 1970
        for year in np.unique(calendar):
            yield int(year), self.at(np.flatnonzero(calendar == year))

    def columns(self) -> dict[str, Any]:
        """Return ``days`` and each field that is present, by name."""
        fields = ((name, getattr(self, name)) for name in BAR_FIELDS)
        return {"days": self.days} | {name: held for name, held in fields if held is not None}

    def merged_with(self, other: Bars) -> Bars:
        """Return both bars of the same asset and basis; the other's on days that both have.

        A field is left out unless both have it, or the other replaces all days.
        """
        alone = ~np.isin(self.days, other.days)
        if not alone.any():
            return other
        days = np.concatenate([self.days[alone], other.days])
        order = np.argsort(days)
        fields: dict[str, Any] = {}
        for name in BAR_FIELDS:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours is not None and theirs is not None:
                fields[name] = np.concatenate([ours[alone], theirs])[order]
        return Bars(self.symbol, days[order], **fields, adjusted=other.adjusted)

    def changes_since(self, before: Bars) -> Bools:
        """(T,) which days are new or differ from before."""
        changed = np.ones(len(self), dtype=bool)
        if self.adjusted != before.adjusted:
            return changed
        _, here, there = np.intersect1d(
            self.days, before.days, assume_unique=True, return_indices=True
        )
        same = np.ones(len(here), dtype=bool)
        for name in BAR_FIELDS:
            now, then = getattr(self, name), getattr(before, name)
            if (now is None) != (then is None):
                return changed
            if now is not None:
                same &= now[here] == then[there]
        changed[here[same]] = False
        return changed

    def with_fields(self, fields: Sequence[str]) -> Bars:
        """Return the close and some other fields."""
        wanted = ("days", "close", *fields)
        columns = {name: held for name, held in self.columns().items() if name in wanted}
        return Bars(self.symbol, **columns, adjusted=self.adjusted)

    def at(self, rows: Rows) -> Bars:
        """Return some rows, in order."""
        columns: dict[str, Any] = {name: values[rows] for name, values in self.columns().items()}
        return Bars(self.symbol, **columns, adjusted=self.adjusted)


def split_by_year(bars: Iterable[Bars]) -> dict[tuple[str, int], Bars]:
    """Return bars by symbol and year; for the same day, later bars win.

    Adjusted bars of an asset that has bars as traded are left out.
    """
    given = list(bars)
    traded = {one.symbol for one in given if not one.adjusted}
    found: dict[tuple[str, int], Bars] = {}
    for one in given:
        if one.adjusted and one.symbol in traded:
            continue
        for year, part in one.years():
            known = found.get((one.symbol, year))
            found[one.symbol, year] = part if known is None else known.merged_with(part)
    return found


def bars_of_history(history: PriceHistory) -> list[Bars]:
    """Return the bars of each asset that has a close, as its source reported them."""
    found = []
    closes = history.reported_closes
    for column, symbol in enumerate(history.symbols):
        reported = closes[:, column]
        known = ~np.isnan(reported)
        if known.any():
            found.append(Bars(symbol, history.dates[known], reported[known]))
    return found


@attrs.frozen(eq=False)
class MarketSnapshot:
    """All stored closes and corporate actions, without repetitions and before checks.

    Attributes:
        symbols: N symbols, sorted; exchange rates among them.
        days: Every day on which an asset has a close, shape (T,), increasing.
        closes: Shape (T, N), NaN where there is none.
        adjusted: Symbols whose closes are adjusted for splits and distributions.
        actions: Corporate actions.
    """

    symbols: tuple[str, ...]
    days: Dates
    closes: Floats
    adjusted: frozenset[str] = frozenset()
    actions: Actions = NO_ACTIONS

    @classmethod
    def of(cls, bars: Iterable[Bars], actions: Actions = NO_ACTIONS) -> MarketSnapshot:
        """Combine the closes of assets."""
        columns = columns_of_bars(sorted(bars, key=lambda one: one.symbol))
        return cls.of_table(join_closes([columns], capacity=len(columns.symbols)), actions)

    @classmethod
    def of_table(cls, table: CloseTable, actions: Actions = NO_ACTIONS) -> MarketSnapshot:
        """Return a table of closes, whose assets were added in the order of their symbols."""
        return cls(
            tuple(table.symbols), table.days, table.closes, frozenset(table.adjusted), actions
        )

    def history(
        self,
        terms: PricingTerms = US_DOLLARS,
        open_tables: OpenTables = TablesInMemory,
    ) -> PriceHistory | None:
        """Return the price history, None if no asset has a close; see `assemble_history`."""
        if not self.symbols:
            return None
        return assemble_history(
            self.symbols,
            self.days,
            self.closes,
            terms,
            actions=self.actions,
            adjusted=self.adjusted,
            open_tables=open_tables,
        )


def columns_of_bars(bars: Iterable[Bars]) -> CloseColumns:
    """Return the closes of assets, which have any, in the same order."""
    assets = [one for one in bars if len(one)]
    return close_columns(
        [one.symbol for one in assets],
        [one.days for one in assets],
        [one.close for one in assets],
        (one.symbol for one in assets if one.adjusted),
    )


def _freeze(bars: Bars, name: str, values: NDArray[np.generic]) -> None:
    values = values.copy()
    values.flags.writeable = False
    object.__setattr__(bars, name, values)
