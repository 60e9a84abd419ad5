"""Registry of market-data providers: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import attrs

from rebalancer.adapters.market_data.csv_files import CsvPrices
from rebalancer.adapters.market_data.csv_instruments import PackagedInstruments, SampleInstruments
from rebalancer.adapters.market_data.price_files.layouts import LAYOUTS
from rebalancer.adapters.market_data.price_files.options import LayoutOptions
from rebalancer.adapters.market_data.sample import SURVIVORSHIP, SamplePrices
from rebalancer.application.history_provider import HistoryProvider
from rebalancer.application.ports.market import InstrumentSource
from rebalancer.domain.market.caution import Caution


@attrs.frozen
class Provider:
    """Market-data provider, as callers choose it by name.

    Attributes:
        title: Name in reports.
        prices: Creates its price source; must not do I/O.
        instruments: Creates its list of instruments; the packaged list by default.
        cautions: What a reader of results on these prices must know.
        currency: ISO 4217 code of its prices, unless its instruments state one; None: as the
            settings have.
    """

    title: str
    prices: Callable[[], HistoryProvider]
    instruments: Callable[[], InstrumentSource] = PackagedInstruments
    cautions: tuple[Caution, ...] = ()
    currency: str | None = None


PROVIDERS: Mapping[str, Provider] = {
    "sample": Provider(
        "packaged sample", SamplePrices, SampleInstruments, (SURVIVORSHIP,), currency="USD"
    ),
}
"""Providers by name. The name ``store`` is reserved for imported prices."""


def provider_of(name: str, layout: str | None = None) -> Provider:
    """Return the provider of this name; any other name is the path of a CSV file or a folder.

    Raises:
        InvalidRequest: the layout of the file is unknown, see `LayoutOptions.parse`.
    """
    if name in PROVIDERS:
        return PROVIDERS[name]
    options = LayoutOptions.parse(layout, tuple(LAYOUTS))
    return Provider(Path(name).name, partial(CsvPrices, Path(name), layout=options))
