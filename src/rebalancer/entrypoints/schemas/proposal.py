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
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.rebalancing.group_outcomes import GroupState
from rebalancer.domain.rebalancing.lifecycle import ProposalOrigin, Stage
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
    from rebalancer.domain.rebalancing.conversions import ConversionOrder
    from rebalancer.domain.rebalancing.lifecycle import ProposalRecord as StoredProposal
    from rebalancer.domain.rebalancing.live_prices import LivePrices
    from rebalancer.domain.rebalancing.model import Order, Proposal

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
    prices: Annotated[
        Literal["close", "live"],
        about("At which prices: the last closes, or live quotes, without `as_of`."),
    ] = "close"
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
            description="paper: executed at once at the prices of the proposal, with its "
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


class _OrderFields(View, frozen=True, kw_only=True):
    symbol: str
    side: str
    quantity: str
    price: Annotated[str, about("In the order's currency.")]
    value: Annotated[str, about("In the base currency.")]
    cost: Annotated[str, about("In the base currency, without conversions.")]
    reason: str
    reason_code: ReasonCode | None


class OrderView(_OrderFields, frozen=True, kw_only=True):
    """One trade to make."""

    currency: Annotated[str, about("ISO 4217 code of the asset's currency.")]
    amount: Annotated[DecimalText, about("Quantity times price, in the order's currency.")]
    cost_amount: Annotated[DecimalText, about("The cost in the order's currency.")]
    gain: Annotated[
        DecimalText | None,
        about(
            "What the sale would gain or lose, in the base currency, after its cost; null for "
            "purchases, and if it is unknown. See docs/gains.md."
        ),
    ]
    long_term_gain: Annotated[
        DecimalText | None,
        about("Part of the gain on units held for more than a year; null if it is unknown."),
    ]
    lot_method: Annotated[
        LotMethod | None, about("Method of the gain; null for purchases and without a gain.")
    ]


class OrderRecord(_OrderFields, frozen=True, kw_only=True):
    """One trade to make, in a file; without currency where all is in the base currency."""

    currency: str | UnsetType = UNSET
    amount: str | UnsetType = UNSET
    cost_amount: str | UnsetType = UNSET


class SaleGainView(View, frozen=True, kw_only=True):
    """What a sale would realise, in the base currency; null where it is unknown."""

    symbol: str
    method: LotMethod
    proceeds: DecimalText | None
    cost: DecimalText | None
    gain: DecimalText | None
    long_term: DecimalText | None


class ConversionView(View, frozen=True, kw_only=True):
    """A conversion of money that the orders need."""

    from_currency: str
    to_currency: str
    from_amount: Annotated[DecimalText, about("Money given, with the spread.")]
    to_amount: Annotated[DecimalText, about("Money received, after the spread.")]
    rate: Annotated[
        DecimalText, about("Units of to_currency per unit of from_currency, before the spread.")
    ]
    cost: Annotated[DecimalText, about("The spread, in the base currency.")]
    automatic: Annotated[
        bool, about("Whether the broker converts with the orders; otherwise you have to.")
    ]


class NotTradedView(View, frozen=True, kw_only=True):
    """An asset that is not traded, and why."""

    symbol: str
    reason: str
    reason_code: ReasonCode | None


class GroupOutcomeView(View, frozen=True, kw_only=True):
    """A group of the targets before and after the orders; weights are of the portfolio's value."""

    name: str
    path: Annotated[list[str], about("Names of the groups around it, then its own.")]
    asset_class: str | None
    weight_before: Annotated[float, about("Funds of several classes count by their shares.")]
    target: float
    weight_after: float
    drift_points: Annotated[float, about("Weight before minus target, in percentage points.")]
    state: GroupState
    reason: Annotated[str, about("The state, and the cheapest way to move the group.")]
    targets: Annotated[dict[str, float], about("Weights that follow for its assets.")]
    band: float | None
    min_weight: float | None
    max_weight: float | None
    cheapest: Annotated[
        str | None, about("Asset whose trade moves the group at the least cost; null at target.")
    ]
    cheapest_cost: Annotated[float | None, about("Its cost as a share of the move.")]
    missing_points: Annotated[
        float, about("Percentage points by which the target of a class cannot be met.")
    ]


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
    cash_by_currency: dict[str, DecimalText]
    cash_flow: Annotated[DecimalText, about("Planned cash flow plus uninvested deposits.")]
    planned: DecimalText
    holdings: dict[str, DecimalText]
    targets: dict[str, float]
    risk_profile: str | None
    prices: Annotated[dict[str, DecimalText], about("As traded, in each asset's currency.")]
    currencies: Annotated[
        dict[str, str], about("Currency of each asset that is not in the base currency.")
    ]
    rates: Annotated[
        dict[str, DecimalText], about("Units of the base currency per unit of each other one.")
    ]
    conversions: str
    market: Annotated[str, about("SHA-256 of all prices that the policy used.")]
    newest: Annotated[date, about("Day of the last known close of any of its assets.")]
    costs: str


class UsedQuoteView(View, frozen=True, kw_only=True):
    """A quote at which a proposal values and trades an asset."""

    symbol: str
    price: Annotated[DecimalText, about("Price of the last trade.")]
    currency: str
    traded: Annotated[datetime, about("Time of the trade.")]
    source: str
    bid: DecimalText | None
    ask: DecimalText | None
    age_seconds: Annotated[float, about("Age of the trade when the proposal was made.")]


class LivePricesView(View, frozen=True, kw_only=True):
    """Quotes of a proposal at live prices."""

    at: Annotated[datetime, about("When they were read.")]
    quotes: list[UsedQuoteView]
    closed: Annotated[
        list[str], about("Assets whose market is closed, so that their last close counts.")
    ]


def live_view(live: LivePrices | None) -> LivePricesView | None:
    """Show the quotes of a proposal; None at closes."""
    if live is None:
        return None
    return LivePricesView.of(
        {
            "at": live.at,
            "quotes": [
                UsedQuoteView.of(
                    attrs.asdict(one, recurse=False)
                    | {"age_seconds": one.age(live.at).total_seconds()}
                )
                for one in live.quotes
            ],
            "closed": list(live.closed),
        }
    )


def live_record(live: LivePrices | None) -> dict[str, Any]:
    """Write the quotes of a proposal as JSON values; empty at closes."""
    if live is None:
        return {}
    return {"prices": "live", "live": msgspec.to_builtins(live_view(live), enc_hook=str)}


class ProposalView(View, frozen=True, kw_only=True):
    """A proposal and its current stage."""

    id: UUID
    portfolio_id: UUID
    actor: Annotated[
        UUID | None,
        about(
            "User who requested it: the owner, or an adviser; null for a batch run or an automatic "
            "one."
        ),
    ]
    origin: Annotated[
        ProposalOrigin | None,
        about("Why it was made automatically; null: it was requested, or is of a batch run."),
    ]
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
    as_of: Annotated[date, about("Day of the closes, or of the quotes.")]
    prices: Literal["close", "live"]
    live: Annotated[LivePricesView | None, about("The quotes; null for a proposal at closes.")]
    currency: Annotated[str, about("Base currency.")]
    orders: list[OrderView]
    conversions: Annotated[list[ConversionView], about("Conversions that the orders need.")]
    fills: Annotated[list[FillView], about("Each order of a proposal that was accepted.")]
    not_traded: list[NotTradedView]
    weights_before: dict[str, float]
    weights_after: dict[str, float]
    cash_after: Annotated[DecimalText, about("In the base currency.")]
    cash_after_by_currency: dict[str, DecimalText]
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
    groups: Annotated[
        list[GroupOutcomeView], about("Groups of the targets, each before those inside.")
    ]
    input_hash: str
    seen: SeenView
    others: list[OtherView]
    disclaimer: str


class SketchView(View, frozen=True, kw_only=True):
    """A proposal that was computed for a look ahead, and is not stored."""

    status: str
    as_of: date
    policy: str
    orders: list[OrderView]
    conversions: list[ConversionView]
    not_traded: list[NotTradedView]
    weights_before: dict[str, float]
    weights_after: dict[str, float]
    cash_after: DecimalText
    turnover: Annotated[float | None, about("One-way, as a fraction of value.")]
    cost: DecimalText
    notes: list[str]
    groups: list[GroupOutcomeView]
    input_hash: Annotated[str, about("Equal for equal inputs, also of a stored proposal.")]


def sketch_view(proposal: Proposal, currency: str) -> SketchView:
    """Show a proposal in a base currency that is not stored."""
    return SketchView(
        status=proposal.status.value,
        as_of=proposal.as_of,
        policy=proposal.policy,
        orders=_order_views(proposal, currency),
        conversions=conversion_views(proposal),
        not_traded=[NotTradedView.of(one) for one in proposal.not_traded],
        weights_before=proposal.weights_before,
        weights_after=proposal.weights_after,
        cash_after=_text(proposal.cash_after),
        turnover=proposal.turnover,
        cost=_text(proposal.cost),
        notes=list(proposal.notes),
        groups=group_views(proposal),
        input_hash=proposal.input_hash,
    )


class ProposalRecord(View, frozen=True, kw_only=True):
    """One result in a file, or of a command: a proposal, or the error."""

    line: int | UnsetType = UNSET
    portfolio_id: str | None
    status: str
    as_of: date
    policy: str
    orders: list[OrderRecord] = field(default_factory=list)
    conversions: list[ConversionView] | UnsetType = UNSET
    not_traded: list[NotTradedView] = field(default_factory=list)
    weights_before: dict[str, float] = field(default_factory=dict)
    weights_after: dict[str, float] = field(default_factory=dict)
    cash_after: str | None = None
    cash_after_by_currency: dict[str, DecimalText] | UnsetType = UNSET
    turnover: float | None = None
    cost: str | None = None
    notes: list[str] = field(default_factory=list)
    sale_gains: Annotated[
        list[SaleGainView] | UnsetType,
        about("What each sale would realise, where the portfolio has lots."),
    ] = UNSET
    groups: list[GroupOutcomeView] | UnsetType = UNSET
    input_hash: str
    error: str | None = None


def proposal_record(
    proposal: Proposal, currency: str, line: int | UnsetType = UNSET
) -> ProposalRecord:
    """Write a proposal in a base currency as a record, with the line of the portfolio if any."""
    mixed = is_mixed(proposal)
    return ProposalRecord(
        line=line,
        portfolio_id=proposal.portfolio_id,
        status=proposal.status.value,
        as_of=proposal.as_of,
        policy=proposal.policy,
        orders=[_order_record(order) for order in proposal.orders],
        conversions=conversion_views(proposal) if mixed else UNSET,
        not_traded=[NotTradedView.of(one) for one in proposal.not_traded],
        weights_before=proposal.weights_before,
        weights_after=proposal.weights_after,
        cash_after=format_decimal(proposal.cash_after),
        cash_after_by_currency=(
            {code: _text(amount) for code, amount in _cash_after(proposal, currency).items()}
            if mixed
            else UNSET
        ),
        turnover=proposal.turnover,
        cost=format_decimal(proposal.cost),
        notes=list(proposal.notes),
        sale_gains=[SaleGainView.of(one) for one in proposal.sale_gains] or UNSET,
        groups=group_views(proposal) if proposal.groups else UNSET,
        input_hash=proposal.input_hash,
    )


def is_mixed(proposal: Proposal) -> bool:
    """Return whether a proposal is for cash or assets in several currencies."""
    return bool(
        proposal.conversions
        or proposal.foreign_cash_after
        or any(order.currency is not None for order in proposal.orders)
    )


def conversion_views(proposal: Proposal) -> list[ConversionView]:
    """Show the conversions that the orders need."""
    return [ConversionView.of(one) for one in proposal.conversions]


def group_views(proposal: Proposal) -> list[GroupOutcomeView]:
    """Show the groups of the targets."""
    return [
        GroupOutcomeView.of(
            attrs.asdict(one, recurse=False)
            | {"path": list(one.path), "targets": dict(one.targets)}
        )
        for one in proposal.groups
    ]


def _cash_after(proposal: Proposal, currency: str) -> dict[str, Decimal]:
    return {currency: proposal.cash_after, **proposal.foreign_cash_after}


def comparison_record(comparison: ComparedProposal, currency: str) -> dict[str, Any]:
    """Write a proposal and what simple rules would trade as JSON values."""
    proposal = comparison.proposal
    risk = ("volatility_before", "volatility_after", "periods_per_year")
    figures = ("drift_before", "drift_after", *risk)
    record: dict[str, Any] = msgspec.to_builtins(proposal_record(proposal, currency), enc_hook=str)
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
    base = inputs.portfolio.currency.code
    seen["cash_by_currency"] = {base: inputs.portfolio.cash, **inputs.portfolio.foreign_cash}
    seen["conversions"] = inputs.portfolio.conversions.value
    seen["risk_profile"] = inputs.portfolio.risk_profile and inputs.portfolio.risk_profile.name
    return ProposalView.of(
        {
            **values,
            "currency": base,
            "prices": "close" if inputs.live is None else "live",
            "live": live_view(inputs.live),
            "orders": _order_views(proposal, base),
            "conversions": conversion_views(proposal),
            "cash_after_by_currency": _cash_after(proposal, base),
            "fills": _fill_views(current),
            "open_until": record.open_until,
            "stage": current.stage,
            "stale": current.stale,
            "notes": notes,
            "groups": group_views(proposal),
            "seen": SeenView.of(seen),
            "others": _other_views(others),
            "disclaimer": DISCLAIMER,
        }
    )


def describe_prices(record: StoredProposal) -> str:
    """Name the prices of a proposal: closes of a day, or quotes of a time."""
    live = record.inputs.live
    if live is None:
        return f"closes of {record.proposal.as_of}"
    return f"quotes of {live.at:%Y-%m-%d %H:%M} UTC"


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
    """Write the orders as CSV, below comments that start with #.

    Price, value and cost are in the currency of the row. With several currencies there are columns
    of value and cost in the base currency, and rows of the conversions that the owner makes: money
    given as quantity, and money received as value.
    """
    record = current.record
    proposal, inputs = record.proposal, record.inputs
    currency, mixed = inputs.portfolio.currency.code, is_mixed(proposal)
    text = io.StringIO()
    text.write(f"# Worksheet of proposal {record.id} for portfolio {record.portfolio_id}\r\n")
    text.write(f"# {proposal.policy}, {describe_prices(record)}, {inputs.costs}\r\n")
    text.write(f"# Stands: {current.stage}" + (f"; {current.stale}" if current.stale else ""))
    if inputs.planned:
        flow = "deposit" if inputs.planned > 0 else "withdrawal"
        amount = format_decimal(abs(inputs.planned))
        text.write(f"\r\n# Includes a {flow} of {amount} {currency}; record it as well")
    for one in proposal.conversions:
        if one.automatic:
            text.write(f"\r\n# The broker converts {describe_conversion(one)}")
    text.write(f"\r\n# {DISCLAIMER}\r\n")
    rows = csv.writer(text)
    columns = ["side", "symbol", "quantity", "reference_price", "value", "cost", "currency"]
    base_columns = [f"value_{currency}", f"cost_{currency}"] if mixed else []
    rows.writerow([*columns, *base_columns, "reason"])
    for one in proposal.conversions:
        if not one.automatic:
            amounts = (one.from_amount, one.rate, one.to_amount)
            rows.writerow(
                [
                    "convert",
                    f"{one.from_currency}{one.to_currency}",
                    *map(format_decimal, amounts),
                    "",
                    one.to_currency,
                    "",
                    format_decimal(one.cost),
                    f"Convert {describe_conversion(one)}.",
                ]
            )
    for order in _order_views(proposal, currency):
        paid = (order.quantity, order.price, order.amount, order.cost_amount, order.currency)
        base = (order.value, order.cost) if mixed else ()
        rows.writerow([order.side, order.symbol, *paid, *base, order.reason])
    return text.getvalue()


def describe_conversion(one: ConversionOrder) -> str:
    """Write a conversion, such as "100.20 EUR to 108.50 USD"."""
    given, received = format_decimal(one.from_amount), format_decimal(one.to_amount)
    return f"{given} {one.from_currency} to {received} {one.to_currency}"


def _order_views(proposal: Proposal, currency: str) -> list[OrderView]:
    views = []
    gains = {one.symbol: one for one in proposal.sale_gains}
    for order in proposal.orders:
        fields = msgspec.structs.asdict(_order_record(order))
        sold = gains.get(order.symbol)
        fields["gain"] = None if sold is None or sold.gain is None else _text(sold.gain)
        long_term = None if sold is None else sold.long_term
        fields["long_term_gain"] = None if long_term is None else _text(long_term)
        fields["lot_method"] = None if sold is None else sold.method
        fields["currency"] = order.currency or currency
        fields["amount"] = _text(order.value if order.amount is None else order.amount)
        paid = order.cost if order.cost_amount is None else order.cost_amount
        views.append(OrderView(**fields | {"cost_amount": _text(paid)}))
    return views


def _order_record(order: Order) -> OrderRecord:
    # Field by field, which takes half the time of a conversion: batches write many orders.
    record = OrderRecord(
        symbol=order.symbol,
        side=str(order.side),
        quantity=format_decimal(order.quantity),
        price=format_decimal(order.price),
        value=format_decimal(order.value),
        cost=format_decimal(order.cost),
        reason=order.reason,
        reason_code=order.reason_code,
    )
    if order.currency is None or order.amount is None or order.cost_amount is None:
        return record
    return msgspec.structs.replace(
        record,
        currency=order.currency,
        amount=format_decimal(order.amount),
        cost_amount=format_decimal(order.cost_amount),
    )


def _text(amount: Decimal) -> DecimalText:
    return DecimalText(format_decimal(amount))


def _other_views(others: Sequence[Proposal]) -> list[OtherView]:
    return [
        OtherView.of({**attrs.asdict(one, recurse=False), "orders": len(one.orders)})
        for one in others
    ]
