"""``manifest.json`` and ``promotion.json``: strict JSON documents of stored policies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import attrs
import msgspec
from msgspec import Meta

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.algorithms import ALGORITHMS
from rebalancer.domain.policy.economy import ECONOMY
from rebalancer.domain.policy.features import (
    KNOWN_MARKET,
    KNOWN_PORTFOLIO,
    KNOWN_SLEEVES,
    InputSet,
)
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.model_card import ModelCard, TrainingRecord
from rebalancer.domain.policy.rules import POLICIES
from rebalancer.domain.policy.versions import LEARNED

FORMAT = 1
NAME = "[a-z][a-z0-9_]{0,31}"
"""Pattern of a plain name."""

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]


class IncompatibleVersion(ValueError):
    """A stored policy is damaged, or was made for another version of this code."""


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts: unknown fields are errors."""


class StageDocument(Document, frozen=True, kw_only=True):
    stage: Text
    steps: Count
    note: str


class DataDocument(Document, frozen=True, kw_only=True):
    name: Text
    sha256: Sha256
    first: date
    last: date
    symbols: Annotated[int, Meta(ge=1)]


class FeatureDocument(Document, frozen=True, kw_only=True):
    """An input of the networks, as it was scaled in training."""

    name: Text
    centre: float
    scale: float


class SleeveDocument(Document, frozen=True, kw_only=True):
    name: Text
    rule: Text
    parameters: dict[str, float]
    most: float


class RegimesDocument(Document, frozen=True, kw_only=True):
    names: list[Text]
    start: list[float]
    transition: list[list[float]]
    means: list[list[float]]
    covariances: list[list[list[float]]]


class Manifest(Document, frozen=True, kw_only=True):
    """``manifest.json``: where the weights come from, what they need, and their evaluations."""

    format: int
    name: Annotated[str, Meta(pattern=f"^{NAME}$")]
    version: Annotated[int, Meta(ge=1)]
    algorithm: Text
    created: date
    stages: Annotated[list[StageDocument], Meta(min_length=1)]
    data: Annotated[list[DataDocument], Meta(min_length=1)]
    trained_until: date
    reward: Text
    seeds: Annotated[list[int], Meta(min_length=1)]
    features: list[FeatureDocument]
    actions: list[str]
    sleeves: list[SleeveDocument]
    most_spread: Annotated[float, Meta(gt=0)]
    fallback: Text
    chosen_rule: str | None
    libraries: dict[str, str]
    command: Text
    weights: Sha256
    regimes: RegimesDocument
    regimes_sha256: Sha256
    evidence: dict[str, Any]

    def check(self) -> None:
        """Check that this code can run the policy.

        Raises:
            IncompatibleVersion: inputs or outputs of the networks differ, the name is taken, or
                the model of regimes has another checksum.
        """
        self.inputs()
        if self.name in POLICIES or self.name == LEARNED:
            raise IncompatibleVersion(f"the name {self.name} is taken; choose another name")
        if self.algorithm not in ALGORITHMS:
            raise IncompatibleVersion(
                f"unknown algorithm {self.algorithm!r}; known are {', '.join(ALGORITHMS)}"
            )
        if self.name in ALGORITHMS and self.name != self.algorithm:
            raise IncompatibleVersion(
                f"the name {self.name} is reserved for policies trained by {self.name}, and this "
                f"one was trained by {self.algorithm}"
            )
        if digest(self.regimes) != self.regimes_sha256:
            raise IncompatibleVersion("the checksum of the model of regimes does not match")

    def inputs(self) -> InputSet:
        """Return the input set of the networks.

        Raises:
            IncompatibleVersion: this code lacks a feature, an action or a sleeve, or defines it
                otherwise.
        """
        market = [KNOWN_MARKET[one.name] for one in self.features if one.name in KNOWN_MARKET]
        rest = self.features[len(market) :]
        portfolio = [KNOWN_PORTFOLIO[one.name] for one in rest if one.name in KNOWN_PORTFOLIO]
        rest = rest[len(portfolio) :]
        economy = [ECONOMY[one.name] for one in rest if one.name in ECONOMY]
        sleeves = [KNOWN_SLEEVES[one.name] for one in self.sleeves if one.name in KNOWN_SLEEVES]
        inputs = InputSet(tuple(market), tuple(portfolio), tuple(sleeves), tuple(economy))
        differing = [
            name
            for name, stored, known in (
                ("features", self.features, _documents(inputs.features, FeatureDocument)),
                ("actions", self.actions, [one.name for one in inputs.actions]),
                ("sleeves", self.sleeves, _documents(inputs.sleeves, SleeveDocument)),
            )
            if stored != known
        ]
        if differing:
            raise IncompatibleVersion(
                f"it was trained for other {' and '.join(differing)} than this version of "
                "rebalancer has; train it again"
            )
        return inputs

    def model_card(self, *, shipped: bool) -> ModelCard:
        inputs = self.inputs()
        return ModelCard(
            version=self.version,
            training=msgspec.convert(self, TrainingRecord, from_attributes=True),
            features={feature.name: feature.meaning for feature in inputs.features},
            actions={action.name: action.meaning for action in inputs.actions},
            sleeves=tuple(sleeve.name for sleeve in inputs.sleeves),
            networks=len(self.seeds),
            most_spread=self.most_spread,
            fallback=self.fallback,
            chosen_rule=self.chosen_rule,
            weights=self.weights,
            regimes=self.regimes_sha256,
            evidence=self.evidence,
            shipped=shipped,
        )

    def policy_digest(self) -> str:
        """Return the SHA-256 of everything that determines the policy's decisions."""
        return digest(
            (
                self.weights,
                self.regimes_sha256,
                self.fallback,
                self.most_spread,
                self.features,
                self.sleeves,
            )
        )


PartT = TypeVar("PartT", FeatureDocument, SleeveDocument)


def _documents(parts: Sequence[object], kind: type[PartT]) -> list[PartT]:
    return [msgspec.convert(part, kind, from_attributes=True) for part in parts]


def encode_manifest(
    learned: LearnedPolicy,
    training: TrainingRecord,
    *,
    version: int,
    weights: str,
    evidence: Mapping[str, Any] | None,
) -> bytes:
    """Encode the manifest of a policy under its plain name; raises as `encode`.

    ``weights`` is the SHA-256 of the file of weights, to which the evidence belongs.
    """
    model = attrs.asdict(learned.regimes)
    regimes = RegimesDocument(
        **{name: each if name == "names" else each.tolist() for name, each in model.items()}
    )
    fields: dict[str, Any] = attrs.asdict(training) | {
        "format": FORMAT,
        "name": learned.name,
        "version": version,
        "features": _documents(learned.inputs.features, FeatureDocument),
        "actions": [action.name for action in learned.inputs.actions],
        # As they are: a conversion to documents would write 126 as 126.0.
        "sleeves": [attrs.asdict(sleeve) for sleeve in learned.inputs.sleeves],
        "most_spread": learned.most_spread,
        "fallback": learned.rule.name,
        "chosen_rule": learned.chosen_rule,
        "weights": weights,
        "regimes": regimes,
        "regimes_sha256": digest(regimes),
        "evidence": {**evidence, "weights": weights} if evidence else {},
    }
    return encode({name: fields[name] for name in Manifest.__struct_fields__})


class PromotionDocument(Document, frozen=True, kw_only=True):
    """One promotion; see `Promotion`."""

    policy: str
    weights: Sha256
    at: Annotated[datetime, Meta(tz=True)]


class PromotionLog(Document, frozen=True, kw_only=True):
    """``promotion.json``: all promotions, of which the latest counts."""

    format: int
    promotions: list[PromotionDocument]


DocumentT = TypeVar("DocumentT", Manifest, PromotionLog)


def read_document(path: Path, kind: type[DocumentT]) -> DocumentT:
    """Read a document; raise IncompatibleVersion if it is missing, malformed or newer."""
    content = read_file(path)
    try:
        loose = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IncompatibleVersion(f"{path.name} is not JSON: {error}") from None
    version = loose.get("format") if isinstance(loose, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise IncompatibleVersion(f"{path.name} has no valid format number")
    if version > FORMAT:
        raise IncompatibleVersion(
            f"{path.name} has format {version}; this version of rebalancer supports formats up to "
            f"{FORMAT}. Upgrade rebalancer"
        )
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise IncompatibleVersion(f"{path.name}: {error}") from None


def read_file(path: Path) -> bytes:
    """Read a file of a stored policy; raise IncompatibleVersion if that is impossible."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise IncompatibleVersion(f"{path.name} is missing") from None
    except OSError as error:
        raise IncompatibleVersion(f"cannot read {path.name}: {error.strerror}") from None


def encode(document: object) -> bytes:
    """Encode a document as indented JSON; raise InvalidRequest if its evidence is not JSON."""
    try:
        return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"the evidence cannot be encoded as JSON: {error}",
            field="evidence",
            code="evidence_not_json",
        ) from None


def digest(content: object) -> str:
    """Return the SHA-256 of values in a canonical encoding."""
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()
