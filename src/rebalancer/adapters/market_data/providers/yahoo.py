"""Yahoo Finance: prices, actions, search and fundamentals of most markets, without a key.

Prices and search are read from the JSON of Yahoo's chart and search services; fundamentals need the
cookie and crumb that yfinance obtains. All go through one session of `curl_cffi`, which raises our
faults itself: yfinance would cache a bad answer, ask again, or hide it.

Yahoo's prices are adjusted for splits, its dividends too. Both are multiplied back by the splits
that came later, so that bars are as traded. They are float32 in a longer form; seven significant
digits restore what was quoted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rebalancer.adapters.market_data.providers.faults import fault_of_status, quote
from rebalancer.application.ports.providers import (
    EconomicSeries,
    Facts,
    Fetched,
    Garbled,
    Listing,
    Offer,
    ProviderFault,
    UnknownSymbol,
    Unreachable,
)
from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.instruments import ALWAYS_OPEN, AssetClass, Instrument

_HOST = "https://query2.finance.yahoo.com"
_TIMEOUT = 20.0
_DIGITS = 7
"""Significant digits of a float32."""

_FIRST = datetime(1962, 1, 1, tzinfo=UTC)

_MARKETS = {
    "AMS": "XAMS",
    "ASE": "XASE",
    "ASX": "XASX",
    "ATH": "ASEX",
    "BRU": "XBRU",
    "BSE": "XBOM",
    "BTS": "BATS",
    "BUE": "XBUE",
    "CCC": ALWAYS_OPEN,
    "CPH": "XCSE",
    "DUB": "XDUB",
    "EBS": "XSWX",
    "FRA": "XFRA",
    "GER": "XETR",
    "HEL": "XHEL",
    "HKG": "XHKG",
    "IOB": "XLON",
    "ISE": "XDUB",
    "JKT": "XIDX",
    "JNB": "XJSE",
    "JPX": "XTKS",
    "KLS": "XKLS",
    "KSC": "XKRX",
    "LIS": "XLIS",
    "LSE": "XLON",
    "MCE": "XMAD",
    "MEX": "XMEX",
    "MIL": "XMIL",
    "NCM": "XNAS",
    "NGM": "XNAS",
    "NMS": "XNAS",
    "NSI": "XNSE",
    "NYQ": "XNYS",
    "NZE": "XNZE",
    "OSL": "XOSL",
    "PAR": "XPAR",
    "PCX": "ARCX",
    "SAO": "BVMF",
    "SES": "XSES",
    "SHH": "XSHG",
    "SHZ": "XSHE",
    "STO": "XSTO",
    "TAI": "XTAI",
    "TLV": "XTAE",
    "TOR": "XTSE",
    "VIE": "XWBO",
    "WSE": "XWAR",
}
"""ISO 10383 codes by Yahoo's codes of exchanges."""

_CLASSES = {
    "EQUITY": AssetClass.EQUITY,
    "CRYPTOCURRENCY": AssetClass.OTHER,
    "FUTURE": AssetClass.COMMODITY,
}


class _Period(msgspec.Struct):
    start: int = 0
    end: int = 0


class _Trading(msgspec.Struct):
    regular: _Period | None = None


class _Meta(msgspec.Struct, rename="camel"):
    currency: str | None = None
    exchange_name: str | None = None
    instrument_type: str | None = None
    gmtoffset: int = 0
    long_name: str | None = None
    short_name: str | None = None
    current_trading_period: _Trading | None = None


class _Payment(msgspec.Struct):
    date: int
    amount: float


class _Split(msgspec.Struct):
    date: int
    numerator: float
    denominator: float


class _Events(msgspec.Struct, rename="camel"):
    dividends: dict[str, _Payment] = {}
    capital_gains: dict[str, _Payment] = {}
    splits: dict[str, _Split] = {}


class _Quote(msgspec.Struct):
    open: list[float | None] = []
    high: list[float | None] = []
    low: list[float | None] = []
    close: list[float | None] = []
    volume: list[float | None] = []


class _Indicators(msgspec.Struct):
    quote: list[_Quote] = []


class _Result(msgspec.Struct):
    meta: _Meta
    timestamp: list[int] = []
    events: _Events | None = None
    indicators: _Indicators = msgspec.field(default_factory=_Indicators)


class _Error(msgspec.Struct):
    code: str = ""
    description: str = ""


class _Chart(msgspec.Struct):
    result: list[_Result] | None = None
    error: _Error | None = None


class _Answer(msgspec.Struct):
    chart: _Chart


_DECODER = msgspec.json.Decoder(_Answer)


class Yahoo:
    """See `MarketProvider`.

    Args:
        cache: Folder of yfinance's cookies, which only their owner may read.
    """

    name = "yahoo"
    title = "Yahoo Finance"
    terms = (
        "no key; for personal use only, see https://legal.yahoo.com/us/en/yahoo/terms/otos; an "
        "unofficial service that may change or refuse at any time"
    )
    offers = frozenset({Offer.BARS, Offer.SEARCH, Offer.FACTS})

    def __init__(self, cache: Path | None = None, *, timeout: float = _TIMEOUT) -> None:
        self._cache, self._timeout = cache, timeout
        self._lock = threading.Lock()
        self._session: Any = None

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
        content = self._get(f"/v8/finance/chart/{_in_url(symbol)}", parameters, subject=symbol)
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
        try:
            return _read(symbol, chart.result[0], since, now)
        except (InvalidRequest, ValueError, ArithmeticError) as error:
            raise Garbled(f"{self.title} sent unreadable bars of {symbol}: {error}") from None

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        parameters = {"q": text, "quotesCount": str(limit), "newsCount": "0", "listsCount": "0"}
        content = self._get("/v1/finance/search", parameters, subject=repr(text))
        try:
            found = msgspec.json.decode(content)["quotes"]
            listings = [_listing_of(one) for one in found if one.get("isYahooFinance", True)]
        except (msgspec.DecodeError, TypeError, KeyError, AttributeError):
            raise _garbled(repr(text), content) from None
        return [listing for listing in listings if listing is not None][:limit]

    def facts(self, symbol: str) -> Facts:
        modules = "summaryDetail,defaultKeyStatistics,assetProfile,price"
        path = f"{_HOST}/v10/finance/quoteSummary/{_in_url(symbol)}"
        from yfinance.data import YfData

        try:
            answer = YfData(session=self._open()).get(
                path, params={"modules": modules}, timeout=self._timeout
            )
            summary = msgspec.json.decode(answer.content)["quoteSummary"]["result"][0]
            return _facts_of(symbol, summary)
        except ProviderFault:
            raise
        except (msgspec.DecodeError, TypeError, KeyError, IndexError, AttributeError):
            raise Garbled(f"{self.title} sent unreadable fundamentals of {symbol}") from None
        except Exception as error:  # yfinance's own, of many types
            raise Unreachable(
                f"{self.title} did not answer for {symbol}: {type(error).__name__}"
            ) from None

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        raise UnknownSymbol(f"{self.title} has no economic series")

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _get(self, path: str, parameters: Mapping[str, str], *, subject: str) -> bytes:
        answer = self._open().request(
            "GET", _HOST + path, params=dict(parameters), timeout=self._timeout, subject=subject
        )
        content: bytes = answer.content
        return content

    def _open(self) -> Any:
        with self._lock:
            if self._session is None:
                if self._cache is not None:
                    self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
                    from yfinance import set_tz_cache_location

                    set_tz_cache_location(str(self._cache))
                self._session = _session_type()(impersonate="chrome")
            return self._session


def _session_type() -> Any:
    """Return the class of sessions that raise our faults; curl_cffi is imported here."""
    from curl_cffi import requests

    class FaultySession(requests.Session):  # type: ignore[type-arg]  # of answers
        """Session whose requests succeed or raise a `ProviderFault`."""

        def request(self, method: Any, url: Any, *args: Any, **options: Any) -> Any:
            subject = options.pop("subject", None) or str(url).rsplit("/", 1)[-1].split("?")[0]
            try:
                answer = super().request(method, url, *args, **options)
            except requests.exceptions.RequestException as error:
                raise Unreachable(
                    f"{Yahoo.title} did not answer for {subject}: {quote(str(error))}"
                ) from None
            headers = {name.lower(): value or "" for name, value in answer.headers.items()}
            is_page = "html" in headers.get("content-type", "")
            known = answer.status_code == 404 and not is_page and b'"chart"' in answer.content
            fault = fault_of_status(
                answer.status_code,
                headers,
                title=Yahoo.title,
                subject=subject,
                now=datetime.now(UTC),
            )
            # The chart's 404 has a reason, and `fc.yahoo.com` gives its cookie with a 404.
            if fault is not None and not known and "fc.yahoo.com" not in str(url):
                raise fault
            return answer

    logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # its errors are raised here
    return FaultySession


def _read(symbol: str, result: _Result, since: date | None, now: datetime) -> Fetched:
    """Return bars as traded, actions and the instrument of a chart."""
    meta, offset = result.meta, np.timedelta64(result.meta.gmtoffset, "s")
    stamps = np.array(result.timestamp, dtype="datetime64[s]")
    days: Dates = (stamps + offset).astype("datetime64[D]")
    prices = result.indicators.quote[0] if result.indicators.quote else _Quote()
    close = _floats(prices.close, len(days))
    first = np.append(True, days[1:] != days[:-1]) if len(days) else np.zeros(0, dtype=bool)
    valid = first & np.isfinite(close) & (close > 0) & ~_still_open(meta, days, now)
    actions = _actions_of(symbol, result, offset)
    splits = [
        (np.datetime64(one.ex_day, "D"), float(one.value))
        for one in actions
        if one.kind is ActionKind.SPLIT
    ]
    if since is not None:
        valid &= days >= np.datetime64(since, "D")
        actions = [one for one in actions if one.ex_day >= since]
    days = days[valid]
    if len(days) > 1 and (np.diff(days) <= np.timedelta64(0, "D")).any():
        raise ValueError("the days do not increase")
    factors = np.ones(len(days))
    for ex_day, ratio in splits:
        factors[days < ex_day] *= ratio
    columns: dict[str, Any] = {"close": _rounded(close[valid] * factors)}
    for name in ("open", "high", "low"):
        values = _rounded(_floats(getattr(prices, name), len(valid))[valid] * factors)
        if np.isfinite(values).all() and (values > 0).all():
            columns[name] = values
    volume = _floats(prices.volume, len(valid))[valid] / factors
    if np.isfinite(volume).all() and (volume >= 0).all():
        columns["volume"] = np.rint(volume)
    instrument = Instrument(
        symbol,
        name=meta.long_name or meta.short_name or "",
        asset_class=_CLASSES.get(meta.instrument_type or ""),
        currency=meta.currency,
        market=_MARKETS.get(meta.exchange_name or ""),
    )
    return Fetched(Bars(symbol, days, adjusted=False, **columns), tuple(actions), instrument)


def _still_open(meta: _Meta, days: Dates, now: datetime) -> NDArray[np.bool_]:
    """(T,) whether a day's session has not ended; without stated hours it ends with the day."""
    local = np.datetime64(int(now.timestamp()), "s") + np.timedelta64(meta.gmtoffset, "s")
    today = local.astype("datetime64[D]")
    period = meta.current_trading_period
    regular = None if period is None else period.regular
    if regular is not None and regular.end:
        ends = np.datetime64(regular.end, "s") + np.timedelta64(meta.gmtoffset, "s")
        if ends <= local and (ends - np.timedelta64(1, "s")).astype("datetime64[D]") == today:
            today += np.timedelta64(1, "D")
    still: NDArray[np.bool_] = days >= today
    return still


def _actions_of(symbol: str, result: _Result, offset: np.timedelta64) -> list[CorporateAction]:
    """Return splits, and distributions per share as traded before the ex-day."""
    events = result.events or _Events()

    def day_of(stamp: int) -> date:
        day: date = (np.datetime64(stamp, "s") + offset).astype("datetime64[D]").item()
        return day

    splits = [
        CorporateAction(
            symbol,
            day_of(one.date),
            ActionKind.SPLIT,
            (Decimal(repr(one.numerator)) / Decimal(repr(one.denominator)))
            .quantize(Decimal("1e-9"))
            .normalize(),
        )
        for one in events.splits.values()
        if one.numerator > 0 and one.denominator > 0 and one.numerator != one.denominator
    ]
    paid: list[CorporateAction] = []
    for kind, payments in (
        (ActionKind.DIVIDEND, events.dividends),
        (ActionKind.CAPITAL_GAIN, events.capital_gains),
    ):
        for one in payments.values():
            ex_day = day_of(one.date)
            factor = 1.0
            for split in splits:
                # A distribution counts per share held before the ex-day, also before a split on it.
                factor *= float(split.value) if split.ex_day >= ex_day else 1.0
            amount = float(_rounded(np.array([one.amount * factor]))[0])
            if amount > 0:
                paid.append(
                    CorporateAction(
                        symbol, ex_day, kind, Decimal(repr(amount)), result.meta.currency
                    )
                )
    return sorted([*splits, *paid], key=lambda one: (one.ex_day, one.kind))


def _floats(values: Sequence[float | None], count: int) -> Floats:
    """(T,) numbers, NaN for those that are missing."""
    if len(values) != count:
        return np.full(count, np.nan)
    return np.array(values, dtype=np.float64)


def _rounded(values: Floats) -> Floats:
    """Round to the digits of a float32."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(values))))
    known = np.isfinite(scale)
    rounded: Floats = np.where(known, np.rint(values * scale) / scale, values)
    return rounded


def _listing_of(one: Mapping[str, Any]) -> Listing | None:
    symbol = one.get("symbol")
    if not isinstance(symbol, str):
        return None
    return Listing(
        symbol,
        name=str(one.get("longname") or one.get("shortname") or ""),
        asset_class=_CLASSES.get(str(one.get("quoteType"))),
        market=_MARKETS.get(str(one.get("exchange"))),
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
            figures[ours] = float(value)
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
