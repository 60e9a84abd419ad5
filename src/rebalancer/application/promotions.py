"""Promotion of versions of learned policies, by the evidence of a walk-forward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from math import inf
from typing import Any

from rebalancer.domain.errors import Conflict
from rebalancer.domain.policy.model_card import ModelCard, PolicyCard
from rebalancer.domain.policy.versions import LEARNED, Promotion

WALK_FORWARD = "walk_forward"
"""Key of the evidence of a walk-forward in a manifest."""


def may_serve(card: ModelCard) -> bool:
    """Whether the evidence of a version, of its own weights, passed every criterion."""
    found = _walk_forward(card)
    return (
        found is not None
        and card.evidence.get("weights") == card.weights
        and found.get("passed") is True
        and all(one.get("passed") is True for one in found["criteria"])
    )


def check_promotable(card: PolicyCard) -> Promotion:
    """Return the promotion of a version, if its evidence allows one.

    Args:
        card: Card under the exact name.

    Raises:
        Conflict: evidence is missing, of other weights, or failed the criteria for serving.
    """
    model_card = card.model_card
    assert model_card is not None
    after = model_card.training.trained_until + timedelta(days=1)
    remedy = f"judge it by walk-forward, with its last date before {after}, and store the result"
    evidence = model_card.evidence
    if not evidence:
        raise Conflict(f"{card.name} has no evidence; {remedy}", code="evidence_missing")
    if evidence.get("weights") != model_card.weights:
        raise Conflict(
            f"the evidence of {card.name} belongs to other weights; {remedy}",
            code="evidence_of_other_weights",
        )
    found = _walk_forward(model_card)
    if found is None:
        raise Conflict(
            f"the evidence of {card.name} lacks a walk-forward; {remedy}",
            code="promotion_gate_missing",
        )
    if not may_serve(model_card):
        failed = [one for one in found["criteria"] if one.get("passed") is not True]
        reasons = "; ".join(
            f"{one.get('name')}: {str(one.get('sentence', '')).rstrip('.')}" for one in failed
        )
        raise Conflict(
            f"{card.name} failed the criteria for serving: {reasons or 'no criterion is named'}",
            code="promotion_gate_failed",
        )
    return Promotion(card.name, model_card.weights)


def best_version(cards: Iterable[PolicyCard]) -> str:
    """Return the exact name of the version that may serve with the smallest drawdown.

    The drawdown is that beyond exposure, in the median over folds and panels; of equal ones, the
    version with the fewest orders is the best, then the first by name.

    Raises:
        Conflict: no version may serve.
    """
    allowed = {
        card.decides or card.name: card.model_card
        for card in cards
        if card.model_card is not None and card.name != LEARNED and may_serve(card.model_card)
    }
    if not allowed:
        raise Conflict(
            "no version of a learned policy has passed the criteria for serving; judge one by "
            "walk-forward and store the result",
            code="promotion_gate_missing",
        )
    return min(allowed, key=lambda name: (*_rank(allowed[name]), name))


def _walk_forward(card: ModelCard) -> Mapping[str, Any] | None:
    """Return the evidence of a walk-forward, if it is complete."""
    found = card.evidence.get(WALK_FORWARD)
    criteria = found.get("criteria") if isinstance(found, Mapping) else None
    if isinstance(found, Mapping) and isinstance(criteria, Sequence) and criteria:
        return found
    return None


def _rank(card: ModelCard) -> tuple[float, float]:
    """Return drawdown beyond exposure and orders, from the figures of the criteria."""
    criteria = card.evidence[WALK_FORWARD]["criteria"]
    figures = {one.get("name"): one.get("figure") for one in criteria}
    drawdown, orders = (figures.get(name) for name in ("drawdown", "orders"))
    return (inf if drawdown is None else drawdown, inf if orders is None else orders)
