"""What each provider's servers answer, in the provider's own wire format.

A host knows the asset ``ABC`` over `DAYS`, with a dividend of 0.50 and a 2:1 split; other symbols
are unknown, and the key is `KEY`. One class for each provider: add one here for a new adapter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Protocol

import attrs
import numpy as np

from rebalancer.adapters.market_data.providers.alpha_vantage import AlphaVantage
from rebalancer.adapters.market_data.providers.fred import Fred
from rebalancer.adapters.market_data.providers.nasdaq_data_link import NasdaqDataLink
from rebalancer.adapters.market_data.providers.tiingo import Tiingo
from rebalancer.adapters.market_data.providers.yahoo import Yahoo
from rebalancer.application.ports.providers import MarketProvider
from tests.internet import Reply, Request

KEY = "planted-key-0123456789"
NOW = datetime(2024, 3, 9, 12, tzinfo=UTC)
DAYS = tuple(date(2024, 3, day) for day in (4, 5, 6, 7, 8))
CLOSES = (100.0, 102.0, 101.5, 51.25, 52.0)
DIVIDEND_DAY, SPLIT_DAY = DAYS[2], DAYS[3]


Rows = Sequence[tuple[date, float | None]]
"""Days and closes as traded."""


class Host(Protocol):
    """Fake server of one provider."""

    name: str
    takes_key: bool

    def provider(self, key: str = KEY, **options: Any) -> MarketProvider:
        """Return the adapter under test."""

    def hosts(self) -> tuple[str, ...]:
        """Return the names of its servers."""

    def answer(self, request: Request) -> Reply:
        """Answer as the real server does for the known asset, unknown symbols and wrong keys."""

    def null_bars(self, request: Request) -> Reply:
        """Answer with bars without figures."""

    def rows(self, request: Request, rows: Rows) -> Reply:
        """Answer with rows in the given order, and no corporate actions."""

    def exhausted(self, request: Request) -> Reply:
        """Answer that the plan or its quota does not cover the request."""


@attrs.frozen
class TiingoHost:
    """Rows with raw prices, ``divCash`` and ``splitFactor``."""

    name: str = "tiingo"
    takes_key: bool = True

    def provider(self, key: str = KEY, **options: Any) -> MarketProvider:
        return Tiingo(key, **options)

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

    def rows(self, request: Request, rows: Rows) -> Reply:
        found = [
            {"date": f"{day}T00:00:00.000Z", **dict.fromkeys(("open", "high", "low", "close"), one)}
            for day, one in rows
        ]
        return Reply(body=json.dumps(found))

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

    def provider(self, key: str = KEY, **options: Any) -> MarketProvider:
        return Yahoo(**options)

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

    def rows(self, request: Request, rows: Rows) -> Reply:
        chart = self._chart(request)
        result = chart["chart"]["result"][0]
        opens = [datetime.combine(day, time(14, 30), UTC) for day, _ in rows]
        result["timestamp"] = [int(one.timestamp()) for one in opens]
        result["events"] = {}
        closes = [close for _, close in rows]
        names = ("open", "high", "low", "close")
        result["indicators"]["quote"] = [
            {**{name: list(closes) for name in names}, "volume": [1000] * len(rows)}
        ]
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


@attrs.frozen
class AlphaVantageHost:
    """Every fault comes with status 200; figures are texts."""

    name: str = "alpha_vantage"
    takes_key: bool = True

    def provider(self, key: str = KEY, **options: Any) -> MarketProvider:
        return AlphaVantage(key, **options)

    def hosts(self) -> tuple[str, ...]:
        return ("www.alphavantage.co",)

    def answer(self, request: Request) -> Reply:
        if request.parameter("apikey") != KEY:
            said = "the parameter apikey is invalid or missing. Please claim your free API key"
            return Reply(body=json.dumps({"Error Message": said}))
        function = request.parameter("function")
        if function == "SYMBOL_SEARCH":
            known = request.parameter("keywords") in ("ABC", "Alphabet Soup")
            found = {"1. symbol": "ABC", "2. name": "Alphabet Soup", "3. type": "Equity"}
            return Reply(body=json.dumps({"bestMatches": [found] if known else []}))
        if request.parameter("symbol") != "ABC":
            return Reply(body='{"Error Message": "Invalid API call. Please retry"}')
        if function == "DIVIDENDS":
            paid = {"ex_dividend_date": str(DIVIDEND_DAY), "amount": "0.5"}
            return Reply(body=json.dumps({"symbol": "ABC", "data": [paid]}))
        if function == "SPLITS":
            split = {"effective_date": str(SPLIT_DAY), "split_factor": "2.0000"}
            return Reply(body=json.dumps({"symbol": "ABC", "data": [split]}))
        return Reply(body=json.dumps({"Meta Data": {}, "Time Series (Daily)": self._rows()}))

    def null_bars(self, request: Request) -> Reply:
        rows = {day: dict.fromkeys(row, None) for day, row in self._rows().items()}
        return Reply(body=json.dumps({"Time Series (Daily)": rows}))

    def rows(self, request: Request, rows: Rows) -> Reply:
        if request.parameter("function") != "TIME_SERIES_DAILY":
            return Reply(body=json.dumps({"symbol": "ABC", "data": []}))
        names = ("1. open", "2. high", "3. low", "4. close")
        pairs = [
            f'"{day}": {json.dumps(dict.fromkeys(names, None if one is None else str(one)))}'
            for day, one in rows
        ]
        return Reply(body='{"Time Series (Daily)": {' + ", ".join(pairs) + "}}")

    def exhausted(self, request: Request) -> Reply:
        said = (
            f"We have detected your API key as {KEY} and our standard API rate limit is 25 "
            "requests per day. Please subscribe to any of the premium plans"
        )
        return Reply(body=json.dumps({"Information": said}))

    def _rows(self) -> dict[str, dict[str, str]]:
        names = ("1. open", "2. high", "3. low", "4. close")
        return {
            str(day): {**dict.fromkeys(names, f"{close:.4f}"), "5. volume": "1000"}
            for day, close in reversed(list(zip(DAYS, CLOSES, strict=True)))
        }


@attrs.frozen
class NasdaqDataLinkHost:
    """Tables with named columns; prices adjusted for splits beside the close as traded."""

    name: str = "nasdaq_data_link"
    takes_key: bool = True

    def provider(self, key: str = KEY, **options: Any) -> MarketProvider:
        return NasdaqDataLink(key, **options)

    def hosts(self) -> tuple[str, ...]:
        return ("data.nasdaq.com",)

    def answer(self, request: Request) -> Reply:
        if request.headers.get("x-api-token") != KEY:
            return self._error(400, "QEAx01", "We could not recognize your API key")
        if request.path.startswith("/api/v3/datasets/"):
            if "/ABC/RATE" not in request.path:
                return self._error(404, "QECx02", "You have submitted an incorrect Quandl code.")
            rows = [["2024-01-31", 5.25], ["2024-02-29", None], ["2024-03-31", 5.5]]
            since = request.parameter("start_date") or ""
            data = [row for row in rows if str(row[0]) >= since]
            series = {"name": "Rate", "column_names": ["Date", "Percent"], "data": data}
            return Reply(body=json.dumps({"dataset": series}))
        known = request.parameter("ticker") == "ABC"
        since = request.parameter("date.gte") or ""
        if request.path.endswith("/SHARADAR/ACTIONS.json"):
            rows = [
                {"date": str(DIVIDEND_DAY), "action": "dividend", "value": 0.5},
                {"date": str(SPLIT_DAY), "action": "split", "value": 2.0},
                {"date": str(DAYS[0]), "action": "listed", "value": None},
            ]
        else:
            rows = self._rows()
        return self._table([row for row in rows if known and str(row["date"]) >= since])

    def null_bars(self, request: Request) -> Reply:
        return self._table([{**row, "closeunadj": None} for row in self._rows()])

    def rows(self, request: Request, rows: Rows) -> Reply:
        if request.path.endswith("/SHARADAR/ACTIONS.json"):
            return self._table([])
        names = ("open", "high", "low", "close", "closeunadj", "volume")
        return self._table([{"date": str(day), **dict.fromkeys(names, one)} for day, one in rows])

    def exhausted(self, request: Request) -> Reply:
        return self._error(429, "QELx05", "You have exceeded the API usage limit for today.")

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "date": str(day),
                **dict.fromkeys(("open", "high", "low", "close"), close / self._factor(day)),
                "volume": 1000 * self._factor(day),
                "closeunadj": close,
            }
            for day, close in reversed(list(zip(DAYS, CLOSES, strict=True)))
        ]

    @staticmethod
    def _factor(day: date) -> int:
        return 2 if day < SPLIT_DAY else 1

    @staticmethod
    def _table(rows: list[dict[str, Any]]) -> Reply:
        names = list(rows[0]) if rows else ["date"]
        table = {
            "columns": [{"name": name, "type": "text"} for name in names],
            "data": [[row[name] for name in names] for row in rows],
        }
        return Reply(body=json.dumps({"datatable": table, "meta": {"next_cursor_id": None}}))

    @staticmethod
    def _error(status: int, code: str, said: str) -> Reply:
        return Reply(status, json.dumps({"quandl_error": {"code": code, "message": said}}))


@attrs.frozen
class FredHost:
    """Observations with the day on which each figure was published."""

    name: str = "fred"
    takes_key: bool = True

    def provider(self, key: str = KEY, **options: Any) -> MarketProvider:
        return Fred(key, **options)

    def hosts(self) -> tuple[str, ...]:
        return ("api.stlouisfed.org",)

    def answer(self, request: Request) -> Reply:
        if request.parameter("api_key") != KEY:
            return self._error("Bad Request.  The value for variable api_key is not registered.")
        if request.parameter("series_id") != "ABC/RATE":
            return self._error("Bad Request.  The series does not exist.")
        if request.path == "/fred/series":
            return Reply(body='{"seriess": [{"title": "Rate", "units": "Percent"}]}')
        since = request.parameter("observation_start") or ""
        rows = [
            {"date": "2024-01-31", "value": "5.25", "realtime_start": "2024-02-01"},
            {"date": "2024-02-29", "value": ".", "realtime_start": "2024-03-01"},
            {"date": "2024-03-31", "value": "5.5", "realtime_start": "2024-04-01"},
        ]
        found = [row for row in rows if row["date"] >= since]
        return Reply(body=json.dumps({"observations": found}))

    def null_bars(self, request: Request) -> Reply:
        return Reply(body='{"observations": null}')

    def rows(self, request: Request, rows: Rows) -> Reply:
        raise NotImplementedError("it has no bars")

    def exhausted(self, request: Request) -> Reply:
        return Reply(429, '{"error_code": 429, "error_message": "Too Many Requests."}')

    @staticmethod
    def _error(said: str) -> Reply:
        return Reply(400, json.dumps({"error_code": 400, "error_message": said}))


HOSTS: dict[str, Host] = {
    host.name: host
    for host in (TiingoHost(), YahooHost(), AlphaVantageHost(), NasdaqDataLinkHost())
}
"""Providers of bars."""

SERIES_HOSTS: dict[str, Host] = {host.name: host for host in (NasdaqDataLinkHost(), FredHost())}
"""Providers of economic series; each knows ``ABC/RATE``."""
