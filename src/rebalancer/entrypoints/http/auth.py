"""Authentication of requests by access token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from dishka import AsyncContainer
from dishka.integrations.litestar import DishkaRouter
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.spec import SecurityScheme
from litestar.types import Guard

from rebalancer.application.api_keys import AuthenticateApiKey
from rebalancer.application.ports.accounts import Revocations, Tokens
from rebalancer.application.ports.clock import Clock
from rebalancer.application.stream_tickets import UseStreamTicket
from rebalancer.domain.accounts.api_keys import check_scope, looks_like_api_key
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.errors import NotAllowed, NotAuthenticated
from rebalancer.entrypoints.http.bodies import SMALL_BODY
from rebalancer.entrypoints.http.idempotency import note_owner
from rebalancer.entrypoints.http.scopes import scope_of
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in

BEARER = "bearer"
TAKES_TICKETS = "takes_tickets"
"""Option of routes that accept a ticket in place of the header."""

_ENDS = "rebalancer.ends"
"""Key, in the scope of a request, of the end of the login that a ticket stands for."""

_BEARER = "rebalancer.bearer"
"""Key of the bearer in the scope of a request."""

SCHEME = SecurityScheme(
    type="http",
    scheme="bearer",
    bearer_format="JWT",
    description="The access token that POST /api/users/login returns, or an API key.",
)


async def read_owner(request: Request[Any, Any, Any]) -> UUID:
    """Return the user of a request, whom `require_user` has authenticated."""
    return (await read_bearer(request)).owner


async def read_bearer(request: Request[Any, Any, Any]) -> Bearer:
    """Return the user and session of a request, which `require_user` has authenticated."""
    scope: Any = request.scope
    bearer: Bearer | None = scope.get(_BEARER)
    return await authenticate(request) if bearer is None else bearer


async def authenticate(request: ASGIConnection[Any, Any, Any, Any]) -> Bearer:
    """Return the user that a request belongs to, with the session or API key.

    Raises:
        NotAuthenticated: the credential is missing, invalid, expired or revoked.
        NotAllowed: it is an API key that does not allow this request.
    """
    token = parse_bearer_token(request.headers.get("Authorization", ""))
    container: AsyncContainer = request.state.dishka_container
    now = (await container.get(Clock))()
    if looks_like_api_key(token):
        recognise = await container.get(AuthenticateApiKey)
        bearer, is_use_due = await run_in(READS, recognise, token, now=now)
        if is_use_due:
            await run_in(WRITES, recognise.note_use, bearer, now=now)
    else:
        bearer = (await container.get(Tokens)).authenticate(token, now)
        if await (await container.get(Revocations)).is_revoked(bearer.session):
            raise NotAuthenticated("this login has ended; log in again", code="login_ended")
    scope: Any = request.scope
    check_scope(bearer.scopes, scope_of(scope["method"], scope.get("path_template") or ""))
    note_owner(scope, bearer.owner)
    scope[_BEARER] = bearer
    return bearer


async def require_user(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Guard: authenticate the user of a route that needs one, before its body is read.

    Raises:
        NotAuthenticated: see `authenticate`.
    """
    if connection.scope.get("method") == "OPTIONS" or "owner" not in handler.resolve_dependencies():
        return
    ticket = connection.query_params.get("ticket") if handler.opt.get(TAKES_TICKETS) else None
    if ticket is None:
        await authenticate(connection)
    else:
        await _use_ticket(connection, ticket)


async def _use_ticket(connection: ASGIConnection[Any, Any, Any, Any], ticket: str) -> None:
    """Authenticate the user of a stream by a ticket, which is used up.

    Raises:
        NotAuthenticated: the ticket or its login is not valid any more.
    """
    container: AsyncContainer = connection.state.dishka_container
    now = (await container.get(Clock))()
    used = await run_in(WRITES, await container.get(UseStreamTicket), ticket, now=now)
    scope: Any = connection.scope
    scope[_ENDS] = used.ends
    scope[_BEARER] = used.bearer
    await _check_session(connection, used.bearer, used.ends)
    note_owner(scope, used.bearer.owner)


async def _check_session(
    connection: ASGIConnection[Any, Any, Any, Any], bearer: Bearer, ends: datetime
) -> None:
    container: AsyncContainer = connection.state.dishka_container
    now = (await container.get(Clock))()
    if now >= ends or await (await container.get(Revocations)).is_revoked(bearer.session):
        raise NotAuthenticated("this login has ended; log in again", code="login_ended")


async def still_authenticated(request: Request[Any, Any, Any], owner: UUID) -> bool:
    """Return whether the credential with which a stream was opened is still valid."""
    scope: Any = request.scope
    try:
        if _ENDS in scope:
            await _check_session(request, scope[_BEARER], scope[_ENDS])
            return True
        return (await authenticate(request)).owner == owner
    except (NotAuthenticated, NotAllowed):
        return False


def parse_bearer_token(header: str) -> str:
    """Return the access token in a header; raise NotAuthenticated if it holds none."""
    kind, _, token = header.partition(" ")
    if kind.casefold() != "bearer" or not token:
        raise NotAuthenticated(
            "the access token is missing; log in and send Authorization: Bearer <access token>",
            code="token_missing",
        )
    return token.strip()


Owner = NamedDependency[UUID]
CurrentBearer = NamedDependency[Bearer]
OWNER = {"owner": Provide(read_owner), "bearer": Provide(read_bearer)}
"""Dependencies of routes that need a user: ``owner: Owner`` and ``bearer: CurrentBearer``."""


def owner_router(
    path: str,
    handlers: list[HTTPRouteHandler],
    *,
    tag: str,
    max_body: int = SMALL_BODY,
    guards: Sequence[Guard] = (),
) -> DishkaRouter:
    """Group routes that need a user; ``max_body`` limits the bytes of a body."""
    return DishkaRouter(
        path,
        route_handlers=handlers,
        dependencies=OWNER,
        security=[{BEARER: []}],
        tags=[tag],
        request_max_body_size=max_body,
        guards=guards,
    )
