"""`/api/portfolios/{id}/shares`: share a portfolio with others."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from rebalancer.application.idempotency import repeat_if_running
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.sharing import ListShares, SharePortfolio, WithdrawShare
from rebalancer.domain.accounts.shares import Right
from rebalancer.entrypoints.http.auth import CurrentBearer, Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY, Key, client_request, replay_headers
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.sharing import ShareBody, ShareView, share_view
from rebalancer.entrypoints.schemas.wire import Page


@post(
    "/{portfolio_id:uuid}/shares",
    summary="Share a portfolio",
    responses=problem_responses(409, 422),
)
async def share_portfolio(
    portfolio_id: FromPath[UUID],
    data: JSONBody[ShareBody],
    request: Request[Any, Any, Any],
    owner: Owner,
    bearer: CurrentBearer,
    use: FromDishka[SharePortfolio],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
) -> Response[ShareView]:
    """Invite another person to a portfolio, which he or she can read after accepting.

    The response is the same for addresses with and without an account. Sharing with the same
    address again changes its right. It needs a recent proof of identity.
    """
    share, replayed = await run_in(
        WRITES,
        repeat_if_running,
        use,
        portfolio_id,
        email=data.email,
        right=Right(data.right),
        bearer=bearer,
        request=client_request(request, key, data),
        id=ids(),
        now=clock(),
    )
    return Response(share_view(share), headers=replay_headers(replayed))


@get("/{portfolio_id:uuid}/shares", summary="List the shares of a portfolio")
async def list_shares(
    portfolio_id: FromPath[UUID], owner: Owner, use: FromDishka[ListShares]
) -> Page[ShareView]:
    """List invitations and accepted shares, oldest first. Only the owner can see them."""
    found = await run_in(READS, use, portfolio_id, owner=owner)
    return Page(items=[share_view(one) for one in found], next=None)


@delete(
    "/{portfolio_id:uuid}/shares/{share_id:uuid}",
    summary="Withdraw a share",
    opt={WITHOUT_KEY: "withdrawing a share twice is the same as once"},
)
async def withdraw_share(
    portfolio_id: FromPath[UUID],
    share_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[WithdrawShare],
    clock: FromDishka[Clock],
) -> None:
    """End the access of another person at once. Proposals that he or she requested stay."""
    await run_in(WRITES, use, share_id, portfolio_id=portfolio_id, owner=owner, now=clock())


router = owner_router(
    "/portfolios", [share_portfolio, list_shares, withdraw_share], tag="portfolios"
)
