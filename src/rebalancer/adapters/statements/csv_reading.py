"""From rows of a table to transactions and remarks; no row is lost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal, localcontext
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import rounded, simple_ratio
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
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Remark, Statement, Transaction

_ZERO = Decimal(0)
_DIGITS = 60


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

    def add_money(
        self, record: Record, kind: EntryKind, *, on: date, instrument: Instrument | None, note: str
    ) -> None:
        """Add a fee, a tax, the refund of one, or capital that was returned, all in US dollars.

        Raises:
            InvalidRequest: the row takes back capital that the file does not have.
        """
        amount = record.amount("amount")
        if kind is not EntryKind.RETURN_OF_CAPITAL:
            kind = self.charge_kind(record, kind, amount)
        elif amount < 0:
            raise takes_back(record)
        self.add(Transaction(record.line, kind, on, abs(amount), "USD", instrument, note=note))

    def note_cash_in_lieu(self, record: Record) -> None:
        """Report that money for a fraction of a unit counts as returned capital."""
        self.note(
            record.line,
            "cash_in_lieu",
            "cash for a fraction of a unit was read as a return of capital; check it",
        )

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


def takes_back(record: Record, kind: str = "action") -> InvalidRequest:
    """Return the error about a row that takes back what the file does not have.

    Args:
        record: With an amount.
        kind: Column that states what the row is.
    """
    return InvalidRequest(
        f"{quote(record.text(kind))} of {record.text('amount')} takes back what the file does "
        "not have; void the original by hand",
        field=record.title("amount"),
        code="unmatched_reversal",
    )


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
