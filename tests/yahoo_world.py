"""A Yahoo Finance and a European Central Bank with a few assets of several markets.

Prices depend on the day alone, so that a test computes what it expects.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import unquote

import attrs
import numpy as np

from tests.internet import Handler, Reply, Request

FIRST = date(2023, 1, 2)


@attrs.frozen
class WorldAsset:
    """Asset of the world; a price in hundredths has a currency such as GBp."""

    symbol: str
    name: str
    currency: str
    exchange: str
    base: float
    kind: str = "EQUITY"
    every_day: bool = False
    isin: str = ""

    def price(self, day: date) -> float:
        """Return the close of a day: a small saw-tooth around the base."""
        return float(np.float32(self.base * (1 + 0.01 * ((day - FIRST).days % 7))))


ASSETS = {
    asset.symbol: asset
    for asset in (
        WorldAsset("VTI", "Total Market", "USD", "PCX", 250.0, "ETF", isin="US9229087690"),
        WorldAsset("VWCE.DE", "All World", "EUR", "GER", 110.0, "ETF"),
        WorldAsset("VOD.L", "Vodafone", "GBp", "LSE", 70.0),
        WorldAsset("BTC-USD", "Bitcoin", "USD", "CCC", 60_000.0, "CRYPTOCURRENCY", every_day=True),
    )
}
RATES = {"USD": 1.08, "GBP": 0.85, "JPY": 160.0}
"""Units per euro, on every weekday."""


@attrs.define
class World:
    """Servers whose last close is that of ``today``, which a test may advance."""

    today: date = date(2024, 3, 8)
    down: bool = False

    def hosts(self) -> dict[str, Handler]:
        """Return the handlers of the servers by name."""
        yahoo = ("query2.finance.yahoo.com", "query1.finance.yahoo.com", "fc.yahoo.com")
        return {**dict.fromkeys(yahoo, self.yahoo), "data-api.ecb.europa.eu": self.bank}

    def yahoo(self, request: Request) -> Reply:
        """Answer a request for a chart or a search."""
        if self.down:
            return Reply(503, "<html>maintenance</html>")
        if request.path == "/v1/finance/search":
            text = (request.parameter("q") or "").casefold()
            found = [
                {"symbol": one.symbol, "longname": one.name, "quoteType": one.kind}
                for one in ASSETS.values()
                if text in one.name.casefold()
                or text in (one.symbol.casefold(), one.isin.casefold())
            ]
            return Reply(body=json.dumps({"quotes": found}))
        if request.path == "/v1/test/getcrumb":
            return Reply(body="a-crumb")
        if request.path.startswith("/v10/finance/quoteSummary/"):
            summary = {
                "summaryDetail": {"trailingPE": {"raw": 21.5, "fmt": "21.50"}},
                "assetProfile": {"sector": "Everything"},
            }
            return Reply(body=json.dumps({"quoteSummary": {"result": [summary]}}))
        asset = ASSETS.get(unquote(request.path.rpartition("/")[2]))
        if asset is None:
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return Reply(404, json.dumps({"chart": {"result": None, "error": error}}))
        return Reply(body=json.dumps(self._chart(asset, request)))

    def bank(self, request: Request) -> Reply:
        """Answer a request for reference rates."""
        if self.down:
            return Reply(503, "")
        code = request.path.split(".")[1]
        since = date.fromisoformat(request.parameter("startPeriod") or str(FIRST))
        lines = [
            f"EXR,{day},{RATES[code]}"
            for day in self._days(since, every_day=False)
            if code in RATES
        ]
        return Reply(body="\r\n".join(["KEY,TIME_PERIOD,OBS_VALUE", *lines, ""]) if lines else "")

    def _days(self, since: date, *, every_day: bool) -> list[date]:
        days = [since + timedelta(n) for n in range((self.today - since).days + 1)]
        return [day for day in days if day >= FIRST and (every_day or day.weekday() < 5)]

    def _session(self) -> dict[str, int]:
        """Return the begin and the end of today's session, in seconds since 1970."""
        begins, ends = (datetime.combine(self.today, time(hour), UTC) for hour in (8, 16))
        return {"start": int(begins.timestamp()), "end": int(ends.timestamp())}

    def _chart(self, asset: WorldAsset, request: Request) -> Any:
        begins = datetime.fromtimestamp(int(request.parameter("period1") or 0), UTC).date()
        days = self._days(max(begins, FIRST), every_day=asset.every_day)
        prices = [asset.price(day) for day in days]
        quote = {name: list(prices) for name in ("open", "high", "low", "close")}
        hours = {} if asset.every_day else {"currentTradingPeriod": {"regular": self._session()}}
        return {
            "chart": {
                "result": [
                    {
                        "meta": {
                            "currency": asset.currency,
                            "symbol": asset.symbol,
                            "exchangeName": asset.exchange,
                            "instrumentType": asset.kind,
                            "gmtoffset": 0,
                            "longName": asset.name,
                            **hours,
                        },
                        "timestamp": [
                            int(datetime.combine(day, time(8), UTC).timestamp()) for day in days
                        ],
                        "indicators": {"quote": [{**quote, "volume": [1000] * len(days)}]},
                    }
                ],
                "error": None,
            }
        }
