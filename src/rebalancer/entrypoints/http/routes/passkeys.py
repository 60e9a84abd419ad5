"""`/api/users/passkeys`: add, list, rename and remove passkeys."""

from __future__ import annotations

from uuid import UUID

import attrs
from dishka.integrations.litestar import FromDishka
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from rebalancer.application.factors import CHALLENGE_LIFETIME
from rebalancer.application.passkeys import (
    AddPasskey,
    ListPasskeys,
    RemovePasskey,
    RenamePasskey,
    StartPasskey,
)
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.accounts.factors import Passkey
from rebalancer.entrypoints.http.auth import CurrentBearer, Owner, owner_router
from rebalancer.entrypoints.http.bodies import TINY_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import ANSWER_HOLDS_SECRETS, WITHOUT_KEY
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.factors import (
    AddedPasskeyView,
    NewPasskey,
    PasskeyChange,
    PasskeyList,
    PasskeyOptions,
    PasskeyView,
)

_VALID_ONCE = "a challenge is valid once anyway"


@post(
    "/options",
    status_code=200,
    summary="Begin to add a passkey",
    responses=problem_responses(403, 404, 409),
    opt={WITHOUT_KEY: ANSWER_HOLDS_SECRETS},
)
async def start_passkey(
    bearer: CurrentBearer, use: FromDishka[StartPasskey], clock: FromDishka[Clock]
) -> PasskeyOptions:
    """Get the options with which a browser creates a passkey."""
    options = await run_in(WRITES, use, bearer, now=clock())
    return PasskeyOptions(
        public_key=dict(options), expires_in=int(CHALLENGE_LIFETIME.total_seconds())
    )


@post(
    "/",
    summary="Add a passkey",
    responses=problem_responses(401, 403, 404, 409, 422),
    opt={WITHOUT_KEY: _VALID_ONCE},
)
async def add_passkey(
    data: JSONBody[NewPasskey],
    bearer: CurrentBearer,
    use: FromDishka[AddPasskey],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> Response[AddedPasskeyView]:
    """Add the passkey that a browser has created.

    With the first second factor of an account come recovery codes, which are shown only now.
    """
    passkey, codes = await run_in(
        WRITES, use, bearer, name=data.name, credential=data.credential, id=ids(), now=clock()
    )
    view = AddedPasskeyView.of(_shown(passkey) | {"recovery_codes": codes})
    return Response(view, headers={"Location": f"/api/users/passkeys/{passkey.id}"})


@get("/", summary="List passkeys")
async def list_passkeys(owner: Owner, use: FromDishka[ListPasskeys]) -> PasskeyList:
    """List your passkeys, oldest first."""
    found = await run_in(READS, use, owner)
    return PasskeyList(items=[PasskeyView.of(_shown(one)) for one in found])


@patch("/{passkey_id:uuid}", summary="Rename a passkey", opt={WITHOUT_KEY: "it sets a name"})
async def rename_passkey(
    passkey_id: FromPath[UUID],
    data: JSONBody[PasskeyChange],
    owner: Owner,
    use: FromDishka[RenamePasskey],
    clock: FromDishka[Clock],
) -> PasskeyView:
    """Give a passkey another name."""
    renamed = await run_in(WRITES, use, passkey_id, owner=owner, name=data.name, now=clock())
    return PasskeyView.of(_shown(renamed))


@delete(
    "/{passkey_id:uuid}",
    summary="Remove a passkey",
    responses=problem_responses(403, 409),
    opt={WITHOUT_KEY: "removing a passkey twice is the same as once"},
)
async def remove_passkey(
    passkey_id: FromPath[UUID],
    bearer: CurrentBearer,
    use: FromDishka[RemovePasskey],
    clock: FromDishka[Clock],
) -> None:
    """Remove a passkey; the last way to sign in cannot be removed."""
    await run_in(WRITES, use, passkey_id, bearer, now=clock())


def _shown(passkey: Passkey) -> dict[str, object]:
    return attrs.asdict(passkey, recurse=False)


router = owner_router(
    "/users/passkeys",
    [start_passkey, add_passkey, list_passkeys, rename_passkey, remove_passkey],
    tag="factors",
    max_body=TINY_BODY,
)
