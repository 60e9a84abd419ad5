"""Corporate actions of Flex Queries, whose terms are in their descriptions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Protocol

import attrs

from rebalancer.adapters.statements.drafts import Draft, clean, read_number, round_number, shorten
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO, _ONE = Decimal(0), Decimal(1)
_HEAD = re.compile(r"^\s*([^()]{1,60}?)\s*\(([A-Z0-9.]{0,20})\)\s*(.*)$", re.DOTALL)
_TERMS = re.compile(
    r"\b(SPLIT|SPINOFF|STOCK DIVIDEND|MERGED\s*\([^()]*\))\s+"
    r"(?:WITH\s+\S+\s+|[A-Z]{2}\w{10}\s+)?([\d.,]+)\s+FOR\s+([\d.,]+)",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\(([^,()]{1,60}),\s*(.{1,200}),\s*([A-Z0-9]{6,12})\)\s*$", re.DOTALL)
"""Symbol, name and identifier of the row's asset at the end of a description."""


class ActionRow(Protocol):
    """A row of a Flex Query."""

    @property
    def line(self) -> int:
        """Line in the file."""

    @property
    def currency(self) -> str:
        """Currency of its money."""

    @property
    def instrument(self) -> Instrument:
        """Asset whose units change."""

    @property
    def id(self) -> str:
        """Identifier of the row."""

    @property
    def codes(self) -> frozenset[str]:
        """Codes of its notes."""

    def text(self, name: str) -> str:
        """Return a field."""

    def number(self, name: str) -> Decimal:
        """Return a number."""

    def day(self, *names: str) -> date:
        """Return the day of the first field that is not empty."""


@attrs.frozen
class CorporateActions:
    """Reads the section CorporateActions: one transaction for the rows of an action."""

    draft: Draft

    def read(self, rows: Sequence[ActionRow]) -> None:
        """Add the transactions of all rows; report each that is not understood."""
        groups: dict[str, list[ActionRow]] = defaultdict(list)
        for row in rows:
            groups[self._action(row)].append(row)
        for group in groups.values():
            self._read(group)

    def _action(self, row: ActionRow) -> str:
        """Return what the rows of one action have in common."""
        head = _description(row).rpartition("(")[0] or _description(row)
        return "|".join((row.text("type"), row.text("actionID") or head, row.text("reportDate")))

    def _read(self, group: Sequence[ActionRow]) -> None:
        """Read one action; if it is not understood, each of its rows is reported."""
        first = group[0]
        try:
            if first.text("type").upper() == "IC" and self._keeps_symbol(group):
                return
            transaction = self._transaction(group)
            self.draft.add(transaction)
        except InvalidRequest as error:
            for row in group:
                self.draft.fail(row.line, error.code, error.message)
            return
        for row in group:
            if row.line != transaction.line:
                self.draft.skip(
                    row.line,
                    "part_of_action",
                    f"the row belongs to the {transaction.kind} of line {first.line}",
                )

    def _transaction(self, group: Sequence[ActionRow]) -> Transaction:
        kind = group[0].text("type").upper()
        if any("Ca" in row.codes for row in group):
            raise _unsupported(group[0], "is cancelled")
        if kind in ("FS", "RS"):
            return self._split(group)
        if kind in ("SO", "SD"):
            return self._spin_off(group)
        if kind == "IC":
            return self._rename(group)
        if kind in ("TC", "TM"):
            return self._merger(group)
        raise _unsupported(group[0], f"has the type {shorten(kind)}")

    def _split(self, group: Sequence[ActionRow]) -> Transaction:
        subject, new, old = _terms(group[0], "SPLIT")
        return self._reorganisation(group[0], EntryKind.SPLIT, subject, _ratio(new, old))

    def _spin_off(self, group: Sequence[ActionRow]) -> Transaction:
        """Return a spin-off; a stock dividend in the same stock is a split."""
        if len(group) != 1:
            raise _unsupported(group[0], f"has {len(group)} rows")
        row = group[0]
        subject, new, old = _terms(row, "SPINOFF", "STOCK DIVIDEND")
        ratio = _ratio(new, old)
        received = _received(row)
        if _same(received, subject):
            return self._reorganisation(row, EntryKind.SPLIT, subject, _ONE + ratio)
        return self._reorganisation(row, EntryKind.SPIN_OFF, subject, ratio, received)

    def _keeps_symbol(self, group: Sequence[ActionRow]) -> bool:
        """Report a change of the identifier alone, which books nothing; return whether it is."""
        subject, (_, received) = _subject(group[0]), _pair(group)
        if subject.symbol != received.instrument.symbol:
            return False
        for row in group:
            self.draft.skip(
                row.line,
                "identifier_changed",
                f"{subject.symbol} changes its identifier and not its symbol; there is nothing to "
                "book",
            )
        return True

    def _rename(self, group: Sequence[ActionRow]) -> Transaction:
        gone, received = _pair(group)
        subject = _subject(group[0])
        other = _received(received)
        return self._reorganisation(gone, EntryKind.RENAME, subject, None, other)

    def _merger(self, group: Sequence[ActionRow]) -> Transaction:
        """Return a merger; one that pays only money is a sale."""
        subject = _subject(group[0])
        proceeds = sum((row.number("proceeds") for row in group), _ZERO)
        if len(group) == 1:
            return self._sale(group[0], subject, proceeds)
        gone, received = _pair(group)
        found = _TERMS.search(_description(gone))
        if found is not None:
            ratio = _ratio(
                read_number(found.group(2), "ratio"), read_number(found.group(3), "ratio")
            )
        else:
            ratio = _ratio(received.number("quantity"), -gone.number("quantity"))
        merger = self._reorganisation(gone, EntryKind.MERGER, subject, ratio, _received(received))
        if proceeds < 0:
            raise _unsupported(gone, f"has the proceeds {proceeds}")
        return attrs.evolve(merger, amount=proceeds, currency=gone.currency)

    def _sale(self, row: ActionRow, subject: Instrument, proceeds: Decimal) -> Transaction:
        quantity = -row.number("quantity")
        if not (quantity > 0 and proceeds > 0):
            raise _unsupported(row, "has neither new units nor proceeds")
        return Transaction(
            row.line,
            EntryKind.SELL,
            _effective_day(row),
            proceeds,
            row.currency,
            subject,
            quantity,
            round_number(proceeds / quantity, "price"),
            external_id=row.id,
            note=clean(_description(row)),
        )

    def _reorganisation(
        self,
        row: ActionRow,
        kind: EntryKind,
        subject: Instrument,
        ratio: Decimal | None,
        other: Instrument | None = None,
    ) -> Transaction:
        return Transaction(
            row.line,
            kind,
            _effective_day(row),
            instrument=subject,
            ratio=ratio,
            other=other,
            external_id=row.id,
            note=clean(_description(row)),
        )


def _description(row: ActionRow) -> str:
    """Return the text about an action; newer queries have the name of the asset beside it."""
    return row.text("actionDescription") or row.text("description")


def _received(row: ActionRow) -> Instrument:
    """Return the asset of a row, with its name and identifier from the end of the description."""
    instrument = row.instrument
    found = _NAMED.search(_description(row))
    name = row.text("description") if row.text("actionDescription") else ""
    if found is None or found[1].strip() != instrument.symbol:
        return attrs.evolve(instrument, name=clean(name, 100))
    isin = instrument.isin or (found[3] if len(found[3]) == 12 else "")
    return attrs.evolve(instrument, isin=isin, name=clean(name or found[2], 100))


def _effective_day(row: ActionRow) -> date:
    """Return the day on which new units trade: actions are processed the evening before it."""
    return row.day("reportDate", "dateTime")


def _subject(row: ActionRow) -> Instrument:
    """Return the asset that an action is about, which begins its description."""
    found = _HEAD.match(_description(row))
    if found is None:
        raise _unsupported(row, "does not name its asset as SYMBOL(ISIN)")
    isin = found.group(2) if len(found.group(2)) == 12 else ""
    return Instrument(clean(found.group(1), 60), isin, currency=row.currency)


def _terms(row: ActionRow, *kinds: str) -> tuple[Instrument, Decimal, Decimal]:
    """Return the asset of an action, and its terms as new units for old ones."""
    subject = _subject(row)
    found = _TERMS.search(_description(row))
    if found is None or found.group(1).upper() not in kinds:
        raise _unsupported(row, "does not state its terms as A FOR B")
    return subject, read_number(found.group(2), "ratio"), read_number(found.group(3), "ratio")


def _ratio(new: Decimal, old: Decimal) -> Decimal:
    if not (new > 0 and old > 0):
        raise InvalidRequest(
            f"the terms {new} for {old} are not positive; record the action by hand",
            code="invalid_ratio",
        )
    return round_number(new / old, "ratio")


def _pair(group: Sequence[ActionRow]) -> tuple[ActionRow, ActionRow]:
    """Return the row of the units that are removed, and that of those that are received."""
    gone = [row for row in group if row.number("quantity") < 0]
    received = [row for row in group if row.number("quantity") > 0]
    if len(gone) != 1 or len(received) != 1 or len(group) != 2:
        raise _unsupported(group[0], f"has {len(group)} rows")
    return gone[0], received[0]


def _same(one: Instrument, other: Instrument) -> bool:
    if one.isin and other.isin:
        return one.isin == other.isin
    return one.symbol == other.symbol


def _unsupported(row: ActionRow, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"the corporate action {shorten(_description(row))} {why}, and is not booked; record "
        "it by hand",
        code="unsupported_action",
    )
