"""What the titles of columns mean; titles.toml lists them."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from enum import StrEnum
from functools import cache
from pathlib import Path


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


CURRENCIES = frozenset(
    {
        *("AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "INR"),
        *("JPY", "KRW", "MXN", "NOK", "NZD", "PLN", "SEK", "SGD", "TRY", "USD", "ZAR"),
    }
)
"""Codes that may stand beside prices, or in titles such as ``Close USD``."""


@cache
def _vocabulary() -> dict[str, tuple[str, ...]]:
    """Return the lists of titles.toml by name."""
    text = Path(__file__).with_name("titles.toml").read_text(encoding="utf-8")
    return {name: tuple(words) for name, words in tomllib.loads(text).items()}


@cache
def _fields() -> dict[str, Field]:
    """Return the meaning of each title."""
    return {title: field for field in Field for title in _vocabulary()[field.name.lower()]}


def simplify(title: str) -> str:
    """Return a title in small letters, without numbering, units, accents and needless spaces.

    ``5. adjusted close``, ``Adj. Close**``, ``<CLOSE>`` and ``Close (USD)`` become ``adjusted
    close``, ``adj close``, ``close`` and ``close``.
    """
    plain = unicodedata.normalize("NFKD", title.strip().casefold()).replace("\u0131", "i")
    plain = unicodedata.normalize("NFC", "".join(it for it in plain if not _is_accent(it)))
    text = re.sub(r"^\s*\d+[a-z]?\.\s+", "", plain)
    text = re.sub(r"[<>*]", "", text)
    text = re.sub(r"\s*[(\[][^)\]]{1,12}[)\]]\s*$", "", text)
    text = re.sub(r"[_\s]+", " ", text.replace(". ", " "))
    return text.strip(" .")


def _is_accent(character: str) -> bool:
    """Whether a character is an accent of Latin letters; others, as in Japanese, change a word."""
    return "\u0300" <= character <= "\u036f"


def is_date_title(title: str) -> bool:
    """Whether a title is that of the days."""
    return simplify(title) in _vocabulary()["date"]


def is_index_title(title: str) -> bool:
    """Whether a title is that of numbers of rows."""
    simple = simplify(title)
    return simple in _vocabulary()["index"] or simple.startswith("unnamed:")


def field_of(title: str) -> Field | None:
    """Return the meaning of a title; None for any other, which may be a symbol."""
    simple = simplify(title)
    found = _fields().get(simple)
    if found is None and simple.startswith("volume "):
        return Field.OTHER  # of either currency of a pair
    rest, _, last = simple.rpartition(" ")
    return _fields().get(rest) if found is None and last.upper() in CURRENCIES else found


def joins_symbols(title: str) -> bool:
    """Whether a title is joined to symbols, as Close in ``AAPL_Close``."""
    return simplify(title) in _vocabulary()["joined"]


def may_be_ticker(title: str) -> bool:
    """Whether a title with a meaning may also be the symbol of an asset."""
    return title in _vocabulary()["tickers"]


def close_rank(title: str) -> int:
    """Return the rank of a title of closes, 0 for the best."""
    closes, simple = _vocabulary()["close"], simplify(title)
    return closes.index(simple) if simple in closes else len(closes)
