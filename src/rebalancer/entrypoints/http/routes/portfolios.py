"""`/api/portfolios`: create, read, update and close portfolios."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Response, delete, get, post, put
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.params import FromPath, HeaderParameter, JSONBody
from msgspec import UNSET

from rebalancer.application.portfolios import (
    ClosePortfolio,
    OpenPortfolio,
    ReadPortfolio,
    RevisePortfolio,
    ValuedPortfolio,
)
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import VersionRequired, problem_responses, response_spec
from rebalancer.entrypoints.http.parameters import Cursor, IfMatch, Limit, etag, version_of
from rebalancer.entrypoints.schemas.portfolio import (
    MandateBody,
    OpeningBody,
    PortfolioView,
    portfolio_view,
)
from rebalancer.entrypoints.schemas.wire import Page, paginate


@post("/", summary="Open a portfolio", responses=problem_responses(422))
async def open_portfolio(
    data: JSONBody[OpeningBody],
    owner: Owner,
    use: FromDishka[OpenPortfolio],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> Response[PortfolioView]:
    """Create a portfolio with its initial cash and holdings."""
    valued = await sync_to_thread(
        use,
        data.mandate(),
        cash=Decimal(data.cash),
        holdings={symbol: Decimal(units) for symbol, units in data.holdings.items()},
        on=data.on,
        assessed_profile=data.risk_profile is UNSET,
        id=ids(),
        owner=owner,
        now=clock(),
    )
    response = _respond(valued)
    response.headers["Location"] = f"/api/portfolios/{valued.portfolio.id}"
    return response


@get("/", summary="List portfolios")
async def list_portfolios(
    owner: Owner, use: FromDishka[ReadPortfolio], limit: Limit = 50, after: Cursor = None
) -> Page[PortfolioView]:
    """List your portfolios, oldest first."""
    found = await sync_to_thread(use.all, owner, after=after, limit=limit + 1)
    return paginate(found, limit, show=portfolio_view, cursor=lambda one: one.portfolio.id)


@get(
    "/{portfolio_id:uuid}",
    summary="Get a portfolio",
    responses={304: response_spec(None, description="Not modified")},
)
async def read_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    state: State,
    use: FromDishka[ReadPortfolio],
    if_none_match: Annotated[str | None, HeaderParameter(name="If-None-Match")] = None,
) -> Response[PortfolioView]:
    """Get a portfolio, valued at the last close."""
    valued = await state.read_row(use, portfolio_id, owner=owner)
    tag = etag(valued)
    if if_none_match is not None and (tag in if_none_match or if_none_match == "*"):
        return Response(None, status_code=304, headers={"ETag": tag})  # type: ignore[arg-type]  # 304 has no body
    return _respond(valued)


@put(
    "/{portfolio_id:uuid}", summary="Update a portfolio", responses=problem_responses(412, 422, 428)
)
async def revise_portfolio(
    portfolio_id: FromPath[UUID],
    data: JSONBody[MandateBody],
    owner: Owner,
    use: FromDishka[RevisePortfolio],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
) -> Response[PortfolioView]:
    """Replace the targets, the profile and the preferences. A missing field takes its default."""
    if if_match is None:
        raise VersionRequired(
            "the header If-Match is missing; send the ETag that GET returned, so that you do not "
            "overwrite a change of another client"
        )
    valued = await sync_to_thread(
        use, data.mandate(), id=portfolio_id, owner=owner, version=version_of(if_match), now=clock()
    )
    return _respond(valued)


@delete("/{portfolio_id:uuid}", summary="Close a portfolio", responses=problem_responses(412))
async def close_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ClosePortfolio],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
) -> None:
    """Close a portfolio. It disappears from the API; its ledger is archived."""
    version = None if if_match is None else version_of(if_match)
    await sync_to_thread(use, portfolio_id, owner=owner, version=version, now=clock())


def _respond(valued: ValuedPortfolio) -> Response[PortfolioView]:
    return Response(portfolio_view(valued), headers={"ETag": etag(valued)})


router = owner_router(
    "/portfolios",
    [open_portfolio, list_portfolios, read_portfolio, revise_portfolio, close_portfolio],
    tag="portfolios",
)
