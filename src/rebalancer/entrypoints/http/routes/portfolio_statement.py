"""`/api/portfolios/{id}/statement`: the statement of a period to print."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Response, get
from litestar.params import FromPath, QueryParameter

from rebalancer.application.period_statements import PortfolioStatement, StatePortfolio
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.reports import Renderer
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses, response_spec
from rebalancer.entrypoints.http.threads import READS, run_in


@get(
    "/{portfolio_id:uuid}/statement",
    summary="Statement of a period",
    media_type="text/html",
    responses={
        200: response_spec(
            str, description="A self-contained HTML page to print.", media_type="text/html"
        ),
        **problem_responses(422),
    },
)
async def state_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[StatePortfolio],
    renderer: FromDishka[Renderer[PortfolioStatement]],
    clock: FromDishka[Clock],
    since: Annotated[
        date | None,
        QueryParameter(
            name="from",
            description="First day. Default: January 1 of the year in which the period ends.",
        ),
    ] = None,
    until: Annotated[
        date | None,
        QueryParameter(name="to", description="Last day. Default: that of the last close."),
    ] = None,
) -> Response[str]:
    """Get opening and closing value, flows, trades, income, charges, holdings and the return.

    All lines add up to the cent, in the portfolio's base currency.
    """

    def make() -> PortfolioStatement:
        return use(portfolio_id, actor=owner, since=since, until=until, now=clock())

    found = await run_in(READS, make)
    page = await run_in(READS, renderer.render, found)
    name = f"statement-{found.since}-{found.until}.html"
    return Response(
        page,
        media_type="text/html",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


router = owner_router("/portfolios", [state_portfolio], tag="portfolios")
