"""`/api/portfolios`: create, read, update and close portfolios."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Request, Response, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET

from rebalancer.application.idempotency import repeat_if_running
from rebalancer.application.portfolios import (
    ClosePortfolio,
    OpenPortfolio,
    ReadPortfolio,
    RevisePortfolio,
)
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.valuation import ValuedPortfolio
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.bodies import LARGE_BODY
from rebalancer.entrypoints.http.errors import problem_responses, response_spec
from rebalancer.entrypoints.http.etags import (
    IfMatch,
    IfNoneMatch,
    accepted_versions,
    etag,
    is_known,
)
from rebalancer.entrypoints.http.idempotency import Key, client_request, replay_headers
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.portfolio import (
    OpeningBody,
    PortfolioView,
    portfolio_view,
)
from rebalancer.entrypoints.schemas.revision import RevisionBody, RevisionPatch
from rebalancer.entrypoints.schemas.wire import Page, paginate


@post("/", summary="Open a portfolio", responses=problem_responses(409, 422))
async def open_portfolio(
    data: JSONBody[OpeningBody],
    request: Request[Any, Any, Any],
    owner: Owner,
    use: FromDishka[OpenPortfolio],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    currency: FromDishka[Currency],
    key: Key = None,
) -> Response[PortfolioView]:
    """Create a portfolio with its initial cash and holdings."""
    id, mandate = ids(), data.mandate(currency)
    cash, foreign_cash = data.cash.split(mandate.currency.code)
    valued = await run_in(
        WRITES,
        repeat_if_running,
        use,
        mandate,
        cash=cash,
        foreign_cash=foreign_cash,
        holdings={symbol: Decimal(units) for symbol, units in data.holdings.items()},
        on=data.on,
        assessed_profile=data.risk_profile is UNSET,
        request=client_request(request, key, data),
        id=id,
        owner=owner,
        now=clock(),
    )
    response = _respond(valued)
    response.headers.update(replay_headers(valued.portfolio.id != id))
    response.headers["Location"] = f"/api/portfolios/{valued.portfolio.id}"
    return response


@get("/", summary="List portfolios")
async def list_portfolios(
    owner: Owner,
    use: FromDishka[ReadPortfolio],
    shared: Annotated[
        bool, QueryParameter(description="List those that others share with you instead.")
    ] = False,
    limit: Limit = 50,
    after: Cursor = None,
) -> Page[PortfolioView]:
    """List your portfolios, oldest first."""
    found = await run_in(READS, use.all, owner, shared=shared, after=after, limit=limit + 1)
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
    if_none_match: IfNoneMatch = None,
) -> Response[PortfolioView]:
    """Get a portfolio, valued at the last close."""
    valued = await state.read_row(use, portfolio_id, actor=owner)
    tag = etag(valued)
    if is_known(if_none_match, tag):
        return Response(None, status_code=304, headers={"ETag": tag})  # type: ignore[arg-type]  # 304 has no body
    return _respond(valued)


@put(
    "/{portfolio_id:uuid}", summary="Update a portfolio", responses=problem_responses(412, 422, 428)
)
async def revise_portfolio(
    portfolio_id: FromPath[UUID],
    data: JSONBody[RevisionBody],
    owner: Owner,
    use: FromDishka[RevisePortfolio],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[PortfolioView]:
    """Replace the targets, the profile and the preferences. A missing field takes its default.

    The currency stays. Read-only fields of the response may be sent back unchanged.
    """
    accepted = accepted_versions(if_match, if_none_match, required=True)
    valued = await run_in(
        WRITES, use, data.mandate_of, id=portfolio_id, owner=owner, accepted=accepted, now=clock()
    )
    return _respond(valued)


@patch(
    "/{portfolio_id:uuid}",
    summary="Change fields of a portfolio",
    responses=problem_responses(412, 422, 428),
)
async def change_portfolio(
    portfolio_id: FromPath[UUID],
    data: JSONBody[RevisionPatch],
    owner: Owner,
    use: FromDishka[RevisePortfolio],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[PortfolioView]:
    """Change the fields that are sent, and keep all others: a JSON merge patch (RFC 7396).

    null restores the default of a field, and removes a target.
    """
    accepted = accepted_versions(if_match, if_none_match, required=True)
    valued = await run_in(
        WRITES, use, data.mandate_of, id=portfolio_id, owner=owner, accepted=accepted, now=clock()
    )
    return _respond(valued)


@delete("/{portfolio_id:uuid}", summary="Close a portfolio", responses=problem_responses(412))
async def close_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ClosePortfolio],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """Close a portfolio. It disappears from the API; its ledger is archived."""
    accepted = accepted_versions(if_match, if_none_match, required=False)
    await run_in(WRITES, use, portfolio_id, owner=owner, accepted=accepted, now=clock())


def _respond(valued: ValuedPortfolio) -> Response[PortfolioView]:
    return Response(portfolio_view(valued), headers={"ETag": etag(valued)})


router = owner_router(
    "/portfolios",
    [
        open_portfolio,
        list_portfolios,
        read_portfolio,
        revise_portfolio,
        change_portfolio,
        close_portfolio,
    ],
    tag="portfolios",
    max_body=LARGE_BODY,
)
