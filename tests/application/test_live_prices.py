"""Which closes count as current in a proposal at quotes: those of markets that are closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryCalendars, MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.quotes import MemoryQuoteBoard
from rebalancer.application.live_prices import ReadLivePrices
from rebalancer.application.live_values import DescribeWatched
from rebalancer.application.quotes import ReadQuotes
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.live_quotes import LiveQuote, QuoteLimits
from rebalancer.domain.rebalancing.live_prices import QuoteBlock
from tests.builders import USD, flat_prices

DAYS = np.array(["2022-12-29", "2022-12-30", "2023-01-03"], dtype="datetime64[D]")
"""Sessions of the exchange, from 15:00 to 21:00 UTC; the closes end on 30 December."""

CLOSES = flat_prices({"A": 100.0, "COIN": 50.0})
LISTED = Instruments.of([Instrument("A", market="XNYS"), Instrument("COIN", market="24/7")])


@attrs.frozen
class Desk:
    """Live prices over a board in memory."""

    board: MemoryQuoteBoard = attrs.field(factory=MemoryQuoteBoard)

    @property
    def read(self) -> ReadLivePrices:
        describe = DescribeWatched(
            MemoryPrices(CLOSES), MemoryInstruments(LISTED), MemoryCalendars({"XNYS": DAYS}), USD
        )
        limits = QuoteLimits()
        return ReadLivePrices(ReadQuotes(self.board), describe, limits, timedelta(minutes=10))

    def post(self, symbol: str, price: float, traded: datetime) -> None:
        self.board.post([LiveQuote(symbol, price, "USD", traded, traded, "test")])


@pytest.mark.parametrize(
    ("now", "closed", "blocked"),
    [
        # The weekend and the holiday after the last close.
        (datetime(2023, 1, 2, 12, tzinfo=UTC), ("A",), None),
        # The session of 3 January.
        (datetime(2023, 1, 3, 16, tzinfo=UTC), (), QuoteBlock.MISSING),
        # The evening of 3 January, whose close is not known yet.
        (datetime(2023, 1, 3, 22, tzinfo=UTC), (), QuoteBlock.MISSING),
    ],
)
def test_a_close_counts_while_its_market_has_had_no_session_since(
    now: datetime, closed: tuple[str, ...], blocked: QuoteBlock | None
) -> None:
    desk = Desk()
    desk.post("COIN", 51.0, now)
    live = desk.read({"A", "COIN", "OTHER"}, CLOSES, now=now)
    assert [one.symbol for one in live.quotes] == ["COIN"]
    assert (live.closed, live.blocked_by("A")) == (closed, blocked)
    assert live.expires == now + timedelta(minutes=10)


def test_without_any_quote_it_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no quote of A, COIN is known"):
        Desk().read({"A", "COIN"}, CLOSES, now=datetime(2023, 1, 3, 16, tzinfo=UTC))
