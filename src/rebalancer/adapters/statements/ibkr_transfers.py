"""Transfers of Flex Queries."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rebalancer.adapters.statements.drafts import Draft, clean, round_number, shorten
from rebalancer.adapters.statements.ibkr_rows import UNITS, Row
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Transaction


def read_transfers(draft: Draft, rows: Sequence[Row]) -> None:
    """Book each transfer of units or money, or report it."""
    for row in rows:
        if row.element.name != "Transfer" or row.text("levelOfDetail").upper() == "LOT":
            draft.skip(
                row.line,
                "summary_row",
                "this row details a transfer of the file; it is not read",
            )
            continue
        with draft.row(row.line):
            draft.add(*_transfer(row))


def _transfer(row: Row) -> list[Transaction]:
    """Return the transfer of units or money."""
    money, signed = row.number("cashTransfer"), row.number("quantity")
    on = row.day("date", "dateTime", "reportDate")
    note = clean(f"Transfer {row.text('type')} {row.text('direction')}")
    category = row.text("assetCategory").upper()
    if money:
        return [
            Transaction(
                row.line,
                EntryKind.DEPOSIT if money > 0 else EntryKind.WITHDRAWAL,
                on,
                abs(money),
                row.currency,
                external_id=row.id,
                note=note,
            )
        ]
    if not category:
        raise InvalidRequest(
            "the transfer has no asset category; add assetCategory to the Flex Query",
            code="unsupported_asset",
        )
    if category not in UNITS:
        raise InvalidRequest(
            f"the asset category {shorten(category)} of {shorten(row.text('symbol'))} is not "
            "supported; record the transfer by hand",
            code="unsupported_asset",
        )
    if not signed:
        raise InvalidRequest(
            "the transfer has neither a quantity nor money; record it by hand",
            code="missing_quantity",
        )
    incoming = _is_incoming(row, signed)
    quantity = abs(signed)
    value = abs(row.number("positionAmount"))
    price = row.number("transferPrice")
    if value:
        price = round_number(value / quantity, "price")
    return [
        Transaction(
            row.line,
            EntryKind.DEPOSIT if incoming else EntryKind.WITHDRAWAL,
            on,
            value or round_number(quantity * price, "amount"),
            row.currency,
            row.instrument,
            quantity,
            price if price > 0 else None,
            external_id=row.id,
            note=note,
        )
    ]


def _is_incoming(row: Row, signed: Decimal) -> bool:
    """Return the direction of a transfer; a sign that contradicts it is refused."""
    direction = row.text("direction").upper()
    if direction == "OUT":
        return False
    if direction == "IN" and signed < 0:
        raise InvalidRequest(
            f"the transfer is incoming and its quantity is {signed}; record it by hand",
            code="contradicting_sign",
        )
    return signed > 0
