"""Authentication of requests by access token."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from dishka import AsyncContainer
from dishka.integrations.litestar import DishkaRouter
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.spec import SecurityScheme

from rebalancer.application.ports.accounts import Revocations, Tokens
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.errors import NotAuthenticated
from rebalancer.entrypoints.http.bodies import SMALL_BODY
from rebalancer.entrypoints.http.idempotency import note_owner, noted_owner

BEARER = "bearer"
SCHEME = SecurityScheme(
    type="http",
    scheme="bearer",
    bearer_format="JWT",
    description="The access token that POST /api/users/login returns.",
)


async def read_owner(request: Request[Any, Any, Any]) -> UUID:
    """Return the user of a request, whom `require_user` has authenticated."""
    owner = noted_owner(request.scope)
    return await authenticate(request) if owner is None else owner


async def authenticate(request: ASGIConnection[Any, Any, Any, Any]) -> UUID:
    """Return the user who sent a request.

    Raises:
        NotAuthenticated: the access token is missing, invalid, expired or revoked.
    """
    token = parse_bearer_token(request.headers.get("Authorization", ""))
    container: AsyncContainer = request.state.dishka_container
    tokens, clock = await container.get(Tokens), await container.get(Clock)
    shown = tokens.authenticate(token, clock())
    if shown.family is not None:
        revocations = await container.get(Revocations)
        if await revocations.is_revoked(shown.family):
            raise NotAuthenticated("this login has ended; log in again", code="login_ended")
    owner: UUID = shown.owner
    note_owner(request.scope, owner)
    return owner


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
OWNER = {"owner": Provide(read_owner)}
"""Dependency of routes that need a user."""


def owner_router(
    path: str, handlers: list[HTTPRouteHandler], *, tag: str, max_body: int = SMALL_BODY
) -> DishkaRouter:
    """Group routes that need a user; ``max_body`` limits the bytes of a body."""
    return DishkaRouter(
        path,
        route_handlers=handlers,
        dependencies=OWNER,
        security=[{BEARER: []}],
        tags=[tag],
        request_max_body_size=max_body,
    )
