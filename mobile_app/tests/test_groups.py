"""Groups of targets: what the chart shows at each level, and the tree while it is typed."""

from decimal import Decimal

import attrs
import pytest

from rebalancer_app.gateway.decoding import decode
from rebalancer_app.gateway.targets import TargetsNow
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.groups import check_sums, edited_tree, group_fields, groups_screen
from rebalancer_app.texts import load_texts

EN, DE = load_texts("en"), load_texts("de")
BRITISH, GERMAN = Formats.of("en-GB"), Formats.of("de-DE")

TREE = {
    "groups": [
        {
            "name": "Equities",
            "weight": 0.6,
            "assets": {"VTI": 0.5},
            "inside": "target",
            "groups": [
                {"name": "World", "weight": 0.5, "assets": {"VXUS": 1.0}, "inside": "current"}
            ],
        },
        {"name": "Bonds", "weight": 0.3, "asset_class": "bond", "inside": "current"},
    ],
    "assets": {"GLD": 0.05},
}


def group(path, weight, target, members, **more):
    values = {
        "name": path[-1],
        "path": path,
        "weight": weight,
        "target": target,
        "drift_points": 100 * (weight - target),
        "band": None,
        "min_weight": None,
        "max_weight": None,
        "members": members,
        "missing_points": 0.0,
    }
    return values | more


NOW = decode(
    {
        "weights": {"VTI": 0.4, "VXUS": 0.262, "BND": 0.238, "GLD": 0.05},
        "targets": {"VTI": 0.3, "VXUS": 0.3, "BND": 0.3, "GLD": 0.05},
        "groups": [
            group(["Equities"], 0.662, 0.6, {"VTI": 1, "VXUS": 1}, band=0.05),
            group(["Equities", "World"], 0.262, 0.3, {"VXUS": 1}),
            group(["Bonds"], 0.238, 0.3, {"BND": 1}, missing_points=2.0),
        ],
    },
    TargetsNow,
)


def test_outermost_level_shows_groups_loose_assets_and_cash():
    screen = groups_screen(NOW, (), BRITISH, EN)
    assert [one.bar.name for one in screen.lines] == ["Equities", "Bonds", "GLD", "Cash"]
    equities, bonds, gold, cash = screen.lines
    assert equities.note == "6.2 points over target."
    assert equities.bar.outside and not bonds.bar.outside
    assert bonds.note == (
        "6.2 points under target. Its funds keep the class 2.0 points from its target."
    )
    assert (gold.path, equities.path) == ((), ("Equities",))
    assert cash.bar.weight == pytest.approx(0.05)
    assert screen.scale >= 0.662


def test_group_opens_to_its_members_and_groups_inside():
    screen = groups_screen(NOW, ("Equities",), GERMAN, DE)
    assert (screen.title, [one.bar.name for one in screen.lines]) == ("Equities", ["World", "VTI"])
    assert screen.lines[1].bar.shown == "40,0\u00a0% von 30,0\u00a0%"
    inner = groups_screen(NOW, ("Equities", "World"), GERMAN, DE)
    assert [one.bar.name for one in inner.lines] == ["VXUS"]


def typed(fields, **changes):
    return tuple(
        attrs.evolve(one, typed=changes[one.name]) if one.name in changes else one for one in fields
    )


def test_tree_is_shown_as_fields_and_saved_unchanged():
    fields = group_fields(TREE, BRITISH)
    assert [(one.name, one.depth, one.typed) for one in fields] == [
        ("GLD", 0, "5"),
        ("Equities", 0, "60"),
        ("VTI", 1, "50"),
        ("World", 1, "50"),
        ("VXUS", 2, "100"),
        ("Bonds", 0, "30"),
    ]
    sums = check_sums(fields, BRITISH, EN)
    assert sums.is_valid
    assert sums.texts[""] == "95.0% in all; 5.0% stays in cash."
    saved = edited_tree(TREE, fields, BRITISH)
    assert saved["assets"] == {"GLD": 0.05}
    assert [one["weight"] for one in saved["groups"]] == [0.6, 0.3]
    assert saved["groups"][0]["groups"][0]["assets"] == {"VXUS": 1.0}
    assert saved["groups"][1]["asset_class"] == "bond"


def test_sums_are_checked_inside_each_group():
    fields = typed(group_fields(TREE, GERMAN), VTI="40", Bonds="45,5")
    sums = check_sums(fields, GERMAN, DE)
    assert not sums.is_valid
    assert sums.texts[".0"].startswith("Equities: zusammen 90,0")
    assert "zu viel" in sums.texts[""]
    mended = typed(fields, VTI="50", Bonds="35")
    assert check_sums(mended, GERMAN, DE).is_valid
    assert edited_tree(TREE, mended, GERMAN)["groups"][1]["weight"] == 0.35


@pytest.mark.parametrize(("share", "valid"), [("0", True), ("", True), ("x", False), ("50", False)])
def test_members_by_value_may_have_no_shares(share, valid):
    fields = typed(group_fields(TREE, BRITISH), VXUS=share)
    assert check_sums(fields, BRITISH, EN).is_valid is valid


def test_shares_keep_their_digits():
    tree = {"groups": [{"name": "A", "weight": 0.333, "assets": {"X": 1}}], "assets": {}}
    (top, _) = group_fields(tree, BRITISH)
    assert Decimal(top.typed) == Decimal("33.3")
    assert edited_tree(tree, group_fields(tree, BRITISH), BRITISH)["groups"][0]["weight"] == 0.333
