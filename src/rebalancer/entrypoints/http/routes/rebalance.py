"""`/api/rebalance`: request, read, accept, cancel and reject proposals."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery, JSONBody

from rebalancer.application.decisions import AcceptProposal, CancelProposal, Mode, RejectProposal
from rebalancer.application.idempotency import repeat_if_running
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.rebalance import ProposalRequest, ProposeForPortfolio, ReadProposals
from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses, response_spec
from rebalancer.entrypoints.http.idempotency import Key, client_request, replay_headers
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.proposal import (
    AcceptBody,
    CancelBody,
    PredictBody,
    ProposalView,
    RejectBody,
    proposal_view,
    worksheet_text,
)
from rebalancer.entrypoints.schemas.wire import Page, paginate

_ON_PAPER, _NO_REMARK, _NO_REASON = AcceptBody(), RejectBody(), CancelBody()


@post("/predict", summary="Request a proposal", responses=problem_responses(404, 409, 422))
async def predict(
    data: JSONBody[PredictBody],
    request: Request[Any, Any, Any],
    owner: Owner,
    state: State,
    use: FromDishka[ProposeForPortfolio],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
) -> Response[ProposalView]:
    """Compute and store a proposal: what to trade, what it costs, why, and why not.

    It can be accepted for 24 hours, unless the portfolio or the last close changes. With `prices`
    "live" it is made at quotes, and can be accepted for some minutes; see docs/live.md.
    """
    ask = ProposalRequest(
        data.portfolio_id,
        owner,
        data.policy,
        data.cost_model(),
        Decimal(data.cash_flow),
        data.as_of,
        data.compare,
        client_request(request, key, data),
        at_quotes=data.prices == "live",
        id=ids(),
        now=clock(),
    )
    try:
        answer = await state.batcher(use, ask)
    except Conflict as error:
        if error.code != "request_running":
            raise
        answer = await state.batcher(use, ask)  # the same request has ended by then
    return Response(
        proposal_view(answer.current, answer.others),
        headers=replay_headers(answer.replayed)
        | {"Location": f"/api/rebalance/{answer.current.record.id}"},
    )


@get("/", summary="List proposals", responses=problem_responses(404))
async def list_proposals(
    owner: Owner,
    use: FromDishka[ReadProposals],
    clock: FromDishka[Clock],
    portfolio_id: FromQuery[UUID | None] = None,
    limit: Limit = 20,
    before: Cursor = None,
) -> Page[ProposalView]:
    """List the proposals of all your portfolios or of one, latest first."""
    found = await run_in(
        READS,
        use.all,
        owner,
        portfolio_id=portfolio_id,
        before=before,
        limit=limit + 1,
        now=clock(),
    )
    return paginate(found, limit, show=proposal_view, cursor=lambda one: one.record.id)


@get("/{proposal_id:uuid}", summary="Get a proposal")
async def read_proposal(
    proposal_id: FromPath[UUID],
    owner: Owner,
    state: State,
    use: FromDishka[ReadProposals],
    clock: FromDishka[Clock],
) -> ProposalView:
    """Get a proposal and its current stage."""
    return proposal_view(await state.read_row(use, proposal_id, actor=owner, now=clock()))


@post(
    "/{proposal_id:uuid}/accept",
    status_code=200,
    summary="Accept a proposal",
    responses=problem_responses(409, 412),
)
async def accept(
    proposal_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[AcceptProposal],
    clock: FromDishka[Clock],
    data: JSONBody[AcceptBody] = _ON_PAPER,
    key: Key = None,
) -> Response[ProposalView]:
    """Accept a proposal. In paper mode its orders are executed and recorded at once.

    A worksheet stays open until its orders are filled, in parts or at once, or until it is
    cancelled, for at most 30 days.
    """
    current, replayed = await run_in(
        WRITES, use, proposal_id, owner=owner, mode=Mode(data.mode), key=key, now=clock()
    )
    return Response(proposal_view(current), headers=replay_headers(replayed))


@post(
    "/{proposal_id:uuid}/reject",
    status_code=200,
    summary="Reject a proposal",
    responses=problem_responses(409),
)
async def reject(
    proposal_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    owner: Owner,
    use: FromDishka[RejectProposal],
    clock: FromDishka[Clock],
    data: JSONBody[RejectBody] = _NO_REMARK,
    key: Key = None,
) -> Response[ProposalView]:
    """Reject a proposal; it can no longer be accepted."""
    current, replayed = await run_in(
        WRITES,
        repeat_if_running,
        use,
        proposal_id,
        actor=owner,
        remark=data.remark,
        request=client_request(request, key, data),
        now=clock(),
    )
    return Response(proposal_view(current), headers=replay_headers(replayed))


@post(
    "/{proposal_id:uuid}/cancel",
    status_code=200,
    summary="Cancel open orders",
    responses=problem_responses(409),
)
async def cancel(
    proposal_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    owner: Owner,
    use: FromDishka[CancelProposal],
    clock: FromDishka[Clock],
    data: JSONBody[CancelBody] = _NO_REASON,
    key: Key = None,
) -> Response[ProposalView]:
    """Cancel the orders of an accepted proposal that are not filled. Recorded trades stay."""
    current, replayed = await run_in(
        WRITES,
        repeat_if_running,
        use,
        proposal_id,
        owner=owner,
        remark=data.remark,
        request=client_request(request, key, data),
        now=clock(),
    )
    return Response(proposal_view(current), headers=replay_headers(replayed))


@get(
    "/{proposal_id:uuid}/worksheet",
    summary="Get a proposal as a worksheet",
    media_type="text/csv",
    responses={200: response_spec(str, description="The orders as CSV", media_type="text/csv")},
)
async def worksheet(
    proposal_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadProposals],
    clock: FromDishka[Clock],
) -> Response[str]:
    """Get the orders as CSV, to execute them elsewhere.

    Accept the proposal in the mode `worksheet`, trade, and record the trades with
    `POST /api/portfolios/{id}/transactions` and the id of the proposal.
    """
    current = await run_in(READS, use, proposal_id, actor=owner, now=clock())
    name = f"worksheet-{current.record.proposal.as_of}.csv"
    return Response(
        worksheet_text(current),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def is_quick(request: ProposalRequest) -> bool:
    """Return whether a proposal takes a few milliseconds, however many assets there are."""
    return not (request.compared or request.at_quotes) and _needs_one_close(request.policy_name)


@lru_cache(maxsize=256)
def _needs_one_close(policy_name: str) -> bool:
    try:
        return parse_rule(policy_name).lookback == 1
    except InvalidRequest:
        return False  # a learned policy, which needs a year of closes, or an unknown one


router = owner_router(
    "/rebalance",
    [predict, list_proposals, read_proposal, accept, reject, cancel, worksheet],
    tag="rebalance",
)
