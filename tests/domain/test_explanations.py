from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.explanations import NO_ORDER_TEXTS, ORDER_TEXTS
from rebalancer.domain.rebalancing.model import ReasonCode
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import a_context, a_portfolio, flat_prices
from tests.reasons import FLAT, GOLDEN, SCENARIOS, lines

_HALF = {"A": 0.5, "B": 0.5}

CODES = {
    "calendar policy": ["overweight", "not_targeted", "underweight"],
    "policy that is not due": ["not_due"] * 3,
    "rebalance later than the closes": ["rebalanced_later"] * 3,
    "buy and hold": ["never_due"] * 3,
    "deposit": ["deposit", "not_due", "not_due"],
    "withdrawal from sales": ["withdrawal", "withdrawal", "at_target"],
    "band, bought within": ["overweight", "bought_within_band", "bought_within_band"],
    "band, sold within": ["overweight", "underweight", "sold_within_band"],
    "band, all within": ["within_band"] * 3,
    "locks": ["do_not_sell", "do_not_buy", "overweight"],
    "reserve": ["do_not_sell", "reserve"],
    "reserve that stays short": ["do_not_sell", "at_limited_target", "at_limited_target"],
    "debit": ["debit"],
    "turnover cap": ["overweight", "underweight", "underweight"],
    "turnover cap of zero": ["turnover_cap"] * 3,
    "maximum weight": ["limit", "underweight", "underweight"],
    "no departure": ["at_target", "at_target"],
    "minimum trade": ["underweight", "below_minimum_trade", "overweight"],
    "minimum trade in whole steps": ["at_target", "step_below_minimum_trade"],
    "minimum trade above the cash that is left": [
        "below_minimum_trade",
        "no_room_for_minimum_trade",
    ],
    "minimum trade above what the turnover cap leaves": [
        "at_target",
        "no_room_for_minimum_trade",
        "underweight",
    ],
    "minimum trade and locks": ["do_not_sell", "at_limited_target", "deposit"],
    "locks that leave no cash": ["do_not_sell"] + ["at_limited_target"] * 2,
    "remainder worth less than a cent": ["below_minor_unit", "below_step"],
    "less than a step": ["overweight", "below_step"],
    "less than a step of a fraction": ["underweight", "below_minor_unit"],
    "fraction closed": ["underweight", "not_targeted"],
    "unprofitable order": ["unprofitable", "no_cash"],
    "profile": ["limit", "limit"],
}


@pytest.mark.parametrize("name", CODES)
def test_codes_of_orders_and_of_assets_not_traded(name: str) -> None:
    proposal = SCENARIOS[name].propose()
    found = {order.symbol: order.reason_code for order in proposal.orders}
    found |= {other.symbol: other.reason_code for other in proposal.not_traded}
    assert [found[symbol] for symbol in sorted(found)] == CODES[name]


def test_every_code_has_one_text() -> None:
    assert {*ORDER_TEXTS, *NO_ORDER_TEXTS} == set(ReasonCode)
    assert not ORDER_TEXTS.keys() & NO_ORDER_TEXTS.keys()


def test_texts_agree_with_the_golden_file() -> None:
    assert "\n".join(lines()) + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_drift_risk_that_an_order_removes() -> None:
    # B's returns alternate between +1/49 and -1/50: a variance of 0.1033 a year. Half of it, times
    # a risk aversion of 3, on 10,000: 1,549 a year for the square of the drift, which falls from
    # 0.0999 (costs lower the aim a little) to 0.0049.
    _, bought = SCENARIOS["worth of an order"].propose().orders
    assert "removes drift risk worth 15.42 a year" in bought.reason


def test_a_withdrawal_is_net_of_deposits_that_wait() -> None:
    # Of 300, deposits of 200 that wait pay all but 100.
    waiting = attrs.evolve(a_portfolio({"B": 250}, {"B": 1.0}, flow=-100), uninvested=Decimal(200))
    assert texts_of(waiting)[1] == [
        "The net withdrawal of 100 (a withdrawal of 300 less deposits of 200) is paid from sales "
        "of 100.00; sales that it needs do not count towards the turnover cap."
    ]


def test_a_deposit_is_described_by_its_orders() -> None:
    # 450 in whole shares of 100: four, although 450 were wanted.
    _, notes = texts_of(a_portfolio({}, {"D": 1.0}, flow=450))
    assert notes == ["Of the deposit of 450, 400.00 is invested."]
    # One share of 100 for 50, which buys none.
    _, notes = texts_of(a_portfolio({}, {"D": 1.0}, flow=50))
    assert notes == ["The deposit of 50 stays in cash."]
    _, notes = texts_of(a_portfolio({}, {"D": 1.0}, cash=250, flow=50))
    assert notes == ["The deposit of 50 and other cash are invested: 300.00."]
    # 600 of A is 200 too much for half of 800.
    _, notes = texts_of(a_portfolio({"A": 600}, _HALF, flow=200))
    assert notes == ["The deposit of 200 and sales of 200.00 fund purchases of 400.00."]


def test_a_deposit_goes_on_where_its_first_choice_is_too_dear() -> None:
    # Of 8,955, DEAR is short of 67, and B of 17.85: the deposit of 60 is to go to DEAR alone.
    market = flat_prices({"DEAR": 450.0, "B": 20.0, "C": 35.0})
    held = {"DEAR": 10, "B": 120, "C": 57}
    portfolio = a_portfolio(held, {"DEAR": 0.51, "B": 0.27, "C": 0.22}, flow=60)
    proposal = propose(portfolio, a_context(market, "band", costs=0.0))
    (order,) = proposal.orders
    assert (order.symbol, order.quantity) == ("B", 1)
    assert order.reason_code is ReasonCode.DEPOSIT
    assert proposal.notes == ("Of the deposit of 60, 20.00 is invested.",)
    assert proposal.not_traded[1].reason_code is ReasonCode.BELOW_STEP


def test_a_withdrawal_is_described_by_its_orders() -> None:
    # 150 in shares of 100 takes two of them.
    _, notes = texts_of(a_portfolio({"D": 10}, {"D": 1.0}, flow=-150))
    assert notes[0].startswith("The withdrawal of 150 is paid from sales of 200.00;")


def test_reasons_stay_readable_when_nearly_everything_is_withdrawn() -> None:
    reasons, _ = texts_of(a_portfolio({"A": 100_000}, _HALF, flow="-99999.98"))
    assert reasons["A"].endswith("from 100000.00 to 0.00, aiming at 0.01. Costs 0.00.")
    reasons, _ = texts_of(a_portfolio({"A": 100_000, "B": 1}, {}, flow=-100_002))
    assert "from 100000.00 to 0.00" in reasons["A"]
    for reason in reasons.values():
        assert not any(ugly in reason for ugly in ("-0.0", "e+", "00000.0%"))


def test_remainders_that_stay_are_named() -> None:
    portfolio = a_portfolio({"D": "10.437"}, {"A": 1.0}, sell_remainders=False)
    _, notes = texts_of(portfolio)
    assert notes == [
        "0.437 D stays: preferences.sell_remainders is false, so orders are multiples of 1."
    ]
    coin = Instruments.of([Instrument("D", quantity_step=Decimal("0.01"))])
    proposal = propose(
        a_portfolio({"D": "10.437"}, {"A": 1.0}), a_context(FLAT, costs=0.0, instruments=coin)
    )
    assert proposal.orders[1].quantity == Decimal("10.43")
    assert proposal.notes == ("0.007 D stays: D trades in multiples of 0.01.",)


def test_a_purchase_within_its_band_names_what_pays_for_it() -> None:
    # Both are inside their bands of 2 points; cash, at 3%, is not.
    market = flat_prices({"A": 10.0, "B": 10.0})
    portfolio = a_portfolio({"A": 59, "B": 38}, {"A": 0.6, "B": 0.4}, cash=30)
    proposal = propose(portfolio, a_context(market, "band", costs=0.0))
    assert {order.side for order in proposal.orders} == {"buy"}
    for order in proposal.orders:
        assert order.reason.startswith("Within its band; bought with cash above its target: ")


def texts_of(portfolio: Portfolio) -> tuple[dict[str, str], list[str]]:
    """Reasons by symbol, and notes, of a proposal at closes of 1, 2, 10 and 100."""
    proposal = propose(portfolio, a_context(FLAT, costs=0.0))
    reasons = {each.symbol: each.reason for each in (*proposal.orders, *proposal.not_traded)}
    return reasons, list(proposal.notes)
