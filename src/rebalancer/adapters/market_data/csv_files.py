"""Prices from CSV files, plain or gzipped, or from folders of them; errors name their place."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path

import attrs
import numpy as np

from rebalancer.adapters.market_data.price_files.folder import read_path
from rebalancer.adapters.market_data.price_files.layouts import Wide
from rebalancer.adapters.market_data.price_files.options import AUTOMATIC, LayoutOptions
from rebalancer.adapters.market_data.price_files.table import PriceTable
from rebalancer.application.history_provider import HistoryProvider
from rebalancer.application.ports.market import PriceReading
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.yields import Yields

log = logging.getLogger("rebalancer.market")


@attrs.frozen(slots=False)
class CsvPrices(HistoryProvider):
    """Adjusted closes from ``FILE.csv`` or ``FILE.csv.gz``, or a folder, read at first use, once.

    `price_files.layouts` recognises the layout: by default a column ``date``, and a column of
    closes for each symbol. A blank cell is a missing price, see `rebalancer.domain.market.gaps`;
    a row of blank cells is left out.

    Attributes:
        path: The file, gzipped when its name ends in ``.gz``; or a folder with a file per asset.
        without: Symbols to leave out.
        since: The first day to take; the file's first when None.
        layout: See `LayoutOptions`.
    """

    path: Path = attrs.field(converter=Path)
    without: Collection[str] = ()
    since: date | None = None
    layout: LayoutOptions = AUTOMATIC

    def read(self) -> PriceHistory:
        table = self._table
        if not table.symbols:
            raise InvalidRequest(
                f"{self.path}: {', '.join(table.yields)} holds yields in percent a year; add a "
                "column of closes for each asset",
                field="prices",
                code="no_prices",
            )
        if np.isnan(table.closes).all():
            raise InvalidRequest(
                f"{self.path}: not one price; fill in closes, or leave the file out",
                field="prices",
                code="no_prices",
            )
        history = history_of(table.symbols, table.days, table.closes)
        if self.without:
            history = history.select([name for name in history.symbols if name not in self.without])
        if self.since is not None:
            first = int(np.searchsorted(history.dates, np.datetime64(self.since, "D")))
            if first == len(history):
                raise InvalidRequest(
                    f"{self.path}: no prices since {self.since}, the last are of "
                    f"{history.last_date}; choose an earlier start",
                    field="prices",
                    code="no_prices",
                )
            history = history.since(first)
        return history

    def reading(self) -> PriceReading:
        table = self._table
        return PriceReading(table.layout, table.notes)

    def yields(self) -> Mapping[str, Yields]:
        table = self._table
        days = np.array(table.days, dtype="datetime64[D]")
        known = {name: ~np.isnan(values) for name, values in table.yields.items()}
        return {
            name: Yields(days[known[name]], values[known[name]])
            for name, values in table.yields.items()
            if known[name].any()
        }

    @cached_property
    def _table(self) -> PriceTable:
        table = read_path(self.path, self.layout)
        if table.layout != Wide.name or table.notes:  # worth a look
            log.info("%s: %s", self.path, " ".join((f"layout {table.layout}.", *table.notes)))
        return table
