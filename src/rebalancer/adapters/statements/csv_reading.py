"""From rows of a table to transactions and remarks; no row is lost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_formats import quote
from rebalancer.adapters.statements.csv_table import (
    Header,
    Record,
    Table,
    Text,
    decode,
    find_table,
    has_header,
    normalize_title,
)
from rebalancer.adapters.statements.drafts import check_transaction, clean
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import MOST_DECIMALS, Currency
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Remark, Statement, Transaction

_ZERO = Decimal(0)
_DIGITS = 60
_LARGEST_TERM = 100
"""Largest numerator and denominator of the ratio of a split."""

_MOST_TRIES = 8
"""Most incomes of a day to which a tax may belong."""

_TOLERANCE = Fraction(1, 2000)
"""Relative error of a ratio that follows from rounded units."""

PENCE = {"GBX": "GBP", "GBP.": "GBP", "ILA": "ILS", "ZAC": "ZAR"}
"""Currencies of quotes in hundredths, with the currency itself."""


def _key(one: Instrument | None) -> str:
    return "" if one is None else one.isin or one.symbol or one.name


@attrs.frozen
class AddedUnits:
    """A split that states the units that it added, not its ratio."""

    line: int
    on: date
    instrument: Instrument
    units: Decimal
    external_id: str = ""


@attrs.define
class Reading:
    """What was read of a file so far.

    Attributes:
        layout: Name of the layout.
        remarks: So far, in any order.
        transactions: So far, in any order.
    """

    layout: str
    remarks: list[Remark] = attrs.field(factory=list)
    transactions: list[Transaction] = attrs.field(factory=list)
    _read: set[int] = attrs.field(factory=set)
    _splits: list[AddedUnits] = attrs.field(factory=list)

    def add(self, *transactions: Transaction, parts: Iterable[Record] = ()) -> None:
        """Add transactions of a row, and of other rows that are part of them.

        Raises:
            InvalidRequest: a transaction contradicts its kind; then no one is added.
        """
        tidied = [tidy(one) for one in transactions]
        for one in tidied:
            check_transaction(one)
        self.transactions += tidied
        self._read.update(one.line for one in transactions)
        self._read.update(record.line for record in parts)

    def skip(self, line: int, code: str, message: str) -> None:
        """Report a row that is left out on purpose."""
        self._read.add(line)
        self.remarks.append(Remark(line, code, message))

    def note(self, line: int, code: str, message: str) -> None:
        """Report how a row was interpreted; it must be read as well."""
        self.remarks.append(Remark(line, code, message))

    def fault(self, line: int, error: InvalidRequest) -> None:
        """Report a row that cannot be read."""
        self._read.add(line)
        self.remarks.append(Remark(line, error.code, str(error), is_error=True))

    @contextmanager
    def reporting(self, *records: Record) -> Iterator[None]:
        """Run a block; an error in it becomes a remark on each row."""
        try:
            yield
        except InvalidRequest as error:
            for record in records:
                self.fault(record.line, error)

    def charge_kind(self, record: Record, kind: EntryKind, amount: Decimal) -> EntryKind:
        """Return the kind of a fee or tax; a refund of one is other income, which is reported."""
        if amount <= 0:
            return kind
        self.note(
            record.line, "refund", f"the refund of a {kind} was read as other income; check it"
        )
        return EntryKind.INTEREST

    def split_later(self, split: AddedUnits) -> None:
        """Add a split whose ratio follows from the units that the file has before its day."""
        self._read.add(split.line)
        self._splits.append(split)

    def statement(self, table: Table, currency: str = "") -> Statement:
        """Return the statement; rows that were not read get a remark."""
        self._add_splits()
        unread = [row.line for row in table.rows if row.line not in self._read]
        for line in unread:
            error = InvalidRequest(
                "the row was not understood; enter it by hand", code="unread_row"
            )
            self.fault(line, error)
        return Statement(
            self.layout,
            tuple(sorted(self.transactions, key=lambda one: one.line)),
            tuple(sorted([*table.remarks, *self.remarks], key=lambda one: one.line)),
            currency,
        )

    def _add_splits(self) -> None:
        """Add splits by the units that the file has before their days."""
        splits: dict[str, list[AddedUnits]] = {}
        for split in self._splits:
            splits.setdefault(_key(split.instrument), []).append(split)
        trades: dict[str, list[Transaction]] = {}
        for one in self.transactions:
            if _key(one.instrument) in splits:
                trades.setdefault(_key(one.instrument), []).append(one)
        for key, some in splits.items():
            waiting = deque(sorted(trades.get(key, []), key=lambda one: one.on))
            held = _ZERO
            for split in sorted(some, key=lambda one: one.on):
                while waiting and waiting[0].on < split.on:
                    held = _units_after(held, waiting.popleft())
                ratio = self._add_split(split, held)
                held = held if ratio is None else held * ratio

    def _add_split(self, split: AddedUnits, held: Decimal) -> Decimal | None:
        """Add a split if its ratio is simple, and return the ratio; else report it."""
        added, before = split.units.normalize(), held.normalize()
        ratio = simple_ratio(held, held + split.units)
        try:
            if ratio is None:
                raise InvalidRequest(
                    f"the split adds {added:f} units to {before:f} that the file has before it, "
                    "which is not a simple ratio; import the earlier history first, or enter the "
                    "split by hand",
                    code="unknown_ratio",
                )
            self.add(
                Transaction(
                    split.line,
                    EntryKind.SPLIT,
                    split.on,
                    instrument=split.instrument,
                    ratio=ratio,
                    external_id=split.external_id,
                )
            )
        except InvalidRequest as error:
            self.fault(split.line, error)
            return None
        self.note(
            split.line,
            "ratio_from_units",
            f"the ratio {ratio.normalize():f} follows from {added:f} added to {before:f} units; "
            "check it",
        )
        return ratio


def _units_after(held: Decimal, one: Transaction) -> Decimal:
    """Return the units of an asset after a transaction."""
    if one.kind is EntryKind.SPLIT and one.ratio is not None:
        return held * one.ratio
    if one.kind in (EntryKind.BUY, EntryKind.DEPOSIT):
        return held + one.quantity
    return held - one.quantity  # 0 for income


def simple_ratio(before: Decimal, after: Decimal) -> Decimal | None:
    """Return the ratio of a split as a simple fraction, such as 3 or 1/20; None otherwise."""
    if before <= 0 or after <= 0 or before == after:
        return None
    exact = Fraction(after) / Fraction(before)
    near = exact.limit_denominator(_LARGEST_TERM)
    if near.numerator == 0 or abs(near / exact - 1) > _TOLERANCE:
        return None
    if min(near.numerator, near.denominator) > _LARGEST_TERM // 5:
        return None
    return rounded(Decimal(near.numerator) / Decimal(near.denominator))


def tidy(one: Transaction) -> Transaction:
    """Return a transaction whose texts are one visible line each, with at most 12 decimals."""
    return attrs.evolve(
        one,
        amount=rounded(one.amount),
        quantity=rounded(one.quantity),
        price=one.price and rounded(one.price),
        cost=rounded(one.cost),
        withheld=rounded(one.withheld),
        counter_amount=one.counter_amount and rounded(one.counter_amount),
        note=clean(one.note),
        external_id=clean(one.external_id),
        instrument=_tidy_instrument(one.instrument),
        other=_tidy_instrument(one.other),
    )


def _tidy_instrument(one: Instrument | None) -> Instrument | None:
    if one is None:
        return None
    return attrs.evolve(one, symbol=clean(one.symbol), isin=clean(one.isin), name=clean(one.name))


def rounded(number: Decimal) -> Decimal:
    """Return a number with at most as many decimals as a ledger has."""
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MOST_DECIMALS:
        return number.quantize(Decimal(1).scaleb(-MOST_DECIMALS), ROUND_HALF_EVEN)
    return number


def money(amount: Decimal, currency: str) -> Decimal:
    """Return an amount rounded to the minor unit of its currency."""
    return Currency(currency).round(amount)


def currency_of(text: str, field: str) -> str:
    """Return an ISO 4217 code.

    Raises:
        InvalidRequest: it is not one.
    """
    code = text.strip().upper()
    try:
        Currency(code)
    except InvalidRequest:
        raise InvalidRequest(
            f"{quote(text)} is not a currency; write its ISO 4217 code, such as USD",
            field=field,
            code="invalid_currency",
        ) from None
    return code


def in_units(price: Decimal, code: str) -> tuple[Decimal, str]:
    """Return a price in units of its currency, pounds in place of pence, and the currency."""
    whole = PENCE.get(code.strip().upper())
    if code.strip() == "GBp":
        whole = "GBP"
    return (price / 100, whole) if whole else (price, code.strip().upper())


def cents(amount: Decimal, currency: str) -> Decimal:
    """Return an amount rounded to the minor unit, or exact if it would round to nothing."""
    return money(amount, currency) or rounded(amount)


def price_of(amount: Decimal, quantity: Decimal) -> Decimal:
    """Return the price that follows from an amount and a quantity.

    Raises:
        InvalidRequest: the quantity is 0.
    """
    if not quantity:
        raise InvalidRequest(
            "the quantity is 0; enter the row by hand", field="quantity", code="not_positive"
        )
    return rounded(amount / quantity)


def in_kind(
    record: Record,
    quantity: Decimal,
    price: Decimal | None,
    *,
    on: date,
    currency: str,
    instrument: Instrument,
    external_id: str = "",
    note: str = "",
) -> Transaction:
    """Return the transfer of units of an asset, in if the quantity is positive, else out.

    Without a price the ledger takes the close of the day.
    """
    amount = money(abs(quantity) * price, currency) if price else _ZERO
    return Transaction(
        record.line,
        EntryKind.DEPOSIT if quantity > 0 else EntryKind.WITHDRAWAL,
        on,
        amount,
        currency,
        instrument,
        abs(quantity),
        price or None,
        external_id=external_id,
        note=note,
    )


@attrs.frozen(slots=False)
class CsvReader(ABC):
    """Reader of one CSV layout; a subclass states its header and turns its rows into transactions.

    Attributes:
        currency: ISO 4217 code of the account, if the layout has only one.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    header: ClassVar[Header]
    currency: ClassVar[str] = ""

    def recognises(self, head: bytes, file_name: str) -> bool:
        return has_header(head, self.header)

    def read(self, data: bytes) -> Statement:
        try:
            return self.read_text(decode(data))
        except InvalidRequest as error:
            raise error.at("file") from None

    def read_text(self, text: Text) -> Statement:
        """Return the statement of a decoded file, see `read`."""
        with localcontext(prec=_DIGITS):
            table = self.prepare(find_table(text, self.header))
            reading = Reading(self.name)
            self.fill(whole_records(table, reading, self.is_footer), reading)
            return reading.statement(table, self.currency_of(table))

    def prepare(self, table: Table) -> Table:
        """Return the table with the formats of its numbers and days.

        Raises:
            InvalidRequest: they are ambiguous.
        """
        return table

    def is_footer(self, cells: tuple[str, ...]) -> bool:
        """Return whether a row is a text below the transactions."""
        return False

    def currency_of(self, table: Table) -> str:
        """Return the currency of the account; empty if it is unknown."""
        return self.currency

    @abstractmethod
    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        """Turn rows into transactions and remarks."""


def whole_records(
    table: Table, reading: Reading, is_footer: Callable[[tuple[str, ...]], bool]
) -> list[Record]:
    """Return the rows that have all their cells; report other rows and texts around the table."""
    for row in table.above:
        reading.skip(row.line, "preamble", "the line is above the header and was skipped")
    records = []
    titles = [normalize_title(title) for title in table.titles]
    for record in table.records():
        if list(map(normalize_title, record.cells)) == titles:
            reading.skip(record.line, "repeated_header", "the line repeats the header")
        elif is_footer(record.cells):
            reading.skip(record.line, "footer", "the line is not a transaction")
        elif check_width(reading, record):
            records.append(record)
    return records


def check_width(reading: Reading, record: Record) -> bool:
    """Return whether a row has a cell for each title; report it if not."""
    width = record.table.width
    if len(record.cells) < width:
        error = InvalidRequest(
            f"the row has {len(record.cells)} of {width} cells; download the file again if it is "
            "cut off",
            code="incomplete_row",
        )
    elif any(record.cells[len(record.table.titles) :]):
        error = InvalidRequest(
            f"the row has {len(record.cells)} cells and the header {len(record.table.titles)}; "
            "quote cells that have the delimiter",
            code="too_many_cells",
        )
    else:
        return True
    reading.fault(record.line, error)
    return False


def each(
    records: Iterable[Record], reading: Reading, handle: Callable[[Record, Reading], None]
) -> None:
    """Handle rows one by one; an error becomes a remark on its row."""
    for record in records:
        with reading.reporting(record):
            handle(record, reading)


def without_cancelled(
    records: Sequence[Record],
    reading: Reading,
    key: Callable[[Record], Hashable | None],
    change: Callable[[Record], Decimal | None],
) -> list[Record]:
    """Leave out pairs of rows that cancel each other: the same key, and opposite changes.

    Args:
        records: In the order of the file.
        reading: Both rows are reported there.
        key: What both rows have in common; None for rows that neither cancel nor are cancelled.
        change: Change of money or units of a row; rows without one stay.
    """
    open_rows: dict[tuple[Hashable, Decimal], list[Record]] = {}
    out: set[int] = set()
    for record in records:
        common = key(record)
        if common is None:
            continue
        try:
            moved = change(record)
        except InvalidRequest:
            continue  # reported with its row
        if not moved:
            continue
        waiting = open_rows.get((common, -moved))
        if not waiting:
            open_rows.setdefault((common, moved), []).append(record)
            continue
        other = waiting.pop()
        for one, counterpart in ((other, record), (record, other)):
            out.add(one.line)
            reading.skip(
                one.line,
                "cancelled",
                f"the row and line {counterpart.line} cancel each other; neither counts",
            )
    return [record for record in records if record.line not in out]


def with_taxes(
    incomes: Sequence[Record],
    taxes: Sequence[Record],
    key: Callable[[Record], Hashable],
    amount: Callable[[Record], Decimal | None],
) -> tuple[list[tuple[Record, list[Record]]], list[Record]]:
    """Return each income with the rows of its tax, and the tax rows of no income.

    Tax rows are dealt to the incomes of the same key in turn, each to one that is not smaller than
    its taxes.
    """

    def size(record: Record) -> Decimal:
        try:
            return abs(amount(record) or _ZERO)
        except InvalidRequest:
            return _ZERO  # reported with its row

    found: dict[Hashable, deque[tuple[Record, list[Record]]]] = {}
    pairs = []
    for income in incomes:
        pair: tuple[Record, list[Record]] = (income, [])
        pairs.append(pair)
        found.setdefault(key(income), deque()).append(pair)
    rest = []
    for tax in taxes:
        candidates = found.get(key(tax), deque())
        for _ in range(min(len(candidates), _MOST_TRIES)):
            income, own = candidates[0]
            candidates.rotate(-1)
            if sum(map(size, own), size(tax)) <= size(income):
                own.append(tax)
                break
        else:
            rest.append(tax)
    return pairs, rest


def add_with_taxes(
    records: Sequence[Record],
    reading: Reading,
    *,
    incomes: Sequence[Record],
    taxes: Sequence[Record],
    key: Callable[[Record], Hashable],
    add_income: Callable[[Record, list[Record], Reading], None],
    add: Callable[[Record, Reading], None],
) -> None:
    """Add incomes together with the rows of their taxes, then all other rows one by one.

    Args:
        records: All rows, those of ``incomes`` and ``taxes`` included.
        reading: Collects transactions and remarks.
        incomes: Rows of dividends and interest.
        taxes: Rows of withheld taxes; one that belongs to no income is added like other rows.
        key: What an income and its taxes have in common.
        add_income: Adds an income with its taxes.
        add: Adds any other row.
    """
    pairs, _ = with_taxes(incomes, taxes, key, lambda record: record.number("amount"))
    for income, own in pairs:
        with reading.reporting(income, *own):
            add_income(income, own, reading)
    added = {record.line for income, own in pairs for record in (income, *own)}
    each([record for record in records if record.line not in added], reading, add)


def is_charge(record: Record) -> bool:
    """Return whether the amount of a row is negative."""
    try:
        return (record.number("amount") or _ZERO) < 0
    except InvalidRequest:
        return False  # reported with its row


def check_one_account(records: Sequence[Record], name: str) -> None:
    """Check that all rows are of one account.

    Raises:
        InvalidRequest: they are of several.
    """
    accounts = list(dict.fromkeys(record.text(name) for record in records if record.text(name)))
    if len(accounts) > 1:
        raise InvalidRequest(
            f"the file has {len(accounts)} accounts; export each account to a file of its own",
            code="several_accounts",
        )
