"""Entries of a ledger in responses."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import attrs

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind, void_id
from rebalancer.entrypoints.schemas.wire import DecimalText, View, about


class EntryView(View, frozen=True, kw_only=True):
    """An entry of the ledger."""

    id: UUID
    kind: EntryKind
    on: Annotated[date, about("The market day on which it takes effect.")]
    recorded: Annotated[datetime, about("When it was recorded.")]
    amount: Annotated[DecimalText, about("In currency.")]
    currency: Annotated[str, about("Currency of amount, price, cost and cash.")]
    cash: Annotated[DecimalText, about("Change of cash.")]
    symbol: str | None
    quantity: DecimalText | None
    price: DecimalText | None
    cost: DecimalText
    proposal_id: UUID | None
    note: str
    voids: Annotated[UUID | None, about("The entry that this one voids; neither counts.")]
    voided_by: Annotated[UUID | None, about("The entry that voids this one; neither counts.")]
    withheld: Annotated[DecimalText, about("Tax withheld from income.")]
    ratio: Annotated[
        DecimalText | None,
        about("Split: new units per old one. Spin-off, merger: units of other per unit."),
    ]
    other: Annotated[str | None, about("The new symbol, or the asset of a spin-off or merger.")]
    cost_share: Annotated[DecimalText | None, about("Share of the cost that passes to other.")]
    cost_basis: Annotated[DecimalText | None, about("What transferred units cost.")]
    counter_amount: Annotated[DecimalText | None, about("Money that an exchange brings.")]
    counter_currency: Annotated[str | None, about("Currency of that money.")]
    action: Annotated[str | None, about("Key of the corporate action that it books.")]


def entry_view(entry: Entry, void: frozenset[UUID] = frozenset(), *, base: Currency) -> EntryView:
    """Show an entry of a ledger in a base currency; ``void`` has the ids of void entries."""
    exchanged = entry.counter_amount is not None
    values = attrs.asdict(entry, recurse=False) | {
        "cash": entry.cash,
        "currency": entry.currency or base.code,
        "counter_currency": (entry.counter_currency or base.code) if exchanged else None,
        "quantity": entry.quantity or None,
        "proposal_id": entry.proposal,
        "voided_by": void_id(entry.id) if entry.id in void else None,
    }
    return EntryView.of(values)
