from __future__ import annotations

import pytest

from rebalancer.domain.rebalancing.explanations import NO_ORDER_TEXTS, ORDER_TEXTS
from rebalancer.domain.rebalancing.model import ReasonCode
from tests.reasons import GOLDEN, SCENARIOS, lines

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
    "less than a step": ["overweight", "below_step"],
    "less than a step of a fraction": ["underweight", "below_step"],
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
