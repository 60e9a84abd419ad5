"""Authentication of requests by access token."""

from __future__ import annotations

from collections.abc import Sequence
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
from rebalancer.domain.accounts.api_keys import check_scope, looks_like_api_key
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.errors import NotAuthenticated
from rebalancer.entrypoints.http.bodies import SMALL_BODY
from rebalancer.entrypoints.http.idempotency import note_owner
from rebalancer.entrypoints.http.scopes import scope_of
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in

BEARER = "bearer"
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
    if connection.scope.get("method") != "OPTIONS" and "owner" in handler.resolve_dependencies():
        await authenticate(connection)


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
