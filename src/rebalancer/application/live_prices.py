"""Prices for proposals at quotes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Protocol

import attrs

from rebalancer.application.live_values import DescribeWatched
from rebalancer.application.quotes import ReadQuotes
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.live_quotes import QuoteLimits
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.rebalancing.live_prices import LivePrices, take_quotes


class NoQuotes(InvalidRequest):
    """No asset of a portfolio has a quote."""

    default_code = "no_quotes"


class LivePriceSource(Protocol):
    """Quotes that count in a proposal."""

    def __call__(
        self, symbols: Collection[str], closes: PriceHistory, *, now: datetime
    ) -> LivePrices:
        """Return the prices of assets at a time, and why the others lack one.

        Args:
            symbols: Held and targeted assets of a portfolio.
            closes: Closes in its base currency.
            now: Time of the decision.

        Raises:
            InvalidRequest: no quote of any of the assets is known.
            Unavailable: the quotes cannot be read.
        """


@attrs.frozen
class ReadLivePrices:
    """Read the quotes that count from the board.

    Attributes:
        limits: Limits of age and spread.
        valid_for: How long a proposal can be accepted.
    """

    read: ReadQuotes
    describe: DescribeWatched
    limits: QuoteLimits
    valid_for: timedelta

    def __call__(
        self, symbols: Collection[str], closes: PriceHistory, *, now: datetime
    ) -> LivePrices:
        """See `LivePriceSource`."""
        wanted = sorted({symbol for symbol in symbols if symbol in closes.columns})
        quotes = self.read(wanted)
        if not quotes:
            raise _no_quotes(wanted)
        return take_quotes(
            wanted,
            closes,
            quotes,
            [symbol for symbol in wanted if self._close_counts(symbol, closes, now)],
            at=now,
            limits=self.limits,
            valid_for=self.valid_for,
        )

    def _close_counts(self, symbol: str, closes: PriceHistory, now: datetime) -> bool:
        """Return whether an asset's market is closed, and has had no session since its close."""
        market = self.describe.instruments.instruments()[symbol].market
        hours, last = self.describe.hours(market, now), closes.last_known(symbol)
        if hours is None or hours.is_open or last is None:
            return False
        return hours.since is None or self.describe.close_time(market, last[0]) >= hours.since


@attrs.frozen
class NoLivePrices:
    """Source that knows no quotes."""

    def __call__(
        self, symbols: Collection[str], closes: PriceHistory, *, now: datetime
    ) -> LivePrices:
        """See `LivePriceSource`."""
        raise _no_quotes(sorted(symbols))


NO_LIVE_PRICES = NoLivePrices()


def _no_quotes(symbols: Collection[str]) -> NoQuotes:
    names = ", ".join(symbols) or "this portfolio"
    return NoQuotes(
        f"no quote of {names} is known; request the proposal at closes, or switch quotes on with "
        "REBALANCER_QUOTES",
        field="prices",
    )
