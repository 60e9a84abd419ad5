"""What the titles of columns mean in the files of vendors and libraries."""

from __future__ import annotations

import re
from enum import StrEnum

DATE_TITLES = frozenset(
    {
        *("date", "datetime", "date time", "date/time", "timestamp", "time", "day"),
        *("trade date", "trading date", "trading day", "price date", "observation date"),
        *("datum", "fecha", "data", "date utc", "date (utc)"),
    }
)
"""Titles of the column of days, as `simplify` writes them."""

INDEX_TITLES = frozenset(
    {
        *("", "index", "idx", "#", "no", "nr", "row", "id", "level 0", "s.no", "sr.no", "s no"),
        *("sr no", "rownum", "row number", "rownames", "counter", "seq"),
    }
)
"""Titles of a column that numbers the rows."""


class Field(StrEnum):
    """Meaning of a column."""

    SYMBOL = "symbol"
    OPEN = "open"
    HIGH = "high"
    LOW = "low"
    CLOSE = "close"
    ADJUSTED = "adjusted close"
    CURRENCY = "currency"
    OTHER = "other"
    """Volume, change, dividends and so on: neither a price nor an asset."""


BAR = frozenset({Field.OPEN, Field.HIGH, Field.LOW})

_CLOSES = (
    *("close", "close/last", "closing price", "close price", "price close", "px last"),
    *("schluss", "schlusskurs", "cierre", "chiusura", "cloture", "clôture"),
    *("last", "last price", "price", "zuletzt", "letzter", "ultimo", "último", "dernier"),
    *("settle", "settlement price", "kurs", "nav", "value", "rate", "mid", "mid price"),
    *("unadjusted close", "close unadjusted", "raw close"),
)
"""Titles of closes; a file that has several uses the first of this list."""

_TITLES: dict[str, Field] = {
    **dict.fromkeys(
        (
            *("symbol", "ticker", "tickers", "symbols", "instrument", "security", "asset"),
            *("code", "isin", "name", "stock", "sym", "stock symbol", "act symbol", "variable"),
            "ticker symbol",
        ),
        Field.SYMBOL,
    ),
    **dict.fromkeys(
        (
            *(
                "open",
                "open price",
                "opening price",
                "price open",
                "px open",
                "eröffn",
                "eröffnung",
            ),
            *("apertura", "ouv", "ouverture", "erster"),
        ),
        Field.OPEN,
    ),
    **dict.fromkeys(
        (
            *("high", "high price", "price high", "px high", "hoch", "max", "máximo", "tageshoch"),
            *("plus haut", "+ haut"),
        ),
        Field.HIGH,
    ),
    **dict.fromkeys(
        (
            *("low", "low price", "price low", "px low", "tief", "min", "mínimo", "tagestief"),
            *("plus bas", "+ bas"),
        ),
        Field.LOW,
    ),
    **dict.fromkeys(_CLOSES, Field.CLOSE),
    **dict.fromkeys(
        (
            *(
                "adj close",
                "adjclose",
                "adjusted close",
                "adjustedclose",
                "adjusted",
                "close adj",
                "adj",
            ),
            *("closeadj", "close adjusted", "adj closing price", "adjusted closing price"),
        ),
        Field.ADJUSTED,
    ),
    **dict.fromkeys(("currency", "ccy", "curr", "currency code", "währung"), Field.CURRENCY),
    **dict.fromkeys(
        (
            *("volume", "vol", "volumen", "stücke", "stuecke", "umsatz", "turnover", "volume usd"),
            *("change", "change %", "chg", "chg %", "chg%", "% change", "%chg", "change%"),
            *("pct change", "change percent", "changepercent", "net change", "+/- %", "var %"),
            *("dividends", "dividend", "dividend amount", "div", "divcash", "capital gains"),
            *("stock splits", "stock split", "split", "splits", "split coefficient"),
            *("splitfactor", "split factor", "split ratio", "ex-dividend"),
            *("open interest", "openint", "oi", "trades", "tradecount", "trade count"),
            *("no of trades", "number of trades", "no of shares", "transactions", "vwap"),
            *("average price", "avg price", "prev close", "previous close", "adj open"),
            *("adj high", "adj low", "adj volume", "adjopen", "adjhigh", "adjlow"),
            *("adjvolume", "market cap", "marketcap", "market capitalization", "per", "period"),
            *("unix", "time", "series", "ltp", "52w h", "52w l", "spread", "count"),
            *("return", "returns", "deliverable volume", "% deliverble", "total turnover"),
            *(
                "unadjusted volume",
                "px volume",
                "bid",
                "ask",
                "offer",
                "bid price",
                "ask price",
                "amount",
            ),
            *("exchange", "sector", "country", "asset class", "shares outstanding", "beta"),
            *(
                "adj factor",
                "factor",
                "weight",
                "source",
                "comment",
                "notes",
                "tickvol",
                "real volume",
            ),
        ),
        Field.OTHER,
    ),
}

_TICKERS_TOO = frozenset({"OPEN", "LOW", "DIV", "NAV", "DAY", "TIME", "RATE", "CODE", "PER"})
"""Tickers that are also titles: Opendoor, Lowe's, the SuperDividend fund and others."""


def simplify(title: str) -> str:
    """Return a title in small letters, without numbering, units, marks and needless spaces.

    ``5. adjusted close``, ``Adj. Close**``, ``<CLOSE>`` and ``Close (USD)`` become ``adjusted
    close``, ``adj close``, ``close`` and ``close``.
    """
    text = re.sub(r"^\s*\d+[a-z]?\.\s+", "", title.strip().casefold())
    text = re.sub(r"[<>*]", "", text)
    text = re.sub(r"\s*[(\[][^)\]]{1,12}[)\]]\s*$", "", text)
    text = re.sub(r"[_\s]+", " ", text.replace(". ", " "))
    return text.strip(" .")


def is_date_title(title: str) -> bool:
    """Whether a title is that of the days."""
    return simplify(title) in DATE_TITLES


def is_index_title(title: str) -> bool:
    """Whether a title is that of numbers of rows."""
    simple = simplify(title)
    return simple in INDEX_TITLES or simple.startswith("unnamed:")


def field_of(title: str) -> Field | None:
    """Return the meaning of a title; None for any other, which may be a symbol."""
    simple = simplify(title)
    found = _TITLES.get(simple)
    if found is None and simple.startswith("volume "):
        return Field.OTHER  # of either currency of a pair
    return found


def may_be_ticker(title: str) -> bool:
    """Whether a title with a meaning may also be the symbol of an asset."""
    return title in _TICKERS_TOO


def close_rank(title: str) -> int:
    """Return the rank of a title of closes, 0 for the best."""
    simple = simplify(title)
    return _CLOSES.index(simple) if simple in _CLOSES else len(_CLOSES)
