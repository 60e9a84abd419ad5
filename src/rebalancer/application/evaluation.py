"""Judging policies with evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from rebalancer.application.backtests import BacktestRequest, RunBacktest
from rebalancer.domain.backtest.evaluation import (
    Cash,
    Contest,
    Evaluation,
    Judged,
    Judgement,
    evaluate,
    summary,
)
from rebalancer.domain.backtest.run import Performance
from rebalancer.domain.policy.rules import policy


@attrs.frozen
class EvaluatePolicies:
    """Judge policies beside their sceptics, on one panel of prices."""

    run_backtest: RunBacktest

    def __call__(
        self,
        request: BacktestRequest,
        *,
        against: Sequence[str] = (),
        trials: int | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Evaluation:
        """Judge the policies of a request, with cash at 0 and at what the request says.

        Args:
            request: Whom to judge, and under which conditions.
            against: Names of others to judge them against, beside the three sceptics.
            trials: How many policies were tried in all; None: those of the request.
            progress: Told the name of each policy whenever a judgement of it is made.

        Raises:
            InvalidRequest: as when a backtest is run, or there are fewer trials than policies;
                names the field.
            PricesUnavailable: the provider did not answer.
        """
        judged, others = ([policy(name) for name in names] for names in (request.policies, against))
        conditions = self.run_backtest.conditions(request)
        cash = [Cash("0", np.zeros(len(conditions.prices)))]
        if request.risk_free != 0.0:
            cash.append(Cash(_label(request.risk_free), conditions.risk_free))
        return evaluate(judged, conditions, cash, against=others, trials=trials, progress=progress)


def record(panels: Mapping[str, Evaluation], cautions: Sequence[str] = ()) -> dict[str, Any]:
    """Evaluations of one or more panels, by name, as JSON values."""
    first = next(iter(panels.values()))
    return {
        "costs": first.cost_label,
        "trials": first.trials,
        "cautions": list(cautions),
        "panels": [
            {
                "panel": name,
                "from": str(done.dates[0]),
                "to": str(done.dates[-1]),
                "assets": list(done.symbols),
                "policies": [
                    {
                        "policy": judged.policy,
                        "finding": str(judged.verdict.finding),
                        "verdict": judged.verdict.sentence,
                        "judgements": [_judgement(each) for each in judged.judgements],
                    }
                    for judged in done.judged
                ],
            }
            for name, done in panels.items()
        ],
        "summary": [
            {"policy": policy, "verdict": sentence} for policy, sentence in summaries(panels)
        ],
    }


def summaries(panels: Mapping[str, Evaluation]) -> list[tuple[str, str]]:
    """Each policy, and what all panels together say of it."""
    by_policy: dict[str, list[Judged]] = {}
    for done in panels.values():
        for judged in done.judged:
            by_policy.setdefault(judged.policy, []).append(judged)
    return [
        (name, every[0].verdict.sentence if len(every) == 1 else summary(name, every))
        for name, every in by_policy.items()
    ]


def _judgement(judgement: Judgement) -> dict[str, Any]:
    return {
        "risk_free": judgement.cash,
        **_figures(judgement.performance),
        "drawdown_beyond_exposure": judgement.drawdown_beyond_exposure,
        "break_even_bps": judgement.break_even_bps,
        "against": [_contest(contest) for contest in judgement.contests],
        "thirds": [
            {"from": part.first, "to": part.last, "sharpe_gain": part.gain}
            for part in judgement.parts
        ],
        "cost_sweep": [
            {"cost_bps": each.bps, "sharpe_gain": each.gain} for each in judgement.sweep
        ],
    }


def _contest(contest: Contest) -> dict[str, Any]:
    return {
        "policy": contest.against,
        "sharpe_gain": None if contest.gain is None else attrs.asdict(contest.gain),
        "probability": contest.probability,
        "probabilistic_sharpe": contest.probabilistic,
        "deflated_sharpe": contest.deflated,
        **_figures(contest.performance),
    }


def _figures(performance: Performance) -> dict[str, float | int]:
    names = ("sharpe", "cagr", "volatility", "max_drawdown", "average_exposure")
    more = ("turnover_per_year", "orders", "orders_per_year", "cost_paid", "final_value")
    return {name: getattr(performance, name) for name in (*names, *more)}


def _label(risk_free: float | str) -> str:
    return risk_free if isinstance(risk_free, str) else f"{100 * risk_free:.6g}% a year"
