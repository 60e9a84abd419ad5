"""Walk-forwards as documents of JSON values; docs/evidence.md describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from rebalancer.application.refits import Refit
from rebalancer.application.reporting.evaluation import encode_choice
from rebalancer.application.walk_forward import FoldRecord, WalkForwardFindings
from rebalancer.domain.backtest.serving import Summary, WalkForwardEvidence
from rebalancer.domain.backtest.walk_forward import FoldComparison, FoldPanel


@attrs.frozen(eq=False)
class WalkForwardPage:
    """Document of a walk-forward, to be drawn as a page."""

    document: Mapping[str, Any]

    @classmethod
    def of(cls, findings: WalkForwardFindings) -> WalkForwardPage:
        """Return the page of a walk-forward."""
        return cls(walk_forward_document(findings))

    @classmethod
    def stored(cls, evidence: Mapping[str, Any]) -> WalkForwardPage:
        """Return the page of the evidence that a card stores, see `evidence_document`."""
        return cls({**evidence, "policies": [evidence]})


def walk_forward_document(findings: WalkForwardFindings) -> dict[str, Any]:
    """Return a walk-forward as JSON values."""
    return {
        "costs": findings.cost_label,
        "trials": findings.trials,
        "counted": findings.counted,
        "seed": findings.seed,
        "cautions": [each.text for each in findings.cautions],
        "caution_codes": [each.code for each in findings.cautions],
        "thresholds": attrs.asdict(findings.thresholds),
        "folds": [_encode_fold(each) for each in findings.folds],
        "policies": [_encode_evidence(each, findings) for each in findings.evidence],
    }


def evidence_document(findings: WalkForwardFindings, policy: str) -> dict[str, Any]:
    """Return the evidence on one policy as JSON values, as its card stores it."""
    document = walk_forward_document(findings)
    (own,) = (each for each in document.pop("policies") if each["policy"] == policy)
    for fold in document["folds"]:
        # Without the folder of the refits, which is of this machine.
        fold["refits"] = [
            {name: value for name, value in each.items() if name != "location"}
            for each in fold["refits"]
            if each["policy"] == policy
        ]
        for panel in fold["panels"]:
            panel["assets"] = len(panel["assets"])
    return {**document, **own}


def _encode_fold(record: FoldRecord) -> dict[str, Any]:
    fold = record.fold
    return {
        "known_until": fold.known_until.isoformat(),
        "from": fold.first.isoformat(),
        "to": fold.last.isoformat(),
        "trained_on": list(record.training.panels),
        "left_out": list(record.left_out),
        "chosen_rule": encode_choice(record.choice),
        "refits": [_encode_refit(name, refit) for name, refit in record.refits.items()],
        "panels": [
            {
                "panel": each.panel,
                "from": str(each.settings.prices.dates[each.settings.first]),
                "to": str(each.settings.prices.dates[-1]),
                "assets": list(each.settings.prices.symbols),
                "risk_free": [one.label for one in each.cash],
            }
            for each in record.panels
        ],
        "not_judged": list(record.not_judged),
    }


def _encode_refit(name: str, refit: Refit) -> dict[str, Any]:
    made = refit.card.training
    return {
        "policy": name,
        "version": refit.policy.version,
        "weights": refit.card.weights,
        "trained_until": made.trained_until.isoformat(),
        "data": [each.name for each in made.data],
        "location": refit.location,
        "stored": refit.stored,
    }


def _encode_evidence(
    evidence: WalkForwardEvidence, findings: WalkForwardFindings
) -> dict[str, Any]:
    last = findings.last_refits.get(evidence.policy)
    skeleton = evidence.skeleton
    return {
        "policy": evidence.policy,
        "version": None if last is None else last.policy.version,
        "weights": None if last is None else last.card.weights,
        "passed": evidence.passed,
        "verdict": evidence.lines[0],
        "criteria": [attrs.asdict(each) for each in evidence.criteria],
        "higher_sharpe": {"shown": evidence.proven, "sentence": evidence.proven_sentence},
        "panels": evidence.panels,
        "effective_panels": evidence.effective_panels,
        "whole": _encode_summary(evidence.whole),
        "by_fold": [
            {"known_until": fold.known_until.isoformat(), **_encode_summary(summary)}
            for fold, summary in evidence.by_fold
        ],
        "without_crash": {
            "monthly": _encode_comparison(evidence.without_crash.comparison),
            "drawdown_beyond_exposure": evidence.without_crash.drawdown,
        },
        "thirds": [
            {
                "from": part.first.isoformat(),
                "to": part.last.isoformat(),
                "monthly": _encode_comparison(part.comparison),
            }
            for part in evidence.thirds
        ],
        "seeds": list(evidence.seeds),
        "skeleton": None if skeleton is None else attrs.asdict(skeleton),
        "results": [_encode_result(each) for each in evidence.results],
    }


def _encode_summary(summary: Summary) -> dict[str, Any]:
    medians = summary.medians
    return {
        "medians": {
            "sharpe_gain": medians.sharpe,
            "drawdown_beyond_exposure": medians.drawdown,
            "orders_of_monthly": medians.orders,
            "turnover_of_monthly": medians.turnover,
            "average_exposure": medians.exposure,
        },
        "monthly": _encode_comparison(summary.monthly),
        "best_rule": _encode_comparison(summary.best_rule),
        "own_average": _encode_comparison(summary.skeleton),
        "smaller_drawdown_probability": summary.smaller_drawdown,
    }


def _encode_comparison(comparison: FoldComparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {
        "count": comparison.count,
        "sharpe_gain": attrs.asdict(comparison.gain),
        "median": comparison.median,
        "probability": comparison.probability,
        "not_inferior_probability": comparison.not_inferior,
        "deflated_probability": comparison.deflated,
        "percentiles": list(comparison.quantiles),
    }


def _encode_result(result: FoldPanel) -> dict[str, Any]:
    judgement = result.judgement
    own, monthly = judgement.performance, judgement.baseline.performance
    others = {
        "monthly": judgement.baseline,
        "best_rule": judgement.best_rule,
        "own_average": judgement.skeleton_comparison,
    }
    return {
        "known_until": result.fold.known_until.isoformat(),
        "panel": result.panel,
        "risk_free": judgement.cash,
        "sharpe": own.sharpe,
        "monthly_sharpe": monthly.sharpe,
        "max_drawdown": own.max_drawdown,
        "monthly_max_drawdown": monthly.max_drawdown,
        "drawdown_beyond_exposure": judgement.drawdown_beyond_exposure,
        "average_exposure": own.average_exposure,
        "monthly_average_exposure": monthly.average_exposure,
        "orders_per_year": own.orders_per_year,
        "monthly_orders_per_year": monthly.orders_per_year,
        "orders_of_monthly": result.orders,
        "turnover_of_monthly": result.turnover,
        "against": {
            name: None
            if other is None
            else {
                "policy": other.against,
                "sharpe": other.performance.sharpe,
                "sharpe_gain": None if other.gain is None else attrs.asdict(other.gain),
            }
            for name, other in others.items()
        },
        "seeds": [
            {"sharpe_gain": gain, "drawdown_beyond_exposure": drawdown}
            for gain, drawdown in zip(judgement.seeds, judgement.seed_drawdowns, strict=True)
        ],
    }
