"""Activities of Wealthfolio in CSV."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import currency_of, in_units, rounded
from rebalancer.adapters.statements.csv_formats import quote
from rebalancer.adapters.statements.csv_reading import CsvReader, Reading
from rebalancer.adapters.statements.csv_table import Header, Record, Table
from rebalancer.adapters.statements.drafts import NOTHING_MOVES, moves_nothing, round_number
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
_CASH = ("$CASH", "CASH-", "CASH:")
"""Beginnings of symbols that stand for cash."""
_TRADES = {"BUY": EntryKind.BUY, "SELL": EntryKind.SELL}
_INCOME = {"DIVIDEND": EntryKind.DIVIDEND, "INTEREST": EntryKind.INTEREST}
_FLOWS = {"DEPOSIT": EntryKind.DEPOSIT, "WITHDRAWAL": EntryKind.WITHDRAWAL}
_CHARGES = {"FEE": EntryKind.FEE, "TAX": EntryKind.TAX}
_TRANSFERS = {
    "TRANSFER_IN": EntryKind.DEPOSIT,
    "ADD_HOLDING": EntryKind.DEPOSIT,
    "TRANSFER_OUT": EntryKind.WITHDRAWAL,
    "REMOVE_HOLDING": EntryKind.WITHDRAWAL,
}
_CONVERSIONS = ("CONVERSION_OUT", "CONVERSION_IN")
_REINVESTED = "DRIP"


class WealthfolioCsv(CsvReader):
    name: ClassVar[str] = "wealthfolio_csv"
    title: ClassVar[str] = "Wealthfolio (CSV)"
    header: ClassVar[Header] = Header(
        {
            "id": ("id",),
            "date": ("date", "activityDate"),
            "symbol": ("symbol", "assetSymbol", "assetId"),
            "name": ("assetName", "name"),
            "quantity": ("quantity",),
            "type": ("activityType",),
            "subtype": ("subtype",),
            "price": ("unitPrice",),
            "currency": ("currency",),
            "fee": ("fee",),
            "amount": ("amount",),
            "comment": ("comment",),
            "account": ("account", "accountName", "accountId"),
            "draft": ("isDraft",),
        },
        ("date", "symbol", "quantity", "type", "price", "currency"),
    )

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        accounts = {record.text("account") for record in records} - {""}
        if len(accounts) > 1:
            reading.note(
                0,
                "several_accounts",
                f"the file has {len(accounts)} accounts, which are read as one portfolio; export "
                "them one by one to import them into several",
            )
        for record in _without_conversions(records, reading):
            with reading.reporting(record):
                if record.text("draft").casefold() == "true":
                    reading.skip(record.line, "draft", "the activity is a draft; it is not booked")
                else:
                    found = _transactions(record)
                    moving = [one for one in found if not moves_nothing(one)]
                    if not moving:
                        reading.skip(record.line, "zero_amount", NOTHING_MOVES)
                        continue
                    reading.add(*moving)
                    _explain(record, reading)

    def currency_of(self, table: Table) -> str:
        found = {in_units(_ZERO, text)[1] for _, text in table.cells("currency")}
        return found.pop() if len(found) == 1 else ""


def _kind(record: Record) -> str:
    return record.text("type").upper()


@attrs.frozen
class _Amounts:
    """Numbers of a row in full units of its currency, pounds in place of pence.

    Attributes:
        money: The amount, or else quantity times price.
    """

    quantity: Decimal
    price: Decimal
    fee: Decimal
    stated: Decimal
    currency: str

    @classmethod
    def of(cls, record: Record) -> _Amounts:
        """Return the numbers of a row.

        Raises:
            InvalidRequest: one is not a number, or the currency is unknown.
        """
        code = record.text("currency")
        price, currency = in_units(record.number("price") or _ZERO, code)
        fee, _ = in_units(record.number("fee") or _ZERO, code)
        stated, _ = in_units(abs(record.number("amount") or _ZERO), code)
        return cls(
            round_number(abs(record.number("quantity") or _ZERO), "quantity"),
            round_number(price, "unit price"),
            round_number(fee, "fee"),
            round_number(stated, "amount"),
            currency_of(currency, record.title("currency")),
        )

    @property
    def traded(self) -> Decimal:
        """Quantity times price, or the stated amount without both."""
        return rounded(self.quantity * self.price) or self.stated

    @property
    def money(self) -> Decimal:
        """The stated amount, or quantity times price without it."""
        return self.stated or rounded(self.quantity * self.price)


def _transactions(record: Record) -> list[Transaction]:
    kind, amounts = _kind(record), _Amounts.of(record)
    if kind in _TRADES:
        return [_trade(record, amounts, _TRADES[kind])]
    if kind in _INCOME:
        return _income(record, amounts, _INCOME[kind])
    if kind in _CHARGES:
        charge = amounts.stated or amounts.fee or amounts.money
        return [_money(record, amounts, _CHARGES[kind], charge)]
    if kind == "CREDIT":
        return [_money(record, amounts, EntryKind.INTEREST, amounts.money)]
    is_cash = record.text("symbol").upper().startswith(_CASH) or not record.text("symbol")
    if kind in _FLOWS or (kind in _TRANSFERS and is_cash):
        flow = _FLOWS.get(kind) or _TRANSFERS[kind]
        return [_money(record, amounts, flow, amounts.money), *_fee(record, amounts)]
    if kind in _TRANSFERS:
        return [_transfer(record, amounts, _TRANSFERS[kind]), *_fee(record, amounts)]
    if kind == "SPLIT":
        return [_split(record, amounts)]
    raise record.unknown("type")


def _money(
    record: Record, amounts: _Amounts, kind: EntryKind, amount: Decimal, part: str = ""
) -> Transaction:
    id = record.text("id")
    return Transaction(
        record.line,
        kind,
        record.day("date"),
        amount,
        amounts.currency,
        external_id=f"{id}:{part}" if id and part else id,
        note=record.text("comment"),
    )


def _fee(record: Record, amounts: _Amounts) -> list[Transaction]:
    """Return the fee of a row that is not a trade."""
    if not amounts.fee:
        return []
    return [_money(record, amounts, EntryKind.FEE, amounts.fee, "fee")]


def _trade(record: Record, amounts: _Amounts, kind: EntryKind) -> Transaction:
    return attrs.evolve(
        _money(record, amounts, kind, amounts.traded),
        instrument=_instrument(record, amounts),
        quantity=_quantity(record, amounts),
        price=amounts.price or rounded(amounts.traded / amounts.quantity),
        cost=amounts.fee,
    )


def _income(record: Record, amounts: _Amounts, kind: EntryKind) -> list[Transaction]:
    """Return income; a reinvested dividend also buys units."""
    subtype = record.text("subtype").upper()
    paid = _money(record, amounts, kind, amounts.money)
    if kind is EntryKind.DIVIDEND:
        paid = attrs.evolve(paid, instrument=_instrument(record, amounts))
    if not subtype:
        return [paid, *_fee(record, amounts)]
    if subtype == _REINVESTED and kind is EntryKind.DIVIDEND:
        bought = _trade(record, amounts, EntryKind.BUY)
        return [paid, attrs.evolve(bought, amount=amounts.money)]
    raise InvalidRequest(
        f"the kind {quote(subtype)} of income is not supported; enter the row by hand",
        field=record.title("subtype"),
        code="unknown_kind",
    )


def _transfer(record: Record, amounts: _Amounts, kind: EntryKind) -> Transaction:
    value = rounded(amounts.quantity * amounts.price)
    return attrs.evolve(
        _money(record, amounts, kind, value),
        instrument=_instrument(record, amounts),
        quantity=_quantity(record, amounts),
        price=amounts.price or None,
        cost_basis=value if value and kind is EntryKind.DEPOSIT else None,
    )


def _split(record: Record, amounts: _Amounts) -> Transaction:
    """Return a split, whose ratio is in the column of the amount."""
    ratio = record.number("amount")
    if not ratio or ratio <= 0:
        raise InvalidRequest(
            "the split has no ratio in the column amount; enter the split by hand",
            field=record.title("amount"),
            code="invalid_ratio",
        )
    split = _money(record, amounts, EntryKind.SPLIT, _ZERO)
    return attrs.evolve(
        split,
        currency="",
        instrument=_instrument(record, amounts),
        ratio=round_number(ratio, "ratio"),
    )


def _quantity(record: Record, amounts: _Amounts) -> Decimal:
    if not amounts.quantity:
        raise InvalidRequest(
            f"the quantity is {quote(record.text('quantity'))}; enter more than 0, or the row by "
            "hand",
            field=record.title("quantity"),
            code="missing_quantity",
        )
    return amounts.quantity


def _instrument(record: Record, amounts: _Amounts) -> Instrument:
    if not record.text("symbol") or record.text("symbol").upper().startswith(_CASH):
        raise InvalidRequest(
            f"{quote(record.text('symbol'))} does not name an asset; enter the row by hand",
            field=record.title("symbol"),
            code="missing_instrument",
        )
    return Instrument(record.text("symbol"), name=record.text("name"), currency=amounts.currency)


def _without_conversions(records: Sequence[Record], reading: Reading) -> list[Record]:
    """Add exchanges, which are a row of the money that is given and one of what it brings."""
    days: dict[str, list[Record]] = {}
    rest = []
    for record in records:
        if _kind(record) in _CONVERSIONS:
            days.setdefault(record.text("date"), []).append(record)
        else:
            rest.append(record)
    for pair in days.values():
        with reading.reporting(*pair):
            given = [record for record in pair if _kind(record) == "CONVERSION_OUT"]
            brought = [record for record in pair if _kind(record) == "CONVERSION_IN"]
            if len(given) != 1 or len(brought) != 1:
                raise InvalidRequest(
                    f"{len(given)} rows CONVERSION_OUT and {len(brought)} rows CONVERSION_IN of "
                    f"{quote(pair[0].text('date'))} are not a pair; enter them by hand",
                    field=pair[0].title("type"),
                    code="incomplete_pair",
                )
            old, new = _Amounts.of(given[0]), _Amounts.of(brought[0])
            exchange = _money(given[0], old, EntryKind.EXCHANGE, old.money)
            reading.add(
                attrs.evolve(exchange, counter_amount=new.money, counter_currency=new.currency),
                *_fee(given[0], old),
                *_fee(brought[0], new),
            )
            reading.skip(
                brought[0].line,
                "exchange_side",
                f"the row is booked with the exchange of line {given[0].line}",
            )
    return rest


def _explain(record: Record, reading: Reading) -> None:
    if _kind(record) == "CREDIT":
        reading.note(
            record.line,
            "other_income",
            "the credit is booked as other income, of the kind interest; if you paid it in, record "
            "a deposit instead",
        )


READERS = (WealthfolioCsv(),)
