"""`/api/portfolios/{id}/model`: which model a portfolio follows."""

from __future__ import annotations

from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Response, delete, put
from litestar.params import FromPath, JSONBody

from rebalancer.application.models import FollowModel
from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.etags import IfMatch, IfNoneMatch, accepted_versions, etag
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.threads import WRITES, run_in
from rebalancer.entrypoints.schemas.following import FollowBody
from rebalancer.entrypoints.schemas.portfolio import PortfolioView, portfolio_view

_TWICE = {WITHOUT_KEY: "doing it twice is the same as once"}


@put(
    "/{portfolio_id:uuid}/model",
    summary="Follow a model",
    opt=_TWICE,
    responses=problem_responses(409, 412, 422),
)
async def follow_model(
    portfolio_id: FromPath[UUID],
    data: JSONBody[FollowBody],
    owner: Owner,
    use: FromDishka[FollowModel],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[PortfolioView]:
    """Give a portfolio the targets of a model, now and with each later version.

    Its own targets give way. Name, currency, risk profile and preferences stay, except for a band
    that the model states. With `version` it stays with that one.
    """
    valued = await run_in(
        WRITES,
        use,
        portfolio_id,
        data.model_id,
        number=data.version,
        acknowledged=data.acknowledge_limits,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        now=clock(),
    )
    return Response(portfolio_view(valued), headers={"ETag": etag(valued)})


@delete(
    "/{portfolio_id:uuid}/model",
    summary="Stop following a model",
    opt=_TWICE,
    status_code=200,
    responses=problem_responses(412),
)
async def stop_following(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[FollowModel],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[PortfolioView]:
    """Let a portfolio state its own targets again. They stay as they are."""
    valued = await run_in(
        WRITES,
        use.stop,
        portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        now=clock(),
    )
    return Response(portfolio_view(valued), headers={"ETag": etag(valued)})


router = owner_router("/portfolios", [follow_model, stop_following], tag="models")
