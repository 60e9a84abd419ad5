"""Orders of portfolios in several currencies: by hand, and the laws of their money."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.assembly import PricingTerms, quote_history
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.costs import CostModel, Rates
from rebalancer.domain.portfolio.ledger import TRADES, Entry, EntryKind, Ledger
from rebalancer.domain.portfolio.portfolio import Conversions, Portfolio
from rebalancer.domain.rebalancing.lifecycle import Fill, ProposalInputs, ProposalRecord
from rebalancer.domain.rebalancing.model import Failure, Proposal, RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose, propose_book
from tests.builders import (
    CLASSES,
    EUR,
    USD,
    a_context,
    a_portfolio,
    flat_prices,
    foreign_prices,
    portfolios,
    varied_prices,
)

WORLD = Instruments.of(
    [
        Instrument("ALV", currency="EUR"),
        Instrument("BTC", currency="USD", quantity_step=Decimal("0.0001")),
        Instrument("LON", currency="GBX"),
        Instrument("NYS", currency="USD"),
        Instrument("TKY", currency="JPY"),
    ]
)
CLOSES = {"ALV": 250.5, "BTC": 52345.67, "LON": 1234.5, "NYS": 180.25, "TKY": 2875.0}
RATES = {"EURUSD": 1.085, "EURJPY": 162.35, "EURGBP": 0.8555}
TWENTY = CostModel("twenty", Rates(commission_bps=10, fx_spread_bps=20))


def world(**others: float) -> PriceHistory:
    return quote_history(flat_prices({**CLOSES, **RATES, **others}), PricingTerms("EUR", WORLD))


def context(costs: CostModel | float = TWENTY, currency: str = "EUR") -> RebalanceContext:
    return a_context(world(), costs=costs, instruments=WORLD, currency=currency)


def mixed(conversions: Conversions = Conversions.AUTOMATIC) -> Portfolio:
    portfolio = a_portfolio(
        {"NYS": 40, "LON": 300, "TKY": 100},
        {"ALV": 0.2, "NYS": 0.2, "TKY": 0.2, "LON": 0.2, "BTC": 0.15},
        cash="2500.00",
        currency=EUR,
    )
    foreign = {"USD": Decimal("1000.00"), "JPY": Decimal(50000)}
    return attrs.evolve(portfolio, foreign_cash=foreign, conversions=conversions)


def orders(proposal: Proposal) -> list[tuple[str, ...]]:
    return [
        tuple(
            map(
                str,
                (
                    one.symbol,
                    one.side,
                    one.quantity,
                    one.price,
                    one.currency,
                    one.amount,
                    one.cost_amount,
                    one.value,
                    one.cost,
                ),
            )
        )
        for one in proposal.orders
    ]


def conversions(proposal: Proposal) -> list[tuple[str, ...]]:
    return [
        tuple(
            map(
                str,
                (one.from_amount, one.from_currency, one.to_amount, one.to_currency, one.cost),
            )
        )
        for one in proposal.conversions
    ]


# The value is 2,500 EUR + 1,000 USD (921.659) + 50,000 JPY (307.977) + 40 x 180.25 USD (6,645.161)
# + 300 x 12.345 GBP (4,329.047) + 100 x 2,875 JPY (1,770.865) = 16,474.71 EUR.
ORDERS = [
    ("ALV", "buy", "13", "250.5", "EUR", "3256.50", "3.26", "3256.50", "3.26"),
    ("BTC", "buy", "0.0512", "52345.67", "USD", "2680.10", "2.68", "2470.14", "2.47"),
    ("LON", "sell", "71", "12.345", "GBP", "876.50", "0.88", "1024.55", "1.03"),
    ("NYS", "sell", "20", "180.25", "USD", "3605.00", "3.60", "3322.58", "3.32"),
    ("TKY", "buy", "86", "2875.0", "JPY", "247250", "247", "1522.94", "1.52"),
]


def test_a_broker_converts_each_order_of_a_portfolio_in_four_currencies() -> None:
    proposal = propose(mixed(), context())
    assert orders(proposal) == ORDERS
    assert conversions(proposal) == [
        # 2,680.10 + 2.68 - 1,000.00 USD at 1.085 are 1,550.95 EUR, and 0.2% of it.
        ("1554.05", "EUR", "1682.78", "USD", "3.10"),
        # 1,024.55 - 1.03 EUR, less 0.2%.
        ("875.62", "GBP", "1021.47", "EUR", "2.05"),
        ("3601.40", "USD", "3312.62", "EUR", "6.64"),
        # 247,250 + 247 - 50,000 JPY at 162.35 are 1,216.49 EUR.
        ("1218.92", "EUR", "197497", "JPY", "2.43"),
    ]
    # 2,500.00 - 3,256.50 - 3.26 - 1,554.05 + 1,021.47 + 3,312.62 - 1,218.92
    assert proposal.cash_after == Decimal("801.36")
    assert proposal.foreign_cash_after == {}
    assert proposal.cost == Decimal("3.26") + Decimal("2.47") + Decimal("1.03") + Decimal(
        "3.32"
    ) + Decimal("1.52") + Decimal("14.22")
    assert all(one.automatic for one in proposal.conversions)
    assert proposal.weights_after["ALV"] == pytest.approx(3256.5 / 16474.71, abs=1e-6)


def test_listed_conversions_are_what_the_orders_lack_together() -> None:
    proposal = propose(mixed(Conversions.LISTED), context())
    assert orders(proposal) == ORDERS
    # EUR: 2,500.00 - 3,259.76 = -759.76. USD: 1,000.00 - 2,682.78 + 3,601.40 = 1,918.62, the
    # largest cash. GBP: 875.62. JPY: 50,000 - 247,497 = -197,497.
    assert conversions(proposal) == [
        # 759.76 x 1.085 = 824.34, and 1.65 for the spread, which is 1.52 EUR.
        ("825.99", "USD", "759.76", "EUR", "1.52"),
        # GBP 875.62 is worth more than the USD 1,092.63 that are left: 873.87 of it, the rest is
        # the spread, at 162.35 / 0.8555 are 165,836 JPY.
        ("875.62", "GBP", "165836", "JPY", "2.05"),
        ("212.01", "USD", "31661", "JPY", "0.39"),
    ]
    assert proposal.cash_after == 0
    assert proposal.foreign_cash_after == {"USD": Decimal("880.62")}
    assert not any(one.automatic for one in proposal.conversions)


def test_orders_in_one_currency_need_no_conversions() -> None:
    portfolio = a_portfolio({"ALV": 4}, {"ALV": 0.5}, cash="10000.00", currency=EUR)
    proposal = propose(portfolio, context())
    (order,) = proposal.orders
    assert (order.currency, order.amount, proposal.conversions) == (None, None, ())


def test_a_portfolio_of_each_base_currency_is_one_of_a_book() -> None:
    in_dollars = attrs.evolve(
        mixed(), id="Q", currency=USD, foreign_cash={"EUR": Decimal("921.66")}
    )
    book = propose_book([mixed(), in_dollars, mixed()], context())
    assert [one for one in book if isinstance(one, Failure)] == []
    assert book[0] == book[2] == propose(mixed(), context())
    assert book[1] == propose(in_dollars, context(currency="USD"))
    assert isinstance(book[1], Proposal)
    first = book[1].orders[0]
    assert (first.symbol, first.currency, first.amount) == ("ALV", "EUR", Decimal("3256.50"))
    assert first.value == Decimal("3533.30")  # 3,256.50 x 1.085


def test_foreign_cash_needs_an_exchange_rate() -> None:
    portfolio = attrs.evolve(mixed(), foreign_cash={"CHF": Decimal(1)})
    with pytest.raises(InvalidRequest) as raised:
        propose(portfolio, context())
    assert (raised.value.field, raised.value.code) == ("cash.CHF", "no_exchange_rate")


def test_without_an_exchange_rate_a_holding_fails_and_a_target_is_withheld() -> None:
    prices = quote_history(flat_prices({"ALV": 250.5, "TKY": 2875.0}), PricingTerms("EUR", WORLD))
    terms = a_context(prices, instruments=WORLD, currency="EUR")
    with pytest.raises(InvalidRequest) as raised:
        propose(a_portfolio({"TKY": 1}, {"ALV": 1.0}, currency=EUR), terms)
    assert (raised.value.field, raised.value.code) == ("currency", "no_exchange_rate")
    target = a_portfolio({}, {"ALV": 0.5, "TKY": 0.5}, cash=1000, currency=EUR)
    (other,) = propose(target, terms).not_traded
    assert other.symbol == "TKY"
    assert "no exchange rate from JPY to EUR" in other.reason


def test_foreign_cash_alone_pays_for_the_withdrawal() -> None:
    portfolio = attrs.evolve(
        a_portfolio({}, {}, flow="-500.00", currency=EUR), foreign_cash={"USD": Decimal("1085.00")}
    )
    proposal = propose(portfolio, context())
    assert conversions(proposal) == [("543.58", "USD", "500.00", "EUR", "1.00")]
    assert proposal.cash_after == 0
    assert proposal.foreign_cash_after == {"USD": Decimal("541.42")}


def test_the_smallest_trade_and_the_reserve_are_in_the_base_currency() -> None:
    portfolio = a_portfolio(
        {"TKY": 100}, {"TKY": 1.0}, cash="100.00", currency=EUR, min_trade=50, cash_reserve=40
    )
    proposal = propose(portfolio, context(0.0))
    # 3 shares of 2,875 JPY are 53.13 EUR; a fourth would leave less than 40 EUR.
    assert orders(proposal)[0][2:5] == ("3", "2875.0", "JPY")
    assert proposal.cash_after == Decimal("46.87")


def test_the_inputs_of_a_book_in_one_currency_are_those_without_quotes() -> None:
    plain = flat_prices({"ALV": 250.5, "NYS": 180.25})
    quoted = quote_history(plain, PricingTerms("USD"))
    portfolio = a_portfolio({"ALV": 4}, {"ALV": 0.5, "NYS": 0.3}, cash="10000.00")
    preset = CostModel("preset", Rates(commission_bps=10, fx_spread_bps=50))
    same = CostModel("preset", Rates(commission_bps=10))
    expected = propose(portfolio, a_context(plain, costs=same))
    assert propose(portfolio, a_context(quoted, costs=preset)) == expected


def test_the_input_hash_covers_rates_and_the_cost_of_conversions() -> None:
    portfolio, in_euros = mixed(), attrs.evolve(mixed(), foreign_cash={})
    terms = [
        context(),
        context(CostModel("twenty", Rates(commission_bps=10, fx_spread_bps=21))),
        a_context(world(EURUSD=1.0851), costs=TWENTY, instruments=WORLD, currency="EUR"),
    ]
    for one in (portfolio, in_euros):
        assert len({each.input_hash(one) for each in terms}) == len(terms)


# Laws.

FOREIGN = foreign_prices(varied_prices())
MARKET = FOREIGN.in_currency("EUR")
CODES = ("GBP", "JPY", "KWD", "USD")


@st.composite
def currency_portfolios(draw: st.DrawFn) -> Portfolio:
    portfolio = draw(portfolios(MARKET, currency=EUR))
    value = abs(portfolio.cash) + abs(portfolio.cash_flow) + 1
    foreign = {}
    for code in draw(st.lists(st.sampled_from(CODES), unique=True, max_size=3)):
        rate = MARKET.last_rate(code)
        assert rate is not None
        share = draw(st.sampled_from([0.0, 0.01, 0.3, 1.0, 3.0]))
        foreign[code] = Currency(code).round(Decimal(repr(float(value) * share / rate)))
    return attrs.evolve(
        portfolio, foreign_cash=foreign, conversions=draw(st.sampled_from(Conversions))
    )


@given(
    st.lists(currency_portfolios(), min_size=1, max_size=4),
    st.sampled_from([0.0, 10.0, TWENTY, "retail"]),
    st.sampled_from(["monthly", "band"]),
)
def test_no_currency_loses_money(
    book: list[Portfolio], costs: CostModel | float | str, rule: str
) -> None:
    model = (
        CostModel("retail", Rates(minimum=1.0, slippage_bps=30, fx_spread_bps=25))
        if isinstance(costs, str)
        else costs
    )
    terms = a_context(FOREIGN, rule, costs=model, instruments=CLASSES, currency="EUR")
    assert terms.own_prices is FOREIGN
    for portfolio, made in zip(book, propose_book(book, terms), strict=True):
        if isinstance(made, Proposal):
            assert list(broken_laws(portfolio, made)) == []
            assert propose_book([portfolio], terms) == [made]


NOW = datetime(2023, 1, 2, 12, tzinfo=UTC)


def record(portfolio: Portfolio, proposal: Proposal, terms: RebalanceContext) -> ProposalRecord:
    inputs = ProposalInputs(
        portfolio=portfolio,
        planned=portfolio.cash_flow,
        version=1,
        prices=terms.last_prices(portfolio),
        market=terms.market.digest,
        newest=terms.market.last_date,
        costs=terms.costs.label,
        rates=terms.last_rates(portfolio),
    )
    made = attrs.evolve(proposal, portfolio_id=str(uuid4()))
    return ProposalRecord.new(made, inputs, id=uuid4(), owner=uuid4(), now=NOW)


def opening(portfolio: Portfolio, on: date) -> list[Entry]:
    """Return the entries of what a portfolio holds."""
    money: dict[str | None, Decimal] = {None: portfolio.cash, **portfolio.foreign_cash}
    entries = [
        Entry(uuid4(), EntryKind.DEPOSIT, on, NOW, amount, currency=code)
        for code, amount in money.items()
        if amount > 0
    ]
    return entries + [
        Entry(uuid4(), EntryKind.DEPOSIT, on, NOW, held, symbol, held, Decimal(1))
        for symbol, held in portfolio.holdings.items()
        if held
    ]


@pytest.mark.parametrize("mode", list(Conversions))
def test_a_filled_proposal_leaves_the_cash_that_it_states(mode: Conversions) -> None:
    portfolio = attrs.evolve(mixed(mode), cash_flow=Decimal("-200.00"))
    terms = context()
    made = record(portfolio, propose(portfolio, terms), terms)
    assert made.inputs.rates == {
        "GBP": Decimal(repr(1 / 0.8555)),
        "JPY": Decimal(repr(1 / 162.35)),
        "USD": Decimal(repr(1 / 1.085)),
    }
    fills = [Fill.of(order) for order in made.proposal.orders]
    entries = made.ledger_entries(fills, NOW)
    before = opening(portfolio, terms.market.last_date)
    positions = Ledger((*before, *entries)).positions
    assert positions.cash == made.proposal.cash_after
    assert positions.foreign_cash == made.proposal.foreign_cash_after
    trades = {entry.symbol: entry for entry in entries if entry.kind in TRADES}
    assert (trades["ALV"].currency, trades["LON"].currency) == (None, "GBP")
    assert (trades["LON"].price, trades["LON"].amount) == (Decimal("12.345"), Decimal("925.88"))


def broken_laws(portfolio: Portfolio, proposal: Proposal) -> list[str]:
    rates = {code: Decimal(repr(MARKET.last_rate(code))) for code in CODES} | {"EUR": Decimal(1)}
    broken = []
    before = {"EUR": portfolio.cash + portfolio.cash_flow, **portfolio.foreign_cash}
    after = {"EUR": proposal.cash_after, **proposal.foreign_cash_after}
    rounding = Decimal("0.01")
    holdings = Decimal(0)
    for order in proposal.orders:
        code = order.currency or "EUR"
        amount = order.value if order.amount is None else order.amount
        fee = order.cost if order.cost_amount is None else order.cost_amount
        exact = MARKET.exact_closes()[MARKET.column(order.symbol)]
        if order.price != exact or amount != Currency(code).round(order.quantity * exact):
            broken.append(f"amount of {order}")
        if order.value != EUR.round(amount * rates[code]):
            broken.append(f"value of {order}")
        if order.cost != EUR.round(fee * rates[code]):
            broken.append(f"cost of {order}")
        sign = 1 if order.side == "sell" else -1
        before[code] = before.get(code, Decimal(0)) + sign * amount - fee
        holdings -= sign * order.quantity * exact * rates[code]
        rounding += Decimal("0.02") + Currency(code).minor_unit * rates[code]
    for line in proposal.conversions:
        before[line.from_currency] -= line.from_amount
        before[line.to_currency] = before.get(line.to_currency, Decimal(0)) + line.to_amount
        rounding += 2 * len(proposal.orders) * Decimal("0.01") + sum(
            2 * Currency(code).minor_unit * rates[code]
            for code in (line.from_currency, line.to_currency)
        )
    for code in sorted({*before, *after}):
        if before.get(code, Decimal(0)) != after.get(code, Decimal(0)):
            broken.append(f"{code} {before.get(code)} became {after.get(code)}")
        if after.get(code, Decimal(0)) < 0:
            broken.append(f"{code} {after[code]}")
    opening = {"EUR": portfolio.cash + portfolio.cash_flow, **portfolio.foreign_cash}
    owned = sum((amount * rates[code] for code, amount in opening.items()), Decimal(0))
    left = sum((amount * rates[code] for code, amount in after.items()), Decimal(0))
    if abs(owned - left - holdings - proposal.cost) > rounding:
        broken.append(f"{owned} became {left + holdings} at a cost of {proposal.cost}")
    reserve = portfolio.preferences.cash_reserve
    if any(order.side == "buy" for order in proposal.orders) and left < reserve - rounding:
        broken.append(f"buys with {left} in cash, short of {reserve}")
    if not np.isfinite(proposal.drift_after):
        broken.append("no drift")
    return broken
