"""European Central Bank: daily reference rates of the euro, without a key."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime

import numpy as np

from rebalancer.adapters.market_data.providers.http import TIMEOUT, HttpClient
from rebalancer.adapters.market_data.providers.rows import UNREADABLE
from rebalancer.application.ports.providers import (
    Fetched,
    Garbled,
    Listing,
    Offer,
    UnknownSymbol,
)
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.currencies import rate_currencies
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts


class EuropeanCentralBank:
    """See `MarketProvider`; its symbols are those of rates, such as EURUSD."""

    name = "ecb"
    title = "European Central Bank"
    terms = "no key; free with attribution, see https://www.ecb.europa.eu/services/disclaimer"
    offers = frozenset({Offer.RATES})

    def __init__(
        self, *, base_url: str = "https://data-api.ecb.europa.eu", timeout: float = TIMEOUT
    ) -> None:
        self._http = HttpClient(self.title, base_url, timeout=timeout)

    def bars(self, symbol: str, *, since: date | None, now: datetime) -> Fetched:
        pair = rate_currencies(symbol)
        if pair is None or pair[0] != "EUR":
            raise UnknownSymbol(
                f"{self.title} has rates of the euro alone, such as EURUSD, and not {symbol}"
            )
        parameters = {"format": "csvdata", "detail": "dataonly"}
        if since is not None:
            parameters["startPeriod"] = str(since)
        content = self._http.get(
            f"/service/data/EXR/D.{pair[1]}.EUR.SP00.A", parameters, subject=symbol
        )
        if not content.strip() and since is not None:
            return Fetched(Bars(symbol, _NO_DAYS, _NO_VALUES, adjusted=False))
        try:
            rows = list(csv.DictReader(io.StringIO(content.decode())))
            known = [
                (row["TIME_PERIOD"], float(row["OBS_VALUE"]))
                for row in rows
                if row["OBS_VALUE"] not in _MISSING
            ]
            days = np.array([day for day, _ in known], dtype="datetime64[D]")
            values = np.array([value for _, value in known])
            if not len(days):
                raise ValueError("no rate")
            return Fetched(Bars(symbol, days, values, adjusted=False))
        except UNREADABLE as error:
            raise Garbled(
                f"{self.title} sent unreadable rates {symbol}: {self._http.quote(error)}"
            ) from None

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        raise UnknownSymbol(f"{self.title} has no assets")

    def facts(self, symbol: str) -> Facts:
        raise UnknownSymbol(f"{self.title} has no fundamentals")

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        raise UnknownSymbol(f"{self.title} has no economic series here")

    def close(self) -> None:
        self._http.close()


_MISSING = ("", "NaN")
"""What stands for no rate, on holidays."""

_NO_DAYS = np.empty(0, dtype="datetime64[D]")
_NO_VALUES = np.empty(0)
