"""A proposal, in requests, responses, files of results and worksheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import attrs
import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from rebalancer.domain.portfolio.costs import CostModel, cost_model
from rebalancer.domain.rebalancing.lifecycle import Stage
from rebalancer.domain.rebalancing.model import ReasonCode
from rebalancer.entrypoints.schemas import examples
from rebalancer.entrypoints.schemas.parameters import CostBps, CostPreset, FxSpread, PolicyName
from rebalancer.entrypoints.schemas.wire import (
    Amount,
    Body,
    DecimalText,
    Line,
    View,
    about,
    documented_default,
    format_decimal,
)

if TYPE_CHECKING:
    from rebalancer.application.rebalance import ComparedProposal, ProposalStatus
    from rebalancer.domain.rebalancing.model import Proposal

_NONE = Decimal(0)

DISCLAIMER = (
    "Computed from rules, prices and your own information; this is not personal advice. You "
    "decide and are responsible for the outcome."
)


class PredictBody(Body, frozen=True, kw_only=True):
    """A request for a proposal."""

    portfolio_id: Annotated[UUID, Meta(examples=[str(examples.PORTFOLIO)])]
    policy: PolicyName = "band"
    cash_flow: Annotated[
        Amount,
        about(
            "A planned deposit, or withdrawal (-); it is recorded when the proposal is accepted."
        ),
        documented_default("0"),
    ] = field(default_factory=Amount)
    as_of: Annotated[date | None, about("The day of the decision; default: the last close.")] = None
    cost_bps: CostBps = None
    costs: CostPreset = None
    fx_spread_bps: FxSpread = None
    compare: Annotated[bool, about("Also show what simple rules would trade.")] = False

    def cost_model(self) -> CostModel:
        """Return the cost model that is asked for."""
        bps, fx = (
            None if each is None else float(each) for each in (self.cost_bps, self.fx_spread_bps)
        )
        return cost_model(bps, self.costs, fx)


class AcceptBody(Body, frozen=True, kw_only=True):
    """How the orders are executed."""

    mode: Annotated[
        Literal["paper", "worksheet"],
        Meta(
            description="paper: executed at once at the closes of the proposal's day, with its "
            "costs. worksheet: you trade elsewhere and record the trades afterwards.",
            examples=["paper"],
        ),
    ] = "paper"


class CancelBody(Body, frozen=True, kw_only=True):
    """Why the open orders of a proposal are cancelled."""

    remark: Annotated[Line, Meta(examples=["The rest did not trade."])] = ""


class RejectBody(Body, frozen=True, kw_only=True):
    """Why a proposal is rejected."""

    remark: Annotated[Line, Meta(examples=["Not before the next pay day."])] = ""


class OrderView(View, frozen=True, kw_only=True):
    """One trade to make."""

    symbol: str
    side: str
    quantity: str
    price: str
    value: str
    cost: str
    reason: str
    reason_code: ReasonCode | None


class NotTradedView(View, frozen=True, kw_only=True):
    """An asset that is not traded, and why."""

    symbol: str
    reason: str
    reason_code: ReasonCode | None


class OtherView(View, frozen=True, kw_only=True):
    """What a simple rule would trade."""

    policy: str
    status: str
    orders: int
    turnover: float
    cost: DecimalText
    drift_after: float


class FillView(View, frozen=True, kw_only=True):
    """How much of an order is filled."""

    symbol: str
    side: str
    ordered: DecimalText
    filled: DecimalText
    open: Annotated[DecimalText, about("0 if it is filled, or no longer waits for trades.")]


class SeenView(View, frozen=True, kw_only=True):
    """Inputs of a proposal."""

    version: int
    cash: DecimalText
    cash_flow: Annotated[DecimalText, about("Planned cash flow plus uninvested deposits.")]
    planned: DecimalText
    holdings: dict[str, DecimalText]
    targets: dict[str, float]
    risk_profile: str | None
    prices: dict[str, DecimalText]
    market: Annotated[str, about("SHA-256 of all prices that the policy used.")]
    newest: Annotated[date, about("Day of the last known close.")]
    costs: str


class ProposalView(View, frozen=True, kw_only=True):
    """A proposal and its current stage."""

    id: UUID
    portfolio_id: UUID
    stage: Stage
    stale: Annotated[
        str | None, about("Why it can no longer be accepted; null while it can be accepted.")
    ]
    proposed: datetime
    expires: datetime
    decided: datetime | None
    executed: datetime | None
    cancelled: datetime | None
    open_until: Annotated[
        datetime | None, about("Until when an accepted proposal takes trades; then it expires.")
    ]
    remark: str
    policy: str
    as_of: date
    orders: list[OrderView]
    fills: Annotated[list[FillView], about("Each order of a proposal that was accepted.")]
    not_traded: list[NotTradedView]
    weights_before: dict[str, float]
    weights_after: dict[str, float]
    cash_after: DecimalText
    turnover: float
    cost: DecimalText
    drift_before: float
    drift_after: float
    volatility_before: float | None
    volatility_after: float | None
    periods_per_year: Annotated[
        float | None, about("Closes that count as a year in the volatility.")
    ]
    notes: list[str]
    input_hash: str
    seen: SeenView
    others: list[OtherView]
    disclaimer: str


class ProposalRecord(View, frozen=True, kw_only=True):
    """One result in a file, or of a command: a proposal, or the error."""

    line: int | UnsetType = UNSET
    portfolio_id: str | None
    status: str
    as_of: date
    policy: str
    orders: list[OrderView] = field(default_factory=list)
    not_traded: list[NotTradedView] = field(default_factory=list)
    weights_before: dict[str, float] = field(default_factory=dict)
    weights_after: dict[str, float] = field(default_factory=dict)
    cash_after: str | None = None
    turnover: float | None = None
    cost: str | None = None
    notes: list[str] = field(default_factory=list)
    input_hash: str
    error: str | None = None


def proposal_record(proposal: Proposal, line: int | UnsetType = UNSET) -> ProposalRecord:
    """Write a proposal as a record, with the line of the portfolio if it has one."""
    return ProposalRecord(
        line=line,
        portfolio_id=proposal.portfolio_id,
        status=proposal.status.value,
        as_of=proposal.as_of,
        policy=proposal.policy,
        orders=_order_views(proposal),
        not_traded=[NotTradedView.of(one) for one in proposal.not_traded],
        weights_before=proposal.weights_before,
        weights_after=proposal.weights_after,
        cash_after=format_decimal(proposal.cash_after),
        turnover=proposal.turnover,
        cost=format_decimal(proposal.cost),
        notes=list(proposal.notes),
        input_hash=proposal.input_hash,
    )


def comparison_record(comparison: ComparedProposal) -> dict[str, Any]:
    """Write a proposal and what simple rules would trade as JSON values."""
    proposal = comparison.proposal
    risk = ("volatility_before", "volatility_after", "periods_per_year")
    figures = ("drift_before", "drift_after", *risk)
    record: dict[str, Any] = msgspec.to_builtins(proposal_record(proposal), enc_hook=str)
    return {
        **record,
        **{name: getattr(proposal, name) for name in figures},
        "others": msgspec.to_builtins(_other_views(comparison.others), enc_hook=str),
    }


def proposal_view(current: ProposalStatus, others: Sequence[Proposal] = ()) -> ProposalView:
    """Show a proposal to the owner of its portfolio."""
    record, proposal, inputs = current.record, current.record.proposal, current.record.inputs
    notes = list(proposal.notes)
    if proposal.as_of < inputs.newest:
        notes.append(
            f"This proposal uses the closes of {proposal.as_of}, but closes until {inputs.newest} "
            "are known. It can be executed on paper only."
        )
    values = attrs.asdict(proposal, recurse=False) | attrs.asdict(record, recurse=False)
    seen = attrs.asdict(inputs.portfolio, recurse=False) | attrs.asdict(inputs, recurse=False)
    seen["risk_profile"] = inputs.portfolio.risk_profile and inputs.portfolio.risk_profile.name
    return ProposalView.of(
        {
            **values,
            "orders": _order_views(proposal),
            "fills": _fill_views(current),
            "open_until": record.open_until,
            "stage": current.stage,
            "stale": current.stale,
            "notes": notes,
            "seen": SeenView.of(seen),
            "others": _other_views(others),
            "disclaimer": DISCLAIMER,
        }
    )


def _fill_views(current: ProposalStatus) -> list[FillView]:
    record = current.record
    if record.stage not in (Stage.ACCEPTED, Stage.EXECUTED, Stage.CANCELLED):
        return []
    waits = current.stage is Stage.ACCEPTED
    still = record.open_quantities(current.filled) if waits else {}
    return [
        FillView.of(
            {
                "symbol": order.symbol,
                "side": order.side.value,
                "ordered": order.quantity,
                "filled": current.filled.get(order.symbol, _NONE),
                "open": still.get(order.symbol, _NONE),
            }
        )
        for order in record.proposal.orders
    ]


def worksheet_text(current: ProposalStatus) -> str:
    """Write the orders as CSV, below comments that start with #."""
    record = current.record
    proposal, inputs = record.proposal, record.inputs
    currency = inputs.portfolio.currency
    text = io.StringIO()
    text.write(f"# Worksheet of proposal {record.id} for portfolio {record.portfolio_id}\r\n")
    text.write(f"# {proposal.policy}, closes of {proposal.as_of}, {inputs.costs}\r\n")
    text.write(f"# Stands: {current.stage}" + (f"; {current.stale}" if current.stale else ""))
    if inputs.planned:
        flow = "deposit" if inputs.planned > 0 else "withdrawal"
        amount = format_decimal(abs(inputs.planned))
        text.write(f"\r\n# Includes a {flow} of {amount} {currency}; record it as well")
    text.write(f"\r\n# {DISCLAIMER}\r\n")
    rows = csv.writer(text)
    rows.writerow(
        ["side", "symbol", "quantity", "reference_price", "value", "cost", "currency", "reason"]
    )
    for order in _order_views(proposal):
        amounts = (order.quantity, order.price, order.value, order.cost)
        rows.writerow([order.side, order.symbol, *amounts, currency.code, order.reason])
    return text.getvalue()


def _order_views(proposal: Proposal) -> list[OrderView]:
    # Field by field, which takes half the time of a conversion: batches write many orders.
    return [
        OrderView(
            symbol=order.symbol,
            side=order.side.value,
            quantity=format_decimal(order.quantity),
            price=format_decimal(order.price),
            value=format_decimal(order.value),
            cost=format_decimal(order.cost),
            reason=order.reason,
            reason_code=order.reason_code,
        )
        for order in proposal.orders
    ]


def _other_views(others: Sequence[Proposal]) -> list[OtherView]:
    return [
        OtherView.of({**attrs.asdict(one, recurse=False), "orders": len(one.orders)})
        for one in others
    ]
