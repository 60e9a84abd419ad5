"""Authentication of requests by access token."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from dishka import AsyncContainer
from dishka.integrations.litestar import DishkaRouter
from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import SecurityScheme

from rebalancer.application.ports.accounts import Revocations, Tokens
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.errors import NotAuthenticated
from rebalancer.entrypoints.http.idempotency import note_owner

BEARER = "bearer"
SCHEME = SecurityScheme(
    type="http",
    scheme="bearer",
    bearer_format="JWT",
    description="The access token that POST /api/users/login returns.",
)


async def authenticate(request: Request[Any, Any, Any]) -> UUID:
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
OWNER = {"owner": Provide(authenticate)}
"""Dependency of routes that need a user."""


def owner_router(path: str, handlers: list[HTTPRouteHandler], *, tag: str) -> DishkaRouter:
    """Group routes that need a user."""
    return DishkaRouter(
        path, route_handlers=handlers, dependencies=OWNER, security=[{BEARER: []}], tags=[tag]
    )
