"""Targets by groups, and the asset classes of funds, in requests, responses and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import attrs
import msgspec
from msgspec import Meta, field

from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.market.symbols import normalize_symbols
from rebalancer.domain.portfolio.target_groups import (
    LONGEST_GROUP_NAME,
    MOST_GROUPS,
    Inside,
    LookThrough,
    TargetGroup,
    TargetTree,
    check_look_through,
)
from rebalancer.entrypoints.schemas.wire import (
    MOST_ASSETS,
    Body,
    Fraction,
    OneLine,
    Symbol,
    View,
    about,
)

if TYPE_CHECKING:
    ClassName = str
else:
    ClassName = Literal[tuple(each.value for each in AssetClass)]

_Shares = Annotated[dict[Symbol, Fraction], Meta(max_length=MOST_ASSETS)]

_EXAMPLE = {
    "groups": [
        {"name": "Equities", "weight": 0.6, "assets": {"AAPL": 0.5, "KO": 0.5}},
        {"name": "Staples", "weight": 0.3, "assets": {"PG": 1}, "band": 0.05},
    ]
}


class TargetGroupBody(Body, frozen=True, kw_only=True):
    """A group of assets with a target of its own."""

    name: Annotated[
        OneLine, Meta(min_length=1, max_length=LONGEST_GROUP_NAME, examples=["Equities"])
    ]
    weight: Annotated[Fraction, about("Fraction of the group around it, or of the portfolio.")]
    groups: Annotated[list[TargetGroupBody], Meta(max_length=MOST_GROUPS)] = field(
        default_factory=list
    )
    assets: Annotated[
        _Shares, about("Fractions of this group by symbol; they sum to 1 with those of groups.")
    ] = field(default_factory=dict)
    asset_class: Annotated[
        ClassName | None,
        about("The assets of this class that the portfolio holds are members, too."),
    ] = None
    inside: Annotated[
        Literal["target", "current"],
        about(
            "target: members have the stated fractions. current: they keep the proportions of "
            "their values."
        ),
    ] = "target"
    band: Annotated[
        Fraction | None,
        about("Drift of the group, as a fraction of the portfolio, that leads to a review."),
    ] = None
    min_weight: Annotated[Fraction | None, about("Least fraction of the portfolio.")] = None
    max_weight: Annotated[Fraction | None, about("Largest fraction of the portfolio.")] = None

    def group(self) -> TargetGroup:
        """Convert to the domain's group."""
        return TargetGroup(
            name=self.name,
            weight=float(self.weight),
            groups=tuple(one.group() for one in self.groups),
            assets=_shares(self.assets),
            asset_class=None if self.asset_class is None else AssetClass(self.asset_class),
            inside=Inside(self.inside),
            band=_float(self.band),
            min_weight=_float(self.min_weight),
            max_weight=_float(self.max_weight),
        )


class TargetTreeBody(Body, frozen=True, kw_only=True):
    """Targets by groups; what the outermost weights lack to 1 is cash. See docs/targets.md."""

    groups: Annotated[
        list[TargetGroupBody], Meta(max_length=MOST_GROUPS, examples=[_EXAMPLE["groups"]])
    ] = field(default_factory=list)
    assets: Annotated[
        _Shares,
        Meta(
            description="Fractions of the portfolio, by symbol, of assets in no group.",
            examples=[{}],
        ),
    ] = field(default_factory=dict)

    def tree(self) -> TargetTree:
        """Convert to the domain's tree, with symbols in capitals.

        Raises:
            InvalidRequest: see `TargetTree`.
        """
        return TargetTree(tuple(one.group() for one in self.groups), _shares(self.assets))


LookThroughFields = Annotated[
    dict[Symbol, dict[ClassName, Fraction]],
    Meta(
        max_length=MOST_ASSETS,
        description="Fractions of funds in asset classes, by symbol; those of a fund sum to 1.",
        examples=[{"AAPL": {"equity": 0.6, "bond": 0.4}}],
    ),
]


def look_through_of(splits: Mapping[str, Mapping[str, float]]) -> LookThrough:
    """Convert to the domain's shares of asset classes.

    Raises:
        InvalidRequest: the shares of a fund are not fractions with a sum of 1.
    """
    found = {
        symbol: {AssetClass(name): float(share) for name, share in split.items()}
        for symbol, split in normalize_symbols(dict(splits), field="look_through").items()
    }
    check_look_through(found)
    return found


class TargetGroupView(View, frozen=True, kw_only=True):
    """A group of assets with a target of its own; see `TargetGroupBody`."""

    name: str
    weight: float
    groups: list[TargetGroupView]
    assets: dict[str, float]
    asset_class: str | None
    inside: str
    band: float | None
    min_weight: float | None
    max_weight: float | None


class TargetTreeView(View, frozen=True, kw_only=True):
    """Targets by groups; see `TargetTreeBody`."""

    groups: list[TargetGroupView]
    assets: dict[str, float]


def target_tree_view(tree: TargetTree) -> TargetTreeView:
    """Show targets by groups."""
    return TargetTreeView(
        groups=[_group_view(one) for one in tree.groups], assets=dict(tree.assets)
    )


def _group_view(group: TargetGroup) -> TargetGroupView:
    values: dict[str, Any] = attrs.asdict(group, recurse=False)
    return TargetGroupView(
        **values
        | {
            "groups": [_group_view(one) for one in group.groups],
            "assets": dict(group.assets),
            "asset_class": None if group.asset_class is None else group.asset_class.value,
            "inside": group.inside.value,
        }
    )


def tree_record(tree: TargetTree) -> dict[str, Any]:
    """Write targets by groups as JSON values for a file, without fields that are unset."""
    record = _without_defaults(msgspec.to_builtins(target_tree_view(tree)))
    assert isinstance(record, dict)
    return record


def _without_defaults(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_defaults(one) for one in value]
    if not isinstance(value, dict):
        return value
    unset: tuple[object, ...] = (None, [], {})
    return {name: _without_defaults(one) for name, one in value.items() if one not in unset}


def look_through_record(splits: LookThrough) -> dict[str, dict[str, float]]:
    """Write the asset classes of funds as JSON values."""
    return {
        symbol: {name.value: share for name, share in split.items()}
        for symbol, split in splits.items()
    }


def _shares(assets: Mapping[str, float]) -> dict[str, float]:
    named = normalize_symbols(dict(assets), field="target_groups")
    return {symbol: float(share) for symbol, share in named.items()}


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
