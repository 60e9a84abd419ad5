"""Sessions without a close, closes without a session, old closes, and two sources."""

import numpy as np

from rebalancer.domain.market.day_quality import (
    agrees_with_change,
    disagreements,
    extra_days,
    is_stale,
    missing_sessions,
)

EVERY_DAY = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
WEEKDAYS = EVERY_DAY[np.is_busday(EVERY_DAY)]
SESSIONS = WEEKDAYS[np.datetime64("2024-01-15") != WEEKDAYS]  # a holiday
LAST = SESSIONS[-1]


def without(days, *missing):
    return days[~np.isin(days, np.array(missing, dtype="datetime64[D]"))]


def test_session_without_a_close_is_missing_and_a_holiday_is_not():
    days = without(SESSIONS, "2024-02-07", "2024-02-14")
    assert missing_sessions(days, SESSIONS, LAST).astype(str).tolist() == [
        "2024-02-07",
        "2024-02-14",
    ]
    assert not len(missing_sessions(SESSIONS, SESSIONS, LAST))
    listed_late = SESSIONS[20:]
    assert not len(missing_sessions(listed_late, SESSIONS, LAST))


def test_last_close_of_a_coin_is_missing():
    days = EVERY_DAY[:-1]
    assert missing_sessions(days, EVERY_DAY, EVERY_DAY[-1]).astype(str).tolist() == ["2024-02-29"]


def test_thin_trading_has_no_missing_sessions():
    assert not len(missing_sessions(SESSIONS[::3], SESSIONS, LAST))


def test_close_on_a_holiday_is_extra():
    assert extra_days(WEEKDAYS, SESSIONS).astype(str).tolist() == ["2024-01-15"]
    assert not len(extra_days(SESSIONS, SESSIONS))
    assert not len(extra_days(WEEKDAYS, SESSIONS[:0]))
    earlier = np.array(["2023-12-30"], dtype="datetime64[D]")
    assert not len(extra_days(earlier, SESSIONS))


def test_close_is_stale_by_the_sessions_of_its_market():
    friday, next_friday = np.datetime64("2024-02-02"), np.datetime64("2024-02-09")
    assert not is_stale(friday, next_friday, SESSIONS)
    assert is_stale(friday, np.datetime64("2024-02-12"), SESSIONS)
    assert is_stale(friday, np.datetime64("2024-02-09"), EVERY_DAY)
    assert not is_stale(friday, np.datetime64("2024-02-15"))
    assert is_stale(friday, np.datetime64("2024-02-16"))


def test_sources_disagree_on_days_on_which_closes_differ():
    closes = 100.0 + np.arange(len(SESSIONS))
    other = closes * 1.001
    other[7] = closes[7] * 1.02
    assert disagreements(SESSIONS, closes, SESSIONS, other).tolist() == [SESSIONS[7].item()]
    assert not len(disagreements(SESSIONS[:5], closes[:5], SESSIONS[5:], other[5:]))
    assert len(disagreements(SESSIONS, closes, SESSIONS, other, tolerance=0.0005)) == len(SESSIONS)


def test_change_is_true_if_another_source_has_it():
    other = np.full(len(SESSIONS), 50.0)
    other[10:] = 5.0
    assert agrees_with_change(SESSIONS[10], 0.101, SESSIONS, other)
    assert not agrees_with_change(SESSIONS[10], 0.5, SESSIONS, other)
    assert not agrees_with_change(SESSIONS[0], 0.1, SESSIONS, other)
    assert not agrees_with_change(np.datetime64("2024-01-15"), 0.1, SESSIONS, other)
