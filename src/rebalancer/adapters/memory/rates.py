"""Exchange rates in memory, for tests and programs."""

from __future__ import annotations

import attrs

from rebalancer.domain.market.currencies import NO_RATES, ExchangeRates


@attrs.frozen
class MemoryRates:
    """Given exchange rates as a `RateSource`."""

    exchange: ExchangeRates = NO_RATES

    def rates(self) -> ExchangeRates:
        """See `RateSource.rates`."""
        return self.exchange
