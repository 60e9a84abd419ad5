"""FRED: economic series of the Federal Reserve Bank of St. Louis, with their vintages.

Each observation states the day on which its figure was published first, so that a reader of the
past sees what was known then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from rebalancer.adapters.market_data.providers.http import TIMEOUT, HttpClient
from rebalancer.adapters.market_data.providers.rows import UNREADABLE, finite
from rebalancer.application.ports.providers import (
    Fetched,
    Garbled,
    Listing,
    Offer,
    ProviderFault,
    Refused,
    UnknownSymbol,
)
from rebalancer.domain.market.economics import EconomicSeries, Observation
from rebalancer.domain.market.fundamentals import Facts

_EARLIEST, _LATEST = "1776-07-04", "9999-12-31"
"""Bounds of FRED's vintages."""


class Fred:
    """See `MarketProvider`."""

    name = "fred"
    title = "FRED"
    terms = "free key: 120 requests a minute; each series has its own source and terms"
    offers = frozenset({Offer.SERIES})

    def __init__(
        self, key: str, *, base_url: str = "https://api.stlouisfed.org", timeout: float = TIMEOUT
    ) -> None:
        self._key = key
        self._http = HttpClient(
            self.title, base_url, secrets=(key,), timeout=timeout, explain=self._explain
        )

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        described = self._ask("/fred/series", id, series_id=id)
        parameters = {
            "series_id": id,
            "realtime_start": _EARLIEST,
            "realtime_end": _LATEST,
        }
        if since is not None:
            parameters["observation_start"] = str(since)
        found = self._ask("/fred/series/observations", id, **parameters)
        try:
            about = described["seriess"][0]
            return EconomicSeries(
                id,
                str(about["title"]),
                str(about["units"]),
                tuple(
                    Observation(
                        date.fromisoformat(one["date"]),
                        finite(one["value"]),
                        date.fromisoformat(one["realtime_start"]),
                    )
                    for one in found["observations"]
                    if one["value"] != "."
                ),
            )
        except UNREADABLE as error:
            raise Garbled(
                f"{self.title} sent an unreadable series {id}: {self._http.quote(error)}"
            ) from None

    def bars(self, symbol: str, *, since: date | None, now: datetime) -> Fetched:
        raise UnknownSymbol(f"{self.title} has no prices of assets")

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        raise UnknownSymbol(f"{self.title} has no assets")

    def facts(self, symbol: str) -> Facts:
        raise UnknownSymbol(f"{self.title} has no fundamentals")

    def close(self) -> None:
        self._http.close()

    def _ask(self, path: str, subject: str, **parameters: str) -> Any:
        query = {**parameters, "api_key": self._key, "file_type": "json"}
        return self._http.get_json(path, query, subject=subject)

    def _explain(self, status: int, content: bytes, subject: str) -> ProviderFault | None:
        """Return the fault that an error's message states."""
        try:
            said = str(msgspec.json.decode(content)["error_message"])
        except UNREADABLE:
            return None
        if status != 400:
            return None
        if "api_key" in said:
            return Refused(f"{self.title} refused its key; check it")
        return UnknownSymbol(f"{self.title} does not know {subject}: {self._http.quote(said)}")
