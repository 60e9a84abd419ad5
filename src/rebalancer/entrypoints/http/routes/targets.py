"""`/api/portfolios/{id}/targets`: what the targets mean at the last close."""

from __future__ import annotations

from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import get, post
from litestar.params import FromPath, JSONBody

from rebalancer.application.target_groups import ReadTargets
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.bodies import LARGE_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.target_groups import look_through_of
from rebalancer.entrypoints.schemas.targets import GroupsPreviewBody, TargetsView, targets_view


@get(
    "/{portfolio_id:uuid}/targets",
    summary="Show groups and their drift",
    responses=problem_responses(422),
)
async def read_targets(
    portfolio_id: FromPath[UUID], owner: Owner, use: FromDishka[ReadTargets]
) -> TargetsView:
    """Show the weights that follow from the targets at the last close, and each group's drift."""
    return targets_view(await run_in(READS, use, portfolio_id, actor=owner))


@post(
    "/{portfolio_id:uuid}/targets",
    status_code=200,
    summary="Preview groups",
    responses=problem_responses(422),
    opt={WITHOUT_KEY: "nothing is stored"},
)
async def preview_targets(
    portfolio_id: FromPath[UUID],
    data: JSONBody[GroupsPreviewBody],
    owner: Owner,
    use: FromDishka[ReadTargets],
) -> TargetsView:
    """Show what other groups would mean for the portfolio at the last close; nothing is stored."""
    tree, splits = data.target_groups.tree(), look_through_of(data.look_through)
    return targets_view(await run_in(READS, use.preview, portfolio_id, tree, splits, actor=owner))


router = owner_router(
    "/portfolios", [read_targets, preview_targets], tag="portfolios", max_body=LARGE_BODY
)
