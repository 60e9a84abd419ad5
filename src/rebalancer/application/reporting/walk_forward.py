"""Walk-forwards as documents of JSON values; docs/evidence.md describes them."""

from __future__ import annotations

from statistics import median
from typing import Any

import attrs

from rebalancer.application.refits import Refit
from rebalancer.application.reporting.evaluation import encode_choice
from rebalancer.application.walk_forward import FoldRecord, WalkForwardFindings
from rebalancer.domain.backtest.evaluation import Judgement
from rebalancer.domain.backtest.walk_forward import FoldPanel, WalkForwardEvidence


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
        fold["refits"] = [each for each in fold["refits"] if each["policy"] == policy]
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
    return {
        "policy": evidence.policy,
        "version": None if last is None else last.policy.version,
        "weights": None if last is None else last.card.weights,
        "passed": evidence.passed,
        "criteria": [attrs.asdict(each) for each in evidence.criteria],
        "proven": evidence.proven,
        "proven_sentence": evidence.proven_sentence,
        "results": [_encode_result(each) for each in evidence.results],
    }


def _encode_result(result: FoldPanel) -> dict[str, Any]:
    evaluation, judgement = result.evaluation, result.evaluation.strictest
    return {
        "known_until": result.fold.known_until.isoformat(),
        "panel": result.panel,
        "chosen_rule": evaluation.chosen_rule,
        "judgements": [_encode_judgement(each) for each in evaluation.judgements],
        "seeds": list(judgement.seeds),
    }


def _encode_judgement(judgement: Judgement) -> dict[str, Any]:
    own, monthly = judgement.performance, judgement.baseline.performance
    return {
        "risk_free": judgement.cash,
        "sharpe": own.sharpe,
        "monthly_sharpe": monthly.sharpe,
        "max_drawdown": own.max_drawdown,
        "monthly_max_drawdown": monthly.max_drawdown,
        "drawdown_beyond_exposure": judgement.drawdown_beyond_exposure,
        "average_exposure": own.average_exposure,
        "orders_of_monthly": ratio(own.orders, monthly.orders),
        "turnover_of_monthly": ratio(own.turnover, monthly.turnover),
        "against": [
            {
                "policy": each.against,
                "sharpe": each.performance.sharpe,
                "sharpe_gain": None if each.gain is None else attrs.asdict(each.gain),
                "probability": each.probability,
            }
            for each in judgement.comparisons
        ],
    }


def ratio(own: float, other: float) -> float | None:
    """Return a multiple; None of nothing."""
    return own / other if other > 0 else None


def median_or_none(figures: list[float | None]) -> float | None:
    """Return the median of the known figures; None without any."""
    known = [each for each in figures if each is not None]
    return median(known) if known else None
