"""Symbols of assets: one spelling, and hints for those that have no prices."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import attrs

from rebalancer.domain.errors import InvalidRequest

T = TypeVar("T")

MOST_HINTS = 3
"""Symbols that a message offers instead of an unknown one."""

_SHORTEST_SLIP = 3
"""Letters of the shortest symbol in which a slip is looked for; every single letter is one slip
away from every other."""

_SEPARATORS = re.compile(r"[\s.\-_/:=^$&'\u2019]+")
_EXCHANGE = re.compile(r"^[^\s:]+:(?=.)")


class UnknownSymbols(InvalidRequest):
    """Some symbols have no prices.

    Attributes:
        symbols: Each once.
    """

    default_code = "unknown_symbol"

    def __init__(
        self, message: str, *, field: str = "", code: str = "", symbols: Sequence[str] = ()
    ) -> None:
        super().__init__(message, field=field, code=code)
        self.symbols = tuple(symbols)


def normalize_symbol(text: str) -> str:
    """Return a symbol in its only spelling: composed characters (NFC), no space around it.

    Letters keep their case: ``brk-b`` and ``BRK-B`` are two symbols.
    """
    return unicodedata.normalize("NFC", text).strip()


def normalize_symbols(given: Mapping[str, T], *, field: str) -> dict[str, T]:
    """Return a mapping with its symbols as `normalize_symbol` writes them.

    Raises:
        InvalidRequest: two of the symbols are the same in that spelling.
    """
    if all(symbol.isascii() and symbol == symbol.strip() for symbol in given):
        return dict(given)
    found: dict[str, T] = {}
    for text, value in given.items():
        symbol = normalize_symbol(text)
        if symbol in found:
            raise InvalidRequest(
                f"{symbol} occurs twice, in two spellings; keep one",
                field=field,
                code="duplicate_symbol",
            )
        found[symbol] = value
    return found


def split_symbols(text: str, known: Collection[str]) -> list[str]:
    """Return the symbols of a list separated by commas.

    A known symbol may have commas itself; of several that begin at one place the longest wins.
    """
    pieces = normalize_symbol(text).split(",")
    most = max((symbol.count(",") for symbol in known), default=0)
    found, at = [], 0
    while at < len(pieces):
        length = min(most + 1, len(pieces) - at)
        while length > 1 and ",".join(pieces[at : at + length]).strip() not in known:
            length -= 1
        found.append(",".join(pieces[at : at + length]).strip())
        at += length
    return [symbol for symbol in found if symbol]


def unknown_symbols(
    unknown: Sequence[str], known: Iterable[str], *, field: str = "", named: bool = True
) -> UnknownSymbols:
    """Return the error about symbols without prices, with the nearest known ones.

    Args:
        unknown: At least one symbol; each is named once.
        known: Every symbol with prices.
        field: See `InvalidRequest.field`.
        named: Whether the message names the symbols; False where the field does.
    """
    names = list(dict.fromkeys(unknown))
    symbols = "symbol" if len(names) == 1 else "symbols"
    subject = f"unknown {symbols} {', '.join(names)}" if named else "unknown symbol"
    return UnknownSymbols(
        f"{subject}: no price data{hint_at(names, known)}", field=field, symbols=names
    )


def hint_at(unknown: Sequence[str], known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the nearest known symbols; empty without any."""
    known = known if isinstance(known, tuple) else tuple(known)
    found = {symbol: near for symbol in unknown if (near := nearest_symbols(symbol, known))}
    if not found:
        return ""
    if len(unknown) == 1:
        *others, last = found[unknown[0]]
        return (
            f"; did you mean {', '.join(others)} or {last}?"
            if others
            else (f"; did you mean {last}?")
        )
    pairs = [f"{near[0]} for {symbol}" for symbol, near in found.items()]
    return f"; did you mean {', '.join(pairs[:MOST_HINTS])}?"


def nearest_symbols(symbol: str, known: Iterable[str]) -> list[str]:
    """Return at most `MOST_HINTS` known symbols that may be meant, the most similar first.

    In this order: the same letters in another case; with other separators (``BRK.B``, ``BRK-B``,
    ``BRK/B``, ``BRKB``); with another suffix or prefix, or without (``VOD`` and ``VOD.L``, ``BTC``
    and ``BTC-USD``, ``GSPC`` and ``^GSPC``, ``NASDAQ:AAPL``); with one letter added, left out,
    changed or swapped with the next. Equally similar ones are in alphabetical order.
    """
    index = _index(known if isinstance(known, tuple) else tuple(known))
    return index.nearest(symbol)


@attrs.frozen(eq=False)
class _SymbolIndex:
    """Known symbols by what a misspelling has in common with them."""

    by_letters: dict[str, list[str]]
    by_stem: dict[str, list[str]]
    by_slip: dict[str, list[str]]

    @classmethod
    def of(cls, symbols: tuple[str, ...]) -> _SymbolIndex:
        letters, stems, slips = (defaultdict[str, list[str]](list) for _ in range(3))
        for symbol in symbols:
            plain = _letters(symbol)
            letters[plain].append(symbol)
            stems[_stem(symbol)].append(symbol)
            for variant in _deletions(plain):
                slips[variant].append(symbol)
        return cls(dict(letters), dict(stems), dict(slips))

    def nearest(self, symbol: str) -> list[str]:
        plain, folded = _letters(symbol), symbol.casefold()
        same = self.by_letters.get(plain, []) if plain else []
        ranked = {each: (0 if each.casefold() == folded else 1) for each in same}
        stem = _stem(symbol)
        for each in self.by_stem.get(stem, []) if stem else []:
            ranked.setdefault(each, 2)
        if len(plain) >= _SHORTEST_SLIP:
            for variant in _deletions(plain):
                for each in self.by_slip.get(variant, []):
                    other = _letters(each)
                    if len(other) >= _SHORTEST_SLIP and _is_slip(plain, other):
                        ranked.setdefault(each, 3)
        ranked.pop(symbol, None)
        return sorted(ranked, key=lambda each: (ranked[each], each))[:MOST_HINTS]


@lru_cache(maxsize=8)
def _index(known: tuple[str, ...]) -> _SymbolIndex:
    return _SymbolIndex.of(known)


def _letters(symbol: str) -> str:
    """Return a symbol without case, accents and separators."""
    apart = unicodedata.normalize("NFKD", symbol.casefold())
    return _SEPARATORS.sub("", "".join(it for it in apart if not unicodedata.combining(it)))


def _stem(symbol: str) -> str:
    """Return the letters of a symbol without its exchange, its suffix and an index's caret."""
    bare = _EXCHANGE.sub("", symbol.strip()).lstrip("^$ ")
    first = re.split(_SEPARATORS, bare, maxsplit=1)[0]
    return _letters(first)


def _deletions(word: str) -> set[str]:
    """Return a word, and the word without each of its letters."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


def _is_slip(one: str, other: str) -> bool:
    """Whether one letter was added, left out, changed, or swapped with the next.

    The Damerau-Levenshtein distance is at most 1 (Damerau, CACM 7, 1964).
    """
    if len(one) > len(other):
        one, other = other, one
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    swapped = one[at : at + 2] == other[at : at + 2][::-1]
    return one[at + 1 :] == other[at + 1 :] or (swapped and one[at + 2 :] == other[at + 2 :])
