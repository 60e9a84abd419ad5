"""What the screen of planned flows shows."""

from __future__ import annotations

from uuid import UUID

import attrs

from rebalancer_app.gateway.flows import DueFlow, FlowRequest, OpenFlow, Plan, PlannedFlow
from rebalancer_app.model.formats import HIDDEN, Formats
from rebalancer_app.model.numbers import read_number
from rebalancer_app.texts import Texts

EVERY = ("week", "month", "quarter", "year")


@attrs.frozen
class FlowRow:
    """A planned flow, in words."""

    id: str
    title: str
    rule: str


@attrs.frozen
class DueRow:
    """A date that waits for a decision.

    Attributes:
        match: Entry that may be its payment; None without one.
        matched: That entry in words; empty without one.
    """

    flow: str
    key: str
    title: str
    details: str
    match: UUID | None
    matched: str


@attrs.frozen
class FlowScreen:
    """Everything on the screen."""

    due: tuple[DueRow, ...]
    flows: tuple[FlowRow, ...]
    coming: tuple[str, ...]


def flow_screen(plan: Plan, formats: Formats, texts: Texts, *, hidden: bool = False) -> FlowScreen:
    """Return what the screen shows; ``hidden`` replaces amounts by dots."""

    def money(one: PlannedFlow | DueFlow | OpenFlow) -> str:
        return HIDDEN if hidden else formats.money(one.amount, one.currency)

    return FlowScreen(
        due=tuple(_due(one, money(one), formats, texts) for one in plan.due),
        flows=tuple(
            FlowRow(
                str(one.id),
                texts(f"flows.{one.kind}", amount=money(one)),
                describe_rule(one, formats, texts),
            )
            for one in plan.flows
        ),
        coming=tuple(
            texts(
                "flows.coming_line",
                day=formats.day(one.due),
                what=texts(f"flows.{one.kind}", amount=money(one)),
            )
            for one in plan.coming
        ),
    )


def describe_rule(one: PlannedFlow, formats: Formats, texts: Texts) -> str:
    """Return the rule of a flow, in words."""
    day = texts(f"flows.weekday_{one.day}") if one.every == "week" else str(one.day)
    rule = texts(f"flows.rule_{one.every}", day=day)
    since = texts("flows.since", day=formats.day(one.first))
    if one.last is None:
        return f"{rule}, {since}"
    return f"{rule}, {since}, {texts('flows.until', day=formats.day(one.last))}"


def read_flow(
    kind: str, amount: str, every: str, day: str, note: str, formats: Formats, texts: Texts
) -> tuple[FlowRequest | None, dict[str, str]]:
    """Return the flow that was typed, or what is wrong by field."""
    wrong = {}
    number = read_number(amount, formats)
    if number is None or number <= 0:
        wrong["amount"] = texts("money.amount_wrong")
    most = 7 if every == "week" else 31
    typed = day.strip()
    chosen = int(typed) if typed.isdecimal() and len(typed) < 3 else None
    if typed and (chosen is None or not 1 <= chosen <= most):
        wrong["day"] = texts("flows.day_wrong", most=most)
    if wrong or number is None:
        return None, wrong
    return FlowRequest(kind, number, every, chosen, note=note.strip()), {}


def _due(one: OpenFlow, amount: str, formats: Formats, texts: Texts) -> DueRow:
    match = one.matches[0] if one.matches else None
    matched = "" if match is None else texts("flows.matched", day=formats.day(match.on))
    return DueRow(
        str(one.flow_id),
        one.scheduled.isoformat(),
        texts(f"flows.{one.kind}", amount=amount),
        " · ".join(
            part for part in (texts("flows.due_on", day=formats.day(one.due)), one.note) if part
        ),
        None if match is None else match.id,
        matched,
    )
