"""Market data in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import attrs

from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory


@attrs.frozen
class MemoryPrices:
    """A price history at hand, as a source of prices.

    Attributes:
        history: All that is on offer; a `PriceHistory` has no gaps left to fill.
    """

    history: PriceHistory

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`."""
        return self.history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        return self.history.window(symbols, days=days, until=until)


@attrs.frozen
class MemoryInstruments:
    """A list of instruments at hand, as a source of them."""

    listed: Instruments

    def instruments(self) -> Instruments:
        """See `InstrumentSource.instruments`."""
        return self.listed
