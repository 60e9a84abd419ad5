"""Versions of learned policies in folders: only what was saved is served."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import attrs
import numpy as np
import pytest

from rebalancer.adapters.rl.catalog import SHIPPED, FolderPolicies, load_version, save_version
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.policy.features import INPUTS_1
from rebalancer.domain.policy.model_card import PolicyKind
from rebalancer.domain.policy.network import Network
from rebalancer.domain.policy.policy import identity
from rebalancer.domain.policy.versions import VersionedPolicy
from tests.networks import GATE, GRID, REGIMES, TRAINING, WALK_FORWARD, a_learned, a_network, keep

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def rewrite(folder: Path, **changes: Any) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest(folder) | changes))


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "weights.npz", allow_pickle=False) as packed:
        return {name: packed[name] for name in packed.files}


def forge(folder: Path, content: bytes) -> None:
    """Other weights, and a manifest that describes just these."""
    (folder / "weights.npz").write_bytes(content)
    rewrite(folder, weights=hashlib.sha256(content).hexdigest())


def repack(folder: Path, **changes: Any) -> None:
    """Arrays changed by name (a dot for the slash); None: left out."""
    kept: dict[str, Any] = arrays(folder)
    for name, array in changes.items():
        kept[name.replace(".", "/")] = array
    packed = io.BytesIO()
    np.savez(packed, **{name: array for name, array in kept.items() if array is not None})
    forge(folder, packed.getvalue())


# There and back.


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_loaded_version_decides_as_the_saved_one(tmp_path: Path, name: str) -> None:
    grid = GRID if name == "dqn" else None
    learned = a_learned(3, name=name, grid=grid)
    training = attrs.evolve(TRAINING, algorithm=name)
    folder = save_version(tmp_path / "new" / "policies", learned, training, version=2)
    assert folder == tmp_path / "new" / "policies" / f"{name}-2"
    assert sorted(one.name for one in folder.parent.iterdir()) == [f"{name}-2"]
    served, card = load_version(folder)
    assert (served.name, served.version) == (f"{name}@2", f"{name}@2")
    observed = np.random.default_rng(1).uniform(-3, 3, (50, len(INPUTS_1.features)))
    for made, again in zip(learned.networks, served.networks, strict=True):
        np.testing.assert_allclose(
            again.outputs(observed), made.outputs(observed), rtol=0, atol=1e-5
        )
        for one, other in zip(
            (*made.weights, *made.biases), (*again.weights, *again.biases), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
            assert other.dtype == np.float64
    if grid is None:
        assert all(network.grid is None for network in served.networks)
    else:
        np.testing.assert_allclose(served.networks[0].grid, grid, atol=1e-6)
    for field in ("start", "transition", "means", "covariances"):
        np.testing.assert_array_equal(getattr(served.regimes, field), getattr(REGIMES, field))
    assert served.regimes.names == REGIMES.names
    assert served.rule.name == "band:frequency=weekly"
    assert (served.most_spread, served.chosen_rule) == (0.9, "trend")
    assert served.lowest.tolist() == [-4.0] * len(INPUTS_1.features)
    assert card.model_card is not None
    assert card.model_card.training == training
    assert (
        card.model_card.weights == hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    )
    assert (card.name, card.kind, card.lookback) == (f"{name}@2", PolicyKind.LEARNED, 253)
    assert list(card.model_card.features) == [feature.name for feature in INPUTS_1.features]
    assert list(card.model_card.actions) == [action.name for action in INPUTS_1.actions]
    assert card.model_card.sleeves == tuple(sleeve.name for sleeve in INPUTS_1.sleeves)
    assert (card.model_card.networks, card.model_card.evidence) == (2, {})


def test_the_same_policy_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = (keep(tmp_path / where) for where in ("a", "b"))
    for file in ("weights.npz", "manifest.json"):
        assert (one / file).read_bytes() == (other / file).read_bytes()
    assert load_version(one)[0].digest == load_version(other)[0].digest


def test_whatever_decisions_follow_from_has_its_own_identity(tmp_path: Path) -> None:
    model = attrs.evolve(REGIMES, start=(0.4, 0.4, 0.2))
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"most_spread": 0.2},
        {"regimes": model},
        {"lowest": np.full(len(INPUTS_1.features), -3.0)},
        {"rule": _rule("monthly")},
    ]
    found = [
        identity(load_version(keep(tmp_path / str(at), **change))[0])
        for at, change in enumerate(changes)
    ]
    assert len(set(found)) == len(changes)
    # What was found of a version does not change what it decides.
    judged = load_version(keep(tmp_path / "judged", evidence={"gate": GATE}))[0]
    assert identity(judged) == found[0]
    members = judged.members
    assert all(isinstance(member, VersionedPolicy) for member in members)
    assert len({identity(one) for one in (judged, *members)}) == 3


def _rule(text: str) -> Any:
    from rebalancer.domain.policy.rules import parse_rule

    return parse_rule(text)


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    folder = keep(tmp_path)
    before = (folder / "weights.npz").read_bytes()
    with pytest.raises(InvalidRequest, match="exists, and versions never change"):
        keep(tmp_path, seed=4)
    assert (folder / "weights.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"name": "Big Name"}, r"manifest.json: .*`\$.name`"),
        ({"name": "band", "algorithm": "ppo"}, "the name band is taken"),
        ({"name": "learned", "algorithm": "ppo"}, "the name learned is taken"),
        ({"algorithm": "dqn"}, "the name ppo is reserved for policies trained by ppo"),
        ({"algorithm": "a2c"}, "unknown algorithm 'a2c'"),
        ({"version": 0}, r"`\$.version`"),
        ({"most_spread": float("nan")}, r"`\$.most_spread`"),
        ({"networks": (a_network(1),)}, "has 1 networks, and manifest.json 2 seeds"),
        ({"networks": (a_network(1), a_network(2, grid=GRID))}, "use different grids of actions"),
        ({"networks": (a_network(1), a_network(2, size=1e39))}, "number that is not finite"),
        ({"highest": np.full(len(INPUTS_1.features), -5.0)}, "a lowest input exceeds the highest"),
        ({"chosen_rule": "nonsense"}, "unknown policy 'nonsense'"),
        ({"evidence": {"odd": object()}}, "evidence: the evidence cannot be encoded as JSON"),
    ],
)
def test_unreadable_version_is_not_saved(
    tmp_path: Path, changes: dict[str, Any], fragment: str
) -> None:
    with pytest.raises(InvalidRequest, match=fragment):
        keep(tmp_path / "policies", **changes)
    left = tmp_path / "policies"
    assert not left.exists() or list(left.iterdir()) == []


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match="cannot write"):
        keep(tmp_path / "file")


# What is damaged, foreign or newer.


def flipped(folder: Path) -> None:
    content = bytearray((folder / "weights.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "weights.npz").write_bytes(bytes(content))


def truncated(folder: Path) -> None:
    content = (folder / "weights.npz").read_bytes()
    (folder / "weights.npz").write_bytes(content[:-100])


def forged_truncated(folder: Path) -> None:
    forge(folder, (folder / "weights.npz").read_bytes()[:-100])


def forged_flipped(folder: Path) -> None:
    content = bytearray((folder / "weights.npz").read_bytes())
    content[200] ^= 1  # in the first array, so that its checksum does not hold
    forge(folder, bytes(content))


def pickled_inside(folder: Path) -> None:
    packed = io.BytesIO()
    np.savez(packed, **{"net0/w0": np.array([{"a": 1}], dtype=object)})  # type: ignore[arg-type]
    forge(folder, packed.getvalue())


def single_array(folder: Path) -> None:
    packed = io.BytesIO()
    np.save(packed, np.zeros(3))
    forge(folder, packed.getvalue())


def other_zip(folder: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("policy.pth", b"something else")
    forge(folder, packed.getvalue())


def immense(folder: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**15,)}
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("net0/w0.npy", header.getvalue())
    forge(folder, packed.getvalue())


def nan_weight(folder: Path) -> None:
    weight = arrays(folder)["net0/w0"]
    weight[0, 0] = np.nan
    repack(folder, **{"net0.w0": weight})


def other_regimes(folder: Path) -> None:
    regimes = manifest(folder)["regimes"]
    regimes["start"] = [0.2, 0.3, 0.5]
    rewrite(folder, regimes=regimes)


def other_features(folder: Path) -> None:
    features = manifest(folder)["features"]
    features[0]["name"] = "sunspots"
    rewrite(folder, features=features)


def fewer_features(folder: Path) -> None:
    rewrite(folder, features=manifest(folder)["features"][1:])


def other_sleeves(folder: Path) -> None:
    rewrite(folder, sleeves=[{**manifest(folder)["sleeves"][0], "name": "luck"}])


def other_scale(folder: Path) -> None:
    features = manifest(folder)["features"]
    features[0]["scale"] *= 2
    rewrite(folder, features=features)


BROKEN: list[tuple[Callable[[Path], Any], str]] = [
    (flipped, "cannot load ppo-1: the checksum of weights.npz does not match"),
    (truncated, "cannot load ppo-1: the checksum of weights.npz does not match"),
    (forged_truncated, "weights.npz is not an npz file of numbers"),
    (forged_flipped, "weights.npz is not an npz file of numbers"),
    (lambda f: forge(f, b""), "weights.npz is not an npz file of numbers"),
    (lambda f: forge(f, b"\x93NUMPY\x01\x00"), "weights.npz is not an npz file of numbers"),
    (lambda f: forge(f, pickle.dumps({"a": 1})), "weights.npz is not an npz file of numbers"),
    (pickled_inside, "weights.npz is not an npz file of numbers"),
    (single_array, "weights.npz holds a single array"),
    (other_zip, "policy.pth is not an array"),
    (immense, "weights.npz is not an npz file of numbers"),
    (nan_weight, "net0/w0 holds a number that is not finite"),
    (lambda f: repack(f, **{"net0.w0": np.zeros((2, 6))}), "layer 0 has weights of shape"),
    (
        lambda f: repack(f, **{"net0.w0": np.zeros((26, 6), dtype=int)}),
        "is not an array of floating-point",
    ),
    (lambda f: repack(f, **{"net0.w0": None}), "net0/w0 is missing"),
    (lambda f: repack(f, **{"net0.b1": None}), "net0/b1 is missing"),
    (lambda f: repack(f, **{"net5.w0": np.zeros(1)}), "net2/b0 is missing"),
    (lambda f: repack(f, **{"net00.w0": np.zeros(1)}), "net00/w0 is not part of a network"),
    (lambda f: repack(f, optimizer=np.zeros(1)), "optimizer is not part of a network"),
    (lambda f: repack(f, lowest=np.zeros(3)), "lowest has shape"),
    (lambda f: repack(f, grid=np.zeros((8, 3))), "a discrete action is 8 numbers"),
    (lambda f: (f / "weights.npz").unlink(), "cannot load ppo-1: weights.npz is missing"),
    (lambda f: (f / "manifest.json").unlink(), "cannot load ppo-1: manifest.json is missing"),
    (lambda f: (f / "manifest.json").write_text("{"), "manifest.json is not JSON"),
    (lambda f: (f / "manifest.json").write_bytes(b'"\xff'), "manifest.json is not JSON"),
    (lambda f: (f / "manifest.json").write_text("[" * 100_000), "manifest.json is not JSON"),
    (lambda f: (f / "manifest.json").write_text("[1]"), "has no valid format number"),
    (lambda f: rewrite(f, format=True), "has no valid format number"),
    (
        lambda f: rewrite(f, format=2, surprise=1),
        "manifest.json has format 2; this version of rebalancer supports",
    ),
    (lambda f: rewrite(f, surprise=1), "manifest.json: .*surprise"),
    (lambda f: rewrite(f, version=3), "manifest.json belongs to ppo-3"),
    (lambda f: rewrite(f, weights="../evil"), r"`\$.weights`"),
    (lambda f: rewrite(f, trained_until="lately"), r"`\$.trained_until`"),
    (lambda f: rewrite(f, most_spread="0.3"), r"`\$.most_spread`"),
    (lambda f: rewrite(f, seeds=[1]), "has 2 networks, and manifest.json 1 seeds"),
    (lambda f: rewrite(f, fallback="hold tight"), "unknown policy 'hold tight'"),
    (other_regimes, "the checksum of the model of regimes does not match"),
    (other_features, "trained for other features than this version of rebalancer has; train it"),
    (fewer_features, r"lowest has shape \(26,\); it must be \(25,\)"),
    (other_scale, "trained for other features than"),
    (lambda f: rewrite(f, actions=["up", "down"]), "trained for other actions than"),
    (other_sleeves, "trained for other actions and sleeves than"),
]


@pytest.mark.parametrize(("damage", "fragment"), BROKEN)
def test_what_does_not_fit_together_is_refused(
    tmp_path: Path, damage: Callable[[Path], Any], fragment: str
) -> None:
    folder = keep(tmp_path)
    damage(folder)
    with pytest.raises(InvalidRequest, match=fragment) as refused:
        load_version(folder)
    assert refused.value.field == "policy"
    offered = FolderPolicies(tmp_path, shipped=tmp_path / "none")
    for ask in (offered.policy, offered.card):
        with pytest.raises(InvalidRequest, match=fragment):
            ask("ppo")
    # Other policies are unaffected.
    assert offered.policy("band").name == "band"
    assert offered.policy("learned").name == "learned"
    assert offered.card("band").name == "band"


def test_no_array_runs_code(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (mark,))

    folder = keep(tmp_path)
    packed = io.BytesIO()
    np.savez(packed, lowest=np.array([Trap()], dtype=object))
    forge(folder, packed.getvalue())
    with pytest.raises(InvalidRequest, match="not an npz file of numbers"):
        load_version(folder)
    assert not mark.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        load_version(tmp_path / "ppo-1")


def test_networks_trained_without_ranges_load_without_them(tmp_path: Path) -> None:
    folder = keep(tmp_path)
    repack(folder, lowest=None, highest=None)
    served, _ = load_version(folder)
    assert np.isneginf(served.lowest).all() and np.isposinf(served.highest).all()


# Two folders.


def test_own_folder_extends_shipped_policies(tmp_path: Path) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    keep(shipped, seed=1)
    keep(mine, seed=2, version=10)
    keep(mine, seed=3, version=9)
    keep(mine, name="dqn")
    (mine / "notes").mkdir()
    (mine / "ppo-x").mkdir()
    (mine / "ppo-11").write_text("no folder")
    offered = FolderPolicies(mine, shipped=shipped)
    names = [card.name for card in offered.cards() if card.kind is PolicyKind.LEARNED]
    assert names == ["dqn", "ppo", "ppo@9", "ppo@1", "learned"]
    assert offered.card("ppo").model_card.version == 10  # type: ignore[union-attr]
    assert offered.card("ppo@1").model_card.shipped  # type: ignore[union-attr]
    assert not offered.card("ppo@9").model_card.shipped  # type: ignore[union-attr]
    keep(mine, seed=5)
    for ask in (offered.cards, lambda: offered.policy("ppo@9"), lambda: offered.policy("learned")):
        with pytest.raises(InvalidRequest, match="ppo-1 has the name of a shipped version"):
            ask()
    assert offered.policy("band").name == "band"


def test_folder_named_like_a_rule_is_reported(tmp_path: Path) -> None:
    (tmp_path / "trend-1").mkdir()
    offered = FolderPolicies(tmp_path, shipped=tmp_path / "none")
    with pytest.raises(InvalidRequest, match="trend-1: the name trend is taken"):
        offered.cards()


def test_file_instead_of_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "policies").write_text("")
    offered = FolderPolicies(tmp_path / "policies", shipped=tmp_path / "none")
    with pytest.raises(InvalidRequest, match=r"cannot read .*policies: Not a directory"):
        offered.policy("ppo")


def test_each_version_is_read_once(tmp_path: Path) -> None:
    folder = keep(tmp_path)
    offered = FolderPolicies(tmp_path, shipped=tmp_path / "none")
    first = offered.policy("ppo@1")
    (folder / "weights.npz").unlink()
    again = offered.policy("ppo")
    assert isinstance(first, VersionedPolicy) and isinstance(again, VersionedPolicy)
    assert again.networks[0] is first.networks[0]


def test_threads_that_come_at_once_share_what_is_read(tmp_path: Path) -> None:
    keep(tmp_path)
    offered = FolderPolicies(tmp_path, shipped=tmp_path / "none")
    together = Barrier(8)

    def ask(_: int) -> Any:
        together.wait()
        return offered.policy("ppo")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len({id(policy.networks[0]) for policy in found}) == 1


def test_the_shipped_best_rule_is_what_learned_falls_back_to(tmp_path: Path) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    offered = FolderPolicies(mine, shipped=shipped)
    assert identity(offered.policy("learned")) == "learned risk_parity"
    keep(mine, chosen_rule="momentum")
    assert identity(offered.policy("learned")) == "learned risk_parity"
    keep(shipped, version=2, chosen_rule=None)
    assert identity(offered.policy("learned")) == "learned risk_parity"
    keep(shipped, version=3, chosen_rule="trend:window=150")
    assert identity(offered.policy("learned")) == "learned trend:window=150"


# Promotion.


def test_latest_stored_promotion_applies(tmp_path: Path) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    keep(shipped, seed=1, evidence={"walk_forward": WALK_FORWARD})
    keep(shipped, name="dqn", evidence={"walk_forward": WALK_FORWARD})
    FolderPolicies(shipped, shipped=tmp_path / "none").promote("dqn", now=NOW)
    offered = FolderPolicies(mine, shipped=shipped)
    assert offered.card("learned").decides == "dqn@1"
    offered.promote("ppo", now=NOW.replace(year=2020))  # the user's own word goes first
    assert FolderPolicies(mine, shipped=shipped).card("learned").decides == "ppo@1"
    offered.promote("dqn", now=NOW.replace(year=2019))  # and the latest of them, not the last
    assert offered.card("learned").decides == "ppo@1"
    assert [one.name for one in mine.iterdir()] == ["promotion.json"]


def test_other_weights_than_were_promoted_do_not_serve(tmp_path: Path) -> None:
    keep(tmp_path, evidence={"walk_forward": WALK_FORWARD})
    FolderPolicies(tmp_path, shipped=tmp_path / "none").promote("ppo", now=NOW)
    for file in (tmp_path / "ppo-1").iterdir():
        file.unlink()
    (tmp_path / "ppo-1").rmdir()
    offered = FolderPolicies(tmp_path, shipped=tmp_path / "none")
    with pytest.raises(InvalidRequest, match="promoted version ppo@1 is missing"):
        offered.policy("learned")
    keep(tmp_path, seed=9)
    with pytest.raises(InvalidRequest, match="the weights of ppo@1 changed after its promotion"):
        offered.policy("learned")


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("{", "promotion.json is not JSON"),
        ("{}", "has no valid format number"),
        ('{"format": 2}', "has format 2; this version"),
        ('{"format": 1, "promotions": [{"policy": "ppo@1"}]}', r"\$.promotions\[0\]"),
    ],
)
def test_damaged_record_of_promotions_is_reported(tmp_path: Path, text: str, fragment: str) -> None:
    (tmp_path / "promotion.json").write_text(text)
    offered = FolderPolicies(tmp_path, shipped=tmp_path / "none")
    with pytest.raises(InvalidRequest, match=fragment):
        offered.policy("learned")
    assert offered.policy("band").name == "band"


def test_evidence_is_bound_to_its_weights(tmp_path: Path) -> None:
    folder = keep(tmp_path)
    offered = FolderPolicies(tmp_path, shipped=tmp_path / "none")
    offered.store_evidence("ppo", {"gate": GATE, "note": "größer"})
    weights = manifest(folder)["weights"]
    assert manifest(folder)["evidence"] == {"gate": GATE, "note": "größer", "weights": weights}
    assert sorted(one.name for one in folder.iterdir()) == ["manifest.json", "weights.npz"]
    with pytest.raises(InvalidRequest, match="cannot be encoded as JSON"):
        offered.store_evidence("ppo", {"odd": object()})
    assert load_version(folder)[1].model_card.evidence["note"] == "größer"  # type: ignore[union-attr]


def test_what_is_shipped_can_be_served() -> None:
    """Whatever this package comes with, and `learned` in any case."""
    offered = FolderPolicies(Path("/nonexistent"), shipped=SHIPPED)
    for card in offered.cards():
        assert offered.policy(card.name).name == card.name


def test_networks_of_one_layer_are_networks(tmp_path: Path) -> None:
    dice = np.random.default_rng(2)
    flat = tuple(
        Network(
            weights=(dice.normal(size=(len(INPUTS_1.features), len(INPUTS_1.actions))),),
            biases=(dice.normal(size=len(INPUTS_1.actions)),),
        )
        for _ in range(2)
    )
    served, _ = load_version(keep(tmp_path, networks=flat))
    np.testing.assert_allclose(served.networks[1].weights[0], flat[1].weights[0], atol=1e-6)
