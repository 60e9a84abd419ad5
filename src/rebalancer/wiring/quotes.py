"""Live quotes: their source, and the board, shared through Redis if it is configured."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import attrs
from dishka import Provider, Scope, provide

from rebalancer.adapters.memory.quotes import MemoryQuoteBoard
from rebalancer.adapters.redis.connection import Connection
from rebalancer.adapters.redis.quotes import RedisQuoteBoard
from rebalancer.application.live_prices import LivePriceSource, ReadLivePrices
from rebalancer.application.live_values import DescribeWatched
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.quotes import QuoteBoard, QuoteFeed
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.application.quote_subscription import (
    HoldSubscription,
    ListQuotedAssets,
    PostTicks,
)
from rebalancer.application.quotes import ReadQuotes
from rebalancer.config import Settings
from rebalancer.domain.market.live_quotes import QuoteLimits
from rebalancer.domain.money import Currency
from rebalancer.wiring.market import Sources

YAHOO, POLLING, OFF = "yahoo", "polling", "off"
"""Sources of quotes, as `Settings.quotes` names them."""


@attrs.frozen
class QuoteSource:
    """Source of quotes of this deployment.

    Attributes:
        name: `YAHOO`, `POLLING` or `OFF`, or that of a test.
        create: Creates the feed in a running event loop; must not do I/O.
    """

    name: str
    create: Callable[[], QuoteFeed]

    @property
    def is_on(self) -> bool:
        """Whether there are quotes at all."""
        return self.name != OFF


def create_feed(name: str, chain: ProviderChain, clock: Clock, settings: Settings) -> QuoteFeed:
    """Create a feed by its name, `YAHOO` or `POLLING`."""
    if name == POLLING:
        from rebalancer.adapters.market_data.quote_feeds.polling import PolledQuotes

        return PolledQuotes(chain, clock, interval=settings.quote_interval)
    from rebalancer.adapters.market_data.quote_feeds.yahoo_stream import YahooStream

    return YahooStream()


class QuoteProvider(Provider):
    """Source, board and subscription of quotes."""

    scope = Scope.APP

    @provide
    def board(self, connection: Connection | None) -> QuoteBoard:
        """Share quotes through Redis; without it, with the threads of this process."""
        if connection is None:
            return MemoryQuoteBoard()
        return RedisQuoteBoard(connection)

    @provide
    def limits(self, settings: Settings) -> QuoteLimits:
        return QuoteLimits(timedelta(minutes=settings.quote_age), settings.quote_spread)

    @provide
    def live_prices(
        self, read: ReadQuotes, describe: DescribeWatched, limits: QuoteLimits, settings: Settings
    ) -> LivePriceSource:
        valid_for = timedelta(minutes=settings.live_proposal_minutes)
        return ReadLivePrices(read, describe, limits, valid_for)

    @provide
    def source(
        self, settings: Settings, sources: Sources, chain: ProviderChain, clock: Clock
    ) -> QuoteSource:
        """Provide the source that the settings name; its packages are loaded when it runs."""
        name = settings.quotes
        if name is None:
            name = YAHOO if sources.stored and YAHOO in settings.providers else OFF

        return QuoteSource(name, partial(create_feed, name, chain, clock, settings))

    @provide
    def hold(self, work: UnitOfWork, clock: Clock) -> HoldSubscription:
        return HoldSubscription(work, clock)

    @provide
    def assets(self, work: UnitOfWork, board: QuoteBoard, prices: PriceSource) -> ListQuotedAssets:
        return ListQuotedAssets(work, board, prices)

    @provide
    def post(
        self, board: QuoteBoard, instruments: InstrumentSource, currency: Currency, clock: Clock
    ) -> PostTicks:
        return PostTicks(board, instruments, currency, clock)
