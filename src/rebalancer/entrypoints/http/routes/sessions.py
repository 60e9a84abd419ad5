"""`/api/users/sessions`: the logins of a user."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import delete, get
from litestar.datastructures import State
from litestar.params import FromPath

from rebalancer.application.own_sessions import EndOtherSessions, EndSession, ListSessions
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.accounts.devices import describe_device
from rebalancer.domain.accounts.sessions import IDLE_LIFETIME, Session
from rebalancer.entrypoints.http.auth import CurrentBearer, owner_router
from rebalancer.entrypoints.http.bodies import TINY_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.threads import WRITES, run_in
from rebalancer.entrypoints.schemas.wire import View, about

_TWICE = "ending a session twice is the same as once"


class SessionView(View, frozen=True, kw_only=True):
    """A login on one device."""

    id: UUID
    device: Annotated[str, about("Program and system, as the client named them.")]
    address: Annotated[str, about("Network at the last use; empty if unknown.")]
    method: Annotated[str, about("How the login was made, such as password or passkey.")]
    created: datetime
    used: Annotated[datetime, about("Last exchange of a refresh token.")]
    expires: Annotated[datetime, about("End of the login if it is not used again.")]
    current: Annotated[bool, about("Whether this request belongs to it.")]


class SessionList(View, frozen=True, kw_only=True):
    """The logins of a user."""

    items: Annotated[list[SessionView], about("The last used first.")]


class EndedSessions(View, frozen=True, kw_only=True):
    """How many logins ended."""

    ended: int


@get("/", summary="List logins")
async def list_sessions(
    bearer: CurrentBearer, state: State, use: FromDishka[ListSessions], clock: FromDishka[Clock]
) -> SessionList:
    """List the active logins of the current user: device, network and last use."""
    found = await state.read_row(use, bearer.owner, now=clock())
    return SessionList(items=[_view(session, bearer.session) for session in found])


@delete(
    "/{id:uuid}",
    status_code=204,
    summary="End a login",
    responses=problem_responses(403),
    opt={WITHOUT_KEY: _TWICE},
)
async def end_one_session(
    id: FromPath[UUID], bearer: CurrentBearer, use: FromDishka[EndSession], clock: FromDishka[Clock]
) -> None:
    """End a login; any but the current one needs a recent proof of identity."""
    await run_in(WRITES, use, id, bearer, now=clock())


@delete(
    "/",
    status_code=200,
    summary="End all other logins",
    responses=problem_responses(403),
    opt={WITHOUT_KEY: _TWICE},
)
async def end_other_sessions(
    bearer: CurrentBearer, use: FromDishka[EndOtherSessions], clock: FromDishka[Clock]
) -> EndedSessions:
    """End all logins but the current one; it needs a recent proof of identity."""
    return EndedSessions(ended=await run_in(WRITES, use, bearer, now=clock()))


def _view(session: Session, current: UUID) -> SessionView:
    return SessionView(
        id=session.id,
        device=describe_device(session.agent),
        address=session.address,
        method=session.method,
        created=session.created,
        used=session.used,
        expires=min(session.ends, session.used + IDLE_LIFETIME),
        current=session.id == current,
    )


router = owner_router(
    "/users/sessions",
    [list_sessions, end_one_session, end_other_sessions],
    tag="users",
    max_body=TINY_BODY,
)
