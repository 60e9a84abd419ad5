"""When automatic proposals are due, and what paper accepts of them."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from rebalancer.domain.alerts.automation import (
    AutoAccept,
    AutoAcceptRefused,
    DaySpending,
    Frequency,
    scheduled_session,
)
from rebalancer.domain.errors import InvalidRequest

# January 1 (Thursday) is a holiday, and so is Monday, January 19.
DAYS = np.arange(np.datetime64("2025-12-01"), np.datetime64("2026-05-01"))
SESSIONS = DAYS[np.is_busday(DAYS, holidays=["2025-12-25", "2026-01-01", "2026-01-19"])]
LIMITS = AutoAccept(max_turnover=0.10, max_cost=Decimal(20), max_order=Decimal(1000))


@pytest.mark.parametrize(
    ("frequency", "day", "expected"),
    [
        (Frequency.SESSION, date(2026, 1, 6), date(2026, 1, 6)),
        (Frequency.SESSION, date(2026, 1, 10), None),  # a Saturday
        (Frequency.WEEKLY, date(2026, 1, 23), date(2026, 1, 20)),
        (Frequency.MONTHLY, date(2026, 1, 1), None),
        (Frequency.MONTHLY, date(2026, 1, 30), date(2026, 1, 2)),
        (Frequency.MONTHLY, date(2026, 3, 31), date(2026, 3, 2)),
        (Frequency.QUARTERLY, date(2026, 3, 31), date(2026, 1, 2)),
        (Frequency.QUARTERLY, date(2026, 4, 30), date(2026, 4, 1)),
    ],
)
def test_proposal_is_due_after_the_first_session_of_its_period(
    frequency: Frequency, day: date, expected: date | None
) -> None:
    assert scheduled_session(frequency, day, SESSIONS) == expected


def test_weekdays_stand_for_unknown_sessions() -> None:
    assert scheduled_session(Frequency.MONTHLY, date(2026, 1, 5), None) == date(2026, 1, 1)


def test_limits_of_a_day_count_all_its_proposals() -> None:
    one = DaySpending(0.04, Decimal(8), {"SPY": Decimal(600), "BND": Decimal(300)})
    DaySpending.total([one]).check(LIMITS)
    edge = DaySpending(0.06, Decimal(12), {"SPY": Decimal(400)})
    DaySpending.total([one, edge]).check(LIMITS)

    for further, code in (
        (DaySpending(0.061), "auto_accept_turnover"),
        (DaySpending(cost=Decimal("12.01")), "auto_accept_cost"),
        (DaySpending(orders={"SPY": Decimal("400.01")}), "auto_accept_order"),
    ):
        with pytest.raises(AutoAcceptRefused) as caught:
            DaySpending.total([one, further]).check(LIMITS)
        assert caught.value.code == code


def test_message_of_a_refusal_states_the_limit() -> None:
    with pytest.raises(
        AutoAcceptRefused, match=r"turnover of the day would be 20\.00%; at most 10"
    ):
        DaySpending(0.2).check(LIMITS)


def test_higher_limits_exceed_and_lower_ones_do_not() -> None:
    assert LIMITS.exceeds(None)
    assert not LIMITS.exceeds(LIMITS)
    assert AutoAccept(0.05, Decimal(21), Decimal(500)).exceeds(LIMITS)


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ((0.0, Decimal(1), Decimal(1)), "auto_accept.max_turnover"),
        ((0.1, Decimal(0), Decimal(1)), "auto_accept.max_cost"),
        ((0.1, Decimal(1), Decimal("NaN")), "auto_accept.max_order"),
    ],
)
def test_limit_out_of_range_names_its_field(
    limits: tuple[float, Decimal, Decimal], field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        AutoAccept(*limits)
    assert caught.value.field == field
