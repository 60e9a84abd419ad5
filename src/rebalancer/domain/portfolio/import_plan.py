"""What a statement would add to a ledger, and what keeps it from being added.

The id of an entry follows from the portfolio and from what the statement states of the transaction:
its external id, or else its content. So a transaction that is read again is recognised, whatever
the file. Equal rows of one file are counted, and are entries of their own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from enum import StrEnum
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.errors import InvalidRequest, faults_of
from rebalancer.domain.market.symbols import normalize_symbol
from rebalancer.domain.money import MOST_DECIMALS, Currency, canonical_text
from rebalancer.domain.portfolio.entries import (
    FLOWS,
    REORGANISATIONS,
    TRADES,
    Entry,
    EntryKind,
    move_units,
)
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.statements import Instrument, Remark, Statement, Transaction
from rebalancer.domain.text import check_line, find_hidden

_ZERO = Decimal(0)
_DIGITS = 60
_FINEST = Decimal(1).scaleb(-MOST_DECIMALS)

LEFT_OUT = ""
"""Symbol in a mapping: transactions of this instrument are left out."""

LONGEST_NOTE = 500
"""Most characters of a note; a longer one is cut."""

LONGEST_SYMBOL = 200
"""Most characters of a symbol."""

FAR = Decimal("1.5")
"""A price is remarked on if it, or the close of its day, is at least this many times the other."""


class Certainty(StrEnum):
    """Why a transaction counts as a duplicate of a recorded entry."""

    RECORDED = "recorded"
    """It was imported before."""
    CHANGED = "changed"
    """It was imported before, with another content: the source corrected it."""
    VOID = "void"
    """It was imported before, and its owner voided the entry."""
    PROBABLE = "probable"
    """An entry has the same kind, day, symbol, quantity and amount."""


@attrs.frozen
class PlannedEntry:
    """An entry that a statement adds.

    Attributes:
        line: Of the statement; 0 for a deposit of cash that it does not list.
        entry: To add.
    """

    line: int
    entry: Entry


@attrs.frozen
class Duplicate:
    """A transaction whose entry is recorded already.

    Attributes:
        line: Of the statement.
        certainty: Why it counts as a duplicate.
        entry: What would have been added.
        recorded: Entry of the ledger.
        is_added: Whether it is added all the same.
    """

    line: int
    certainty: Certainty
    entry: Entry
    recorded: Entry
    is_added: bool = False


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


@attrs.frozen
class Overdraft:
    """Cash or a holding that would be negative at the end of a day.

    Attributes:
        on: The day.
        symbol: Asset; None for cash.
        currency: ISO 4217 code of the cash; None for an asset.
        balance: Negative.
    """

    on: date
    symbol: str | None
    currency: str | None
    balance: Decimal

    @property
    def message(self) -> str:
        """One sentence about it, with the remedy."""
        if self.symbol is not None:
            return (
                f"the holding of {self.symbol} would be {self.balance:f} at the end of {self.on}; "
                "record its earlier purchases, or a deposit of the units"
            )
        return (
            f"cash in {self.currency} would be {self.balance:f} at the end of {self.on}; record "
            "the earlier deposits or the exchange that paid it, or have missing cash deposited"
        )


@attrs.frozen
class PositionChange:
    """Cash or a holding before and after.

    Attributes:
        symbol: Asset; None for cash.
        currency: ISO 4217 code of the cash; None for an asset.
    """

    symbol: str | None
    currency: str | None
    before: Decimal
    after: Decimal


@attrs.frozen
class ImportPlan:
    """What a statement would add to a ledger.

    Attributes:
        entries: To add, by day, and within a day as in the statement.
        duplicates: By line.
        unknown: Instruments without a symbol, in the order of the statement.
        remarks: Of the reader and of the plan, by line.
        mapping: Symbols of instruments, by the names that the statement uses; only used ones.
        left_out: Number of transactions of instruments that the mapping leaves out.
    """

    entries: tuple[PlannedEntry, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    unknown: tuple[UnknownInstrument, ...] = ()
    remarks: tuple[Remark, ...] = ()
    mapping: Mapping[str, str] = attrs.field(factory=dict)
    left_out: int = 0

    @property
    def errors(self) -> tuple[Remark, ...]:
        """Remarks about lines that were not read."""
        return tuple(remark for remark in self.remarks if remark.is_error)


@attrs.frozen
class ImportTerms:
    """What a plan depends on besides the statement and the ledger.

    Attributes:
        portfolio: Its id.
        base: Its base currency.
        recorded: Time of recording.
        symbols: Assets with prices.
        market_day: Returns the market day of an entry of a day; raises InvalidRequest if the day is
            outside of the prices.
        close: Returns the close of an asset as of a day in a currency; None without one.
        check_currency: Raises InvalidRequest for a currency without an exchange rate.
        currency_of: Returns the currency of the prices of an asset with prices.
        mapping: Symbols of instruments by symbol, ISIN or name; `LEFT_OUT` leaves out.
        remembered: Of earlier imports; counts after ``mapping``.
        keep_unknown: Whether an unknown instrument is recorded under its own symbol or ISIN.
        include_duplicates: Whether probable duplicates are added.
    """

    portfolio: UUID
    base: Currency
    recorded: datetime
    symbols: Collection[str]
    market_day: Callable[[date, EntryKind], date]
    close: Callable[[str, date, str], Decimal | None]
    check_currency: Callable[[str], object]
    currency_of: Callable[[str], str]
    mapping: Mapping[str, str] = attrs.field(factory=dict)
    remembered: Mapping[str, str] = attrs.field(factory=dict)
    keep_unknown: bool = False
    include_duplicates: bool = False


def plan_import(
    statement: Statement, terms: ImportTerms, ledger: Ledger, *, undone: Collection[UUID] = ()
) -> ImportPlan:
    """Return what a statement would add to a ledger; nothing of it is checked for overdrafts.

    Args:
        statement: As read.
        terms: See `ImportTerms`.
        ledger: Of the portfolio; all of it is read.
        undone: Entries of imports that were undone; their transactions may be added again.
    """
    names = _Names(terms, ledger.symbols)
    names.read(statement.transactions)
    problems: list[Remark] = []
    prices = _PriceChecks(terms)
    planned: list[tuple[int, Entry]] = []
    ids = _transaction_ids(terms.portfolio, statement)
    left_out = 0
    for transaction, id in zip(statement.transactions, ids, strict=True):
        found = names.resolve(transaction)
        if found is None:
            continue
        if LEFT_OUT in found:
            left_out += 1
            continue
        try:
            entry = _entry(transaction, id, found, statement.currency, terms, problems)
        except InvalidRequest as error:
            for fault in faults_of(error):
                problems.append(Remark(transaction.line, fault.code, fault.message, is_error=True))
            continue
        if entry is not None:
            planned.append((transaction.line, entry))
            prices.check(transaction.line, entry)
    added, duplicates = _separate_duplicates(planned, terms, ledger, frozenset(undone))
    every = (*statement.remarks, *names.remarks, *problems, *prices.remarks, *names.unused())
    # A row that becomes several entries has the same fault several times.
    remarks = sorted(dict.fromkeys(every), key=lambda one: one.line)
    return ImportPlan(
        tuple(_by_day(added, statement)),
        tuple(sorted(duplicates, key=lambda one: one.line)),
        tuple(names.unknown.values()),
        tuple(remarks),
        dict(names.used),
        left_out,
    )


def replay_balances(
    ledger: Ledger, base: Currency
) -> tuple[dict[str, Decimal], dict[str, Decimal], list[Overdraft]]:
    """Return cash by currency and units by symbol after a ledger, and all overdrafts by day.

    An overdraft is listed on each day on which it changes.
    """
    cash: dict[str, Decimal] = {}
    units: dict[str, Decimal] = {}
    overdrafts: list[Overdraft] = []
    with localcontext(prec=_DIGITS):
        for day, entries in ledger.by_day():
            paid: set[str] = set()
            moved: set[str] = set()
            for entry in entries:
                for currency, change in entry.cash_changes:
                    code = currency or base.code
                    cash[code] = cash.get(code, _ZERO) + change
                    if change:
                        paid.add(code)
                moved.update(move_units(units, entry))
            overdrafts += [
                Overdraft(day, None, code, cash[code]) for code in sorted(paid) if cash[code] < 0
            ]
            overdrafts += [
                Overdraft(day, symbol, None, units[symbol])
                for symbol in sorted(moved)
                if units[symbol] < 0
            ]
    return cash, units, overdrafts


def deposit_missing_cash(plan: ImportPlan, ledger: Ledger, base: Currency) -> ImportPlan:
    """Return a plan with deposits of the cash that is missing at the end of each day.

    They stand for money that the statement does not list, such as that of an account whose trades
    alone it lists. Each is in the currency that is missing.

    Args:
        plan: What is added.
        ledger: Of the portfolio, without the plan.
        base: Base currency of the portfolio.
    """
    if not plan.entries:
        return plan
    entries = list(plan.entries)
    anchors = {planned.entry.on: planned.entry for planned in reversed(entries)}
    latest = entries[0].entry
    cash: dict[str | None, Decimal] = {}
    deposits: list[PlannedEntry] = []
    with localcontext(prec=_DIGITS):
        for day, lines in ledger.followed_by([one.entry for one in entries]).by_day():
            latest = anchors.get(day, latest)
            for entry in lines:
                for currency, change in entry.cash_changes:
                    cash[currency] = cash.get(currency, _ZERO) + change
            for currency in sorted(cash, key=lambda code: code or ""):
                if cash[currency] < 0:
                    deposit = Entry(
                        id=uuid5(latest.id, f"deposit {currency or base.code} {day}"),
                        kind=EntryKind.DEPOSIT,
                        on=day,
                        recorded=latest.recorded,
                        amount=-cash[currency],
                        currency=currency,
                        note="cash that the statement does not list",
                    )
                    deposits.append(PlannedEntry(0, deposit))
                    cash[currency] = _ZERO
    every = sorted([*deposits, *entries], key=lambda one: one.entry.on)
    return attrs.evolve(plan, entries=tuple(every))


def compare_balances(before: Ledger, after: Ledger, base: Currency) -> list[PositionChange]:
    """Return the cash and the holdings that two ledgers differ in, cash first."""
    (old_cash, old_units, _), (cash, units, _) = (
        replay_balances(one, base) for one in (before, after)
    )
    changes = [
        PositionChange(None, code, old_cash.get(code, _ZERO), cash.get(code, _ZERO))
        for code in sorted({*old_cash, *cash}, key=lambda code: (code != base.code, code))
    ]
    changes += [
        PositionChange(symbol, None, old_units.get(symbol, _ZERO), units.get(symbol, _ZERO))
        for symbol in sorted({*old_units, *units})
    ]
    return [change for change in changes if change.before != change.after]


class _Names:
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


class _PriceChecks:
    """Compares prices of trades with closes: another asset or adjusted units are far from them.

    Attributes:
        remarks: At most one for each asset.
    """

    def __init__(self, terms: ImportTerms) -> None:
        self.remarks: list[Remark] = []
        self._terms = terms
        self._seen: set[str] = set()

    def check(self, line: int, entry: Entry) -> None:
        """Compare the price of an entry, unless its asset has a remark already."""
        if entry.kind not in TRADES or entry.symbol in self._seen:
            return
        assert entry.symbol is not None and entry.price is not None
        currency = entry.currency or self._terms.base.code
        close = self._terms.close(entry.symbol, entry.on, currency)
        if close is None or not close > 0:
            return
        with localcontext(prec=_DIGITS):
            factor = max(entry.price / close, close / entry.price)
        if factor < FAR:
            return
        self._seen.add(entry.symbol)
        self.remarks.append(
            Remark(
                line,
                "price_far_from_close",
                f"the price of {entry.symbol}, {entry.price:f}, is far from the close of "
                f"{entry.on}, {close:f}; check that it is the same asset, and that its units are "
                "not adjusted for a later split",
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
        _check_symbol(found, "mapping")
    return found


def _check_symbol(symbol: str, field: str) -> None:
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


def _transaction_ids(portfolio: UUID, statement: Statement) -> list[UUID]:
    """Return the id of each transaction."""
    seen: Counter[str] = Counter()
    ids = []
    for transaction in statement.transactions:
        text = _identity(statement.layout, transaction)
        ids.append(uuid5(portfolio, f"statement {text} {seen[text]}"))
        seen[text] += 1
    return ids


def _identity(layout: str, transaction: Transaction) -> str:
    """Return what identifies a transaction; its place and note do not count.

    One external id may stand for several bookings, such as a dividend and its tax, or for fills of
    several days.
    """
    asset, other = (
        "" if one is None else one.isin or one.symbol or one.name
        for one in (transaction.instrument, transaction.other)
    )
    parts = [layout, transaction.kind.value, transaction.on.isoformat(), asset]
    if transaction.external_id:
        return repr([*parts, "id", transaction.external_id])
    numbers = (
        *(transaction.amount, transaction.quantity, transaction.price, transaction.cost),
        *(transaction.withheld, transaction.ratio, transaction.cost_share),
        *(transaction.cost_basis, transaction.counter_amount),
    )
    parts += ["" if one is None else canonical_text(one) for one in numbers]
    return repr([*parts, transaction.currency, transaction.counter_currency, other])


def _entry(
    transaction: Transaction,
    id: UUID,
    symbols: tuple[str | None, str | None],
    account: str,
    terms: ImportTerms,
    remarks: list[Remark],
) -> Entry | None:
    """Return the entry of a transaction; None if its money rounds to nothing.

    Raises:
        InvalidRequest: the entry would be invalid.
    """
    symbol, other = symbols
    for one in symbols:
        if one is not None:
            _check_symbol(one, "symbol")
    currency = _currency(transaction.currency or account, terms)
    counter = None
    if transaction.counter_amount is not None:
        counter = _currency(transaction.counter_currency, terms)
    kind, on = transaction.kind, terms.market_day(transaction.on, transaction.kind)
    moves = kind in TRADES or (kind in FLOWS and symbol is not None and transaction.quantity > 0)
    if kind in FLOWS and symbol is not None and not moves:
        symbol = None  # money that names an asset
    amount, price = _worth(transaction, symbol, on, currency, moves, terms)
    if not amount and transaction.amount and not moves:
        remarks.append(
            Remark(
                transaction.line,
                "rounds_to_zero",
                f"{transaction.amount:f} {currency} is less than the smallest amount, "
                f"{currency.minor_unit}; it is left out",
            )
        )
        return None
    return Entry(
        id=id,
        kind=kind,
        on=on,
        recorded=terms.recorded,
        amount=amount,
        symbol=symbol,
        quantity=_fine(transaction.quantity),
        price=price,
        cost=currency.round(transaction.cost),
        note=_note(transaction.note),
        currency=_foreign(currency, terms.base),
        withheld=currency.round(transaction.withheld),
        ratio=None if transaction.ratio is None else _fine(transaction.ratio),
        other=other,
        cost_share=transaction.cost_share,
        cost_basis=None
        if transaction.cost_basis is None
        else currency.round(transaction.cost_basis),
        counter_amount=None
        if transaction.counter_amount is None or counter is None
        else counter.round(transaction.counter_amount),
        counter_currency=None if counter is None else _foreign(counter, terms.base),
    )


def _worth(
    transaction: Transaction,
    symbol: str | None,
    on: date,
    currency: Currency,
    moves: bool,
    terms: ImportTerms,
) -> tuple[Decimal, Decimal | None]:
    """Return amount and price, each from the other one where the statement lacks it.

    A transfer in kind without both has the close of its day.
    """
    amount, price, quantity = transaction.amount, transaction.price, transaction.quantity
    if not moves:
        return currency.round(amount), None
    with localcontext(prec=_DIGITS):
        if price is None and amount and quantity:
            price = amount / quantity
        elif price is None and transaction.kind in FLOWS and symbol is not None:
            price = terms.close(symbol, on, currency.code)
        if not amount and price is not None:
            amount = quantity * price
    return currency.round(amount), None if price is None else _fine(price)


def _fine(number: Decimal) -> Decimal:
    """Return a number with at most 12 decimals."""
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MOST_DECIMALS:
        with localcontext(prec=_DIGITS):
            return number.quantize(_FINEST, ROUND_HALF_EVEN)
    return number


def _currency(code: str, terms: ImportTerms) -> Currency:
    if not code or code == terms.base.code:
        return terms.base
    currency = Currency(code)
    terms.check_currency(code)
    return currency


def _foreign(currency: Currency, base: Currency) -> str | None:
    return None if currency == base else currency.code


def _note(text: str) -> str:
    """Return a note as one line without invisible characters."""
    line = " ".join(text.split())
    while (at := find_hidden(line)) is not None:
        line = line[:at] + line[at + 1 :]
    line = "".join(one for one in line if one.isprintable())
    return line if len(line) <= LONGEST_NOTE else f"{line[: LONGEST_NOTE - 3]}..."


def _separate_duplicates(
    planned: Sequence[tuple[int, Entry]],
    terms: ImportTerms,
    ledger: Ledger,
    undone: frozenset[UUID],
) -> tuple[list[PlannedEntry], list[Duplicate]]:
    """Return the entries that are new, and the others."""
    recorded = {entry.id: entry for entry in ledger.entries}
    effective = {entry.id for entry in ledger.effective}
    new: list[PlannedEntry] = []
    duplicates: list[Duplicate] = []
    matched: set[UUID] = set()
    for line, entry in planned:
        while entry.id in undone and entry.id in recorded:
            entry = attrs.evolve(entry, id=uuid5(entry.id, "again"))
        known = recorded.get(entry.id)
        if known is None:
            new.append(PlannedEntry(line, entry))
            continue
        matched.add(known.id)
        certainty = Certainty.RECORDED
        if known.id not in effective:
            certainty = Certainty.VOID
        elif _facts(known) != _facts(entry):
            certainty = Certainty.CHANGED
        duplicates.append(Duplicate(line, certainty, entry, known))
    similar: dict[tuple[object, ...], list[Entry]] = defaultdict(list)
    for one in ledger.effective:
        if one.id not in matched:
            similar[_likeness(one)].append(one)
    added: list[PlannedEntry] = []
    for each in new:
        alike = similar.get(_likeness(each.entry))
        if not alike:
            added.append(each)
            continue
        keeps = terms.include_duplicates
        duplicates.append(
            Duplicate(each.line, Certainty.PROBABLE, each.entry, alike.pop(0), is_added=keeps)
        )
        if keeps:
            added.append(each)
    return added, duplicates


def _facts(entry: Entry) -> tuple[object, ...]:
    """Return what a source may correct in a transaction.

    The market day does not count: that of a recent transaction is known only later.
    """
    likeness = _likeness(attrs.evolve(entry, on=date.min))
    return (*likeness, entry.cost, entry.withheld, entry.ratio, entry.counter_amount)


def _likeness(entry: Entry) -> tuple[object, ...]:
    """Return what entries of the same transaction have in common."""
    return (entry.kind, entry.on, entry.symbol, entry.quantity, entry.amount, entry.currency)


def _by_day(planned: list[PlannedEntry], statement: Statement) -> list[PlannedEntry]:
    """Return entries by day; a statement that begins with the latest day is turned around."""
    transactions = statement.transactions
    if transactions and transactions[0].on > transactions[-1].on:
        planned = planned[::-1]
    return sorted(planned, key=lambda one: one.entry.on)
