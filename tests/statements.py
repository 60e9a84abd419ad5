"""What tests of statement readers share: sums of a statement, and faults of files."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from uuid import UUID

import attrs

from rebalancer.application.ports.statements import StatementReader
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import MOST_DECIMALS
from rebalancer.domain.portfolio.entries import Entry, EntryKind, move_units, order_of_effect
from rebalancer.domain.portfolio.statements import Statement, Transaction

SAMPLES = Path(__file__).parent / "data" / "statements"
NOW = datetime(2026, 1, 31, tzinfo=UTC)
ZERO = Decimal(0)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def entry(number: int, transaction: Transaction) -> Entry:
    """Return a transaction as an entry, with the symbols of the statement."""
    moves = transaction.quantity and transaction.price is None
    for value in attrs.astuple(transaction, recurse=False):
        if isinstance(value, Decimal):
            exponent = value.as_tuple().exponent
            assert isinstance(exponent, int) and exponent >= -MOST_DECIMALS, transaction
    return Entry(
        id=UUID(int=number),
        recorded=NOW,
        symbol=None if transaction.instrument is None else name_of(transaction.instrument),
        other=None if transaction.other is None else name_of(transaction.other),
        price=Decimal(1) if moves else transaction.price,
        currency=transaction.currency or None,
        counter_currency=transaction.counter_currency or None,
        **{
            field: getattr(transaction, field)
            for field in (
                *("kind", "on", "amount", "quantity", "cost", "withheld", "ratio", "cost_share"),
                *("cost_basis", "counter_amount", "note"),
            )
        },
    )


def name_of(instrument: object) -> str:
    values = attrs.asdict(instrument)  # type: ignore[arg-type]  # an attrs class
    return str(values["symbol"] or values["isin"] or values["name"])


def entries(statement: Statement) -> list[Entry]:
    found = [entry(number, one) for number, one in enumerate(statement.transactions)]
    return sorted(found, key=lambda one: (one.on, order_of_effect(one)))


def cash(statement: Statement) -> dict[str, Decimal]:
    """Return the change of cash by currency."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for one in entries(statement):
        for currency, change in one.cash_changes:
            sums[currency or ""] += change
    return {currency: amount for currency, amount in sums.items() if amount}


def holdings(statement: Statement) -> dict[str, Decimal]:
    """Return units by symbol."""
    held: dict[str, Decimal] = {}
    with localcontext(prec=60):
        for one in entries(statement):
            move_units(held, one)
    return {symbol: units for symbol, units in held.items() if units}


def totals(statement: Statement, kind: EntryKind, field: str = "amount") -> dict[str, Decimal]:
    """Return the sum of a field over transactions of a kind, by currency."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for one in statement.transactions:
        if one.kind is kind:
            sums[one.currency] += getattr(one, field)
    return dict(sums)


def codes(statement: Statement, *, errors: bool | None = None) -> list[str]:
    return [one.code for one in statement.remarks if errors in (None, one.is_error)]


def errors(statement: Statement) -> list[tuple[int, str, str]]:
    return [(one.line, one.code, one.message) for one in statement.remarks if one.is_error]


def check_rows(statement: Statement, lines: Iterable[int]) -> None:
    """Check that each row is a transaction or has a remark."""
    known = {one.line for one in statement.transactions} | {one.line for one in statement.remarks}
    missing = sorted(set(lines) - known)
    assert not missing, missing
    for remark in statement.remarks:
        assert remark.message and not remark.message.endswith("."), remark
        assert len(remark.message) < 400, remark


def lines_with(data: bytes, *marks: bytes) -> list[int]:
    """Return the lines that begin with one of some marks."""
    rows = data.splitlines()
    return [n for n, row in enumerate(rows, 1) if row.lstrip().startswith(tuple(marks))]


def check_damaged(reader: StatementReader, data: bytes, *, steps: int = 120) -> None:
    """Check that damaged files are read or refused with a sentence, and never crash."""
    step = max(len(data) // steps, 1)
    damaged: list[bytes] = [data[:at] for at in range(0, len(data), step)]
    dice = random.Random(20)
    for _ in range(steps):
        changed = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        damaged.append(bytes(changed))
    for _ in range(steps):
        start = dice.randrange(len(data))
        length = dice.randint(1, 40)
        middle = dice.choice((b"", b"-", b"9" * length, b"\xff\xfe", b"\x00", b"<", b'"', b"NaN"))
        damaged.append(data[:start] + middle + data[start + length :])
    for one in damaged:
        check_read(reader, one)


def check_read(reader: StatementReader, data: bytes) -> Statement | None:
    """Return the statement of a file; None if it is refused with a sentence."""
    reader.recognises(data[:65_536], "file")
    try:
        statement = reader.read(data)
    except InvalidRequest as error:
        assert error.message, data
        assert error.field == "file", error
        return None
    entries(statement)
    return statement


def same_transactions(one: Statement, other: Statement) -> bool:
    return strip_lines(one.transactions) == strip_lines(other.transactions)


def strip_lines(transactions: Sequence[Transaction]) -> list[Transaction]:
    return [attrs.evolve(one, line=1) for one in transactions]


def day(text: str) -> object:
    return datetime.fromisoformat(text).date()
