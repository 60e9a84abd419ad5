"""What each provider's servers answer, in the provider's own wire format.

A host knows the asset ``ABC`` over `DAYS`, with a dividend of 0.50 and a 2:1 split; other symbols
are unknown, and the key is `KEY`. One class for each provider: add one here for a new adapter.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from typing import Any, Protocol

import attrs
import numpy as np

from rebalancer.adapters.market_data.providers.tiingo import Tiingo
from rebalancer.adapters.market_data.providers.yahoo import Yahoo
from rebalancer.application.ports.providers import MarketProvider
from tests.internet import Reply, Request

KEY = "planted-key-0123456789"
NOW = datetime(2024, 3, 9, 12, tzinfo=UTC)
DAYS = tuple(date(2024, 3, day) for day in (4, 5, 6, 7, 8))
CLOSES = (100.0, 102.0, 101.5, 51.25, 52.0)
DIVIDEND_DAY, SPLIT_DAY = DAYS[2], DAYS[3]


class Host(Protocol):
    """Fake server of one provider."""

    name: str
    takes_key: bool

    def provider(self, key: str = KEY) -> MarketProvider:
        """Return the adapter under test."""

    def hosts(self) -> tuple[str, ...]:
        """Return the names of its servers."""

    def answer(self, request: Request) -> Reply:
        """Answer as the real server does for the known asset, unknown symbols and wrong keys."""

    def null_bars(self, request: Request) -> Reply:
        """Answer with bars without figures."""

    def exhausted(self, request: Request) -> Reply:
        """Answer that the plan or its quota does not cover the request."""


@attrs.frozen
class TiingoHost:
    """Rows with raw prices, ``divCash`` and ``splitFactor``."""

    name: str = "tiingo"
    takes_key: bool = True

    def provider(self, key: str = KEY) -> MarketProvider:
        return Tiingo(key)

    def hosts(self) -> tuple[str, ...]:
        return ("api.tiingo.com",)

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Token {KEY}":
            return Reply(401, '{"detail": "Please supply a token"}')
        if request.path == "/tiingo/utilities/search":
            known = request.parameter("query") in ("ABC", "Alphabet Soup")
            return Reply(body=json.dumps([self._asset()] if known else []))
        if "/abc/" not in request.path:
            return Reply(404, '{"detail": "Error: Ticker \'X\' not found"}')
        begins = request.parameter("startDate") or ""
        return Reply(body=json.dumps([row for row in self._rows() if row["date"][:10] >= begins]))

    def null_bars(self, request: Request) -> Reply:
        return Reply(body=json.dumps([{**row, "close": None} for row in self._rows()]))

    def exhausted(self, request: Request) -> Reply:
        return Reply(429, '{"detail": "You have run over your hourly request allocation."}')

    def _rows(self) -> list[dict[str, object]]:
        return [
            {
                "date": f"{day}T00:00:00.000Z",
                "open": close,
                "high": close + 1,
                "low": close - 1,
                "close": close,
                "volume": 1000,
                "adjClose": close,
                "divCash": 0.5 if day == DIVIDEND_DAY else 0.0,
                "splitFactor": 2.0 if day == SPLIT_DAY else 1.0,
            }
            for day, close in zip(DAYS, CLOSES, strict=True)
        ]

    def _asset(self) -> dict[str, object]:
        return {
            "ticker": "ABC",
            "name": "Alphabet Soup",
            "assetType": "Stock",
            "countryCode": "US",
            "isActive": True,
        }


@attrs.frozen
class YahooHost:
    """The chart's arrays: prices and dividends adjusted for splits, as float32."""

    name: str = "yahoo"
    takes_key: bool = False

    def provider(self, key: str = KEY) -> MarketProvider:
        return Yahoo()

    def hosts(self) -> tuple[str, ...]:
        return ("query2.finance.yahoo.com", "query1.finance.yahoo.com", "fc.yahoo.com")

    def answer(self, request: Request) -> Reply:
        if request.path == "/v1/finance/search":
            known = request.parameter("q") in ("ABC", "Alphabet Soup")
            found = {"symbol": "ABC", "longname": "Alphabet Soup", "quoteType": "EQUITY"}
            return Reply(body=json.dumps({"quotes": [found] if known else []}))
        if not request.path.endswith("/chart/ABC"):
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return Reply(404, json.dumps({"chart": {"result": None, "error": error}}))
        return Reply(body=json.dumps(self._chart(request)))

    def null_bars(self, request: Request) -> Reply:
        chart = self._chart(request)
        (quote,) = chart["chart"]["result"][0]["indicators"]["quote"]
        for values in quote.values():
            values[:] = [None] * len(values)
        return Reply(body=json.dumps(chart))

    def exhausted(self, request: Request) -> Reply:
        return Reply(429, "Too Many Requests", {"content-type": "text/html"})

    def _chart(self, request: Request) -> Any:
        opens = [datetime.combine(day, time(14, 30), UTC) for day in DAYS]
        begins, ends = (int(request.parameter(name) or 0) for name in ("period1", "period2"))
        rows = [at for at, when in enumerate(opens) if begins <= when.timestamp() <= ends]
        adjusted = [
            float(np.float32(close / 2 if day < SPLIT_DAY else close))
            for day, close in zip(DAYS, CLOSES, strict=True)
        ]
        stamps = {day: int(when.timestamp()) for day, when in zip(DAYS, opens, strict=True)}
        paid = {"amount": 0.25, "date": stamps[DIVIDEND_DAY]}
        split = {"date": stamps[SPLIT_DAY], "numerator": 2.0, "denominator": 1.0}
        prices = [adjusted[at] for at in rows]
        result = {
            "meta": {
                "currency": "USD",
                "symbol": "ABC",
                "exchangeName": "NMS",
                "instrumentType": "EQUITY",
                "gmtoffset": -18000,
                "longName": "Alphabet Soup",
            },
            "timestamp": [stamps[DAYS[at]] for at in rows],
            "events": {
                "dividends": {str(paid["date"]): paid},
                "splits": {str(split["date"]): split},
            },
            "indicators": {
                "quote": [
                    {
                        **{name: list(prices) for name in ("open", "high", "low", "close")},
                        "volume": [1000] * len(rows),
                    }
                ]
            },
        }
        return {"chart": {"result": [result], "error": None}}


HOSTS: dict[str, Host] = {host.name: host for host in (TiingoHost(), YahooHost())}
