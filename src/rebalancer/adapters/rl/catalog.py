"""Learned policies in folders: weights without pickles, and a manifest with their checksum.

A version is a folder ``NAME-NUMBER`` with ``weights.npz`` and ``manifest.json``. Some versions are
shipped with this package, others are in a folder of the user. ``promotion.json`` of the user's
folder records promotions; while it is missing, that of the shipped folder counts.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import Any

import msgspec

from rebalancer.adapters.rl.manifest import (
    FORMAT,
    NAME,
    IncompatibleVersion,
    Manifest,
    PromotionDocument,
    PromotionLog,
    encode,
    encode_manifest,
    read_document,
    read_file,
)
from rebalancer.adapters.rl.weights import WEIGHTS, pack_weights, unpack_weights
from rebalancer.application.atomic_files import write_atomically
from rebalancer.application.policy_registry import PolicyRegistry, describe_version
from rebalancer.application.promotions import check_promotable
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.model_card import PolicyCard, TrainingRecord
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import POLICIES, parse_rule
from rebalancer.domain.policy.versions import LEARNED, PolicyVersion, Promotion, VersionedPolicy

SHIPPED = Path(__file__).with_name("shipped")
"""Folder of the versions that come with this package."""

MANIFEST, PROMOTION = "manifest.json", "promotion.json"

_FOLDER = re.compile(f"({NAME})-([1-9][0-9]{{0,4}})")


def save_version(
    folder: Path,
    learned: LearnedPolicy,
    training: TrainingRecord,
    *,
    version: int,
    evidence: Mapping[str, Any] | None = None,
) -> Path:
    """Save a version of a learned policy; all of it or nothing.

    Args:
        folder: Folder of the catalogue; created if missing.
        learned: Policy under its plain name, such as ``ppo``. Weights are rounded to float32.
        training: How it was trained; one seed for each network.
        version: Number of the version, from 1.
        evidence: Results of evaluations of exactly these weights.

    Returns:
        The folder of the version.

    Raises:
        InvalidRequest: the version exists, cannot be written, or could not be loaded again.
    """
    target = folder / f"{learned.name}-{version}"
    if target.exists():
        raise InvalidRequest(
            f"{target} exists, and versions never change; choose another number",
            field="version",
            code="policy_version_exists",
        )
    weights = pack_weights(learned)
    digest = hashlib.sha256(weights).hexdigest()
    manifest = encode_manifest(
        learned, training, version=version, weights=digest, evidence=evidence
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as temporary:
            fresh = Path(temporary) / target.name
            fresh.mkdir()
            (fresh / WEIGHTS).write_bytes(weights)
            (fresh / MANIFEST).write_bytes(manifest)
            load_version(fresh, beside=folder)
            fresh.rename(target)
    except OSError as error:
        raise InvalidRequest(
            f"cannot write {target}: {error.strerror}", field="out", code="cannot_write_file"
        ) from None
    return target


def load_version(
    folder: Path, *, shipped: bool = False, beside: Path | None = None
) -> tuple[VersionedPolicy, PolicyCard]:
    """Load a version, and check that all its parts fit together.

    Args:
        folder: Folder of the version.
        shipped: Whether it comes with this package.
        beside: Folder of a version that it may name as its fallback; None for the parent.

    Returns:
        The policy and its card, both under the exact name, such as ``ppo@1``.

    Raises:
        NotFound: the folder does not exist.
        InvalidRequest: a file is missing, damaged, or of a newer version of this code.
    """
    if not folder.is_dir():
        raise NotFound(f"folder {folder} does not exist", code="policy_version_not_found")
    try:
        manifest = read_document(folder / MANIFEST, Manifest)
        if folder.name != f"{manifest.name}-{manifest.version}":
            raise IncompatibleVersion(
                f"{MANIFEST} belongs to {manifest.name}-{manifest.version}, not to this folder"
            )
        manifest.check()
        content = read_file(folder / WEIGHTS)
        if hashlib.sha256(content).hexdigest() != manifest.weights:
            raise IncompatibleVersion(f"the checksum of {WEIGHTS} does not match")
        fallback = _find_fallback(manifest.fallback, beside or folder.parent)
        policy = _build_policy(manifest, content, fallback)
    except (InvalidRequest, ValueError) as error:
        raise InvalidRequest(
            f"cannot load {folder.name}: {error}", field="policy", code="invalid_policy_version"
        ) from None
    return policy, describe_version(policy, manifest.model_card(shipped=shipped))


class FolderPolicies(PolicyRegistry):
    """Rules, and the learned policies of two folders, each loaded once, at first use.

    A running process keeps the versions that it has loaded. It reads promotions and evidence again
    each time.
    """

    def __init__(self, folder: Path, *, shipped: Path = SHIPPED) -> None:
        """Create a catalogue without loading anything; the user's folder may be missing."""
        self._folder, self._shipped = folder, shipped
        self._loaded: dict[str, tuple[VersionedPolicy, PolicyCard]] = {}
        self._lock = RLock()

    def store_evidence(self, name: str, evidence: Mapping[str, Any]) -> PolicyCard:
        version = self.find_version(name)
        with self._lock:
            self.load(version)
            path = self._path(version) / MANIFEST
            manifest = read_document(path, Manifest)
            evidence = {**evidence, "weights": manifest.weights}
            _replace_file(path, encode(msgspec.structs.replace(manifest, evidence=evidence)))
            self._loaded.pop(version.exact_name)
        return self.card(version.exact_name)

    def add(
        self, learned: LearnedPolicy, training: TrainingRecord, *, again: bool = False
    ) -> PolicyCard:
        weights = hashlib.sha256(pack_weights(learned)).hexdigest()
        if again and (stored := self.find_by_weights(learned.name, weights)):
            return stored
        with self._lock:
            number = self.next_number(learned.name)
            save_version(self._folder, learned, training, version=number)
        return self.card(f"{learned.name}@{number}")

    def location(self, name: str) -> str:
        return str(self._path(self.find_version(name)))

    def promote(self, name: str, *, now: datetime) -> PolicyCard:
        version = self.find_version(name)
        promotion = check_promotable(self.card(version.exact_name))
        with self._lock:
            path = self._folder / PROMOTION
            earlier = _read_promotions(path)
            latest = PromotionDocument(policy=promotion.version, weights=promotion.weights, at=now)
            log = PromotionLog(format=FORMAT, promotions=[*earlier, latest])
            _replace_file(path, encode(log))
        return self.card(LEARNED)

    def versions(self) -> Sequence[PolicyVersion]:
        """List the versions of both folders; raise InvalidRequest if both hold the same one."""
        found: dict[tuple[str, int], PolicyVersion] = {}
        for folder, shipped in ((self._shipped, True), (self._folder, False)):
            for name, number in _list_versions(folder):
                if (name, number) in found:
                    raise InvalidRequest(
                        f"{folder / f'{name}-{number}'} has the name of a shipped version; change "
                        "its number, also in the manifest",
                        field="policy",
                        code="policy_version_exists",
                    )
                found[name, number] = PolicyVersion(name, number, shipped)
        return list(found.values())

    def load(self, version: PolicyVersion) -> tuple[VersionedPolicy, PolicyCard]:
        with self._lock:
            if version.exact_name not in self._loaded:
                self._loaded[version.exact_name] = load_version(
                    self._path(version), shipped=version.shipped
                )
            return self._loaded[version.exact_name]

    def promotion(self) -> Promotion | None:
        """Return the latest promotion; raise InvalidRequest if ``promotion.json`` is damaged."""
        for folder in (self._folder, self._shipped):
            if promotions := _read_promotions(folder / PROMOTION):
                latest = max(promotions, key=lambda one: one.at)
                return Promotion(latest.policy, latest.weights)
        return None

    def _path(self, version: PolicyVersion) -> Path:
        folder = self._shipped if version.shipped else self._folder
        return folder / f"{version.name}-{version.number}"


class CatalogFolders:
    """Opens catalogues in folders other than the operator's."""

    def open(self, folder: Path) -> FolderPolicies:
        return FolderPolicies(folder)


def _find_fallback(name: str, folder: Path) -> Policy:
    """Return the rule, or the version of a learned policy, that decides in doubt.

    A version is looked for in this folder, then among the shipped ones.
    """
    if "@" not in name:
        return parse_rule(name)
    for place in (folder, SHIPPED):
        version = place / name.replace("@", "-")
        if _FOLDER.fullmatch(version.name) and version.is_dir():
            return load_version(version)[0]
    raise IncompatibleVersion(f"its fallback {name} does not exist; add that version first")


def _build_policy(manifest: Manifest, content: bytes, fallback: Policy) -> VersionedPolicy:
    """Build the policy of a manifest and its file of weights, if they fit together."""
    inputs = manifest.inputs()
    weights = unpack_weights(content, len(inputs.features))
    if len(weights.networks) != len(manifest.seeds):
        raise IncompatibleVersion(
            f"{WEIGHTS} has {len(weights.networks)} networks, and {MANIFEST} "
            f"{len(manifest.seeds)} seeds"
        )
    if manifest.chosen_rule is not None:
        parse_rule(manifest.chosen_rule)
    name = f"{manifest.name}@{manifest.version}"
    return VersionedPolicy(
        name=name,
        networks=weights.networks,
        regimes=RegimeModel(**msgspec.to_builtins(manifest.regimes)),
        rule=fallback,
        lowest=weights.lowest,
        highest=weights.highest,
        most_spread=manifest.most_spread,
        chosen_rule=manifest.chosen_rule,
        inputs=inputs,
        version=name,
        digest=manifest.policy_digest(),
    )


def _list_versions(folder: Path) -> list[tuple[str, int]]:
    """List the names and numbers of the versions in a folder; no version has the name of a rule."""
    try:
        entries = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {folder}: {error.strerror}", field="policies", code="cannot_read_file"
        ) from None
    matches = [match for entry in entries if (match := _FOLDER.fullmatch(entry))]
    for match in matches:
        if match[1] in POLICIES or match[1] == LEARNED:
            raise InvalidRequest(
                f"{folder / match[0]}: the name {match[1]} is taken; choose another name",
                field="policy",
                code="policy_name_taken",
            )
    return [(match[1], int(match[2])) for match in matches]


def _read_promotions(path: Path) -> list[PromotionDocument]:
    """Read all promotions of a file, if it exists; raise InvalidRequest if it is damaged."""
    if not path.exists():
        return []
    try:
        return read_document(path, PromotionLog).promotions
    except IncompatibleVersion as error:
        raise InvalidRequest(
            f"cannot read {path}: {error}", field="policy", code="invalid_promotion_log"
        ) from None


def _replace_file(path: Path, content: bytes) -> None:
    """Replace a file as a whole; raise InvalidRequest if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise InvalidRequest(
            f"cannot write {path}: {error.strerror}", field="policies", code="cannot_write_file"
        ) from None
