"""Symbols of the instruments of a statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol
from rebalancer.domain.portfolio.entries import REORGANISATIONS
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.statements import Instrument, Remark, Transaction
from rebalancer.domain.text import check_line

LEFT_OUT = ""
"""Symbol in a mapping: transactions of this instrument are left out."""

LONGEST_SYMBOL = 200
"""Most characters of a symbol."""


@attrs.frozen
class UnknownInstrument:
    """An instrument whose symbol has to be named.

    Attributes:
        name: Under which a mapping names it: its symbol, else its ISIN, else its name.
        instrument: As the statement names it.
        lines: Of the statement.
    """

    name: str
    instrument: Instrument
    lines: tuple[int, ...]


class InstrumentNames:
    """Symbols of the instruments of a statement.

    Attributes:
        unknown: Instruments without a symbol, by the name for a mapping.
        used: Mapping of the names that were used.
        remarks: About symbols that may be those of other assets.
    """

    def __init__(self, terms: ImportTerms, held: Collection[str]) -> None:
        self.unknown: dict[str, UnknownInstrument] = {}
        self.used: dict[str, str] = {}
        self.remarks: list[Remark] = []
        self._terms, self._held = terms, held
        self._isins: dict[str, set[str]] = defaultdict(set)
        self._merged: dict[str, Instrument] = {}
        self._given = {_key(name): _checked(name, to) for name, to in terms.mapping.items()}
        self._earlier = {_key(name): to for name, to in terms.remembered.items()}
        self._warned: set[tuple[str, str]] = set()

    def read(self, transactions: Iterable[Transaction]) -> None:
        """Collect what the statement states of each instrument, in any of its lines."""
        instruments = [
            one
            for transaction in transactions
            for one in (transaction.instrument, transaction.other)
            if one is not None
        ]
        for one in instruments:
            if one.symbol and one.isin:
                self._isins[_key(one.symbol)].add(one.isin)
        for one in instruments:
            name = self.name(one)
            self._merged[name] = _merge(self._merged.get(name, Instrument()), one)

    def resolve(self, transaction: Transaction) -> tuple[str | None, str | None] | None:
        """Return the symbols of a transaction and of its other asset; None if one is unknown."""
        symbols: list[str | None] = []
        is_known = True
        brings = transaction.kind in REORGANISATIONS
        for instrument in (transaction.instrument, transaction.other):
            if instrument is None or instrument == Instrument():
                symbols.append(None)
                continue
            found = self._find(instrument)
            if found is None and brings and instrument is transaction.other:
                # A new symbol or a spun-off asset may have no prices (yet).
                found = _plain(instrument.symbol or instrument.isin) or None
            if found is None:
                self._note_unknown(instrument, transaction.line)
                is_known = False
            else:
                self._compare_currency(instrument, found, transaction)
            symbols.append(found)
        return (symbols[0], symbols[1]) if is_known else None

    def name(self, instrument: Instrument) -> str:
        """Return the name of an instrument for a mapping."""
        shared = len(self._isins.get(_key(instrument.symbol), ())) > 1
        if instrument.symbol and not (shared and instrument.isin):
            return instrument.symbol
        return instrument.isin or instrument.name

    def unused(self) -> list[Remark]:
        """Return a remark about each name of the mapping that the statement lacks."""
        used = {_key(name) for name in self.used}
        return [
            Remark(
                0,
                "unused_mapping",
                f"the mapping names {name}, which the statement does not; check its spelling",
            )
            for name in self._terms.mapping
            if _key(name) not in used
        ]

    def _find(self, instrument: Instrument) -> str | None:
        terms = self._terms
        instrument = self._merged[self.name(instrument)]
        stated = [name for name in (instrument.isin, instrument.symbol, instrument.name) if name]
        for mapping in (self._given, self._earlier):
            for name in stated:
                if _key(name) in mapping:
                    symbol = mapping[_key(name)]
                    own = {_plain(one) for one in stated}
                    if mapping is self._given and not (
                        symbol == LEFT_OUT
                        or symbol in own
                        or symbol in terms.symbols
                        or symbol in self._held
                        or terms.keep_unknown
                    ):
                        raise InvalidRequest(
                            f"no prices of {symbol} are known; name a symbol with prices, or "
                            f"{_plain(name)} itself to record it without prices",
                            field="mapping",
                            code="unknown_symbol",
                        )
                    self.used[name] = symbol
                    return symbol
        symbol = _plain(instrument.symbol)
        if symbol and (symbol in terms.symbols or symbol in self._held):
            return symbol
        if terms.keep_unknown and (kept := symbol or _plain(instrument.isin)):
            return kept
        return None

    def _note_unknown(self, instrument: Instrument, line: int) -> None:
        name = self.name(instrument)
        known = self.unknown.get(name)
        lines = (line,) if known is None else tuple(dict.fromkeys((*known.lines, line)))
        self.unknown[name] = UnknownInstrument(name, self._merged[name], lines)

    def _compare_currency(
        self, instrument: Instrument, symbol: str, transaction: Transaction
    ) -> None:
        """Warn once of an asset whose prices are in another currency than the statement's."""
        stated = instrument.currency
        if not stated or symbol not in self._terms.symbols:
            return
        own = self._terms.currency_of(symbol)
        if own != stated and (symbol, stated) not in self._warned:
            self._warned.add((symbol, stated))
            self.remarks.append(
                Remark(
                    transaction.line,
                    "other_currency",
                    f"{symbol} is priced in {own}, and the statement names {stated}; map it to "
                    "another symbol if this is another listing",
                )
            )


def _key(name: str) -> str:
    return normalize_symbol(name).casefold()


def _plain(name: str) -> str:
    return normalize_symbol(name)


def _checked(name: str, symbol: str) -> str:
    """Return the symbol of a mapping in its only spelling; raise InvalidRequest if malformed."""
    found = _plain(symbol)
    if found:
        check_symbol(found, "mapping")
    return found


def check_symbol(symbol: str, field: str) -> None:
    """Check the length and the characters of a symbol; raise InvalidRequest if it is malformed."""
    check_line(symbol, field=field)
    if len(symbol) > LONGEST_SYMBOL:
        raise InvalidRequest(
            f"the symbol {symbol[:20]}... has {len(symbol)} characters; enter at most "
            f"{LONGEST_SYMBOL}",
            field=field,
            code="symbol_too_long",
        )


def _merge(one: Instrument, other: Instrument) -> Instrument:
    """Return an instrument with what the other one states in addition."""
    return Instrument(
        one.symbol or other.symbol,
        one.isin or other.isin,
        one.name or other.name,
        one.currency or other.currency,
    )
