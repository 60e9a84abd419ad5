"""Figures of a projection as a document for clients and stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.portfolio.goals import SavingsGoal
from rebalancer.domain.projection.returns import ReturnModel
from rebalancer.domain.projection.simulation import Setting
from rebalancer.domain.projection.summary import PERCENTILES, Chance, Goal, Projection

_DIGITS = 2
"""Decimals of amounts; the error of the simulation is larger."""


def projection_document(
    projection: Projection,
    setting: Setting,
    *,
    goal: Goal | None,
    extra: float,
    with_extra: tuple[Projection, Projection] | None,
    goals: Sequence[tuple[SavingsGoal, Goal, Chance]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return the figures of a projection as JSON values.

    Args:
        projection: Of the whole.
        setting: What it starts from.
        goal: What it asks for.
        extra: Further deposit a month.
        with_extra: Projection with that deposit, and without it, on the same paths.
        goals: Goals of the portfolio, in its terms and in those of the projection.
        notes: Sentences about the portfolio.
    """
    returns = setting.returns
    weights = setting.book.targets[0, : len(returns.expected)]
    error = returns.history.standard_error(weights)
    expected = float(weights @ returns.yearly)
    document: dict[str, Any] = {
        "currency": setting.currency,
        "policy": setting.policy.name,
        "model": returns.model.value,
        "months": setting.months,
        "paths": projection.paths,
        "dates": [str(day) for day in setting.days],
        "fan": _fan(projection.fan),
        "real_fan": _fan(projection.real_fan),
        "paid_in": _amounts(projection.paid_in),
        "mean": _amounts(projection.mean),
        "prices": np.round(projection.prices, 6).tolist(),
        "worst_decile": round(projection.worst_decile, _DIGITS),
        "worst_decile_real": round(projection.worst_decile / float(projection.prices[-1]), _DIGITS),
        "goal": None,
        "goals": [
            _chance(chance)
            | {"name": own.name, "amount": one.amount, "by": str(own.by), "month": one.month}
            | {"nominal": one.nominal}
            for own, one, chance in goals
        ],
        "exhausted": _chance(projection.exhausted),
        "exhausted_year": projection.exhausted_year,
        "costs": round(projection.costs, _DIGITS),
        "turnover_per_year": projection.turnover,
        "expected_return": expected,
        "expected_return_error": error,
        "years_of_history": round(returns.history.years, 2),
        "extra": None,
        "notes": [*_notes(setting, expected, error), *notes],
    }
    if projection.goal is not None and goal is not None:
        document["goal"] = _chance(projection.goal) | {
            "amount": goal.amount,
            "month": goal.month,
            "nominal": goal.nominal,
        }
    if with_extra is not None:
        more, alike = with_extra
        middle = PERCENTILES.index(50)
        gained = more.real_fan[middle, -1] - alike.real_fan[middle, -1]
        document["extra"] = {
            "amount": extra,
            "median_gain_real": round(float(gained), _DIGITS),
            "goal_before": None if alike.goal is None else alike.goal.probability,
            "goal_after": None if more.goal is None else more.goal.probability,
        }
    return document


def _notes(setting: Setting, expected: float, error: float) -> list[str]:
    """Return sentences on what the figures rest on."""
    years = setting.returns.history.years
    stated = int(np.count_nonzero(~np.isnan(setting.returns.expected)))
    said = [
        f"The mix is expected to return {expected:.1%} a year. {years:.0f} years of prices know "
        f"this only to about {error:.1%} a year, one standard error."
    ]
    if stated < len(setting.returns.expected):
        said.append(
            "Past returns are no forecast; state expected returns to see what lower ones would do."
        )
    if setting.returns.model is ReturnModel.LOGNORMAL:
        said.append("Months are independent and lognormal; real crashes are deeper and longer.")
    if not setting.returns.uncertain_means:
        said.append("Expected returns count as certain, so that the range is too narrow.")
    said.append(
        "Trades are made once a month, in fractions of shares. Taxes are not part of the figures."
    )
    return said


def _fan(values: Floats) -> dict[str, list[float]]:
    return {f"p{rank}": _amounts(row) for rank, row in zip(PERCENTILES, values, strict=True)}


def _amounts(values: Floats) -> list[float]:
    rounded: list[float] = np.round(values, _DIGITS).tolist()
    return rounded


def _chance(chance: Chance) -> dict[str, Any]:
    return {"probability": chance.probability, "standard_error": chance.standard_error}
