"""What an import of a statement would change, in words."""

from __future__ import annotations

from decimal import Decimal

import attrs

from rebalancer_app.gateway.imports import ImportPreview, ImportRecord, PositionChange
from rebalancer_app.model.formats import HIDDEN, Formats
from rebalancer_app.texts import Texts

MOST_LINES = 20
"""Remarks and entries that are shown."""


@attrs.frozen
class ImportScreen:
    """What the review of a statement shows.

    Attributes:
        summary: How many entries are new.
        duplicates: How many are recorded already; empty without any.
        changes: Title, before and after of cash and holdings.
        entries: Titles of the first new entries.
        remarks: Remarks by line, errors first.
        problems: What keeps it from being imported; empty if nothing does.
        can_skip: Whether lines with errors can be left out.
        can_deposit: Whether missing cash can be deposited.
        is_ready: Whether it can be imported, and adds something.
    """

    summary: str
    duplicates: str
    changes: tuple[tuple[str, str, str], ...]
    entries: tuple[str, ...]
    remarks: tuple[str, ...]
    problems: tuple[str, ...]
    can_skip: bool
    can_deposit: bool
    is_ready: bool


def decode_statement(data: bytes) -> str:
    """Return the text of a file: UTF-16 with a mark, UTF-8, or else Windows-1252."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def import_screen(
    preview: ImportPreview, formats: Formats, texts: Texts, *, hidden: bool = False
) -> ImportScreen:
    """Return what the review of a statement shows."""
    titles = []
    for planned in preview.entries[:MOST_LINES]:
        entry = planned.entry
        title = texts.find(f"entry.{entry.kind}") or entry.kind
        amount = HIDDEN if hidden else formats.money(entry.amount, entry.currency)
        parts = (formats.day(entry.on), title, entry.symbol or "", amount)
        titles.append(" · ".join(part for part in parts if part))
    remarks = [
        f"{texts('imports.line', number=one.line)}: {one.message}" if one.line else one.message
        for one in preview.remarks[:MOST_LINES]
    ]
    return ImportScreen(
        texts("imports.new", count=preview.entry_count),
        texts("imports.known", count=preview.duplicate_count) if preview.duplicate_count else "",
        tuple(_change(one, formats, texts, hidden) for one in preview.changes),
        tuple(titles),
        tuple(remarks),
        tuple(_sentence(one.message) for one in preview.problems),
        preview.error_count > 0,
        any(one.currency is not None for one in preview.overdrafts),
        not preview.problems and preview.entry_count > 0,
    )


def import_row(one: ImportRecord, formats: Formats, texts: Texts) -> tuple[str, str]:
    """Return title and details of an import in a list."""
    title = one.file_name or texts("imports.unnamed")
    state = texts("imports.undone") if one.undone is not None else ""
    parts = (formats.day(one.created.date()), texts("imports.new", count=one.entries), state)
    return title, " · ".join(part for part in parts if part)


def _change(
    one: PositionChange, formats: Formats, texts: Texts, hidden: bool
) -> tuple[str, str, str]:
    def amount(number: Decimal) -> str:
        if hidden:
            return HIDDEN
        if one.currency is not None:
            return formats.money(number, one.currency)
        return formats.quantity(number)

    return one.symbol or texts("portfolio.cash"), amount(one.before), amount(one.after)


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:]}."
