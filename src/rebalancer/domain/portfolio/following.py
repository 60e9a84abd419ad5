"""Which model a portfolio follows."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import attrs

from rebalancer.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from rebalancer.domain.portfolio.mandate import Mandate


@attrs.frozen
class Following:
    """The model that a portfolio follows.

    Attributes:
        version: Number of the version whose targets it has.
        pinned: Whether it stays with this version; otherwise it moves to each later one.
        band: Band of the version; None: the portfolio's own.
        own_band: Band of the portfolio before the model stated one; used once it states none.
    """

    model: UUID
    version: int
    pinned: bool = False
    band: float | None = None
    own_band: float | None = None

    def check(self, before: Mandate, after: Mandate) -> None:
        """Check that an owner's change of a mandate leaves what the model states.

        Raises:
            InvalidRequest: it does not; the first field is named.
        """
        changed = next(
            (
                name
                for name in ("target_groups", "targets", "look_through")
                if getattr(before, name) != getattr(after, name)
            ),
            None,
        )
        if changed is None and self.band not in (None, after.preferences.band):
            changed = "preferences.band"
        if changed is not None:
            raise InvalidRequest(
                f"the portfolio follows version {self.version} of model {self.model}, which states "
                "this; publish another version of the model, or stop following it first",
                field=changed,
                code="stated_by_model",
            )

    def release(self, mandate: Mandate) -> Mandate:
        """Return the mandate of a portfolio that no longer follows: targets stay."""
        band = own_band(mandate, self)
        return attrs.evolve(mandate, preferences=attrs.evolve(mandate.preferences, band=band))


def own_band(mandate: Mandate, following: Following | None) -> float | None:
    """Return the band that a portfolio has of its own."""
    if following is None or following.band is None:
        return mandate.preferences.band
    return following.own_band
