"""Targets that name asset classes or own groups: a tree of groups with assets at its leaves.

Weights are fractions of the parent; those of the outermost level are fractions of portfolio value.
`target_resolution` computes the weights by symbol that follow from a tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import StrEnum
from typing import Any

import attrs

from rebalancer.domain.errors import InvalidRequest, combine
from rebalancer.domain.market.asset_classes import AssetClass

LONGEST_GROUP_NAME = 60
MOST_GROUPS = 100
DEEPEST = 5
"""Most levels of groups."""

_TOLERANCE = 1e-6
"""Tolerance for rounding in sums of weights."""

_FIELD = "target_groups"


class Inside(StrEnum):
    """How the weight of a group is divided among its members.

    TARGET: by the stated weights. CURRENT: by the values held, so that trades of the group keep the
    proportions of its members; by the stated weights while nothing is held, or equally if all of
    them are 0.
    """

    TARGET = "target"
    CURRENT = "current"


@attrs.frozen
class TargetGroup:
    """Group of assets, or of groups, with a target of its own; `TargetTree` checks it.

    Attributes:
        name: Unique within a tree, regardless of case.
        weight: Fraction of the parent.
        groups: Groups inside.
        assets: Fraction of this group by symbol.
        asset_class: Class whose assets are members: those listed, and those that the portfolio
            holds and lists in no other group. Its weight counts funds of several classes by their
            shares. None: an own group.
        inside: See `Inside`.
        band: Largest drift of the group, as a fraction of portfolio value, that triggers no review;
            None: only the bands of its members count.
        min_weight: Least fraction of portfolio value; None: no minimum.
        max_weight: Largest fraction of portfolio value; None: no maximum.
    """

    name: str
    weight: float
    groups: tuple[TargetGroup, ...] = ()
    assets: Mapping[str, float] = attrs.field(factory=dict)
    asset_class: AssetClass | None = None
    inside: Inside = Inside.TARGET
    band: float | None = None
    min_weight: float | None = None
    max_weight: float | None = None

    @property
    def symbols(self) -> frozenset[str]:
        """Symbols that the group or a group inside lists."""
        return frozenset(self.assets).union(*(one.symbols for one in self.groups))

    def walk(self) -> Iterator[TargetGroup]:
        """Yield the group, then all groups inside."""
        yield self
        for one in self.groups:
            yield from one.walk()


@attrs.frozen
class TargetTree:
    """Targets of a portfolio by groups; what the outermost weights lack to 1 is cash.

    Attributes:
        groups: The outermost groups.
        assets: Fraction of portfolio value of assets outside any group, by symbol.

    Raises:
        InvalidRequest: a weight or limit is not a fraction, weights have a wrong sum, a group is
            empty, or a name or symbol occurs twice; the field is the path to the fault.
    """

    groups: tuple[TargetGroup, ...] = ()
    assets: Mapping[str, float] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        faults = _Check(self).faults
        if faults:
            raise combine(faults)

    def to_json(self) -> dict[str, Any]:
        """Return the tree as JSON values."""
        found: dict[str, Any] = attrs.asdict(
            self, value_serializer=lambda _, __, v: v.value if isinstance(v, StrEnum) else v
        )
        return found

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> TargetTree:
        """Return the tree that `to_json` stored."""
        return cls(tuple(map(_group_from_json, stored["groups"])), dict(stored["assets"]))

    def __bool__(self) -> bool:
        """Return whether the tree states anything."""
        return bool(self.groups or self.assets)

    def walk(self) -> Iterator[TargetGroup]:
        """Yield all groups, each before those inside."""
        for one in self.groups:
            yield from one.walk()

    @property
    def symbols(self) -> frozenset[str]:
        """Symbols that are listed anywhere."""
        return frozenset(self.assets).union(*(one.symbols for one in self.groups))

    @property
    def stated_weights(self) -> dict[str, float]:
        """Weight of each listed asset by the stated weights alone, whatever is held."""
        found = dict(self.assets)
        for one in self.groups:
            found.update(_stated(one, one.weight))
        return found

    def replace_symbol(self, old: str, new: str) -> TargetTree:
        """Return the tree with another symbol of an asset.

        Weights of both in one group are added. If another group lists the new symbol, the asset
        leaves its own group, whose other members take its place in proportion.
        """
        if old not in self.symbols:
            return self
        joins = new in self.symbols
        assets, groups = _renamed(self.assets, self.groups, old, new, joins=joins, outermost=True)
        return TargetTree(groups, assets)


def _stated(group: TargetGroup, weight: float) -> dict[str, float]:
    assets, groups = stated_shares(group)
    found = {symbol: weight * share for symbol, share in assets.items()}
    for one, share in zip(group.groups, groups, strict=True):
        found.update(_stated(one, weight * share))
    return found


def stated_shares(group: TargetGroup) -> tuple[dict[str, float], list[float]]:
    """Return the share of each listed asset of a group, and of each group inside.

    They sum to 1 if the group lists anything; if all stated weights are 0, they are equal.
    """
    assets, groups = dict(group.assets), [one.weight for one in group.groups]
    total = math.fsum([*assets.values(), *groups])
    if total == 1.0 or not (assets or groups):
        return assets, groups
    if not total:
        equal = 1.0 / (len(assets) + len(groups))
        return dict.fromkeys(assets, equal), [equal] * len(groups)
    return {one: share / total for one, share in assets.items()}, [one / total for one in groups]


def _renamed(
    assets: Mapping[str, float],
    groups: Collection[TargetGroup],
    old: str,
    new: str,
    *,
    joins: bool,
    outermost: bool = False,
) -> tuple[dict[str, float], tuple[TargetGroup, ...]]:
    """Return the members of a group after `TargetTree.replace_symbol`."""
    kept: dict[str, float] = {}
    for symbol, weight in assets.items():
        if symbol == old and joins and new not in assets:
            continue  # another group lists the new symbol
        name = new if symbol == old else symbol
        kept[name] = kept.get(name, 0.0) + weight
    inner: list[TargetGroup] = []
    for one in groups:
        if old not in one.symbols:
            inner.append(one)
            continue
        found, below = _renamed(one.assets, one.groups, old, new, joins=joins)
        if found or below or one.asset_class is not None:
            inside = one.inside if found or below else Inside.CURRENT
            inner.append(attrs.evolve(one, assets=found, groups=below, inside=inside))
    lost = len(kept) + len(inner) < len(assets) + len(groups) and new not in kept
    if lost and not outermost:
        total = math.fsum([*kept.values(), *(one.weight for one in inner)])
        factor = 1.0 / total if total else 1.0
        kept = {symbol: weight * factor for symbol, weight in kept.items()}
        inner = [attrs.evolve(one, weight=one.weight * factor) for one in inner]
    return kept, tuple(inner)


class _Check:
    """Check of a tree, which collects all faults with the paths to them."""

    def __init__(self, tree: TargetTree) -> None:
        self.faults: list[InvalidRequest] = []
        self._names: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self._count = 0
        self._assets(tree.assets, _FIELD, "")
        for at, group in enumerate(tree.groups):
            self._group(group, f"{_FIELD}.groups[{at}]", 1, group.weight, below_class="")
        if self._count > MOST_GROUPS:
            self.faults.append(
                InvalidRequest(
                    f"{self._count} groups exceed the maximum of {MOST_GROUPS}; remove some",
                    field=_FIELD,
                    code="too_many_groups",
                )
            )
        total = math.fsum([*tree.assets.values(), *(one.weight for one in tree.groups)])
        if not self.faults and total > 1 + _TOLERANCE:
            self.faults.append(
                InvalidRequest(
                    f"the weights sum to {total:.9g}; lower them to a sum of at most 1 (the rest "
                    "is cash)",
                    field=_FIELD,
                    code="targets_exceed_one",
                )
            )

    def _fraction(self, value: float, field: str) -> bool:
        if math.isfinite(value) and 0 <= value <= 1:
            return True
        self.faults.append(
            InvalidRequest(
                f"{value} is not between 0 and 1; enter a fraction",
                field=field,
                code="not_a_fraction",
            )
        )
        return False

    def _assets(self, assets: Mapping[str, float], path: str, group: str) -> None:
        for symbol, weight in assets.items():
            field = f"{path}.assets.{symbol}"
            self._fraction(weight, field)
            if symbol in self._places:
                other = self._places[symbol]
                place = f"in {other}" if other else "outside the groups"
                self.faults.append(
                    InvalidRequest(
                        f"{symbol} is listed {place} already; list each asset once",
                        field=field,
                        code="symbol_in_two_groups",
                    )
                )
            else:
                self._places[symbol] = group

    def _group(
        self,
        group: TargetGroup,
        path: str,
        depth: int,
        absolute: float | None,
        *,
        below_class: str,
    ) -> None:
        """Check one group and those inside; ``absolute`` is its weight of portfolio value."""
        self._count += 1
        self._name(group.name, path)
        self._fraction(group.weight, f"{path}.weight")
        if depth > DEEPEST:
            self.faults.append(
                InvalidRequest(
                    f"groups are nested {depth} levels deep; the maximum is {DEEPEST}",
                    field=path,
                    code="groups_too_deep",
                )
            )
            return
        if group.asset_class is not None and below_class:
            self.faults.append(
                InvalidRequest(
                    f"{group.name} is inside {below_class}, which names an asset class itself; "
                    "name the class of one of them only",
                    field=f"{path}.asset_class",
                    code="nested_asset_class",
                )
            )
        self._limits(group, path, absolute)
        self._assets(group.assets, path, group.name)
        self._sum(group, path)
        below = group.name if group.asset_class is not None else below_class
        for at, one in enumerate(group.groups):
            stated = absolute is not None and group.inside is Inside.TARGET
            weight = absolute * one.weight if stated and absolute is not None else None
            self._group(one, f"{path}.groups[{at}]", depth + 1, weight, below_class=below)

    def _name(self, name: str, path: str) -> None:
        field = f"{path}.name"
        if not 1 <= len(name.strip()) <= LONGEST_GROUP_NAME or len(name) > LONGEST_GROUP_NAME:
            self.faults.append(
                InvalidRequest(
                    f"{len(name)} characters; the name of a group has 1 to {LONGEST_GROUP_NAME} "
                    "characters, not only spaces",
                    field=field,
                    code="invalid_name",
                )
            )
        known = self._names.setdefault(name.strip().casefold(), path)
        if known != path:
            self.faults.append(
                InvalidRequest(
                    f"two groups have the name {name}; choose different names",
                    field=field,
                    code="duplicate_group",
                )
            )

    def _limits(self, group: TargetGroup, path: str, absolute: float | None) -> None:
        valid = 0 <= group.weight <= 1
        for name in ("band", "min_weight", "max_weight"):
            value = getattr(group, name)
            if value is not None:
                valid &= self._fraction(value, f"{path}.{name}")
        least = 0.0 if group.min_weight is None else group.min_weight
        most = 1.0 if group.max_weight is None else group.max_weight
        if not valid:
            return
        if least > most:
            self.faults.append(
                InvalidRequest(
                    f"the minimum weight {least:g} exceeds the maximum {most:g}; lower it",
                    field=f"{path}.min_weight",
                    code="minimum_exceeds_maximum",
                )
            )
        elif absolute is not None and not least - _TOLERANCE <= absolute <= most + _TOLERANCE:
            name = "max_weight" if absolute > most else "min_weight"
            self.faults.append(
                InvalidRequest(
                    f"the target of {group.name} is {absolute:.4g} of the portfolio, outside of "
                    f"{least:g} to {most:g}; change the weight or the limit",
                    field=f"{path}.{name}",
                    code="target_outside_limits",
                )
            )

    def _sum(self, group: TargetGroup, path: str) -> None:
        if not group.assets and not group.groups:
            if group.asset_class is None:
                self.faults.append(
                    InvalidRequest(
                        f"{group.name} is empty; list its assets, name an asset class, or "
                        "remove it",
                        field=path,
                        code="empty_group",
                    )
                )
            elif group.inside is Inside.TARGET:
                self.faults.append(
                    InvalidRequest(
                        f"{group.name} lists no assets, so that their weights are unknown; list "
                        'assets with weights, or choose "current" for inside',
                        field=f"{path}.inside",
                        code="weights_missing",
                    )
                )
            return
        total = math.fsum([*group.assets.values(), *(one.weight for one in group.groups)])
        equal = group.inside is Inside.CURRENT and total == 0
        if not equal and not abs(total - 1) <= _TOLERANCE:
            self.faults.append(
                InvalidRequest(
                    f"the weights inside {group.name} sum to {total:.9g}; change them to a sum "
                    "of 1",
                    field=path,
                    code="group_sum_not_one",
                )
            )


def canonical_tree(tree: TargetTree) -> tuple[object, ...]:
    """Return the same value for equal trees, in whatever order they list their members."""
    return (_canonical_assets(tree.assets), _canonical_groups(tree.groups))


def _canonical_assets(assets: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple((symbol, float(weight) + 0.0) for symbol, weight in sorted(assets.items()))


def _canonical_groups(groups: Collection[TargetGroup]) -> tuple[tuple[object, ...], ...]:
    return tuple(
        (
            one.name,
            float(one.weight) + 0.0,
            one.asset_class and one.asset_class.value,
            one.inside.value,
            *(
                None if limit is None else float(limit) + 0.0
                for limit in (one.band, one.min_weight, one.max_weight)
            ),
            _canonical_assets(one.assets),
            _canonical_groups(one.groups),
        )
        for one in sorted(groups, key=lambda one: one.name)
    )


def canonical_look_through(splits: LookThrough) -> tuple[object, ...]:
    """Return the same value for equal splits, in whatever order they are listed."""
    return tuple(
        (symbol, tuple(sorted((name.value, float(share)) for name, share in split.items())))
        for symbol, split in sorted(splits.items())
    )


def _group_from_json(stored: Mapping[str, Any]) -> TargetGroup:
    kind = stored["asset_class"]
    own = {
        "groups": tuple(map(_group_from_json, stored["groups"])),
        "asset_class": None if kind is None else AssetClass(kind),
        "inside": Inside(stored["inside"]),
    }
    return TargetGroup(**{**stored, **own})


LookThrough = Mapping[str, Mapping[AssetClass, float]]
"""By symbol of a fund, the fraction of it in each asset class; the fractions of a fund sum to 1."""


def check_look_through(splits: LookThrough) -> None:
    """Check the asset classes of funds.

    Raises:
        InvalidRequest: a share is not a fraction, or the shares of a fund do not sum to 1.
    """
    faults = [fault for symbol, split in splits.items() if (fault := _split_fault(symbol, split))]
    if faults:
        raise combine(faults)


def class_shares(
    symbol: str, splits: LookThrough, class_of: Callable[[str], AssetClass | None]
) -> Mapping[AssetClass, float]:
    """Return the shares of classes in an asset; nothing if its class is unknown."""
    split = splits.get(symbol)
    if split is not None:
        return split
    known = class_of(symbol)
    return {} if known is None else {known: 1.0}


def _split_fault(symbol: str, split: Mapping[AssetClass, float]) -> InvalidRequest | None:
    field = f"look_through.{symbol}"
    for name, share in split.items():
        if not (math.isfinite(share) and 0 <= share <= 1):
            return InvalidRequest(
                f"{share} is not between 0 and 1; enter a fraction",
                field=f"{field}.{name.value}",
                code="not_a_fraction",
            )
    total = math.fsum(split.values())
    if not abs(total - 1) <= _TOLERANCE:
        return InvalidRequest(
            f"the asset classes of {symbol} sum to {total:.9g}; change them to a sum of 1, with "
            f"{AssetClass.OTHER.value} for the rest",
            field=field,
            code="look_through_sum",
        )
    return None
