"""Search assets, among those with known prices and among those of providers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date

import attrs

from rebalancer.application.market_data import asset_currency
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.providers import Listing
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.domain.market.instruments import AssetClass, Instruments
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable

MOST_LISTINGS = 10
"""Most assets that providers add to a search."""


@attrs.frozen
class FoundAsset:
    """Asset found by a search; attributes as in `AssetSummary`, at its price as traded.

    Attributes:
        as_of: Day of the last close of all assets, or that of the asset's own last one if it is
            withheld; None unless the asset is known.
        known: Whether its prices are known; otherwise it is a listing of a provider.
        market: ISO 10383 code or "24/7"; None if that is not stated.
        exchange: Name of its exchange, for readers; empty if unknown.
        isin: ISO 6166 number; None if unknown.
        figi: OpenFIGI number; None if unknown.
        provider: Name of the provider of a listing; None if the asset is known.
    """

    symbol: str
    name: str
    asset_class: str | None
    as_of: date | None
    price: float | None
    withheld: str | None = None
    currency: str | None = None
    known: bool = True
    market: str | None = None
    exchange: str = ""
    isin: str | None = None
    figi: str | None = None
    provider: str | None = None


@attrs.frozen
class SearchAssets:
    """Find assets with known prices by symbol or name."""

    prices: PriceSource
    instruments: InstrumentSource

    def __call__(
        self,
        query: str,
        *,
        asset_class: AssetClass | None = None,
        currency: str | None = None,
        after: str | None = None,
        limit: int,
    ) -> list[FoundAsset]:
        """Return assets whose symbol begins with the query or whose name contains it, sorted.

        Args:
            query: Text; its case does not matter. Empty: every asset.
            asset_class: Class of the assets; None: any.
            currency: ISO 4217 code of their prices; None: any.
            after: Only symbols that sort after this one; None: all.
            limit: Most assets.

        Raises:
            InvalidRequest: prices or instruments are malformed.
            PricesUnavailable: the provider did not answer.
        """
        history, known = self.prices.closes(), self.instruments.instruments()
        wanted = query.strip().casefold()
        found: list[FoundAsset] = []
        for symbol in sorted(history.symbols):
            if len(found) == limit:
                break
            if after is not None and symbol <= after:
                continue
            instrument = known[symbol]
            if asset_class not in (None, instrument.asset_class):
                continue
            if currency not in (None, asset_currency(history, symbol)):
                continue
            name = instrument.name.casefold()
            if symbol.casefold().startswith(wanted) or wanted in name:
                found.append(_known_asset(history, symbol, known))
        return found

    def get(self, symbols: Iterable[str]) -> list[FoundAsset]:
        """Return those of some assets whose prices are known, in this order.

        Raises:
            As on a call.
        """
        history, listed = self.prices.closes(), self.instruments.instruments()
        known = history.columns
        return [_known_asset(history, symbol, listed) for symbol in symbols if symbol in known]


@attrs.frozen
class Search:
    """What a search found.

    Attributes:
        assets: Known ones first, sorted by symbol, then those of providers, best first.
        notes: Which providers did not answer, and why, as clauses.
    """

    assets: tuple[FoundAsset, ...]
    notes: tuple[str, ...] = ()


@attrs.frozen
class SearchEverywhere:
    """Find assets by symbol, name, ISIN or FIGI, also among those of providers."""

    search: SearchAssets
    chain: ProviderChain

    def __call__(
        self,
        query: str,
        *,
        asset_class: AssetClass | None = None,
        currency: str | None = None,
        limit: int,
    ) -> Search:
        """Return known assets, and after them those of providers that answer.

        A known asset that only a provider finds, such as by its ISIN, is among the known ones.
        Listings that do not state a class or a currency pass a filter by it. A fault of a provider
        is a note.

        Args:
            query: Text; no provider is asked without any.
            asset_class: Class of the assets; None: any.
            currency: ISO 4217 code of their prices; None: any.
            limit: Most known assets; providers add at most `MOST_LISTINGS`.

        Raises:
            InvalidRequest: prices or instruments are malformed.
            PricesUnavailable: the provider of known prices did not answer.
        """

        def search() -> list[FoundAsset]:
            return self.search(query, asset_class=asset_class, currency=currency, limit=limit)

        found = {asset.symbol: asset for asset in _or_none(search)}
        if not query.strip():
            return Search(tuple(found.values()))
        answer = self.chain.search(query.strip(), limit=MOST_LISTINGS)
        listed = {
            listing.symbol: _listed_asset(provider, listing)
            for provider, listing in answer.listings
            if _passes(listing, asset_class, currency)
        }
        others = [symbol for symbol in listed if symbol not in found]
        for asset in _or_none(lambda: self.search.get(others)):
            found[asset.symbol] = asset
        known = sorted(found.values(), key=lambda asset: asset.symbol)
        new = [asset for symbol, asset in listed.items() if symbol not in found]
        return Search((*known, *new), tuple(fault.message for fault in answer.faults))


def _or_none(search: Callable[[], list[FoundAsset]]) -> list[FoundAsset]:
    """Return known assets; none if the store has no prices yet."""
    try:
        return search()
    except PricesUnavailable as error:
        if error.code != "prices_not_imported":
            raise
        return []


def _passes(listing: Listing, asset_class: AssetClass | None, currency: str | None) -> bool:
    """Return whether what a listing states does not contradict a filter."""
    return (asset_class is None or listing.asset_class in (None, asset_class)) and (
        currency is None or listing.currency in (None, currency)
    )


def _known_asset(history: PriceHistory, symbol: str, instruments: Instruments) -> FoundAsset:
    instrument, withheld = instruments[symbol], history.withheld.get(symbol)
    last = history.last_known(symbol)
    return FoundAsset(
        symbol,
        instrument.name,
        instrument.asset_class,
        history.last_date if withheld is None or last is None else last[0],
        None if last is None else last[1],
        withheld,
        asset_currency(history, symbol),
        market=instrument.market,
    )


def _listed_asset(provider: str, listing: Listing) -> FoundAsset:
    return FoundAsset(
        listing.symbol,
        listing.name,
        listing.asset_class,
        None,
        None,
        currency=listing.currency,
        known=False,
        market=listing.market,
        exchange=listing.exchange,
        isin=listing.isin,
        figi=listing.figi,
        provider=provider,
    )
