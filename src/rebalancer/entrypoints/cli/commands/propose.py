"""`rebalancer propose`: what to trade now, with reasons, for one portfolio."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import click

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.money import Currency, decimal_of
from rebalancer.domain.number_text import percent_text
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.domain.text import escape_unsafe
from rebalancer.entrypoints.cli.commands.accept import proposal_stage
from rebalancer.entrypoints.cli.files import parse_targets, read_holdings, read_json
from rebalancer.entrypoints.cli.options import (
    FILE,
    POLICY_HELP,
    as_of_option,
    container,
    cost_options,
    currency_option,
    json_option,
    market_options,
    open_container,
    report_reading,
    settings,
)
from rebalancer.entrypoints.cli.screen import console, print_json
from rebalancer.entrypoints.cli.shown_groups import groups_table, resolved_targets
from rebalancer.entrypoints.cli.stored_portfolios import stored_id as find_stored_id

if TYPE_CHECKING:
    from rebalancer.application.rebalance import ComparedProposal
    from rebalancer.domain.portfolio.costs import CostModel
    from rebalancer.domain.portfolio.lots.sellable import SaleGain
    from rebalancer.domain.portfolio.portfolio import Portfolio
    from rebalancer.domain.rebalancing.model import Proposal, RebalanceContext
    from rebalancer.wiring.market import Sources


@click.command()
@click.argument("portfolio_file", metavar="[PORTFOLIO.json|ID]", required=False, type=Path)
@click.option(
    "--holdings",
    type=FILE,
    help="CSV with the columns symbol and quantity, instead of a JSON file.",
)
@click.option("--cash", help="Cash, with --holdings. Default: 0.")
@click.option(
    "--cash-flow",
    help="Deposit, or withdrawal if negative, with --holdings or for a stored portfolio.",
)
@click.option(
    "--targets",
    help='With --holdings: target weights such as "SPY=0.6,AGG=0.4", or a JSON file of them.',
)
@click.option("--risk-profile", help=f"With --holdings: {', '.join(RISK_PROFILES)}.")
@click.option("--fractional", is_flag=True, help="With --holdings: allow fractions of a share.")
@market_options
@click.option("--policy", default="band", help=POLICY_HELP)
@as_of_option
@click.option(
    "--prices-at",
    type=click.Choice(["close", "live"]),
    default="close",
    show_default=True,
    help="For a stored portfolio: the last closes, or live quotes.",
)
@cost_options
@currency_option
@click.option(
    "--input-hash",
    help="Replay a proposal: fail unless prices, policy, costs and portfolio give this input hash.",
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
    where: Sources,
    policy: str,
    as_of: date | None,
    prices_at: str,
    cost_bps: float | None,
    costs: str | None,
    fx_spread_bps: float | None,
    currency: str | None,
    input_hash: str | None,
    as_json: bool,
) -> None:
    """Propose what one portfolio should trade now, with costs and reasons.

    Give the portfolio as a JSON file (see `rebalancer batch --help`), as a CSV of --holdings with
    --cash and --targets, or by the ID of a stored portfolio. The proposal for a stored portfolio is
    stored too, and can be accepted. A proposal is computed from rules and prices; it is not
    personal advice.

    \b
    Examples:
      rebalancer propose portfolio.json --policy band
      rebalancer propose --holdings my.csv --cash 1200 --targets "KO=0.5,PG=0.5" --policy monthly
      rebalancer propose portfolio.json --prices prices.csv --as-of 2022-06-30 --json
      rebalancer propose 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --policy monthly
      rebalancer propose 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --prices-at live
    """
    from rebalancer.application.rebalance import BuildContext, propose_and_compare
    from rebalancer.domain.portfolio.costs import cost_model
    from rebalancer.entrypoints.schemas.portfolio import read_portfolio
    from rebalancer.entrypoints.schemas.proposal import comparison_record

    code = Currency(currency or settings().currency).code
    if (portfolio_file is None) == (holdings is None):
        raise InvalidRequest(
            "give either a JSON file or ID of a portfolio, or --holdings with --targets",
            code="conflicting_options",
        )
    stored_id = None if portfolio_file is None else find_stored_id(portfolio_file)
    at_quotes = prices_at == "live"
    if at_quotes and stored_id is None:
        raise InvalidRequest(
            "--prices-at live needs the ID of a stored portfolio, with which its quotes are kept; "
            "leave it out for closes",
            code="conflicting_options",
        )
    if portfolio_file is not None:
        others = {
            "--cash": cash,
            "--cash-flow": None if stored_id else cash_flow,
            "--targets": targets,
            "--risk-profile": risk_profile,
            "--fractional": fractional,
            "--currency": currency if stored_id else None,
            "--input-hash": input_hash if stored_id else None,
        }
        if given := [option for option, value in others.items() if value]:
            reason = (
                "cannot be given for a stored portfolio"
                if stored_id
                else f"needs --holdings; change the value in {portfolio_file} instead"
            )
            raise InvalidRequest(f"{', '.join(given)} {reason}", code="conflicting_options")
        if stored_id is not None:
            _propose_for_stored(
                stored_id,
                where,
                policy=policy,
                as_of=as_of,
                costs=cost_model(cost_bps, costs, fx_spread_bps),
                cash_flow=cash_flow,
                at_quotes=at_quotes,
                as_json=as_json,
            )
            return
        values = read_json(portfolio_file, field="portfolio")
        values.setdefault("id", portfolio_file.stem)
    else:
        assert holdings is not None
        values = {
            "id": holdings.stem,
            "cash": "0" if cash is None else cash,
            "cash_flow": "0" if cash_flow is None else cash_flow,
            "holdings": read_holdings(holdings),
            "targets": parse_targets(targets),
            "risk_profile": risk_profile,
            "preferences": {"whole_shares": not fractional},
        }
    portfolio = read_portfolio(values, currency=code)
    wired = open_container(where)
    terms = wired.get(BuildContext)(
        policy_name=policy,
        costs=cost_model(cost_bps, costs, fx_spread_bps),
        currency=portfolio.currency.code,
        as_of=as_of,
    )
    if input_hash is not None:
        replayed = terms.replaying(portfolio, input_hash)
        if replayed is None:
            raise Conflict(
                f"the inputs have the hash {terms.input_hash(portfolio)}, not {input_hash}: "
                "prices, policy, costs or portfolio differ from those of the proposal",
                code="input_hash_differs",
            )
        terms = replayed
    comparison = propose_and_compare(portfolio, terms)
    report_reading(wired)
    if as_json:
        print_json(comparison_record(comparison, portfolio.currency.code))
    else:
        show(comparison, portfolio, Seen.of(portfolio, terms))
        _print_gains(comparison.proposal, portfolio.currency.code)


def _propose_for_stored(
    id: UUID,
    where: Sources,
    *,
    policy: str,
    as_of: date | None,
    costs: CostModel,
    cash_flow: str | None,
    at_quotes: bool,
    as_json: bool,
) -> None:
    """Propose for a stored portfolio, store the proposal, and print it."""
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.rebalance import (
        ComparedProposal,
        ProposalRequest,
        ProposeForPortfolio,
    )
    from rebalancer.entrypoints.cli.quote_collection import collect_quotes
    from rebalancer.entrypoints.schemas.proposal import (
        comparison_record,
        describe_prices,
        live_record,
    )

    flow = decimal_of("0" if cash_flow is None else cash_flow, field="cash_flow")
    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            portfolio = tx.portfolios.get(id)
        if at_quotes:
            collect_quotes(wired, {*portfolio.positions.holdings, *portfolio.mandate.targets})
        ask = ProposalRequest(
            id,
            portfolio.owner,
            policy,
            costs,
            cash_flow=flow,
            as_of=as_of,
            compared=True,
            at_quotes=at_quotes,
            id=wired.get(Ids)(),
            now=wired.get(Clock)(),
        )
        answer = wired.get(ProposeForPortfolio)(ask)
    record = answer.current.record
    comparison = ComparedProposal(record.proposal, answer.others)
    if as_json:
        code = record.inputs.portfolio.currency.code
        print_json(
            proposal_stage(answer.current)
            | comparison_record(comparison, code)
            | live_record(record.inputs.live)
        )
        return
    inputs = record.inputs
    seen = Seen(inputs.prices, inputs.costs, inputs.rates, inputs.currencies)
    show(comparison, inputs.portfolio, seen, describe_prices(record))
    _print_gains(record.proposal, inputs.portfolio.currency.code)
    click.echo(
        f"Proposal {record.id}, {answer.current.stage}, valid until {record.expires:%F %H:%M} UTC"
    )


def _print_gains(proposal: Proposal, currency: str) -> None:
    """Print what each sale would realise, where lots are known."""
    for sold in proposal.sale_gains:
        click.echo(escape_unsafe(describe_gain(sold, currency)))


def describe_gain(sold: SaleGain, currency: str) -> str:
    """Write what a sale would realise, as a sentence."""
    if sold.gain is None:
        return (
            f"The sale of {sold.symbol} has an unknown gain; `rebalancer portfolio gains` has why."
        )
    kind = "lose" if sold.gain < 0 else "gain"
    return f"The sale of {sold.symbol} would {kind} {abs(sold.gain):,} {currency} by {sold.method}."


@attrs.frozen
class Seen:
    """What a proposal is based on.

    Attributes:
        prices: Last price of each holding, as traded.
        costs: Label of the cost model.
        rates: Units of the base currency per unit of each other currency.
        currencies: Currency of each asset that is not in the base currency.
    """

    prices: Mapping[str, Decimal]
    costs: str
    rates: Mapping[str, Decimal]
    currencies: Mapping[str, str]

    @classmethod
    def of(cls, portfolio: Portfolio, terms: RebalanceContext) -> Seen:
        """Return what a proposal for a portfolio is based on."""
        own = terms.in_currency(portfolio.currency.code)
        return cls(
            own.last_prices(portfolio),
            own.costs.label,
            own.last_rates(portfolio),
            own.foreign_currencies(portfolio),
        )

    def value_of(self, portfolio: Portfolio) -> float:
        """Return the value of a portfolio before orders, in its base currency."""
        held = sum(
            float(quantity) * float(self.prices[symbol]) * self._rate(self.currencies.get(symbol))
            for symbol, quantity in portfolio.holdings.items()
            if quantity
        )
        cash = float(portfolio.cash + portfolio.cash_flow)
        return cash + self.worth(portfolio.foreign_cash) + held

    def worth(self, foreign_cash: Mapping[str, Decimal]) -> float:
        """Return the value of foreign cash in the base currency."""
        return sum(float(amount) * self._rate(code) for code, amount in foreign_cash.items())

    def _rate(self, currency: str | None) -> float:
        return 1.0 if currency is None else float(self.rates[currency])


def show(
    comparison: ComparedProposal, portfolio: Portfolio, seen: Seen, prices: str | None = None
) -> None:
    """Print a proposal as tables; ``prices`` names its prices if they are not known closes."""
    from rich.table import Table
    from rich.text import Text

    from rebalancer.entrypoints.schemas.proposal import DISCLAIMER

    screen = console()
    proposal = comparison.proposal
    currency = portfolio.currency.code
    screen.print(
        Text(proposal.portfolio_id, style="bold"),
        f" {proposal.policy}, {prices or f'closes of {proposal.as_of}'}, {seen.costs}",
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
                f"{order.price:f}"
                if order.currency is None
                else f"{order.price:f} {order.currency}",
                f"{order.value:,f}",
                f"{order.cost:f}",
                order.reason,
            )
        screen.print(table)
    else:
        screen.print("Nothing to trade.")
    if proposal.conversions:
        screen.print(_conversions(proposal, currency))
    if proposal.not_traded:
        table = Table(title="Not traded", title_justify="left")
        table.add_column("symbol", no_wrap=True)
        table.add_column("why not", ratio=1)
        for other in proposal.not_traded:
            table.add_row(other.symbol, other.reason)
        screen.print(table)
    groups = groups_table(proposal)
    if groups is not None:
        screen.print(groups)
    screen.print(_before_and_after(proposal, portfolio, seen))
    screen.print(_compare_simple_rules(comparison, currency))
    for note in proposal.notes:
        screen.print(f"- {note}")
    screen.print(DISCLAIMER, style="dim")
    screen.print(proposal.input_hash, style="dim")


def _conversions(proposal: Proposal, currency: str) -> Any:
    from rich.table import Table

    automatic = all(one.automatic for one in proposal.conversions)
    title = "Conversions by the broker" if automatic else "Conversions to make"
    table = Table(title=title, title_justify="left")
    for heading in ("give", "receive", "rate", f"cost {currency}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in proposal.conversions:
        table.add_row(
            f"{one.from_amount:,f} {one.from_currency}",
            f"{one.to_amount:,f} {one.to_currency}",
            f"{one.rate:f}",
            f"{one.cost:f}",
        )
    return table


def _before_and_after(proposal: Proposal, portfolio: Portfolio, seen: Seen) -> Any:
    from rich.table import Table

    table = Table(title="Before and after", title_justify="left")
    table.add_column("")
    for heading in ("target", "before", "after"):
        table.add_column(heading, justify="right")
    before, after = proposal.weights_before, proposal.weights_after
    targets = resolved_targets(proposal, portfolio.targets)
    for symbol, weight in before.items():
        target = targets.get(symbol, 0.0)
        table.add_row(symbol, *map(percent_text, (target, weight, after[symbol])))
    # Weights are fractions of the value before trading; the missing part was paid in costs.
    value = seen.value_of(portfolio)
    cash = float(proposal.cash_after) + seen.worth(proposal.foreign_cash_after)
    table.add_row(
        "cash",
        percent_text(max(1 - sum(targets.values()), 0.0)),
        percent_text(1 - sum(before.values())),
        percent_text(cash / value if value else 0.0),
    )
    table.add_section()
    table.add_row(
        "distance from the policy's weights",
        "",
        percent_text(proposal.drift_before),
        percent_text(proposal.drift_after),
    )
    if proposal.volatility_before is not None and proposal.volatility_after is not None:
        table.add_row(
            "expected volatility a year" + _describe_year(proposal.periods_per_year),
            "",
            percent_text(proposal.volatility_before),
            percent_text(proposal.volatility_after),
        )
    return table


def _describe_year(periods: float | None) -> str:
    """Name the closes that count as a year unless they are those of trading days."""
    from rebalancer.domain.market.frequency import TRADING_DAYS

    return "" if periods in (None, TRADING_DAYS) else f" (of {round(periods, 2):g} closes)"


def _compare_simple_rules(comparison: ComparedProposal, currency: str) -> Any:
    from rich.table import Table

    table = Table(title="What simple rules would trade", title_justify="left")
    table.add_column("policy")
    for heading in ("orders", "turnover", f"cost {currency}", "distance after"):
        table.add_column(heading, justify="right")
    for proposal in (comparison.proposal, *comparison.others):
        table.add_row(
            proposal.policy,
            str(len(proposal.orders)),
            f"{proposal.turnover:.1%}",
            f"{proposal.cost:f}",
            percent_text(proposal.drift_after),
        )
    return table
