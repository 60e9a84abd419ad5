"""Corporate actions of a portfolio in responses."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

from rebalancer.domain.portfolio.corporate_actions import ActionReview, ActionState
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.entrypoints.schemas.ledger import EntryView, entry_view
from rebalancer.entrypoints.schemas.wire import DecimalText, View, about

if TYPE_CHECKING:
    from rebalancer.application.action_requests import PortfolioActions
    from rebalancer.domain.money import Currency


class ActionView(View, frozen=True, kw_only=True):
    """A corporate action of an asset that the portfolio held."""

    key: Annotated[
        str | None, about("Identifies it in a decision; null if only the ledger knows it.")
    ]
    state: ActionState
    symbol: str
    kind: str
    ex_date: date
    value: Annotated[
        DecimalText | None,
        about("Split: new units per old one; spin-off: units of other per unit; else money."),
    ]
    currency: Annotated[str | None, about("Currency or quote unit of the value, if it is money.")]
    other: str | None
    source: str
    on: Annotated[date, about("The market day on which it takes effect.")]
    units: Annotated[DecimalText | None, about("Units held before it.")]
    entries: Annotated[list[EntryView], about("The entries that book it.")]
    due: Annotated[
        list[EntryView], about("Entries that a confirmation would add, reversals among them.")
    ]


def action_views(found: PortfolioActions) -> list[ActionView]:
    """Show the corporate actions of a portfolio, by day."""
    views = [_review_view(review, found.currency) for review in found.reviews]
    views += [_own_view(entry, found.currency) for entry in found.own]
    return sorted(views, key=lambda view: (view.on, view.symbol, view.kind))


def _review_view(review: ActionReview, base: Currency) -> ActionView:
    action = review.action
    return ActionView.of(
        {
            "key": review.key,
            "state": review.state,
            "symbol": action.symbol,
            "kind": action.kind.value,
            "ex_date": action.ex_day,
            "value": action.value or None,
            "currency": action.currency,
            "other": action.other,
            "source": action.source,
            "on": review.on,
            "units": review.units,
            "entries": [entry_view(entry, base=base) for entry in review.entries],
            "due": [entry_view(entry, base=base) for entry in review.due],
        }
    )


def _own_view(entry: Entry, base: Currency) -> ActionView:
    return ActionView.of(
        {
            "key": None,
            "state": ActionState.BOOKED,
            "symbol": entry.symbol,
            "kind": entry.kind.value,
            "ex_date": entry.on,
            "value": entry.ratio,
            "currency": entry.currency,
            "other": entry.other,
            "source": "",
            "on": entry.on,
            "units": None,
            "entries": [entry_view(entry, base=base)],
            "due": [],
        }
    )
