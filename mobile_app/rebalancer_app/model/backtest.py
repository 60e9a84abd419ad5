"""What the screens of backtests show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from rebalancer_app.gateway.backtests import Backtest, Job, Series
from rebalancer_app.model.charts import Chart, money_chart
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.proposal import policy_name
from rebalancer_app.texts import Texts

RUNNING = ("queued", "running")

_FIGURES = (
    ("cagr", "percent"),
    ("volatility", "percent"),
    ("sharpe", "number"),
    ("max_drawdown", "percent"),
    ("turnover_per_year", "percent"),
    ("orders_per_year", "whole"),
    ("cost_paid", "percent"),
)


@attrs.frozen
class FigureTable:
    """Figures of several policies.

    Attributes:
        policies: Names of the columns.
        rows: Name of a figure and its value for each policy.
    """

    policies: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@attrs.frozen
class BacktestScreen:
    """Everything on the screen of a backtest.

    Attributes:
        is_running: Whether it still runs.
        progress: From 0 to 1.
        state: What became of it, in words.
    """

    title: str
    period: str
    is_running: bool
    progress: float
    state: str
    table: FigureTable | None
    chart: Chart | None
    cautions: tuple[str, ...]


def backtest_screen(
    one: Backtest, series: Series | None, formats: Formats, texts: Texts
) -> BacktestScreen:
    """Return what to show of a backtest, with its series once they are known."""
    result = one.result or {}
    policies = [str(each["policy"]) for each in result.get("results", ())]
    chart = None
    if series is not None:
        lines = [(policy_name(name, texts), values) for name, values in series.values.items()]
        chart = money_chart(series.dates, lines, str(result.get("currency", "USD")), formats, texts)
    state = "" if one.state == "succeeded" else texts(f"job.{one.state}")
    return BacktestScreen(
        title=job_title(one.request, texts),
        period=texts("backtest.period", first=result["from"], last=result["to"]) if result else "",
        is_running=one.state in RUNNING,
        progress=float(one.progress),
        state=f"{state} {one.error or ''}".strip(),
        table=_table(policies, result.get("results", ()), formats, texts) if policies else None,
        chart=chart,
        cautions=tuple(result.get("cautions", ())),
    )


def job_title(request: Mapping[str, Any], texts: Texts) -> str:
    """Return the policies of a backtest, as a title."""
    names = [policy_name(str(name), texts) for name in request.get("policies", ())]
    return ", ".join(names) or texts("backtest.title")


def job_line(job: Job, formats: Formats, texts: Texts) -> str:
    """Return the state of a job and its day."""
    return f"{texts(f'job.{job.state}')} · {formats.day(job.created.date())}"


def _table(
    policies: Sequence[str],
    results: Sequence[Mapping[str, Any]],
    formats: Formats,
    texts: Texts,
) -> FigureTable:
    rows = [
        (
            texts(f"figure.{name}"),
            tuple(_show(each.get(name), kind, formats) for each in results),
        )
        for name, kind in _FIGURES
    ]
    gains = [_gain(each.get("sharpe_gain"), formats) for each in results]
    if any(gains):
        rows.insert(3, (texts("figure.sharpe_gain"), tuple(gain or "–" for gain in gains)))
    return FigureTable(tuple(policy_name(name, texts) for name in policies), tuple(rows))


def _show(value: Any, kind: str, formats: Formats) -> str:
    if value is None:
        return "–"
    if kind == "percent":
        return formats.percent(value)
    digits = Decimal("1") if kind == "whole" else Decimal("0.01")
    return formats.number(Decimal(str(value)).quantize(digits))


def _gain(interval: Mapping[str, Any] | None, formats: Formats) -> str:
    """Return the difference to the first policy with its interval; empty for that policy."""
    if not interval or not any(interval.values()):
        return ""
    estimate, low, high = (
        formats.number(Decimal(str(interval[name])).quantize(Decimal("0.01")))
        for name in ("estimate", "low", "high")
    )
    return f"{estimate} ({low} … {high})"
