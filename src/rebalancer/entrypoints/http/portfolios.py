"""`/api/portfolios`: opened, looked at, revised, closed."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Response, Router, delete, get, post, put
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
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
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner
from rebalancer.entrypoints.http.errors import VersionRequired, problem_responses
from rebalancer.entrypoints.http.parameters import ETAG, Cursor, IfMatch, Limit
from rebalancer.entrypoints.schemas.decoding import Malformed
from rebalancer.entrypoints.schemas.portfolio import (
    MandateBody,
    OpeningBody,
    PortfolioView,
    portfolio_view,
)
from rebalancer.entrypoints.schemas.wire import Page


@post("/", summary="Open a portfolio", responses=problem_responses(401, 413, 415, 422))
@inject
async def open_portfolio(
    data: JSONBody[OpeningBody],
    owner: Owner,
    use: FromDishka[OpenPortfolio],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> Response[PortfolioView]:
    """Take a portfolio into keeping, with cash and holdings that it begins with."""
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
    answer = _tagged(valued)
    answer.headers["Location"] = f"/api/portfolios/{valued.portfolio.id}"
    return answer


@get("/", summary="My portfolios", responses=problem_responses(401))
@inject
async def list_portfolios(
    owner: Owner, use: FromDishka[ReadPortfolio], limit: Limit = 50, after: Cursor = None
) -> Page[PortfolioView]:
    """Portfolios of whoever asks, the oldest first."""
    found = await sync_to_thread(use.all, owner, after=after, limit=limit + 1)
    following = str(found[limit - 1].portfolio.id) if len(found) > limit else None
    return Page(items=[portfolio_view(one) for one in found[:limit]], next=following)


@get(
    "/{portfolio_id:uuid}",
    summary="A portfolio",
    responses=problem_responses(401, 404)
    | {304: ResponseSpec(None, description="Not modified", generate_examples=False)},
)
@inject
async def read_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    state: State,
    use: FromDishka[ReadPortfolio],
    if_none_match: Annotated[str | None, HeaderParameter(name="If-None-Match")] = None,
) -> Response[PortfolioView]:
    """A portfolio, valued at the last close."""
    valued = await state.read_row(use, portfolio_id, owner=owner)
    tag = etag(valued)
    if if_none_match is not None and (tag in if_none_match or if_none_match == "*"):
        return Response(None, status_code=304, headers={"ETag": tag})  # type: ignore[arg-type]  # 304 has no body
    return _tagged(valued)


@put(
    "/{portfolio_id:uuid}",
    summary="Revise a portfolio",
    responses=problem_responses(401, 404, 412, 413, 415, 422, 428),
)
@inject
async def revise_portfolio(
    portfolio_id: FromPath[UUID],
    data: JSONBody[MandateBody],
    owner: Owner,
    use: FromDishka[RevisePortfolio],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
) -> Response[PortfolioView]:
    """Replace what is wanted of a portfolio. What is left out takes its default."""
    if if_match is None:
        raise VersionRequired(
            "send the header If-Match with the ETag that GET gave you, so that no change of "
            "somebody else is lost"
        )
    valued = await sync_to_thread(
        use, data.mandate(), id=portfolio_id, owner=owner, version=_version(if_match), now=clock()
    )
    return _tagged(valued)


@delete(
    "/{portfolio_id:uuid}", summary="Close a portfolio", responses=problem_responses(401, 404, 412)
)
@inject
async def close_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ClosePortfolio],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
) -> None:
    """Put a portfolio away. It is found no more; its ledger is kept for the record."""
    version = None if if_match is None else _version(if_match)
    await sync_to_thread(use, portfolio_id, owner=owner, version=version, now=clock())


def etag(valued: ValuedPortfolio) -> str:
    """What tells this state of a portfolio from any other."""
    return f'"{valued.portfolio.version}.{valued.as_of}"'


def _tagged(valued: ValuedPortfolio) -> Response[PortfolioView]:
    return Response(portfolio_view(valued), headers={"ETag": etag(valued)})


def _version(if_match: str) -> int:
    """The version that an ETag begins with.

    Raises:
        Malformed: it is none of ours.
    """
    found = re.fullmatch(ETAG, if_match)
    if found is None:
        raise Malformed('is no ETag of ours, such as "3.2022-12-28"', field="If-Match")
    return int(found["version"])


portfolios = Router(
    "/portfolios",
    route_handlers=[
        open_portfolio,
        list_portfolios,
        read_portfolio,
        revise_portfolio,
        close_portfolio,
    ],
    dependencies=OWNER,
    security=[{BEARER: []}],
    tags=["portfolios"],
)
