"""Providers of market data: what they offer, and the faults that they have.

A provider asks one remote service. It neither retries nor waits, and it stores nothing: pace,
retries, quotas and the choice between providers are the caller's, see
`rebalancer.application.provider_chain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

import attrs

from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.domain.market.actions import CorporateAction
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.instruments import AssetClass, Instrument
from rebalancer.domain.market.live_quotes import Tick


class Offer(StrEnum):
    """What a provider can be asked for."""

    BARS = "bars"
    SEARCH = "search"
    FACTS = "facts"
    SERIES = "series"
    RATES = "rates"
    QUOTES = "quotes"


class ProviderFault(Unavailable):
    """A provider did not give what it was asked for; the message names both."""

    default_code = "provider_fault"


class Throttled(ProviderFault):
    """Too many requests in a short time.

    Attributes:
        until: When requests are welcome again; None if it is not stated.
    """

    default_code = "provider_throttled"

    def __init__(self, message: str, *, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until


class QuotaSpent(ProviderFault):
    """All requests of the plan are spent.

    Attributes:
        until: When the quota is reset; None if that is not known.
    """

    default_code = "provider_quota_spent"

    def __init__(self, message: str, *, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until


class Garbled(ProviderFault):
    """The answer cannot be read, or contradicts itself."""

    default_code = "provider_garbled"


class Refused(ProviderFault):
    """The key is missing, wrong, or its plan does not include the request."""

    default_code = "provider_refused"


class UnknownSymbol(ProviderFault):
    """The provider does not know the symbol; no reason to ask again, or to avoid the provider."""

    default_code = "provider_unknown_symbol"


class Unreachable(ProviderFault):
    """No complete answer came: connection, TLS, time-out, or an error of the server."""

    default_code = "provider_unreachable"


@attrs.frozen
class Fetched:
    """Daily data of one asset.

    Attributes:
        bars: As traded, in the quote unit; may be empty where nothing is new.
        actions: Corporate actions with an ex-day in the time that was asked for.
        instrument: What the answer states about the asset: currency, market, name.
    """

    bars: Bars
    actions: tuple[CorporateAction, ...] = ()
    instrument: Instrument | None = None


@attrs.frozen
class Listing:
    """Asset that a search has found.

    Attributes:
        symbol: As the provider writes it.
        exchange: Name of its exchange, for readers.
        isin: ISO 6166 number; None if unknown.
        figi: OpenFIGI number; None if unknown.
    """

    symbol: str
    name: str = ""
    asset_class: AssetClass | None = None
    currency: str | None = None
    market: str | None = None
    exchange: str = ""
    isin: str | None = None
    figi: str | None = None


class MarketProvider(Protocol):
    """Remote source of market data.

    Each method raises one of the faults above, and `NotImplementedError` never: callers ask only
    for what `offers` lists.
    """

    name: str
    title: str
    terms: str
    offers: frozenset[Offer]

    def bars(self, symbol: str, *, since: date | None, now: datetime) -> Fetched:
        """Return the daily bars and actions of an asset from a day on; all when None.

        The bar of a session that has not closed by ``now`` is left out.
        """

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        """Return assets whose name, symbol or number matches, best first; empty without any."""

    def facts(self, symbol: str) -> Facts:
        """Return the fundamentals of an asset."""

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        """Return an economic series from a day on; all of it when None."""

    def close(self) -> None:
        """Close connections; a later call opens them again."""


class QuotingProvider(MarketProvider, Protocol):
    """Provider that offers quotes."""

    def quote(self, symbol: str) -> Tick:
        """Return the last trade of an asset, as it is known now."""


NEVER_RETRIED: tuple[type[RebalancerError], ...] = (QuotaSpent, Refused, UnknownSymbol)
"""Faults that another request would have, too."""
