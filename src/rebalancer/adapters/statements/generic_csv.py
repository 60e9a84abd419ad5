"""Tables of transactions without a known layout, read by a mapping profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal, localcontext

import attrs

from rebalancer.adapters.statements.csv_amounts import (
    currency_of,
    in_units,
    money,
    price_of,
    rounded,
)
from rebalancer.adapters.statements.csv_formats import (
    COMMA,
    COMMON_DAYS,
    POINT,
    DayFormat,
    decide_days,
    decide_numbers,
    quote,
)
from rebalancer.adapters.statements.csv_reading import Reading, each, whole_records
from rebalancer.adapters.statements.csv_table import (
    Header,
    Record,
    Table,
    Text,
    decode,
    decode_head,
    find_table,
)
from rebalancer.adapters.statements.csv_words import TITLES, WORDS
from rebalancer.adapters.statements.table_sketches import propose_from, sketch_table
from rebalancer.application.ports.statements import StatementReader
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import CHARGES, FLOWS, INCOME, TRADES, EntryKind
from rebalancer.domain.portfolio.mapping_profiles import (
    SKIP,
    TRADE,
    TRANSFER,
    AmountBasis,
    Column,
    MappingProfile,
    SignConvention,
    fold_word,
)
from rebalancer.domain.portfolio.statements import Instrument, Statement, Transaction
from rebalancer.domain.portfolio.table_sketches import TableSketch

NAME = "generic_csv"

_ZERO = Decimal(0)
_DIGITS = 60
_CENTS = Decimal("0.05")
_NUMBERS = (
    Column.QUANTITY,
    Column.PRICE,
    Column.AMOUNT,
    Column.COST,
    Column.WITHHELD,
    Column.RATIO,
    Column.COUNTER_AMOUNT,
)
_INSTRUMENT = (Column.SYMBOL, Column.ISIN, Column.NAME)
_GUESSED = ("the title of each column", "the words for kinds")


@attrs.frozen
class GenericCsv:
    """Reads a table by a profile, or by the profile that its header proposes.

    Attributes:
        profile: None: as `propose_profile` has it.
        name: Name of the layout.
        title: For people.
    """

    profile: MappingProfile | None = None
    name: str = NAME
    title: str = "Table of transactions (CSV)"

    def recognises(self, head: bytes, file_name: str) -> bool:
        """Return whether a table has the columns of the profile, or titles that propose one.

        Without a profile, a file that another reader recognises is not one of these.
        """
        if self.profile is not None:
            return _has_columns(head, self.profile)
        try:
            _propose(Text(decode_head(head)))
        except InvalidRequest:
            return False
        from rebalancer.adapters.statements.registry import DiscoveredReaders  # it imports this

        others = (one for one in DiscoveredReaders().all() if one.name != self.name)
        return not any(one.recognises(head, file_name) for one in others)

    def read(self, data: bytes) -> Statement:
        try:
            text = decode(data)
            with localcontext(prec=_DIGITS):
                if self.profile is None:
                    return self._read(*_propose(text))
                header, delimiter = _header(self.profile), self.profile.delimiter
                return self._read(self.profile, find_table(text, header, delimiter=delimiter))
        except InvalidRequest as error:
            raise error.at("file") from None

    def _read(self, profile: MappingProfile, table: Table) -> Statement:
        table = _with_formats(table, profile)
        reading = Reading(self.name)
        if self.profile is None:
            reading.note(
                0,
                "proposed_profile",
                f"the file was read by {' and '.join(_GUESSED)}; check the entries, or save a "
                "mapping profile",
            )
        records = whole_records(table, reading, lambda cells: False)
        each(records, reading, lambda record, into: _add(record, into, profile))
        return reading.statement(table, profile.currency)


def reader_of(profile: MappingProfile) -> StatementReader:
    """Return the reader of tables with a profile."""
    return GenericCsv(profile)


def _header(profile: MappingProfile) -> Header:
    columns = {str(column): (title,) for column, title in profile.columns.items()}
    return Header(columns, tuple(columns), prefixes=False)


def _has_columns(head: bytes, profile: MappingProfile) -> bool:
    try:
        find_table(Text(decode_head(head)), _header(profile), delimiter=profile.delimiter)
    except InvalidRequest:
        return False
    return True


def _with_formats(table: Table, profile: MappingProfile) -> Table:
    """Return a table with the formats that the profile states, or that the file shows."""
    marks = {".": POINT, ",": COMMA}
    numbers = marks.get(profile.decimal_mark) or decide_numbers(table.cells(*_NUMBERS))
    if profile.date_format:
        days = DayFormat(profile.date_format)
    else:
        days = decide_days(table.cells(Column.DATE)) if table.rows else COMMON_DAYS[0]
    return attrs.evolve(table, numbers=numbers, days=days)


def propose_profile(data: bytes, name: str = "Proposed") -> MappingProfile:
    """Return a profile from the titles, words and numbers of a file.

    Formats of dates and numbers stay empty, so that the file decides whenever it is read. Words for
    kinds that are unknown are left out; their rows are reported.

    Raises:
        InvalidRequest: the header has no titles for a date, a kind and an amount.
    """
    profile, _ = _propose(decode(data))
    return attrs.evolve(profile, name=name)


def _propose(text: Text) -> tuple[MappingProfile, Table]:
    """Return a profile, and the table with its columns."""
    for required in (
        (Column.DATE, Column.KIND, Column.AMOUNT),
        (Column.DATE, Column.KIND, Column.QUANTITY, Column.PRICE),
    ):
        with suppress(InvalidRequest):
            table = find_table(text, Header(TITLES, required, prefixes=False))
            break
    else:
        raise InvalidRequest(
            "the file has no header with a date, a kind and an amount, or a quantity and a price; "
            "state the title of each column in a mapping profile",
            code="missing_header",
        )
    columns = {Column(column): table.titles[at] for column, at in table.columns.items()}
    words = dict.fromkeys(fold_word(text) for _, text in table.cells(Column.KIND))
    profile = MappingProfile(
        "Proposed",
        columns,
        {word: WORDS[word] for word in words if word in WORDS},
    )
    return _with_signs(profile, table), table


def _with_signs(profile: MappingProfile, table: Table) -> MappingProfile:
    """Return the profile with the conventions that the numbers of a file show."""
    try:
        numbers = decide_numbers(table.cells(*_NUMBERS))
    except InvalidRequest:
        return profile  # which the reading reports
    records = attrs.evolve(table, numbers=numbers).records()
    signs = SignConvention.UNSIGNED
    if any(_number(record, Column.AMOUNT) < 0 for record in records):
        signs = SignConvention.CASH
    elif any(_number(record, Column.QUANTITY) < 0 for record in records):
        signs = SignConvention.QUANTITY
    found: Counter[AmountBasis] = Counter()
    for record in records if Column.COST in profile.columns else ():
        cost = abs(_number(record, Column.COST))
        value = abs(_number(record, Column.QUANTITY) * _number(record, Column.PRICE))
        amount = abs(_number(record, Column.AMOUNT))
        if cost > _CENTS and value and amount:
            gross = abs(amount - value)
            net = min(abs(amount - value - cost), abs(amount - value + cost))
            found[AmountBasis.GROSS if gross <= net else AmountBasis.NET] += 1
    basis = AmountBasis.GROSS
    if found[AmountBasis.NET] > found[AmountBasis.GROSS]:
        basis = AmountBasis.NET
    return attrs.evolve(profile, signs=signs, amounts=basis)


def _number(record: Record, column: Column) -> Decimal:
    try:
        return record.number(column) or _ZERO
    except InvalidRequest:
        return _ZERO  # which the reading reports


@attrs.frozen
class _Row:
    """The numbers of a row, in units of its currency and without signs."""

    kind: EntryKind
    currency: str
    quantity: Decimal
    price: Decimal | None
    amount: Decimal
    cost: Decimal
    withheld: Decimal


def _add(record: Record, reading: Reading, profile: MappingProfile) -> None:
    meaning = profile.meaning(record.text(Column.KIND))
    if meaning == SKIP:
        reading.skip(record.line, "skipped_kind", "the profile leaves this kind out")
        return
    if not meaning:
        raise InvalidRequest(
            f"{quote(record.text(Column.KIND))} is not a word for a kind in the mapping profile; "
            "add it there",
            field=record.title(Column.KIND),
            code="unknown_kind",
        )
    row = _row(record, profile, meaning)
    moves = row.kind in TRADES or (row.kind in FLOWS and row.quantity)
    exchanges = row.kind is EntryKind.EXCHANGE
    reading.add(
        Transaction(
            record.line,
            row.kind,
            record.day(Column.DATE),
            row.amount,
            row.currency,
            _instrument(record, row, moves=bool(moves)),
            rounded(row.quantity) if moves else _ZERO,
            _price(row) if moves else None,
            row.cost if row.kind in TRADES else _ZERO,
            row.withheld,
            ratio=record.number(Column.RATIO) if row.kind is EntryKind.SPLIT else None,
            counter_amount=abs(record.amount(Column.COUNTER_AMOUNT)) if exchanges else None,
            counter_currency=(
                currency_of(
                    record.text(Column.COUNTER_CURRENCY), record.title(Column.COUNTER_CURRENCY)
                )
                if exchanges
                else ""
            ),
            external_id=record.text(Column.ID),
            note=record.text(Column.NOTE),
        )
    )
    if moves and row.price and row.amount:
        value = row.quantity * row.price
        if abs(value - row.amount) > max(_CENTS, value / 100):
            reading.note(
                record.line,
                "amount_differs",
                f"the amount {row.amount.normalize():f} is not the quantity times the price, "
                f"{rounded(value).normalize():f}; check the columns of the mapping profile",
            )


def _instrument(record: Record, row: _Row, *, moves: bool) -> Instrument | None:
    symbol, isin, name = (record.text(column) for column in _INSTRUMENT)
    if row.kind is EntryKind.EXCHANGE or (row.kind in FLOWS and not moves):
        return None
    return Instrument(symbol, isin, name, row.currency) if symbol or isin or name else None


def _price(row: _Row) -> Decimal | None:
    if row.price:
        return rounded(row.price)
    return price_of(row.amount, row.quantity) if row.amount else None


def _row(record: Record, profile: MappingProfile, meaning: str) -> _Row:
    """Return the numbers of a row by the conventions of a profile."""
    amount, quantity = record.number(Column.AMOUNT), record.number(Column.QUANTITY) or _ZERO
    cost, withheld = (record.number(column) or _ZERO for column in (Column.COST, Column.WITHHELD))
    kind = _kind(record, profile, meaning, amount or _ZERO, quantity)
    if profile.signs is SignConvention.UNSIGNED:
        for column in (Column.AMOUNT, Column.QUANTITY, Column.COST, Column.WITHHELD):
            if (record.number(column) or _ZERO) < 0:
                raise InvalidRequest(
                    f"{quote(record.text(column))} is negative, and by the mapping profile no "
                    "number has a sign; choose another convention of signs there",
                    field=record.title(column),
                    code="negative_number",
                )
    code = record.text(Column.CURRENCY) or profile.currency
    price = record.number(Column.PRICE)
    scale = Decimal(1)
    if code:
        scale, code = in_units(scale, code)
        code = currency_of(code, record.title(Column.CURRENCY))
    quantity, cost, withheld = abs(quantity), abs(cost) * scale, abs(withheld) * scale
    price = None if price is None else abs(price) * scale
    if amount is None:
        value = quantity * (price or _ZERO)
        amount = money(value, code) if code else rounded(value)
        moved = amount
        if kind not in {*TRADES, *FLOWS, EntryKind.SPLIT}:
            raise record.missing(Column.AMOUNT)
    else:
        moved = abs(amount) * scale
        if profile.amounts is AmountBasis.NET:
            moved += {
                EntryKind.BUY: -cost,
                EntryKind.SELL: cost,
            }.get(kind, withheld if kind in INCOME else _ZERO)
    if kind is EntryKind.SPLIT:
        moved = _ZERO
    takes_tax = kind in (EntryKind.DIVIDEND, EntryKind.INTEREST)
    return _Row(kind, code, quantity, price, moved, cost, withheld if takes_tax else _ZERO)


def _kind(
    record: Record, profile: MappingProfile, meaning: str, amount: Decimal, quantity: Decimal
) -> EntryKind:
    """Return the kind of a row, whose sign may have to decide, or must not contradict."""
    by_cash = profile.signs is SignConvention.CASH
    signed = amount if by_cash else quantity
    if meaning in (TRADE, TRANSFER):
        if profile.signs is SignConvention.UNSIGNED or not signed:
            raise InvalidRequest(
                f"{quote(record.text(Column.KIND))} has no direction without a sign; choose a "
                "convention of signs in the mapping profile, or correct the row",
                field=record.title(Column.AMOUNT if by_cash else Column.QUANTITY),
                code="missing_sign",
            )
        if meaning == TRADE:
            return EntryKind.BUY if (signed < 0) == by_cash else EntryKind.SELL
        return EntryKind.DEPOSIT if signed > 0 else EntryKind.WITHDRAWAL
    kind = EntryKind(meaning)
    if by_cash and amount:
        pays = kind in {EntryKind.BUY, EntryKind.WITHDRAWAL, EntryKind.EXCHANGE, *CHARGES}
        receives = kind in {EntryKind.SELL, EntryKind.DEPOSIT, *INCOME}
        if kind is EntryKind.INTEREST and amount < 0:
            return EntryKind.FEE
        if (pays and amount > 0) or (receives and amount < 0):
            raise InvalidRequest(
                f"{quote(record.text(Column.AMOUNT))} has the wrong sign for a {kind}; void what "
                "it takes back by hand, or choose another convention of signs in the mapping "
                "profile",
                field=record.title(Column.AMOUNT),
                code="contradictory_amounts",
            )
    by_units = profile.signs is SignConvention.QUANTITY and kind in TRADES and quantity
    if by_units and (quantity > 0) != (kind is EntryKind.BUY):
        raise InvalidRequest(
            f"{quote(record.text(Column.QUANTITY))} has the wrong sign for a {kind}; choose "
            "another convention of signs in the mapping profile, or correct the row",
            field=record.title(Column.QUANTITY),
            code="contradictory_amounts",
        )
    return kind


@attrs.frozen
class CsvTables:
    """Reads and proposes mapping profiles of CSV files."""

    def reader(self, profile: MappingProfile) -> StatementReader:
        return reader_of(profile)

    def propose(self, data: bytes, name: str) -> MappingProfile:
        return propose_profile(data, name)

    def sketch(self, data: bytes, name: str) -> TableSketch:
        found = sketch_table(data)
        with suppress(InvalidRequest):
            return attrs.evolve(found, profile=propose_profile(data, name))
        return attrs.evolve(found, profile=propose_from(found, name))


READERS: Sequence[StatementReader] = (GenericCsv(),)
