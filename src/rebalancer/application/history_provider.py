"""Base of price sources that cut windows from one history, which is read once."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from functools import cached_property

import attrs

from rebalancer.application.ports.market import (
    Calendars,
    InstrumentSource,
    PriceReading,
    PriceSource,
    RateSource,
)
from rebalancer.domain.market.assembly import PricingTerms, quote_history
from rebalancer.domain.market.gaps import accept_jumps
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import hint_at
from rebalancer.domain.market.yields import Yields

log = logging.getLogger("rebalancer.market")


class NoDetails:
    """Details of a source that has nothing besides closes."""

    def reading(self) -> PriceReading:
        return PriceReading()

    def yields(self) -> Mapping[str, Yields]:
        return {}


class HistoryProvider(NoDetails, ABC):
    """Price source that reads its whole history at first use, once.

    A provider implements `read`, and overrides what it has of `PriceDetails`; see
    ``adapters/market_data/_template.py``.
    """

    @abstractmethod
    def read(self) -> PriceHistory:
        """Return all prices; called once.

        Raises:
            InvalidRequest: the data are malformed; the message names the place.
            PricesUnavailable: the provider did not answer.
        """

    def symbols(self) -> tuple[str, ...]:
        return self._history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        return self._history.window(symbols, days=days, until=until)

    @cached_property
    def _history(self) -> PriceHistory:
        return self.read()


@attrs.frozen(slots=False)
class GivenHistory(HistoryProvider):
    """Price source over a given history."""

    history: PriceHistory

    def read(self) -> PriceHistory:
        return self.history


@attrs.frozen(slots=False)
class AcceptedJumps(HistoryProvider):
    """Decorator of a price source that takes the jumps of some assets for true moves.

    Attributes:
        accepted: Symbols of these assets.
        configured: Those of the settings; the log names the ones without prices.
    """

    prices: PriceSource
    accepted: tuple[str, ...]
    configured: tuple[str, ...] = ()

    def read(self) -> PriceHistory:
        history = self.prices.closes()
        warn_of_unknown(self.configured, history.symbols)
        return accept_jumps(history, self.accepted)


@attrs.frozen(slots=False)
class QuotedPrices(HistoryProvider):
    """Decorator of a price source that states the currency and the market of each asset.

    Prices in pence become pounds. Exchange rates among the prices convert, and are not listed.

    Attributes:
        prices: Closes in quote units.
        assets: Currencies and quote units of the assets.
        currency: ISO 4217 code of assets whose currency is not stated.
        reference: Exchange rates for currencies that the rates among the prices do not connect.
        calendars: Sessions of the assets' markets.
        certain: Whether ``currency`` is known to be that of the prices, not just a default.
    """

    prices: PriceSource
    assets: InstrumentSource
    currency: str
    reference: RateSource
    calendars: Calendars
    certain: bool = False

    def read(self) -> PriceHistory:
        history, listed = self.prices.closes(), self.assets.instruments()
        markets = {listed[symbol].market for symbol in history.symbols}
        terms = PricingTerms(
            self.currency,
            listed,
            self.reference.rates(),
            sessions=self.calendars.sessions({each for each in markets if each is not None}),
            certain=self.certain,
        )
        return quote_history(history, terms)


def warn_of_unknown(accepted: Collection[str], symbols: tuple[str, ...]) -> None:
    """Log which symbols with accepted jumps have no prices; they may come later."""
    for symbol in sorted(set(accepted).difference(symbols)):
        hint = hint_at([symbol], symbols) or "."
        log.warning("jumps of %s are accepted, but it has no prices%s", symbol, hint)
