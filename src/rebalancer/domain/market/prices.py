"""Price histories: closes known up to a date, and no later ones.

A history has total-return closes, which policies and backtests read, and the prices of single
shares as traded, which orders and valuations read. They are the same numbers for assets without
corporate actions in one currency.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import TypeVar

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.market.actions import CorporateAction, ending_of
from rebalancer.domain.market.frequency import (
    ObservationFrequency,
    observation_frequency,
    stated_frequency,
)
from rebalancer.domain.market.quality import Finding, Severity, count_weekdays
from rebalancer.domain.market.quotes import Quotes, rate_table
from rebalancer.domain.market.sessions import count_open_days
from rebalancer.domain.market.symbols import unknown_symbols

T = TypeVar("T")

HIGHEST = 1e12
"""Upper bound of prices, exclusive: price times quantity must fit into an amount of money."""

_WINDOWS = 16
"""Windows that a history caches."""

GRACE = 9
"""Weekdays for which a last close may stand in for a missing one, at least.

No exchange closes longer for a holiday: Tokyo's Golden Week of 2019 took 6 weekdays, the Spring
Festival takes 5 to 6 in Shanghai and up to 8 in Taipei.
"""

_ORIGIN = "origin"
"""Key of what a slice begins after: the history that it is from, and its first row there."""

NOTABLE_AGE = 5
"""Weekdays after which the age of a close deserves a note."""

_BLOCK = 64
"""Rows that are searched together for the last close of each asset."""

_INTERVALS = 8
"""Number of last intervals between closes whose median is the usual one."""


def usual_graces(weekdays: Floats, ends: Rows, least: int = GRACE) -> Floats:
    """(E,) weekdays for which a close may stand in for later ones that are missing.

    At least some number; or twice the usual interval between the closes up to then, if that is
    longer.

    Args:
        weekdays: (M,) counts of weekdays of M closes, see `count_weekdays`; or of sessions.
        ends: (E,) positions of the closes that may stand in.
        least: Fewest weekdays or sessions.
    """
    graces = np.full(len(ends), float(least))
    intervals = np.diff(weekdays)
    many = ends >= _INTERVALS
    windows = intervals[ends[many, None] - np.arange(1, _INTERVALS + 1)]
    graces[many] = 2.0 * np.median(windows, axis=1)
    for at in np.flatnonzero(~many & (ends > 0)).tolist():
        graces[at] = 2.0 * np.median(intervals[: ends[at]])
    longest: Floats = np.maximum(graces, least)
    return longest


class PricesUnavailable(Unavailable):
    """A price provider did not answer, or its answer is invalid; the message names both."""

    default_code = "prices_unavailable"


@attrs.frozen(slots=False, eq=False)
class PriceHistory:
    """Total-return daily closes of N assets, oldest first, immutable.

    A slice (`until`, `since`) shares memory with its parent, so that a backtest gives each decision
    exactly the closes known at that time.

    Attributes:
        symbols: N distinct symbols.
        dates: Trading days, strictly increasing, shape (T,), ``datetime64[D]``, T >= 1.
        closes: Prices > 0 and < 1e12, adjusted for splits and distributions, shape (T, N),
            read-only; ratios between rows matter, see `share_prices` for levels. NaN where an asset
            has no current close: before its first one, when the last one is too old, see `gaps`,
            or after a jump that is no move of the price, see `quality`.
        carried: True where a close repeats the asset's last one because it had none on that day,
            shape (T, N), read-only; None without such closes.
        reported: Closes as the source has them, NaN where missing, shape (T, N), read-only; None
            if they are those ``closes`` that are not carried, see `reported_closes`.
        all_findings: What the check of the closes found, on any day; see `findings`.
        calendar: Dates of the history of which this is a slice, up to its last row; None: those of
            this one. The observation frequency of a short slice follows from them.
        periods_per_year: Rows a year as stated by the caller; None: as the dates have.
        excluded: Assets that are withheld whatever their closes, with the reason: the closes are
            not those of a market, or have no exchange rate.
        quotes: Prices as traded, and currencies; None if the closes are prices of shares in one
            currency.
        hidden_from: First day whose stored closes are not used yet, as it has not come; None
            without such days.
    """

    symbols: tuple[str, ...]
    dates: Dates
    closes: Floats
    carried: Bools | None = None
    reported: Floats | None = None
    all_findings: tuple[Finding, ...] = ()
    calendar: Dates | None = None
    periods_per_year: float | None = None
    excluded: Mapping[str, str] = attrs.field(factory=dict)
    quotes: Quotes | None = None
    hidden_from: date | None = None
    _memo: dict[object, object] = attrs.field(factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls,
        symbols: Sequence[str],
        dates: Sequence[date] | Dates,
        closes: Floats,
        carried: Bools | None = None,
        *,
        reported: Floats | None = None,
        findings: Sequence[Finding] = (),
    ) -> PriceHistory:
        """Validate and freeze copies of the arrays.

        Raises:
            InvalidRequest: shapes disagree, rows or columns are missing, a symbol repeats, a date
                is missing, dates do not increase, or a price is not positive and finite.
        """
        names = tuple(symbols)
        days = np.array(dates, dtype="datetime64[D]")
        table = np.array(closes, dtype=np.float64)
        if not names or not len(days):
            raise InvalidRequest(
                "no prices: at least one symbol and one row are required", code="no_prices"
            )
        repeated = None if carried is None or not np.any(carried) else np.array(carried, dtype=bool)
        if table.shape != (len(days), len(names)) or (
            repeated is not None and repeated.shape != table.shape
        ):
            raise InvalidRequest(
                f"an array of shape {table.shape} does not fit {len(days)} dates and {len(names)} "
                "symbols",
                code="price_shape",
            )
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidRequest(
                f"the symbol {twice} has two columns; keep one", code="duplicate_symbol"
            )
        if np.isnat(days).any():
            raise InvalidRequest(
                f"row {int(np.argmax(np.isnat(days)))} has no date; add it", code="missing_date"
            )
        backwards = np.flatnonzero(np.diff(days) <= np.timedelta64(0, "D"))
        if backwards.size:
            at = int(backwards[0])
            how = "occurs twice" if days[at] == days[at + 1] else f"comes after {days[at]}"
            raise InvalidRequest(
                f"the date {days[at + 1]} {how}; sort rows by date and keep one a day",
                code="dates_not_increasing",
            )
        if (table <= 0).any() or (table >= HIGHEST).any():  # NaN is neither
            wrong = (table <= 0) | (table >= HIGHEST)
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            raise InvalidRequest(
                f"{names[column]} on {days[row]}: {table[row, column]} is not a price; "
                f"prices are positive and below {HIGHEST:g}",
                code="invalid_price",
            )
        days.setflags(write=False)
        table.setflags(write=False)
        if repeated is not None:
            repeated.setflags(write=False)
        given = None if reported is None else np.array(reported, dtype=np.float64)
        if given is not None:
            given.setflags(write=False)
        return cls(names, days, table, repeated, given, tuple(findings))

    def with_findings(self, findings: Sequence[Finding]) -> PriceHistory:
        """Return the same prices with the findings of their check."""
        return attrs.evolve(self, all_findings=tuple(findings))

    def __len__(self) -> int:
        return len(self.dates)

    @property
    def nbytes(self) -> int:
        """Size of the tables of prices, in bytes."""
        prices = None if self.quotes is None else self.quotes.prices
        tables = (self.closes, self.carried, self.reported, prices)
        return sum(table.nbytes for table in tables if table is not None)

    @property
    def last_date(self) -> date:
        """Day of the last close."""
        return _as_date(self.dates[-1])

    @property
    def frequency(self) -> ObservationFrequency:
        """Number of rows in a year, from all dates known at the last row."""

        def compute() -> ObservationFrequency:
            if self.periods_per_year is not None:
                return stated_frequency(self.periods_per_year)
            return observation_frequency(self.dates if self.calendar is None else self.calendar)

        return self.memo("frequency", compute)

    def at_frequency(self, periods_per_year: float | None) -> PriceHistory:
        """Return the same prices with a stated number of rows a year; None: as the dates have.

        Raises:
            InvalidRequest: the number is out of range.
        """
        if periods_per_year == self.periods_per_year:
            return self
        if periods_per_year is not None:
            stated_frequency(periods_per_year)
        return self.memo(
            ("at frequency", periods_per_year),
            lambda: attrs.evolve(self, periods_per_year=periods_per_year),
        )

    @property
    def last_closes(self) -> Floats:
        """Close of each asset in the last row, shape (N,); NaN where none is current."""
        last: Floats = self.closes[-1]
        return last

    @property
    def observed(self) -> Bools:
        """Whether an asset had a close of its own on a day, shape (T, N)."""

        def compute() -> Bools:
            seen = ~np.isnan(self.closes)
            if self.carried is not None:
                seen &= ~self.carried
            seen.setflags(write=False)
            return seen

        return self.memo("observed", compute)

    @property
    def reported_closes(self) -> Floats:
        """Closes as the source has them, shape (T, N); NaN where missing."""
        if self.reported is not None:
            return self.reported
        return self.closes if self.carried is None else np.where(self.observed, self.closes, np.nan)

    @property
    def traded(self) -> Floats:
        """Price of a share as traded, in its own currency, shape (T, N); NaN where not current."""
        if self.quotes is None or self.quotes.prices is None:
            return self.closes
        return self.quotes.prices

    @property
    def share_prices(self) -> Floats:
        """Price of one share in the currency of the history, shape (T, N); NaN where not current.

        See `in_currency`.
        """

        def compute() -> Floats:
            if self.quotes is None or self.quotes.rates is None:
                return self.traded
            prices: Floats = self.traded * self.quotes.rates
            prices.setflags(write=False)
            return prices

        return self.memo("share prices", compute)

    def currency_of(self, symbol: str, default: str) -> str:
        """Return the ISO 4217 code of an asset's currency; the default if it is not stated."""
        if self.quotes is None or symbol not in self.columns:
            return default
        return self.quotes.currencies[self.columns[symbol]]

    def in_currency(self, code: str) -> PriceHistory:
        """Return the history in one currency: returns and prices of shares converted.

        Prices as traded stay in each asset's own currency. An asset whose currency cannot be
        converted is withheld. The same object if there is nothing to convert.
        """
        quotes = self.quotes
        if quotes is None or quotes.currency == code:
            return self
        if quotes.currency is not None:
            raise ValueError(f"prices in {quotes.currency} cannot be converted again, to {code}")
        return self.memo(("in currency", code), lambda: self._convert(quotes, code))

    def _convert(self, quotes: Quotes, code: str) -> PriceHistory:
        rates, missing = rate_table(quotes.exchange, quotes.currencies, code, self.dates)
        converted = attrs.evolve(quotes, currency=code, rates=rates)
        if rates is None:
            part = attrs.evolve(self, quotes=converted)
        else:
            closes: Floats = self.closes * rates
            closes.setflags(write=False)
            excluded = dict(self.excluded)
            for symbol, currency in zip(self.symbols, quotes.currencies, strict=True):
                if currency in missing:
                    excluded.setdefault(symbol, f"no exchange rate from {currency} to {code}")
            part = attrs.evolve(
                self,
                closes=closes,
                reported=None,
                excluded=excluded,
                quotes=attrs.evolve(converted, prices=self.traded),
            )
        if _ORIGIN in self._memo:  # for prices as traded, which are not converted
            part._memo[_ORIGIN] = self._memo[_ORIGIN]
        return part

    @property
    def rate_days(self) -> Mapping[str, date | None]:
        """Day of the exchange rate of the last row, by foreign currency; see `Quotes.rate_days`."""
        quotes = self.quotes

        def compute() -> dict[str, date | None]:
            return {} if quotes is None else quotes.rate_days(self.dates[-1])

        return self.memo("rate days", compute)

    def without_rate(self, symbols: Iterable[str]) -> dict[str, str]:
        """Return the currency of each given asset that cannot be converted at the last row."""
        if not self.rate_days or self.quotes is None:
            return {}
        pairs = ((one, self.columns.get(one)) for one in symbols)
        found = {one: self.quotes.currencies[at] for one, at in pairs if at is not None}
        days = self.rate_days
        return {one: code for one, code in found.items() if days.get(code, code) is None}

    def last_known(self, symbol: str) -> tuple[date, float] | None:
        """Return the day and the price of an asset's last own close; None without one.

        The price is that of a share as traded, in the asset's currency. A slice knows the closes
        before its first row, too.
        """
        column = self.columns.get(symbol)
        if column is None:
            return None
        own = ~np.isnan(self.closes[:, column])
        if self.carried is not None:
            own &= ~self.carried[:, column]
        rows = np.flatnonzero(own)
        if not len(rows):
            origin: tuple[PriceHistory, int] | None = self._memo.get(_ORIGIN)  # type: ignore[assignment]  # see `_rows_between`
            return None if origin is None else origin[0].until(origin[1] - 1).last_known(symbol)
        return _as_date(self.dates[rows[-1]]), float(self.traded[rows[-1], column])

    @property
    def last_traded(self) -> Floats:
        """Last price of a share as traded, however old, in its own currency, shape (N,).

        NaN before the first close.
        """

        def compute() -> Floats:
            last: Floats = self.traded[-1].copy()
            for column in np.flatnonzero(np.isnan(last)).tolist():
                known = self.last_known(self.symbols[column])
                last[column] = np.nan if known is None else known[1]
            last.setflags(write=False)
            return last

        return self.memo("last traded", compute)

    @property
    def last_rates(self) -> Floats | None:
        """Exchange rate of each asset's price at the last close, shape (N,); None if all are 1."""
        if self.quotes is None or self.quotes.rates is None:
            return None
        rates: Floats = self.quotes.rates[-1]
        return rates

    def last_rate(self, currency: str) -> float | None:
        """Return the exchange rate of a currency's money at the last close, by its ISO 4217 code.

        Units of the currency of the history per unit; None if unknown, or if the history is not in
        one currency.
        """
        found = self._rate_of(currency)
        return None if found is None else found[0]

    def last_rate_day(self, currency: str) -> date | None:
        """Return the day of that rate; None if it is unknown."""
        found = self._rate_of(currency)
        return None if found is None else found[1]

    def _rate_of(self, currency: str) -> tuple[float, date] | None:
        """Return the exchange rate of a currency at the last close, and its day."""
        quotes = self.quotes
        if quotes is None or quotes.currency is None:
            return None

        def compute() -> tuple[float, date] | None:
            found = quotes.exchange.convert(currency, quotes.currency or currency, self.dates[-1:])
            if found is None or np.isnan(found.rates[0]):
                return None
            return float(found.rates[0]), _as_date(found.days[0])

        return self.memo(("last rate", currency), compute)

    @property
    def last_prices(self) -> Floats:
        """Last price of a share, however old, in the currency of the history, shape (N,).

        NaN before the first close, and without an exchange rate.
        """

        def compute() -> Floats:
            last, rates = self.last_traded, self.last_rates
            if rates is None:
                return last
            prices: Floats = last * rates
            prices.setflags(write=False)
            return prices

        return self.memo("last prices", compute)

    @property
    def last_total_returns(self) -> Floats:
        """Last total-return close on each day, however old, shape (T, N); NaN before the first.

        In the currency of the history, at the exchange rates of the day.
        """

        def compute() -> Floats:
            if self.last_rates is None or not np.isnan(self.closes).any():
                return _last_known_rows(self.closes)
            # A holding without a current price still moves with its currency.
            assert self.quotes is not None and self.quotes.rates is not None
            rates = self.quotes.rates
            carried = _last_known_rows(self.closes / rates) * rates
            known: Floats = np.where(np.isnan(self.closes), carried, self.closes)
            known.setflags(write=False)
            return known

        return self.memo("last total returns", compute)

    @property
    def valuations(self) -> Floats:
        """Last price of a share on each day, however old, shape (T, N); NaN before the first.

        In the currency of the history.
        """

        def compute() -> Floats:
            prices: Floats = _last_known_rows(self.traded)
            if self.quotes is None or self.quotes.rates is None:
                return prices
            converted: Floats = prices * self.quotes.rates
            converted.setflags(write=False)
            return converted

        return self.memo("valuations", compute)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the check of the closes found, as known at the last row."""

        def compute() -> tuple[Finding, ...]:
            day = self.last_date
            known = (finding.as_of(day) for finding in self.all_findings)
            return tuple(finding for finding in known if finding is not None)

        return self.memo("findings", compute)

    @property
    def tradable(self) -> Bools:
        """Whether an asset has a current close that passes its checks, shape (T, N)."""

        def compute() -> Bools:
            usable = ~np.isnan(self.closes)
            for finding in self.all_findings:
                if finding.severity is Severity.ERROR:
                    wrong = self.dates >= np.datetime64(finding.day, "D")
                    if finding.until is not None:
                        wrong &= self.dates < np.datetime64(finding.until, "D")
                    usable[wrong, self.columns[finding.symbol]] = False
            for symbol in self.excluded:
                usable[:, self.columns[symbol]] = False
            usable.setflags(write=False)
            return usable

        return self.memo("tradable", compute)

    @property
    def withheld(self) -> dict[str, str]:
        """Why an asset cannot be traded at the last close, by symbol; a clause each."""

        def compute() -> dict[str, str]:
            found = {one.symbol: one.clause for one in self.findings if one.withholds}
            found |= self.excluded
            for symbol, currency in self.without_rate(self.symbols).items():
                target = None if self.quotes is None else self.quotes.currency
                found.setdefault(symbol, f"no exchange rate from {currency} to {target} yet")
            for column in np.flatnonzero(np.isnan(self.last_closes)).tolist():
                symbol = self.symbols[column]
                if symbol not in found:
                    found[symbol] = self._missing_close(symbol)
            return {symbol: found[symbol] for symbol in self.symbols if symbol in found}

        return self.memo("withheld", compute)

    def _missing_close(self, symbol: str) -> str:
        """Return why an asset has no current close, as a clause."""
        last, ending = self.last_known(symbol), self.ending(symbol)
        if last is None:
            return "no close yet"
        if ending is None:
            return f"no close since {last[0]}"
        if ending.other is not None:
            return f"called {ending.other} since {ending.ex_day}"
        return f"delisted on {ending.ex_day}"

    def ending(self, symbol: str) -> CorporateAction | None:
        """Return the rename or delisting after which an asset has no closes; None without one."""
        if self.quotes is None:
            return None
        own = self.quotes.actions.by_symbol.get(symbol, ())
        last = self.last_known(symbol) if own else None
        found = None if last is None else ending_of(own, last[0])
        return None if found is None or found.ex_day > self.last_date else found

    @property
    def withheld_columns(self) -> Bools | None:
        """Whether an asset is withheld, shape (N,); None if none is."""

        def compute() -> Bools | None:
            if not self.withheld:
                return None
            return np.array([symbol in self.withheld for symbol in self.symbols])

        return self.memo("withheld columns", compute)

    def column(self, symbol: str) -> int:
        """Return the column of a symbol.

        Raises:
            InvalidRequest: the symbol is unknown.
        """
        found = self.columns.get(symbol)
        if found is None:
            raise unknown_symbols([symbol], self.symbols)
        return found

    @property
    def columns(self) -> dict[str, int]:
        """Column by symbol."""
        return self.memo("columns", lambda: {name: i for i, name in enumerate(self.symbols)})

    def row_as_of(self, day: date | None) -> int:
        """Return the row of the last close at or before ``day``; the last row for None.

        Raises:
            InvalidRequest: ``day`` lies before the first close, or so long after the last close
                before it that this is not current, see `usual_graces`.
        """
        if day is None:
            return len(self) - 1
        wanted = np.datetime64(day, "D")
        row = int(np.searchsorted(self.dates, wanted, side="right")) - 1
        if row < 0:
            raise InvalidRequest(
                f"{day} is before the first close on {self.dates[0]}; choose a later date",
                field="as_of",
                code="date_before_prices",
            )
        age = self.age(row, day)
        days = count_weekdays(self.dates[max(row - _INTERVALS, 0) : row + 1])
        grace = usual_graces(days, np.array([len(days) - 1]))[0]
        if age > grace:
            raise InvalidRequest(
                f"the last close before {day} is of {self.dates[row]}, {age} weekdays earlier; "
                f"at most {grace:.0f} are allowed: choose an earlier date or newer prices",
                field="as_of",
                code="prices_outdated",
            )
        return row

    def age(self, row: int, day: date) -> int:
        """Return the weekdays from a row to a later day."""
        return int(np.busday_count(self.dates[row], np.datetime64(day, "D")))

    def missed_days(self, day: date) -> int:
        """Return the days after the last row, up to a later day, on which a market was open.

        The sessions of the assets' markets count if all are known, and weekdays otherwise.
        """
        if self.quotes is not None and self.quotes.sessions:
            codes = sorted({str(code) for code in self.quotes.markets})
            sessions = [self.quotes.sessions.get(code) for code in codes]
            found = count_open_days(sessions, self.dates[-1], np.datetime64(day, "D"))
            if found is not None:
                return found
        return self.age(len(self) - 1, day)

    @property
    def last_own_days(self) -> Dates:
        """Day of the last own close of each asset, shape (N,); NaT where none is current.

        A slice knows the closes before its first row, too.
        """

        def compute() -> Dates:
            days = np.full(len(self.symbols), np.datetime64("NaT", "D"))
            sought = ~np.isnan(self.last_closes)
            for stop in range(len(self), 0, -_BLOCK):  # most are found in the last rows
                rows = slice(max(stop - _BLOCK, 0), stop)
                seen = ~np.isnan(self.closes[rows])
                if self.carried is not None:
                    seen &= ~self.carried[rows]
                found = sought & seen.any(axis=0)
                last = stop - 1 - seen[::-1].argmax(axis=0)
                days[found] = self.dates[last[found]]
                sought &= ~found
                if not sought.any():
                    break
            origin: tuple[PriceHistory, int] | None = self._memo.get(_ORIGIN)  # type: ignore[assignment]  # see `_rows_between`
            if sought.any() and origin is not None and origin[1] > 0:
                days[sought] = origin[0].until(origin[1] - 1).last_own_days[sought]
            days.setflags(write=False)
            return days

        return self.memo("last own days", compute)

    def newest_close(self, symbols: Iterable[str]) -> date:
        """Return the day of the last own close of any of some assets; unknown ones do not count.

        That of the last row if none of them has a current close.
        """
        columns = [self.columns[symbol] for symbol in symbols if symbol in self.columns]
        days = self.last_own_days[columns]
        days = days[~np.isnat(days)]
        return _as_date(days.max()) if len(days) else self.last_date

    def known_market(self, symbol: str) -> str | None:
        """Return the code of an asset's market if its sessions are known; None otherwise."""
        if self.quotes is None:
            return None
        market = self.quotes.markets[self.columns[symbol]]
        return market if market in self.quotes.sessions else None

    def missed_sessions(self, symbol: str) -> int | None:
        """Return the sessions that an asset's market has had since its last close.

        Up to the last row. None if the market's sessions are not known, or without any close.
        """
        column, last = self.columns[symbol], self.last_known(symbol)
        if self.quotes is None or last is None:
            return None
        sessions = self.quotes.sessions.get(self.quotes.markets[column] or "")
        return count_open_days([sessions], np.datetime64(last[0], "D"), self.dates[-1])

    def until(self, row: int) -> PriceHistory:
        """Return the prices known at the close of ``row``: rows 0 to ``row``, no copy."""
        return self._rows_between(0, row + 1)

    def since(self, row: int) -> PriceHistory:
        """Return the rows from ``row`` on, no copy."""
        return self._rows_between(row, len(self))

    def select(self, symbols: Sequence[str]) -> PriceHistory:
        """Return the same rows of some assets, in the given order (a copy).

        Raises:
            InvalidRequest: symbols are unknown (the message names all), repeat, or are empty.
        """
        unknown = [symbol for symbol in symbols if symbol not in self.columns]
        if unknown:
            raise unknown_symbols(unknown, self.symbols)
        if not symbols or len(set(symbols)) < len(symbols):
            raise InvalidRequest(
                f"[{', '.join(symbols)}] must name at least one symbol, each once",
                code="invalid_symbols",
            )
        columns = [self.column(symbol) for symbol in symbols]
        carried = None if self.carried is None else _columns(self.carried, columns)
        reported = None if self.reported is None else _columns(self.reported, columns)
        wanted = set(symbols)
        part = attrs.evolve(
            self,
            symbols=tuple(symbols),
            closes=_columns(self.closes, columns),
            carried=carried,
            reported=reported,
            all_findings=tuple(one for one in self.all_findings if one.symbol in wanted),
            excluded={one: why for one, why in self.excluded.items() if one in wanted},
            quotes=None if self.quotes is None else self.quotes.select(columns),
        )
        if _ORIGIN in self._memo:
            part._memo[_ORIGIN] = self._memo[_ORIGIN]
        return part

    def on_rows(self, chosen: Bools) -> PriceHistory:
        """Return some rows, as if the source had no others (a copy); ``chosen`` has shape (T,)."""
        return attrs.evolve(
            self,
            dates=_rows(self.dates, chosen),
            closes=_rows(self.closes, chosen),
            carried=None if self.carried is None else _rows(self.carried, chosen),
            reported=None if self.reported is None else _rows(self.reported, chosen),
        )

    def window(
        self, symbols: Sequence[str] | None = None, *, days: int | None = None, until: date | None
    ) -> PriceHistory:
        """Return the last ``days`` rows up to ``until``, of some assets or of all.

        Raises:
            InvalidRequest: as `row_as_of` and `select`, or ``days`` is less than 1.
        """
        if days is not None and days < 1:
            raise InvalidRequest(
                f"{days} is not a number of days; choose 1 or more",
                field="days",
                code="invalid_days",
            )
        end = self.row_as_of(until)
        start = 0 if days is None else max(0, end + 1 - days)
        rows = self if (start, end + 1) == (0, len(self)) else self._rows(start, end)
        return rows if symbols is None else rows.select(symbols)

    def _rows(self, start: int, end: int) -> PriceHistory:
        """Return rows ``start`` to ``end``: the same object for recently used rows.

        So callers that use the same day share the values derived from it.
        """
        recent: dict[tuple[int, int], PriceHistory] = self.memo("windows", dict)
        found = recent.get((start, end))
        if found is None:
            if len(recent) >= _WINDOWS:
                recent.clear()
            found = recent[start, end] = self._rows_between(start, end + 1)
        return found

    def _rows_between(self, start: int, stop: int) -> PriceHistory:
        """Return the rows from ``start`` to before ``stop``, no copy."""
        rows = slice(start, stop)
        carried = None if self.carried is None else self.carried[rows]
        reported = None if self.reported is None else self.reported[rows]
        known = self.dates if self.calendar is None else self.calendar
        part = PriceHistory(
            self.symbols,
            self.dates[rows],
            self.closes[rows],
            carried,
            reported,
            self.all_findings,
            calendar=known[: len(known) - len(self) + stop],
            periods_per_year=self.periods_per_year,
            excluded=self.excluded,
            quotes=None if self.quotes is None else self.quotes.between(start, stop),
        )
        if start > 0:
            part._memo[_ORIGIN] = (self, start)
        return part

    def followed_by(
        self, day: date, prices: Mapping[str, float], missing: Mapping[str, str]
    ) -> PriceHistory:
        """Return one further row alone, with prices that are not closes.

        Assets that are not named keep their last close. Exchange rates are the last ones up to the
        day. Earlier closes are known to the row as to a slice, see `last_known`; it may be of the
        day of the last close.

        Args:
            day: Its day, not before the last close.
            prices: Price of a share as traded, in the asset's currency, by symbol.
            missing: Why an asset cannot be traded at the row, by symbol; a clause each.
        """
        row = self.traded[-1:].copy()
        for symbol, price in prices.items():
            row[0, self.column(symbol)] = price
        for symbol in missing:
            row[0, self.column(symbol)] = np.nan
        row.setflags(write=False)
        days = np.array([day], dtype="datetime64[D]")
        days.setflags(write=False)
        closes, quotes = row, self.quotes
        if quotes is not None:
            rates = None
            if quotes.currency is not None and quotes.rates is not None:
                rates, _ = rate_table(quotes.exchange, quotes.currencies, quotes.currency, days)
            if rates is not None:
                closes = row * rates
                closes.setflags(write=False)
            quotes = attrs.evolve(quotes, prices=row, rates=rates)
        part = attrs.evolve(
            self,
            dates=days,
            closes=closes,
            carried=None,
            reported=None,
            calendar=self.dates if self.calendar is None else self.calendar,
            excluded={**self.excluded, **missing},
            quotes=quotes,
        )
        part._memo[_ORIGIN] = (self, len(self))
        return part

    def returns(self, days: int) -> Floats:
        """Return the last simple returns, shape (min(days, T - 1), N); NaN where unknown."""

        def compute() -> Floats:
            closes = self.closes[-(days + 1) :]
            changes: Floats = closes[1:] / closes[:-1] - 1.0
            changes.setflags(write=False)
            return changes

        return self.memo(("returns", days), compute)

    def exact_closes(self) -> list[Decimal]:
        """Return the last prices as traded by column, in the digits in which they were read."""
        return self.memo(
            "exact closes", lambda: [Decimal(repr(close)) for close in self.last_traded.tolist()]
        )

    def exact_rates(self) -> list[Decimal] | None:
        """Return the exchange rates of the last prices by column; None if all are 1."""

        def compute() -> list[Decimal] | None:
            rates = self.last_rates
            return None if rates is None else [Decimal(repr(rate)) for rate in rates.tolist()]

        return self.memo("exact rates", compute)

    @property
    def digest(self) -> str:
        """SHA-256 of symbols, dates, closes and findings; equal for equal contents anywhere."""

        def compute() -> str:
            sha = hashlib.sha256()
            sha.update("\n".join(self.symbols).encode())
            sha.update(np.ascontiguousarray(self.dates.astype("<i8")).tobytes())
            sha.update(np.ascontiguousarray(self.closes.astype("<f8")).tobytes())
            if self.carried is not None and self.carried.any():
                sha.update(np.packbits(self.carried).tobytes())
            if self.excluded:
                sha.update(repr(sorted(self.excluded)).encode())
            if self.quotes is not None:
                self._add_quotes(sha, self.quotes)
            if self.findings:
                sha.update(repr([attrs.astuple(finding) for finding in self.findings]).encode())
            return sha.hexdigest()

        return self.memo("digest", compute)

    def _add_quotes(self, sha: hashlib._Hash, quotes: Quotes) -> None:
        """Add what quotes state beyond the closes."""
        if quotes.prices is not None and not np.array_equal(
            self.share_prices, self.closes, equal_nan=True
        ):
            sha.update(np.ascontiguousarray(self.last_traded.astype("<f8")).tobytes())
        if quotes.rates is not None and (quotes.rates[-1] != 1.0).any():
            sha.update("\n".join(quotes.currencies).encode())
            sha.update(np.ascontiguousarray(quotes.rates[-1].astype("<f8")).tobytes())

    def memo(self, key: object, compute: Callable[[], T]) -> T:
        """Cache a value derived from this history, which is immutable."""
        if key not in self._memo:
            self._memo[key] = compute()
        return self._memo[key]  # type: ignore[return-value]  # one key, one type: see the callers


_Table = TypeVar("_Table", Floats, Bools)
_Rows = TypeVar("_Rows", Floats, Bools, Dates)


def _rows(table: _Rows, chosen: Bools) -> _Rows:
    """Return some rows of an array, read-only."""
    part = table[chosen]
    part.setflags(write=False)
    return part


def _columns(table: _Table, columns: list[int]) -> _Table:
    """Return some columns of an array, read-only."""
    chosen = table[:, columns]
    chosen.setflags(write=False)
    return chosen


def _last_known_rows(table: Floats) -> Floats:
    """Return (T, N) the last value of each column up to each row; NaN before the first one."""
    missing = np.isnan(table)
    if not missing.any():
        return table
    rows = np.arange(len(table))[:, None]
    last = np.maximum.accumulate(np.where(missing, 0, rows), axis=0)
    known: Floats = np.take_along_axis(table, last, axis=0)
    known.setflags(write=False)
    return known


def _as_date(day: np.datetime64) -> date:
    """Convert a numpy day."""
    return day.astype("datetime64[D]").item()  # type: ignore[no-any-return]  # typed as Any
