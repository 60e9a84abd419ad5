"""The ledger of a portfolio, grouped by day, in words."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import attrs

from rebalancer_app.gateway.ledger import Entry
from rebalancer_app.model.formats import HIDDEN, Formats
from rebalancer_app.texts import Texts

FILTERS = ("all", "trades", "money", "income")

_KINDS = {
    "trades": {"buy", "sell"},
    "money": {"deposit", "withdrawal", "fee", "tax", "exchange"},
    "income": {"dividend", "interest", "return_of_capital"},
}


@attrs.frozen
class ActivityRow:
    """An entry in words.

    Attributes:
        is_void: Whether it no longer counts.
        can_void: Whether the person can correct it.
    """

    id: UUID
    title: str
    details: str
    cash: str
    is_void: bool
    can_void: bool
    spoken: str


@attrs.frozen
class ActivityDay:
    """The entries of one day."""

    day: str
    rows: tuple[ActivityRow, ...]


def activity_days(
    entries: Sequence[Entry],
    formats: Formats,
    texts: Texts,
    *,
    only: str = "all",
    search: str = "",
    hidden: bool = False,
) -> tuple[ActivityDay, ...]:
    """Return the entries by day, latest first, that belong to a filter and contain a text."""
    wanted = search.strip().casefold()
    days: dict[str, list[ActivityRow]] = {}
    for entry in entries:
        if only != "all" and entry.kind not in _KINDS[only]:
            continue
        row = _row(entry, formats, texts, hidden)
        if wanted and wanted not in f"{row.title} {row.details}".casefold():
            continue
        days.setdefault(formats.day(entry.on), []).append(row)
    return tuple(ActivityDay(day, tuple(rows)) for day, rows in days.items())


def _row(entry: Entry, formats: Formats, texts: Texts, hidden: bool) -> ActivityRow:
    quantity = "" if entry.quantity is None else formats.quantity(entry.quantity)
    title = texts.find(f"entry.{entry.kind}") or entry.kind.replace("_", " ").capitalize()
    if entry.symbol:
        title = " ".join(part for part in (title, quantity, entry.symbol) if part)
    details = []
    if entry.price is not None:
        details.append(texts("entry.at", price=formats.money(entry.price, entry.currency)))
    if entry.cost:
        details.append(texts("entry.cost", cost=formats.money(entry.cost, entry.currency)))
    if entry.withheld:
        tax = formats.money(entry.withheld, entry.currency)
        details.append(texts("entry.withheld", tax=tax))
    if entry.note:
        details.append(entry.note)
    is_void = entry.voided_by is not None or entry.voids is not None
    if is_void:
        details.append(texts("entry.void"))
    cash = HIDDEN if hidden else formats.signed_money(entry.cash, entry.currency)
    if not entry.cash:
        cash = ""
    text = ", ".join(details)
    spoken = ", ".join(part for part in (title, cash, text) if part)
    return ActivityRow(
        entry.id, title, text, cash, is_void, not is_void and entry.voids is None, spoken
    )
