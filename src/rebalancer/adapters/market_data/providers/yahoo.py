"""Yahoo Finance: prices, actions, search and fundamentals of most markets, without a key.

Prices and search are read from the JSON of Yahoo's chart and search services; fundamentals need the
cookie and crumb that yfinance obtains. All go through one session of `curl_cffi`, which raises our
faults itself: yfinance would cache a bad answer, ask again, or hide it. Cookies stay in memory:
yfinance would keep them as pickles in a folder of the user.

Yahoo's prices are adjusted for splits, its dividends too. Both are multiplied back by the splits
that came later, so that bars are as traded. They are float32 in a longer form; seven significant
digits restore what was quoted.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from rebalancer.adapters.market_data.providers.faults import http_date, quote
from rebalancer.adapters.market_data.providers.rows import UNREADABLE
from rebalancer.adapters.market_data.providers.yahoo_chart import (
    CLASSES,
    MARKETS,
    Chart,
    ChartAnswer,
    read_chart,
)
from rebalancer.adapters.market_data.providers.yahoo_session import (
    TITLE,
    access_type,
    session_type,
)
from rebalancer.application.ports.providers import (
    Fetched,
    Garbled,
    Listing,
    Offer,
    ProviderFault,
    Refused,
    UnknownSymbol,
    Unreachable,
)
from rebalancer.domain.market.currencies import is_rate_symbol
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.live_quotes import Tick

_HOST = "https://query2.finance.yahoo.com"
_TIMEOUT = 20.0
_FIRST = datetime(1962, 1, 1, tzinfo=UTC)

_DECODER = msgspec.json.Decoder(ChartAnswer)


class Yahoo:
    """See `MarketProvider`.

    Args:
        timeout: Seconds for a complete answer.
    """

    name = "yahoo"
    title = TITLE
    terms = (
        "no key; for personal use only, see https://legal.yahoo.com/us/en/yahoo/terms/otos; an "
        "unofficial service that may change or refuse at any time"
    )
    offers = frozenset({Offer.BARS, Offer.SEARCH, Offer.FACTS, Offer.QUOTES})

    def __init__(self, *, timeout: float = _TIMEOUT) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._session: Any = None
        self._access: Any = None

    def bars(self, symbol: str, *, since: date | None, now: datetime) -> Fetched:
        begins = (
            _FIRST if since is None else datetime(since.year, since.month, since.day, tzinfo=UTC)
        )
        begins -= timedelta(days=1)  # of zones that are ahead of UTC
        parameters = {
            "period1": str(int(begins.timestamp())),
            "period2": str(int((now + timedelta(days=1)).timestamp())),
            "interval": "1d",
            "events": "div,splits,capitalGains",
        }
        chart, answered = self._chart(symbol, parameters)
        if since is None and not chart.timestamp:
            raise UnknownSymbol(f"{self.title} has no prices of {symbol}; check the spelling")
        try:
            # A clock here that is fast must not make a session look closed.
            return read_chart(symbol, chart, since, min(now, answered or now))
        except UNREADABLE as error:
            raise Garbled(f"{self.title} sent unreadable bars of {symbol}: {error}") from None

    def quote(self, symbol: str) -> Tick:
        asked = f"{symbol}=X" if is_rate_symbol(symbol) else symbol
        chart, _ = self._chart(asked, {"range": "1d", "interval": "1d"})
        price, seconds = chart.meta.regular_market_price, chart.meta.regular_market_time
        if price is None or seconds is None:
            raise UnknownSymbol(f"{self.title} has no quote of {symbol}")
        try:
            traded = datetime.fromtimestamp(seconds, UTC)
        except UNREADABLE as error:
            raise Garbled(f"{self.title} sent an unreadable time of {symbol}: {error}") from None
        return Tick(symbol, price, traded, self.name, chart.meta.currency)

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        parameters = {"q": text, "quotesCount": str(limit), "newsCount": "0", "listsCount": "0"}
        content, _ = self._get("/v1/finance/search", parameters, subject=repr(text))
        try:
            found = msgspec.json.decode(content)["quotes"]
            listings = [_listing_of(one) for one in found if one.get("isYahooFinance", True)]
        except UNREADABLE:
            raise _garbled(repr(text), content) from None
        return [listing for listing in listings if listing is not None][:limit]

    def facts(self, symbol: str) -> Facts:
        with self._lock:
            known = self._access is not None
        try:
            return self._read_facts(symbol)
        except Refused:
            if not known:
                raise
        return self._read_facts(symbol)  # the cookie or the crumb had expired

    def _read_facts(self, symbol: str) -> Facts:
        """Return fundamentals; after a fault, the next call obtains a new cookie and crumb."""
        modules = "summaryDetail,defaultKeyStatistics,assetProfile,price"
        path = f"{_HOST}/v10/finance/quoteSummary/{_in_url(symbol)}"
        try:
            access = self._open_access()
            answer = access.get(path, params={"modules": modules})
            summary = msgspec.json.decode(answer.content)["quoteSummary"]["result"][0]
            return _facts_of(symbol, summary)
        except UnknownSymbol:
            raise
        except ProviderFault:
            self._forget_access()
            raise
        except UNREADABLE:
            self._forget_access()
            raise Garbled(f"{self.title} sent unreadable fundamentals of {symbol}") from None
        except ImportError:
            raise Unreachable(
                f"{self.title} needs yfinance, which is not installed; install rebalancer[market]"
            ) from None
        except Exception as error:  # yfinance's own, of many types
            self._forget_access()
            raise Unreachable(
                f"{self.title} did not answer for {symbol}: {type(error).__name__}"
            ) from None

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        raise UnknownSymbol(f"{self.title} has no economic series")

    def close(self) -> None:
        with self._lock:
            self._access = None
            if self._session is not None:
                self._session.close()
                self._session = None

    def _chart(self, symbol: str, parameters: Mapping[str, str]) -> tuple[Chart, datetime | None]:
        """Return the chart of an asset, and the time that the server states."""
        path = f"/v8/finance/chart/{_in_url(symbol)}"
        content, answered = self._get(path, parameters, subject=symbol)
        try:
            chart = _DECODER.decode(content).chart
        except msgspec.DecodeError:
            raise _garbled(symbol, content) from None
        if chart.error is not None:
            raise UnknownSymbol(
                f"{self.title} does not know {symbol}: {quote(chart.error.description)}; check the "
                "spelling"
            )
        if not chart.result:
            raise _garbled(symbol, content)
        return chart.result[0], answered

    def _get(
        self, path: str, parameters: Mapping[str, str], *, subject: str
    ) -> tuple[bytes, datetime | None]:
        """Return the body of an answer, and the time that its server states."""
        with self._lock:
            session = self._open()
        answer = session.request(
            "GET",
            _HOST + path,
            params=dict(parameters),
            allow_redirects=False,
            subject=subject,
        )
        return answer.content, http_date(answer.headers.get("date") or "")

    def _open(self) -> Any:
        """Return the session; the caller holds the lock."""
        if self._session is None:
            try:
                self._session = session_type()(impersonate="chrome")
                self._session.limit = self._timeout
            except ImportError:
                raise Unreachable(
                    f"{self.title} needs curl_cffi, which is not installed; install "
                    "rebalancer[market]"
                ) from None
        return self._session

    def _open_access(self) -> Any:
        """Return what adds the cookie and the crumb to requests."""
        with self._lock:
            if self._access is None:
                # yfinance allows one instance in a process, which would keep the crumb of a session
                # that is closed.
                self._access = type.__call__(access_type(), self._open())
            return self._access

    def _forget_access(self) -> None:
        with self._lock:
            self._access = None
            if self._session is not None:
                self._session.cookies.clear()


def _listing_of(one: Mapping[str, Any]) -> Listing | None:
    symbol = one.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        return None
    return Listing(
        symbol,
        name=str(one.get("longname") or one.get("shortname") or ""),
        asset_class=CLASSES.get(str(one.get("quoteType"))),
        market=MARKETS.get(str(one.get("exchange"))),
        exchange=str(one.get("exchDisp") or ""),
    )


def _facts_of(symbol: str, summary: Mapping[str, Mapping[str, Any]]) -> Facts:
    figures: dict[str, float] = {}
    texts: dict[str, str] = {}
    for module, name, ours in _FACTS:
        value = (summary.get(module) or {}).get(name)
        if isinstance(value, dict):
            value = value.get("raw")
        if isinstance(value, str):
            texts[ours] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            figures[ours] = float(value)  # JSON has finite numbers alone
    return Facts(symbol, figures, texts)


_FACTS = (
    ("summaryDetail", "trailingPE", "price_to_earnings"),
    ("summaryDetail", "forwardPE", "forward_price_to_earnings"),
    ("summaryDetail", "dividendYield", "dividend_yield"),
    ("summaryDetail", "marketCap", "market_value"),
    ("summaryDetail", "beta", "beta"),
    ("summaryDetail", "averageVolume", "average_volume"),
    ("defaultKeyStatistics", "priceToBook", "price_to_book"),
    ("defaultKeyStatistics", "annualReportExpenseRatio", "expense_ratio"),
    ("defaultKeyStatistics", "sharesOutstanding", "shares_outstanding"),
    ("assetProfile", "sector", "sector"),
    ("assetProfile", "industry", "industry"),
    ("assetProfile", "country", "country"),
    ("price", "currency", "currency"),
)
"""Module and field of Yahoo, and our name."""


def _in_url(symbol: str) -> str:
    from urllib.parse import quote as percent_encode

    return percent_encode(symbol, safe="^=.-")


def _garbled(subject: str, content: bytes) -> Garbled:
    begins = quote(content[:400].decode("utf-8", "replace"))
    return Garbled(f"{Yahoo.title} sent an unreadable answer for {subject}: {begins!r}")
