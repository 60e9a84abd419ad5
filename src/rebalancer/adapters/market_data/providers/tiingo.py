"""Tiingo: raw prices, dividends and splits of shares and funds in one row, with a free key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from rebalancer.adapters.market_data.providers.http import TIMEOUT, HttpClient
from rebalancer.adapters.market_data.providers.rows import UNREADABLE, bars_of_columns
from rebalancer.adapters.market_data.providers.sessions import closed_sessions
from rebalancer.application.ports.providers import (
    Fetched,
    Garbled,
    Listing,
    Offer,
    UnknownSymbol,
)
from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.bars import BAR_FIELDS, Bars
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.instruments import AssetClass, Instrument
from rebalancer.domain.market.live_quotes import Tick

_FIRST = date(1962, 1, 2)

_CLASSES = {"ETF": None, "Stock": AssetClass.EQUITY, "Mutual Fund": None}


class _Row(msgspec.Struct, rename={"div_cash": "divCash", "split_factor": "splitFactor"}):
    date: str
    close: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None
    div_cash: float = 0.0
    split_factor: float = 1.0


class _Last(msgspec.Struct, rename="camel"):
    """Last trade at the exchange IEX."""

    timestamp: str
    tngo_last: float | None = None
    bid_price: float | None = None
    ask_price: float | None = None


_ROWS = msgspec.json.Decoder(list[_Row])
_LAST = msgspec.json.Decoder(list[_Last])


class Tiingo:
    """See `MarketProvider`."""

    name = "tiingo"
    title = "Tiingo"
    terms = "free key: 50 requests an hour, 500 symbols a month, for personal use"
    offers = frozenset({Offer.BARS, Offer.SEARCH, Offer.QUOTES})

    def __init__(
        self, key: str, *, base_url: str = "https://api.tiingo.com", timeout: float = TIMEOUT
    ) -> None:
        self._http = HttpClient(
            self.title,
            base_url,
            secrets=(key,),
            headers={"Authorization": f"Token {key}"},
            timeout=timeout,
        )

    def bars(self, symbol: str, *, since: date | None, now: datetime) -> Fetched:
        ticker = symbol.replace(".", "-").lower()
        content = self._http.get(
            f"/tiingo/daily/{ticker}/prices",
            {"startDate": str(since or _FIRST), "format": "json"},
            subject=symbol,
        )
        try:
            rows = _ROWS.decode(content)
            bars = _bars_of(symbol, rows)
            actions = _actions_of(symbol, rows)
        except UNREADABLE as error:
            raise Garbled(
                f"{self.title} sent unreadable bars of {symbol}: {self._http.quote(error)}"
            ) from None
        if since is None and not rows:
            raise UnknownSymbol(f"{self.title} has no prices of {symbol}; check the spelling")
        return Fetched(closed_sessions(bars, now), actions, Instrument(symbol, currency="USD"))

    def quote(self, symbol: str) -> Tick:
        ticker = symbol.replace(".", "-").lower()
        content = self._http.get("/iex/", {"tickers": ticker}, subject=symbol)
        try:
            found = _LAST.decode(content)
            last = found[0] if found else None
            if last is None or (price := last.tngo_last) is None:
                raise UnknownSymbol(f"{self.title} has no quote of {symbol}")
            traded = datetime.fromisoformat(last.timestamp)
        except UNREADABLE as error:
            raise Garbled(
                f"{self.title} sent an unreadable quote of {symbol}: {self._http.quote(error)}"
            ) from None
        zoned = traded if traded.tzinfo is not None else traded.replace(tzinfo=UTC)
        return Tick(symbol, price, zoned, self.name, "USD", last.bid_price, last.ask_price)

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        found = self._http.get_json(
            "/tiingo/utilities/search", {"query": text, "limit": str(limit)}, subject=repr(text)
        )
        if not isinstance(found, list):
            raise Garbled(f"{self.title} sent an unreadable list of assets for {text!r}")
        return [listing for one in found if (listing := _listing_of(one)) is not None]

    def close(self) -> None:
        self._http.close()

    def facts(self, symbol: str) -> Facts:
        raise UnknownSymbol(f"{self.title} has no fundamentals on this plan")

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        raise UnknownSymbol(f"{self.title} has no economic series")


def _bars_of(symbol: str, rows: Sequence[_Row]) -> Bars:
    days = np.array([row.date[:10] for row in rows], dtype="datetime64[D]")
    columns = {
        name: np.array([getattr(row, name) for row in rows], dtype=np.float64)
        for name in BAR_FIELDS
    }
    return bars_of_columns(symbol, days, columns)


def _actions_of(symbol: str, rows: Sequence[_Row]) -> tuple[CorporateAction, ...]:
    found = []
    for row in rows:
        day = date.fromisoformat(row.date[:10])
        if row.split_factor != 1.0:
            ratio = Decimal(repr(row.split_factor))
            found.append(CorporateAction(symbol, day, ActionKind.SPLIT, ratio))
        if row.div_cash != 0.0:
            paid = Decimal(repr(row.div_cash))
            found.append(CorporateAction(symbol, day, ActionKind.DIVIDEND, paid, "USD"))
    return tuple(found)


def _listing_of(one: Any) -> Listing | None:
    ticker = one.get("ticker") if isinstance(one, dict) else None
    if not isinstance(ticker, str) or not ticker:
        return None
    return Listing(
        symbol=ticker.upper(),
        name=str(one.get("name") or ""),
        asset_class=_CLASSES.get(str(one.get("assetType"))),
        currency="USD" if one.get("countryCode") == "US" else None,
        figi=one.get("openFIGIComposite") or None,
    )
