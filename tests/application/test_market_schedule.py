"""Scheduled tasks run once when they are due, whatever the number of workers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import attrs
import pytest

from rebalancer.application.market_schedule import ABANDONED, CLEAN_UP, RETRY, RunSchedule
from rebalancer.application.ports.providers import Unreachable
from rebalancer.domain.market.synchronization import TaskState
from tests.application.test_synchronize import Clock, Source, syncing

FRIDAY = datetime(2024, 3, 8, 22, tzinfo=UTC)
MONDAY = datetime(2024, 3, 11, 22, tzinfo=UTC)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def schedule(clock, source):
    sync = syncing(clock, source)
    return RunSchedule(sync, sync.work, clock)


def tasks(schedule):
    with schedule.work.read() as tx:
        return {task.name: task for task in tx.tasks.all()}


def test_nothing_is_fetched_unasked(schedule, source, clock):
    clock.now = MONDAY
    assert schedule() == []
    assert tasks(schedule) == {}
    assert source.asked == []


def test_bars_are_fetched_after_the_close_of_their_market(schedule, source, clock):
    schedule.synchronize(["AAA", "BBB"])
    source.asked.clear()
    assert schedule() == []
    due = tasks(schedule)["bars:XNYS"].due
    assert due == datetime(2024, 3, 11, 21, 30, tzinfo=UTC)
    clock.now = due - timedelta(seconds=1)
    assert [task.name for task in schedule()] == [CLEAN_UP]
    clock.now = due
    (done,) = schedule()
    assert (done.name, done.state) == ("bars:XNYS", TaskState.DONE)
    assert done.due == datetime(2024, 3, 12, 21, 30, tzinfo=UTC)
    assert sorted(symbol for symbol, _ in source.asked) == ["AAA", "BBB"]
    assert schedule.synchronize.market.closes().last_date == date(2024, 3, 11)
    assert schedule() == []


def test_missed_runs_are_caught_up_with_one(schedule, source, clock):
    schedule.synchronize(["AAA"])
    schedule()
    clock.now = datetime(2024, 3, 20, 12, tzinfo=UTC)  # the worker was down for days
    source.asked.clear()
    ran = [task.name for task in schedule()]
    assert sorted(ran) == ["bars:XNYS", CLEAN_UP]
    assert len(source.asked) == 1
    assert schedule() == []


def test_two_workers_run_a_task_once(schedule, source, clock):
    schedule.synchronize(["AAA"])
    schedule()
    clock.now = MONDAY
    source.asked.clear()
    other = attrs.evolve(schedule)
    ran = [task.name for worker in (schedule, other) for task in worker()]
    assert ran.count("bars:XNYS") == 1
    assert len(source.asked) == 1


def test_a_run_with_failures_is_repeated_soon(schedule, source, clock):
    schedule.synchronize(["AAA", "BBB"])
    schedule()
    clock.now = MONDAY
    source.faults = {"BBB": Unreachable("A source did not answer")}
    failed = {task.name: task for task in schedule()}["bars:XNYS"]
    assert (failed.state, failed.due) == (TaskState.FAILED, MONDAY + RETRY)
    assert "1 failed: A source did not answer" in failed.detail
    source.faults, source.asked = {}, []
    clock.now = MONDAY + RETRY
    (done,) = schedule()
    assert done.state is TaskState.DONE
    assert [symbol for symbol, _ in source.asked] == ["BBB"]


def test_a_run_of_a_dead_worker_is_taken_over(schedule, source, clock):
    schedule.synchronize(["AAA"])
    schedule()
    clock.now = MONDAY
    with schedule.work.begin() as tx:  # claimed by a worker that is killed at once
        assert tx.tasks.claim("bars:XNYS", MONDAY, abandoned_before=MONDAY - ABANDONED)
    assert "bars:XNYS" not in [task.name for task in schedule()]
    clock.now = MONDAY + ABANDONED + timedelta(seconds=1)
    assert [task.name for task in schedule()] == ["bars:XNYS"]


def test_half_days_and_holidays_follow_the_calendar(schedule):
    due = schedule.next_due("bars:XNYS", FRIDAY)
    assert due == datetime(2024, 3, 11, 21, 30, tzinfo=UTC)
    assert schedule.next_due("rates", FRIDAY) == datetime(2024, 3, 9, 15, 30, tzinfo=UTC)
    assert schedule.next_due("bars:other", FRIDAY) == datetime(2024, 3, 8, 23, tzinfo=UTC)
