"""What the screen of a portfolio's performance shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

import attrs

from rebalancer_app.gateway.performance import Line, Performance
from rebalancer_app.model.charts import Chart, money_chart, share_chart, thin
from rebalancer_app.model.formats import HIDDEN, Formats
from rebalancer_app.texts import Texts

PERIODS = ("1M", "YTD", "1Y", "max")


@attrs.frozen
class Figure:
    """A figure and what it means.

    Attributes:
        meaning: What it measures, for people who tap it.
    """

    name: str
    value: str
    meaning: str


@attrs.frozen
class MonthCell:
    """The return of a month.

    Attributes:
        strength: From -1 for the worst to 1 for the best.
    """

    name: str
    text: str
    strength: float
    spoken: str


@attrs.frozen
class ContributionRow:
    """What a part adds to the return.

    Attributes:
        strength: From -1 to 1, of the largest contribution.
    """

    name: str
    text: str
    strength: float
    spoken: str


@attrs.frozen
class PerformanceScreen:
    """Everything on the screen.

    Attributes:
        since: Day from which all figures count; only the charts follow the period.
    """

    gain: str
    contributed: str
    since: str
    chart: Chart | None
    drawdowns: Chart | None
    figures: tuple[Figure, ...]
    comparisons: tuple[tuple[str, str, str], ...]
    months: tuple[tuple[str, tuple[MonthCell, ...]], ...]
    notes: tuple[str, ...]
    holdings: tuple[ContributionRow, ...] = ()
    classes: tuple[ContributionRow, ...] = ()


def performance_screen(
    one: Performance, period: str, formats: Formats, texts: Texts, *, hidden: bool = False
) -> PerformanceScreen:
    """Return what to show of a performance over a period; ``hidden`` replaces amounts by dots."""
    row = first_row(one.dates, period)
    dates = one.dates[row:]
    rows = thin(len(dates))

    def part(values: Sequence[float]) -> list[float]:
        return [values[row:][at] for at in rows]

    lines = [
        (texts("performance.portfolio"), part(one.portfolio.values)),
        (texts("performance.no_rebalancing"), part(one.no_rebalancing.values)),
        (_benchmark(one, texts), part(one.benchmark.values)),
        (texts("performance.contributions"), part(one.contributions)),
    ]
    chosen = [dates[at] for at in rows]
    index = growth(one.portfolio.values, one.contributions)

    def money(amount: float) -> str:
        return HIDDEN if hidden else formats.money(Decimal(str(round(amount, 2))), one.currency)

    return PerformanceScreen(
        gain=HIDDEN
        if hidden
        else formats.signed_money(Decimal(str(round(one.gain, 2))), one.currency),
        contributed=texts("performance.of_contributions", amount=money(one.contributed)),
        since=texts("performance.since", day=formats.day(one.first)),
        chart=None if hidden else money_chart(chosen, lines, one.currency, formats, texts),
        drawdowns=share_chart(
            chosen,
            [(texts("performance.drawdown"), part(drawdowns(index)))],
            formats,
            texts,
        ),
        figures=_figures(one, formats, texts, money),
        comparisons=tuple(
            (name, formats.percent(line.time_weighted_return), formats.percent(line.max_drawdown))
            for name, line in (
                (texts("performance.portfolio"), one.portfolio),
                (texts("performance.no_rebalancing"), one.no_rebalancing),
                (_benchmark(one, texts), one.benchmark),
            )
        ),
        months=_months(one.dates, index, formats, texts),
        notes=tuple(one.notes),
        holdings=_contribution_rows(_holdings(one, texts), formats),
        classes=_contribution_rows(_classes(one, texts), formats),
    )


def _holdings(one: Performance, texts: Texts) -> list[tuple[str, float]]:
    """Return name and contribution of each holding, of cash and of fees."""
    if one.attribution is None:
        return []

    def name(kind: str, currency: str) -> str:
        return (
            texts("performance.fees")
            if kind == "fees"
            else texts("performance.cash_in", currency=currency)
        )

    return [
        (part.symbol or name(part.kind, part.currency), part.contribution)
        for part in one.attribution.holdings
    ]


def _classes(one: Performance, texts: Texts) -> list[tuple[str, float]]:
    """Return name and contribution of each asset class."""
    if one.attribution is None:
        return []
    return [
        (texts.find(f"performance.class_{part.name}") or part.name, part.contribution)
        for part in one.attribution.asset_classes
    ]


def _contribution_rows(
    parts: Sequence[tuple[str, float]], formats: Formats
) -> tuple[ContributionRow, ...]:
    largest = max((abs(much) for _, much in parts), default=0.0) or 1.0
    return tuple(
        ContributionRow(
            name, formats.points(much), much / largest, f"{name}: {formats.percent(much)}"
        )
        for name, much in parts
    )


def first_row(dates: Sequence[date], period: str) -> int:
    """Return the row of the close from which a period is measured."""
    last = dates[-1]
    if period == "max":
        return 0
    if period == "YTD":
        begins = date(last.year - 1, 12, 31)
    elif period == "1Y":
        begins = date(last.year - 1, last.month, min(last.day, 28))
    else:
        year, month = (last.year, last.month - 1) if last.month > 1 else (last.year - 1, 12)
        begins = date(year, month, min(last.day, 28))
    before = [at for at, day in enumerate(dates) if day <= begins]
    return before[-1] if before else 0


def growth(values: Sequence[float], contributions: Sequence[float]) -> list[float]:
    """Return the value of 1 held throughout: the day's gain over what was there before it."""
    index = [1.0]
    for at in range(1, len(values)):
        flow = contributions[at] - contributions[at - 1]
        base = values[at - 1] + max(flow, 0.0)
        grown = values[at] - min(flow, 0.0)
        index.append(index[-1] * (grown / base if base > 0 else 1.0))
    return index


def drawdowns(index: Sequence[float]) -> list[float]:
    """Return the loss from the highest value so far, as negative shares."""
    highest, found = 0.0, []
    for value in index:
        highest = max(highest, value)
        found.append(value / highest - 1.0 if highest > 0 else 0.0)
    return found


def _figures(
    one: Performance, formats: Formats, texts: Texts, money: Callable[[float], str]
) -> tuple[Figure, ...]:
    line: Line = one.portfolio
    yearly = line.time_weighted_return_a_year
    found = [
        ("time_weighted", formats.percent(line.time_weighted_return)),
        ("a_year", None if yearly is None else formats.percent(yearly)),
        (
            "money_weighted",
            None
            if line.money_weighted_return is None
            else formats.percent(line.money_weighted_return),
        ),
        ("volatility", formats.percent(line.volatility)),
        ("max_drawdown", formats.percent(line.max_drawdown)),
        ("costs", money(one.costs)),
        ("dividends", money(one.dividends)),
        ("interest", money(one.interest) if one.interest else None),
        ("taxes", money(one.taxes) if one.taxes else None),
    ]
    return tuple(
        Figure(texts(f"performance.{name}"), value, texts(f"performance.{name}_meaning"))
        for name, value in found
        if value is not None
    )


def _months(
    dates: Sequence[date], index: Sequence[float], formats: Formats, texts: Texts
) -> tuple[tuple[str, tuple[MonthCell, ...]], ...]:
    """Return the months by year, latest first."""
    ends: dict[tuple[int, int], float] = {}
    for day, value in zip(dates, index, strict=True):
        ends[day.year, day.month] = value
    found: dict[int, list[tuple[int, float]]] = {}
    before = 1.0
    for (year, month), value in ends.items():
        found.setdefault(year, []).append((month, value / before - 1.0 if before else 0.0))
        before = value
    largest = max((abs(r) for months in found.values() for _, r in months), default=0.0) or 1.0
    return tuple(
        (
            str(year),
            tuple(
                MonthCell(
                    formats.month(month),
                    formats.points(change),
                    change / largest,
                    f"{formats.month(month)} {year}: {formats.percent(change)}",
                )
                for month, change in months
            ),
        )
        for year, months in reversed(found.items())
    )


def _benchmark(one: Performance, texts: Texts) -> str:
    name = one.benchmark.name
    return texts("performance.targets_monthly") if "," in name else name
