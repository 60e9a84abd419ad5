"""Activity Flex Queries of Interactive Brokers, in XML.

Read are the sections Trades, CashTransactions, CorporateActions and Transfers. Their fields have
the names of the Flex Query reference; quantities and money are signed there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress

from rebalancer.adapters.statements.drafts import Draft, clean, read_currency
from rebalancer.adapters.statements.ibkr_actions import CorporateActions
from rebalancer.adapters.statements.ibkr_cash import CashTransactions
from rebalancer.adapters.statements.ibkr_rows import FlexDates, Row, stated_days
from rebalancer.adapters.statements.ibkr_trades import Trades
from rebalancer.adapters.statements.ibkr_transfers import read_transfers
from rebalancer.adapters.statements.xml_tree import Element, parse
from rebalancer.application.ports.statements import StatementReader
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.statements import Statement

_SECTIONS = ("Trades", "CashTransactions", "CorporateActions", "Transfers")
_DESCRIBING = ("AccountInformation",)


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
        reading = _Reading(draft, FlexDates.of(stated_days(root)), _base(statements))
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
        found = {name: self._without_repeated(rows[name]) for name in _SECTIONS}
        Trades(draft).read(found["Trades"])
        CashTransactions(draft).read(found["CashTransactions"])
        CorporateActions(draft).read(found["CorporateActions"])
        read_transfers(draft, found["Transfers"])

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
