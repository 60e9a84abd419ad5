"""Assets and portfolios at live quotes, for people who watch them.

The values are shown and nothing else: no proposal at closes, indicator or backtest reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from uuid import UUID

import attrs
import numpy as np

from rebalancer.application.portfolios import ReadPortfolio
from rebalancer.application.ports.market import Calendars, InstrumentSource, PriceSource
from rebalancer.application.valuation import HeldPrice, ValuedPortfolio
from rebalancer.domain.market.instruments import ALWAYS_OPEN
from rebalancer.domain.market.live_quotes import (
    FaultyQuote,
    LastClose,
    LiveQuote,
    QuoteLimits,
    find_fault,
)
from rebalancer.domain.market.sessions import MarketHours, market_hours
from rebalancer.domain.market.symbols import unknown_symbols
from rebalancer.domain.money import Currency

_DIGITS = 60

_ANY_AGE = QuoteLimits(age=timedelta(days=36_500), spread=2.0)
"""Limits of quotes that are shown with their age, however old."""

_ALWAYS = MarketHours(is_open=True, since=None, until=None)


@attrs.frozen
class WatchedAsset:
    """What is known of an asset besides its quotes.

    Attributes:
        close: Last close, as traded; None without one.
        market: ISO 10383 code of its market, or "24/7"; None if unknown.
    """

    symbol: str
    close: LastClose | None
    market: str | None


@attrs.frozen
class DescribeWatched:
    """Describe the assets that a stream shows."""

    prices: PriceSource
    instruments: InstrumentSource
    calendars: Calendars
    currency: Currency

    def __call__(self, symbols: Collection[str]) -> dict[str, WatchedAsset]:
        """Return assets by symbol.

        Raises:
            InvalidRequest: there are no prices of a symbol; the message names all.
            PricesUnavailable: the prices cannot be read.
        """
        market = self.prices.closes()
        wanted = list(dict.fromkeys(symbols))
        if missing := [symbol for symbol in wanted if symbol not in market.columns]:
            raise unknown_symbols(missing, market.symbols, field="symbols")
        listed, exact, found = self.instruments.instruments(), market.exact_closes(), {}
        for symbol in wanted:
            price = exact[market.columns[symbol]]
            stated = market.currency_of(symbol, self.currency.code)
            day = market.newest_close([symbol])
            close = LastClose(float(price), day, stated) if price > 0 else None
            found[symbol] = WatchedAsset(symbol, close, listed[symbol].market)
        return found

    def hours(self, market: str | None, now: datetime) -> MarketHours | None:
        """Return whether a market is open; None if its sessions are not known."""
        if market is None:
            return None
        if market == ALWAYS_OPEN:
            return _ALWAYS
        begins, ends = self.calendars.opening_times(market), self.calendars.closing_times(market)
        return None if begins is None or ends is None else market_hours(begins, ends, now)

    def close_time(self, market: str | None, day: date) -> datetime:
        """Return when a market's session of a day has ended; the end of the day if unknown."""
        ends = None if market is None else self.calendars.closing_times(market)
        if ends is not None and market is not None:
            days = self.calendars.sessions([market])[market]
            row = int(np.searchsorted(days, np.datetime64(day, "D")))
            if row < len(days) and days[row] == np.datetime64(day, "D"):
                return datetime.fromtimestamp(int(ends[row].astype(np.int64)), UTC)
        return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)


@attrs.frozen
class LivePosition:
    """A holding at its quote, or at its last close.

    Attributes:
        symbol: The asset.
        quantity: Shares.
        price: In ``currency``; None without any price.
        currency: ISO 4217 code of the price.
        value: In the portfolio's currency, not rounded; None if unknown.
        value_at_close: The same at the last close.
        quote: The quote whose price it is; None: it is the close of ``close_day``.
        close_day: Day of the last close.
        fault: Why a quote is not used; None if it is, or there is none.
        hours: Whether the market is open; None if that is not known.
    """

    symbol: str
    quantity: Decimal
    price: Decimal | None
    currency: str
    value: Decimal | None
    value_at_close: Decimal | None
    quote: LiveQuote | None
    close_day: date | None
    fault: FaultyQuote | None
    hours: MarketHours | None


@attrs.frozen
class LivePortfolio:
    """A portfolio at quotes where they are known, and at closes elsewhere.

    Attributes:
        valued: The portfolio at the last close.
        positions: Its holdings, by symbol in alphabetical order.
        value: In its currency, rounded; None if unknown.
        value_at_close: The same at the last close.
    """

    valued: ValuedPortfolio
    positions: tuple[LivePosition, ...]
    value: Decimal | None
    value_at_close: Decimal | None

    @property
    def change(self) -> Decimal | None:
        """Change since the last close, in the portfolio's currency."""
        if self.value is None or self.value_at_close is None:
            return None
        return self.value - self.value_at_close

    @property
    def change_fraction(self) -> float | None:
        """Change since the last close as a fraction of the value then; None if that was 0."""
        if self.change is None or not self.value_at_close:
            return None
        return float(self.change / self.value_at_close)


@attrs.frozen
class ValueLive:
    """Value a portfolio at quotes."""

    read: ReadPortfolio
    describe: DescribeWatched

    def portfolio(self, id: UUID, *, actor: UUID) -> ValuedPortfolio:
        """Return the portfolio at the last close.

        Raises:
            NotFound: it does not exist, is closed, or is not shared with the actor any more.
            Unavailable: a store does not answer.
        """
        return self.read(id, actor=actor)

    def markets(self, symbols: Collection[str]) -> dict[str, str | None]:
        """Return the markets of assets by symbol."""
        listed = self.describe.instruments.instruments()
        return {symbol: listed[symbol].market for symbol in symbols}

    def __call__(
        self,
        valued: ValuedPortfolio,
        quotes: Mapping[str, LiveQuote],
        markets: Mapping[str, str | None],
        now: datetime,
    ) -> LivePortfolio:
        """Return a portfolio at quotes.

        A quote counts if its trade is after the last close, and if it is plausible beside it.
        Exchange rates are those of the last close.

        Args:
            valued: The portfolio at the last close.
            quotes: Latest quotes by symbol.
            markets: Markets of its holdings by symbol.
            now: The time.
        """
        currency = valued.portfolio.mandate.currency
        positions = tuple(
            self._position(
                symbol,
                quantity,
                valued.prices.get(symbol),
                quotes.get(symbol),
                markets.get(symbol),
                now,
            )
            for symbol, quantity in sorted(valued.portfolio.positions.holdings.items())
        )
        at_close = valued.value
        if at_close is None:
            return LivePortfolio(valued, positions, None, None)
        with localcontext(prec=_DIGITS):
            # The difference of exact values, so that only what has moved changes the total.
            moved = sum(
                (
                    one.value - one.value_at_close
                    for one in positions
                    if one.value is not None and one.value_at_close is not None
                ),
                Decimal(0),
            )
            return LivePortfolio(valued, positions, currency.round(at_close + moved), at_close)

    def _position(
        self,
        symbol: str,
        quantity: Decimal,
        held: HeldPrice | None,
        quote: LiveQuote | None,
        market: str | None,
        now: datetime,
    ) -> LivePosition:
        hours = self.describe.hours(market, now)
        if held is None:
            return LivePosition(symbol, quantity, None, "", None, None, None, None, None, hours)
        used, fault = self._usable(held, quote, market, now)
        price, value = held.price, held.value
        if used is not None and held.price > 0:
            price = Decimal(repr(used.price))
            with localcontext(prec=_DIGITS):
                value = None if held.value is None else held.value * price / held.price
        return LivePosition(
            symbol,
            quantity,
            price,
            held.currency,
            value,
            held.value,
            used,
            held.on,
            fault,
            hours,
        )

    def _usable(
        self, held: HeldPrice, quote: LiveQuote | None, market: str | None, now: datetime
    ) -> tuple[LiveQuote | None, FaultyQuote | None]:
        """Return the quote if it counts, or why it does not."""
        if quote is None or quote.traded <= self.describe.close_time(market, held.on):
            return None, None
        close = LastClose(float(held.price), held.on, held.currency) if held.price > 0 else None
        fault = find_fault(quote, close, now=now, limits=_ANY_AGE)
        return (None, fault) if fault is not None else (quote, None)
