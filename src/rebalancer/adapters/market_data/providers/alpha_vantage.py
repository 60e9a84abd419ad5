"""Alpha Vantage: raw bars, dividends, splits and overviews; 25 requests a day on the free plan.

It answers every fault with status 200: ``Note`` for too many requests, ``Information`` for a spent
plan or a premium function (it quotes the key), ``Error Message`` for a wrong request, and ``{}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

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
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.instruments import AssetClass, Instrument

_COLUMNS = {
    "open": "1. open",
    "high": "2. high",
    "low": "3. low",
    "close": "4. close",
    "volume": "5. volume",
}

_FIGURES = {
    "PERatio": "price_to_earnings",
    "ForwardPE": "forward_price_to_earnings",
    "PriceToBookRatio": "price_to_book",
    "DividendYield": "dividend_yield",
    "MarketCapitalization": "market_value",
    "Beta": "beta",
    "SharesOutstanding": "shares_outstanding",
}
_TEXTS = {"Sector": "sector", "Industry": "industry", "Country": "country", "Currency": "currency"}


class AlphaVantage:
    """See `MarketProvider`.

    Args:
        key: API key.
        premium: Whether the plan includes more than the last 100 days.
    """

    name = "alpha_vantage"
    title = "Alpha Vantage"
    terms = "free key: 25 requests a day (three for each symbol), the last 100 days"
    offers = frozenset({Offer.BARS, Offer.SEARCH, Offer.FACTS})

    def __init__(
        self,
        key: str,
        *,
        premium: bool = False,
        base_url: str = "https://www.alphavantage.co",
        timeout: float = TIMEOUT,
    ) -> None:
        self._key, self._premium = key, premium
        self._http = HttpClient(self.title, base_url, secrets=(key,), timeout=timeout)

    def bars(self, symbol: str, *, since: date | None, now: datetime) -> Fetched:
        size = "full" if self._premium else "compact"
        daily = self._ask("TIME_SERIES_DAILY", symbol, symbol=symbol, outputsize=size)
        try:
            bars = _bars_of(symbol, daily["Time Series (Daily)"], since)
        except UNREADABLE as error:
            raise Garbled(
                f"{self.title} sent unreadable bars of {symbol}: {self._http.quote(error)}"
            ) from None
        if since is None and not len(bars):
            raise UnknownSymbol(f"{self.title} has no prices of {symbol}; check the spelling")
        actions = self._actions(symbol, since or bars.days[0].item())
        return Fetched(closed_sessions(bars, now), tuple(actions), Instrument(symbol))

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        answer = self._ask("SYMBOL_SEARCH", repr(text), keywords=text)
        matches = answer.get("bestMatches")
        if not isinstance(matches, list):
            raise Garbled(f"{self.title} sent an unreadable list of assets for {text!r}")
        return [
            Listing(
                str(one["1. symbol"]),
                name=str(one.get("2. name", "")),
                asset_class=AssetClass.EQUITY if one.get("3. type") == "Equity" else None,
                currency=_currency(one.get("8. currency")),
                exchange=str(one.get("4. region", "")),
            )
            for one in matches[:limit]
            if isinstance(one, dict) and one.get("1. symbol")
        ]

    def facts(self, symbol: str) -> Facts:
        answer = self._ask("OVERVIEW", symbol, symbol=symbol)
        figures, texts = {}, {}
        for name, ours in _FIGURES.items():
            try:
                figures[ours] = finite(answer[name])
            except UNREADABLE:
                continue
        for name, ours in _TEXTS.items():
            if isinstance(answer.get(name), str):
                texts[ours] = answer[name]
        return Facts(symbol, figures, texts)

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        raise UnknownSymbol(f"{self.title} has no economic series here")

    def close(self) -> None:
        self._http.close()

    def _actions(self, symbol: str, since: date) -> list[CorporateAction]:
        paid = self._ask("DIVIDENDS", symbol, symbol=symbol).get("data")
        split = self._ask("SPLITS", symbol, symbol=symbol).get("data")
        found: list[CorporateAction] = []
        try:
            for one in paid or ():
                day, amount = date.fromisoformat(one["ex_dividend_date"]), Decimal(one["amount"])
                if day >= since and amount > 0:
                    found.append(CorporateAction(symbol, day, ActionKind.DIVIDEND, amount))
            for one in split or ():
                day, ratio = date.fromisoformat(one["effective_date"]), one["split_factor"]
                if day >= since:
                    found.append(
                        CorporateAction(symbol, day, ActionKind.SPLIT, Decimal(ratio).normalize())
                    )
        except UNREADABLE as error:
            raise Garbled(
                f"{self.title} sent unreadable actions of {symbol}: {self._http.quote(error)}"
            ) from None
        return sorted(found, key=lambda one: (one.ex_day, one.kind))

    def _ask(self, function: str, subject: str, **parameters: str) -> dict[str, Any]:
        """Return the answer to a function; raise the fault that it states."""
        answer = self._http.get_json(
            "/query", {"function": function, **parameters, "apikey": self._key}, subject=subject
        )
        if not isinstance(answer, dict):
            raise Garbled(f"{self.title} sent an unreadable answer for {subject}")
        fault = self._stated_fault(answer, subject)
        if fault is not None:
            raise fault
        return answer

    def _stated_fault(self, answer: Mapping[str, Any], subject: str) -> ProviderFault | None:
        if not answer:
            return Garbled(f"{self.title} sent an empty answer for {subject}")
        if "Error Message" in answer:
            said = self._http.quote(answer["Error Message"])
            if "apikey" in said.lower():
                return Refused(f"{self.title} refused its key; check it")
            return UnknownSymbol(f"{self.title} does not know {subject}: {said}")
        said = str(answer.get("Information") or answer.get("Note") or "")
        if not said:
            return None
        if re.search("sparingly|per (second|minute)", said, re.IGNORECASE):
            return Throttled(f"{self.title} asks for a slower pace")
        if re.search("premium", said, re.IGNORECASE) and "per day" not in said:
            return Refused(f"{self.title} does not include {subject} in this plan")
        if "per day" in said:
            begins = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), time(5), UTC)
            return QuotaSpent(f"{self.title} has no requests left today", until=begins)
        if "apikey" in said.lower() or "api key" in said.lower():
            return Refused(f"{self.title} refused its key; check it")
        return Throttled(f"{self.title} asks for a slower pace")


def _bars_of(symbol: str, rows: Mapping[str, Mapping[str, str]], since: date | None) -> Bars:
    days = np.array(sorted(rows), dtype="datetime64[D]")
    if since is not None:
        days = days[days >= np.datetime64(since, "D")]
    ordered = [rows[str(day)] for day in days]
    columns = {
        name: np.array([row.get(theirs) for row in ordered], dtype=np.float64)
        for name, theirs in _COLUMNS.items()
    }
    return bars_of_columns(symbol, days, columns)


def _currency(code: object) -> str | None:
    return code if isinstance(code, str) and len(code) == 3 else None
