"""Rows that belong together: cancelled ones, and incomes with their taxes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal

from rebalancer.adapters.statements.csv_reading import Reading, each
from rebalancer.adapters.statements.csv_table import Record
from rebalancer.domain.errors import InvalidRequest

_ZERO = Decimal(0)
_MOST_TRIES = 8
"""Most incomes of a day to which a tax may belong."""


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
