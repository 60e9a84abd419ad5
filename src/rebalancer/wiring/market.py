"""Where market data come from: a registered provider, a CSV file or the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import attrs
from dishka import Provider, Scope, alias, from_context, provide

from rebalancer.adapters.market_data.calendars import ExchangeCalendars
from rebalancer.adapters.market_data.csv_actions import CsvActions
from rebalancer.adapters.market_data.csv_bars import CsvBars
from rebalancer.adapters.market_data.csv_instruments import CsvInstruments
from rebalancer.adapters.market_data.ecb_rates import EcbRates
from rebalancer.adapters.market_data.registry import PROVIDERS, provider_of
from rebalancer.adapters.rl.regimes import StoredRegimes
from rebalancer.application.history_provider import (
    AcceptedJumps,
    HistoryProvider,
    NoDetails,
    QuotedPrices,
)
from rebalancer.application.market_issues import ListIssues
from rebalancer.application.ports.market import (
    Calendars,
    InstrumentSource,
    PriceDetails,
    PriceSource,
    RateSource,
    Regimes,
)
from rebalancer.application.stated_frequency import at_frequency
from rebalancer.application.stored_market import StoredMarket
from rebalancer.config import Settings
from rebalancer.domain.market.actions import Actions
from rebalancer.domain.market.bar_rows import BarRows
from rebalancer.domain.market.caution import Caution

SAMPLE = "sample"
"""Provider of the packaged prices."""

STORE = "store"
"""Name of the prices that were imported into the store."""


@attrs.frozen
class Sources:
    """Where market data come from.

    Attributes:
        prices: Name in `PROVIDERS`, `STORE`, or the path of a CSV file.
        assets: CSV file with instruments; None for those of the store or the provider.
        periods_per_year: Closes that count as a year; None: as the dates have.
        layout: Layout of the file of prices, as users write it; None: it is recognised.
        accepted: Symbols whose jumps are true moves, see `rebalancer.domain.market.close_quality`.
        currency: ISO 4217 code of assets whose currency is not stated; None: as the settings have.
    """

    prices: str = attrs.field(default=SAMPLE, converter=str)
    assets: Path | None = None
    periods_per_year: float | None = None
    layout: str | None = attrs.field(default=None, kw_only=True)
    accepted: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    currency: str | None = attrs.field(default=None, kw_only=True)

    @classmethod
    def of(
        cls,
        settings: Settings,
        prices: Path | str | None = None,
        assets: Path | None = None,
        periods_per_year: float | None = None,
        *,
        layout: str | None = None,
        accepted: Sequence[str] = (),
        currency: str | None = None,
    ) -> Sources:
        """Return the sources that a caller names, else those of the settings, else the default.

        The default is the store if MongoDB is configured, or if the embedded database has been
        synchronized with providers, and the sample otherwise.
        """
        stored = settings.mongo_url is not None or is_synchronized(settings.database_url)
        default = STORE if stored else SAMPLE
        return cls(
            prices or settings.prices or default,
            assets or settings.assets,
            periods_per_year,
            layout=layout or settings.prices_layout,
            accepted=(*settings.accept_jumps, *accepted),
            currency=currency,
        )

    @property
    def stored(self) -> bool:
        """Whether prices come from the store."""
        return self.prices == STORE

    @property
    def from_file(self) -> bool:
        """Whether prices come from a file or a folder."""
        return not self.stored and self.prices not in PROVIDERS

    @property
    def files(self) -> tuple[Path, ...]:
        """CSV files that are read."""
        prices = (Path(self.prices),) if self.from_file else ()
        return prices if self.assets is None else (*prices, self.assets)

    @property
    def portable_prices(self) -> str:
        """``prices`` in a form that is valid in any working directory."""
        is_file = Path(self.prices) in self.files
        return str(Path(self.prices).resolve()) if is_file else self.prices

    @property
    def portable(self) -> Sources:
        """The same sources, valid in any working directory."""
        assets = None if self.assets is None else self.assets.resolve()
        return attrs.evolve(self, prices=self.portable_prices, assets=assets)

    @property
    def title(self) -> str:
        """Name of the prices in reports."""
        return provider_of(self.prices).title

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What a reader of results on these prices must know."""
        return provider_of(self.prices).cautions


def is_synchronized(database_url: str) -> bool:
    """Return whether an embedded database holds prices from providers; never of a server.

    It is asked before anything else is loaded, so without SQLAlchemy.
    """
    path = database_url.removeprefix("sqlite:///").partition("?")[0]
    if path == database_url or not Path(path).is_file():
        return False
    try:
        with closing(
            sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)
        ) as found:
            query = "SELECT 1 FROM sync_states WHERE through IS NOT NULL LIMIT 1"
            return found.execute(query).fetchone() is not None
    except sqlite3.Error:  # older than these tables, busy or damaged: the store will tell
        return False


def read_bars(path: Path) -> BarRows:
    """Read bars as traded from a CSV file.

    Raises:
        InvalidRequest: the file is missing or malformed; the message names place and remedy.
    """
    return CsvBars(path).rows()


def read_actions(path: Path) -> tuple[Actions, tuple[str, ...]]:
    """Read corporate actions from a CSV file, and what was noticed, as sentences.

    Raises:
        InvalidRequest: the file is missing or malformed; the message names place and remedy.
    """
    found = CsvActions(path).read()
    return found.actions, found.notes


class MarketProvider(Provider):
    """Prices and instruments of a registered provider or of CSV files."""

    scope = Scope.APP
    sources = from_context(provides=Sources, scope=Scope.APP)

    @provide
    def provided(self, sources: Sources) -> HistoryProvider:
        return provider_of(sources.prices, sources.layout).prices()

    @provide
    def prices(
        self,
        provided: HistoryProvider,
        sources: Sources,
        settings: Settings,
        instruments: InstrumentSource,
        rates: RateSource,
        calendars: Calendars,
    ) -> PriceSource:
        if sources.accepted:
            provided = AcceptedJumps(provided, sources.accepted, settings.accept_jumps)
        stated = provider_of(sources.prices).currency or sources.currency
        quoted = QuotedPrices(
            provided,
            instruments,
            stated or settings.currency,
            rates,
            calendars,
            certain=stated is not None,
        )
        return at_frequency(quoted, sources.periods_per_year)

    @provide
    def issues(self, prices: PriceSource) -> ListIssues:
        return ListIssues(prices, None)

    rates = provide(EcbRates, provides=RateSource)

    @provide
    def calendars(self, settings: Settings) -> Calendars:
        return ExchangeCalendars(settings.cache_folder / "sessions")

    @provide
    def details(self, provided: HistoryProvider, sources: Sources) -> PriceDetails:
        return NoDetails() if sources.stored else provided  # the store has only closes

    @provide
    def instruments(self, sources: Sources) -> InstrumentSource:
        if sources.assets is not None:
            return CsvInstruments(sources.assets)
        return provider_of(sources.prices).instruments()

    @provide
    def regimes(self) -> Regimes:
        return StoredRegimes()


class StoredPricesProvider(Provider):
    """Prices that were imported."""

    scope = Scope.APP

    @provide
    def prices(self, sources: Sources, store: StoredMarket) -> PriceSource:
        """Open the store's prices."""
        return at_frequency(store, sources.periods_per_year)

    @provide
    def issues(self, prices: PriceSource, store: StoredMarket) -> ListIssues:
        """List issues with the decisions that the store has."""
        return ListIssues(prices, store)


class StoredInstrumentsProvider(Provider):
    """Instruments that were imported."""

    instruments = alias(StoredMarket, provides=InstrumentSource)
