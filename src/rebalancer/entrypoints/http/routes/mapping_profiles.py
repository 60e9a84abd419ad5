"""`/api/mapping-profiles`: saved mapping profiles of an account."""

from __future__ import annotations

from dishka.integrations.litestar import FromDishka
from litestar import delete, get, put
from litestar.params import FromPath, JSONBody

from rebalancer.application.mapping_profiles import (
    DeleteMappingProfile,
    ListMappingProfiles,
    ReadMappingProfile,
    SaveMappingProfile,
)
from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.mapping_profiles import (
    MappingProfileBody,
    SavedProfileView,
    saved_profile_view,
)
from rebalancer.entrypoints.schemas.wire import Page


@get("/", summary="List mapping profiles")
async def list_profiles(
    owner: Owner, use: FromDishka[ListMappingProfiles]
) -> Page[SavedProfileView]:
    """List your saved mapping profiles, by name."""
    found = await run_in(READS, use, owner)
    return Page(items=[saved_profile_view(one) for one in found], next=None)


@get("/{name:str}", summary="Show a mapping profile")
async def show_profile(
    name: FromPath[str], owner: Owner, use: FromDishka[ReadMappingProfile]
) -> SavedProfileView:
    """Show a saved mapping profile; its name counts without regard to case."""
    return saved_profile_view(await run_in(READS, use, name, owner=owner))


@put(
    "/{name:str}",
    summary="Save a mapping profile",
    responses=problem_responses(409, 422),
    opt={WITHOUT_KEY: "saving a profile twice is the same as once"},
)
async def save_profile(
    name: FromPath[str],
    data: JSONBody[MappingProfileBody],
    owner: Owner,
    use: FromDishka[SaveMappingProfile],
    clock: FromDishka[Clock],
) -> SavedProfileView:
    """Save how a table of transactions is read, in place of a profile of this name."""
    saved = await run_in(WRITES, use, data.profile(name), owner=owner, now=clock())
    return saved_profile_view(saved)


@delete(
    "/{name:str}",
    summary="Delete a mapping profile",
    opt={WITHOUT_KEY: "deleting a profile twice is the same as once"},
)
async def delete_profile(
    name: FromPath[str], owner: Owner, use: FromDishka[DeleteMappingProfile]
) -> None:
    """Delete a saved mapping profile; imports that used it stay."""
    await run_in(WRITES, use, name, owner=owner)


router = owner_router(
    "/mapping-profiles",
    [list_profiles, show_profile, save_profile, delete_profile],
    tag="portfolios",
)
