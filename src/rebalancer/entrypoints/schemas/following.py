"""Which model a portfolio follows, in requests and responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from msgspec import Meta

from rebalancer.entrypoints.schemas.wire import Body, View, about

if TYPE_CHECKING:
    from rebalancer.domain.portfolio.following import Following


class FollowBody(Body, frozen=True, kw_only=True):
    """The model that a portfolio is to follow."""

    model_id: Annotated[UUID, Meta(examples=["6f9619ff-8b86-4d01-b42d-00cf4fc964ff"])]
    version: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        about("Stay with this version. Default: the latest one, and each later one."),
    ] = None
    acknowledge_limits: Annotated[
        bool, about("The owner accepts that the targets exceed the profile's limits.")
    ] = False


class FollowingView(View, frozen=True, kw_only=True):
    """The model that a portfolio follows."""

    model_id: UUID
    version: Annotated[int, about("Number of the version whose targets it has.")]
    pinned: Annotated[bool, about("Whether it stays with this version.")]


def following_view(following: Following | None) -> FollowingView | None:
    """Show which model a portfolio follows."""
    if following is None:
        return None
    return FollowingView(
        model_id=following.model, version=following.version, pinned=following.pinned
    )
