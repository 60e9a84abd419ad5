"""`/api/rebalance`: what to trade now, what it costs, why, and why not; and then doing it."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Response, Router, get, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.rebalance import (
    AcceptProposal,
    Mode,
    ProposalRequest,
    ProposeForPortfolio,
    ReadProposals,
    RejectProposal,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.rules import policy
from rebalancer.domain.portfolio.costs import cost_model
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.parameters import Cursor, Key, Limit, replay_headers
from rebalancer.entrypoints.schemas.proposal import (
    AcceptBody,
    PredictBody,
    ProposalView,
    RejectBody,
    proposal_view,
    worksheet_text,
)
from rebalancer.entrypoints.schemas.wire import (
    Page,
)

_ON_PAPER, _NO_REMARK = AcceptBody(), RejectBody()


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


rebalance = Router(
    "/rebalance",
    route_handlers=[predict, list_proposals, read_proposal, accept, reject, worksheet],
    dependencies=OWNER,
    security=[{BEARER: []}],
    tags=["rebalance"],
)
