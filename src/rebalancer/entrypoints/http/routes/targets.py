"""`/api/portfolios/{id}/targets`: what the targets mean at the last close."""

from __future__ import annotations

from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.params import FromPath

from rebalancer.application.target_groups import ReadTargets
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.targets import TargetsView, targets_view


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


router = owner_router("/portfolios", [read_targets], tag="portfolios")
