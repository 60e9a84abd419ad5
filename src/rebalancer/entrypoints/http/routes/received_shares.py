"""`/api/users/shares`: accept, list and leave portfolios that others share."""

from __future__ import annotations

from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import delete, get, post
from litestar.params import FromPath

from rebalancer.application.ports.clock import Clock
from rebalancer.application.sharing import ReceivedShares
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.sharing import ReceivedShareView, received_view
from rebalancer.entrypoints.schemas.wire import Page, paginate


@get("/", summary="List portfolios that others share with you")
async def list_received_shares(
    owner: Owner, use: FromDishka[ReceivedShares], limit: Limit = 50, after: Cursor = None
) -> Page[ReceivedShareView]:
    """List invitations and accepted shares, oldest first."""
    found = await run_in(READS, use.all, owner, after=after, limit=limit + 1)
    return paginate(found, limit, show=received_view, cursor=lambda one: one.share.id)


@post(
    "/{share_id:uuid}/accept",
    status_code=200,
    summary="Accept a shared portfolio",
    opt={WITHOUT_KEY: "accepting twice is the same as once"},
)
async def accept_share(
    share_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReceivedShares],
    clock: FromDishka[Clock],
) -> ReceivedShareView:
    """Accept an invitation: the portfolio can be read afterwards."""
    return received_view(await run_in(WRITES, use.accept, share_id, recipient=owner, now=clock()))


@delete(
    "/{share_id:uuid}",
    summary="Decline or leave a shared portfolio",
    opt={WITHOUT_KEY: "leaving a portfolio twice is the same as once"},
)
async def leave_share(
    share_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReceivedShares],
    clock: FromDishka[Clock],
) -> None:
    """Decline an invitation, or give up access to a portfolio. Its owner sees the share vanish."""
    await run_in(WRITES, use.leave, share_id, recipient=owner, now=clock())


router = owner_router(
    "/users/shares", [list_received_shares, accept_share, leave_share], tag="portfolios"
)
