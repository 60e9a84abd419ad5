"""`/api/rebalance`: what to trade now, what it costs, why, and why not; and then doing it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Response, Router, get, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, field

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.rebalance import (
    AcceptProposal,
    Mode,
    ProposalRequest,
    ProposalStatus,
    ProposeForPortfolio,
    ReadProposals,
    RejectProposal,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.rules import policy
from rebalancer.domain.portfolio.costs import cost_model
from rebalancer.domain.rebalancing.lifecycle import ProposalInputs, Stage
from rebalancer.domain.rebalancing.model import Proposal
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.parameters import Cursor, Key, Limit, replay_headers
from rebalancer.entrypoints.schemas.parameters import CostBps, CostPreset, PolicyName
from rebalancer.entrypoints.schemas.proposal import DISCLAIMER, worksheet_text
from rebalancer.entrypoints.schemas.wire import (
    Amount,
    Body,
    Line,
    Page,
    View,
    format_decimal,
)


class PredictBody(Body, frozen=True, kw_only=True):
    """What is asked of a policy."""

    portfolio_id: Annotated[UUID, Meta(examples=["7f1c6f5e-3f0c-4c5e-9d0a-2b8f0c1d2e3f"])]
    policy: PolicyName = "band"
    cash_flow: Annotated[
        Amount,
        Meta(
            description="A deposit, or a withdrawal (-), planned with it: recorded when the "
            "proposal is accepted.",
            extra_json_schema={"default": "0"},
        ),
    ] = field(default_factory=Amount)
    as_of: Annotated[
        date | None, Meta(description="The day to decide on; left out, that of the last close.")
    ] = None
    cost_bps: CostBps = None
    costs: CostPreset = None
    compare: Annotated[bool, Meta(description="Say what simple rules would do, too.")] = False


class AcceptBody(Body, frozen=True, kw_only=True):
    """How the orders are to be carried out."""

    mode: Annotated[
        Literal["paper", "worksheet"],
        Meta(
            description="paper: here and now, at the closes of the proposal's day and with its "
            "costs. worksheet: elsewhere, by yourself; record the trades afterwards.",
            examples=["paper"],
        ),
    ] = "paper"


class RejectBody(Body, frozen=True, kw_only=True):
    """Why not."""

    remark: Annotated[Line, Meta(examples=["Not before the next pay day."])] = ""


_ON_PAPER, _NO_REMARK = AcceptBody(), RejectBody()


class OrderView(View, frozen=True, kw_only=True):
    """One trade to make."""

    symbol: str
    side: str
    quantity: str
    price: str
    value: str
    cost: str
    reason: str


class NotTradedView(View, frozen=True, kw_only=True):
    """An asset that is not traded, and why not."""

    symbol: str
    reason: str


class SeenView(View, frozen=True, kw_only=True):
    """What the proposal was made from."""

    version: int
    cash: str
    cash_flow: Annotated[str, Meta(description="Planned, and uninvested deposits.")]
    planned: str
    holdings: dict[str, str]
    targets: dict[str, float]
    risk_profile: str | None
    prices: dict[str, str]
    market: Annotated[str, Meta(description="SHA-256 of all prices that the policy saw.")]
    newest: Annotated[date, Meta(description="The last close that there was.")]
    costs: str


class OtherView(View, frozen=True, kw_only=True):
    """What a simple rule would do."""

    policy: str
    status: str
    orders: int
    turnover: float
    cost: str
    drift_after: float


class ProposalView(View, frozen=True, kw_only=True):
    """A proposal, and what became of it."""

    id: UUID
    portfolio_id: UUID
    stage: Stage
    stale: Annotated[
        str | None, Meta(description="Why it can no longer be accepted; null while it can.")
    ]
    proposed: datetime
    expires: datetime
    decided: datetime | None
    executed: datetime | None
    remark: str
    policy: str
    as_of: date
    orders: list[OrderView]
    not_traded: list[NotTradedView]
    weights_before: dict[str, float]
    weights_after: dict[str, float]
    cash_after: str
    turnover: float
    cost: str
    drift_before: float
    drift_after: float
    volatility_before: float | None
    volatility_after: float | None
    notes: list[str]
    input_hash: str
    seen: SeenView
    others: list[OtherView]
    disclaimer: str


@post(
    "/predict", summary="Ask for a proposal", responses=problem_responses(401, 404, 413, 415, 422)
)
@inject
async def predict(
    data: JSONBody[PredictBody],
    owner: Owner,
    state: State,
    use: FromDishka[ProposeForPortfolio],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> Response[ProposalView]:
    """Say what a portfolio should trade, what it costs, why, and why not; and keep the answer.

    It can be accepted for 24 hours, as long as neither the portfolio nor the last close changes.
    """
    ask = ProposalRequest(
        data.portfolio_id,
        owner,
        data.policy,
        cost_model(None if data.cost_bps is None else float(data.cost_bps), data.costs),
        Decimal(data.cash_flow),
        data.as_of,
        data.compare,
        id=ids(),
        now=clock(),
    )
    answer = await state.batcher(use, ask)
    return Response(
        proposal_view(answer.current, answer.others),
        headers={"Location": f"/api/rebalance/{answer.current.record.id}"},
    )


@get("/", summary="My proposals", responses=problem_responses(401, 404))
@inject
async def list_proposals(
    owner: Owner,
    use: FromDishka[ReadProposals],
    clock: FromDishka[Clock],
    portfolio_id: FromQuery[UUID | None] = None,
    limit: Limit = 20,
    before: Cursor = None,
) -> Page[ProposalView]:
    """Proposals for whoever asks, or for one portfolio, the latest first."""
    found = await sync_to_thread(
        use.all, owner, portfolio_id=portfolio_id, before=before, limit=limit + 1, now=clock()
    )
    following = str(found[limit - 1].record.id) if len(found) > limit else None
    return Page(items=[proposal_view(one) for one in found[:limit]], next=following)


@get("/{proposal_id:uuid}", summary="A proposal", responses=problem_responses(401, 404))
@inject
async def read_proposal(
    proposal_id: FromPath[UUID],
    owner: Owner,
    state: State,
    use: FromDishka[ReadProposals],
    clock: FromDishka[Clock],
) -> ProposalView:
    """A proposal, as it stands now."""
    return proposal_view(await state.read_row(use, proposal_id, owner=owner, now=clock()))


@post(
    "/{proposal_id:uuid}/accept",
    status_code=200,
    summary="Accept a proposal",
    responses=problem_responses(401, 404, 409, 412, 413, 415),
)
@inject
async def accept(
    proposal_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[AcceptProposal],
    clock: FromDishka[Clock],
    data: JSONBody[AcceptBody] = _ON_PAPER,
    key: Key = None,
) -> Response[ProposalView]:
    """Agree to a proposal: on paper it is executed at once, and stands in the ledger."""
    current, before = await sync_to_thread(
        use, proposal_id, owner=owner, mode=Mode(data.mode), key=key, now=clock()
    )
    return Response(proposal_view(current), headers=replay_headers(before))


@post(
    "/{proposal_id:uuid}/reject",
    status_code=200,
    summary="Reject a proposal",
    responses=problem_responses(401, 404, 409, 413, 415),
)
@inject
async def reject(
    proposal_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[RejectProposal],
    clock: FromDishka[Clock],
    data: JSONBody[RejectBody] = _NO_REMARK,
) -> ProposalView:
    """Decline a proposal."""
    current = await sync_to_thread(use, proposal_id, owner=owner, remark=data.remark, now=clock())
    return proposal_view(current)


@get(
    "/{proposal_id:uuid}/worksheet",
    summary="A proposal as a worksheet",
    media_type="text/csv",
    responses=problem_responses(401, 404)
    | {
        200: ResponseSpec(
            str, description="The orders as CSV", media_type="text/csv", generate_examples=False
        )
    },
)
@inject
async def worksheet(
    proposal_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadProposals],
    clock: FromDishka[Clock],
) -> Response[str]:
    """The orders as a CSV, to be carried out elsewhere.

    Accept the proposal with the mode `worksheet`, trade, and record what was traded with
    `POST /api/portfolios/{id}/transactions` and the proposal's id.
    """
    current = await sync_to_thread(use, proposal_id, owner=owner, now=clock())
    name = f"worksheet-{current.record.proposal.as_of}.csv"
    return Response(
        worksheet_text(current),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def brief(ask: ProposalRequest) -> bool:
    """Whether an ask is considered within a few milliseconds, whatever the universe."""
    return not ask.compared and _looks_at_no_prices(ask.policy_name)


@lru_cache(maxsize=256)
def _looks_at_no_prices(policy_name: str) -> bool:
    try:
        return policy(policy_name).lookback == 1
    except InvalidRequest:
        return False  # a learned policy, which looks at a year; or nobody


def proposal_view(current: ProposalStatus, others: tuple[Proposal, ...] = ()) -> ProposalView:
    """A proposal as its owner sees it."""
    record = current.record
    made = record.proposal
    notes = list(made.notes)
    if made.as_of < record.inputs.newest:
        notes.append(
            f"decided on the closes of {made.as_of}, though closes until {record.inputs.newest} "
            "were known: on paper one can try out the past, and only there"
        )
    return ProposalView(
        id=record.id,
        portfolio_id=record.portfolio_id,
        stage=current.stage,
        stale=current.stale,
        proposed=record.proposed,
        expires=record.expires,
        decided=record.decided,
        executed=record.executed,
        remark=record.remark,
        policy=made.policy,
        as_of=made.as_of,
        orders=[
            OrderView(
                symbol=order.symbol,
                side=order.side.value,
                quantity=format_decimal(order.quantity),
                price=format_decimal(order.price),
                value=format_decimal(order.value),
                cost=format_decimal(order.cost),
                reason=order.reason,
            )
            for order in made.orders
        ],
        not_traded=[NotTradedView(symbol=one.symbol, reason=one.reason) for one in made.not_traded],
        weights_before=made.weights_before,
        weights_after=made.weights_after,
        cash_after=format_decimal(made.cash_after),
        turnover=made.turnover,
        cost=format_decimal(made.cost),
        drift_before=made.drift_before,
        drift_after=made.drift_after,
        volatility_before=made.volatility_before,
        volatility_after=made.volatility_after,
        notes=notes,
        input_hash=made.input_hash,
        seen=_seen_view(record.inputs),
        others=[
            OtherView(
                policy=other.policy,
                status=other.status.value,
                orders=len(other.orders),
                turnover=other.turnover,
                cost=format_decimal(other.cost),
                drift_after=other.drift_after,
            )
            for other in others
        ],
        disclaimer=DISCLAIMER,
    )


def _seen_view(seen: ProposalInputs) -> SeenView:
    portfolio = seen.portfolio
    return SeenView(
        version=seen.version,
        cash=format_decimal(portfolio.cash),
        cash_flow=format_decimal(portfolio.cash_flow),
        planned=format_decimal(seen.planned),
        holdings={symbol: format_decimal(units) for symbol, units in portfolio.holdings.items()},
        targets=dict(portfolio.targets),
        risk_profile=portfolio.risk_profile.name if portfolio.risk_profile else None,
        prices={symbol: format_decimal(price) for symbol, price in seen.prices.items()},
        market=seen.market,
        newest=seen.newest,
        costs=seen.costs,
    )


rebalance = Router(
    "/rebalance",
    route_handlers=[predict, list_proposals, read_proposal, accept, reject, worksheet],
    dependencies=OWNER,
    security=[{BEARER: []}],
    tags=["rebalance"],
)
