"""Planned flows in requests and responses."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from rebalancer.application.planned_flows import FlowConfirmation, OpenFlow, PlanStatus
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.planned_flows import (
    LONGEST_HORIZON,
    LONGEST_NOTE,
    MATCHING_DAYS,
    DueFlow,
    Every,
    FlowDecision,
    FlowKind,
    FlowOutcome,
    PlannedFlow,
)
from rebalancer.entrypoints.schemas.ledger import EntryView, entry_view
from rebalancer.entrypoints.schemas.portfolio import PortfolioView
from rebalancer.entrypoints.schemas.wire import (
    Body,
    CurrencyCode,
    DecimalText,
    NonNegative,
    OneLine,
    View,
    about,
    format_decimal,
)


class PlannedFlowBody(Body, frozen=True, kw_only=True):
    """A deposit or withdrawal that recurs."""

    kind: Literal["deposit", "withdrawal"]
    amount: Annotated[NonNegative, about("In currency, more than 0.")]
    every: Annotated[
        Literal["week", "month", "quarter", "year"],
        about("Quarters and years are counted from the month of the first day."),
    ]
    day: Annotated[
        Annotated[int, Meta(ge=1, le=31)] | None,
        about(
            "Day of the month; the last day in shorter months. Of a week: 1 (Monday) "
            "to 7. A day without a session of the portfolio's market is due at the next session. "
            "Default: that of first.",
        ),
    ] = None
    first: Annotated[
        date | None, about("No date is scheduled before this day. Default: today.")
    ] = None
    last: Annotated[
        date | None, about("No date is scheduled after this day. Default: without an end.")
    ] = None
    currency: Annotated[CurrencyCode | None, about("Default: the base currency.")] = None
    note: Annotated[
        OneLine, Meta(max_length=LONGEST_NOTE, description="Note of the entries that it books.")
    ] = ""

    def flow(self, id: UUID, today: date) -> PlannedFlow:
        """Return the planned flow.

        Raises:
            InvalidRequest: a field is out of range.
        """
        first = self.first or today
        every = Every(self.every)
        weekly = every is Every.WEEK
        return PlannedFlow(
            id,
            FlowKind(self.kind),
            Decimal(self.amount),
            every,
            self.day or (first.isoweekday() if weekly else first.day),
            first,
            planned=today,
            last=self.last,
            currency=self.currency,
            note=self.note,
        )


class PlanTermsBody(Body, frozen=True, kw_only=True):
    """How planned flows count, and how they are booked."""

    horizon: Annotated[
        Annotated[int, Meta(ge=0, le=LONGEST_HORIZON)] | None,
        about(
            "Days ahead for which proposals count planned flows; 0: they count none. "
            "Default: as it is.",
        ),
    ] = None
    automatic: Annotated[
        bool | None,
        about(
            "Whether due flows are booked without confirmation, for portfolios that exist on paper "
            "only. Default: as it is."
        ),
    ] = None


class DueDateBody(Body, frozen=True, kw_only=True):
    """A date of a planned flow."""

    scheduled: Annotated[
        date, Meta(description="The date of the rule, as listed.", examples=["2026-12-01"])
    ]


class ConfirmationBody(Body, frozen=True, kw_only=True):
    """What was paid."""

    scheduled: Annotated[
        date, Meta(description="The date of the rule, as listed.", examples=["2026-12-01"])
    ]
    amount: Annotated[NonNegative | None, about("What was paid. Default: as planned.")] = None
    on: Annotated[date | None, about("Day of the payment. Default: the due date.")] = None
    entry_id: Annotated[
        UUID | None,
        about("Entry of the ledger that is the payment, such as an imported one. Default: none."),
    ] = None
    book_anyway: Annotated[
        bool, about("Book a new entry although an entry of the ledger may be the payment.")
    ] = False

    def confirmation(self) -> FlowConfirmation:
        """Return what the owner states."""
        amount = None if self.amount is None else Decimal(self.amount)
        return FlowConfirmation(
            self.scheduled, amount, self.on, self.entry_id, anyway=self.book_anyway
        )


class PlannedFlowView(View, frozen=True, kw_only=True):
    """A planned flow."""

    id: UUID
    kind: FlowKind
    amount: DecimalText
    currency: str
    every: Every
    day: int
    first: date
    last: date | None
    planned: Annotated[date, about("Earlier dates never fall due.")]
    note: str


class DueFlowView(View, frozen=True, kw_only=True):
    """A date of a planned flow."""

    flow_id: UUID
    kind: FlowKind
    amount: DecimalText
    currency: str
    scheduled: Annotated[date, about("The date of the rule, which names it.")]
    due: Annotated[date, about("The session of the portfolio's market at or after it.")]
    note: str


class OpenFlowView(DueFlowView, frozen=True, kw_only=True):
    """A date that waits for a decision."""

    matches: Annotated[
        list[EntryView],
        about(
            "Entries of the same kind and amount within "
            f"{MATCHING_DAYS} days, which may be its payment; the nearest first."
        ),
    ]


class FlowDecisionView(View, frozen=True, kw_only=True):
    """What was decided about a date."""

    flow_id: UUID
    scheduled: date
    outcome: Annotated[
        FlowOutcome,
        about(
            "booked: by an entry of its own. matched: an entry was its payment. skipped: unpaid."
        ),
    ]
    decided: datetime
    entry_id: UUID | None


class PlanView(View, frozen=True, kw_only=True):
    """The planned flows of a portfolio."""

    flows: list[PlannedFlowView]
    horizon: Annotated[int, about("Days ahead for which proposals count planned flows.")]
    automatic: Annotated[bool, about("Whether due flows are booked without confirmation.")]
    due: Annotated[list[OpenFlowView], about("Dates that wait for a decision, oldest first.")]
    coming: Annotated[list[DueFlowView], about("Later dates, soonest first.")]
    decided: Annotated[list[FlowDecisionView], about("Latest date first, at most 200.")]


class PlanTermsView(View, frozen=True, kw_only=True):
    """How planned flows count, and how they are booked."""

    horizon: Annotated[int, about("Days ahead for which proposals count planned flows.")]
    automatic: Annotated[bool, about("Whether due flows are booked without confirmation.")]


class ConfirmedFlowView(View, frozen=True, kw_only=True):
    """The decision, the entry that is the payment, and the portfolio."""

    decision: FlowDecisionView
    entry: EntryView
    portfolio: PortfolioView


class SkippedFlowView(View, frozen=True, kw_only=True):
    """The decision and the portfolio."""

    decision: FlowDecisionView
    portfolio: PortfolioView


def plan_view(status: PlanStatus) -> PlanView:
    """Show the planned flows of a portfolio."""
    base = status.portfolio.mandate.currency
    return PlanView(
        flows=[planned_flow_view(flow, base) for flow in status.plan.flows],
        horizon=status.plan.horizon,
        automatic=status.plan.automatic,
        due=[_open(one, base) for one in status.due],
        coming=[due_flow_view(one, base) for one in status.coming],
        decided=[decision_view(one) for one in status.decided],
    )


def planned_flow_view(flow: PlannedFlow, base: Currency) -> PlannedFlowView:
    """Show a planned flow of a portfolio with a base currency."""
    return PlannedFlowView(
        id=flow.id,
        kind=flow.kind,
        amount=_amount(flow, base),
        currency=flow.currency_in(base).code,
        every=flow.every,
        day=flow.day,
        first=flow.first,
        last=flow.last,
        planned=flow.planned,
        note=flow.note,
    )


def decision_view(decision: FlowDecision) -> FlowDecisionView:
    """Show a decision."""
    return FlowDecisionView(
        flow_id=decision.flow,
        scheduled=decision.scheduled,
        outcome=decision.outcome,
        decided=decision.decided,
        entry_id=decision.entry,
    )


def _amount(flow: PlannedFlow, base: Currency) -> DecimalText:
    return DecimalText(format_decimal(flow.currency_in(base).round(flow.amount)))


def due_flow_view(one: DueFlow, base: Currency) -> DueFlowView:
    """Show a date of a planned flow."""
    return DueFlowView(
        flow_id=one.flow.id,
        kind=one.flow.kind,
        amount=_amount(one.flow, base),
        currency=one.flow.currency_in(base).code,
        scheduled=one.scheduled,
        due=one.due,
        note=one.flow.note,
    )


def _open(one: OpenFlow, base: Currency) -> OpenFlowView:
    shown = due_flow_view(one.due, base)
    fields = {name: getattr(shown, name) for name in shown.__struct_fields__}
    return OpenFlowView(**fields, matches=[_entry(entry, base) for entry in one.matches])


def _entry(entry: Entry, base: Currency) -> EntryView:
    return entry_view(entry, base=base)
