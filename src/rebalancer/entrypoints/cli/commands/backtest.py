"""`rebalancer backtest`: policies side by side on history."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rebalancer.entrypoints.cli.options import (
    IsoDate,
    cost_options,
    json_option,
    market_options,
    owner_options,
    rate_or_column,
    sources,
    spare,
    wire,
    write_text,
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
    help="Policies to try, such as monthly,band:edge,trend:window=150. See `rebalancer policies`.",
)
@click.option(
    "--targets",
    "targets_file",
    type=click.Path(path_type=Path),
    help='JSON of strategic weights, such as {"SPY": 0.6, "AGG": 0.4}. Default: equal weights.',
)
@click.option("--from", "first", type=IsoDate(), help="The window's first close (on or after).")
@click.option("--to", "last", type=IsoDate(), help="The window's last close (on or before).")
@cost_options
@click.option(
    "--risk-free",
    metavar="COLUMN|RATE",
    help="What cash earns and Sharpe subtracts: a price column (which leaves the universe) or a "
    "rate a year such as 0.02. Default: 0.",
)
@click.option(
    "--capital",
    type=float,
    default=100_000.0,
    show_default=True,
    help="Money at the first close; matters with --as-live and for fees an order.",
)
@click.option("--as-live", is_flag=True, help="Make orders as live: whole shares.")
@owner_options
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write a self-contained HTML report here."
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
    """Prove or refute policies on history, net of costs.

    Rows before --from serve as look-back only. At the window's first close every policy buys its
    targets and pays for it; later it decides on data up to and including a close, and trades at
    that close.

    \b
    Examples:
      rebalancer backtest --policy monthly,band,volatility_target
      rebalancer backtest --prices etfs.csv --policy monthly,trend --risk-free BIL --from 2010-01-01
      rebalancer backtest --policy band:edge,band:half --cost-bps 25 --report out.html
    """
    from rebalancer.application.backtests import BacktestRequest, RunBacktest
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.reports import BacktestReports
    from rebalancer.domain.policy.rules import policy_names
    from rebalancer.entrypoints.cli.screen import progress

    where = sources(prices, assets)
    if report is not None:
        spare((*where.files, targets_file), report, field="report")
    wired = wire(where)
    request = BacktestRequest(
        policies=policy_names(policy),
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
        click.echo(as_json_text(done, None if preset else (10.0 if cost_bps is None else cost_bps)))
    else:
        show(done)
    if report is not None:  # after the results, which are not lost if it cannot be written
        write_text(report, wired.get(BacktestReports).render(done), field="report")
        click.echo(f"Report: {report.resolve()}", err=as_json)


def read_targets(path: Path) -> dict[str, float]:
    """Strategic weights from a JSON object.

    Raises:
        InvalidRequest: the file cannot be read, is no JSON object of numbers, or repeats a symbol.
    """
    from rebalancer.entrypoints.cli.files import read_file
    from rebalancer.entrypoints.schemas.portfolio import read_weights
    from rebalancer.entrypoints.schemas.wire import parse_json

    return read_weights(parse_json(read_file(path, field="targets"), field="targets"))


def as_json_text(done: Backtest, cost_bps: float | None) -> str:
    """The results as JSON; figures as in `Performance`."""
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
    """Print the results as a table that a person reads."""
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
        "Net of costs. Sharpe above the risk-free; beside it what it gains on the monthly rule, "
        "give or take the 95% interval: where that reaches 0, chance would do. Turnover and orders "
        "after the first close."
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
