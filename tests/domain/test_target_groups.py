"""Targets by groups: what a tree may state, and the weights that follow from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest, faults_of
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.portfolio.corporate_actions import replace_symbol
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.domain.portfolio.portfolio import Preferences
from rebalancer.domain.portfolio.target_groups import (
    DEEPEST,
    Inside,
    LookThrough,
    TargetGroup,
    TargetTree,
    canonical_tree,
    check_look_through,
)
from rebalancer.domain.portfolio.target_resolution import ResolvedTargets, resolve_targets
from tests.builders import USD

EQUITY, BOND, GOLD = AssetClass.EQUITY, AssetClass.BOND, AssetClass.GOLD
CLASSES = {"VTI": EQUITY, "VXUS": EQUITY, "BND": BOND, "AGG": BOND, "GLD": GOLD}
MIXED: LookThrough = {"MIX": {EQUITY: 0.6, BOND: 0.4}}


def resolved(
    *groups: TargetGroup,
    held: Mapping[str, float] | None = None,
    assets: Mapping[str, float] | None = None,
    splits: LookThrough | None = None,
) -> ResolvedTargets:
    tree = TargetTree(groups, assets or {})
    return resolve_targets(tree, held or {}, class_of=CLASSES.get, look_through=splits)


def faults(*groups: TargetGroup, assets: Mapping[str, float] | None = None) -> dict[str, str]:
    """Return the code of each fault by its field."""
    with pytest.raises(InvalidRequest) as error:
        TargetTree(groups, assets or {})
    return {fault.field: fault.code for fault in faults_of(error.value)}


def of_class(name: str, weight: float, kind: AssetClass, **others: Any) -> TargetGroup:
    others.setdefault("inside", Inside.TARGET if others.get("assets") else Inside.CURRENT)
    return TargetGroup(name, weight, asset_class=kind, **others)


# What a tree may state.


@pytest.mark.parametrize(
    ("groups", "field", "code"),
    [
        ([TargetGroup("A", 0.5)], "target_groups.groups[0]", "empty_group"),
        (
            [TargetGroup("A", 0.5, asset_class=BOND)],
            "target_groups.groups[0].inside",
            "weights_missing",
        ),
        (
            [TargetGroup("A", 0.5, assets={"X": 0.5, "Y": 0.4})],
            "target_groups.groups[0]",
            "group_sum_not_one",
        ),
        (
            [TargetGroup("A", 1.5, assets={"X": 1})],
            "target_groups.groups[0].weight",
            "not_a_fraction",
        ),
        (
            [TargetGroup("A", 0.5, assets={"X": float("nan")})],
            "target_groups.groups[0].assets.X",
            "not_a_fraction",
        ),
        (
            [TargetGroup("A", 0.7, assets={"X": 1}), TargetGroup("B", 0.4, assets={"Y": 1})],
            "target_groups",
            "targets_exceed_one",
        ),
        (
            [TargetGroup("A", 0.5, assets={"X": 1}), TargetGroup("B", 0.5, assets={"X": 1})],
            "target_groups.groups[1].assets.X",
            "symbol_in_two_groups",
        ),
        (
            [TargetGroup("A", 0.5, assets={"X": 1}), TargetGroup("a ", 0.5, assets={"Y": 1})],
            "target_groups.groups[1].name",
            "duplicate_group",
        ),
        ([TargetGroup(" ", 1, assets={"X": 1})], "target_groups.groups[0].name", "invalid_name"),
        (
            [TargetGroup("A", 0.5, assets={"X": 1}, min_weight=0.6, max_weight=0.4)],
            "target_groups.groups[0].min_weight",
            "minimum_exceeds_maximum",
        ),
        (
            [TargetGroup("A", 0.5, assets={"X": 1}, max_weight=0.4)],
            "target_groups.groups[0].max_weight",
            "target_outside_limits",
        ),
        (
            [
                TargetGroup(
                    "A",
                    1,
                    (TargetGroup("B", 1, assets={"X": 1}, asset_class=BOND),),
                    asset_class=BOND,
                )
            ],
            "target_groups.groups[0].groups[0].asset_class",
            "nested_asset_class",
        ),
    ],
)
def test_faults_of_a_tree_name_the_place(groups: list[TargetGroup], field: str, code: str) -> None:
    found = faults(*groups)
    assert found[field] == code


def test_nesting_is_limited() -> None:
    group = TargetGroup("Inner", 1, assets={"X": 1})
    for level in range(DEEPEST):
        group = TargetGroup(f"Level {level}", 1, (group,))
    assert "groups_too_deep" in faults(group).values()


def test_all_faults_of_a_tree_are_reported_at_once() -> None:
    found = faults(TargetGroup("A", 0.5), TargetGroup("B", 2, assets={"X": 0.5}))
    assert set(found.values()) == {"empty_group", "not_a_fraction", "group_sum_not_one"}


@pytest.mark.parametrize(
    ("split", "code"),
    [
        ({EQUITY: 0.6}, "look_through_sum"),
        ({}, "look_through_sum"),
        ({EQUITY: 1.4, BOND: -0.4}, "not_a_fraction"),
    ],
)
def test_classes_of_a_fund_are_checked(split: Mapping[AssetClass, float], code: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        check_look_through({"MIX": split})
    assert error.value.code == code
    assert error.value.field.startswith("look_through.MIX")


def test_mandate_states_targets_in_one_way() -> None:
    tree = TargetTree((TargetGroup("A", 0.5, assets={"X": 1}),))
    mandate = Mandate("Mine", USD, {}, target_groups=tree)
    assert mandate.targets == {"X": 0.5}
    assert Mandate("Mine", USD, {"X": 0.5}, target_groups=tree) == mandate
    with pytest.raises(InvalidRequest) as error:
        Mandate("Mine", USD, {"X": 0.4}, target_groups=tree)
    assert (error.value.field, error.value.code) == ("targets", "targets_stated_twice")
    assert Mandate("Mine", USD, {}, target_groups=TargetTree()).target_groups is None


# Renames of assets.


def renamed(tree: TargetTree, old: str, new: str) -> TargetTree:
    mandate = Mandate("Mine", USD, {}, target_groups=tree, look_through={old: {BOND: 1.0}})
    moved = replace_symbol(mandate, old, new)
    assert moved.look_through == {new: {BOND: 1.0}}
    assert moved.preferences == Preferences()
    assert moved.target_groups is not None
    return moved.target_groups


def test_new_symbol_takes_the_place_of_the_old_one() -> None:
    tree = TargetTree((TargetGroup("A", 0.5, assets={"X": 0.25, "Y": 0.75}),), {"Z": 0.5})
    assert renamed(tree, "X", "N") == TargetTree(
        (TargetGroup("A", 0.5, assets={"N": 0.25, "Y": 0.75}),), {"Z": 0.5}
    )
    (group,) = renamed(tree, "X", "Y").groups
    assert group.assets == {"Y": 1.0}


def test_symbol_of_another_group_leaves_its_place_to_the_other_members() -> None:
    tree = TargetTree((TargetGroup("A", 0.5, assets={"X": 0.25, "Y": 0.75}),), {"Z": 0.5})
    (group,) = renamed(tree, "X", "Z").groups
    assert group.assets == {"Y": 1.0}
    only = TargetTree(
        (TargetGroup("A", 0.5, assets={"X": 1}), TargetGroup("B", 0.5, assets={"Z": 1}))
    )
    (group,) = renamed(only, "X", "Z").groups
    assert group.name == "B"


# Weights.


def test_one_level_of_stated_weights_gives_them_bit_by_bit() -> None:
    flat = {"VTI": 0.1 + 0.2, "BND": 1 / 3, "GLD": 0.1}
    assert resolved(assets=flat).weights == flat
    groups = [TargetGroup(symbol, weight, assets={symbol: 1}) for symbol, weight in flat.items()]
    assert resolved(*groups).weights == flat


def test_stated_weights_multiply_along_the_tree() -> None:
    world = TargetGroup("World", 0.5, assets={"VTI": 0.75, "VXUS": 0.25})
    equities = TargetGroup("Equities", 0.6, (world,), {"GLD": 0.5})
    found = resolved(equities, TargetGroup("Bonds", 0.4, assets={"BND": 1.0}))
    assert found.weights == pytest.approx({"GLD": 0.3, "VTI": 0.225, "VXUS": 0.075, "BND": 0.4})
    assert [(one.path, one.target) for one in found.groups] == [
        (("Equities",), 0.6),
        (("Equities", "World"), 0.3),
        (("Bonds",), 0.4),
    ]


def test_members_keep_the_proportions_of_their_values() -> None:
    group = TargetGroup("Bonds", 0.4, assets={"BND": 0.5, "AGG": 0.5}, inside=Inside.CURRENT)
    assert resolved(group, held={"BND": 300, "AGG": 100}).weights == pytest.approx(
        {"BND": 0.3, "AGG": 0.1}
    )


def test_group_without_holdings_is_bought_by_its_stated_weights() -> None:
    group = TargetGroup("Bonds", 0.4, assets={"BND": 0.75, "AGG": 0.25}, inside=Inside.CURRENT)
    assert resolved(group, held={"VTI": 100}).weights == pytest.approx({"BND": 0.3, "AGG": 0.1})
    equal = TargetGroup("Bonds", 0.4, assets={"BND": 0, "AGG": 0}, inside=Inside.CURRENT)
    assert resolved(equal).weights == pytest.approx({"BND": 0.2, "AGG": 0.2})


def test_class_group_has_the_held_assets_of_its_class() -> None:
    found = resolved(
        of_class("Equities", 0.6, EQUITY),
        TargetGroup("Apart", 0.1, assets={"VXUS": 1}),
        of_class("Bonds", 0.3, BOND, assets={"BND": 1}),
        held={"VTI": 50, "VXUS": 10, "AGG": 20, "GLD": 5},
    )
    # AGG is a bond that the group does not list: it gives way to BND. GLD is in no group.
    assert found.weights == pytest.approx({"VTI": 0.6, "VXUS": 0.1, "BND": 0.3, "AGG": 0.0})


def test_class_without_any_asset_names_the_remedy() -> None:
    with pytest.raises(InvalidRequest, match="list one with its weight") as error:
        resolved(of_class("Bonds", 0.4, BOND), held={"VTI": 10})
    assert (error.value.field, error.value.code) == (
        "target_groups.groups[0]",
        "class_without_assets",
    )


def test_funds_of_several_classes_count_for_each_by_their_shares() -> None:
    # x of VTI and of MIX each: x + 0.6 x = 0.6, so x = 0.375; bonds: 0.4 x + BND = 0.4.
    found = resolved(
        of_class("Equities", 0.6, EQUITY, assets={"VTI": 0.5, "MIX": 0.5}),
        of_class("Bonds", 0.4, BOND, assets={"BND": 1}),
        splits=MIXED,
    )
    assert found.weights == pytest.approx({"VTI": 0.375, "MIX": 0.375, "BND": 0.25})
    assert [one.missing for one in found.groups] == [0, 0]
    equities, bonds = found.groups
    assert equities.members == {"VTI": 1.0, "MIX": 0.6}
    assert bonds.weight(found.weights) == pytest.approx(0.4)


def test_held_fund_at_its_classes_targets_is_left_as_it_is() -> None:
    found = resolved(
        of_class("Equities", 0.6, EQUITY),
        of_class("Bonds", 0.4, BOND),
        held={"VTI": 30, "MIX": 50, "BND": 20},
        splits=MIXED,
    )
    assert found.weights == pytest.approx({"VTI": 0.3, "MIX": 0.5, "BND": 0.2})


def test_class_that_cannot_be_met_is_approached_and_reported() -> None:
    # Even all in MIX, equities reach 60%.
    found = resolved(
        of_class("Equities", 0.9, EQUITY),
        of_class("Bonds", 0.1, BOND),
        held={"MIX": 50, "BND": 20},
        splits=MIXED,
    )
    assert found.weights == pytest.approx({"MIX": 1.0, "BND": 0.0})
    assert [one.missing for one in found.groups] == pytest.approx([0.3, -0.3])


def test_fund_outside_of_class_groups_counts_for_its_own_group() -> None:
    found = resolved(
        TargetGroup("Mixed", 0.5, assets={"MIX": 1}),
        of_class("Equities", 0.5, EQUITY, assets={"VTI": 1}),
        splits=MIXED,
    )
    assert found.weights == {"MIX": 0.5, "VTI": 0.5}


SYMBOLS = ("VTI", "VXUS", "BND", "AGG", "GLD", "MIX")


@st.composite
def trees(draw: st.DrawFn) -> TargetTree:
    """Draw two groups and loose assets over six symbols."""

    def shares(count: int, total: float = 1.0) -> list[float]:
        raw = [draw(st.integers(1, 9)) for _ in range(count)]
        return [one / sum(raw) * total for one in raw]

    cut = draw(st.integers(1, 4))
    first, second = SYMBOLS[:cut], SYMBOLS[cut:5]
    weights = shares(3, draw(st.sampled_from([0.5, 1.0])))
    inside = st.sampled_from(Inside)
    with_classes = draw(st.booleans())
    return TargetTree(
        (
            TargetGroup(
                "One",
                weights[0],
                assets=dict(zip(first, shares(len(first)), strict=True)),
                asset_class=EQUITY if with_classes else None,
                inside=draw(inside),
            ),
            TargetGroup(
                "Two",
                weights[1],
                assets=dict(zip((*second, "MIX"), shares(len(second) + 1), strict=True)),
                asset_class=BOND if with_classes else None,
                inside=draw(inside),
            ),
        ),
        {"CASHLIKE": weights[2]},
    )


HELD = st.fixed_dictionaries({one: st.integers(0, 100) for one in SYMBOLS})


@given(tree=trees(), held=HELD)
@settings(max_examples=40)
def test_weights_are_feasible_and_sum_as_stated(tree: TargetTree, held: dict[str, int]) -> None:
    found = resolve_targets(tree, held, class_of=CLASSES.get, look_through=MIXED)
    stated = sum(one.weight for one in tree.groups) + sum(tree.assets.values())
    assert all(weight >= 0 for weight in found.weights.values())
    assert sum(found.weights.values()) == pytest.approx(stated)
    assert found.weights["CASHLIKE"] == tree.assets["CASHLIKE"]


@given(tree=trees(), held=HELD)
@settings(max_examples=20)
def test_order_and_scale_change_nothing(tree: TargetTree, held: dict[str, int]) -> None:
    def turned(assets: Mapping[str, float]) -> dict[str, float]:
        return dict(reversed(list(assets.items())))

    groups = tuple(
        TargetGroup(
            one.name,
            one.weight,
            assets=turned(one.assets),
            asset_class=one.asset_class,
            inside=one.inside,
        )
        for one in reversed(tree.groups)
    )
    other = TargetTree(groups, turned(tree.assets))
    found = resolve_targets(tree, held, class_of=CLASSES.get, look_through=MIXED)
    again = resolve_targets(other, turned(held), class_of=CLASSES.get, look_through=MIXED)
    scaled = resolve_targets(
        tree,
        {symbol: 4.0 * value for symbol, value in held.items()},
        class_of=CLASSES.get,
        look_through=MIXED,
    )
    assert dict(again.weights) == pytest.approx(dict(found.weights), abs=1e-9)
    assert dict(scaled.weights) == pytest.approx(dict(found.weights), abs=1e-9)
    assert canonical_tree(tree) == canonical_tree(other)


def test_tree_as_json_reads_back_as_the_same_tree() -> None:
    inner = TargetGroup("Core", 0.5, assets={"A": 0.25, "B": 0.75}, inside=Inside.CURRENT)
    bonds = TargetGroup("Bonds", 0.5, asset_class=AssetClass.BOND, assets={"C": 1.0}, band=0.05)
    tree = TargetTree(
        (TargetGroup("All", 0.9, groups=(inner, bonds), max_weight=0.95),), {"D": 0.1}
    )
    stored = json.loads(json.dumps(tree.to_json()))
    assert TargetTree.from_json(stored) == tree
