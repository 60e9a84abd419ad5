"""Gaps, ages and as-of days are counted in the sessions of each asset's own market."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from rebalancer.domain.market.assembly import PricingTerms, assemble_history, quote_history
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.sessions import SESSION_GRACE, count_open_days, covers
from rebalancer.domain.money import Currency
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.model import RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose

DAYS = np.arange("2024-01-01", "2024-04-01", dtype="datetime64[D]")
WEEKDAYS = DAYS[np.is_busday(DAYS)]
LONG_HOLIDAY = (np.datetime64("2024-02-05") <= WEEKDAYS) & (np.datetime64("2024-02-26") > WEEKDAYS)
TOKYO = WEEKDAYS[~LONG_HOLIDAY]
"""A market that closes for three weeks, longer than any real one."""

SESSIONS = {"XNYS": WEEKDAYS, "XTKS": TOKYO, "24/7": DAYS}


def market(*, until: str = "2024-03-31", sessions=SESSIONS, missing=()):
    days = np.arange("2024-01-01", np.datetime64(until) + 1, dtype="datetime64[D]")
    table = np.full((len(days), 3), np.nan)
    for column, code in enumerate(("XNYS", "XTKS", "24/7")):
        open_ = np.isin(days, SESSIONS[code])
        table[open_, column] = 100.0 + column
    for symbol, day in missing:
        table[days == np.datetime64(day), ("SHARE", "TOKYO", "COIN").index(symbol)] = np.nan
    instruments = Instruments.of(
        [
            Instrument("SHARE", market="XNYS"),
            Instrument("TOKYO", market="XTKS"),
            Instrument("COIN", market="24/7"),
        ]
    )
    terms = PricingTerms("USD", instruments, sessions=sessions)
    return assemble_history(("SHARE", "TOKYO", "COIN"), days, table, terms)


def test_a_long_holiday_of_its_own_market_withholds_no_asset():
    history = market(until="2024-02-23")
    assert history.withheld == {}
    assert history.missed_sessions("TOKYO") == 0


def test_a_market_without_known_sessions_is_judged_by_weekdays():
    assert "TOKYO" in market(until="2024-02-23", sessions={}).withheld


def test_missed_sessions_withhold_an_asset_earlier_than_weekdays_do():
    missed = WEEKDAYS[-(SESSION_GRACE + 1) :]
    missing = [("SHARE", day) for day in missed]
    assert market(missing=missing[1:]).withheld == {}
    history = market(missing=missing)
    assert list(history.withheld) == ["SHARE"]
    assert history.missed_sessions("SHARE") == SESSION_GRACE + 1
    assert market(missing=missing, sessions={}).withheld == {}


def test_files_are_judged_by_sessions_as_the_store_is():
    stored = market(until="2024-02-23")
    plain = history_of(stored.symbols, stored.dates, stored.reported_closes)
    assert "TOKYO" in plain.withheld
    instruments = Instruments.of([Instrument("TOKYO", market="XTKS")])
    quoted = quote_history(plain, PricingTerms("USD", instruments, sessions=SESSIONS))
    assert quoted.withheld == {}


def test_sessions_count_only_where_they_are_known():
    assert covers(WEEKDAYS, WEEKDAYS)
    late = WEEKDAYS + np.timedelta64(400, "D")
    assert not covers(WEEKDAYS, late)
    assert not covers(WEEKDAYS[:0], WEEKDAYS)
    friday, monday = np.datetime64("2024-03-08"), np.datetime64("2024-03-11")
    assert count_open_days([WEEKDAYS], friday, monday) == 1
    assert count_open_days([WEEKDAYS, DAYS], friday, monday) == 3
    assert count_open_days([WEEKDAYS, None], friday, monday) is None


@pytest.mark.parametrize(
    ("symbols", "as_of"),
    [
        (("SHARE",), date(2024, 3, 29)),
        (("SHARE", "TOKYO"), date(2024, 3, 29)),
        (("SHARE", "COIN"), date(2024, 3, 31)),
    ],
)
def test_a_proposal_is_as_of_the_last_close_of_its_own_assets(symbols, as_of):
    context = RebalanceContext(
        policy=parse_rule("monthly"),
        market=market(),
        instruments=Instruments(),
        costs=CostModel.flat(10),
        currency="USD",
    )
    portfolio = Portfolio(
        "p",
        Currency("USD"),
        Decimal(10_000),
        {},
        dict.fromkeys(symbols, 1 / len(symbols)),
        last_rebalance=date(2024, 3, 1),
    )
    proposal = propose(portfolio, context)
    assert proposal.as_of == as_of
    assert not [note for note in proposal.notes if "no close" in note]


def test_a_monthly_rule_waits_for_a_session_of_the_portfolio():
    context = RebalanceContext(
        policy=parse_rule("monthly"),
        market=market(until="2024-03-03"),  # a Sunday; Friday was the first
        instruments=Instruments(),
        costs=CostModel.flat(10),
        currency="USD",
    )
    portfolio = Portfolio(
        "p", Currency("USD"), Decimal(10_000), {}, {"SHARE": 1.0}, last_rebalance=date(2024, 3, 1)
    )
    assert propose(portfolio, context).orders == ()


def test_the_age_of_a_last_close_counts_open_days_alone():
    history = market(until="2024-02-02").select(["TOKYO"])
    asked = date(2024, 2, 23)
    assert history.missed_days(asked) == 0
    assert history.age(len(history) - 1, asked) == 15


def test_coins_are_bought_in_fractions_unless_a_step_is_stated():
    assert Instrument("COIN", market="24/7").order_step == Decimal("0.00000001")
    assert Instrument("COIN", market="24/7", quantity_step=Decimal("0.01")).order_step == Decimal(
        "0.01"
    )
    assert Instrument("SHARE", market="XNYS").order_step is None
    context = RebalanceContext(
        policy=parse_rule("monthly"),
        market=market(),
        instruments=Instruments.of([Instrument("COIN", market="24/7")]),
        costs=CostModel.flat(0),
        currency="USD",
    )
    portfolio = Portfolio("p", Currency("USD"), Decimal(50), {}, {"COIN": 1.0})
    (order,) = propose(portfolio, context).orders
    assert order.quantity == Decimal("0.49019607")


def test_assets_state_whose_sessions_judge_them():
    history = market()
    assert [history.known_market(symbol) for symbol in history.symbols] == ["XNYS", "XTKS", "24/7"]
    assert market(sessions={"XNYS": WEEKDAYS}).known_market("TOKYO") is None
    assert history_of(("A",), WEEKDAYS, np.full((len(WEEKDAYS), 1), 1.0)).known_market("A") is None
