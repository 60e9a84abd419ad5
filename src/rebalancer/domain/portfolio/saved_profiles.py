"""Mapping profiles that their owners saved."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.mapping_profiles import MappingProfile


@attrs.frozen
class SavedProfile:
    """A mapping profile of an account; its name is unique there, without regard to case.

    Attributes:
        changed: When it was saved last.

    Raises:
        InvalidRequest: the name has a slash, which would divide it in an address.
    """

    owner: UUID
    profile: MappingProfile
    changed: datetime

    def __attrs_post_init__(self) -> None:
        if "/" in self.profile.name:
            raise InvalidRequest(
                f"the name {self.profile.name!r} of a saved profile has a slash; choose a name "
                "without one",
                field="name",
                code="invalid_text",
            )

    @property
    def id(self) -> UUID:
        """Id, which follows from the owner and the name."""
        return profile_id(self.owner, self.profile.name)


def profile_id(owner: UUID, name: str) -> UUID:
    """Return the id of the profile of a name."""
    return uuid5(owner, f"mapping profile {' '.join(name.split()).casefold()}")
