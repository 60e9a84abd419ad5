"""`/api/portfolios/{id}/stress`: what a portfolio would lose in a crash."""

from __future__ import annotations

from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import post
from litestar.params import FromPath, JSONBody

from rebalancer.application.stress import StressPortfolio
from rebalancer.domain.portfolio.costs import cost_model
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.bodies import LARGE_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.stress import StressBody, StressView, stress_view

_NOTHING = StressBody()


@post(
    "/{portfolio_id:uuid}/stress",
    status_code=200,
    summary="Stress a portfolio",
    opt={WITHOUT_KEY: "nothing is stored"},
    responses=problem_responses(422),
)
async def stress(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[StressPortfolio],
    data: JSONBody[StressBody] = _NOTHING,
) -> StressView:
    """Compute what the portfolio would lose at once, and what the policy would propose after it.

    A shock is a fall of the past, a change of one asset that the others follow by their beta, or
    changes by asset class, symbol or currency.
    """
    cost_bps = None if data.cost_bps is None else float(data.cost_bps)
    report = await run_in(
        READS,
        use,
        portfolio_id,
        data.shock(),
        policy_name=data.policy,
        costs=cost_model(cost_bps, data.costs),
        actor=owner,
    )
    return stress_view(report)


router = owner_router("/portfolios", [stress], tag="portfolios", max_body=LARGE_BODY)
