"""Evaluations as documents of JSON values."""

from __future__ import annotations

from statistics import median
from typing import Any

import attrs

from rebalancer.domain.backtest.evaluation import Comparison, Judgement
from rebalancer.domain.backtest.findings import Findings
from rebalancer.domain.backtest.pooling import PooledComparison
from rebalancer.domain.backtest.promotion import PromotionDecision
from rebalancer.domain.backtest.result import Performance
from rebalancer.domain.backtest.selection import RuleChoice


def evaluation_document(findings: Findings) -> dict[str, Any]:
    """Return findings as JSON values."""
    first = next(iter(findings.panels.values()))
    return {
        "costs": first.cost_label,
        "currency": first.currency,
        "trials": findings.trials,
        "counted": findings.counted,
        "cautions": [each.text for each in findings.cautions],
        "caution_codes": [each.code for each in findings.cautions],
        "chosen_rule": None if findings.choice is None else encode_choice(findings.choice),
        "panels": [
            {
                "panel": name,
                "from": str(done.dates[0]),
                "to": str(done.dates[-1]),
                "assets": list(done.symbols),
                "periods_per_year": done.frequency.periods_per_year,
                "frequency": done.frequency.name,
                "policies": [
                    {
                        "policy": evaluation.policy,
                        "finding": str(evaluation.verdict.finding),
                        "verdict": evaluation.verdict.sentence,
                        "chosen_rule": evaluation.chosen_rule,
                        "judgements": [_encode_judgement(each) for each in evaluation.judgements],
                    }
                    for evaluation in done.policies
                ],
            }
            for name, done in findings.panels.items()
        ],
        "pooled": [
            {
                "policy": each.policy,
                "finding": str(each.verdict.finding),
                "verdict": each.verdict.sentence,
                "cash_at_0": [_encode_pooled(comparison) for comparison in each.at_zero],
                "strictest": [_encode_pooled(comparison) for comparison in each.strictest],
            }
            for each in findings.pooled
        ],
        "promotion": [promotion_document(each) for each in findings.promotions],
        "summary": [
            {"policy": policy, "verdict": sentence} for policy, sentence in findings.summaries
        ],
    }


def promotion_document(decision: PromotionDecision) -> dict[str, Any]:
    """Return a promotion decision as JSON values, as policy cards store it."""
    return {
        "policy": decision.policy,
        "best_rule": decision.best_rule,
        "passed": decision.passed if decision.criteria else None,
        "criteria": [attrs.asdict(each) for each in decision.criteria],
    }


def encode_choice(choice: RuleChoice) -> dict[str, Any]:
    """Return the choice of a rule on training data as JSON values."""
    return {
        "policy": choice.rule,
        "panels": choice.panels,
        "from": choice.first,
        "to": choice.last,
        "sharpe_gains": [{"policy": name, "median": gain} for name, gain in choice.gains],
    }


def _encode_judgement(judgement: Judgement) -> dict[str, Any]:
    seeds = judgement.seeds
    return {
        "risk_free": judgement.cash,
        **_encode_performance(judgement.performance),
        "drawdown_beyond_exposure": judgement.drawdown_beyond_exposure,
        "break_even_bps": judgement.break_even_bps,
        "against": [_encode_comparison(comparison) for comparison in judgement.comparisons],
        "thirds": [
            {"from": part.first, "to": part.last, "sharpe_gain": part.gain}
            for part in judgement.subperiods
        ],
        "cost_sweep": [
            {"cost_bps": each.bps, "sharpe_gain": each.gain} for each in judgement.sweep
        ],
        "seeds": {
            "sharpe_gains": list(seeds),
            "min": min(seeds),
            "median": median(seeds),
            "max": max(seeds),
        }
        if seeds
        else None,
    }


def _encode_comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "policy": comparison.against,
        "sharpe_gain": None if comparison.gain is None else attrs.asdict(comparison.gain),
        "probability": comparison.probability,
        "probabilistic_sharpe": comparison.probabilistic,
        "deflated_sharpe": comparison.deflated,
        **_encode_performance(comparison.performance),
    }


def _encode_pooled(comparison: PooledComparison) -> dict[str, Any]:
    return {
        "policy": comparison.against,
        "panels": comparison.panels,
        "sharpe_gain": None if comparison.gain is None else attrs.asdict(comparison.gain),
        "median": comparison.median,
        "probability": comparison.probability,
        "deflated_probability": comparison.deflated,
    }


def _encode_performance(performance: Performance) -> dict[str, float | int | None]:
    names = ("sharpe", "cagr", "volatility", "max_drawdown", "average_exposure")
    more = ("turnover_per_year", "orders", "orders_per_year", "cost_paid", "final_value")
    return {name: getattr(performance, name) for name in (*names, *more)}


def card_figures(findings: Findings, policy: str) -> dict[str, Any]:
    """Return the figures of a policy's card by panel, with the strictest return of cash."""
    figures = {}
    for name, done in findings.panels.items():
        evaluation = next(each for each in done.policies if each.policy == policy)
        judgement = evaluation.strictest
        own, monthly = judgement.performance, judgement.baseline.performance
        gain = judgement.baseline.gain
        figures[name] = {
            "from": str(done.dates[0]),
            "to": str(done.dates[-1]),
            "assets": len(done.symbols),
            "cash": judgement.cash,
            "sharpe": _round(own.sharpe),
            "monthly": _round(monthly.sharpe),
            "gain": None if gain is None else [_round(each) for each in attrs.astuple(gain)],
            "drawdown_beyond_exposure": _round(judgement.drawdown_beyond_exposure),
            "exposure": _round(own.average_exposure),
            "turnover_of_monthly": _ratio(own.turnover, monthly.turnover),
            "orders_of_monthly": _ratio(own.orders, monthly.orders),
        }
    return figures


def _ratio(own: float, monthly: float) -> float | None:
    return _round(own / max(monthly, 1e-12))


def _round(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)
