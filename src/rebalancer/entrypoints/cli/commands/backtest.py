"""`rebalancer backtest`: compare policies on past prices."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rebalancer.entrypoints.cli.files import check_output, read_targets, write_text
from rebalancer.entrypoints.cli.options import (
    cost_options,
    json_option,
    market_options,
    open_container,
    rate_or_column,
    simulation_options,
    sources,
    window_options,
)

if TYPE_CHECKING:
    from rebalancer.domain.backtest.evidence import ConfidenceInterval
    from rebalancer.domain.backtest.result import Backtest


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
    metavar="COLUMN|RATE",
    help="Return of cash, subtracted in the Sharpe ratio: a price column, which is then not "
    "traded, or an annual rate such as 0.02. Default: 0.",
)
@click.option(
    "--capital",
    type=float,
    default=100_000.0,
    show_default=True,
    help="Money at the first close; it matters for whole shares and for fixed fees per order.",
)
@click.option("--as-live", is_flag=True, help="Trade whole shares, as live orders do.")
@simulation_options
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write an HTML report to this file."
)
@json_option
def backtest(
    prices: Path | None,
    assets: Path | None,
    policy: str,
    targets_file: Path | None,
    first: date | None,
    last: date | None,
    cost_bps: float | None,
    preset: str | None,
    risk_free: str | None,
    capital: float,
    as_live: bool,
    max_departure: float,
    risk_profile: str,
    keep_limits: bool,
    report: Path | None,
    as_json: bool,
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
    from rebalancer.application.ports.reports import BacktestReports
    from rebalancer.domain.policy.rules import split_policy_names
    from rebalancer.domain.portfolio.costs import DEFAULT_BPS
    from rebalancer.entrypoints.cli.screen import progress

    where = sources(prices, assets)
    if report is not None:
        check_output(report, (*where.files, targets_file), field="report")
    wired = open_container(where)
    request = BacktestRequest(
        policies=split_policy_names(policy),
        cost_bps=cost_bps,
        costs=preset,
        targets=None if targets_file is None else read_targets(targets_file),
        first=first,
        last=last,
        risk_free=rate_or_column(risk_free, wired.get(PriceSource)),
        capital=capital,
        as_live=as_live,
        max_departure=max_departure,
        risk_profile=risk_profile,
        keep_limits=keep_limits,
    )
    with progress("backtesting", len(request.policies)) as advance:
        done = wired.get(RunBacktest)(request, cautions=where.cautions, progress=advance)
    if as_json:
        flat = DEFAULT_BPS if cost_bps is None else cost_bps
        click.echo(format_json(done, None if preset else flat))
    else:
        show(done)
    if report is not None:  # after the results, which a failed write must not lose
        write_text(report, wired.get(BacktestReports).render(done), field="report")
        click.echo(f"Report: {report.resolve()}", err=as_json)


def format_json(done: Backtest, cost_bps: float | None) -> str:
    """Format the results as JSON; figures as in `Performance`."""
    import json

    from rebalancer.application.reporting.backtest import backtest_document

    found = backtest_document(done)
    heading = {key: found.pop(key) for key in ("from", "to", "assets")}
    return json.dumps(heading | {"cost_bps": cost_bps} | found, indent=2, allow_nan=False)


def _gain(gain: ConfidenceInterval | None) -> str:
    if gain is None or gain.low == gain.high:
        return ""
    return f"{gain.estimate:+.2f} ±{gain.high - gain.estimate:.2f}"


def show(done: Backtest) -> None:
    """Print the results as a table."""
    from rebalancer.entrypoints.cli.screen import caution, console, wide_table

    screen = console()
    table = wide_table(
        screen,
        f"{done.dates[0]} to {done.dates[-1]}, {len(done.symbols)} assets, {done.cost_label}",
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
        "and orders: after the first close."
    )
    for result in done.results:
        figures = result.performance
        table.add_row(
            result.policy,
            f"{figures.final_value:.2f}",
            f"{figures.cagr:.1%}",
            f"{figures.volatility:.1%}",
            f"{figures.sharpe:.2f}",
            _gain(result.gain),
            f"{figures.max_drawdown:.1%}",
            f"{figures.turnover_per_year:.0%}",
            f"{figures.orders_per_year:.0f}",
            f"{figures.cost_paid:.2%}",
            f"{figures.average_exposure:.0%}",
        )
    screen.print(table)
    for each in done.cautions:
        caution(screen, each.text)
