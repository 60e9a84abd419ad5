"""What a deployment subscribes to, and how reported trades become quotes on the board."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import attrs

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.quotes import QuoteBoard
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.market.currencies import is_rate_symbol
from rebalancer.domain.market.live_quotes import (
    FaultyQuote,
    LiveQuote,
    PostedQuote,
    Tick,
    read_tick,
)
from rebalancer.domain.money import Currency

LEASE = "quotes"
"""Name of the lease of the subscriber."""

LIFETIME = timedelta(seconds=15)
"""Time after the last heartbeat of a subscriber until another process takes over."""

MOST_SYMBOLS = 5_000
"""Assets that a deployment subscribes to at most; those of portfolios come first."""


@attrs.frozen
class HoldSubscription:
    """Hold the lease of the only subscriber of a deployment.

    Attributes:
        work: Store of the lease.
        clock: Time; clocks of the processes must agree within a few seconds.
        lifetime: Time after the last heartbeat until another process may take over.
    """

    work: UnitOfWork
    clock: Clock
    lifetime: timedelta = LIFETIME

    def take(self, holder: str) -> bool:
        """Take or extend the lease; return whether this process has it.

        Raises:
            Unavailable: the store does not answer.
        """
        now = self.clock()
        with self.work.begin() as tx:
            return tx.leases.take(LEASE, holder, now=now, until=now + self.lifetime)

    def give_back(self, holder: str) -> None:
        """End the lease if this process has it, so that another one takes over at once.

        Raises:
            Unavailable: the store does not answer.
        """
        with self.work.begin() as tx:
            tx.leases.give_back(LEASE, holder)

    def holder(self) -> str | None:
        """Return which process subscribes; None if none does.

        Raises:
            Unavailable: the store does not answer.
        """
        with self.work.read() as tx:
            return tx.leases.holder(LEASE, self.clock())


@attrs.frozen
class ListQuotedAssets:
    """List the assets that a deployment subscribes to.

    They are what open portfolios hold or target, and what streams ask for, as far as there are
    prices of them. A name that an owner has made up for an asset of their own is never sent to a
    provider.
    """

    work: UnitOfWork
    board: QuoteBoard
    prices: PriceSource

    def __call__(self, now: datetime) -> frozenset[str]:
        """Return the assets at a time.

        Raises:
            Unavailable: a store does not answer.
        """
        known = set(self.prices.symbols())
        with self.work.read() as tx:
            held = tx.portfolios.symbols()
        wanted = self.board.wanted(now)
        listed = [*sorted(held & known), *sorted((wanted - held) & known)]
        rates = sorted(one for one in wanted if is_rate_symbol(one) and one not in known)
        return frozenset([*listed, *rates][:MOST_SYMBOLS])


@attrs.frozen
class PostTicks:
    """Turn reported trades into quotes, and post them.

    Attributes:
        board: Board.
        instruments: Units of prices that reports do not state.
        currency: Currency of assets whose unit is stated nowhere.
        clock: Time of the arrival.
    """

    board: QuoteBoard
    instruments: InstrumentSource
    currency: Currency
    clock: Clock

    def __call__(
        self, ticks: Sequence[Tick]
    ) -> tuple[tuple[PostedQuote, ...], tuple[FaultyQuote, ...]]:
        """Return what was posted, and the reports that are not quotes.

        Raises:
            Unavailable: the board cannot be reached, or the list of instruments cannot be read.
        """
        listed, now = self.instruments.instruments(), self.clock()
        quotes: list[LiveQuote] = []
        faults: list[FaultyQuote] = []
        for tick in ticks:
            rate_unit = tick.symbol[3:] if is_rate_symbol(tick.symbol) else None
            unit = rate_unit or listed[tick.symbol].currency or self.currency.code
            read = read_tick(tick, unit=unit, received=now)
            if isinstance(read, LiveQuote):
                quotes.append(read)
            else:
                faults.append(read)
        return self.board.post(quotes), tuple(faults)

    def repeat(self, quotes: Collection[LiveQuote]) -> int:
        """Post quotes again that the board has lost, as after a restart; return their number.

        Raises:
            Unavailable: the board cannot be reached.
        """
        latest = self.board.latest([quote.symbol for quote in quotes])
        return len(self.board.post([quote for quote in quotes if quote.symbol not in latest]))
