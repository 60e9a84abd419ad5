"""Real daily prices that need no network: skfolio's data sets, BSD-3.

The files come with the optional extra ``sample``; skfolio itself is not imported.
"""

from __future__ import annotations

from datetime import date
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal

import attrs

from rebalancer.adapters.market_data.csv_files import CsvPrices
from rebalancer.application.history_provider import HistoryProvider
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.market.gaps import accept_jumps
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable

SURVIVORSHIP = Caution(
    "survivorship_bias",
    "The sample stocks are survivors: companies that were still listed, and large, in 2022. "
    "Their returns flatter every strategy: compare strategies, and do not expect the returns.",
)
"""Caution for every result on the sample stocks."""

_TRUE_JUMPS = ("AAPL",)
"""Apple fell by 52% on 2000-09-29, after a profit warning."""

_FILES = {"stocks": "sp500_dataset.csv.gz", "factors": "factors_dataset.csv.gz"}


@attrs.frozen(slots=False)
class SamplePrices(HistoryProvider):
    """Packaged adjusted closes in USD, to 2022-12-28, without a gap.

    ``stocks``: 19 large US companies from 2000-01-03, see `SURVIVORSHIP`. The file's 20th, RRC,
    has bad ticks, and before 2000 prices of cents rounded to 3 decimals make returns of noise.
    ``factors``: 5 US factor funds from 2014-01-02.

    Attributes:
        name: One of the two data sets.
        full: The whole file with RRC and the 1990s, for benchmarks only.
    """

    name: Literal["stocks", "factors"] = "stocks"
    full: bool = False

    def read(self) -> PriceHistory:
        path = _installed(_FILES[self.name])
        if self.full or self.name == "factors":
            return CsvPrices(path).read()
        history = CsvPrices(path, without=("RRC",), since=date(2000, 1, 3)).read()
        return accept_jumps(history, _TRUE_JUMPS)


def _installed(file: str) -> Path:
    """Return the path of an installed data file."""
    try:
        path = Path(str(distribution("skfolio").locate_file(f"skfolio/datasets/data/{file}")))
    except PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise PricesUnavailable(
            "the sample prices are not installed: pip install 'rebalancer[sample]'",
            code="package_missing",
        )
    return path
