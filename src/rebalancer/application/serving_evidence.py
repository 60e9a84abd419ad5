"""Evidence of a walk-forward with versions of learned policies, from which promotion decides."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from rebalancer.application.ports.policies import Policies
from rebalancer.application.promotions import WALK_FORWARD
from rebalancer.application.refits import Refit
from rebalancer.application.reporting.walk_forward import evidence_document
from rebalancer.application.walk_forward import WalkForwardFindings
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.policy.model_card import PolicyCard


@attrs.frozen
class StoreWalkForward:
    """Store the evidence of a walk-forward with the versions that are the last refits."""

    policies: Policies

    def __call__(self, findings: WalkForwardFindings, *, now: datetime) -> tuple[PolicyCard, ...]:
        """Store the evidence on each learned procedure; rules have no stored evidence.

        A last refit that is only among the refits becomes a version of ``my_ALGORITHM`` first.

        Returns:
            The cards of the versions.

        Raises:
            InvalidRequest: departures were limited, or the evidence cannot be written.
            NotFound: no procedure was learned.
        """
        if not findings.last_refits:
            raise NotFound(
                "none of the judged policies was learned; evidence is stored for versions of "
                "learned policies only",
                code="no_learned_policy",
            )
        if not findings.unlimited:
            raise InvalidRequest(
                "a walk-forward with limited departures is no evidence for serving; leave the "
                "limit out to store it",
                field="max_departure",
                code="departure_limited",
            )
        stored = []
        for name, refit in findings.last_refits.items():
            card = self._version(refit)
            assert card.model_card is not None
            evidence: dict[str, Any] = dict(card.model_card.evidence)
            if evidence.get("weights") != card.model_card.weights:
                evidence = {}
            document = evidence_document(findings, name)
            evidence[WALK_FORWARD] = {"on": now.date().isoformat(), **document}
            stored.append(self.policies.store_evidence(card.name, evidence))
        return tuple(stored)

    def _version(self, refit: Refit) -> PolicyCard:
        """Return the card of a refit in the operator's catalogue, adding it if it is missing."""
        if refit.stored:
            return self.policies.card(refit.policy.version)
        name = f"my_{refit.card.training.algorithm}"
        learned = attrs.evolve(refit.policy, name=name)
        return self.policies.add(learned, refit.card.training, again=True)
