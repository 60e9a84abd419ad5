"""Price histories: what was known of the market up to a date, and nothing later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import date
from typing import TypeVar

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.errors import InvalidRequest, Unavailable

T = TypeVar("T")

HIGHEST = 1e12
"""No price may reach this: times a quantity it must still be money."""

_WINDOWS = 16
"""Windows that a history remembers."""

STALE_AFTER = 5
"""Business days after which a last close no longer stands for a date (and a gap for a price)."""


class PricesUnavailable(Unavailable):
    """A price provider did not answer, or its answer is invalid; the message names both."""

    default_code = "prices_unavailable"


@attrs.frozen(slots=False, eq=False)
class PriceHistory:
    """Adjusted daily closes of N assets, oldest first, immutable.

    A slice (`until`, `since`) shares memory with its parent, so that a backtest can hand each
    decision exactly what was known at that close.

    Attributes:
        symbols: N distinct symbols.
        dates: Trading days, strictly increasing, shape (T,), ``datetime64[D]``, T >= 1.
        closes: Prices > 0 and < 1e12 in one currency, shape (T, N), read-only. NaN only before an
            asset's first close: a later gap is filled by whoever loads the prices, or refused.
    """

    symbols: tuple[str, ...]
    dates: Dates
    closes: Floats
    _memo: dict[object, object] = attrs.field(factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls, symbols: Sequence[str], dates: Sequence[date] | Dates, closes: Floats
    ) -> PriceHistory:
        """Validate and freeze.

        Raises:
            InvalidRequest: shapes disagree, nothing is there, a symbol repeats, a date is missing,
                dates do not increase, a price is not positive and finite, or is missing after the
                first.
        """
        names = tuple(symbols)
        days = np.array(dates, dtype="datetime64[D]")
        table = np.array(closes, dtype=np.float64)
        if not names or not len(days):
            raise InvalidRequest("no prices: at least one symbol and one row are needed")
        if table.shape != (len(days), len(names)):
            raise InvalidRequest(
                f"{table.shape} prices do not fit {len(days)} dates x {len(names)} symbols"
            )
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidRequest(f"the symbol {twice} has two columns; keep one")
        if np.isnat(days).any():
            raise InvalidRequest(f"row {int(np.argmax(np.isnat(days)))} has no date")
        backwards = np.flatnonzero(np.diff(days) <= np.timedelta64(0, "D"))
        if backwards.size:
            at = int(backwards[0])
            how = "occurs twice" if days[at] == days[at + 1] else f"comes after {days[at]}"
            raise InvalidRequest(
                f"the date {days[at + 1]} {how}; sort rows by date and keep one a day"
            )
        missing = np.isnan(table)
        late = missing & np.logical_or.accumulate(~missing, axis=0)
        wrong = late | (~missing & ~((table > 0) & (table < HIGHEST)))
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            raise InvalidRequest(
                f"{names[column]} on {days[row]}: {table[row, column]} is not a price; "
                f"prices are positive and below {HIGHEST:g}"
            )
        days.setflags(write=False)
        table.setflags(write=False)
        return cls(names, days, table)

    def __len__(self) -> int:
        return len(self.dates)

    @property
    def last_date(self) -> date:
        """The day of the last close: the market's date."""
        return _as_date(self.dates[-1])

    @property
    def last_closes(self) -> Floats:
        """The last close of each asset, shape (N,); NaN where it has none yet."""
        last: Floats = self.closes[-1]
        return last

    def column(self, symbol: str) -> int:
        """Position of a symbol among the columns.

        Raises:
            InvalidRequest: it is not there.
        """
        found = self.columns.get(symbol)
        if found is None:
            raise InvalidRequest(f"{symbol} is unknown: the prices have no such column")
        return found

    @property
    def columns(self) -> dict[str, int]:
        """Position by symbol."""
        return self.memo("columns", lambda: {name: i for i, name in enumerate(self.symbols)})

    def row_as_of(self, day: date | None) -> int:
        """Row of the last close at or before ``day``; the last row for None.

        Raises:
            InvalidRequest: ``day`` lies before the first close, or more than 5 business days
                after the close that would stand for it.
        """
        if day is None:
            return len(self) - 1
        wanted = np.datetime64(day, "D")
        row = int(np.searchsorted(self.dates, wanted, side="right")) - 1
        if row < 0:
            raise InvalidRequest(
                f"{day} lies before the first close, {self.dates[0]}", field="as_of"
            )
        if np.busday_count(self.dates[row], wanted) > STALE_AFTER:
            raise InvalidRequest(
                f"no close within {STALE_AFTER} business days before {day}: the last one is of "
                f"{self.dates[row]}; take an earlier date or newer prices",
                field="as_of",
            )
        return row

    def until(self, row: int) -> PriceHistory:
        """What was known at the close of ``row``: rows 0 to ``row``, no copy."""
        return PriceHistory(self.symbols, self.dates[: row + 1], self.closes[: row + 1])

    def since(self, row: int) -> PriceHistory:
        """Rows from ``row`` on, no copy."""
        return PriceHistory(self.symbols, self.dates[row:], self.closes[row:])

    def select(self, symbols: Sequence[str]) -> PriceHistory:
        """The same rows for some of the assets, in the order given (a copy).

        Raises:
            InvalidRequest: symbols are not there (all are named), repeat, or none is given.
        """
        unknown = [symbol for symbol in symbols if symbol not in self.columns]
        if unknown:
            names = ", ".join(dict.fromkeys(unknown))
            raise InvalidRequest(f"{names}: unknown, the prices have no such column")
        if not symbols or len(set(symbols)) < len(symbols):
            raise InvalidRequest(f"[{', '.join(symbols)}]: name at least one symbol, each once")
        closes = self.closes[:, [self.column(symbol) for symbol in symbols]]
        closes.setflags(write=False)
        return PriceHistory(tuple(symbols), self.dates, closes)

    def window(
        self, symbols: Sequence[str] | None = None, *, days: int | None = None, until: date | None
    ) -> PriceHistory:
        """The last ``days`` rows (all when None) up to ``until``, of some of the assets or all.

        Raises:
            InvalidRequest: as `row_as_of` and `select`, or ``days`` is less than 1.
        """
        if days is not None and days < 1:
            raise InvalidRequest(f"{days} days of prices; ask for at least 1", field="days")
        end = self.row_as_of(until)
        start = 0 if days is None else max(0, end + 1 - days)
        rows = self if (start, end + 1) == (0, len(self)) else self._rows(start, end)
        return rows if symbols is None else rows.select(symbols)

    def _rows(self, start: int, end: int) -> PriceHistory:
        """Rows ``start`` to ``end``: the same object for the same rows, if not long ago.

        So what is derived from a window is derived once, for all who look at the same day.
        """
        recent: dict[tuple[int, int], PriceHistory] = self.memo("windows", dict)
        found = recent.get((start, end))
        if found is None:
            if len(recent) >= _WINDOWS:
                recent.clear()
            found = recent[start, end] = self.until(end).since(start)
        return found

    def returns(self, days: int) -> Floats:
        """The last ``days`` simple returns, shape (min(days, T - 1), N); NaN where unknown."""

        def compute() -> Floats:
            closes = self.closes[-(days + 1) :]
            changes: Floats = closes[1:] / closes[:-1] - 1.0
            changes.setflags(write=False)
            return changes

        return self.memo(("returns", days), compute)

    @property
    def digest(self) -> str:
        """SHA-256 of symbols, dates and closes: equal for equal contents, on any machine."""

        def compute() -> str:
            sha = hashlib.sha256()
            sha.update("\n".join(self.symbols).encode())
            sha.update(np.ascontiguousarray(self.dates.astype("<i8")).tobytes())
            sha.update(np.ascontiguousarray(self.closes.astype("<f8")).tobytes())
            return sha.hexdigest()

        return self.memo("digest", compute)

    def memo(self, key: object, compute: Callable[[], T]) -> T:
        """Remember a value derived from this history; it is immutable, so the value stays true."""
        if key not in self._memo:
            self._memo[key] = compute()
        return self._memo[key]  # type: ignore[return-value]  # one key, one type: see the callers


def _as_date(day: np.datetime64) -> date:
    """A numpy day as a standard one."""
    return day.astype("datetime64[D]").item()  # type: ignore[no-any-return]  # typed as Any
