"""Planned flows: the dates that fall due, and what a plan expects."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from uuid import UUID, uuid4

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.planned_flows import (
    Every,
    FlowDecision,
    FlowKind,
    FlowOutcome,
    FlowPlan,
    PlannedFlow,
    due_between,
    expected_flow,
    find_matches,
    next_session,
)
from rebalancer.domain.portfolio.portfolio import Portfolio, Preferences
from rebalancer.domain.rebalancing.model import ReasonCode, RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import EUR, USD, a_context, flat_prices

EARLY, LATE = date(2026, 1, 1), date(2028, 1, 1)
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def a_flow(**others) -> PlannedFlow:
    plain = PlannedFlow(
        UUID(int=1),
        FlowKind.DEPOSIT,
        Decimal(500),
        Every.MONTH,
        day=31,
        first=date(2026, 11, 1),
        planned=date(2026, 11, 1),
    )
    return attrs.evolve(plain, **others)


def dates(flow: PlannedFlow, until: date, sessions=None) -> list[str]:
    return [str(one.due) for one in due_between(flow, EARLY, until, sessions)]


def test_end_of_month_is_the_last_day_of_shorter_months():
    flow = a_flow(first=date(2027, 12, 1), planned=EARLY)
    found = [str(one.scheduled) for one in due_between(flow, EARLY, date(2028, 5, 1))]
    assert found == ["2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]


def test_quarters_and_years_count_from_the_month_of_the_first_day():
    quarterly = a_flow(every=Every.QUARTER, day=2, first=date(2026, 11, 15))
    assert [str(one) for one in quarterly.scheduled(EARLY, date(2027, 9, 1))] == [
        "2027-02-02",
        "2027-05-02",
        "2027-08-02",
    ]
    yearly = a_flow(every=Every.YEAR, day=29, first=date(2024, 2, 1), last=date(2027, 2, 28))
    assert [str(one) for one in yearly.scheduled(date(2023, 1, 1), LATE)] == [
        "2024-02-29",
        "2025-02-28",
        "2026-02-28",
        "2027-02-28",
    ]


def test_weeks_have_a_weekday():
    flow = a_flow(every=Every.WEEK, day=5, first=date(2026, 11, 28))  # a Saturday
    assert dates(flow, date(2026, 12, 12)) == ["2026-12-04", "2026-12-11"]


def test_weekends_move_to_monday_and_holidays_to_the_next_session():
    flow = a_flow(day=25, planned=date(2026, 10, 1), first=date(2026, 10, 1))
    assert dates(flow, LATE)[:3] == ["2026-10-26", "2026-11-25", "2026-12-25"]
    sessions = np.array(["2026-10-26", "2026-11-25", "2026-12-28"], dtype="datetime64[D]")
    assert dates(flow, LATE, sessions)[:4] == [
        "2026-10-26",
        "2026-11-25",
        "2026-12-28",
        "2027-01-25",  # after the known sessions, weekdays count
    ]
    far = np.array(["2026-10-01", "2027-06-01"], dtype="datetime64[D]")
    assert next_session(date(2026, 10, 3), far) == date(2026, 10, 5)


def test_dates_before_the_planning_never_fall_due():
    flow = a_flow(day=1, first=date(2020, 1, 1), planned=date(2026, 11, 2))
    assert dates(flow, date(2026, 12, 31)) == ["2026-12-01"]


FLOWS = st.builds(
    lambda every, day, first, length, planned: a_flow(
        every=every,
        day=min(day, 7) if every is Every.WEEK else day,
        first=first,
        last=None if length is None else first + timedelta(days=length),
        planned=first + timedelta(days=planned),
    ),
    st.sampled_from(Every),
    st.integers(1, 31),
    st.dates(EARLY, LATE),
    st.none() | st.integers(0, 900),
    st.integers(-400, 60),
)
SESSIONS = st.none() | st.sets(st.integers(0, 900), min_size=1).map(
    lambda days: np.datetime64(EARLY, "D") + np.array(sorted(days))
)


@settings(max_examples=60, deadline=None)
@given(FLOWS, SESSIONS, st.lists(st.dates(EARLY, date(2029, 1, 1)), min_size=2, max_size=6))
def test_adjacent_intervals_lose_no_date_and_repeat_none(flow, sessions, cuts):
    cuts = sorted(cuts)
    whole = due_between(flow, cuts[0], cuts[-1], sessions)
    parts = [
        one for after, until in pairwise(cuts) for one in due_between(flow, after, until, sessions)
    ]
    assert tuple(parts) == whole
    assert list(whole) == sorted(whole, key=lambda one: (one.due, one.scheduled))
    assert all(one.scheduled <= one.due and cuts[0] < one.due <= cuts[-1] for one in whole)


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"amount": Decimal(0)}, "amount", "not_positive"),
        ({"amount": Decimal("NaN")}, "amount", "not_positive"),
        ({"day": 32}, "day", "invalid_day"),
        ({"day": 0}, "day", "invalid_day"),
        ({"every": Every.WEEK, "day": 8}, "day", "invalid_day"),
        ({"last": date(2026, 10, 31)}, "last", "last_before_first"),
        ({"currency": "euro"}, "currency", "invalid_currency"),
        ({"note": "x" * 201}, "note", "note_too_long"),
    ],
)
def test_invalid_flows_are_refused(changes, field, code):
    with pytest.raises(InvalidRequest) as raised:
        a_flow(**changes)
    assert (raised.value.field, raised.value.code) == (field, code)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: FlowPlan(horizon=-1), "invalid_horizon"),
        (lambda: FlowPlan(horizon=367), "invalid_horizon"),
        (lambda: FlowPlan((a_flow(), a_flow())), "duplicate_flow"),
        (lambda: FlowPlan(tuple(a_flow(id=uuid4()) for _ in range(51))), "too_many_flows"),
    ],
)
def test_invalid_plans_are_refused(make, code):
    with pytest.raises(InvalidRequest) as raised:
        make()
    assert raised.value.code == code


def test_decided_dates_are_no_longer_open():
    plan = FlowPlan((a_flow(day=1, planned=EARLY, first=date(2026, 10, 1)),))
    decided = FlowDecision(
        uuid4(), UUID(int=1), date(2026, 11, 1), FlowOutcome.SKIPPED, decided=NOW
    )
    found = plan.open_until(date(2026, 12, 1), [decided])
    assert [str(one.scheduled) for one in found] == ["2026-10-01", "2026-12-01"]
    # 2026-10-01 is overdue for more than a month, so that it is not expected.
    assert [str(one.scheduled) for one in plan.expected(NOW.date(), [])] == [
        "2026-11-01",
        "2026-12-01",
    ]
    assert attrs.evolve(plan, horizon=0).expected(NOW.date(), []) == []


def test_matches_have_the_amount_and_a_near_day():
    due = due_between(a_flow(day=30), EARLY, NOW.date())[0]

    def entry(day: int, amount: int = 500, **others) -> Entry:
        on = date(2026, 11, day)
        return attrs.evolve(Entry(uuid4(), EntryKind.DEPOSIT, on, NOW, Decimal(amount)), **others)

    near, nearer = entry(25), entry(28)
    others = [entry(24), entry(30, 501), entry(30, kind=EntryKind.WITHDRAWAL)]
    others += [entry(30, kind=EntryKind.DIVIDEND), entry(30, currency="EUR")]
    found = find_matches(due, [near, *others, nearer], USD)
    assert found == [nearer, near]
    assert find_matches(due, [near, nearer], USD, {nearer.id}) == [near]
    foreign = attrs.evolve(due, flow=a_flow(currency="EUR"))
    assert find_matches(foreign, others, USD) == [others[-1]]


def context(rule: str) -> RebalanceContext:
    return a_context(flat_prices({"A": 10.0}), rule)


def proposal(cash: str, *flows: PlannedFlow, held: str = "0", reserve: str = "0", rate: str = "1"):
    """Return a proposal for A at 10.00, with a target of 100%."""
    plan = FlowPlan(flows)
    due = plan.expected(NOW.date(), [])
    expected = tuple(expected_flow(one, USD, Decimal(rate)) for one in due)
    asked = Portfolio(
        "P",
        USD,
        Decimal(cash),
        {"A": Decimal(held)},
        {"A": 1.0},
        preferences=Preferences(cash_reserve=Decimal(reserve)),
        expected=expected,
    )
    return propose(asked, context("buy_and_hold"))


def withdrawal(amount: object, **others) -> PlannedFlow:
    plain = a_flow(kind=FlowKind.WITHDRAWAL, day=1, planned=date(2026, 11, 3))
    return attrs.evolve(plain, amount=Decimal(str(amount)), **others)


def test_cash_of_a_planned_withdrawal_is_not_invested():
    made = proposal("1500", withdrawal(1000))
    assert made.cash_after >= 1000
    assert "1000.00 USD are kept for the withdrawal of 2026-12-01." in made.notes


def test_holdings_are_sold_for_a_planned_withdrawal():
    made = proposal("100", withdrawal(300), held="90", reserve="50")
    (order,) = made.orders
    # 300 + 50 are needed, 100 are there: 25 units at 10.00, and more for the cost.
    assert order.quantity in (25, 26)
    assert order.reason_code is ReasonCode.RESERVE
    assert order.reason.startswith("Sold to keep 300.00 USD for the withdrawal of 2026-12-01")


def test_cash_covers_several_withdrawals():
    second = withdrawal(50, id=UUID(int=2), currency="EUR")
    made = proposal("0", withdrawal(100), second, held="90", rate="1.2")
    assert made.cash_after >= 160
    assert made.orders[0].reason.startswith(
        "Sold to keep 160.00 USD for 2 withdrawals until 2026-12-01"
    )
    assert "50.00 EUR are kept for the withdrawal of 2026-12-01." in made.notes


def test_planned_deposit_is_not_spent():
    made = proposal("0", a_flow(day=1), held="90")
    assert (made.orders, made.cash_after) == ((), 0)
    assert (
        "The deposit of 500.00 USD of 2026-12-01 is not invested before it is recorded."
        in made.notes
    )


def test_withdrawal_above_the_value_sells_what_there_is():
    made = proposal("0", withdrawal(5000), held="10")
    assert made.orders[0].quantity == 10
    assert any(note.startswith("Cash to be kept stays short by") for note in made.notes)


def test_expected_flows_change_the_input_hash():
    plain = Portfolio("P", USD, Decimal(100), {}, {"A": 1.0})
    terms = context("monthly")
    due = FlowPlan((withdrawal(10),)).expected(NOW.date(), [])
    hashes = {
        terms.input_hash(attrs.evolve(plain, expected=expected))
        for expected in (
            (),
            (expected_flow(due[0], USD, Decimal(1)),),
            (expected_flow(due[0], EUR, Decimal(1)),),
        )
    }
    assert len(hashes) == 3
