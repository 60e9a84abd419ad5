"""What the look ahead of a portfolio shows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import attrs

from rebalancer_app.gateway.projection import Result
from rebalancer_app.model.charts import Chart, money_chart, thin
from rebalancer_app.model.formats import Formats
from rebalancer_app.texts import Texts

YEARS = ("5", "10", "20", "30")

LIKELY = 0.75
"""Chance from which a goal counts as in reach."""

OPEN = 0.4
"""Chance below which a goal counts as out of reach."""

_CURVES = ("p50", "p95", "p75", "p25", "p5")


@attrs.frozen
class GoalLine:
    """A goal and its chance.

    Attributes:
        text: The chance, in words.
        level: "likely", "open" or "unlikely".
    """

    name: str
    text: str
    level: str


@attrs.frozen
class ProjectionScreen:
    """What the screen shows.

    Attributes:
        middle: The middle of the range in the end.
        span: From a bad to a good end.
        chart: The range over time; None if it cannot be drawn.
        goals: Goals with their chances.
        sentences: What may go wrong, and what more money would do.
        notes: What the figures rest on.
    """

    middle: str
    span: str
    chart: Chart | None
    goals: tuple[GoalLine, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]


def projection_screen(
    result: Result, goal: Decimal | None, formats: Formats, texts: Texts
) -> ProjectionScreen:
    """Describe a projection, in money of today.

    Args:
        result: The projection.
        goal: Amount that was asked for; None without one.
        formats: Of numbers and dates.
        texts: Words.
    """

    def money(amount: float) -> str:
        return formats.money(Decimal(_rounded(amount)), result.currency, whole=True)

    ends = {name: values[-1] for name, values in result.real_fan.items()}
    goals = []
    if result.goal is not None and goal is not None:
        name = texts("future.goal_of", amount=money(float(goal)))
        goals.append(_goal_line(name, result.goal.probability, formats, texts))
    goals += [
        _goal_line(
            texts(
                "future.own_goal", name=one.name, amount=money(one.amount), day=formats.day(one.by)
            ),
            one.probability,
            formats,
            texts,
        )
        for one in result.goals
    ]
    sentences = [texts("future.worst", amount=money(result.worst_decile_real))]
    if result.exhausted.probability and result.exhausted_year is not None:
        sentences.append(
            texts(
                "future.exhausted",
                chance=formats.percent(result.exhausted.probability, digits=0),
                years=f"{result.exhausted_year:.0f}",
            )
        )
    if result.extra is not None:
        sentences.append(
            texts(
                "future.extra",
                amount=money(result.extra.amount),
                gain=money(result.extra.median_gain_real),
            )
        )
        if result.extra.goal_before is not None and result.extra.goal_after is not None:
            sentences.append(
                texts(
                    "future.extra_goal",
                    before=formats.percent(result.extra.goal_before, digits=0),
                    after=formats.percent(result.extra.goal_after, digits=0),
                )
            )
    return ProjectionScreen(
        texts("future.middle", amount=money(ends["p50"])),
        texts("future.span", low=money(ends["p5"]), high=money(ends["p95"])),
        _fan(result, formats, texts),
        tuple(goals),
        tuple(sentences),
        tuple(result.notes),
    )


def _rounded(amount: float) -> int:
    """Round to three digits, because a projection knows no more."""
    digits = len(str(round(abs(amount))))
    return int(round(amount, 3 - digits)) if digits > 3 else round(amount)


def _goal_line(name: str, chance: float, formats: Formats, texts: Texts) -> GoalLine:
    level = "likely" if chance >= LIKELY else "open" if chance >= OPEN else "unlikely"
    share = formats.percent(chance, digits=0)
    return GoalLine(name, texts(f"future.{level}", chance=share), level)


def _fan(result: Result, formats: Formats, texts: Texts) -> Chart | None:
    """Return the range over time, and what was paid in."""
    rows = thin(len(result.dates))
    paid = [result.real_fan["p50"][0]]
    for before, after, level in zip(
        result.paid_in, result.paid_in[1:], result.prices, strict=False
    ):
        paid.append(paid[-1] + (after - before) / level)  # paid at the start of the month

    def at(values: Sequence[float]) -> list[float]:
        return [values[row] for row in rows]

    lines = [(texts(f"future.{name}"), at(result.real_fan[name])) for name in _CURVES]
    lines.append((texts("future.paid_in"), at(paid)))
    return money_chart([result.dates[row] for row in rows], lines, result.currency, formats, texts)
