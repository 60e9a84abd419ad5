"""Model portfolios: targets in numbered versions, which several portfolios follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.money import US_DOLLAR
from rebalancer.domain.portfolio.following import Following, own_band
from rebalancer.domain.portfolio.mandate import LONGEST_NAME, Mandate
from rebalancer.domain.portfolio.target_groups import LookThrough, TargetTree

MOST_MODELS = 100
"""Most models of an owner."""

LONGEST_MODEL_NOTE = 500


class ModelChanged(Conflict):
    """Another request has changed the model; reload it and retry."""

    default_code = "model_changed"


@attrs.frozen
class ModelContent:
    """What a version of a model states; the same values as those of a mandate.

    Attributes:
        targets: Weights by symbol; with groups, those that follow from their stated weights.
        target_groups: Targets by groups; None if they are stated by symbol.
        look_through: Asset classes of funds of several classes.
        band: Half-width of the no-trade band; None: each follower's own.

    Raises:
        InvalidRequest: as `Mandate`, without any target, or the band is not a fraction.
    """

    targets: Mapping[str, float]
    target_groups: TargetTree | None = None
    look_through: LookThrough = attrs.field(factory=dict)
    band: float | None = None

    def __attrs_post_init__(self) -> None:
        checked = Mandate("-", US_DOLLAR, self.targets, target_groups=self.target_groups)
        checked = attrs.evolve(checked, look_through=self.look_through)
        object.__setattr__(self, "targets", checked.targets)
        object.__setattr__(self, "target_groups", checked.target_groups)
        if not self.targets:
            raise InvalidRequest(
                "a model needs targets; state at least one", field="targets", code="targets_missing"
            )
        if self.band is not None and not (math.isfinite(self.band) and 0 <= self.band <= 1):
            raise InvalidRequest(
                f"{self.band} is not between 0 and 1; enter a fraction",
                field="band",
                code="not_a_fraction",
            )

    def apply_to(
        self, mandate: Mandate, before: Following | None = None, *, acknowledged: bool = False
    ) -> Mandate:
        """Return a mandate with these targets; its name, currency, profile and rules stay.

        Args:
            mandate: Of the follower.
            before: What it followed before, whose band gives way; None: nothing.
            acknowledged: Whether its owner accepts that the targets exceed the profile's limits.
        """
        own = own_band(mandate, before)
        band = own if self.band is None else self.band
        return attrs.evolve(
            mandate,
            targets=self.targets,
            target_groups=self.target_groups,
            look_through=self.look_through,
            preferences=attrs.evolve(mandate.preferences, band=band),
            acknowledge_limits=mandate.acknowledge_limits or acknowledged,
        )


@attrs.frozen
class ModelVersion:
    """A version of a model, which never changes.

    Attributes:
        number: From 1 on, without gaps.
    """

    model: UUID
    owner: UUID
    number: int
    content: ModelContent
    created: datetime
    note: str = ""

    def __attrs_post_init__(self) -> None:
        if len(self.note) > LONGEST_MODEL_NOTE:
            raise InvalidRequest(
                f"{len(self.note)} characters; a note has at most {LONGEST_MODEL_NOTE}",
                field="note",
                code="note_too_long",
            )


@attrs.frozen
class PortfolioModel:
    """A model of an owner.

    Attributes:
        name: 1 to 100 characters.
        version: Number of changes, from 1, for optimistic locking.
        latest: Number of its latest version.
    """

    id: UUID
    owner: UUID
    name: str
    version: int
    latest: int
    created: datetime
    changed: datetime

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.name.strip()) <= LONGEST_NAME:
            raise InvalidRequest(
                f"{len(self.name)} characters; a name has 1 to {LONGEST_NAME} characters, not only "
                "spaces",
                field="name",
                code="invalid_name",
            )

    def rename(self, name: str, now: datetime) -> PortfolioModel:
        """Return the model with another name."""
        return attrs.evolve(self, name=name, version=self.version + 1, changed=now)

    def publish(
        self, content: ModelContent, note: str, now: datetime
    ) -> tuple[PortfolioModel, ModelVersion]:
        """Return the model with a further version, and that version."""
        number = self.latest + 1
        made = ModelVersion(self.id, self.owner, number, content, now, note)
        return attrs.evolve(self, latest=number, version=self.version + 1, changed=now), made


def follow(
    version: ModelVersion, mandate: Mandate, before: Following | None, *, pinned: bool
) -> Following:
    """Return what a portfolio follows from now on.

    Args:
        version: Version of the model.
        mandate: Of the portfolio, before it has the targets of the version.
        before: What it followed before; None: nothing.
        pinned: Whether it stays with this version.
    """
    own = own_band(mandate, before)
    return Following(version.model, version.number, pinned, version.content.band, own)
