"""`/api/users/api-keys`: credentials of programs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import attrs
from dishka.integrations.litestar import FromDishka
from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from rebalancer.application.api_keys import CreateApiKey, ListApiKeys, RevokeApiKey
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.accounts.api_keys import LONGEST_LIFETIME, LONGEST_NAME, ApiKey, Scope
from rebalancer.entrypoints.http.auth import CurrentBearer, Owner, owner_router
from rebalancer.entrypoints.http.bodies import TINY_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import ANSWER_HOLDS_SECRETS, WITHOUT_KEY
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.wire import Body, OneLine, View, about


class NewApiKey(Body, frozen=True, kw_only=True):
    """An API key to create."""

    name: Annotated[
        OneLine, Meta(min_length=1, max_length=LONGEST_NAME, examples=["Monthly report"])
    ]
    scopes: Annotated[
        list[Scope],
        Meta(
            min_length=1,
            max_length=len(Scope),
            description="read: GET; propose: also request proposals and backtests, and cancel "
            "jobs; trade: also change portfolios. Each includes read.",
            examples=[["read"]],
        ),
    ]
    days: Annotated[
        int, Meta(ge=1, le=LONGEST_LIFETIME.days, description="Validity.", examples=[90])
    ] = 90


class ApiKeyView(View, frozen=True, kw_only=True):
    """An API key, without the key itself."""

    id: UUID
    name: str
    scopes: list[Scope]
    created: datetime
    expires: datetime
    used: Annotated[datetime | None, about("Last use, to ten minutes.")]


class CreatedApiKeyView(ApiKeyView, frozen=True, kw_only=True):
    """A new API key."""

    key: Annotated[str, about("Shown once; send it as Authorization: Bearer <key>.")]


class ApiKeyList(View, frozen=True, kw_only=True):
    """The API keys of a user."""

    items: Annotated[list[ApiKeyView], about("The oldest first, also expired ones.")]


@post(
    "/",
    summary="Create an API key",
    responses=problem_responses(403, 409, 422),
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def create_api_key(
    data: JSONBody[NewApiKey],
    bearer: CurrentBearer,
    use: FromDishka[CreateApiKey],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> Response[CreatedApiKeyView]:
    """Create a credential for a program; it needs a recent proof of identity."""
    key, secret = await run_in(
        WRITES,
        use,
        bearer,
        name=data.name,
        scopes=data.scopes,
        lifetime=timedelta(days=data.days),
        id=ids(),
        now=clock(),
    )
    return Response(CreatedApiKeyView.of(_shown(key) | {"key": secret}))


@get("/", summary="List API keys")
async def list_api_keys(owner: Owner, use: FromDishka[ListApiKeys]) -> ApiKeyList:
    """List the API keys of the current user, without the keys themselves."""
    return ApiKeyList(items=[ApiKeyView.of(_shown(key)) for key in await run_in(READS, use, owner)])


@delete(
    "/{key_id:uuid}",
    summary="Revoke an API key",
    opt={WITHOUT_KEY: "revoking a key twice is the same as once"},
)
async def revoke_api_key(
    key_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[RevokeApiKey],
    clock: FromDishka[Clock],
) -> None:
    """Revoke an API key at once."""
    await run_in(WRITES, use, key_id, owner=owner, now=clock())


def _shown(key: ApiKey) -> dict[str, object]:
    return attrs.asdict(key, recurse=False)


router = owner_router(
    "/users/api-keys",
    [create_api_key, list_api_keys, revoke_api_key],
    tag="users",
    max_body=TINY_BODY,
)
