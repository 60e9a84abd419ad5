"""`/api/portfolios/{id}/flows`: planned deposits and withdrawals, and their due dates."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import attrs
from dishka.integrations.litestar import FromDishka
from litestar import Response, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from rebalancer.application.planned_flows import (
    ConfirmFlow,
    ReadPlan,
    RevisePlan,
    SkipFlow,
    put_flow,
    remove_flow,
)
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.planned_flows import FlowPlan
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.etags import IfMatch, IfNoneMatch, accepted_versions, etag
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY, Key, replay_headers
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.ledger import entry_view
from rebalancer.entrypoints.schemas.planned_flows import (
    ConfirmationBody,
    ConfirmedFlowView,
    DueDateBody,
    PlannedFlowBody,
    PlannedFlowView,
    PlanTermsBody,
    PlanTermsView,
    PlanView,
    SkippedFlowView,
    decision_view,
    plan_view,
    planned_flow_view,
)
from rebalancer.entrypoints.schemas.portfolio import portfolio_view

_TWICE = {WITHOUT_KEY: "doing it twice is the same as once"}


@get("/{portfolio_id:uuid}/flows", summary="List planned flows")
async def list_planned_flows(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadPlan],
    clock: FromDishka[Clock],
    days: Annotated[
        int, QueryParameter(ge=0, le=366, description="Days ahead for which dates are listed.")
    ] = 90,
) -> PlanView:
    """List planned deposits and withdrawals, the dates that are due, and those to come.

    A date that is due waits until it is confirmed or skipped. Entries that may be its payment,
    such as imported ones, are listed with it.
    """
    status = await run_in(READS, use, portfolio_id, actor=owner, now=clock(), days=days)
    return plan_view(status)


@post(
    "/{portfolio_id:uuid}/flows",
    summary="Plan a flow",
    responses=problem_responses(409, 412, 422),
)
async def plan_flow(
    portfolio_id: FromPath[UUID],
    data: JSONBody[PlannedFlowBody],
    owner: Owner,
    use: FromDishka[RevisePlan],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[PlannedFlowView]:
    """Plan a deposit or withdrawal that recurs. It books nothing until a date is confirmed."""
    id, now = ids(), clock()
    flow = data.flow(id, now.date())
    valued, made, replayed = await run_in(
        WRITES,
        use,
        put_flow(flow),
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        request=("add", *attrs.astuple(flow)[1:6], flow.last, flow.currency, flow.note),
        key=key,
        id=id,
        now=now,
    )
    portfolio = valued.portfolio
    known = portfolio.plan.find(made) or flow
    headers = replay_headers(replayed) | {"ETag": etag(valued)}
    headers["Location"] = f"/api/portfolios/{portfolio_id}/flows"
    return Response(planned_flow_view(known, portfolio.mandate.currency), headers=headers)


@put(
    "/{portfolio_id:uuid}/flows/{flow_id:uuid}",
    summary="Change a planned flow",
    opt=_TWICE,
    responses=problem_responses(412, 422),
)
async def change_planned_flow(
    portfolio_id: FromPath[UUID],
    flow_id: FromPath[UUID],
    data: JSONBody[PlannedFlowBody],
    owner: Owner,
    use: FromDishka[RevisePlan],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[PlannedFlowView]:
    """Replace a planned flow. Another schedule counts from today; entries stay as they are."""
    now = clock()
    flow = data.flow(flow_id, now.date())
    add = put_flow(flow)

    def change(portfolio: ManagedPortfolio) -> FlowPlan:
        remove_flow(flow_id)(portfolio)  # which raises if there is no such flow
        return add(portfolio)

    valued, _, _ = await run_in(
        WRITES,
        use,
        change,
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        id=flow_id,
        now=now,
    )
    portfolio = valued.portfolio
    known = portfolio.plan.find(flow_id) or flow
    view = planned_flow_view(known, portfolio.mandate.currency)
    return Response(view, headers={"ETag": etag(valued)})


@delete(
    "/{portfolio_id:uuid}/flows/{flow_id:uuid}",
    summary="Remove a planned flow",
    opt=_TWICE,
    responses=problem_responses(412),
)
async def remove_planned_flow(
    portfolio_id: FromPath[UUID],
    flow_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[RevisePlan],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """Remove a planned flow with its open dates. Entries that it booked stay."""
    await run_in(
        WRITES,
        use,
        remove_flow(flow_id),
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        id=flow_id,
        now=clock(),
    )


@patch(
    "/{portfolio_id:uuid}/flows",
    summary="Choose how planned flows count",
    opt=_TWICE,
    responses=problem_responses(412, 422),
)
async def change_plan_terms(
    portfolio_id: FromPath[UUID],
    data: JSONBody[PlanTermsBody],
    owner: Owner,
    use: FromDishka[RevisePlan],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[PlanTermsView]:
    """Choose the horizon of proposals, and whether due flows are booked by themselves."""

    def change(portfolio: ManagedPortfolio) -> FlowPlan:
        plan = portfolio.plan
        return attrs.evolve(
            plan,
            horizon=plan.horizon if data.horizon is None else data.horizon,
            automatic=plan.automatic if data.automatic is None else data.automatic,
        )

    valued, _, _ = await run_in(
        WRITES,
        use,
        change,
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        id=portfolio_id,
        now=clock(),
    )
    plan = valued.portfolio.plan
    view = PlanTermsView(horizon=plan.horizon, automatic=plan.automatic)
    return Response(view, headers={"ETag": etag(valued)})


@post(
    "/{portfolio_id:uuid}/flows/{flow_id:uuid}/confirm",
    summary="Confirm a due flow",
    status_code=200,
    responses=problem_responses(409, 412, 422),
)
async def confirm_flow(
    portfolio_id: FromPath[UUID],
    flow_id: FromPath[UUID],
    data: JSONBody[ConfirmationBody],
    owner: Owner,
    use: FromDishka[ConfirmFlow],
    clock: FromDishka[Clock],
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[ConfirmedFlowView]:
    """Book a date of a planned flow in the ledger, or name the entry that is its payment.

    The same date is booked once: a repeated request changes nothing, with or without a key. If an
    entry may be the payment already, the request is refused until it names that entry, or states
    that it is another one.
    """
    entry, decision, valued, repeated = await run_in(
        WRITES,
        use,
        data.confirmation(),
        flow_id=flow_id,
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        key=key,
        now=clock(),
    )
    view = ConfirmedFlowView(
        decision=decision_view(decision),
        entry=entry_view(entry, base=valued.portfolio.mandate.currency),
        portfolio=portfolio_view(valued),
    )
    return Response(view, headers=replay_headers(repeated) | {"ETag": etag(valued)})


@post(
    "/{portfolio_id:uuid}/flows/{flow_id:uuid}/skip",
    summary="Skip a due flow",
    status_code=200,
    responses=problem_responses(409, 412, 422),
)
async def skip_flow(
    portfolio_id: FromPath[UUID],
    flow_id: FromPath[UUID],
    data: JSONBody[DueDateBody],
    owner: Owner,
    use: FromDishka[SkipFlow],
    clock: FromDishka[Clock],
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[SkippedFlowView]:
    """Decide that a date of a planned flow is not paid. It can still be confirmed afterwards."""
    decision, valued, repeated = await run_in(
        WRITES,
        use,
        data.scheduled,
        flow_id=flow_id,
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        key=key,
        now=clock(),
    )
    view = SkippedFlowView(decision=decision_view(decision), portfolio=portfolio_view(valued))
    return Response(view, headers=replay_headers(repeated) | {"ETag": etag(valued)})


router = owner_router(
    "/portfolios",
    [
        list_planned_flows,
        plan_flow,
        change_planned_flow,
        remove_planned_flow,
        change_plan_terms,
        confirm_flow,
        skip_flow,
    ],
    tag="portfolios",
)
