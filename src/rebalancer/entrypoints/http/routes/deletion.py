"""`DELETE /api/users/account`: deletion of one's account."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from dishka.integrations.litestar import FromDishka
from litestar import delete

from rebalancer.application.account_deletion import RequestDeletion
from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.http.auth import CurrentBearer, Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.threads import WRITES, run_in
from rebalancer.entrypoints.schemas.wire import View, about


class DeletionView(View, frozen=True, kw_only=True):
    """The scheduled deletion of an account."""

    requested: datetime
    erased_after: Annotated[datetime, about("Signing in before this time cancels the deletion.")]


@delete(
    "/",
    status_code=202,
    summary="Delete the account",
    responses=problem_responses(403, 409),
    opt={WITHOUT_KEY: "the first request ends all logins, so that it cannot be repeated"},
)
async def delete_account(
    owner: Owner,
    bearer: CurrentBearer,
    use: FromDishka[RequestDeletion],
    clock: FromDishka[Clock],
) -> DeletionView:
    """Schedule the deletion of your account and all its data.

    All logins end at once, API keys are revoked, and jobs are cancelled. Signing in again before
    the stated time cancels the deletion; afterwards nothing can be restored. It needs a recent
    proof of identity.
    """
    found = await run_in(WRITES, use, bearer, now=clock())
    return DeletionView(requested=found.requested, erased_after=found.due)


router = owner_router("/users/account", [delete_account], tag="users")
