"""`rebalancer stress`: what a portfolio would lose in a crash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.files import read_json
from rebalancer.entrypoints.cli.options import (
    POLICY_HELP,
    container,
    cost_options,
    json_option,
    market_options,
    settings,
)
from rebalancer.entrypoints.cli.screen import console, print_json, wide_table
from rebalancer.entrypoints.cli.stored_portfolios import stored_id

if TYPE_CHECKING:
    from rebalancer.domain.projection.stress import Shock
    from rebalancer.entrypoints.schemas.stress import StressView
    from rebalancer.wiring.market import Sources

_CHANGE = "NAME=CHANGE"


@click.command()
@click.argument("portfolio", metavar="[PORTFOLIO.json|ID]", required=False)
@click.option("--episode", help="A fall of the past, such as covid_2020; --list names them.")
@click.option("--list", "listed", is_flag=True, help="List the falls of the past, and end.")
@click.option(
    "--factor",
    metavar="SYMBOL=CHANGE",
    help="Change of an asset that the others follow by their beta, such as SPY=-0.2.",
)
@click.option(
    "--class", "classes", metavar=_CHANGE, multiple=True, help="Such as equity=-0.3; repeatable."
)
@click.option(
    "--asset", "moved", metavar=_CHANGE, multiple=True, help="Such as AAPL=-0.5; repeatable."
)
@click.option(
    "--currency-change",
    "currencies",
    metavar=_CHANGE,
    multiple=True,
    help="Change of a currency against all others, such as EUR=-0.1; repeatable.",
)
@click.option("--policy", default="band", help=POLICY_HELP)
@cost_options
@market_options
@json_option
def stress(
    portfolio: str | None,
    episode: str | None,
    listed: bool,
    factor: str | None,
    classes: tuple[str, ...],
    moved: tuple[str, ...],
    currencies: tuple[str, ...],
    policy: str,
    cost_bps: float | None,
    costs: str | None,
    fx_spread_bps: float | None,
    where: Sources,
    as_json: bool,
) -> None:
    """Compute what a portfolio would lose at once, and what the policy would propose after it.

    Give the portfolio as a JSON file (see `rebalancer batch --help`) or by the ID of a stored one.
    Nothing is stored. Of several changes of an asset, that which names it most closely counts.

    \b
    Examples:
      rebalancer stress portfolio.json --episode covid_2020
      rebalancer stress portfolio.json --class equity=-0.3 --class bond=0.05
      rebalancer stress 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --factor SPY=-0.2 --json
    """
    from msgspec import to_builtins

    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.rebalance import BuildContext
    from rebalancer.application.stress import StressPortfolio, stress_portfolio
    from rebalancer.domain.portfolio.costs import cost_model
    from rebalancer.entrypoints.schemas.portfolio import read_portfolio
    from rebalancer.entrypoints.schemas.stress import stress_view

    if listed:
        _list_episodes()
        return
    if portfolio is None:
        raise InvalidRequest(
            "give the JSON file or the ID of a portfolio",
            field="PORTFOLIO",
            code="portfolio_missing",
        )
    shock = _shock(episode, factor, classes, moved, currencies)
    model = cost_model(cost_bps, costs, fx_spread_bps)
    stored = stored_id(portfolio)
    with container(where) as wired:
        if stored is not None:
            with wired.get(UnitOfWork).read() as tx:
                owner = tx.portfolios.get(stored).owner
            report = wired.get(StressPortfolio)(
                stored, shock, policy_name=policy, costs=model, actor=owner
            )
        else:
            values = read_json(Path(portfolio), field="portfolio")
            values.setdefault("id", Path(portfolio).stem)
            given = read_portfolio(values, currency=settings().currency)
            context = wired.get(BuildContext)(
                policy_name=policy, costs=model, currency=given.currency.code
            )
            report = stress_portfolio(given, context, shock)
    view = stress_view(report)
    if as_json:
        print_json(to_builtins(view, enc_hook=str))
    else:
        _print(view)


def _shock(
    episode: str | None,
    factor: str | None,
    classes: tuple[str, ...],
    moved: tuple[str, ...],
    currencies: tuple[str, ...],
) -> Shock:
    from rebalancer.domain.market.asset_classes import AssetClass
    from rebalancer.domain.projection.stress import Shock

    known = {each.value for each in AssetClass}
    by_class = _changes(classes, "--class")
    for name in by_class:
        if name not in known:
            raise InvalidRequest(
                f"unknown asset class {name!r}; choose one of {', '.join(sorted(known))}",
                field="--class",
                code="unknown_asset_class",
            )
    follows = _changes(() if factor is None else (factor,), "--factor")
    return Shock(
        episode=episode,
        assets=_changes(moved, "--asset"),
        classes={AssetClass(name): change for name, change in by_class.items()},
        factor=next(iter(follows.items()), None),
        currencies=_changes(currencies, "--currency-change"),
    )


def _changes(texts: tuple[str, ...], option: str) -> dict[str, float]:
    found = {}
    for text in texts:
        name, given, change = text.partition("=")
        try:
            found[name.strip()] = float(change)
        except ValueError:
            given = ""
        if not (given and name.strip()):
            raise InvalidRequest(
                f"{text!r} is not {_CHANGE}; write for example SPY=-0.2",
                field=option,
                code="malformed_change",
            )
    return found


def _list_episodes() -> None:
    from rebalancer.domain.projection.stress import EPISODES

    screen = console()
    table = wide_table(screen, "Falls of the past", ("name", "what", "from", "to"), ())
    for name, episode in EPISODES.items():
        table.add_row(name, episode.title, str(episode.first), str(episode.last))
    screen.print(table)


def _print(view: StressView) -> None:
    screen = console()
    table = wide_table(
        screen, f"Value in {view.currency}", ("asset",), ("before", "after", "change")
    )
    for one in view.assets:
        table.add_row(
            one.symbol or "cash", f"{one.before:,.2f}", f"{one.after:,.2f}", f"{one.move:+.1%}"
        )
    change = "" if view.change is None else f"{view.change:+.1%}"
    table.add_row("total", f"{view.before:,.2f}", f"{view.after:,.2f}", change)
    screen.print(table)
    orders = view.proposal.orders
    screen.print(
        f"After it, {view.proposal.policy} would propose {len(orders)} orders:"
        if orders
        else f"After it, {view.proposal.policy} would propose nothing."
    )
    for order in orders:
        screen.print(f"  {order.side} {order.quantity} {order.symbol}: {order.reason}")
    for note in view.notes:
        screen.print(f"- {note}")
