"""Nasdaq Data Link, formerly Quandl: time series, and tables of US share prices.

Prices come from Sharadar's tables ``SEP`` and ``ACTIONS``, which need a subscription. Their prices
are adjusted for splits; ``closeunadj`` is the close as traded, and gives the factor of each day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from rebalancer.adapters.market_data.providers.http import TIMEOUT, HttpClient
from rebalancer.adapters.market_data.providers.rows import UNREADABLE, bars_of_columns, finite
from rebalancer.adapters.market_data.providers.sessions import closed_sessions
from rebalancer.application.ports.providers import (
    Fetched,
    Garbled,
    Listing,
    Offer,
    ProviderFault,
    QuotaSpent,
    Refused,
    Throttled,
    UnknownSymbol,
)
from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.economics import EconomicSeries, Observation
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.instruments import Instrument

_MOST_PAGES = 100

_KINDS = {"dividend": ActionKind.DIVIDEND, "split": ActionKind.SPLIT}


class NasdaqDataLink:
    """See `MarketProvider`."""

    name = "nasdaq_data_link"
    title = "Nasdaq Data Link"
    terms = "key: 300 requests in 10 seconds, 2,000 in 10 minutes, 50,000 a day; one at a time"
    offers = frozenset({Offer.BARS, Offer.SERIES})

    def __init__(
        self, key: str, *, base_url: str = "https://data.nasdaq.com", timeout: float = TIMEOUT
    ) -> None:
        self._key = key
        self._http = HttpClient(
            self.title,
            base_url,
            secrets=(key,),
            headers={"X-Api-Token": key},
            timeout=timeout,
            explain=self._explain,
        )

    def bars(self, symbol: str, *, since: date | None, now: datetime) -> Fetched:
        begins = {} if since is None else {"date.gte": str(since)}
        rows = self._table("SHARADAR/SEP", symbol, {"ticker": symbol, **begins})
        if not rows and since is None:
            raise UnknownSymbol(f"{self.title} does not know {symbol}; check the spelling")
        happened = self._table("SHARADAR/ACTIONS", symbol, {"ticker": symbol, **begins})
        try:
            bars = _bars_of(symbol, rows)
            actions = _actions_of(symbol, happened)
        except UNREADABLE as error:
            raise Garbled(
                f"{self.title} sent unreadable bars of {symbol}: {self._http.quote(error)}"
            ) from None
        instrument = Instrument(symbol, currency="USD")
        return Fetched(closed_sessions(bars, now), actions, instrument)

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        begins = {} if since is None else {"start_date": str(since)}
        answer = self._http.get_json(
            f"/api/v3/datasets/{id}.json", {"order": "asc", **begins}, subject=id
        )
        try:
            data = answer["dataset"]
            title, columns = str(data["name"]), data["column_names"]
            observations = tuple(
                Observation(date.fromisoformat(row[0]), finite(row[1]))
                for row in data["data"]
                if row[1] is not None
            )
        except UNREADABLE as error:
            raise Garbled(
                f"{self.title} sent an unreadable series {id}: {self._http.quote(error)}"
            ) from None
        return EconomicSeries(id, title, str(columns[1]), observations)

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        raise UnknownSymbol(f"{self.title} has no search of assets")

    def facts(self, symbol: str) -> Facts:
        raise UnknownSymbol(f"{self.title} has no fundamentals on this plan")

    def close(self) -> None:
        self._http.close()

    def _table(self, name: str, subject: str, filters: dict[str, str]) -> list[dict[str, Any]]:
        """Return the rows of a table, page by page."""
        rows: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            answer = self._http.get_json(
                f"/api/v3/datatables/{name}.json", {**filters, **cursor}, subject=subject
            )
            try:
                names = [column["name"] for column in answer["datatable"]["columns"]]
                rows += [dict(zip(names, row, strict=True)) for row in answer["datatable"]["data"]]
                following = answer["meta"]["next_cursor_id"]
            except UNREADABLE:
                raise Garbled(
                    f"{self.title} sent an unreadable table {name} for {subject}"
                ) from None
            if following is None:
                return rows
            cursor = {"qopts.cursor_id": str(following)}
        raise Garbled(f"{self.title} sent a table {name} without an end for {subject}")

    def _explain(self, status: int, content: bytes, subject: str) -> ProviderFault | None:
        """Return the fault of an error code, such as QECx02."""
        try:
            error = msgspec.json.decode(content)["quandl_error"]
            code, said = str(error["code"]), str(error["message"])
        except UNREADABLE:
            return None
        if code.startswith("QEA"):
            return Refused(f"{self.title} refused its key; check it")
        if code.startswith("QEP"):
            return Refused(f"{self.title} does not include {subject} in this plan")
        if code in ("QELx04", "QELx05"):
            return QuotaSpent(f"{self.title} has no requests left today")
        if code.startswith("QEL") and status != 429:
            return Throttled(f"{self.title} asks for a slower pace")
        if code.startswith("QEC"):
            return UnknownSymbol(f"{self.title} does not know {subject}: {self._http.quote(said)}")
        return None


def _bars_of(symbol: str, rows: Sequence[dict[str, Any]]) -> Bars:
    ordered = sorted(rows, key=lambda row: str(row["date"]))
    days = np.array([row["date"] for row in ordered], dtype="datetime64[D]")
    close = np.array([row["closeunadj"] for row in ordered], dtype=np.float64)
    columns = {"close": close}
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        factors = close / np.array([row["close"] for row in ordered], dtype=np.float64)
        for name in ("open", "high", "low"):
            columns[name] = np.array([row[name] for row in ordered], dtype=np.float64) * factors
        volume = np.array([row["volume"] for row in ordered], dtype=np.float64) / factors
    return bars_of_columns(symbol, days, {**columns, "volume": np.rint(volume)})


def _actions_of(symbol: str, rows: Sequence[dict[str, Any]]) -> tuple[CorporateAction, ...]:
    found = [
        CorporateAction(
            symbol,
            date.fromisoformat(str(row["date"])),
            _KINDS[row["action"]],
            Decimal(str(row["value"])).normalize(),
            "USD" if row["action"] == "dividend" else None,
        )
        for row in rows
        if row["action"] in _KINDS
    ]
    return tuple(sorted(found, key=lambda one: (one.ex_day, one.kind)))
