"""`rebalancer propose`: one portfolio, explained."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from rebalancer.entrypoints.cli.options import (
    IsoDate,
    cost_model,
    cost_options,
    json_option,
    market_options,
    settings,
    sources,
    store,
    wire,
)

if TYPE_CHECKING:
    from rebalancer.application.rebalance import Comparison
    from rebalancer.domain.portfolio.costs import CostModel
    from rebalancer.domain.portfolio.portfolio import Portfolio
    from rebalancer.domain.rebalancing.model import Proposal, RebalanceContext
    from rebalancer.wiring.market import Sources


@click.command()
@click.argument("portfolio_file", metavar="[PORTFOLIO.json|ID]", required=False, type=Path)
@click.option(
    "--holdings",
    type=click.Path(path_type=Path),
    help="Instead of a JSON file: a CSV of symbol,quantity.",
)
@click.option("--cash", help="Cash, with --holdings. Default: 0.")
@click.option(
    "--cash-flow", help="Deposit, or withdrawal (-), with --holdings or for a kept portfolio."
)
@click.option(
    "--targets",
    help='With --holdings: "SPY=0.6,AGG=0.4", or a JSON file such as {"SPY": 0.6, "AGG": 0.4}.',
)
@click.option("--risk-profile", help="With --holdings: conservative to aggressive.")
@click.option("--fractional", is_flag=True, help="With --holdings: allow fractions of shares.")
@market_options
@click.option(
    "--policy",
    default="band",
    show_default=True,
    help="Who decides; see `rebalancer policies`.",
)
@click.option("--as-of", type=IsoDate(), help="Day to decide on. Default: the last close.")
@cost_options
@click.option("--currency", help="Of the prices. Default: $REBALANCER_CURRENCY, or USD.")
@click.option(
    "--input-hash",
    help="Replay: refuse unless prices, policy, costs and portfolio are those of this proposal.",
)
@json_option
def propose(
    portfolio_file: Path | None,
    holdings: Path | None,
    cash: str | None,
    cash_flow: str | None,
    targets: str | None,
    risk_profile: str | None,
    fractional: bool,
    prices: Path | None,
    assets: Path | None,
    policy: str,
    as_of: date | None,
    cost_bps: float | None,
    preset: str | None,
    currency: str | None,
    input_hash: str | None,
    as_json: bool,
) -> None:
    """Say what one portfolio should trade now, what it costs, why, and why not.

    The portfolio is one JSON object as in `rebalancer batch --help`, or a CSV of holdings with cash
    and targets beside it, or the id of a kept one: then the proposal is kept, too, and can be
    accepted. A proposal is computed from rules and prices; it is not personal advice.

    \b
    Examples:
      rebalancer propose portfolio.json --policy band
      rebalancer propose --holdings my.csv --cash 1200 --targets "KO=0.5,PG=0.5" --policy monthly
      rebalancer propose portfolio.json --prices prices.csv --as-of 2022-06-30 --json
      rebalancer propose 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --policy monthly
    """
    import json

    from rebalancer.application.rebalance import BuildContext, ProposeRebalance
    from rebalancer.domain.errors import Conflict, InvalidRequest
    from rebalancer.domain.money import Currency
    from rebalancer.entrypoints.cli.files import read_file
    from rebalancer.entrypoints.schemas.portfolio import read_portfolio
    from rebalancer.entrypoints.schemas.proposal import comparison_record
    from rebalancer.entrypoints.schemas.wire import parse_json

    code = Currency(currency or settings().currency).code
    if (portfolio_file is None) == (holdings is None):
        raise InvalidRequest("give either a portfolio's JSON file or --holdings with --targets")
    kept = None if portfolio_file is None else kept_id(portfolio_file)
    if portfolio_file is not None:
        beside = {
            "--cash": cash,
            "--cash-flow": None if kept else cash_flow,
            "--targets": targets,
            "--risk-profile": risk_profile,
            "--fractional": fractional,
            "--currency": currency if kept else None,
            "--input-hash": input_hash if kept else None,
        }
        if stray := [option for option, value in beside.items() if value]:
            remedy = "not for a kept portfolio" if kept else f"edit {portfolio_file}"
            raise InvalidRequest(f"{', '.join(stray)}: only with --holdings; {remedy}")
        if kept is not None:
            _propose_kept(
                kept,
                sources(prices, assets),
                policy=policy,
                as_of=as_of,
                costs=cost_model(cost_bps, preset),
                cash_flow=cash_flow,
                as_json=as_json,
            )
            return
        values = parse_json(read_file(portfolio_file, field="portfolio"), field="portfolio")
        values.setdefault("id", portfolio_file.stem)
    else:
        assert holdings is not None
        values = {
            "id": holdings.stem,
            "cash": "0" if cash is None else cash,
            "cash_flow": "0" if cash_flow is None else cash_flow,
            "holdings": read_holdings(holdings),
            "targets": inline_targets(targets),
            "risk_profile": risk_profile,
            "preferences": {"whole_shares": not fractional},
        }
    portfolio = read_portfolio(values, currency=code)
    where = sources(prices, assets)
    wired = wire(where)
    terms = wired.get(BuildContext)(
        policy_name=policy, costs=cost_model(cost_bps, preset), currency=code, as_of=as_of
    )
    if input_hash is not None and terms.input_hash(portfolio) != input_hash:
        raise Conflict(
            f"the inputs hash to {terms.input_hash(portfolio)}, not to {input_hash}: prices, "
            "policy, costs or portfolio differ from those of that proposal"
        )
    comparison = wired.get(ProposeRebalance)(portfolio, terms)
    if as_json:
        click.echo(json.dumps(comparison_record(comparison), indent=2, ensure_ascii=False))
    else:
        show(comparison, portfolio, terms)


def kept_id(argument: Path) -> UUID | None:
    """The id of a kept portfolio; None for what is a file, or can only be one."""
    try:
        return None if argument.exists() else UUID(str(argument))
    except ValueError:
        return None


def _propose_kept(
    id: UUID,
    where: Sources,
    *,
    policy: str,
    as_of: date | None,
    costs: CostModel,
    cash_flow: str | None,
    as_json: bool,
) -> None:
    """Propose for a portfolio of the store, keep the answer, and print it."""
    import json

    from rebalancer.application.ports.clock import Clock, Ids
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.rebalance import (
        BuildContext,
        Comparison,
        ProposalRequest,
        ProposeForPortfolio,
    )
    from rebalancer.domain.money import decimal_of
    from rebalancer.entrypoints.cli.commands.accept import proposal_stage
    from rebalancer.entrypoints.schemas.proposal import comparison_record

    flow = decimal_of("0" if cash_flow is None else cash_flow, field="cash_flow")
    with store(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            portfolio = tx.portfolios.get(id)
        ask = ProposalRequest(
            id,
            portfolio.owner,
            policy,
            costs,
            cash_flow=flow,
            as_of=as_of,
            compared=True,
            id=wired.get(Ids)(),
            now=wired.get(Clock)(),
        )
        answer = wired.get(ProposeForPortfolio)(ask)
        terms = wired.get(BuildContext)(
            policy_name=policy,
            costs=costs,
            currency=portfolio.mandate.currency.code,
            as_of=as_of,
        )
    record = answer.current.record
    comparison = Comparison(record.proposal, answer.others)
    if as_json:
        found = proposal_stage(answer.current) | comparison_record(comparison)
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    show(comparison, record.inputs.portfolio, terms)
    click.echo(f"Proposal {record.id}, {answer.current.stage}, until {record.expires:%F %H:%M} UTC")


def read_holdings(path: Path) -> dict[str, str]:
    """Quantities by symbol from a CSV with the columns symbol and quantity, in any case.

    Raises:
        InvalidRequest: it cannot be read, lacks a column, or repeats a symbol.
    """
    import csv
    import io

    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.entrypoints.cli.files import read_file

    try:
        text = read_file(path, field="holdings").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not UTF-8 text", field="holdings") from None
    rows = csv.reader(io.StringIO(text, newline=None), skipinitialspace=True, strict=True)

    def wrong(what: str) -> InvalidRequest:
        return InvalidRequest(f"{path}, line {rows.line_num}: {what}", field="holdings")

    found: dict[str, str] = {}
    try:
        header = [title.strip().casefold() for title in next(rows, [])]
        if header.count("symbol") != 1 or header.count("quantity") != 1:
            raise InvalidRequest(
                f"{path} needs a header line with one column symbol and one column quantity, "
                "separated by commas",
                field="holdings",
            )
        for row in rows:
            if any(cell.strip() for cell in row[len(header) :]):
                raise wrong("more cells than columns; write 1000 rather than 1,000")
            cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
            if not any(cells.values()):
                continue
            symbol = cells.get("symbol")
            if not symbol:
                raise wrong("no symbol")
            if symbol in found:
                raise wrong(f"{symbol} occurs twice; add the two up")
            found[symbol] = cells.get("quantity", "")
    except csv.Error as error:
        raise wrong(f"is not CSV: {error}") from None
    return found


def inline_targets(text: str | None) -> dict[str, Any]:
    """Weights from ``SPY=0.6,AGG=0.4`` or from a JSON file.

    Raises:
        InvalidRequest: there are none, or they are malformed.
    """
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.entrypoints.cli.files import read_file
    from rebalancer.entrypoints.schemas.wire import parse_json

    if text is None:
        raise InvalidRequest('give --targets, such as "SPY=0.6,AGG=0.4"', field="targets")
    if "=" not in text:
        return parse_json(read_file(Path(text), field="targets"), field="targets")
    found: dict[str, Any] = {}
    for piece in text.split(","):
        symbol, given, weight = (part.strip() for part in piece.partition("="))
        if not (symbol and given) or symbol in found:
            why = "occurs twice" if symbol in found else "is no SYMBOL=WEIGHT"
            raise InvalidRequest(f"{piece.strip()!r} {why}", field="targets")
        found[symbol] = weight
    return found


def show(comparison: Comparison, portfolio: Portfolio, terms: RebalanceContext) -> None:
    """Print a proposal as a person reads it."""
    from rich.table import Table
    from rich.text import Text

    from rebalancer.entrypoints.cli.screen import console

    screen = console()
    proposal = comparison.proposal
    currency = portfolio.currency.code
    screen.print(
        Text(proposal.portfolio_id, style="bold"),
        f" {proposal.policy}, closes of {proposal.as_of}, {terms.costs.label}",
    )
    if proposal.orders:
        table = Table(title="Orders", title_justify="left")
        table.add_column("")
        table.add_column("quantity", justify="right", no_wrap=True)
        table.add_column("symbol", no_wrap=True)
        table.add_column("price", justify="right", no_wrap=True)
        table.add_column(f"value {currency}", justify="right", no_wrap=True)
        table.add_column("cost", justify="right", no_wrap=True)
        table.add_column("why", ratio=1)
        for order in proposal.orders:
            table.add_row(
                Text(order.side, style="green" if order.side == "buy" else "red"),
                f"{order.quantity:f}",
                order.symbol,
                f"{order.price:f}",
                f"{order.value:,f}",
                f"{order.cost:f}",
                order.reason,
            )
        screen.print(table)
    else:
        screen.print("Nothing to trade.")
    if proposal.not_traded:
        table = Table(title="Not traded", title_justify="left")
        table.add_column("symbol", no_wrap=True)
        table.add_column("why not", ratio=1)
        for other in proposal.not_traded:
            table.add_row(other.symbol, other.reason)
        screen.print(table)
    screen.print(_before_and_after(proposal, portfolio, terms))
    screen.print(_against_simple_rules(comparison, currency))
    for note in proposal.notes:
        screen.print(f"- {note}")
    screen.print("Computed from rules and prices; not personal advice.", style="dim")
    screen.print(proposal.input_hash, style="dim")


def _before_and_after(proposal: Proposal, portfolio: Portfolio, terms: RebalanceContext) -> Any:
    from rich.table import Table

    table = Table(title="Before and after", title_justify="left")
    table.add_column("")
    for heading in ("target", "before", "after"):
        table.add_column(heading, justify="right")
    before, after = proposal.weights_before, proposal.weights_after
    for symbol, weight in before.items():
        target = portfolio.targets.get(symbol, 0.0)
        table.add_row(symbol, f"{target:.1%}", f"{weight:.1%}", f"{after[symbol]:.1%}")
    # Weights are of the value before trading, so what is neither asset nor cash went into costs.
    value = _value(portfolio, terms)
    table.add_row(
        "cash",
        f"{max(1 - sum(portfolio.targets.values()), 0.0):.1%}",
        f"{1 - sum(before.values()):.1%}",
        f"{float(proposal.cash_after) / value if value else 0:.1%}",
    )
    table.add_section()
    table.add_row(
        "distance from what the policy wants",
        "",
        f"{proposal.drift_before:.1%}",
        f"{proposal.drift_after:.1%}",
    )
    if proposal.volatility_before is not None and proposal.volatility_after is not None:
        table.add_row(
            "expected volatility a year",
            "",
            f"{proposal.volatility_before:.1%}",
            f"{proposal.volatility_after:.1%}",
        )
    return table


def _value(portfolio: Portfolio, terms: RebalanceContext) -> float:
    closes = terms.market.last_closes
    held = sum(
        float(quantity) * float(closes[terms.market.column(symbol)])
        for symbol, quantity in portfolio.holdings.items()
    )
    return float(portfolio.cash + portfolio.cash_flow) + held


def _against_simple_rules(comparison: Comparison, currency: str) -> Any:
    from rich.table import Table

    table = Table(title="What simple rules would do now", title_justify="left")
    table.add_column("policy")
    for heading in ("orders", "turnover", f"cost {currency}", "distance left"):
        table.add_column(heading, justify="right")
    for proposal in (comparison.proposal, *comparison.others):
        table.add_row(
            proposal.policy,
            str(len(proposal.orders)),
            f"{proposal.turnover:.1%}",
            f"{proposal.cost:f}",
            f"{proposal.drift_after:.1%}",
        )
    return table
