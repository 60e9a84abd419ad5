from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.costs import CostModel, Rates
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.sellable import SellableLot
from rebalancer.domain.portfolio.portfolio import Conversions, ExpectedFlow, Portfolio, Preferences
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.domain.portfolio.target_groups import TargetGroup, TargetTree
from rebalancer.domain.rebalancing.model import Failure, Order, Proposal
from rebalancer.domain.rebalancing.proposal import propose, propose_book
from tests.builders import (
    CLASSES,
    JPY,
    a_context,
    a_portfolio,
    flat_prices,
    portfolios,
    prices,
    varied_prices,
)

POLICIES = (
    "monthly",
    "band",
    "band:edge",
    "buy_and_hold",
    "inverse_volatility",
    "trend",
    "volatility_target",
    "minimum_variance",
)
MARKET = varied_prices()
YEN = PriceHistory.of(MARKET.symbols, MARKET.dates, np.maximum(np.round(MARKET.closes * 100), 1.0))
BPS = 10
WITHIN = Fraction(1, 10**9)
"""Of portfolio value: where float64 and exact fractions may disagree."""


@attrs.frozen
class Audit:
    """Holds one proposal to the laws, in exact arithmetic and without the code that made it."""

    portfolio: Portfolio
    proposal: Proposal
    market: PriceHistory = MARKET
    bps: float = BPS
    risk_known: bool = True

    def __iter__(self) -> Iterator[str]:
        """The laws that are broken; none, one hopes."""
        for law in (
            self.form,
            self.money,
            self.quantities,
            self.locks,
            self.reserve,
            self.turnover,
            self.limits,
            self.risk,
            self.minimum_trade,
            self.figures,
        ):
            yield from (f"{law.__name__}: {broken}" for broken in law())

    # What the laws are about.

    def price(self, symbol: str) -> Fraction:
        return Fraction(repr(float(self.market.last_closes[self.market.symbols.index(symbol)])))

    def held(self, symbol: str) -> Fraction:
        return Fraction(self.portfolio.holdings.get(symbol, Decimal(0)))

    @property
    def symbols(self) -> set[str]:
        return {*self.portfolio.holdings, *self.portfolio.targets}

    @property
    def orders(self) -> dict[str, Order]:
        return {order.symbol: order for order in self.proposal.orders}

    @property
    def buys(self) -> list[Order]:
        return [order for order in self.proposal.orders if order.side == "buy"]

    @property
    def sells(self) -> list[Order]:
        return [order for order in self.proposal.orders if order.side == "sell"]

    def left(self, symbol: str) -> Fraction:
        order = self.orders.get(symbol)
        if order is None:
            return self.held(symbol)
        moved = Fraction(order.quantity)
        return self.held(symbol) + (moved if order.side == "buy" else -moved)

    @property
    def cash(self) -> Fraction:
        """Cash and cash flow, before orders."""
        return Fraction(self.portfolio.cash) + Fraction(self.portfolio.cash_flow)

    @property
    def total(self) -> Fraction:
        return self.cash + sum(self.held(s) * self.price(s) for s in self.symbols)

    @property
    def slack(self) -> Fraction:
        return WITHIN * max(self.total, 0)

    @property
    def withdrawal(self) -> Fraction:
        return max(-Fraction(self.portfolio.cash_flow), Fraction(0))

    @property
    def bought(self) -> Fraction:
        return sum((Fraction(o.quantity) * Fraction(o.price) for o in self.buys), Fraction(0))

    @property
    def sold(self) -> Fraction:
        return sum((Fraction(o.quantity) * Fraction(o.price) for o in self.sells), Fraction(0))

    @property
    def step(self) -> Fraction:
        wishes = self.portfolio.preferences
        step = Fraction(wishes.quantity_step)
        if wishes.whole_shares and (step < 1 or step.denominator != 1):
            return Fraction(1)
        return step

    @property
    def cents(self) -> Fraction:
        """What rounding values and costs to the minor unit may take."""
        return (len(self.proposal.orders) + 1) * Fraction(self.portfolio.currency.minor_unit)

    @property
    def coarsest(self) -> Fraction:
        """Money in one step of the dearest asset that is sold."""
        return max((self.step * Fraction(o.price) for o in self.sells), default=Fraction(0))

    def may_sell(self, symbol: str) -> bool:
        return symbol not in self.portfolio.preferences.do_not_sell and self.held(symbol) > 0

    @property
    def max_weight(self) -> Fraction:
        profile, wish = self.portfolio.risk_profile, self.portfolio.preferences.max_weight
        caps = [Fraction(1)] if wish is None else [Fraction(wish)]
        if wish is None and profile is None:
            caps = [Fraction(10**9)]
        if profile is not None:
            caps.append(Fraction(profile.max_weight))
        return min(caps)

    @property
    def cap(self) -> Fraction | None:
        """Most one-way turnover in money."""
        share = self.portfolio.preferences.max_turnover
        return None if share is None else Fraction(share) * max(self.total, Fraction(0))

    @property
    def lacking(self) -> Fraction:
        """What must be sold before anything else: withdrawals, debits, the reserve, costs."""
        reserve = Fraction(self.portfolio.preferences.cash_reserve)
        return max(reserve - self.cash, Fraction(0)) + Fraction(self.proposal.cost)

    @property
    def at_cap(self) -> bool:
        """Whether the turnover cap leaves no room for one more sale that a limit would need."""
        if self.cap is None:
            return False
        room = self.cap + self.withdrawal + self.lacking
        return self.sold + self.step_of_dearest >= self.cap - self.slack or self.sold >= room

    @property
    def step_of_dearest(self) -> Fraction:
        return max(
            (self.step * self.price(s) for s in self.symbols if self.may_sell(s)),
            default=Fraction(0),
        )

    @property
    def lump(self) -> Fraction:
        """Money in one step of the coarsest asset, or in all that is held or aimed at of it."""
        aims = self.portfolio.targets
        return max(
            min(
                self.step * self.price(s),
                max(self.held(s) * self.price(s), Fraction(aims.get(s, 0.0)) * self.total),
            )
            for s in self.symbols
        )

    # The laws.

    def form(self) -> Iterator[str]:
        proposal = self.proposal
        traded = [order.symbol for order in proposal.orders]
        others = [other.symbol for other in proposal.not_traded]
        if sorted(traded + others) != sorted(self.symbols):
            yield f"{traded} and {others} are not {sorted(self.symbols)}"
        if proposal.portfolio_id != self.portfolio.id:
            yield "another currency"
        if proposal.as_of != self.market.last_date:
            yield "another day"
        if proposal.status != ("proposed" if traded else "nothing_to_do"):
            yield proposal.status
        for text in (
            *(o.reason for o in proposal.orders),
            *(o.reason for o in proposal.not_traded),
            *proposal.notes,
        ):
            words = text.lower().replace("%", " ").replace(",", " ").split()
            if not text or {"nan", "inf", "-inf", "none", "-0.0"} & set(words):
                yield f"reason {text!r}"

    def money(self) -> Iterator[str]:
        unit = self.portfolio.currency.minor_unit
        with localcontext(prec=80):
            cash = self.portfolio.cash + self.portfolio.cash_flow
            for order in self.proposal.orders:
                traded = order.quantity * order.price
                if Fraction(order.price) != self.price(order.symbol):
                    yield f"{order.symbol} at {order.price}"
                if order.value != traded.quantize(unit, ROUND_HALF_EVEN):
                    yield f"{order.symbol} value {order.value} of {traded}"
                cost = traded * Decimal(repr(self.bps)) / 10_000
                if order.cost != cost.quantize(unit, ROUND_HALF_EVEN):
                    yield f"{order.symbol} cost {order.cost} of {cost}"
                cash += (order.value if order.side == "sell" else -order.value) - order.cost
            if self.proposal.cost != sum((o.cost for o in self.proposal.orders), Decimal(0)):
                yield f"total cost {self.proposal.cost}"
        if self.proposal.cash_after != cash:
            yield f"cash after {self.proposal.cash_after}, not {cash}"
        if cash < 0:
            yield f"negative cash {cash}"

    def quantities(self) -> Iterator[str]:
        for symbol, order in self.orders.items():
            if order.quantity <= 0 or self.left(symbol) < 0:
                yield f"{order.side} {order.quantity} {symbol} of {self.held(symbol)}"
            whole = (Fraction(order.quantity) / self.step).denominator == 1
            rest = order.side == "sell" and self.left(symbol) == 0
            if not whole and not rest:
                yield f"{order.side} {order.quantity} {symbol} in steps of {self.step}"

    def locks(self) -> Iterator[str]:
        for symbol, order in self.orders.items():
            wishes = self.portfolio.preferences
            listed = wishes.do_not_buy if order.side == "buy" else wishes.do_not_sell
            if symbol in listed:
                yield f"{order.side} {symbol}"

    def reserve(self) -> Iterator[str]:
        if self.proposal.cash_after >= self.portfolio.preferences.cash_reserve:
            return
        if self.buys:
            yield f"buys with {self.proposal.cash_after} in cash"
        for symbol in sorted(self.symbols):
            worth = self.left(symbol) * self.price(symbol)
            if self.may_sell(symbol) and worth > Fraction(self.portfolio.currency.minor_unit) / 2:
                yield f"{worth} of {symbol} is left"

    def turnover(self) -> Iterator[str]:
        if self.cap is None:
            return
        if self.bought > self.cap + self.slack:
            yield f"buys {float(self.bought)} of {float(self.cap)}"
        exempt = self.withdrawal + 2 * Fraction(self.proposal.cost) + self.coarsest + self.cents
        most = max(self.cap, self.lacking) + exempt
        if not self.withdrawal and self.lacking <= Fraction(self.proposal.cost):
            most = self.cap
        if self.sold > most + self.slack:
            yield f"sells {float(self.sold)} of {float(self.cap)}, at most {float(most)}"

    def excess(self) -> dict[str, Fraction]:
        """Money by which what is left stands above a limit, by a name for the limit."""
        value = {s: self.left(s) * self.price(s) for s in self.symbols}
        loose = {s: v for s, v in value.items() if self.may_sell(s)}
        found = {}
        for symbol in loose:
            found[f"weight of {symbol}"] = min(
                value[symbol] - self.max_weight * self.total, loose[symbol]
            )
        profile = self.portfolio.risk_profile
        if profile is not None:
            equities = [
                s for s in self.symbols if CLASSES[s].asset_class in (None, AssetClass.EQUITY)
            ]
            found["equities"] = min(
                sum(value[s] for s in equities) - Fraction(profile.equity_ceiling) * self.total,
                sum(loose.get(s, 0) for s in equities),
            )
            found["cash floor"] = min(
                Fraction(profile.cash_floor) * self.total
                - Fraction(self.proposal.cash_after)
                - self.cents,
                sum(loose.values()),
            )
        cent = Fraction(self.portfolio.currency.minor_unit)
        return {k: v for k, v in found.items() if v > self.slack + cent / 100}

    def limits(self) -> Iterator[str]:
        for order in self.buys:
            after = self.left(order.symbol) * self.price(order.symbol)
            if after > self.max_weight * self.total + self.slack:
                yield f"buys {order.symbol} up to {float(after / self.total)}"
        if self.total > 0 and not self.at_cap:
            for name, money in self.excess().items():
                yield f"{name} by {float(money)}"

    def risk(self) -> Iterator[str]:
        profile = self.portfolio.risk_profile
        wishes = self.portfolio.preferences
        if profile is None or self.at_cap or self.total <= 0 or wishes.do_not_sell:
            return
        if wishes.do_not_buy:  # a hedge that must not be bought
            return
        order = sorted(self.symbols)
        columns = [self.market.symbols.index(s) for s in order]
        closes = self.market.closes[-253:, columns]
        returns = np.nan_to_num(closes[1:] / closes[:-1] - 1)
        weights = np.array([float(self.left(s) * self.price(s) / self.total) for s in order])
        coarse = np.array([min(float(self.step * self.price(s) / self.total), 1.0) for s in order])
        daily = returns @ weights
        rounding = coarse @ returns.std(axis=0)
        volatility = daily.std(ddof=1) * np.sqrt(252)
        most = profile.target_volatility * (1 + 1e-6) + rounding * np.sqrt(252)
        if volatility > most:
            yield f"volatility {volatility}, at most {profile.target_volatility}"
        wealth = np.cumprod(1 + daily)
        fall = float(np.max(1 - wealth / np.maximum.accumulate(np.maximum(wealth, 1.0))))
        if fall > profile.tolerated_drawdown * (1 + 1e-6) + coarse.sum():
            yield f"drawdown {fall}, at most {profile.tolerated_drawdown}"

    def required(self, symbol: str) -> bool:
        """Whether something above steps and the minimum trade may demand a sale."""
        value = self.held(symbol) * self.price(symbol)
        return (
            self.withdrawal > 0
            or self.lacking > Fraction(self.proposal.cost)
            or value > self.max_weight * self.total
            or self.portfolio.risk_profile is not None
        )

    def minimum_trade(self) -> Iterator[str]:
        least = Fraction(self.portfolio.preferences.min_trade)
        for symbol, order in self.orders.items():
            traded = Fraction(order.quantity) * Fraction(order.price)
            if traded < least and not (order.side == "sell" and self.required(symbol)):
                yield f"{order.side} {float(traded)} of {symbol}"

    def figures(self) -> Iterator[str]:
        proposal = self.proposal
        total = self.total if self.total > 0 else Fraction(1)
        if 0 < total < abs(self.cash) / 10**6:  # floats cannot distinguish it from 0
            return
        for symbol in self.symbols:
            before = float(self.held(symbol) * self.price(symbol) / total)
            after = float(self.left(symbol) * self.price(symbol) / total)
            if abs(proposal.weights_before[symbol] - before) > 1e-9 * max(1, before):
                yield f"{symbol} weighed {before} before"
            if abs(proposal.weights_after[symbol] - after) > 1e-9 * max(1, after):
                yield f"{symbol} weighs {after} after"
        if set(proposal.weights_before) != self.symbols:
            yield "weights of others"
        # Up to the rounding of values to the minor unit.
        cents = len(proposal.orders) * Fraction(self.portfolio.currency.minor_unit) / total
        if abs(proposal.turnover - max(self.bought, self.sold) / total) > 1e-9 + float(cents):
            yield f"turnover {proposal.turnover}"
        for figure in (
            proposal.drift_before,
            proposal.drift_after,
            proposal.volatility_before,
            proposal.volatility_after,
        ):
            if figure is None and not self.risk_known:
                continue
            if figure is None or not (figure >= 0 and np.isfinite(figure)):
                yield f"figure {figure}"


def contradiction(
    portfolio: Portfolio, failure: Failure, market: PriceHistory = MARKET, bps: float = BPS
) -> str:
    """Return why a failure is wrong; empty if the portfolio does contradict itself."""
    price = dict(zip(market.symbols, map(float, market.last_closes), strict=True))
    cash = Fraction(portfolio.cash) + Fraction(portfolio.cash_flow)
    worth = {s: Fraction(repr(price[s])) * Fraction(q) for s, q in portfolio.holdings.items()}
    total = cash + sum(worth.values())
    unit = Fraction(portfolio.currency.minor_unit)
    wishes = portfolio.preferences
    raised = sum(
        (1 - Fraction(bps) / 10_000) * value
        for symbol, value in worth.items()
        if symbol not in wishes.do_not_sell
    )
    cents = unit * (len(worth) + 1)
    match failure.error.field:
        case "preferences.cash_reserve" if Fraction(wishes.cash_reserve) > total:
            return ""
        case "cash_flow" if portfolio.cash_flow < 0 and cash + raised < cents:
            return ""
        case "cash" if portfolio.cash < 0 and cash + raised < cents:
            return ""
    return f"{failure.error} with {float(cash)} in cash and {float(raised)} to be raised"


def audited(portfolio: Portfolio, rule: str, market: PriceHistory, bps: float) -> None:
    fixed = a_context(market, rule, costs=bps, currency=portfolio.currency.code)
    try:
        proposal = propose(portfolio, fixed)
    except InvalidRequest as error:
        assert not contradiction(portfolio, Failure(portfolio.id, error, ""), market, bps)
        return
    assert not list(Audit(portfolio, proposal, market, bps))


@given(portfolio=portfolios(MARKET), rule=st.sampled_from(POLICIES))
def test_orders_without_remainders_are_whole_steps(portfolio: Portfolio, rule: str) -> None:
    preferences = attrs.evolve(portfolio.preferences, sell_remainders=False)
    whole = attrs.evolve(portfolio, preferences=preferences)
    try:
        proposal = propose(whole, a_context(MARKET, rule))
    except InvalidRequest:
        return  # what may be sold does not cover the withdrawal
    assert all(order.quantity % preferences.step == 0 for order in proposal.orders)
    assert proposal.cash_after >= 0


@pytest.mark.parametrize("rule", POLICIES)
@given(portfolio=portfolios(MARKET))
def test_every_proposal_keeps_every_law(rule: str, portfolio: Portfolio) -> None:
    audited(portfolio, rule, MARKET, BPS)


@given(
    portfolio=portfolios(MARKET),
    rule=st.sampled_from(POLICIES),
    bps=st.sampled_from([0, 3, 12.5, 250, 3000]),
)
def test_so_it_does_at_any_cost(portfolio: Portfolio, rule: str, bps: float) -> None:
    audited(portfolio, rule, MARKET, bps)


@given(portfolio=portfolios(YEN, currency=JPY), rule=st.sampled_from(POLICIES))
def test_and_in_a_currency_without_cents(portfolio: Portfolio, rule: str) -> None:
    audited(portfolio, rule, YEN, BPS)


def kept_apart(answers: list[Proposal | Failure]) -> list[object]:
    """Return results as comparable values; errors are equal if their texts are."""
    return [
        (answer.portfolio_id, str(answer.error), answer.input_hash)
        if isinstance(answer, Failure)
        else answer
        for answer in answers
    ]


@pytest.mark.parametrize("rule", POLICIES)
@given(book=st.lists(portfolios(MARKET), min_size=2, max_size=4), data=st.data())
@settings(max_examples=15)
def test_a_batch_is_its_portfolios_one_by_one_in_any_order(
    rule: str, book: list[Portfolio], data: st.DataObject
) -> None:
    fixed = a_context(MARKET, rule)
    alone = [kept_apart(propose_book([portfolio], fixed))[0] for portfolio in book]
    assert kept_apart(propose_book(book, fixed)) == alone
    order = data.draw(st.permutations(range(len(book))))
    shuffled = kept_apart(propose_book([book[i] for i in order], fixed))
    assert shuffled == [alone[i] for i in order]


def test_a_narrow_portfolio_does_not_notice_wide_ones() -> None:
    market = prices(assets=300, days=60, seed=5)
    fixed = a_context(market, "band")
    dice = np.random.default_rng(0)

    def of(count: int) -> Portfolio:
        weights = dice.dirichlet(np.ones(count)) * 0.98
        held = dict(zip(market.symbols, dice.integers(0, 90, count).tolist(), strict=False))
        return a_portfolio(held, dict(zip(market.symbols, weights, strict=False)), cash=1234.56)

    book = [of(count) for count in (3, 9, 100, 129, 130, 200, 300)]
    alone = [propose(portfolio, fixed) for portfolio in book]
    assert propose_book(book, fixed) == alone


@pytest.mark.parametrize("rule", POLICIES)
@given(portfolio=portfolios(MARKET, least=2), data=st.data())
@settings(max_examples=15)
def test_the_order_in_which_things_are_listed_does_not_matter(
    rule: str, portfolio: Portfolio, data: st.DataObject
) -> None:
    holdings = dict(data.draw(st.permutations(list(portfolio.holdings.items()))))
    targets = dict(data.draw(st.permutations(list(portfolio.targets.items()))))
    shuffled = attrs.evolve(portfolio, holdings=holdings, targets=targets)
    fixed = a_context(MARKET, rule)
    expected = propose_book([portfolio], fixed)
    assert kept_apart(propose_book([shuffled], fixed)) == kept_apart(expected)
    # Nor does the order of the market's columns, but for what it is part of: the hash.
    columns = data.draw(st.permutations(MARKET.symbols))
    (other,) = propose_book([portfolio], a_context(MARKET.select(columns), rule))
    if isinstance(other, Proposal):
        (one,) = expected
        assert isinstance(one, Proposal)
        assert [(o.symbol, o.side, o.quantity, o.cost) for o in other.orders] == [
            (o.symbol, o.side, o.quantity, o.cost) for o in one.orders
        ]
        assert other.cash_after == one.cash_after


@given(portfolio=portfolios(MARKET), rule=st.sampled_from(POLICIES))
@settings(max_examples=50)
def test_the_same_question_has_the_same_answer(portfolio: Portfolio, rule: str) -> None:
    fresh = PriceHistory.of(MARKET.symbols, MARKET.dates, MARKET.closes)
    first = kept_apart(propose_book([portfolio], a_context(MARKET, rule)))
    assert kept_apart(propose_book([portfolio], a_context(fresh, rule))) == first


def in_unit(portfolio: Portfolio, currency: Currency, worth: int) -> Portfolio:
    """The same portfolio counted in a unit of which ``worth`` make a yen."""

    def money(amount: Decimal) -> Decimal:
        return amount / worth

    return attrs.evolve(
        portfolio,
        currency=currency,
        cash=money(portfolio.cash),
        cash_flow=money(portfolio.cash_flow),
        preferences=attrs.evolve(
            portfolio.preferences,
            min_trade=money(portfolio.preferences.min_trade),
            cash_reserve=money(portfolio.preferences.cash_reserve),
        ),
    )


UNITS = {"USD": 100, "KWD": 1000}


@pytest.mark.parametrize("rule", POLICIES)
@given(portfolio=portfolios(YEN, currency=JPY))
@settings(max_examples=15)
def test_the_currency_unit_does_not_matter(rule: str, portfolio: Portfolio) -> None:
    # A cost rate at which no order's cost is half of a minor unit, where float64 decides.
    (one,) = propose_book([portfolio], a_context(YEN, rule, costs=9.73, currency="JPY"))
    for code, worth in UNITS.items():
        market = PriceHistory.of(YEN.symbols, YEN.dates, YEN.closes / worth)
        (other,) = propose_book(
            [in_unit(portfolio, Currency(code), worth)],
            a_context(market, rule, costs=9.73, currency=code),
        )
        if isinstance(one, Failure):
            assert isinstance(other, Failure)
            assert other.error.field == one.error.field
            continue
        assert isinstance(other, Proposal)
        assert [(o.symbol, o.side, o.quantity, o.cost * worth) for o in other.orders] == [
            (o.symbol, o.side, o.quantity, o.cost) for o in one.orders
        ]
        assert other.cash_after * worth == one.cash_after
        assert other.weights_after == pytest.approx(one.weights_after, abs=1e-9)


@pytest.mark.parametrize("rule", ["monthly", "band", "band:relative", "buy_and_hold"])
@given(portfolio=portfolios(MARKET))
@settings(max_examples=15)
def test_who_follows_the_given_targets_may_depart_or_not(rule: str, portfolio: Portfolio) -> None:
    answers = []
    for most in (0.0, 1.0):
        wishes = attrs.evolve(portfolio.preferences, max_departure=most)
        (answer,) = propose_book(
            [attrs.evolve(portfolio, preferences=wishes)], a_context(MARKET, rule)
        )
        answers.append(attrs.evolve(answer, input_hash=""))
    one, other = answers
    if isinstance(one, Failure):
        assert isinstance(other, Failure)
        assert str(one.error) == str(other.error)
    else:
        assert one == other


OTHER_WISHES = {
    "whole_shares": False,
    "quantity_step": Decimal("0.001"),
    "min_trade": Decimal(1),
    "do_not_sell": frozenset({"C"}),
    "do_not_buy": frozenset({"C"}),
    "max_turnover": 0.2,
    "cash_reserve": Decimal(1),
    "max_weight": 0.9,
    "band": 0.03,
    "max_departure": 0.1,
    "skip_unprofitable": True,
    "sell_remainders": False,
    "lot_method": LotMethod.LIFO,
    "max_realised_gain": Decimal(5),
    "max_realised_gain_year": Decimal(5),
}
OTHERWISE = {
    "id": "Q",
    "currency": JPY,
    "cash": Decimal(101),
    "holdings": {"C": Decimal(11)},
    "targets": {"C": 0.3},
    "risk_profile": RISK_PROFILES["growth"],
    "cash_flow": Decimal(1),
    "last_rebalance": date(2022, 11, 30),
    "preferences": Preferences(max_turnover=0.1),
    "foreign_cash": {"JPY": Decimal(1)},
    "conversions": Conversions.LISTED,
    "target_groups": TargetTree((TargetGroup("All", 0.5, assets={"C": 1.0}),)),
    "look_through": {"C": {AssetClass.EQUITY: 0.5, AssetClass.BOND: 0.5}},
    "lots": {"C": (SellableLot(Decimal(10), Decimal(50)),)},
    "gain_this_year": Decimal(7),
    "expected": (ExpectedFlow(date(2023, 1, 5), Decimal(-5), "USD", Decimal(-5)),),
}


def test_the_input_hash_covers_every_field() -> None:
    fixed = a_context(MARKET)
    portfolio = a_portfolio({"C": 10}, {"C": 0.5}, cash=100)
    assert {field.name for field in attrs.fields(Preferences)} == set(OTHER_WISHES)
    hashed = {field.name for field in attrs.fields(Portfolio) if field.init} - {"uninvested"}
    assert hashed == set(OTHERWISE)
    changed = [attrs.evolve(portfolio, **{name: value}) for name, value in OTHERWISE.items()]
    changed += [
        attrs.evolve(portfolio, preferences=attrs.evolve(portfolio.preferences, **{name: value}))
        for name, value in OTHER_WISHES.items()
    ]
    changed.append(
        attrs.evolve(
            portfolio, risk_profile=attrs.evolve(RISK_PROFILES["growth"], target_volatility=0.17)
        )
    )
    hashes = {fixed.input_hash(one) for one in [portfolio, *changed]}
    assert len(hashes) == 1 + len(changed)


def test_the_input_hash_covers_all_terms() -> None:
    portfolio = a_portfolio({"C": 10}, {"C": 0.5}, cash=100)
    dearer = PriceHistory.of(MARKET.symbols, MARKET.dates, MARKET.closes * 1.01)
    gold = Instruments.of([Instrument("C", asset_class=AssetClass.GOLD)])
    busy = Instruments.of([Instrument("C", daily_volume=1e6)])
    special = CostModel("x", Rates(commission_bps=10), {"C": Rates(commission_bps=20)})
    listed = [
        a_context(MARKET),
        a_context(MARKET, "band"),
        a_context(MARKET, "band:band=0.03"),
        a_context(MARKET, costs=11),
        a_context(MARKET, costs=special),
        a_context(MARKET, instruments=gold),
        a_context(MARKET, instruments=busy),
        a_context(MARKET, currency="JPY"),
        a_context(dearer),
        a_context(MARKET.until(len(MARKET) - 2)),
    ]
    assert len({one.input_hash(portfolio) for one in listed}) == len(listed)


def test_equal_inputs_have_equal_hashes_however_they_are_written() -> None:
    fixed = a_context(MARKET)
    one = a_portfolio({"C": "10", "D": "1"}, {"C": 1.0}, cash="100.00", max_weight=1.0)
    other = a_portfolio({"D": "1.0", "C": "1E+1"}, {"C": 1}, cash="1e2", max_weight=1)
    assert fixed.input_hash(one) == fixed.input_hash(other)


def accepted(portfolio: Portfolio, proposal: Proposal, last: date | None) -> Portfolio:
    """The portfolio after all orders were filled as proposed."""
    holdings = dict(portfolio.holdings)
    for order in proposal.orders:
        moved = order.quantity if order.side == "buy" else -order.quantity
        holdings[order.symbol] = holdings.get(order.symbol, Decimal(0)) + moved
    return attrs.evolve(
        portfolio,
        holdings=holdings,
        cash=proposal.cash_after,
        cash_flow=Decimal(0),
        last_rebalance=last,
    )


@pytest.mark.parametrize("rule", POLICIES)
@given(portfolio=portfolios(MARKET), asked_again=st.booleans())
@settings(max_examples=60)
def test_an_accepted_proposal_leaves_nothing_to_do(
    rule: str, portfolio: Portfolio, asked_again: bool
) -> None:
    # Without a turnover cap, and worth enough for a cent to be nothing.
    wishes = attrs.evolve(portfolio.preferences, max_turnover=None)
    portfolio = attrs.evolve(portfolio, preferences=wishes)
    if asked_again:  # by a calendar policy that knows of no earlier rebalance, so it is due
        portfolio = attrs.evolve(portfolio, last_rebalance=None)
    fixed = a_context(MARKET, rule)
    (proposal,) = propose_book([portfolio], fixed)
    if isinstance(proposal, Failure):
        return
    audit = Audit(portfolio, proposal)
    last = None if asked_again else MARKET.last_date
    (later,) = propose_book([accepted(portfolio, proposal, last)], fixed)
    if isinstance(later, Failure):  # costs have brought the value below the reserve
        assert later.error.field == "preferences.cash_reserve"
        assert proposal.cash_after <= portfolio.preferences.cash_reserve
        return
    for order in later.orders:
        noise = 2 * audit.lump + 2 * Fraction(proposal.cost) + audit.cents
        assert audit.total < 100 or Fraction(order.value) <= noise, order


# By hand.


def hand(portfolio: Portfolio, rule: str = "monthly", bps: float = 0.0) -> dict[str, Decimal]:
    """Signed quantities that are proposed of A, B, C and D at closes of 1, 2, 10 and 100."""
    market = flat_prices({"A": 1.0, "B": 2.0, "C": 10.0, "D": 100.0})
    proposal = propose(portfolio, a_context(market, rule, costs=bps))
    assert not list(Audit(portfolio, proposal, market, bps, risk_known=False))
    return {o.symbol: o.quantity if o.side == "buy" else -o.quantity for o in proposal.orders}


WAITING = {"last_rebalance": date(2022, 12, 1)}
"""In the month of the last close: `monthly` is not due."""


def test_a_deposit_goes_to_the_largest_shortfalls() -> None:
    # V is 1,000: A lacks 200, B 50, C has 100 too much.
    targets = {"A": 0.5, "B": 0.3, "C": 0.2}
    portfolio = a_portfolio({"A": 300, "B": 125, "C": 30}, targets, flow=150, **WAITING)
    assert hand(portfolio) == {"A": 150}
    portfolio = a_portfolio({"A": 300, "B": 125, "C": 23}, targets, flow=220, **WAITING)
    assert hand(portfolio) == {"A": 200, "B": 10}


def test_a_withdrawal_comes_from_the_largest_excesses() -> None:
    # V is 1,000: A has 150 too much, B 50.
    targets = {"A": 0.5, "B": 0.3, "C": 0.2}
    portfolio = a_portfolio({"A": 650, "B": 175, "C": 20}, targets, flow=-200, **WAITING)
    assert hand(portfolio) == {"A": -150, "B": -25}
    portfolio = a_portfolio({"A": 650, "B": 175, "C": 20}, targets, flow=-200)
    assert hand(portfolio, "buy_and_hold") == {"A": -150, "B": -25}


def test_cash_flow_first_then_the_policy_on_the_rest_and_the_net_is_ordered() -> None:
    targets = {"A": 0.5, "B": 0.3, "C": 0.2}
    portfolio = a_portfolio({"A": 300, "B": 125, "C": 30}, targets, flow=150)
    assert hand(portfolio) == {"A": 200, "B": 25, "C": -10}
    # In bands the deposit is all there is to do: it leaves A, 5 points under, at target.
    portfolio = a_portfolio({"A": 450, "B": 145, "C": 21}, targets, flow=50)
    assert hand(portfolio, "band") == {"A": 50}


def test_a_locked_overweight_keeps_its_room() -> None:
    portfolio = a_portfolio(
        {"A": 600, "B": 50, "C": 30}, {"A": 0.4, "B": 0.4, "C": 0.2}, do_not_sell=["A"]
    )
    # Of 400, B and C get 2 : 1: 266.67 and 133.33.
    assert hand(portfolio) == {"B": 84, "C": -17}


def test_the_reserve_and_costs_scale_all_targets_by_one_factor() -> None:
    targets = {"A": 0.6, "B": 0.4}
    portfolio = a_portfolio(
        {}, targets, cash=1010, cash_reserve=505, whole_shares=False, quantity_step="0.01"
    )
    # (1010 - 505) / 1.01 = 500.
    assert hand(portfolio, bps=100) == {"A": 300, "B": 100}
    # Less than all is targeted, and suffices for reserve and costs: no factor.
    portfolio = a_portfolio({}, {"A": 0.3, "B": 0.2}, cash=1000, cash_reserve=400)
    assert hand(portfolio, bps=100) == {"A": 300, "B": 100}


def test_precedence_of_the_turnover_cap() -> None:
    targets = {"A": 0.5, "B": 0.3, "C": 0.2}
    held = {"A": 700, "B": 100, "C": 10}
    assert hand(a_portfolio(held, targets, max_turnover=0.1)) == {"A": -100, "B": 25, "C": 5}
    # A withdrawal's sales are exempt: 300 for it, and 5% of the 700 that stay. (Of 35, B would get
    # 7 and C 28; the third share of C leaves 5 for two of B.)
    capped = a_portfolio(held, targets, flow=-300, max_turnover=0.05)
    assert hand(capped) == {"A": -335, "B": 2, "C": 3}
    # The reserve stands above the cap, the maximum weight below it.
    assert hand(a_portfolio(held, targets, cash_reserve=200, max_turnover=0)) == {"A": -200}
    # (A should come down by 500 and C go up by 100; a fifth of either is let through.)
    trimmed = a_portfolio(held, targets, max_weight=0.2, max_turnover=0.1)
    assert hand(trimmed) == {"A": -100, "C": 2}


def test_a_closed_position_is_sold_with_its_last_fraction() -> None:
    closed = a_portfolio({"D": "2.5"}, {"A": 1.0}, max_weight=1.0)
    assert hand(closed) == {"A": 250, "D": Decimal("-2.5")}
    # A fraction that an earlier sale has left, and one of a step.
    assert hand(a_portfolio({"D": "0.437"}, {"A": 1.0})) == {"A": 43, "D": Decimal("-0.437")}
    steps = a_portfolio({"D": "2.5005"}, {"A": 1.0}, whole_shares=False, quantity_step="0.001")
    assert hand(steps)["D"] == Decimal("-2.5005")
    # All of it must go.
    portfolio = a_portfolio({"D": "2.5"}, {"D": 1.0}, flow=-250)
    assert hand(portfolio) == {"D": Decimal("-2.5")}


def test_a_broker_that_takes_no_fractions_leaves_them() -> None:
    whole = a_portfolio({"D": "2.5"}, {"A": 1.0}, max_weight=1.0, sell_remainders=False)
    assert hand(whole) == {"A": 200, "D": -2}


@pytest.mark.parametrize(
    ("field", "portfolio"),
    [
        ("currency", a_portfolio({}, {"C": 1.0}, cash=1, currency=JPY)),
        ("holdings.ZZZ", a_portfolio({"ZZZ": 1})),
        ("targets.ZZZ", a_portfolio({}, {"ZZZ": 0.1}, cash=1)),
        ("cash_flow", a_portfolio({"B": 10}, {}, cash=5, flow=-16)),
        ("cash_flow", a_portfolio({"B": 10}, {}, cash=5, flow=-10, do_not_sell=["B"])),
        ("cash", a_portfolio({"B": 10}, {}, cash=-11)),
        ("cash", a_portfolio({"B": 10}, {}, cash=-1, do_not_sell=["B"])),
        ("preferences.cash_reserve", a_portfolio({"B": 10}, {}, cash=5, cash_reserve=16)),
    ],
)
def test_contradictions_are_errors_that_name_the_field(field: str, portfolio: Portfolio) -> None:
    with pytest.raises(InvalidRequest) as caught:
        propose(portfolio, a_context(MARKET))
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("cash", {"cash": Decimal("NaN")}),
        ("cash_flow", {"cash_flow": Decimal("-Infinity")}),
        ("holdings.C", {"holdings": {"C": Decimal("NaN")}}),
        ("holdings.C", {"holdings": {"C": Decimal("Infinity")}}),
        ("holdings.C", {"holdings": {"C": Decimal(-1)}}),
        ("targets.C", {"targets": {"C": float("nan")}}),
        ("targets.C", {"targets": {"C": -0.1}}),
        ("targets", {"targets": {"C": 0.6, "D": 0.400002}}),
        ("id", {"id": ""}),
    ],
)
def test_impossible_portfolios_do_not_construct(field: str, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        attrs.evolve(a_portfolio(), **wrong)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity_step", Decimal(0)),
        ("quantity_step", Decimal("NaN")),
        ("min_trade", Decimal(-1)),
        ("min_trade", Decimal("NaN")),
        ("cash_reserve", Decimal("Infinity")),
        ("max_turnover", float("nan")),
        ("max_turnover", 1.1),
        ("max_weight", -0.1),
        ("band", 2.0),
        ("max_departure", -0.1),
        ("max_departure", float("nan")),
    ],
)
def test_impossible_preferences_do_not_construct(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Preferences(**{field: value})
    assert caught.value.field == f"preferences.{field}"


def test_targets_that_sum_to_one_but_for_rounding_are_one() -> None:
    portfolio = a_portfolio({}, {"A": 0.5, "B": 0.5000005}, cash=1000)
    assert hand(portfolio) == {"A": 500, "B": 250}


def test_idle_part_of_a_deposit_buys_up_to_targets_that_a_lock_lowered() -> None:
    # V is 1,000. 400 of LOCK leave 300 each for DEAR and CHEAP. A share of DEAR is not affordable,
    # so CHEAP, of which 200 are held, is bought up to its target of 400.
    market = flat_prices({"LOCK": 100.0, "DEAR": 700.0, "CHEAP": 10.0})
    portfolio = a_portfolio(
        {"LOCK": 4, "CHEAP": 20},
        {"LOCK": 0.2, "DEAR": 0.4, "CHEAP": 0.4},
        flow=400,
        do_not_sell=["LOCK"],
    )
    made = propose(portfolio, a_context(market, costs=0.0))
    assert {one.symbol: one.quantity for one in made.orders} == {"CHEAP": 20}
