"""Weights by symbol that follow from targets by groups, at the current values.

The weight of a group is divided among its members by the stated weights, or by the values held.
Groups that name an asset class, and funds of several classes, form a linear system: one factor for
each class group scales its members, in their proportions, so that the class has its weight with
the shares of all funds counted. Where no such factors exist, the weights come as near as possible
to the targets of the classes, and then to those proportions: bounded least squares, solved by
non-negative least squares (Lawson and Hanson 1974, "Solving Least Squares Problems", chapter 23).
A fund that is listed outside of class groups counts for its own group alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.portfolio.target_groups import (
    Inside,
    LookThrough,
    TargetGroup,
    TargetTree,
    class_shares,
    stated_shares,
)

ClassOf = Callable[[str], AssetClass | None]

_EXACT = 1e-9
"""Differences of weights below this are rounding errors."""

_SUM, _CLASS = 1e6, 1e3
"""Weights of the sum and of the classes in the least squares, beside 1 for the proportions."""


@attrs.frozen
class ResolvedGroup:
    """A group with the weights that follow for it.

    Attributes:
        group: The group.
        path: Names from the outermost group to this one.
        target: Its weight of portfolio value, as stated.
        members: Share that counts for this group by symbol, its assets and those of groups inside:
            1, or the share of its class in a fund.
        missing: Target minus the weight that the resolved members give, if that is not nearly 0;
            positive where a class stays below its target.
    """

    group: TargetGroup
    path: tuple[str, ...]
    target: float
    members: Mapping[str, float]
    missing: float = 0.0

    @property
    def depth(self) -> int:
        """Number of groups around it."""
        return len(self.path) - 1

    def weight(self, weights: Mapping[str, float]) -> float:
        """Return the weight of the group, given those of assets."""
        return math.fsum(
            weights.get(symbol, 0.0) * share for symbol, share in sorted(self.members.items())
        )


@attrs.frozen
class ResolvedTargets:
    """Weights by symbol, and the groups that they come from, each before those inside."""

    weights: Mapping[str, float]
    groups: tuple[ResolvedGroup, ...]


def resolve_targets(
    tree: TargetTree,
    values: Mapping[str, float],
    *,
    class_of: ClassOf,
    look_through: LookThrough | None = None,
) -> ResolvedTargets:
    """Compute the weights of a tree.

    Weights depend on the ratios of the values alone. Without class groups that hold funds of
    several classes, they are products of the stated or current shares.

    Args:
        tree: The targets.
        values: Value of each asset that the portfolio holds.
        class_of: Class of an asset; None if it is unknown.
        look_through: Classes of funds of several classes.

    Raises:
        InvalidRequest: a class group has no member.
    """
    return _Resolver(tree, values, class_of, look_through or {}).resolve()


@attrs.define
class _Place:
    """A group in the tree, with its weight and the members that a class adds.

    Attributes:
        target: Fraction of portfolio value.
        shares: Fraction of this group by symbol, with assets of groups inside.
        anchor: The class group that this group is, or is inside of.
    """

    group: TargetGroup
    path: tuple[str, ...]
    field: str
    target: float
    shares: dict[str, float]
    anchor: TargetGroup | None


class _Resolver:
    def __init__(
        self,
        tree: TargetTree,
        values: Mapping[str, float],
        class_of: ClassOf,
        look_through: LookThrough,
    ) -> None:
        self._tree, self._look_through, self._class_of = tree, look_through, class_of
        self._values = {one: value for one, value in sorted(values.items()) if value > 0}
        self._listed = tree.symbols
        self._places: list[_Place] = []

    def resolve(self) -> ResolvedTargets:
        """Return the weights of the tree."""
        weights = dict(self._tree.assets)
        for at, group in enumerate(self._tree.groups):
            self._enter(group, (), f"target_groups.groups[{at}]", group.weight, None)
        tops = [place for place in self._places if len(place.path) == 1]
        for place in tops:
            for symbol, share in place.shares.items():
                weights[symbol] = weights.get(symbol, 0.0) + place.target * share
        if any(self._is_split(symbol) for symbol in weights):
            weights = self._count_classes(weights)
        return ResolvedTargets(weights, tuple(self._resolved(weights)))

    def _is_split(self, symbol: str) -> bool:
        return symbol in self._look_through

    def _enter(
        self,
        group: TargetGroup,
        around: tuple[str, ...],
        field: str,
        target: float,
        anchor: TargetGroup | None,
    ) -> _Place:
        """Add a group and those inside to the places, and compute the shares of its members."""
        if group.asset_class is not None:
            anchor = group
        place = _Place(group, (*around, group.name), field, target, {}, anchor)
        self._places.append(place)
        assets, parts = self._member_shares(group, field)
        place.shares.update(assets)
        for at, (one, share) in enumerate(zip(group.groups, parts, strict=True)):
            inner = self._enter(one, place.path, f"{field}.groups[{at}]", target * share, anchor)
            for symbol, inside in inner.shares.items():
                place.shares[symbol] = share * inside
        return place

    def _member_shares(
        self, group: TargetGroup, field: str
    ) -> tuple[dict[str, float], list[float]]:
        """Return the share of each asset of a group itself, and of each group inside."""
        extra = self._class_members(group)
        stated, parts = stated_shares(group)
        if not stated and not parts and not extra:
            assert group.asset_class is not None
            raise InvalidRequest(
                f"{group.name} has no assets: the portfolio holds none of the class "
                f"{group.asset_class.value}; list one with its weight in the group, or remove the "
                "group",
                field=field,
                code="class_without_assets",
            )
        assets = stated | dict.fromkeys(extra, 0.0)
        if group.inside is Inside.TARGET:
            return assets, parts
        held = {symbol: self._values.get(symbol, 0.0) for symbol in assets}
        below = [
            math.fsum(self._values.get(symbol, 0.0) for symbol in self._symbols_of(one))
            for one in group.groups
        ]
        total = math.fsum([*held.values(), *below])
        if not total:
            return assets, parts
        return {one: value / total for one, value in held.items()}, [one / total for one in below]

    def _symbols_of(self, group: TargetGroup) -> list[str]:
        """Return the assets of a group and of those inside."""
        extra = (symbol for one in group.walk() for symbol in self._class_members(one))
        return sorted(group.symbols.union(extra))

    def _class_members(self, group: TargetGroup) -> list[str]:
        """Return the held assets of a group's class that no group lists.

        A fund of several classes belongs to the group of its largest class.
        """
        if group.asset_class is None:
            return []
        return [
            symbol
            for symbol in self._values
            if symbol not in self._listed and self._main_class(symbol) is group.asset_class
        ]

    def _main_class(self, symbol: str) -> AssetClass | None:
        shares = class_shares(symbol, self._look_through, self._class_of)
        return min(shares, key=lambda one: (-shares[one], one.value), default=None)

    # Funds of several classes.

    def _exposure(self, symbol: str, place: _Place, own: Mapping[str, TargetGroup | None]) -> float:
        """Return the share of an asset that counts for a class group."""
        group = place.group
        if own.get(symbol) is None:
            return 0.0
        if not self._is_split(symbol):
            return 1.0 if own[symbol] is group else 0.0
        assert group.asset_class is not None
        return self._look_through[symbol].get(group.asset_class, 0.0)

    def _anchors(self) -> dict[str, TargetGroup | None]:
        """Return the class group in which each asset is, if any."""
        found: dict[str, TargetGroup | None] = {}
        for place in self._places:
            for symbol in place.shares:
                found[symbol] = place.anchor if place.anchor is not None else found.get(symbol)
        return found

    def _count_classes(self, weights: dict[str, float]) -> dict[str, float]:
        """Return the weights with which each class group has its target, or comes near it."""
        classes = [one for one in self._places if one.group.asset_class is not None]
        if not classes:
            return weights
        own = self._anchors()
        symbols = sorted(one for one in weights if own.get(one) is not None)
        prior = np.array([weights[one] for one in symbols])
        exposure = np.array(
            [[self._exposure(one, place, own) for one in symbols] for place in classes]
        ).reshape(len(classes), len(symbols))
        wanted = np.array([place.target for place in classes])
        total = math.fsum(wanted.tolist())
        if np.abs(exposure @ prior - wanted).max() <= _EXACT:
            return weights
        belongs = np.array(
            [[own[one] is place.group for one in symbols] for place in classes], dtype=float
        )
        found = _scale_groups(prior, exposure, belongs, wanted, total)
        return weights | dict(zip(symbols, found.tolist(), strict=True))

    def _resolved(self, weights: Mapping[str, float]) -> Iterator[ResolvedGroup]:
        own = self._anchors()
        for place in self._places:
            members: dict[str, float] = dict.fromkeys(place.shares, 1.0)
            if place.group.asset_class is not None:
                members = {
                    symbol: share
                    for symbol in sorted(weights)
                    if (share := self._exposure(symbol, place, own))
                }
            found = ResolvedGroup(place.group, place.path, place.target, members)
            missing = place.target - found.weight(weights)
            if place.group.asset_class is not None and abs(missing) > _TOLERATED:
                found = attrs.evolve(found, missing=missing)
            yield found


_TOLERATED = 1e-6
"""Largest distance from the target of a class that is not reported."""


def _scale_groups(
    prior: Floats, exposure: Floats, belongs: Floats, wanted: Floats, total: float
) -> Floats:
    """(N,) weights of the assets of class groups, by which each class has its weight.

    Args:
        prior: (N,) weights in the proportions inside the groups.
        exposure: (G, N) share of each asset that counts for each class group.
        belongs: (G, N) 1 where an asset is in a group.
        wanted: (G,) weight that each class should have.
        total: Sum of the weights.
    """
    system = exposure @ (belongs * prior).T
    factors = np.linalg.lstsq(system, wanted, rcond=None)[0]
    scaled = np.maximum((factors @ belongs) * prior, 0.0)
    off = max(np.abs(exposure @ scaled - wanted).max(), abs(scaled.sum() - total))
    if off <= _EXACT:
        return scaled
    from scipy.optimize import nnls  # slow to import, and seldom needed

    identity = np.eye(len(prior))
    rows = np.vstack([_SUM * np.ones((1, len(prior))), _CLASS * exposure, identity])
    aims = np.concatenate([[_SUM * total], _CLASS * wanted, scaled])
    found: Floats = nnls(rows, aims)[0]
    reached = found.sum()
    return found * (total / reached) if reached > 0 else found
