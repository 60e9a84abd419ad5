"""`/api/operators`: manage accounts, for operators."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from dishka import AsyncContainer
from dishka.integrations.litestar import FromDishka
from litestar import get, post, put
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from rebalancer.application.automatic_stop import ReadStops, ResumeAutomation, StopAutomation
from rebalancer.application.operators import (
    ChangeRole,
    CheckOperator,
    DisableAccount,
    EnableAccount,
    EndAccountSessions,
    ListAccounts,
    ResetPassword,
    ShowAccount,
    UnlockAccount,
)
from rebalancer.application.ports.clock import Clock
from rebalancer.config import Settings
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.portfolio.owner import LONGEST_EMAIL
from rebalancer.entrypoints.http.auth import CurrentBearer, authenticate, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.alerts import StopView, stop_view
from rebalancer.entrypoints.schemas.operators import (
    AccountStatusView,
    AccountView,
    EndedSessionsView,
    ResetView,
    RoleBody,
    account_status_view,
    account_view,
)
from rebalancer.entrypoints.schemas.wire import Page, paginate

_TWICE = {WITHOUT_KEY: "doing it twice is the same as once"}


async def require_operator(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Guard: check the role in the store, before the body is parsed.

    Raises:
        NotAuthenticated: see `authenticate`.
        NotAllowed: the user is not an operator.
    """
    if connection.scope.get("method") == "OPTIONS":
        return
    bearer = await authenticate(connection)
    container: AsyncContainer = connection.state.dishka_container
    await run_in(READS, await container.get(CheckOperator), bearer.owner)


@get("/users", summary="List accounts")
async def list_accounts(
    bearer: CurrentBearer,
    use: FromDishka[ListAccounts],
    clock: FromDishka[Clock],
    role: Annotated[
        Role | None, QueryParameter(description="Return accounts of this role only.")
    ] = None,
    email: Annotated[
        str | None,
        QueryParameter(max_length=LONGEST_EMAIL, description="Return the account of this address."),
    ] = None,
    limit: Limit = 50,
    after: Cursor = None,
) -> Page[AccountView]:
    """List accounts, oldest first, without what their owners store."""
    found = await run_in(
        WRITES,
        use,
        role=role,
        email=email,
        after=after,
        limit=limit + 1,
        bearer=bearer,
        now=clock(),
    )
    return paginate(found, limit, show=account_view, cursor=lambda user: user.id)


@get("/users/{user_id:uuid}", summary="Get an account")
async def show_account(
    user_id: FromPath[UUID],
    bearer: CurrentBearer,
    use: FromDishka[ShowAccount],
    clock: FromDishka[Clock],
) -> AccountStatusView:
    """Get an account and a summary of its sessions."""
    return account_status_view(await run_in(WRITES, use, user_id, bearer=bearer, now=clock()))


@post(
    "/users/{user_id:uuid}/disable",
    status_code=200,
    summary="Disable an account",
    responses=problem_responses(409),
    opt=_TWICE,
)
async def disable_account(
    user_id: FromPath[UUID],
    bearer: CurrentBearer,
    use: FromDishka[DisableAccount],
    clock: FromDishka[Clock],
) -> AccountStatusView:
    """End the sessions of an account, cancel its jobs, suspend what it shares, and block sign-ins.

    Nothing is deleted. It needs a recent proof of identity, as do all changes by operators.
    """
    return account_status_view(await run_in(WRITES, use, user_id, bearer=bearer, now=clock()))


@post("/users/{user_id:uuid}/enable", status_code=200, summary="Enable an account", opt=_TWICE)
async def enable_account(
    user_id: FromPath[UUID],
    bearer: CurrentBearer,
    use: FromDishka[EnableAccount],
    clock: FromDishka[Clock],
) -> AccountStatusView:
    """Let a disabled account sign in again."""
    return account_status_view(await run_in(WRITES, use, user_id, bearer=bearer, now=clock()))


@post("/users/{user_id:uuid}/unlock", status_code=200, summary="Unlock sign-ins", opt=_TWICE)
async def unlock_account(
    user_id: FromPath[UUID],
    bearer: CurrentBearer,
    use: FromDishka[UnlockAccount],
    clock: FromDishka[Clock],
) -> AccountStatusView:
    """Forget the failed logins of an account, after which sign-ins are slowed down or locked."""
    return account_status_view(await run_in(WRITES, use, user_id, bearer=bearer, now=clock()))


@post(
    "/users/{user_id:uuid}/end-sessions",
    status_code=200,
    summary="End the sessions of an account",
    opt=_TWICE,
)
async def end_account_sessions(
    user_id: FromPath[UUID],
    bearer: CurrentBearer,
    use: FromDishka[EndAccountSessions],
    clock: FromDishka[Clock],
) -> EndedSessionsView:
    """Sign an account out on all devices."""
    ended = await run_in(WRITES, use, user_id, bearer=bearer, now=clock())
    return EndedSessionsView(ended=ended)


@post(
    "/users/{user_id:uuid}/reset-password",
    status_code=202,
    summary="Mail a link for a new password",
    responses=problem_responses(409),
    opt={WITHOUT_KEY: "a further link replaces the first"},
)
async def reset_user_password(
    user_id: FromPath[UUID],
    bearer: CurrentBearer,
    use: FromDishka[ResetPassword],
    settings: FromDishka[Settings],
    clock: FromDishka[Clock],
) -> ResetView:
    """Mail the owner of an account a link with which to choose a new password.

    The present password stays valid until then. Operators do not see the link.
    """
    await run_in(WRITES, use, user_id, mails=settings.sends_mail, bearer=bearer, now=clock())
    return ResetView(status="mailed")


@put(
    "/users/{user_id:uuid}/role",
    summary="Change the role of an account",
    responses=problem_responses(409),
    opt=_TWICE,
)
async def change_role(
    user_id: FromPath[UUID],
    data: JSONBody[RoleBody],
    bearer: CurrentBearer,
    use: FromDishka[ChangeRole],
    clock: FromDishka[Clock],
) -> AccountStatusView:
    """Make an account that of a person, an adviser or an operator."""
    return account_status_view(
        await run_in(WRITES, use, user_id, Role(data.role), bearer=bearer, now=clock())
    )


@get("/automation", summary="Get the kill switch of the deployment")
async def show_automation(bearer: CurrentBearer, use: FromDishka[ReadStops]) -> StopView:
    """Get whether automation is stopped for all accounts."""
    return stop_view(await run_in(WRITES, use.of_deployment, bearer))


@post("/automation/stop", status_code=200, summary="Stop all automation", opt=_TWICE)
async def stop_all_automation(
    bearer: CurrentBearer, use: FromDishka[StopAutomation], clock: FromDishka[Clock]
) -> StopView:
    """Stop automatic proposals and acceptances for all accounts, at once.

    It needs no recent proof of identity.
    """
    return stop_view(await run_in(WRITES, use.everywhere, bearer, now=clock()))


@post("/automation/resume", status_code=200, summary="Resume automation", opt=_TWICE)
async def resume_all_automation(
    bearer: CurrentBearer, use: FromDishka[ResumeAutomation], clock: FromDishka[Clock]
) -> StopView:
    """Let automation run again, except for accounts whose owners have stopped it."""
    await run_in(WRITES, use.everywhere, bearer, now=clock())
    return stop_view(None)


router = owner_router(
    "/operators",
    [
        list_accounts,
        show_account,
        disable_account,
        enable_account,
        unlock_account,
        end_account_sessions,
        reset_user_password,
        change_role,
        show_automation,
        stop_all_automation,
        resume_all_automation,
    ],
    tag="operators",
    guards=[require_operator],
)
