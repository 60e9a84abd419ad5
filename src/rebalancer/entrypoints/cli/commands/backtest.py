"""`rebalancer backtest`: compare policies on past prices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rebalancer.entrypoints.cli.engine_options import EngineChoice, engine_options
from rebalancer.entrypoints.cli.files import check_output, read_any_targets, write_text
from rebalancer.entrypoints.cli.options import (
    SymbolText,
    cost_options,
    currency_option,
    json_option,
    market_options,
    open_container,
    rate_or_column,
    report_option,
    report_reading,
    simulation_options,
    window_options,
)
from rebalancer.entrypoints.cli.screen import (
    caution,
    console,
    count_assets,
    print_json,
    progress,
    wide_table,
)

if TYPE_CHECKING:
    from rebalancer.application.backtests import BacktestRequest
    from rebalancer.domain.backtest.evidence import ConfidenceInterval
    from rebalancer.domain.backtest.result import Backtest
    from rebalancer.wiring.market import Sources


@click.command()
@market_options
@click.option(
    "--policy",
    required=True,
    metavar="NAME[,NAME...]",
    help="Policies to compare, such as monthly,band:edge,trend:window=150; see `rebalancer "
    "policies`.",
)
@window_options
@cost_options
@click.option(
    "--risk-free",
    type=SymbolText(),
    metavar="COLUMN|RATE",
    help="Return of cash, subtracted in the Sharpe ratio: a price column, which is then not "
    "traded, or an annual rate such as 0.02. Default: 0.",
)
@click.option(
    "--capital",
    type=float,
    default=100_000.0,
    help="Money at the first close; it matters for whole shares and for fixed fees per order.",
)
@click.option(
    "--as-live",
    is_flag=True,
    help="Trade whole shares, as live orders do, or the lots and quantity steps of --assets.",
)
@click.option(
    "--quantity-step",
    type=float,
    default=1.0,
    help="With --as-live: smallest quantity of assets without a lot or step of their own, such as "
    "0.0001. Default: 1.",
)
@currency_option
@simulation_options
@engine_options
@report_option
@json_option
def backtest(
    where: Sources,
    policy: str,
    targets_file: Path | None,
    risk_free: str | None,
    report: Path | None,
    as_json: bool,
    engine: EngineChoice,
    **terms: Any,
) -> None:
    """Compare policies on past prices, net of costs.

    Every policy buys its targets at the first close of the window and pays the costs. From then on
    it decides on data up to and including a close, and trades at that close. Prices before --from
    are only used as history.

    \b
    Examples:
      rebalancer backtest --policy monthly,band,volatility_target
      rebalancer backtest --prices etfs.csv --policy monthly,trend --risk-free BIL --from 2010-01-01
      rebalancer backtest --policy band:edge,band:half --cost-bps 25 --report out.html
    """
    from rebalancer.application.backtests import BacktestRequest, RunBacktest
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.reports import Renderer
    from rebalancer.domain.backtest.result import Backtest
    from rebalancer.domain.policy.rules import split_policy_names

    if report is not None:
        check_output(report, (*where.files, targets_file), field="report")
    wired = open_container(where)
    targets, groups = read_any_targets(targets_file)
    request = BacktestRequest(
        policies=split_policy_names(policy),
        targets=targets,
        target_groups=groups,
        risk_free=rate_or_column(risk_free, wired.get(PriceSource)),
        **terms,
    )
    report_reading(wired)
    with engine.remote() as cluster, progress("backtesting", len(request.policies)) as advance:
        done = wired.get(RunBacktest)(
            request, cautions=where.cautions, progress=advance, engine=cluster
        )
    if as_json:
        print_json(_comparison_document(done, request), ensure_ascii=True, allow_nan=False)
    else:
        show(done)
    if report is not None:  # after the results, which a failed write must not lose
        write_text(report, wired.get(Renderer[Backtest]).render(done), field="report")
        click.echo(f"Report: {report.resolve()}", err=as_json)


def _comparison_document(done: Backtest, request: BacktestRequest) -> dict[str, Any]:
    """Return the results as JSON values; figures as in `Performance`."""
    from rebalancer.application.reporting.backtest import backtest_document
    from rebalancer.domain.portfolio.costs import DEFAULT_BPS

    found = backtest_document(done)
    heading = {key: found.pop(key) for key in ("from", "to", "assets")}
    flat = DEFAULT_BPS if request.cost_bps is None else request.cost_bps
    return heading | {"cost_bps": None if request.costs else flat} | found


def _gain(gain: ConfidenceInterval | None) -> str:
    if gain is None or gain.low == gain.high:
        return ""
    return f"{gain.estimate:+.2f} ±{gain.high - gain.estimate:.2f}"


def _yearly(figure: float | None, form: str) -> str:
    """Format a figure a year; a dash where the window is shorter than a year."""
    return "-" if figure is None else format(figure, form)


def show(done: Backtest) -> None:
    """Print the results as a table."""
    screen = console()
    table = wide_table(
        screen,
        f"{done.dates[0]} to {done.dates[-1]}, {count_assets(len(done.symbols))}, "
        f"{done.cost_label}",
        ["policy"],
        [
            "final",
            "CAGR",
            "vol",
            "Sharpe",
            "vs monthly",
            "max DD",
            "turn/y",
            "orders/y",
            "cost",
            "exposure",
        ],
    )
    table.caption = (
        "Net of costs. Sharpe: above the risk-free rate. vs monthly: gain in Sharpe over the "
        "monthly rule with its 95% interval; an interval that includes 0 may be chance. Turnover "
        f"and orders: after the first close. {done.frequency.sentence}"
    )
    for result in done.results:
        figures = result.performance
        table.add_row(
            result.policy,
            f"{figures.final_value:.2f}",
            _yearly(figures.cagr, ".1%"),
            f"{figures.volatility:.1%}",
            f"{figures.sharpe:.2f}",
            _gain(result.gain),
            f"{figures.max_drawdown:.1%}",
            _yearly(figures.turnover_per_year, ".0%"),
            _yearly(figures.orders_per_year, ".0f"),
            f"{figures.cost_paid:.2%}",
            f"{figures.average_exposure:.0%}",
        )
    screen.print(table)
    for each in done.cautions:
        caution(screen, each.text)
