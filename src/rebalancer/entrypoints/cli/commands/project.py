"""`rebalancer project`: what a portfolio may be worth in years."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rebalancer.application.ports.clock import Clock
from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.files import read_json
from rebalancer.entrypoints.cli.options import (
    container,
    json_option,
    market_options,
    settings,
)
from rebalancer.entrypoints.cli.screen import console, meter, print_json, wide_table
from rebalancer.entrypoints.cli.stored_portfolios import stored_id

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.application.projection import ProjectionReport, ProjectionRequest
    from rebalancer.wiring.market import Sources

_MONTHS = 12
_SHOWN = ("p5", "p25", "p50", "p75", "p95")
_ROWS = 15
"""Most rows of the printed table."""


@click.command()
@click.argument("portfolio", metavar="PORTFOLIO.json|ID")
@click.option("--years", type=click.FloatRange(1 / 12, 60), default=20, help="Default: 20.")
@click.option("--deposit", type=click.FloatRange(0), default=0.0, help="Deposit a month.")
@click.option("--withdraw", type=click.FloatRange(0), default=0.0, help="Withdrawal a month.")
@click.option(
    "--withdraw-from",
    type=click.FloatRange(0, 60),
    default=0.0,
    metavar="YEARS",
    help="Years until the first withdrawal; deposits end then. Default: 0.",
)
@click.option(
    "--indexed/--fixed",
    default=True,
    help="Whether deposits and withdrawals grow with inflation. Default: --indexed.",
)
@click.option("--goal", type=click.FloatRange(0, min_open=True), help="Amount in money of today.")
@click.option("--goal-in", type=click.FloatRange(0, 60), metavar="YEARS", help="Default: the end.")
@click.option(
    "--extra",
    type=click.FloatRange(0),
    default=100.0,
    help="Further deposit a month whose effect is shown. Default: 100.",
)
@click.option(
    "--expect",
    "expected",
    metavar="SYMBOL=RATE",
    multiple=True,
    help="Expected return a year, such as VTI=0.05, instead of that of history; may be repeated.",
)
@click.option("--inflation", type=float, default=0.02, help="A year. Default: 0.02.")
@click.option("--cash-rate", type=float, default=0.0, help="Interest on cash a year. Default: 0.")
@click.option(
    "--model",
    type=click.Choice(["bootstrap", "lognormal"]),
    default="bootstrap",
    help="Blocks of history, or independent months. Default: bootstrap.",
)
@click.option(
    "--certain-means",
    is_flag=True,
    help="Take expected returns for certain, which makes the range too narrow.",
)
@click.option(
    "--policy",
    default="monthly",
    help="Reviews the portfolio once a month. Those that look back at prices take longer; use "
    "fewer --paths. Default: monthly.",
)
@click.option("--cost-bps", type=float, help="Trading costs in basis points. Default: 10.")
@click.option("--costs", help="Cost preset instead, such as retail.")
@click.option("--paths", type=int, default=10_000, help="Default: 10000.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Default: 0.")
@market_options
@json_option
def project(
    portfolio: str,
    years: float,
    deposit: float,
    withdraw: float,
    withdraw_from: float,
    indexed: bool,
    goal: float | None,
    goal_in: float | None,
    extra: float,
    expected: tuple[str, ...],
    inflation: float,
    cash_rate: float,
    model: str,
    certain_means: bool,
    policy: str,
    cost_bps: float | None,
    costs: str | None,
    paths: int,
    seed: int,
    where: Sources,
    as_json: bool,
) -> None:
    """Project what a portfolio may be worth, with deposits, withdrawals, costs and limits.

    Give the portfolio as a JSON file (see `rebalancer batch --help`) or by the ID of a stored one.
    Months of the past are drawn in blocks, all assets together, and the portfolio trades as it
    does in backtests. The result is a range, not a forecast.

    \b
    Examples:
      rebalancer project portfolio.json --years 20 --deposit 500 --goal 250000
      rebalancer project portfolio.json --years 30 --withdraw 2000 --withdraw-from 10
      rebalancer project 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --expect SPY=0.05 --json
    """
    from rebalancer.application.projection import ProjectionRequest
    from rebalancer.domain.projection.flows import RecurringFlow
    from rebalancer.domain.projection.opening import Assumptions
    from rebalancer.domain.projection.returns import ReturnModel
    from rebalancer.domain.projection.summary import Goal

    months = round(years * _MONTHS)
    late = round(withdraw_from * _MONTHS)
    growth = inflation if indexed else 0.0
    flows = []
    if deposit and (not withdraw or late):
        flows.append(RecurringFlow(deposit, last=late if withdraw else None, growth=growth))
    if withdraw:
        flows.append(RecurringFlow(-withdraw, first=late + 1, growth=growth))
    request = ProjectionRequest(
        Assumptions(
            months=months,
            model=ReturnModel(model),
            uncertain_means=not certain_means,
            expected_returns=_parse_rates(expected),
            cash_rate=cash_rate,
            inflation=inflation,
            flows=tuple(flows),
        ),
        policy=policy,
        paths=paths,
        seed=seed,
        cost_bps=cost_bps,
        costs=costs,
        goal=None
        if goal is None
        else Goal(goal, months if goal_in is None else max(1, round(goal_in * _MONTHS))),
        extra=extra,
    )
    with container(where) as wired, meter("paths", 100) as shown:
        report = _run(wired, portfolio, request, lambda share: shown(round(100 * share)))
    document = report.document
    if as_json:
        print_json(document)
    else:
        _print(document)


def _run(
    wired: Container, portfolio: str, request: ProjectionRequest, progress: Any
) -> ProjectionReport:
    """Project a portfolio file, or a stored portfolio."""
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.projection import (
        OpenedProjection,
        ProjectPortfolio,
        run_projection,
    )
    from rebalancer.application.rebalance import BuildContext
    from rebalancer.domain.portfolio.costs import cost_model
    from rebalancer.domain.projection.opening import open_projection
    from rebalancer.entrypoints.schemas.portfolio import read_portfolio

    stored = stored_id(portfolio)
    if stored is not None:
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.portfolios.get(stored).owner
        return wired.get(ProjectPortfolio)(stored, request, actor=owner, progress=progress)
    path = Path(portfolio)
    values = read_json(path, field="portfolio")
    values.setdefault("id", path.stem)
    given = read_portfolio(values, currency=settings().currency)
    context = wired.get(BuildContext)(
        policy_name=request.policy,
        costs=cost_model(request.cost_bps, request.costs),
        currency=given.currency.code,
    )
    today = wired.get(Clock)().date()
    setting = open_projection(given, context, request.assumptions, start=today)
    return run_projection(OpenedProjection(setting), request, progress=progress)


def _parse_rates(texts: tuple[str, ...]) -> dict[str, float]:
    rates = {}
    for text in texts:
        symbol, given, rate = text.partition("=")
        try:
            rates[symbol.strip()] = float(rate)
        except ValueError:
            given = ""
        if not (given and symbol.strip()):
            raise InvalidRequest(
                f"{text!r} is not SYMBOL=RATE; write for example VTI=0.05",
                field="--expect",
                code="malformed_rate",
            )
    return rates


def _print(document: dict[str, Any]) -> None:
    """Print the range by year, the chances and what they rest on."""
    screen = console()
    currency, months = document["currency"], document["months"]
    table = wide_table(
        screen, f"Value in {currency} of today, {document['paths']:,} paths", ("year",), _SHOWN
    )
    step = next(years for years in (1, 2, 5, 10) if months <= years * _MONTHS * _ROWS)
    for month in (*range(0, months, step * _MONTHS), months):
        values = [document["real_fan"][name][month] for name in _SHOWN]
        table.add_row(f"{month / _MONTHS:.4g}", *(f"{value:,.0f}" for value in values))
    screen.print(table)
    screen.print(
        f"The worst tenth of the paths ends at {document['worst_decile_real']:,.0f} {currency} of "
        "today on average."
    )
    goal = document["goal"]
    if goal is not None:
        screen.print(
            f"{goal['amount']:,.0f} {currency} of today after {goal['month'] / _MONTHS:g} years: "
            f"reached on {goal['probability']:.1%} of the paths "
            f"(standard error {goal['standard_error']:.1%})."
        )
    for own in document["goals"]:
        screen.print(
            f"{own['name']}, {own['amount']:,.0f} {currency} by {own['by']}: reached on "
            f"{own['probability']:.1%} of the paths."
        )
    gone = document["exhausted"]
    if gone["probability"]:
        screen.print(
            f"The money runs out on {gone['probability']:.1%} of the paths, in the middle after "
            f"{document['exhausted_year']:.1f} years."
        )
    extra = document["extra"]
    if extra is not None:
        helps = ""
        if extra["goal_before"] is not None:
            helps = (
                f", and the chance of the goal from {extra['goal_before']:.1%} to "
                f"{extra['goal_after']:.1%}"
            )
        screen.print(
            f"A further {extra['amount']:,.0f} {currency} a month would raise the middle of the "
            f"range by {extra['median_gain_real']:,.0f} {currency} of today{helps}."
        )
    for note in document["notes"]:
        screen.print(f"- {note}")
