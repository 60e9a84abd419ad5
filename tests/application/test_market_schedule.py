"""Scheduled tasks run once when they are due, whatever the number of workers."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta

import attrs
import pytest

from rebalancer.adapters.memory.reference import MemoryReference
from rebalancer.application.market_schedule import (
    ABANDONED,
    CLEAN_UP,
    ECONOMICS,
    FUNDAMENTALS,
    RETRY,
    RunSchedule,
)
from rebalancer.application.ports.providers import Offer, Unreachable
from rebalancer.application.ports.reference import StoredFacts, StoredSeries
from rebalancer.application.reference_data import ReadFacts, ReadSeries, RefreshReference
from rebalancer.domain.market.economics import EconomicSeries, Observation
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.synchronization import TaskState
from tests.application.test_synchronize import Clock, Source, syncing

FACTS = Facts("AAA", {"beta": 1.0}, {})
RATE = EconomicSeries("RATE", "Rate", "Percent", (Observation(date(2024, 1, 1), 5.0),))
FRIDAY = datetime(2024, 3, 8, 22, tzinfo=UTC)
MONDAY = datetime(2024, 3, 11, 22, tzinfo=UTC)


@pytest.fixture
def clock():
    return Clock()


class Library(Source):
    """Provider that has fundamentals and an economic series, too."""

    def facts(self, symbol):
        return FACTS

    def series(self, id, *, since):
        return RATE


@pytest.fixture
def source():
    return Library(offers=(Offer.BARS, Offer.FACTS, Offer.SERIES))


@pytest.fixture
def reference():
    return MemoryReference()


@pytest.fixture
def schedule(clock, source, reference):
    sync = syncing(clock, source)
    reading = [one(reference, sync.chain, clock) for one in (ReadFacts, ReadSeries)]
    return RunSchedule(sync, sync.work, clock, RefreshReference(*reading))


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


def test_fundamentals_and_series_are_fetched_again_when_old(schedule, clock, reference):
    clock.now = FRIDAY
    facts, rate = StoredFacts(FACTS, "a", FRIDAY), StoredSeries(RATE, "source", FRIDAY)
    reference.save_facts(facts)
    reference.save_series(rate)
    assert schedule() == []
    clock.now = FRIDAY + timedelta(days=1, hours=1)
    assert {task.name for task in schedule()} == {CLEAN_UP, ECONOMICS, FUNDAMENTALS}
    assert reference.facts("AAA") == facts  # not a week old
    assert reference.series("RATE").fetched == clock.now
    clock.now = FRIDAY + timedelta(days=8)
    schedule()
    assert reference.facts("AAA").fetched == clock.now


def test_bars_that_are_published_late_are_asked_for_again(schedule, source, clock):
    schedule.synchronize(["AAA", "BBB"])
    schedule()
    source.last = {"BBB": date(2024, 3, 8)}
    clock.now = datetime(2024, 3, 11, 21, 30, tzinfo=UTC)
    done = {task.name: task for task in schedule()}["bars:XNYS"]
    assert (done.state, done.due) == (TaskState.DONE, clock.now + RETRY)
    assert done.detail == "2 assets, 1 days new or changed, 1 not published yet"
    source.asked, source.last = [], {}
    clock.now = done.due
    (done,) = schedule()
    assert [symbol for symbol, _ in source.asked] == ["BBB"]
    assert done.due == datetime(2024, 3, 12, 21, 30, tzinfo=UTC)


def test_a_run_without_answers_ends_with_the_process(schedule, source, clock):
    schedule.synchronize(["AAA", "BBB"])
    schedule()
    clock.now = MONDAY
    source.stuck = threading.Event()
    begins = time.monotonic()
    ran = {task.name: task for task in schedule(should_stop=lambda: source.asked[2:] != [])}
    assert time.monotonic() - begins < 250  # the answer takes 300 s
    assert (ran["bars:XNYS"].state, ran["bars:XNYS"].due) == (TaskState.WAITING, MONDAY)
    source.close()  # lets the answer come
    source.stuck = None
    assert [task.state for task in schedule() if task.name == "bars:XNYS"] == [TaskState.DONE]


def test_a_run_without_answers_gives_signs_of_life(schedule, source, clock):
    schedule.synchronize(["AAA"])
    schedule()
    clock.now = MONDAY
    source.stuck = threading.Event()

    def pass_time():
        alive = tasks(schedule)["bars:XNYS"].alive
        clock.now += timedelta(minutes=5)
        return alive is not None and alive > MONDAY

    ran = {task.name: task for task in schedule(should_stop=pass_time)}
    assert ran["bars:XNYS"].state is TaskState.WAITING


def test_bars_that_never_come_are_left_for_the_next_close(schedule, source, clock):
    schedule.synchronize(["AAA"])
    schedule()
    source.asked, source.last = [], {"AAA": date(2024, 3, 8)}
    clock.now = datetime(2024, 3, 11, 21, 30, tzinfo=UTC)
    while clock.now < datetime(2024, 3, 12, 21, 30, tzinfo=UTC):
        schedule()
        clock.now += timedelta(minutes=10)
    assert len(source.asked) == 5
