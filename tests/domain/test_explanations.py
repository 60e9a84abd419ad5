from __future__ import annotations

from datetime import date

import numpy as np

from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.model import Proposal
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import a_context, a_portfolio, flat_prices

FLAT = flat_prices({"A": 1.0, "B": 2.0, "C": 10.0, "D": 100.0})
"""Too short to estimate risk from: reasons say nothing of it."""


def swinging(days: int = 300) -> PriceHistory:
    """A at 100 and B at 50, which swings between 49 and 50 every day; the last close is 50."""
    swings = np.where(np.arange(days) % 2 == days % 2, 49.0, 50.0)
    dates = np.busday_offset(np.datetime64("2022-12-30"), np.arange(1 - days, 1))
    return PriceHistory.of(("A", "B"), dates, np.column_stack((np.full(days, 100.0), swings)))


def answer(
    portfolio: Portfolio,
    rule: str = "monthly",
    *,
    bps: float = 0.0,
    market: PriceHistory = FLAT,
) -> Proposal:
    return propose(portfolio, a_context(market, rule, costs=bps))


def reasons(proposal: Proposal) -> dict[str, str]:
    found = {order.symbol: order.reason for order in proposal.orders}
    return found | {other.symbol: other.reason for other in proposal.not_traded}


TARGETS = {"A": 0.5, "B": 0.3, "C": 0.2}


def test_a_calendar_policy_goes_to_target() -> None:
    # V is 900, less 1% of about 1,078 traded: 889 of it at target.
    proposal = answer(a_portfolio({"A": 600, "B": 150}, {"A": 0.4, "C": 0.6}), bps=100)
    assert reasons(proposal) == {
        "A": "Overweight: from 66.7% to 39.6%, aiming at 39.5%. Costs 2.44.",
        "B": "Not among the targets: from 33.3% to 0.0%, aiming at 0.0%. Costs 3.00.",
        "C": "Underweight: from 0.0% to 58.9%, aiming at 59.3%. Costs 5.30.",
    }
    assert proposal.notes == ()


def test_a_policy_waits() -> None:
    waiting = a_portfolio({"A": 600, "B": 200}, TARGETS, last_rebalance=date(2022, 12, 1))
    assert reasons(answer(waiting))["A"] == (
        "60.0%, aiming at 50.0%; monthly is not due: the last rebalance, 2022-12-01, lies in the "
        "same month"
    )
    assert reasons(answer(waiting, "buy_and_hold"))["C"] == (
        "0.0%, aiming at 20.0%; buy_and_hold leaves holdings alone"
    )


def test_a_deposit_and_a_withdrawal() -> None:
    waiting = {"last_rebalance": date(2022, 12, 1)}
    paid_in = answer(a_portfolio({"A": 300, "B": 125, "C": 30}, TARGETS, flow=150, **waiting))
    assert reasons(paid_in)["A"] == (
        "Among the largest shortfalls, so the deposit goes here first: from 30.0% to 45.0%, "
        "aiming at 50.0%. Costs 0.00."
    )
    assert paid_in.notes == ("of the deposit of 150, 150.00 is invested",)
    paid_out = answer(a_portfolio({"A": 650, "B": 175, "C": 20}, TARGETS, flow=-200, **waiting))
    assert reasons(paid_out) == {
        "A": "Among the largest excesses, so the withdrawal comes from here: from 65.0% to 50.0%, "
        "aiming at 50.0%. Costs 0.00.",
        "B": "Among the largest excesses, so the withdrawal comes from here: from 35.0% to 30.0%, "
        "aiming at 30.0%. Costs 0.00.",
        "C": "at its target of 20.0%",
    }
    assert paid_out.notes == (
        "the withdrawal of 200 takes sales of 200.00, which the turnover cap does not count",
    )
    from_cash = answer(
        a_portfolio({"A": 500, "B": 150, "C": 20}, TARGETS, cash=100, flow=-100, **waiting)
    )
    assert from_cash.notes == ("the withdrawal of 100 is paid from cash",)


def test_a_band() -> None:
    assert reasons(answer(a_portfolio({"A": 530, "B": 145, "C": 18}, TARGETS), "band")) == {
        "A": "Overweight: from 53.0% to 50.0%, aiming at 50.0%. Costs 0.00.",
        "B": "Inside its band, but it takes up money that the other trades free: from 29.0% to "
        "30.0%, aiming at 30.0%. Costs 0.00.",
        "C": "Inside its band, but it takes up money that the other trades free: from 18.0% to "
        "20.0%, aiming at 20.0%. Costs 0.00.",
    }
    needed = answer(a_portfolio({"A": 530, "B": 130, "C": 21}, TARGETS), "band")
    assert reasons(needed)["C"] == (
        "Inside its band, but the other trades need its money: from 21.0% to 20.0%, aiming at "
        "20.0%. Costs 0.00."
    )
    resting = answer(a_portfolio({"A": 515, "B": 145, "C": 19}, TARGETS, cash=5), "band")
    assert reasons(resting)["B"] == "inside its band: 29.0% against 30.0% give or take 2.0%"


def test_locks() -> None:
    portfolio = a_portfolio(
        {"A": 600, "B": 50, "C": 30},
        {"A": 0.4, "B": 0.4, "C": 0.2},
        do_not_sell=["A"],
        do_not_buy=["B"],
    )
    assert reasons(answer(portfolio)) == {
        "A": "60.0%, above its target of 40.0%, but on the do-not-sell list",
        "B": "10.0%, below its target of 40.0%, but on the do-not-buy list",
        "C": "Overweight: from 30.0% to 13.0%, aiming at 13.3%. Costs 0.00.",
    }


def test_a_reserve() -> None:
    half = {"A": 0.5, "B": 0.5}
    portfolio = a_portfolio({"A": 600, "B": 200}, half, cash_reserve=500, do_not_sell=["A"])
    proposal = answer(portfolio)
    assert reasons(proposal)["B"] == (
        "Sold to restore the cash reserve: from 40.0% to 0.0%, aiming at 0.0%. Costs 0.00."
    )
    assert proposal.notes == (
        "cash was below the reserve, which is restored before anything is bought",
        "the cash reserve stays short by 100.00: what may be sold does not cover it, so nothing "
        "is bought",
    )


def test_a_turnover_cap() -> None:
    held = {"A": 700, "B": 100, "C": 10}
    halved = answer(a_portfolio(held, TARGETS, max_turnover=0.1))
    assert reasons(halved)["A"] == ("Overweight: from 70.0% to 60.0%, aiming at 50.0%. Costs 0.00.")
    assert halved.notes == ("the turnover cap lets 50% of the wanted trades through",)
    stopped = answer(a_portfolio(held, TARGETS, max_turnover=0))
    assert reasons(stopped)["A"] == (
        "70.0%, aiming at 50.0%; the turnover cap leaves no room for it"
    )


def test_a_maximum_weight() -> None:
    proposal = answer(a_portfolio({"A": 700, "B": 100, "C": 10}, TARGETS, max_weight=0.4))
    assert reasons(proposal)["A"] == (
        "Above a limit on its weight or its class: from 70.0% to 40.0%, aiming at 40.0%. "
        "Costs 0.00."
    )
    assert proposal.notes == (
        "limit 'maximum weight' (preferences) left 90.0% of the targets; the rest is cash",
    )


def test_a_policy_that_would_depart_too_far() -> None:
    # B is below its average, so `trend` would hold its half in cash.
    closes = np.column_stack((np.full(300, 100.0), np.linspace(60.0, 50.0, 300)))
    market = PriceHistory.of(("A", "B"), swinging().dates, closes)
    held, half = {"A": 50, "B": 100}, {"A": 0.5, "B": 0.5}
    falling = "below its 200-day average, so held in cash: B"
    proposal = answer(a_portfolio(held, half), "trend", market=market)
    assert reasons(proposal)["B"].startswith("Overweight: from 50.0% to 30.0%, aiming at 30.0%.")
    assert proposal.notes == (
        falling,
        "the policy would move 50.0% of the portfolio away from the given targets; "
        "preferences.max_departure lets it go 20.0%",
    )
    held_to = answer(a_portfolio(held, half, max_departure=0), "trend", market=market)
    assert reasons(held_to)["B"] == "at its target of 50.0%"
    assert held_to.notes == (
        falling,
        "the policy would move 50.0% of the portfolio away from the given targets; "
        "preferences.max_departure is 0, so the given targets hold",
    )
    free = answer(a_portfolio(held, half, max_departure=0.5), "trend", market=market)
    assert free.notes == (falling,)
    short = answer(a_portfolio(held, half, max_departure=0), "trend", market=FLAT)
    assert short.notes == (
        "trend needs 200 closes of every targeted asset, and not all are known: the given targets "
        "hold by the monthly rule",
    )


def test_steps_and_the_minimum_trade() -> None:
    targets = {"A": 0.52, "B": 0.03, "D": 0.45}
    proposal = answer(a_portfolio({"D": 5}, targets, cash=20, min_trade=30))
    assert reasons(proposal)["B"] == (
        "buying 15.60 would reach 3.0% from 0.0%, but the minimum trade is 30.00"
    )
    proposal = answer(a_portfolio({"A": 1000}, {"A": 0.96, "D": 0.04}))
    assert reasons(proposal)["D"] == (
        "buying 0.4 would reach 4.0% from 0.0%, but orders are multiples of 1"
    )
    fractions = {"whole_shares": False, "quantity_step": "0.00001"}
    proposal = answer(a_portfolio({"D": "0.000012"}, {"A": 1.0}, cash=1000, **fractions))
    assert reasons(proposal)["D"].startswith("Not among the targets")
    proposal = answer(a_portfolio({"D": "0.000004"}, {"A": 1.0}, cash=1000, **fractions))
    assert reasons(proposal)["D"] == (
        "selling 0.000004 would reach 0.0% from 0.0%, but orders are multiples of 0.00001"
    )


def test_what_an_order_costs_and_what_that_buys() -> None:
    # B's returns are +1/49 and -1/50 by turns, which makes a variance of 0.1033 a year. Half of it,
    # three times, on 10,000: 1,549 a year for the square of the drift, which falls from 0.0999 (for
    # costs lower the aim a little) to 0.0049.
    market = swinging()
    proposal = answer(a_portfolio({"A": 60, "B": 80}, {"A": 0.5, "B": 0.5}), bps=10, market=market)
    assert reasons(proposal) == {
        "A": "Overweight: from 60.0% to 50.0%, aiming at 50.0%. Costs 1.00 and removes no drift "
        "risk of its own.",
        "B": "Underweight: from 40.0% to 49.5%, aiming at 50.0%. Costs 0.95 and removes drift "
        "risk worth 15.42 a year, breaking even after 0.7 months.",
    }


def test_what_is_not_worth_its_cost_is_left_out_on_demand() -> None:
    portfolio = a_portfolio({"A": 51, "B": 98}, {"A": 0.5, "B": 0.5}, skip_unprofitable=True)
    proposal = answer(portfolio, bps=10, market=swinging())
    assert reasons(proposal)["A"] == (
        "selling 100.10 would cost 0.10 and removes no drift risk of its own"
    )
    assert not proposal.orders


def test_a_profile() -> None:
    portfolio = a_portfolio(
        {"A": 50, "B": 100},
        {"A": 0.1, "B": 0.9},
        last_rebalance=date(2022, 12, 30),
        profile="conservative",
    )
    proposal = answer(portfolio, bps=10, market=swinging())
    assert proposal.notes == (
        "limit 'maximum weight' (profile conservative) left 50.0% of the targets; the rest is cash",
        "limit 'target volatility' (profile conservative) left 46.7% of the targets; the rest is "
        "cash",
        "left alone it would be riskier than the profile bears, by the last 252 days, so it goes "
        "to its targets now, whatever the policy's schedule",
    )


def test_a_debit_is_no_reserve() -> None:
    proposal = answer(a_portfolio({"A": 600}, {"A": 0.5}, cash=-100))
    assert reasons(proposal)["A"].startswith("Sold to cover the debit: from 120.0% to 50.0%")
    assert proposal.notes == ("cash was a debit, which is covered before anything is bought",)


def test_lists_that_name_what_nobody_knows_are_pointed_out() -> None:
    proposal = answer(a_portfolio({"A": 600}, {"A": 0.5}, do_not_sell=["A", "APPL"]))
    assert proposal.notes == ("do_not_sell names what the prices do not know: APPL",)


def test_a_rebalance_later_than_the_closes_is_not_called_the_same_month() -> None:
    portfolio = a_portfolio({"A": 600, "B": 200}, TARGETS, last_rebalance=date(2050, 1, 1))
    assert "2050-01-01, is later than this" in reasons(answer(portfolio))["A"]
