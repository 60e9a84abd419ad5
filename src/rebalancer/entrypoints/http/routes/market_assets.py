"""`POST /api/market/assets`: fetch assets that the store lacks."""

from __future__ import annotations

from typing import Annotated

from dishka.integrations.litestar import FromDishka
from litestar import Response, post
from litestar.params import JSONBody
from msgspec import Meta

from rebalancer.application.asset_requests import MOST_SYMBOLS, FetchAssets
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.bodies import LARGE_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import Key, replay_headers
from rebalancer.entrypoints.http.threads import WRITES, run_in
from rebalancer.entrypoints.schemas.job import JobView
from rebalancer.entrypoints.schemas.wire import Body, CurrencyCode, Symbol


class AssetsBody(Body, frozen=True, kw_only=True):
    """Assets to fetch from providers."""

    symbols: Annotated[
        list[Symbol],
        Meta(
            min_length=1,
            max_length=MOST_SYMBOLS,
            description="As the providers write them.",
            examples=[["VTI", "VWCE.DE", "BTC-USD"]],
        ),
    ]
    currency: Annotated[
        CurrencyCode | None,
        Meta(
            description="Base currency, to which exchange rates are fetched. Default: the server's."
        ),
    ] = None


@post("/", status_code=202, summary="Fetch assets", responses=problem_responses(409, 422))
async def fetch_assets(
    data: JSONBody[AssetsBody],
    owner: Owner,
    use: FromDishka[FetchAssets],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
) -> Response[JobView]:
    """Fetch prices, corporate actions and exchange rates of assets in the background.

    The job's result lists what was fetched of each asset. It fails if no provider knows any.
    """
    job, replayed = await run_in(
        WRITES,
        use,
        data.symbols,
        currency=None if data.currency is None else Currency(data.currency),
        key=key,
        id=ids(),
        owner=owner,
        now=clock(),
    )
    headers = replay_headers(replayed) | {"Location": f"/api/jobs/{job.id}"}
    return Response(JobView.of(job), headers=headers)


router = owner_router("/market/assets", [fetch_assets], tag="market", max_body=LARGE_BODY)
