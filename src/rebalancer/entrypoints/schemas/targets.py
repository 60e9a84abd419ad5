"""Targets of a portfolio at the last close, in responses and on the command line."""

from __future__ import annotations

from datetime import date
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from msgspec import field

from rebalancer.domain.errors import InvalidRequest, faults_of
from rebalancer.entrypoints.schemas.decoding import collect
from rebalancer.entrypoints.schemas.target_groups import (
    LookThroughFields,
    TargetTreeBody,
    look_through_of,
)
from rebalancer.entrypoints.schemas.wire import Body, DecimalText, View, about, format_decimal

if TYPE_CHECKING:
    from rebalancer.application.target_groups import TargetsNow


class GroupsPreviewBody(Body, frozen=True, kw_only=True):
    """Targets by groups to preview."""

    target_groups: TargetTreeBody
    look_through: LookThroughFields = field(default_factory=dict)

    def check(self) -> None:
        """Apply the rules of the domain."""
        self.target_groups.tree()
        look_through_of(self.look_through)

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return the rules that a field breaks."""
        if name == "target_groups":
            return list(chain.from_iterable(map(faults_of, collect(value.tree))))
        return list(chain.from_iterable(map(faults_of, collect(look_through_of, value))))


class GroupNowView(View, frozen=True, kw_only=True):
    """A group at the last close; weights are of the portfolio's value."""

    name: str
    path: Annotated[list[str], about("Names of the groups around it, then its own.")]
    asset_class: str | None
    inside: str
    weight: Annotated[
        float | None, about("Funds of several classes count by their shares; null without a value.")
    ]
    target: float
    drift_points: Annotated[
        float | None, about("Weight minus target, in percentage points; null without a value.")
    ]
    band: float | None
    min_weight: float | None
    max_weight: float | None
    members: Annotated[dict[str, float], about("Share of each asset that counts for the group.")]
    missing_points: Annotated[
        float, about("Percentage points by which the target of a class cannot be met.")
    ]


class TargetsView(View, frozen=True, kw_only=True):
    """Targets of a portfolio at the last close."""

    portfolio_id: UUID
    version: int
    as_of: date | None
    value: DecimalText | None
    weights: Annotated[dict[str, float], about("Current weights; empty without a value.")]
    targets: Annotated[dict[str, float], about("Weights that follow from the targets.")]
    groups: Annotated[list[GroupNowView], about("Each before those inside.")]
    asset_classes: Annotated[
        dict[str, float], about("Current weights; funds of several classes count by their shares.")
    ]


def targets_view(now: TargetsNow) -> TargetsView:
    """Show the targets of a portfolio."""
    managed, value = now.valued.portfolio, now.valued.value
    groups = []
    for one in now.groups:
        group = one.group
        weight = one.weight(now.weights) if value else None
        groups.append(
            GroupNowView(
                name=group.name,
                path=list(one.path),
                asset_class=None if group.asset_class is None else group.asset_class.value,
                inside=group.inside.value,
                weight=None if weight is None else round(weight, 10),
                target=one.target,
                drift_points=None if weight is None else round(100 * (weight - one.target), 8),
                band=group.band,
                min_weight=group.min_weight,
                max_weight=group.max_weight,
                members=dict(one.members),
                missing_points=round(100 * one.missing, 8),
            )
        )
    return TargetsView(
        portfolio_id=managed.id,
        version=managed.version,
        as_of=now.valued.as_of,
        value=None if value is None else DecimalText(format_decimal(value)),
        weights={symbol: round(weight, 10) for symbol, weight in now.weights.items()},
        targets=dict(now.targets),
        groups=groups,
        asset_classes={name: round(weight, 10) for name, weight in now.classes.items()},
    )
