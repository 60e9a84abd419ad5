"""Versions of learned policies as folders: weights without pickle, and a manifest that binds them.

A version is a folder ``NAME-VERSION`` with ``weights.npz`` and ``manifest.json``. Some are shipped
beside this file, others lie in a folder of the user's. What was promoted stands in
``promotion.json`` of the user's folder, or of the shipped one while the user promoted nothing.
"""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from threading import RLock
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from rebalancer.application.atomic_files import write_atomically
from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.learned import ACTIONS, LearnedPolicy, Network
from rebalancer.domain.policy.observation import FEATURES, SLEEVES
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import POLICIES
from rebalancer.domain.policy.rules import policy as rule
from rebalancer.domain.policy.serving import (
    LEARNED,
    SOURCES,
    Card,
    Champion,
    Edition,
    Learning,
    Served,
    Training,
    TrainingData,
    TrainingStage,
    card_of,
    cards_of,
    champion_of,
    edition_of,
    kept_before,
    learned_card,
    next_version,
    policy_of,
)

SHIPPED = Path(__file__).with_name("shipped")
"""Versions that come with this package."""

FORMAT = 1
WEIGHTS, MANIFEST, PROMOTION = "weights.npz", "manifest.json", "promotion.json"

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Meta(min_length=1)]
Whole = Annotated[int, Meta(ge=0)]

_NAME = "[a-z][a-z0-9_]{0,31}"
_FOLDER = re.compile(f"({_NAME})-([1-9][0-9]{{0,4}})")
_LAYER = re.compile(r"net([0-9]{1,3})/([wb])([0-9]{1,2})")


class _Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something of a JSON file, strictly."""


class _Stage(_Kept, frozen=True, kw_only=True):
    stage: Text
    steps: Whole
    note: str


class _Data(_Kept, frozen=True, kw_only=True):
    name: Text
    sha256: Sha256
    first: date
    last: date
    symbols: Annotated[int, Meta(ge=1)]


class _Feature(_Kept, frozen=True, kw_only=True):
    name: Text
    centre: float
    scale: float


class _Sleeve(_Kept, frozen=True, kw_only=True):
    name: Text
    rule: Text
    parameters: dict[str, float]
    most: float


class _Regimes(_Kept, frozen=True, kw_only=True):
    names: list[Text]
    start: list[float]
    transition: list[list[float]]
    means: list[list[float]]
    covariances: list[list[list[float]]]


class _Manifest(_Kept, frozen=True, kw_only=True):
    """``manifest.json``: what the weights are, where they come from, and what was found of them."""

    format: int
    name: Annotated[str, Meta(pattern=f"^{_NAME}$")]
    version: Annotated[int, Meta(ge=1)]
    algorithm: Literal["ppo", "dqn"]
    created: date
    stages: Annotated[list[_Stage], Meta(min_length=1)]
    data: Annotated[list[_Data], Meta(min_length=1)]
    trained_until: date
    reward: Text
    seeds: Annotated[list[int], Meta(min_length=1)]
    features: list[_Feature]
    actions: list[str]
    sleeves: list[_Sleeve]
    most_spread: Annotated[float, Meta(gt=0)]
    fallback: Text
    chosen_rule: str | None
    libraries: dict[str, str]
    command: Text
    weights: Sha256
    regimes: _Regimes
    regimes_sha256: Sha256
    evidence: dict[str, Any]


class _Promoted(_Kept, frozen=True, kw_only=True):
    policy: str
    weights: Sha256
    at: Annotated[datetime, Meta(tz=True)]


class _Promotions(_Kept, frozen=True, kw_only=True):
    """``promotion.json``: every promotion, of which the latest holds."""

    format: int
    promotions: list[_Promoted]


def save(
    folder: Path,
    learned: LearnedPolicy,
    training: Training,
    *,
    version: int,
    evidence: Mapping[str, Any] | None = None,
) -> Path:
    """Keep a version of a learned policy: all of it or nothing.

    Args:
        folder: Of the catalogue; made if need be.
        learned: Its name is plain, such as ``ppo``. Weights are kept as float32.
        training: How it was made; one seed a network.
        version: From 1 on.
        evidence: What was found when just these weights were judged.

    Returns:
        The version's folder.

    Raises:
        InvalidRequest: there is such a version already, or something in it could not be read
            again; says what.
    """
    target = folder / f"{learned.name}-{version}"
    if target.exists():
        raise InvalidRequest(
            f"{target} exists already, and versions are never changed; take another number",
            field="version",
        )
    weights = _packed(learned)
    digest = hashlib.sha256(weights).hexdigest()
    model = learned.regimes
    regimes = _Regimes(
        names=list(model.names),
        start=model.start.tolist(),
        transition=model.transition.tolist(),
        means=model.means.tolist(),
        covariances=model.covariances.tolist(),
    )
    manifest = _Manifest(
        format=FORMAT,
        name=learned.name,
        version=version,
        algorithm=training.algorithm,  # type: ignore[arg-type]  # judged when it is read again
        created=training.created,
        stages=[_Stage(stage=s.stage, steps=s.steps, note=s.note) for s in training.stages],
        data=[
            _Data(name=d.name, sha256=d.sha256, first=d.first, last=d.last, symbols=d.symbols)
            for d in training.data
        ],
        trained_until=training.trained_until,
        reward=training.reward,
        seeds=list(training.seeds),
        features=_features(),
        actions=[action.name for action in ACTIONS],
        sleeves=_sleeves(),
        most_spread=learned.most_spread,
        fallback=learned.rule.name,
        chosen_rule=learned.chosen_rule,
        libraries=dict(training.libraries),
        command=training.command,
        weights=digest,
        regimes=regimes,
        regimes_sha256=_digest(regimes),
        evidence={**evidence, "weights": digest} if evidence else {},
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as temporary:
            fresh = Path(temporary) / target.name
            fresh.mkdir()
            (fresh / WEIGHTS).write_bytes(weights)
            (fresh / MANIFEST).write_bytes(_json(manifest))
            load(fresh)  # what cannot be read again is not kept
            fresh.rename(target)
    except OSError as error:
        raise InvalidRequest(f"cannot write {target}: {error.strerror}", field="out") from None
    return target


def load(folder: Path, *, shipped: bool = False) -> tuple[Served, Card]:
    """Read a version again, and believe nothing that does not fit together.

    Returns:
        The policy and its card, both by the exact name, such as ``ppo@1``.

    Raises:
        NotFound: there is no such folder.
        InvalidRequest: a file is missing, damaged, foreign or of a newer version; says which.
    """
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}")
    try:
        manifest = _decoded(_content(folder / MANIFEST), MANIFEST, _Manifest)
        if folder.name != f"{manifest.name}-{manifest.version}":
            raise _Unfit(f"{MANIFEST} is that of {manifest.name}-{manifest.version}")
        _check_code(manifest)
        content = _content(folder / WEIGHTS)
        if hashlib.sha256(content).hexdigest() != manifest.weights:
            raise _Unfit(f"{WEIGHTS} is not what the manifest describes")
        if _digest(manifest.regimes) != manifest.regimes_sha256:
            raise _Unfit("the model of regimes is not what the manifest describes")
        served = _served(manifest, _arrays(content))
    except (InvalidRequest, ValueError) as error:
        raise InvalidRequest(f"{folder.name} is refused: {error}", field="policy") from None
    return served, learned_card(served, _learning(manifest, shipped=shipped))


class FolderPolicies:
    """Rules, and the learned policies of two folders; each is read at first use, once.

    A running process goes on with what it has read: promotion and evidence alone are looked up
    whenever they are asked for.
    """

    def __init__(self, folder: Path, *, shipped: Path = SHIPPED) -> None:
        """Begin with nothing read.

        Args:
            folder: The user's; it need not be there.
            shipped: That of the package.
        """
        self._folder, self._shipped = folder, shipped
        self._read: dict[str, tuple[Served, Card]] = {}
        self._lock = RLock()

    def policy(self, text: str) -> Policy:
        """See `Policies.policy`."""
        return policy_of(self, text)

    def cards(self) -> Sequence[Card]:
        """See `Policies.cards`."""
        return cards_of(self)

    def card(self, name: str) -> Card:
        """See `Policies.card`."""
        return card_of(self, name)

    def keep_evidence(self, name: str, evidence: Mapping[str, Any]) -> Card:
        """See `Policies.keep_evidence`."""
        edition = edition_of(self, name)
        with self._lock:
            self.read(edition)
            path = self._place(edition) / MANIFEST
            manifest = _decoded(_content(path), MANIFEST, _Manifest)
            bound = {**evidence, "weights": manifest.weights}
            _write(path, _json(msgspec.structs.replace(manifest, evidence=bound)))
            self._read.pop(edition.exact)
        return card_of(self, edition.exact)

    def add(self, learned: LearnedPolicy, training: Training, *, again: bool = False) -> Card:
        """See `Policies.add`."""
        weights = hashlib.sha256(_packed(learned)).hexdigest()
        if again and (kept := kept_before(self, learned.name, weights)):
            return kept
        with self._lock:
            number = next_version(self, learned.name)
            save(self._folder, learned, training, version=number)
        return card_of(self, f"{learned.name}@{number}")

    def place(self, name: str) -> str:
        """See `Policies.place`."""
        return str(self._place(edition_of(self, name)))

    def promote(self, name: str, *, now: datetime) -> Card:
        """See `Policies.promote`."""
        edition = edition_of(self, name)
        champion = champion_of(card_of(self, edition.exact))
        with self._lock:
            path = self._folder / PROMOTION
            kept = _promotions(path)
            promoted = _Promoted(policy=champion.version, weights=champion.weights, at=now)
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _unwritable(self._folder, error) from None
            _write(path, _json(_Promotions(format=FORMAT, promotions=[*kept, promoted])))
        return card_of(self, LEARNED)

    # What `Shelf` asks.

    def editions(self) -> Sequence[Edition]:
        """See `Shelf.editions`.

        Raises:
            InvalidRequest: two folders hold the same version, or one has the name of a rule.
        """
        found: dict[tuple[str, int], Edition] = {}
        for folder, shipped in ((self._shipped, True), (self._folder, False)):
            for name, number in _versions(folder):
                if (name, number) in found:
                    raise InvalidRequest(
                        f"{folder / f'{name}-{number}'} has the name of a shipped version; give it "
                        "another number, here and in its manifest",
                        field="policy",
                    )
                found[name, number] = Edition(name, number, shipped)
        return list(found.values())

    def read(self, edition: Edition) -> tuple[Served, Card]:
        """See `Shelf.read`."""
        with self._lock:
            if edition.exact not in self._read:
                place = self._place(edition)
                self._read[edition.exact] = load(place, shipped=edition.shipped)
            return self._read[edition.exact]

    def champion(self) -> Champion | None:
        """See `Shelf.champion`.

        Raises:
            InvalidRequest: ``promotion.json`` is damaged.
        """
        for folder in (self._folder, self._shipped):
            if kept := _promotions(folder / PROMOTION):
                latest = max(kept, key=lambda one: one.at)
                return Champion(latest.policy, latest.weights)
        return None

    def _place(self, edition: Edition) -> Path:
        folder = self._shipped if edition.shipped else self._folder
        return folder / f"{edition.name}-{edition.number}"


class _Unfit(ValueError):
    """Why a version cannot be served."""


def _versions(folder: Path) -> list[tuple[str, int]]:
    """Names and numbers of the versions in a folder; whatever else is there is passed over."""
    try:
        entries = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidRequest(f"cannot read {folder}: {error.strerror}", field="policies") from None
    found = [match for entry in entries if (match := _FOLDER.fullmatch(entry))]
    for match in found:
        if match[1] in POLICIES or match[1] == LEARNED:
            raise InvalidRequest(
                f"{folder / match[0]}: {match[1]} is taken, give it another name", field="policy"
            )
    return [(match[1], int(match[2])) for match in found]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _Unfit(f"{path.name} is missing") from None
    except OSError as error:
        raise _Unfit(f"{path.name} cannot be read: {error.strerror}") from None


Decoded = TypeVar("Decoded", _Manifest, _Promotions)


def _decoded(content: bytes, name: str, kind: type[Decoded]) -> Decoded:
    """JSON as it has to be.

    Raises:
        ValueError: it is not so; says where, or that it is newer.
    """
    try:
        loosely = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Unfit(f"{name} is not JSON: {error}") from None
    version = loosely.get("format") if isinstance(loosely, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _Unfit(f"{name} has no format, and so is none of ours")
    if version > FORMAT:
        raise _Unfit(
            f"{name} was written by a newer version of rebalancer: its format is {version}, known "
            f"is up to {FORMAT}; install that version"
        )
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _Unfit(f"{name}: {error}") from None


def _check_code(manifest: _Manifest) -> None:
    """The policy was made for what this code shows it, and takes from it.

    Raises:
        ValueError: not so; says what differs.
    """
    differing = [
        what
        for what, made, known in (
            ("features", manifest.features, _features()),
            ("actions", manifest.actions, [action.name for action in ACTIONS]),
            ("sleeves", manifest.sleeves, _sleeves()),
        )
        if made != known
    ]
    if differing:
        raise _Unfit(
            f"it was made for other {' and '.join(differing)} than this version of rebalancer has; "
            "train it again"
        )
    if manifest.name in POLICIES or manifest.name == LEARNED:
        raise _Unfit(f"{manifest.name} is taken, give it another name")
    if manifest.name in SOURCES and manifest.name != manifest.algorithm:
        raise _Unfit(f"it is called {manifest.name}, and made by {manifest.algorithm}")


def _features() -> list[_Feature]:
    return [_Feature(name=one.name, centre=one.centre, scale=one.scale) for one in FEATURES]


def _sleeves() -> list[_Sleeve]:
    return [
        _Sleeve(name=one.name, rule=one.rule, parameters=dict(one.parameters), most=one.most)
        for one in SLEEVES
    ]


def _packed(learned: LearnedPolicy) -> bytes:
    """``weights.npz``: the same policy gives the same bytes.

    Raises:
        InvalidRequest: the networks choose from different grids.
    """
    grid = learned.networks[0].grid
    if len({b"" if one.grid is None else one.grid.tobytes() for one in learned.networks}) > 1:
        raise InvalidRequest("all networks choose from the same grid, or none does", field="grid")
    arrays = {"lowest": learned.lowest, "highest": learned.highest}
    if grid is not None:
        arrays["grid"] = grid
    for number, network in enumerate(learned.networks):
        for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            arrays[f"net{number}/w{layer}"] = weight
            arrays[f"net{number}/b{layer}"] = bias
    packed = io.BytesIO()
    with np.errstate(over="ignore"):  # an infinity is refused when it is read again
        np.savez(packed, **{name: array.astype(np.float32) for name, array in arrays.items()})  # type: ignore[arg-type]  # its own keywords
    return packed.getvalue()


def _arrays(content: bytes) -> dict[str, Floats]:
    """The arrays of ``weights.npz``, none of which can run code.

    Raises:
        ValueError: it is something else.
    """
    try:
        packed = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(packed, np.lib.npyio.NpzFile):
            raise _Unfit(f"{WEIGHTS} is a single array, not a set of them")
        # Whatever is no array comes out as bytes.
        found: dict[str, Any] = {name: packed[name] for name in packed.files}
    except _Unfit:
        raise
    except (
        *(ValueError, TypeError, OSError, EOFError, KeyError, SyntaxError),
        *(RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error),
    ) as error:
        raise _Unfit(f"{WEIGHTS} is no npz file of plain numbers: {error}") from None
    for name, array in found.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise _Unfit(f"{WEIGHTS} holds {name}, which is no array of fractional numbers")
        if not np.isfinite(array).all():
            raise _Unfit(f"{WEIGHTS} holds {name} with a number that is not finite")
    return {name: array.astype(np.float64) for name, array in found.items()}


def _served(manifest: _Manifest, arrays: dict[str, Floats]) -> Served:
    """The policy that a manifest and weights make.

    Raises:
        ValueError, InvalidRequest: they do not fit together.
    """
    grid = arrays.pop("grid", None)
    ranges = []
    for name, unbounded in (("lowest", -np.inf), ("highest", np.inf)):
        array = arrays.pop(name, np.full(len(FEATURES), unbounded))
        if array.shape != (len(FEATURES),):
            raise _Unfit(f"{WEIGHTS} holds {name} of shape {array.shape}, not ({len(FEATURES)},)")
        ranges.append(array)
    if (ranges[0] > ranges[1]).any():
        raise _Unfit(f"{WEIGHTS} holds a range whose lowest figure is above its highest")
    networks = tuple(
        Network(weights=weights, biases=biases, grid=grid) for weights, biases in _layers(arrays)
    )
    if len(networks) != len(manifest.seeds):
        raise _Unfit(f"there are {len(networks)} networks, and {len(manifest.seeds)} seeds")
    fallback = rule(manifest.fallback)
    if manifest.chosen_rule is not None:
        rule(manifest.chosen_rule)
    follows = (
        manifest.weights,
        manifest.regimes_sha256,
        manifest.fallback,
        manifest.most_spread,
        manifest.features,
        manifest.sleeves,
    )
    version = f"{manifest.name}@{manifest.version}"
    return Served(
        name=version,
        networks=networks,
        regimes=RegimeModel(**msgspec.to_builtins(manifest.regimes)),
        rule=fallback,
        lowest=ranges[0],
        highest=ranges[1],
        most_spread=manifest.most_spread,
        chosen_rule=manifest.chosen_rule,
        version=version,
        digest=_digest(follows),
    )


def _layers(
    arrays: Mapping[str, Floats],
) -> list[tuple[list[Floats], list[Floats]]]:
    """Weights and biases of each network, in order.

    Raises:
        ValueError: an array is missing, or one too many.
    """
    depths: dict[int, int] = {}
    for name in arrays:
        match = _LAYER.fullmatch(name)
        if match is None:
            raise _Unfit(f"{WEIGHTS} holds {name}, which is no part of a network")
        number, layer = int(match[1]), int(match[3])
        depths[number] = max(depths.get(number, 0), layer + 1)
    expected = {
        f"net{number}/{part}{layer}"
        for number in range(max(depths, default=0) + 1)
        for layer in range(depths.get(number, 1))
        for part in "wb"
    }
    if missing := sorted(expected - arrays.keys()):
        raise _Unfit(f"{WEIGHTS} lacks {missing[0]}")
    if surplus := sorted(arrays.keys() - expected):
        raise _Unfit(f"{WEIGHTS} holds {surplus[0]}, which is no part of a network")
    return [
        (
            [arrays[f"net{number}/w{layer}"] for layer in range(depths[number])],
            [arrays[f"net{number}/b{layer}"] for layer in range(depths[number])],
        )
        for number in sorted(depths)
    ]


def _learning(manifest: _Manifest, *, shipped: bool) -> Learning:
    training = Training(
        algorithm=manifest.algorithm,
        created=manifest.created,
        stages=tuple(TrainingStage(one.stage, one.steps, one.note) for one in manifest.stages),
        data=tuple(
            TrainingData(one.name, one.sha256, one.first, one.last, one.symbols)
            for one in manifest.data
        ),
        trained_until=manifest.trained_until,
        reward=manifest.reward,
        seeds=tuple(manifest.seeds),
        libraries=manifest.libraries,
        command=manifest.command,
    )
    return Learning(
        version=manifest.version,
        training=training,
        features={feature.name: feature.meaning for feature in FEATURES},
        actions={action.name: action.meaning for action in ACTIONS},
        sleeves=tuple(sleeve.name for sleeve in SLEEVES),
        networks=len(manifest.seeds),
        most_spread=manifest.most_spread,
        fallback=manifest.fallback,
        chosen_rule=manifest.chosen_rule,
        weights=manifest.weights,
        regimes=manifest.regimes_sha256,
        evidence=manifest.evidence,
        shipped=shipped,
    )


def _promotions(path: Path) -> list[_Promoted]:
    """Every promotion that a file tells of; none where there is none.

    Raises:
        InvalidRequest: it is damaged.
    """
    if not path.exists():
        return []
    try:
        return _decoded(_content(path), path.name, _Promotions).promotions
    except ValueError as error:
        raise InvalidRequest(f"{path}: {error}", field="policy") from None


def _digest(content: object) -> str:
    """SHA-256 of values in their one canonical form."""
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _json(content: object) -> bytes:
    """For people to read.

    Raises:
        InvalidRequest: something in it is no JSON value.
    """
    try:
        return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"cannot be kept as JSON: {error}", field="evidence") from None


def _write(path: Path, content: bytes) -> None:
    """Replace a file whole, or not at all.

    Raises:
        InvalidRequest: it cannot be written there; says why.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> InvalidRequest:
    return InvalidRequest(f"cannot write {path}: {error.strerror}", field="policies")
