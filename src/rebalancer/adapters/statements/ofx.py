"""OFX and QFX: statements of investment accounts and of bank accounts.

Element names are those of the OFX specification. Totals are signed: a purchase has a negative one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal

import attrs

from rebalancer.adapters.statements.drafts import (
    Draft,
    clean,
    read_currency,
    read_german_number,
    read_number,
    require,
    round_number,
    shorten,
    unreadable_date,
)
from rebalancer.adapters.statements.ofx_tree import Node, parse_ofx
from rebalancer.application.ports.statements import StatementReader
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Statement, Transaction

_ZERO = Decimal(0)
_STATEMENTS = frozenset({"INVSTMTRS", "STMTRS", "CCSTMTRS"})
_LISTS = frozenset({"INVTRANLIST", "BANKTRANLIST"})
_BUYS = frozenset({"BUYSTOCK", "BUYMF", "BUYOTHER"})
_SELLS = frozenset({"SELLSTOCK", "SELLMF", "SELLOTHER"})
_COSTS = ("COMMISSION", "TAXES", "FEES", "LOAD", "PENALTY", "STATEWITHHOLDING")
_NOT_ROWS = frozenset({"DTSTART", "DTEND"})
_INTEREST_INCOME = frozenset({"INTEREST", "MISC"})
_FEE_TYPES = frozenset({"FEE", "SRVCHG"})
_DAY = re.compile(
    r"(\d{4})(\d{2})(\d{2})(?:\d{2,6})?(?:\.\d{1,6})?\s*(?:\[[^\]]{0,12}\])?", re.ASCII
)
_COMMA = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})*,\d{1,2}|[+-]?\d+,\d+", re.ASCII)


class Ofx:
    name = "ofx"
    title = "OFX and QFX"

    def recognises(self, head: bytes, file_name: str) -> bool:
        plain = head.replace(b"\x00", b"")[:4096]
        return re.search(rb"OFXHEADER\s*[:=]|<\?OFX\s|<OFX\s*>", plain) is not None

    def read(self, data: bytes) -> Statement:
        root = parse_ofx(data)
        draft = Draft(self.name)
        reading = _Reading(draft, _securities(root))
        accounts = [node for node in root.walk() if node.name in _STATEMENTS]
        for account in accounts:
            reading.read(account)
        if not accounts:
            draft.fail(
                0,
                "missing_statement",
                "the file has no statement of an account; download its transactions as OFX",
            )
        if len(accounts) > 1:
            draft.skip(
                0,
                "several_accounts",
                f"the file has {len(accounts)} accounts, which are read as one portfolio; download "
                "them one by one to import them into several",
            )
        currencies = [node.value("CURDEF").strip().upper() for node in accounts]
        base = next((code for code in currencies if re.fullmatch("[A-Z]{3}", code)), "")
        return draft.statement(base)


READERS: tuple[StatementReader, ...] = (Ofx(),)


def _securities(root: Node) -> Mapping[str, Node]:
    """Return what the file states about securities, by their identifier."""
    return {
        _identifier(node.child("SECID")): node
        for node in root.walk()
        if node.name == "SECINFO" and node.child("SECID") is not None
    }


def _identifier(node: Node | None) -> str:
    if node is None:
        return ""
    return f"{node.value('UNIQUEIDTYPE').upper()}:{node.value('UNIQUEID').strip()}"


@attrs.frozen
class _Row:
    """One transaction of an account.

    Attributes:
        default: Currency of the account.
        details: Element with units and money: INVBUY of BUYSTOCK, or the row itself.
    """

    node: Node
    default: str
    securities: Mapping[str, Node]

    @property
    def line(self) -> int:
        return self.node.line

    @property
    def details(self) -> Node:
        for name in ("INVBUY", "INVSELL", "STMTTRN"):
            found = self.node.child(name)
            if found is not None:
                return found
        return self.node

    @property
    def id(self) -> str:
        return clean(self.details.value("FITID") or self.details.value("INVTRAN", "FITID"), 100)

    @property
    def note(self) -> str:
        details = self.details
        parts = (details.value("NAME"), details.value("MEMO"), details.value("INVTRAN", "MEMO"))
        return clean(" ".join(filter(None, parts)))

    @property
    def on(self) -> date:
        details = self.details
        for path in (("INVTRAN", "DTTRADE"), ("DTPOSTED",), ("INVTRAN", "DTSETTLE")):
            if details.value(*path):
                return _day(details.value(*path))
        raise InvalidRequest(
            "the row has no date DTTRADE or DTPOSTED; record it by hand", code="missing_date"
        )

    @property
    def currency(self) -> str:
        """Currency of its money; ORIGCURRENCY only states what was converted already."""
        stated = self.details.value("CURRENCY", "CURSYM").strip().upper()
        return read_currency(stated) if stated else self.default

    def number(self, name: str) -> Decimal:
        text = self.details.value(name)
        return _number(text, name) if text else _ZERO

    def money(self, name: str) -> Decimal:
        """Return an amount that must be stated."""
        require(self.details.value(name), name)
        return self.number(name)

    @property
    def instrument(self) -> Instrument:
        named = self.details.child("SECID")
        key, info = _identifier(named), self.securities.get(_identifier(named))
        kind, _, identifier = key.partition(":")
        symbol = "" if info is None else info.value("TICKER")
        name = "" if info is None else info.value("SECNAME")
        if kind == "TICKER":
            symbol = symbol or identifier
        if named is None or not identifier:
            raise InvalidRequest(
                "the row has no security SECID; record it by hand", code="missing_instrument"
            )
        return Instrument(
            clean(symbol, 60),
            clean(identifier, 12) if kind == "ISIN" else "",
            clean(name or ("" if symbol else identifier), 100),
            self.currency,
        )

    def transaction(self, kind: EntryKind, amount: Decimal, part: str = "") -> Transaction:
        """Return a transaction of money on the row's day."""
        suffix = f":{part}" if part and self.id else ""
        return Transaction(
            self.line,
            kind,
            self.on,
            round_number(amount, "amount"),
            self.currency,
            external_id=self.id + suffix,
            note=self.note,
        )


class _Reading:
    """Reads the accounts of a file."""

    def __init__(self, draft: Draft, securities: Mapping[str, Node]) -> None:
        self._draft = draft
        self._securities = securities
        self._kinds: dict[str, Callable[[_Row], list[Transaction]]] = {
            **dict.fromkeys(_BUYS, _buy),
            **dict.fromkeys(_SELLS, _sell),
            "REINVEST": _reinvest,
            "INCOME": _income,
            "RETOFCAP": _return_of_capital,
            "INVEXPENSE": _charge,
            "MARGININTEREST": _charge,
            "TRANSFER": _transfer,
            "SPLIT": _split,
            "INVBANKTRAN": self._bank,
            "STMTTRN": self._bank,
        }

    def read(self, account: Node) -> None:
        """Read one account."""
        stated = account.value("CURDEF").strip().upper()
        default = ""
        with self._draft.row(account.line):
            default = read_currency(stated) if stated else ""
        if stated and not default:
            return self._refuse_rows(
                account, f"the account has no valid currency, {shorten(stated)}"
            )
        lists = [one for one in account.children if one.name in _LISTS]
        rows = [
            _Row(node, default, self._securities)
            for one in lists
            for node in one.children
            if node.name == "STMTTRN" or (node.name not in _NOT_ROWS and node.children)
        ]
        for row in self._valid(rows):
            with self._draft.row(row.line):
                self._draft.add(*self._read(row))
        for one in lists:
            for node in one.children:
                if node.name not in _NOT_ROWS and node.name != "STMTTRN" and not node.children:
                    self._draft.fail(
                        node.line,
                        "empty_row",
                        f"<{clean(node.name, 40)}> is empty; record it by hand",
                    )
        return None

    def _refuse_rows(self, account: Node, why: str) -> None:
        for one in account.children:
            for node in one.children if one.name in _LISTS else ():
                if node.name not in _NOT_ROWS:
                    self._draft.fail(
                        node.line, "invalid_currency", f"{why}; correct CURDEF in the file"
                    )

    def _valid(self, rows: Iterable[_Row]) -> list[_Row]:
        """Return rows without those that others correct, delete or repeat."""
        corrected: dict[str, _Row] = {}
        for row in rows:
            named = clean(row.details.value("CORRECTFITID"), 100)
            if named:
                corrected[named] = row
        found: list[_Row] = []
        seen: dict[tuple[str, ...], _Row] = {}
        for row in rows:
            if row.id in corrected and corrected[row.id] is not row:
                by = corrected[row.id]
                self._draft.skip(
                    row.line,
                    "corrected_row",
                    f"row {row.id} is corrected in line {by.line}, and is not booked; void it if "
                    "an earlier import booked it",
                )
            elif row.details.value("CORRECTACTION").upper() == "DELETE":
                self._draft.skip(
                    row.line,
                    "deletes_row",
                    f"this row deletes {shorten(row.details.value('CORRECTFITID'))}; void it if an "
                    "earlier import booked it",
                )
            elif row.id and seen.setdefault(key := _content(row), row) is not row:
                self._draft.skip(
                    row.line,
                    "repeated_row",
                    f"row {row.id} repeats line {seen[key].line}, and is read once",
                )
            else:
                found.append(row)
        return found

    def _read(self, row: _Row) -> list[Transaction]:
        read = self._kinds.get(row.node.name)
        if read is not None:
            return read(row)
        name = f"<{clean(row.node.name, 40)}>"
        if _is_trade(row.node.name):
            raise InvalidRequest(
                f"{name} is of an asset that is not supported; record its money by hand",
                code="unsupported_asset",
            )
        raise InvalidRequest(f"{name} is unknown; record it by hand", code="unknown_kind")

    def _bank(self, row: _Row) -> list[Transaction]:
        """Return a deposit or withdrawal, or income and fees that their type states."""
        kind, amount = row.details.value("TRNTYPE").strip().upper(), row.money("TRNAMT")
        booked = EntryKind.DEPOSIT if amount > 0 else EntryKind.WITHDRAWAL
        if kind == "INT":
            booked = EntryKind.INTEREST if amount > 0 else EntryKind.FEE
        elif kind == "DIV" and amount >= 0:
            booked = EntryKind.DIVIDEND
        elif kind in _FEE_TYPES:
            booked = EntryKind.FEE if amount < 0 else EntryKind.INTEREST
        transaction = row.transaction(booked, abs(amount))
        if booked is EntryKind.INTEREST and kind != "INT":
            self._draft.skip(
                row.line,
                "refund",
                f"the refund of {amount} is booked as other income, of the kind interest",
            )
        return [transaction]


def _content(row: _Row) -> tuple[str, ...]:
    """Return all that a row states."""
    return tuple(f"{node.name}={node.text}" for node in row.node.walk())


def _is_trade(name: str) -> bool:
    return name.startswith(("BUY", "SELL", "CLOSURE", "JRNL"))


def _day(text: str) -> date:
    """Return the day as stated; times are in the zone that the text names."""
    found = _DAY.fullmatch(text.strip())
    try:
        if found is not None:
            return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        pass
    raise unreadable_date(text, "date", "20260131")


def _number(text: str, what: str) -> Decimal:
    """Return a number; the specification allows a comma as decimal mark."""
    if _COMMA.fullmatch(text.strip()) and not re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", text.strip()):
        return read_german_number(text, what)
    return read_number(text, what)


def _trade(row: _Row, kind: EntryKind) -> list[Transaction]:
    """Return a trade whose total is what the account paid or received."""
    quantity = abs(row.number("UNITS"))
    price = row.number("UNITPRICE")
    cost = sum((abs(row.number(name)) for name in _COSTS), _ZERO)
    withheld = abs(row.number("WITHHOLDING"))
    total = abs(row.number("TOTAL"))
    if not quantity:
        raise InvalidRequest("the trade has no UNITS; record it by hand", code="missing_quantity")
    if total:
        amount = total - cost if kind is EntryKind.BUY else total + cost + withheld
    else:
        amount = round_number(quantity * price, "amount")
    if not price > 0:
        price = round_number(amount / quantity, "price")
    trade = attrs.evolve(
        row.transaction(kind, amount),
        instrument=row.instrument,
        quantity=quantity,
        price=price,
        cost=cost,
    )
    if kind is EntryKind.BUY or not withheld:
        return [trade]
    tax = row.transaction(EntryKind.TAX, withheld, "tax")
    return [trade, attrs.evolve(tax, instrument=row.instrument)]


def _buy(row: _Row) -> list[Transaction]:
    return _trade(row, EntryKind.BUY)


def _sell(row: _Row) -> list[Transaction]:
    return _trade(row, EntryKind.SELL)


def _reinvest(row: _Row) -> list[Transaction]:
    """Return income, and the purchase that it pays for."""
    total = abs(row.number("TOTAL"))
    income = attrs.evolve(
        row.transaction(_income_kind(row), total, "income"), instrument=row.instrument
    )
    if income.kind is EntryKind.INTEREST:
        income = attrs.evolve(income, instrument=None)
    return [income, *_trade(row, EntryKind.BUY)]


def _income_kind(row: _Row) -> EntryKind:
    kind = row.details.value("INCOMETYPE").strip().upper()
    return EntryKind.INTEREST if kind in _INTEREST_INCOME else EntryKind.DIVIDEND


def _income(row: _Row) -> list[Transaction]:
    """Return income before the tax that was withheld; its total is what was received."""
    total, withheld = row.money("TOTAL"), abs(row.number("WITHHOLDING"))
    if total < 0:
        raise InvalidRequest(
            f"the income of {total} is negative; void the income that it takes back by hand",
            code="opposite_sign",
        )
    kind = _income_kind(row)
    income = attrs.evolve(row.transaction(kind, total + withheld), withheld=withheld)
    if kind is EntryKind.DIVIDEND:
        income = attrs.evolve(income, instrument=row.instrument)
    return [income]


def _return_of_capital(row: _Row) -> list[Transaction]:
    paid = row.transaction(EntryKind.RETURN_OF_CAPITAL, row.money("TOTAL"))
    return [attrs.evolve(paid, instrument=row.instrument)]


def _charge(row: _Row) -> list[Transaction]:
    """Return expenses and interest on margin, whose totals are negative."""
    total = row.money("TOTAL")
    if total > 0 and row.node.name == "MARGININTEREST":
        return [row.transaction(EntryKind.INTEREST, total)]
    return [row.transaction(EntryKind.FEE, abs(total))]


def _transfer(row: _Row) -> list[Transaction]:
    """Return a transfer in kind."""
    units, price = row.number("UNITS"), row.number("UNITPRICE")
    action = row.details.value("TFERACTION").strip().upper()
    if action not in ("IN", "OUT"):
        raise InvalidRequest(
            f"the transfer has the direction {shorten(action)} instead of IN or OUT; record it by "
            "hand",
            code="unknown_kind",
        )
    if not units:
        raise InvalidRequest(
            "the transfer has no UNITS; record it by hand", code="missing_quantity"
        )
    quantity, basis = abs(units), row.number("AVGCOSTBASIS")
    kind = EntryKind.DEPOSIT if action == "IN" else EntryKind.WITHDRAWAL
    return [
        attrs.evolve(
            row.transaction(kind, round_number(quantity * price, "amount")),
            instrument=row.instrument,
            quantity=quantity,
            price=price if price > 0 else None,
            cost_basis=round_number(quantity * basis, "cost basis")
            if basis > 0 and action == "IN"
            else None,
        )
    ]


def _split(row: _Row) -> list[Transaction]:
    """Return a split, and money for fractions, which is a return of capital."""
    new, old = row.number("NUMERATOR"), row.number("DENOMINATOR")
    if not (new and old):
        new, old = abs(row.number("NEWUNITS")), abs(row.number("OLDUNITS"))
    if not (new > 0 and old > 0):
        raise InvalidRequest(
            f"the split of {new} for {old} has no ratio; record it by hand", code="invalid_ratio"
        )
    split = attrs.evolve(
        row.transaction(EntryKind.SPLIT, _ZERO),
        instrument=row.instrument,
        ratio=round_number(new / old, "ratio"),
        currency="",
    )
    fraction = row.number("FRACCASH")
    if not fraction:
        return [split]
    paid = row.transaction(EntryKind.RETURN_OF_CAPITAL, fraction, "fraction")
    return [split, attrs.evolve(paid, instrument=row.instrument)]
