"""Portfolio Performance's own file, saved as XML.

An object is written where it first occurs, and later by a reference: a path relative to the
element, or the number in its attribute ``id``. A purchase has two rows, one of the cash account and
one of the securities account, joined by a ``crossEntry``. The latter has shares, fees and taxes, so
it is the one that is booked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

import attrs

from rebalancer.adapters.statements.drafts import (
    Draft,
    clean,
    read_currency,
    read_iso_day,
    require,
    round_number,
    shorten,
)
from rebalancer.adapters.statements.portfolio_performance_rows import (
    ACCOUNT_TYPES,
    REFUNDS,
    SECURITIES_TYPES,
    BookedRow,
    in_full_units,
    price_currency,
)
from rebalancer.adapters.statements.xml_tree import Element, parse
from rebalancer.application.ports.statements import StatementReader
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Statement, Transaction

_ZERO = Decimal(0)
_OLDEST = 37
"""First version whose rows have a date and time, currencies and units."""
_EIGHT_DIGITS = 49
"""First version whose shares have eight decimals; earlier ones have six."""
_ACCOUNT, _SECURITIES = "cash account", "securities account"
_SIDES = {
    "account-transaction": _ACCOUNT,
    "accountTransaction": _ACCOUNT,
    "portfolio-transaction": _SECURITIES,
    "portfolioTransaction": _SECURITIES,
}
_TRANSFERS = {"account-transfer": _ACCOUNT, "portfolio-transfer": _SECURITIES}
_BINARY = (b"PK\x03\x04", b"PORTFOLIO", b"PPPBV")
"""Beginnings of compressed, encrypted and binary files of Portfolio Performance."""
_RATIO = re.compile(r"\s*(\d{1,9}(?:[.,]\d{1,9})?)\s*[:/]\s*(\d{1,9}(?:[.,]\d{1,9})?)\s*", re.ASCII)
"""New shares for old ones, as the program writes the details of a split."""
_STEP = re.compile(r"([A-Za-z][\w.-]*)(?:\[(\d{1,7})\])?", re.ASCII)


class PortfolioPerformanceXml:
    name = "portfolio_performance_xml"
    title = "Portfolio Performance (XML)"

    def recognises(self, head: bytes, file_name: str) -> bool:
        if head.startswith(_BINARY):
            return file_name.lower().endswith(".portfolio") or head.startswith(b"PPPBV")
        plain = head.replace(b"\x00", b"")[:4096]
        return re.search(rb"<client(?:\s+id=\"\d+\")?>\s*<version>", plain) is not None

    def read(self, data: bytes) -> Statement:
        if data.startswith(_BINARY):
            raise InvalidRequest(
                "the file is compressed, encrypted or binary; save it in Portfolio Performance as "
                "XML, without a password",
                field="file",
                code="not_plain_xml",
            )
        root = parse(data)
        if root.name != "client":
            raise InvalidRequest(
                f"<{clean(root.name, 40)}> is not a file of Portfolio Performance; save it there "
                "as XML",
                field="file",
                code="other_layout",
            )
        draft = Draft(self.name)
        _Reading(draft, _Tree(root), _version(root)).read()
        base = root.value("baseCurrency")
        return draft.statement(price_currency(base) if re.fullmatch("[A-Z]{3}", base) else "")


READERS: tuple[StatementReader, ...] = (PortfolioPerformanceXml(),)


def _version(root: Element) -> int:
    text = root.value("version")
    version = int(text) if re.fullmatch(r"\d{1,4}", text, re.ASCII) else 0
    if version < _OLDEST:
        raise InvalidRequest(
            f"the version {shorten(text)} of the file is not supported, only {_OLDEST} and later; "
            "open and save it in a current Portfolio Performance",
            field="file",
            code="unsupported_version",
        )
    return version


class _Tree:
    """Resolves the references of a file."""

    def __init__(self, root: Element) -> None:
        self.root = root
        self._ids = {one.attributes["id"]: one for one in root.walk() if one.attributes.get("id")}
        self._named: dict[Element, dict[str, list[Element]]] = {}

    def resolve(self, element: Element | None) -> Element | None:
        """Return the object that an element is or refers to; None if there is no such object."""
        for _ in range(10):  # a reference may lead to another one
            if element is None or "reference" not in element.attributes:
                return element
            element = self._follow(element, element.attributes["reference"])
        return None

    def _follow(self, element: Element, path: str) -> Element | None:
        if path in self._ids:
            return self._ids[path]
        found: Element | None = element
        if path.startswith("/"):  # from the root
            found, path = self.root, path.lstrip("/").removeprefix(self.root.name).lstrip("/")
        for step in path.split("/"):
            if found is None:
                return None
            found = found.parent if step == ".." else self._child(found, step)
        return found

    def _child(self, parent: Element, step: str) -> Element | None:
        matched = _STEP.fullmatch(step)
        if matched is None:
            return None
        if parent not in self._named:
            self._named[parent] = {}
            for child in parent.children:
                self._named[parent].setdefault(child.name, []).append(child)
        those = self._named[parent].get(matched[1], [])
        at = int(matched[2] or 1) - 1
        return those[at] if 0 <= at < len(those) else None


@attrs.frozen
class _Row:
    """A row where it is defined, and the account that it belongs to."""

    element: Element
    side: str

    @property
    def line(self) -> int:
        return self.element.line

    @property
    def type(self) -> str:
        return self.element.value("type")


class _Reading:
    """Reads all rows of a file."""

    def __init__(self, draft: Draft, tree: _Tree, version: int) -> None:
        self._draft = draft
        self._tree = tree
        self._digits = 8 if version >= _EIGHT_DIGITS else 6

    def read(self) -> None:
        rows = {row.element: row for row in self._rows()}
        self._read_splits(rows.values())
        for row in rows.values():
            with self._draft.row(row.line):
                self._read_row(row, rows)

    def _rows(self) -> Iterator[_Row]:
        for element in self._tree.root.walk():
            if "reference" in element.attributes:
                continue
            side = _SIDES.get(element.name, "")
            if element.name in ("transactionFrom", "transactionTo") and element.parent is not None:
                side = _TRANSFERS.get(element.parent.attributes.get("class", ""), "")
                if not side:
                    self._draft.fail(
                        element.line,
                        "unknown_row",
                        "the row belongs to a pair of unknown kind; record it by hand",
                    )
            if side:
                yield _Row(element, side)

    def _read_row(self, row: _Row, rows: dict[Element, _Row]) -> None:
        kinds = ACCOUNT_TYPES if row.side == _ACCOUNT else SECURITIES_TYPES
        if row.type not in kinds:
            raise InvalidRequest(
                f"the type {shorten(row.type)} of a {row.side} is unknown; record the row by hand",
                code="unknown_kind",
            )
        cross = self._tree.resolve(row.element.child("crossEntry"))
        if row.type in ("BUY", "SELL"):
            self._read_trade(row, cross, rows)
        elif row.type in ("TRANSFER_IN", "TRANSFER_OUT"):
            self._read_transfer(row, cross, rows)
        else:
            self._book(row)

    def _book(self, row: _Row, kind: str = "") -> None:
        booked = self._booked(row)
        if kind:
            booked = attrs.evolve(booked, type=kind)
        self._draft.add(*booked.transactions)
        if booked.type in REFUNDS:
            self._draft.skip(
                row.line,
                "refund",
                f"the refund of {booked.value} {booked.currency} is booked as other income, of the "
                "kind interest",
            )

    def _read_trade(self, row: _Row, cross: Element | None, rows: dict[Element, _Row]) -> None:
        """Book a trade once, from the side of the securities account."""
        other = self._other(row, cross, rows, "portfolioTransaction", "accountTransaction")
        if other is None and row.side == _ACCOUNT:
            raise InvalidRequest(
                f"the {row.type.lower()} has no row in a securities account; complete it in "
                "Portfolio Performance",
                code="incomplete_pair",
            )
        if other is None:
            kind = "DELIVERY_INBOUND" if row.type == "BUY" else "DELIVERY_OUTBOUND"
            self._book(row, kind)
            self._draft.skip(
                row.line,
                "without_cash_account",
                f"the {row.type.lower()} has no row in a cash account; it is booked as a delivery, "
                "which moves no money",
            )
        elif self._money(row) != self._money(other):
            raise InvalidRequest(
                f"lines {row.line} and {other.line} are sides of one {row.type.lower()} and "
                "differ in their amounts; correct it in Portfolio Performance",
                code="contradicting_pair",
            )
        elif row.side == _SECURITIES:
            self._book(row)
        else:
            self._draft.skip(
                row.line,
                "cash_side",
                f"the {row.type.lower()} is booked with its row in the securities account, line "
                f"{other.line}",
            )

    def _read_transfer(self, row: _Row, cross: Element | None, rows: dict[Element, _Row]) -> None:
        """Book a transfer between currencies; one in a currency changes nothing."""
        other = self._other(row, cross, rows, "transactionFrom", "transactionTo")
        if other is None:
            self._book(row)
            self._draft.skip(
                row.line,
                "one_sided_transfer",
                "the transfer has no other account in the file; it is booked as a flow",
            )
            return
        (paid, sent), (gained, received) = self._money(row), self._money(other)
        if row.side == _SECURITIES or paid == gained:
            if row.side == _ACCOUNT and sent != received:
                raise InvalidRequest(
                    f"lines {row.line} and {other.line} are sides of one transfer and differ in "
                    "their amounts; correct it in Portfolio Performance",
                    code="contradicting_pair",
                )
            self._draft.skip(
                row.line,
                "internal_transfer",
                f"the transfer between accounts of the file, with line {other.line}, changes "
                "neither cash nor units; it is not booked",
            )
        elif row.type == "TRANSFER_OUT":
            booked = self._booked(row)
            self._draft.add(
                Transaction(
                    row.line,
                    EntryKind.EXCHANGE,
                    booked.on,
                    sent,
                    paid,
                    counter_amount=received,
                    counter_currency=gained,
                    external_id=booked.id,
                    note=clean(booked.note),
                )
            )
        else:
            self._draft.skip(
                row.line,
                "exchange_side",
                f"the row is booked with the exchange of line {other.line}",
            )

    def _other(
        self, row: _Row, cross: Element | None, rows: dict[Element, _Row], *names: str
    ) -> _Row | None:
        """Return the other row of a pair, if it refers to this one and has the opposite role."""
        if cross is None:
            return None
        pair = [self._tree.resolve(cross.child(name)) for name in names]
        if row.element not in pair:
            return None
        found = next((rows[one] for one in pair if one in rows and one is not row.element), None)
        if found is None:
            return None
        back = self._tree.resolve(found.element.child("crossEntry"))
        is_transfer = row.type.startswith("TRANSFER")
        matches = (found.side == row.side) == is_transfer and (
            found.type == row.type
        ) != is_transfer
        return found if back is cross and matches else None

    def _money(self, row: _Row) -> tuple[str, Decimal]:
        currency = read_currency(require(row.element.value("currencyCode"), "currency"))
        return in_full_units(currency, _scaled(row.element.value("amount"), 2, "amount"))

    def _booked(self, row: _Row) -> BookedRow:
        element = row.element
        units = element.child("units")
        sums = {"FEE": _ZERO, "TAX": _ZERO}
        for unit in () if units is None else units.children:
            kind, amount = unit.attributes.get("type", ""), unit.child("amount")
            if kind == "GROSS_VALUE":
                continue
            if kind not in sums or amount is None:
                raise InvalidRequest(
                    f"the unit {shorten(kind)} of line {unit.line} is unknown; record the row by "
                    "hand",
                    code="unknown_unit",
                )
            sums[kind] += _scaled(amount.attributes.get("amount", ""), 2, kind.lower())
        return BookedRow(
            row.line,
            row.type,
            read_iso_day(element.value("date")),
            _scaled(element.value("amount"), 2, "amount"),
            read_currency(require(element.value("currencyCode"), "currency")),
            _scaled(element.value("shares") or "0", self._digits, "number of shares"),
            sums["FEE"],
            sums["TAX"],
            self._security(element),
            element.value("note"),
            clean(element.value("uuid"), 60),
        )

    def _security(self, element: Element) -> Instrument | None:
        named = element.child("security")
        found = self._tree.resolve(named)
        if named is None:
            return None
        if found is None:
            raise InvalidRequest(
                f"the security {shorten(named.attributes.get('reference', ''))} does not exist in "
                "the file; export it again",
                code="missing_instrument",
            )
        return _instrument(found)

    def _read_splits(self, rows: Iterable[_Row]) -> None:
        """Book splits; the program has changed the shares of the rows before them."""
        earliest: dict[Element, str] = {}
        for row in rows:
            security = self._tree.resolve(row.element.child("security"))
            day = row.element.value("date")[:10]
            if security is not None and row.side == _SECURITIES and day:
                earliest[security] = min(day, earliest.get(security, day))
        for event in self._tree.root.walk():
            if event.name != "event" or event.value("type") != "STOCK_SPLIT":
                continue
            security = event.parent.parent if event.parent is not None else None
            first = earliest.get(security) if security is not None else None
            if security is None or first is None or first >= event.value("date")[:10]:
                self._draft.skip(
                    event.line,
                    "split_not_booked",
                    f"the split {shorten(event.value('details'))} changes no shares of the file; "
                    "it is not booked",
                )
                continue
            with self._draft.row(event.line):
                self._draft.add(_split(event, _instrument(security)))


def _instrument(security: Element) -> Instrument:
    return Instrument(
        clean(security.value("tickerSymbol"), 60),
        clean(security.value("isin"), 12),
        clean(security.value("name"), 100),
        price_currency(clean(security.value("currencyCode"), 3)),
    )


def _split(event: Element, instrument: Instrument) -> Transaction:
    details = event.value("details")
    found = _RATIO.fullmatch(details)
    parts = ("0", "0") if found is None else found.groups()
    new, old = (Decimal(part.replace(",", ".")) for part in parts)
    if not (new and old) or new == old:
        raise InvalidRequest(
            f"the split {shorten(details)} of {shorten(instrument.name)} has no ratio such as 2:1; "
            "correct it in Portfolio Performance",
            code="unknown_ratio",
        )
    return Transaction(
        event.line,
        EntryKind.SPLIT,
        read_iso_day(event.value("date")),
        instrument=instrument,
        ratio=round_number(new / old, "ratio"),
        note=clean(f"Split {details}"),
        adjusts_earlier=True,
    )


def _scaled(text: str, digits: int, what: str) -> Decimal:
    """Return a number that is stored as an integer with some decimals."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise InvalidRequest(
            f"the {what} {shorten(text)} is not a whole number, as the file stores it; export it "
            "again",
            code="unreadable_number",
        )
    return Decimal(text).scaleb(-digits)
