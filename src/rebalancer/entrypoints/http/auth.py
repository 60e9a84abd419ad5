"""Who asks: the bearer of an access token."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from dishka import AsyncContainer
from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import SecurityScheme

from rebalancer.application.ports.accounts import Revocations, Tokens
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.errors import NotAuthenticated

BEARER = "bearer"
SCHEME = SecurityScheme(
    type="http",
    scheme="bearer",
    bearer_format="JWT",
    description="The access token that POST /api/users/login answers with.",
)


async def bearer(request: Request[Any, Any, Any]) -> UUID:
    """Whose request it is.

    Raises:
        NotAuthenticated: it carries no access token, or one that proves nothing, or its login was
            ended.
    """
    token = parse_bearer_token(request.headers.get("Authorization", ""))
    container: AsyncContainer = request.state.dishka_container
    tokens, clock = await container.get(Tokens), await container.get(Clock)
    shown = tokens.authenticate(token, clock())
    if shown.family is not None:
        revocations = await container.get(Revocations)
        if await revocations.is_revoked(shown.family):
            raise NotAuthenticated("this login was ended; log in again")
    owner: UUID = shown.owner
    return owner


def parse_bearer_token(header: str) -> str:
    """The access token in a header ``Authorization``.

    Raises:
        NotAuthenticated: there is none.
    """
    kind, _, token = header.partition(" ")
    if kind.casefold() != "bearer" or not token:
        raise NotAuthenticated("send the header Authorization: Bearer <access token>; log in first")
    return token.strip()


Owner = NamedDependency[UUID]
OWNER = {"owner": Provide(bearer)}
"""For routes that are somebody's own."""
