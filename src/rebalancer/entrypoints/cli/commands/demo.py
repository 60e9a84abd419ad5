"""`rebalancer demo`: a tour on packaged real prices, first in the terminal, then over HTTP."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import click

from rebalancer.entrypoints.cli.files import write_text
from rebalancer.entrypoints.cli.options import FILE
from rebalancer.entrypoints.cli.screen import console, progress

_POLICIES = (
    "buy_and_hold,monthly,quarterly,band,band:edge,volatility_target,trend,inverse_volatility,"
    "risk_parity,minimum_variance,hierarchical_risk_parity,ppo,dqn,learned"
)

_PORTFOLIO = {
    "id": "demo",
    "currency": "USD",
    "cash": "1850.00",
    "holdings": {"AAPL": "95", "MSFT": "30", "JNJ": "40", "KO": "120", "XOM": "70", "GE": "25"},
    "targets": {"AAPL": 0.20, "MSFT": 0.20, "JNJ": 0.20, "KO": 0.15, "XOM": 0.10, "PG": 0.15},
    "cash_flow": "2500.00",
    "last_rebalance": "2022-12-01",
    "preferences": {
        "min_trade": "100.00",
        "do_not_sell": ["GE"],
        "max_turnover": 0.30,
        "cash_reserve": "500.00",
    },
}


@click.command()
@click.option(
    "--out", type=FILE, default=Path("out"), help="Folder for the report and the example portfolio."
)
def demo(out: Path) -> None:
    """Show a proposal, a backtest on 22 years of real prices, and the API.

    The last part imports prices with a split and a dividend, and shows a portfolio in two
    currencies. The API is served by a temporary server on a free port and an empty database; both
    are removed at the end.

    Needs extra packages: pip install 'rebalancer[sample,report]'

    \b
    Example:
      rebalancer demo --out /tmp/demo
    """
    from rebalancer.application.backtests import BacktestRequest, RunBacktest
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.reports import Renderer
    from rebalancer.application.rebalance import BuildContext, propose_and_compare
    from rebalancer.domain.backtest.result import Backtest
    from rebalancer.domain.policy.rules import split_policy_names
    from rebalancer.domain.portfolio.costs import DEFAULT_BPS, CostModel
    from rebalancer.entrypoints.cli.commands import backtest, propose
    from rebalancer.entrypoints.cli.currency_tour import SYMBOLS, tour_in_currencies
    from rebalancer.entrypoints.cli.tour import tour
    from rebalancer.entrypoints.schemas.portfolio import read_portfolio
    from rebalancer.wiring.container import build_container
    from rebalancer.wiring.market import Sources

    screen = console()
    where = Sources()
    wired = build_container(where)
    costs = CostModel.flat(DEFAULT_BPS)

    screen.rule("1. A portfolio, and what to trade now")
    example = out / "portfolio.json"
    write_text(example, json.dumps(_PORTFOLIO, indent=2) + "\n", field="out")
    portfolio = read_portfolio(_PORTFOLIO, currency="USD")
    screen.print(
        f"Holds {', '.join(f'{held} {symbol}' for symbol, held in portfolio.holdings.items())} and "
        f"{portfolio.cash} {portfolio.currency} in cash; the owner deposits "
        f"{portfolio.cash_flow}.\n"
        "Preferences: at most 30% turnover, orders of at least 100, a cash reserve of 500, and no "
        "sale of GE.\n"
    )
    terms = wired.get(BuildContext)(policy_name="band", costs=costs, currency="USD")
    seen = propose.Seen.of(portfolio, terms)
    propose.show(propose_and_compare(portfolio, terms), portfolio, seen)

    screen.print()
    screen.rule("2. Backtest of the policies")
    request = BacktestRequest(policies=split_policy_names(_POLICIES))
    with progress("backtesting", len(request.policies)) as advance:
        done = wired.get(RunBacktest)(request, cautions=where.cautions, progress=advance)
    backtest.show(done)
    report = out / "backtest.html"
    write_text(report, wired.get(Renderer[Backtest]).render(done), field="out")

    screen.print()
    screen.rule("3. The API")
    tour(screen)

    screen.print()
    screen.rule("4. Two currencies, a split and a dividend")
    tour_in_currencies(screen, wired.get(PriceSource).closes(SYMBOLS), out)

    screen.print()
    screen.rule("5. Next steps")
    # In a virtual environment that is not activated, the bare name would not be found.
    command = "rebalancer" if shutil.which("rebalancer") else sys.argv[0]
    screen.print(
        f"Report with plots: {report.resolve()}\n"
        "Try:\n"
        f"  {command} propose {example} --policy ppo\n"
        f"  {command} backtest --policy monthly,band:edge,trend:window=150 --from 2010-01-04\n"
        f"  {command} market show AAPL\n"
        f"Serve the API with a demo account: {command} serve --upgrade --demo\n"
        "Use the app in a browser: make app",
        soft_wrap=True,
    )
