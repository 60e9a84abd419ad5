"""`/api/portfolios/{id}/goals`: amounts that the owner wants to have by a day."""

from __future__ import annotations

from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import get, put
from litestar.params import FromPath, JSONBody

from rebalancer.application.goals import ReadGoals, SetGoals
from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.etags import IfMatch, IfNoneMatch, accepted_versions
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.goals import GoalsBody, GoalsView, goals_view


@get("/{portfolio_id:uuid}/goals", summary="List goals")
async def read_goals(
    portfolio_id: FromPath[UUID], owner: Owner, use: FromDishka[ReadGoals]
) -> GoalsView:
    """List the goals of a portfolio. Its projection has the chance of reaching each."""
    return goals_view(await run_in(READS, use, portfolio_id, actor=owner))


@put(
    "/{portfolio_id:uuid}/goals",
    summary="Set goals",
    opt={WITHOUT_KEY: "setting goals twice is the same as once"},
    responses=problem_responses(412, 422),
)
async def set_goals(
    portfolio_id: FromPath[UUID],
    data: JSONBody[GoalsBody],
    owner: Owner,
    use: FromDishka[SetGoals],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> GoalsView:
    """Replace all goals of a portfolio. Goals change no proposal."""
    now = clock()
    revised = await run_in(
        WRITES,
        use,
        portfolio_id,
        data.all(now.date()),
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        now=now,
    )
    return goals_view(revised)


router = owner_router("/portfolios", [read_goals, set_goals], tag="portfolios")
