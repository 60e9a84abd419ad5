"""Where market data come from: files, packages or a store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs
from dishka import (
    Provider,
    Scope,
    from_context,
    provide,
)

from rebalancer.adapters.market_data.csv_files import CsvInstruments, CsvPrices, PackagedInstruments
from rebalancer.adapters.market_data.sample import SURVIVORSHIP, SamplePrices
from rebalancer.adapters.rl.regimes import KeptRegimes
from rebalancer.application.ports.market import (
    InstrumentSource,
    MarketStore,
    PriceSource,
    Regimes,
)
from rebalancer.config import Settings

STORE, SAMPLE = Path("store"), Path("sample")
"""What to name in place of a price file: prices that were imported; the packaged ones."""


@attrs.frozen
class Sources:
    """Where market data come from.

    Attributes:
        prices: A CSV file; `STORE`: what was imported; None: the packaged sample.
        assets: An instrument list; None: the one that was imported where the prices are, else the
            packaged one.
        sample: Which part of the sample.
    """

    prices: Path | None = None
    assets: Path | None = None
    sample: Literal["stocks", "factors"] = "stocks"

    @classmethod
    def of(
        cls, settings: Settings, prices: Path | None = None, assets: Path | None = None
    ) -> Sources:
        """What is named on the command line, else in the settings; else what there is.

        That is the store where an operator has set one up for market data (MongoDB), so that all
        processes see the same; else the packaged sample. In the database nobody need expect prices:
        there they serve when they are named, as `STORE`. `SAMPLE` names the sample all the same.
        """
        named = prices or settings.prices or (SAMPLE if settings.mongo_url is None else STORE)
        return cls(
            prices=None if named == SAMPLE else named,
            assets=assets or settings.assets,
        )

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader of results on these prices must know."""
        return (SURVIVORSHIP,) if self.prices is None else ()


class MarketProvider(Provider):
    """Prices and instruments from files, or from the packages."""

    scope = Scope.APP
    sources = from_context(provides=Sources, scope=Scope.APP)

    @provide
    def prices(self, sources: Sources) -> PriceSource:
        """A file, or the packaged sample."""
        if sources.prices is None:
            return SamplePrices(sources.sample)
        return CsvPrices(sources.prices)

    @provide
    def instruments(self, sources: Sources) -> InstrumentSource:
        """A file, or the packaged list."""
        return PackagedInstruments() if sources.assets is None else CsvInstruments(sources.assets)

    @provide
    def regimes(self) -> Regimes:
        """The ones that are shipped."""
        return KeptRegimes()


class StoredPricesProvider(Provider):
    """Prices that were imported."""

    scope = Scope.APP

    @provide
    def prices(self, market: MarketStore) -> PriceSource:
        """The store's."""
        return market


class StoredInstrumentsProvider(Provider):
    """Instruments that were imported."""

    scope = Scope.APP

    @provide
    def instruments(self, market: MarketStore) -> InstrumentSource:
        """The store's."""
        return market
