"""Ask providers in order of preference, until one answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TypeVar, cast

import attrs

from rebalancer.application.ports.providers import (
    Fetched,
    Garbled,
    Listing,
    MarketProvider,
    Offer,
    ProviderFault,
    QuotaSpent,
    QuotingProvider,
    Refused,
    Throttled,
    UnknownSymbol,
    Unreachable,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.currencies import is_rate_symbol
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.live_quotes import Tick

T = TypeVar("T")

_WORTH_TELLING = (Throttled, Unreachable, Garbled, QuotaSpent, Refused, UnknownSymbol)
"""Faults by what a caller can do about them: those that pass come first."""


@attrs.frozen
class Answered:
    """An answer, and the name of the provider that gave it."""

    provider: str
    fetched: Fetched


@attrs.frozen
class Listings:
    """Assets that a search has found.

    Attributes:
        listings: Name of the provider and asset, best first.
        faults: Of the providers that did not answer.
    """

    listings: tuple[tuple[str, Listing], ...]
    faults: tuple[ProviderFault, ...] = ()


@attrs.frozen
class ProviderChain:
    """Providers by name, in order of preference.

    A provider that does not know a symbol is asked for other symbols as before; one that is down
    fails fast by itself, see `MarketProvider`.

    Attributes:
        providers: Providers that have what they need, such as a key.
        preferred: Names of those to ask first, by kind of symbol: "rate", "coin" or "asset".
    """

    providers: Mapping[str, MarketProvider]
    preferred: Mapping[str, Sequence[str]] = attrs.field(factory=dict)

    def bars(
        self, symbol: str, *, since: date | None, now: datetime, provider: str | None = None
    ) -> Answered:
        """Return the bars of an asset or a rate from the first provider that has them.

        Args:
            symbol: The asset.
            since: First day; all days when None.
            now: Time of the request.
            provider: Name of the only provider to ask; None: all.

        Raises:
            ProviderFault: none answered; the message names each with its reason.
            InvalidRequest: the provider is unknown, or has no bars.
        """
        wanted = Offer.RATES if is_rate_symbol(symbol) else Offer.BARS
        asked = self._order(wanted, symbol, provider)
        return self._first(
            asked, symbol, lambda one: Answered(one.name, one.bars(symbol, since=since, now=now))
        )

    def search(self, text: str, *, limit: int) -> Listings:
        """Return assets of all providers that answer, each symbol once.

        Further providers are asked until there are enough.
        """
        found: dict[str, tuple[str, Listing]] = {}
        faults: list[ProviderFault] = []
        for one in self._order(Offer.SEARCH, text, None):
            try:
                for listing in one.find(text, limit=limit):
                    found.setdefault(listing.symbol, (one.name, listing))
            except ProviderFault as fault:
                faults.append(fault)
            if len(found) >= limit:
                break
        return Listings(tuple(found.values())[:limit], tuple(faults))

    def facts(self, symbol: str) -> tuple[str, Facts]:
        """Return the fundamentals of an asset, and the name of the provider.

        Raises:
            ProviderFault: none answered.
        """
        asked = self._order(Offer.FACTS, symbol, None)
        return self._first(asked, symbol, lambda one: (one.name, one.facts(symbol)))

    def series(
        self, id: str, *, since: date | None, provider: str | None = None
    ) -> tuple[str, EconomicSeries]:
        """Return an economic series, and the name of the provider.

        Raises:
            ProviderFault: none answered.
        """
        asked = self._order(Offer.SERIES, id, provider)
        return self._first(asked, id, lambda one: (one.name, one.series(id, since=since)))

    def quote(self, symbol: str) -> Tick:
        """Return the last trade of an asset.

        Raises:
            ProviderFault: none answered.
        """
        asked = self._order(Offer.QUOTES, symbol, None)
        return self._first(asked, symbol, lambda one: cast(QuotingProvider, one).quote(symbol))

    def close(self) -> None:
        """Close the connections of all providers."""
        for one in self.providers.values():
            one.close()

    def _order(self, offer: Offer, symbol: str, only: str | None) -> list[MarketProvider]:
        able = [one for one in self.providers.values() if offer in one.offers]
        if only is not None:
            chosen = [one for one in able if one.name == only]
            if not chosen:
                raise InvalidRequest(
                    f"{only} is not a provider of {offer}; choose one of "
                    f"{', '.join(one.name for one in able) or 'none'}",
                    field="provider",
                    code="unknown_provider",
                )
            return chosen
        first = list(self.preferred.get(kind_of(symbol), ()))
        return sorted(
            able, key=lambda one: first.index(one.name) if one.name in first else len(first)
        )

    def _first(
        self, asked: Sequence[MarketProvider], subject: str, ask: Callable[[MarketProvider], T]
    ) -> T:
        faults: list[ProviderFault] = []
        for one in asked:
            try:
                return ask(one)
            except ProviderFault as fault:
                faults.append(fault)
        raise _combined(faults, subject)


def kind_of(symbol: str) -> str:
    """Return the kind of a symbol by its form: "rate", "coin" such as BTC-USD, or "asset"."""
    if is_rate_symbol(symbol):
        return "rate"
    base, dash, quoted = symbol.rpartition("-")
    return "coin" if dash and base and is_rate_symbol(f"EUR{quoted}") else "asset"


def _combined(faults: Sequence[ProviderFault], subject: str) -> ProviderFault:
    """Return the fault worth telling of several, with the reasons of all."""
    if not faults:
        return Refused(
            f"no provider is set up for {subject}; see which ones need a key, and add one"
        )
    if len(faults) == 1:
        return faults[0]
    first = min(faults, key=lambda one: _rank(one))
    message = "; ".join(one.message for one in faults)
    if isinstance(first, Throttled | QuotaSpent):
        return type(first)(message, until=first.until)
    return type(first)(message)


def _rank(fault: ProviderFault) -> int:
    return next(
        (at for at, kind in enumerate(_WORTH_TELLING) if isinstance(fault, kind)),
        len(_WORTH_TELLING),
    )
