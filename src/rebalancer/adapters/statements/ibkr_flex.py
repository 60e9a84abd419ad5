"""Activity Flex Queries of Interactive Brokers, in XML.

Read are the sections Trades, CashTransactions, CorporateActions and Transfers. Their fields have
the names of the Flex Query reference; quantities and money are signed there.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal

import attrs

from rebalancer.adapters.statements.drafts import (
    Draft,
    clean,
    read_currency,
    read_number,
    require,
    round_number,
    shorten,
    unreadable_date,
)
from rebalancer.adapters.statements.ibkr_actions import CorporateActions
from rebalancer.adapters.statements.xml_tree import Element, parse
from rebalancer.application.ports.statements import StatementReader
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Statement, Transaction

_ZERO = Decimal(0)
_SECTIONS = ("Trades", "CashTransactions", "CorporateActions", "Transfers")
_DESCRIBING = ("AccountInformation",)
_DAYS = ("tradeDate", "dateTime", "reportDate", "settleDate", "settleDateTarget", "date")
_UNITS = frozenset({"STK", "FUND", "CRYPTO"})
"""Asset categories whose quantities are units with a price each."""
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_TRADE_ROWS = frozenset({"Trade", "Order", "SymbolSummary", "AssetSummary", "Lot", "WashSale"})

_DIVIDENDS = frozenset({"dividends", "payment in lieu of dividends"})
_WITHHOLDING = frozenset({"withholding tax", "871(m) withholding"})
_INTEREST = frozenset({"broker interest received", "bond interest received", "bill interest"})
_DEPOSITS = frozenset({"deposits/withdrawals", "deposits & withdrawals", "deposits", "withdrawals"})
_CHARGED = frozenset(
    {
        *("broker interest paid", "bond interest paid", "other fees", "commission adjustments"),
        *("broker fees", "advisor fees", "client fees", "sales tax", "price adjustments"),
        *("other income", "cash receipts"),
    }
)
"""Types that are fees where money is paid, and other income where it is received."""


class IbkrFlex:
    name = "ibkr_flex"
    title = "Interactive Brokers Flex Query (XML)"

    def recognises(self, head: bytes, file_name: str) -> bool:
        plain = head.replace(b"\x00", b"")  # as UTF-16 has them
        return b"<FlexQueryResponse" in plain[:4096]

    def read(self, data: bytes) -> Statement:
        root = parse(data)
        draft = Draft(self.name)
        if root.name != "FlexQueryResponse":
            raise InvalidRequest(
                f"<{root.name}> is not a Flex Query; export an Activity Flex Query as XML",
                field="file",
                code="other_layout",
            )
        statements = [one for one in root.walk() if one.name == "FlexStatement"]
        reading = _Reading(draft, FlexDates.of(_stated_days(root)), _base(statements))
        reading.read(statements)
        return draft.statement(reading.base)


READERS: tuple[StatementReader, ...] = (IbkrFlex(),)


def _base(statements: Iterable[Element]) -> str:
    """Return the currency of the first account that states it."""
    for statement in statements:
        account = statement.child("AccountInformation")
        if account is not None and account.attributes.get("currency"):
            with suppress(InvalidRequest):
                return read_currency(account.attributes["currency"])
    return ""


def _stated_days(root: Element) -> list[str]:
    named = (*_DAYS, "fromDate", "toDate")
    return [
        one.attributes[name] for one in root.walk() for name in named if one.attributes.get(name)
    ]


@attrs.frozen
class FlexDates:
    """Dates in the format that a query is set to.

    Attributes:
        day_first: Whether 01/02/2020 is in February.
    """

    day_first: bool = False

    @classmethod
    def of(cls, stated: Iterable[str]) -> FlexDates:
        """Return the format of all dates of a file.

        Raises:
            InvalidRequest: days and months cannot be distinguished.
        """
        slashed = [text.split("/") for text in map(_day_part, stated) if text.count("/") == 2]
        firsts = {first for first, _, _ in slashed if _is_number(first)}
        seconds = {second for _, second, _ in slashed if _is_number(second)}
        if not slashed:
            return cls()
        day_first = any(int(first) > 12 for first in firsts)
        month_first = any(int(second) > 12 for second in seconds)
        if day_first == month_first:
            raise InvalidRequest(
                f"dates such as {shorten('/'.join(slashed[0]))} do not show which part is the "
                "month; set the date format of the Flex Query to yyyyMMdd",
                field="file",
                code="ambiguous_dates",
            )
        return cls(day_first)

    def day(self, text: str, what: str = "date") -> date:
        """Return a day.

        Raises:
            InvalidRequest: the text is not a date.
        """
        part = _day_part(text)
        try:
            if not part.isascii():  # digits of other scripts
                raise ValueError
            if re.fullmatch(r"\d{8}", part):
                return date(int(part[:4]), int(part[4:6]), int(part[6:]))
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", part):
                return date.fromisoformat(part)
            if found := re.fullmatch(r"(\d{1,2})-([A-Za-z]{3})-(\d{2}|\d{4})", part):
                month = _MONTHS.index(found.group(2).upper()) + 1
                return date(_year(found.group(3)), month, int(found.group(1)))
            if found := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})", part):
                one, other = int(found.group(1)), int(found.group(2))
                day, month = (one, other) if self.day_first else (other, one)
                return date(_year(found.group(3)), month, day)
        except ValueError:
            pass
        raise unreadable_date(text, what, "20260131, or set the date format of the query so")


def _day_part(text: str) -> str:
    part = re.split(r"[;, T]", text.strip(), maxsplit=1)[0]
    return part[:8] if re.fullmatch(r"\d{14}", part) else part


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text)


@attrs.frozen
class Row:
    """One element of a section, and how to read its fields."""

    element: Element
    dates: FlexDates
    base: str

    @property
    def line(self) -> int:
        """Line in the file."""
        return self.element.line

    def text(self, name: str) -> str:
        """Return a field; empty without it."""
        found = self.element.attributes.get(name, "").strip()
        return "" if found in ("--", "-") else found

    def number(self, name: str) -> Decimal:
        """Return a number; 0 without it."""
        found = self.text(name)
        return read_number(found, name) if found else _ZERO

    def day(self, *names: str) -> date:
        """Return the day of the first of some fields that is not empty."""
        for name in names:
            if self.text(name):
                return self.dates.day(self.text(name), name)
        raise InvalidRequest(
            f"the row has no date; add the field {names[0]} to the Flex Query", code="missing_date"
        )

    @property
    def currency(self) -> str:
        """Currency of its money; empty for the base currency, if the query omits it."""
        return read_currency(self.text("currency")) if self.text("currency") else self.base

    @property
    def instrument(self) -> Instrument:
        """The asset of the row."""
        isin = self.text("isin")
        if not isin and self.text("securityIDType").upper() == "ISIN":
            isin = self.text("securityID")
        return Instrument(
            clean(self.text("symbol"), 60),
            clean(isin, 12),
            clean(self.text("description"), 100),
            self.currency,
        )

    @property
    def asset(self) -> str:
        """Identifier of the asset, by which rows are joined."""
        return self.text("conid") or self.text("isin") or self.text("symbol")

    @property
    def id(self) -> str:
        """Identifier that the broker gives to the row."""
        return clean(self.text("transactionID") or self.text("tradeID"), 60)

    @property
    def codes(self) -> frozenset[str]:
        """Codes of its notes, such as Ca for cancelled."""
        stated = f"{self.text('notes')};{self.text('code')}"
        return frozenset(code.strip() for code in re.split(r"[;,]", stated) if code.strip())


class _Reading:
    """Reads the sections of all accounts of a file."""

    def __init__(self, draft: Draft, dates: FlexDates, base: str) -> None:
        self._draft = draft
        self._dates = dates
        self.base = base

    def read(self, statements: Sequence[Element]) -> None:
        draft = self._draft
        accounts = {one.attributes.get("accountId", "") for one in statements} - {""}
        if len(accounts) > 1:
            draft.skip(
                0,
                "several_accounts",
                f"the file has {len(accounts)} accounts, which are read as one portfolio; query "
                "them one by one to import them into several",
            )
        rows: dict[str, list[Row]] = defaultdict(list)
        for statement in statements:
            for section in statement.children:
                if section.name in _SECTIONS:
                    rows[section.name] += self._rows(section)
                elif section.name not in _DESCRIBING:
                    self._skip_section(section)
        sections = {one.name for statement in statements for one in statement.children}
        if not sections & set(_SECTIONS):
            draft.fail(
                0,
                "missing_sections",
                f"the query has none of the sections {', '.join(_SECTIONS)}; add them to it",
            )
        for name, read in (
            ("Trades", self._trades),
            ("CashTransactions", self._cash),
            ("CorporateActions", self._actions),
            ("Transfers", self._transfers),
        ):
            read(self._without_repeated(rows[name]))

    def _rows(self, section: Element) -> list[Row]:
        for one in section.children:
            if not one.attributes:
                self._draft.fail(
                    one.line,
                    "empty_row",
                    f"<{clean(one.name, 40)}> has no fields; add them to the Flex Query",
                )
        return [Row(one, self._dates, self.base) for one in section.children if one.attributes]

    def _skip_section(self, section: Element) -> None:
        rows = len(section.children)
        if not rows:
            return
        name = clean(section.name, 40)
        if name == "TradeConfirms":
            self._draft.fail(
                section.line,
                "other_query",
                f"{name} with {rows} rows belongs to a Trade Confirmation query; run an Activity "
                "Flex Query instead",
            )
            return
        self._draft.skip(
            section.line,
            "section_skipped",
            f"{name} with {rows} rows is not read; transactions are those of "
            f"{', '.join(_SECTIONS)}",
        )

    def _without_repeated(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows once, if periods of the file overlap."""
        seen: set[tuple[tuple[str, str], ...]] = set()
        found = []
        for row in rows:
            fields = tuple(sorted(row.element.attributes.items()))
            if row.id and fields in seen:
                self._draft.skip(
                    row.line, "repeated_row", f"row {row.id} is repeated, and is read once"
                )
                continue
            seen.add(fields)
            found.append(row)
        return found

    # Trades

    def _trades(self, rows: Sequence[Row]) -> None:
        for row in self._valid_trades(self._finest(rows)):
            with self._draft.row(row.line):
                self._draft.add(*_trade(row))
        fields = {name for row in rows for name in row.element.attributes}
        if rows and not fields & {"ibCommission", "netCash"}:
            self._draft.skip(
                0,
                "costs_unknown",
                "the trades have no commissions; add the fields ibCommission, "
                "ibCommissionCurrency and taxes to the Flex Query",
            )

    def _finest(self, rows: Sequence[Row]) -> list[Row]:
        """Return executions, or orders without them; report sums of them."""
        levels: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            levels[_level(row)].append(row)
        chosen = "EXECUTION" if "EXECUTION" in levels else "ORDER"
        found = levels.get(chosen, [])
        for level, those in levels.items():
            for row in those:
                if level == "UNKNOWN":
                    self._draft.fail(
                        row.line,
                        "unknown_row",
                        f"<{clean(row.element.name, 40)}> of level "
                        f"{shorten(row.text('levelOfDetail'))} is unknown; record it by hand",
                    )
                elif level != chosen and (level != "SUM" or found):
                    self._draft.skip(
                        row.line,
                        "summary_row",
                        f"<{row.element.name}> repeats trades of the file, and is not read",
                    )
                elif level == "SUM":
                    self._draft.fail(
                        row.line,
                        "executions_missing",
                        f"<{row.element.name}> is a sum or a lot; choose Executions in the "
                        "options of the section Trades",
                    )
        return found

    def _valid_trades(self, rows: Sequence[Row]) -> list[Row]:
        """Return the trades without cancelled ones and those that corrections replace."""
        originals = _Originals(rows)
        cancelled = dict[Row, Row]()
        for row in rows:
            if not _cancels(row):
                continue
            original = originals.take_for(row)
            if original is None:
                self._draft.skip(
                    row.line,
                    "cancels_earlier_trade",
                    f"this row cancels a trade of an earlier statement, "
                    f"{shorten(row.text('origTradeID') or row.id)}; it is booked as the "
                    "opposite trade",
                )
                continue
            cancelled |= {original: row, row: original}
            name = original.id or f"of line {original.line}"
            self._draft.skip(
                original.line,
                "cancelled_trade",
                f"trade {name} was cancelled in line {row.line}, and is not booked; void it if "
                "an earlier import booked it",
            )
            self._draft.skip(
                row.line, "cancelled_trade", f"this row cancels trade {name}; neither is booked"
            )
        for row in rows:
            if row in cancelled or _cancels(row) or not _corrects(row):
                continue
            original = originals.take_named(row)
            if original is not None:
                cancelled[original] = row
                self._draft.skip(
                    original.line,
                    "corrected_trade",
                    f"trade {original.id} is replaced by its correction in line {row.line}; void "
                    "it if an earlier import booked it",
                )
        return [row for row in rows if row not in cancelled]

    # Cash

    def _cash(self, rows: Sequence[Row]) -> None:
        detailed = [row for row in rows if not _sums_up(row)]
        for row in rows if detailed else ():
            if _sums_up(row):
                self._draft.skip(
                    row.line, "summary_row", "this row sums up others of the file; it is not read"
                )
        income: dict[tuple[str, str, date, str], list[Row]] = defaultdict(list)
        for row in self._not_reversed(detailed or rows):
            with self._draft.row(row.line):
                kind = row.text("type").lower()
                require(row.text("amount"), "amount")
                if kind in _WITHHOLDING and not row.asset:  # on interest
                    self._draft.add(self._tax(row))
                elif kind in _DIVIDENDS or kind in _WITHHOLDING:
                    income[self._payment(row)].append(row)
                else:
                    self._draft.add(self._booking(row))
        for payment in income.values():
            self._income(payment)

    def _payment(self, row: Row) -> tuple[str, str, date, str]:
        """Return what identifies a payment: asset, currency, day, and day of the report.

        A later correction of its tax is not part of it, since an earlier import may have booked it.
        """
        return (
            require(row.asset, "asset, such as conid, isin or symbol"),
            row.currency,
            row.day("dateTime", "settleDate", "reportDate"),
            row.text("reportDate"),
        )

    def _not_reversed(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows without pairs of which one reverses the other."""
        waiting: dict[tuple[object, ...], list[Row]] = defaultdict(list)
        paired: set[Row] = set()
        for row in rows:
            if row.text("type").lower() in _DEPOSITS:
                continue
            with suppress(InvalidRequest):
                amount, on = row.number("amount"), row.day("dateTime", "settleDate", "reportDate")
                if not amount:
                    continue
                subject = row.asset or row.text("description")
                key = (subject, row.currency, row.text("type"), on)
                if not waiting[*key, -amount]:
                    waiting[*key, amount].append(row)
                    continue
                match = waiting[*key, -amount].pop()
                paired |= {row, match}
                for one, other in ((match, row), (row, match)):
                    self._draft.skip(
                        one.line,
                        "reversed_booking",
                        f"{shorten(one.text('type'))} of {shorten(one.text('amount'))} and line "
                        f"{other.line} cancel each other; neither is booked. Void it if an "
                        "earlier import booked it",
                    )
        return [row for row in rows if row not in paired]

    def _income(self, rows: Sequence[Row]) -> None:
        """Book the dividends of one asset and day with the tax that was withheld from them."""
        dividends: list[tuple[Row, Transaction]] = []
        taxes: list[Row] = []
        for row in rows:
            with self._draft.row(row.line):
                amount = row.number("amount")
                if row.text("type").lower() in _WITHHOLDING:
                    taxes.append(row)
                elif amount >= 0:
                    dividend = self._dividend(row, amount)
                    dividends.append((row, dividend))
                else:
                    self._draft.add(self._opposite(row, amount, "dividend"))
        similar = {_payment_text(row): at for at, (row, _) in reversed([*enumerate(dividends)])}
        for tax in taxes:
            with self._draft.row(tax.line):
                at = similar.get(_payment_text(tax), 0)
                if not (dividends and self._withhold(dividends, at, tax)):
                    self._draft.add(self._tax(tax))
        for row, dividend in dividends:
            with self._draft.row(row.line):
                self._draft.add(dividend)

    def _withhold(self, dividends: list[tuple[Row, Transaction]], at: int, tax: Row) -> bool:
        row, dividend = dividends[at]
        withheld = dividend.withheld - tax.number("amount")
        if not 0 <= withheld <= dividend.amount:
            return False
        dividends[at] = row, attrs.evolve(dividend, withheld=withheld)
        self._draft.skip(
            tax.line,
            "withheld_tax",
            f"{tax.text('amount')} of tax is booked with the dividend of line {row.line}",
        )
        return True

    def _dividend(self, row: Row, amount: Decimal) -> Transaction:
        return Transaction(
            row.line,
            EntryKind.DIVIDEND,
            row.day("dateTime", "settleDate", "reportDate"),
            amount,
            row.currency,
            row.instrument,
            external_id=row.id,
            note=clean(row.text("description")),
        )

    def _tax(self, row: Row) -> Transaction:
        amount = row.number("amount")
        if amount > 0:
            return self._opposite(row, amount, "tax")
        return Transaction(
            row.line,
            EntryKind.TAX,
            row.day("dateTime", "settleDate", "reportDate"),
            -amount,
            row.currency,
            row.instrument if row.asset else None,
            external_id=row.id,
            note=clean(row.text("description")),
        )

    def _opposite(self, row: Row, amount: Decimal, what: str) -> Transaction:
        """Return the booking of income that is taken back, or of a charge that is paid back."""
        kind = EntryKind.INTEREST if amount > 0 else EntryKind.FEE
        transaction = Transaction(
            row.line,
            kind,
            row.day("dateTime", "settleDate", "reportDate"),
            abs(amount),
            row.currency,
            external_id=row.id,
            note=clean(f"{row.text('type')}: {row.text('description')}"),
        )
        as_what = "other income, of the kind interest" if amount > 0 else "a fee"
        self._draft.skip(
            row.line,
            "opposite_sign",
            f"the {what} of {amount} has the opposite sign of a {what}; it is booked as {as_what}",
        )
        return transaction

    def _booking(self, row: Row) -> Transaction:
        """Return the booking of money other than dividends and their tax."""
        kind, amount = row.text("type").lower(), row.number("amount")
        booked: EntryKind
        if kind in _DEPOSITS:
            booked = EntryKind.DEPOSIT if amount > 0 else EntryKind.WITHDRAWAL
        elif kind in _INTEREST:
            if amount < 0:
                return self._opposite(row, amount, "interest payment")
            booked = EntryKind.INTEREST
        elif kind in _CHARGED:
            if amount > 0 and "income" not in kind and kind != "cash receipts":
                return self._opposite(row, amount, "fee")
            booked = EntryKind.INTEREST if amount > 0 else EntryKind.FEE
        else:
            raise InvalidRequest(
                f"the type {shorten(row.text('type'))} of {shorten(row.text('amount'))} is "
                "unknown; record it by hand",
                code="unknown_kind",
            )
        return Transaction(
            row.line,
            booked,
            row.day("dateTime", "settleDate", "reportDate"),
            abs(amount),
            row.currency,
            external_id=row.id,
            note=clean(f"{row.text('type')}: {row.text('description')}"),
        )

    # Corporate actions and transfers

    def _actions(self, rows: Sequence[Row]) -> None:
        CorporateActions(self._draft).read(rows)

    def _transfers(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.element.name != "Transfer" or row.text("levelOfDetail").upper() == "LOT":
                self._draft.skip(
                    row.line,
                    "summary_row",
                    "this row details a transfer of the file; it is not read",
                )
                continue
            with self._draft.row(row.line):
                self._draft.add(*_transfer(row))


def _level(row: Row) -> str:
    """Return EXECUTION, ORDER, SUM or UNKNOWN."""
    stated = row.text("levelOfDetail").upper()
    if row.element.name not in _TRADE_ROWS:
        return "UNKNOWN"
    if row.element.name == "Trade" and stated in ("", "EXECUTION"):
        return "EXECUTION"
    if row.element.name == "Order" or (row.element.name == "Trade" and stated == "ORDER"):
        return "ORDER"
    return "SUM"


def _cancels(row: Row) -> bool:
    return (
        "Ca" in row.codes
        or "(Ca.)" in row.text("buySell")
        or row.text("transactionType") in ("TradeCancel", "FracShareCancel")
    )


def _corrects(row: Row) -> bool:
    return "Co" in row.codes or row.text("transactionType") == "TradeCorrect"


class _Originals:
    """Trades that others of the file may cancel or correct.

    A trade that is booked again has the number of the cancelled one, so quantities count, too.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._by: dict[tuple[object, ...], deque[Row]] = defaultdict(deque)
        self._taken: set[Row] = set()
        for row in rows:
            if _cancels(row):
                continue
            for name in ("transactionID", "tradeID"):
                if row.text(name):
                    self._by[name, row.text(name)].append(row)
            with suppress(InvalidRequest):
                quantity = _signed_quantity(row)
                self._by["tradeID", row.text("tradeID"), quantity].append(row)
                self._by[_terms_of(row, quantity)].append(row)

    def take_for(self, cancel: Row) -> Row | None:
        """Return the trade that a row cancels: by number, else by terms with opposite quantity."""
        keys: list[tuple[object, ...]] = [("transactionID", cancel.text("origTransactionID"))]
        named = ("tradeID", cancel.text("origTradeID"))
        with suppress(InvalidRequest):
            quantity = -_signed_quantity(cancel)
            keys += [(*named, quantity), named, _terms_of(cancel, quantity)]
        return self._first(keys or [named], cancel)

    def take_named(self, row: Row) -> Row | None:
        """Return the trade that a row names as its original."""
        names = ("transactionID", "origTransactionID"), ("tradeID", "origTradeID")
        return self._first([(name, row.text(stated)) for name, stated in names], row)

    def _first(self, keys: Iterable[tuple[object, ...]], row: Row) -> Row | None:
        for key in keys:
            if key[1] not in ("", "0"):
                found = self._take(self._by[key], row)
                if found is not None:
                    return found
        return None

    def _take(self, candidates: deque[Row], row: Row) -> Row | None:
        """Return the first candidate that is neither taken nor the row itself."""
        at = 0
        while at < len(candidates):
            one = candidates[at]
            if one is row:
                at = 1  # it is there once
                continue
            del candidates[at]
            if one not in self._taken:
                self._taken.add(one)
                return one
        return None


def _terms_of(row: Row, quantity: Decimal) -> tuple[object, ...]:
    on = row.day("tradeDate", "dateTime", "reportDate")
    return "terms", row.asset or " ", row.currency, quantity, row.number("tradePrice"), on


def _signed_quantity(row: Row) -> Decimal:
    """Return the change of units by the word of a row, or else by the sign of its quantity.

    ``BUY (Ca.)`` takes units away.
    """
    signed, word = row.number("quantity"), row.text("buySell").upper()
    if not word.startswith(("BUY", "SELL")):
        return signed
    adds = word.startswith("BUY") != ("(CA.)" in word)
    return abs(signed) if adds else -abs(signed)


def _trade(row: Row) -> list[Transaction]:
    category = row.text("assetCategory").upper()
    if category == "CASH":
        return _exchange(row)
    if category not in _UNITS:
        what = f"the asset category {shorten(category)}" if category else "a missing asset category"
        raise InvalidRequest(
            f"{what} is not supported, such as that of {shorten(row.text('symbol'))}; "
            + ("record its money by hand" if category else "add assetCategory to the Flex Query"),
            code="unsupported_asset",
        )
    signed = _signed_quantity(row)
    if not signed:
        raise InvalidRequest(
            "the trade has the quantity 0; record it by hand", code="missing_quantity"
        )
    quantity, price = abs(signed), row.number("tradePrice")
    amount = abs(row.number("proceeds")) or abs(row.number("tradeMoney"))
    amount = amount or round_number(quantity * price, "amount")
    if not price > 0:
        price = round_number(amount / quantity, "price")
    kind = EntryKind.BUY if signed > 0 else EntryKind.SELL
    cost, fees = _costs(row, amount, kind)
    if cost < 0:  # a rebate
        amount, cost = (amount + cost if kind is EntryKind.BUY else amount - cost), _ZERO
    trade = Transaction(
        row.line,
        kind,
        row.day("tradeDate", "dateTime", "reportDate"),
        amount,
        row.currency,
        row.instrument,
        quantity,
        price,
        cost,
        external_id=row.id,
        note=clean(row.text("transactionType") if _cancels(row) or _corrects(row) else ""),
    )
    return [trade, *fees]


def _costs(row: Row, amount: Decimal, kind: EntryKind) -> tuple[Decimal, list[Transaction]]:
    """Return the cost in the currency of a trade, and fees in another one."""
    commission, taxes = -row.number("ibCommission"), -row.number("taxes")
    if not row.text("ibCommission") and row.text("netCash"):
        net = abs(row.number("netCash"))
        return (net - amount if kind is EntryKind.BUY else amount - net), []
    charged = row.text("ibCommissionCurrency")
    if not commission or not charged or charged == row.currency:
        return commission + taxes, []
    return taxes, [_fee(row, commission, read_currency(charged))]


def _fee(row: Row, commission: Decimal, currency: str) -> Transaction:
    return Transaction(
        row.line,
        EntryKind.FEE if commission > 0 else EntryKind.INTEREST,
        row.day("tradeDate", "dateTime", "reportDate"),
        abs(commission),
        currency,
        external_id=f"{row.id}:commission" if row.id else "",
        note=clean(f"Commission of {row.text('symbol')}"),
    )


def _exchange(row: Row) -> list[Transaction]:
    """Return the exchange of a trade such as EUR.USD, which is priced in dollars."""
    symbol = row.text("symbol").upper()
    bought, dot, paid = symbol.partition(".")
    if not dot:
        raise InvalidRequest(
            f"{shorten(symbol)} does not name two currencies; record the exchange by hand",
            code="unknown_currencies",
        )
    bought, paid = read_currency(bought), read_currency(paid)
    signed = _signed_quantity(row)
    money = abs(row.number("proceeds")) or abs(row.number("tradeMoney"))
    money = money or round_number(abs(signed) * row.number("tradePrice"), "amount")
    gives, takes = (money, abs(signed)) if signed > 0 else (abs(signed), money)
    exchange = Transaction(
        row.line,
        EntryKind.EXCHANGE,
        row.day("tradeDate", "dateTime", "reportDate"),
        gives,
        paid if signed > 0 else bought,
        counter_amount=takes,
        counter_currency=bought if signed > 0 else paid,
        external_id=row.id,
        note=clean(f"{symbol} at {row.text('tradePrice')}"),
    )
    commission = -(row.number("ibCommission") + row.number("taxes"))
    if not commission:
        return [exchange]
    currency = row.text("ibCommissionCurrency") or row.base or paid
    return [exchange, _fee(row, commission, read_currency(currency))]


def _payment_text(row: Row) -> str:
    """Return what the descriptions of a dividend and of its tax have in common."""
    return re.split(r" per share| - ", row.text("description").lower(), maxsplit=1)[0]


def _sums_up(row: Row) -> bool:
    return row.text("levelOfDetail").upper() == "SUMMARY"


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
    if category not in _UNITS:
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
