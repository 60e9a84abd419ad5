"""Every store remembers quotas, states of symbols and scheduled tasks in the same way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest

from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.market.synchronization import ScheduledTask, SyncState, TaskState

NOW = datetime(2024, 3, 8, 22, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def work(make):
    return make()


def claim(work, name="bars", now=NOW):
    with work.begin() as tx:
        return tx.tasks.claim(name, now, abandoned_before=now - HOUR)


def test_a_quota_is_spent_up_to_its_limit_and_no_further(work):
    with work.begin() as tx:
        assert [tx.quotas.take("av", "2024-03-08", limit=3) for _ in range(5)] == [True] * 3 + [
            False
        ] * 2
        assert tx.quotas.take("av", "2024-03-09", limit=3, count=3)
        assert not tx.quotas.take("av", "2024-03-10", limit=3, count=4)
        assert not tx.quotas.take("av", "2024-03-09", limit=5, count=3)
    with work.read() as tx:
        used = [tx.quotas.used("av", f"2024-03-{day:02}") for day in (8, 9, 10)]
        assert used == [3, 3, 0]
        assert tx.quotas.used("other", "2024-03-08") == 0


def test_a_quota_that_is_not_committed_is_not_spent(work):
    with pytest.raises(ZeroDivisionError), work.begin() as tx:
        tx.quotas.take("av", "2024-03-08", limit=3)
        raise ZeroDivisionError
    with work.read() as tx:
        assert tx.quotas.used("av", "2024-03-08") == 0


def test_concurrent_callers_never_spend_more_than_the_limit(work):
    def take(_):
        try:
            with work.begin() as tx:
                return tx.quotas.take("av", "2024-03-08", limit=7)
        except RebalancerError:
            return False

    with ThreadPoolExecutor(4) as pool:
        taken = sum(pool.map(take, range(20)))
    with work.read() as tx:
        assert taken == tx.quotas.used("av", "2024-03-08") <= 7


def test_old_periods_are_deleted(work):
    with work.begin() as tx:
        for day in (7, 8, 9):
            tx.quotas.take("av", f"2024-03-{day:02}", limit=3)
        assert tx.quotas.delete_before("2024-03-09") == 2
    with work.read() as tx:
        assert tx.quotas.used("av", "2024-03-09") == 1


def test_states_of_symbols_are_replaced(work):
    states = [SyncState("VTI", "yahoo", date(2024, 3, 7), NOW), SyncState("ÅB", failed=NOW)]
    with work.begin() as tx:
        for state in (SyncState("VTI"), *states):
            tx.syncs.save(state)
    with work.read() as tx:
        assert list(tx.syncs.get().values()) == states
        assert tx.syncs.get(["VTI", "NONE"]) == {"VTI": states[0]}


def test_a_task_is_added_once(work):
    with work.begin() as tx:
        tx.tasks.add_missing(ScheduledTask("bars", NOW))
        tx.tasks.add_missing(ScheduledTask("bars", NOW + HOUR))
    with work.read() as tx:
        assert tx.tasks.all() == [ScheduledTask("bars", NOW)]


def test_a_due_task_is_claimed_by_one_worker(work):
    with work.begin() as tx:
        tx.tasks.add_missing(ScheduledTask("bars", NOW))
    assert claim(work, now=NOW - HOUR) is None
    assert claim(work, "other") is None

    def try_to_claim(_):
        try:
            return claim(work)
        except RebalancerError:
            return None

    with ThreadPoolExecutor(4) as pool:
        claimed = [task for task in pool.map(try_to_claim, range(8)) if task is not None]
    assert [(task.state, task.started) for task in claimed] == [(TaskState.RUNNING, NOW)]


def test_a_run_whose_worker_died_is_claimed_again(work):
    with work.begin() as tx:
        tx.tasks.add_missing(ScheduledTask("bars", NOW))
    first = claim(work)
    assert claim(work, now=NOW + HOUR) is None
    later = NOW + HOUR * 2
    second = claim(work, now=later)
    assert (second.state, second.started) == (TaskState.RUNNING, later)
    done = first.finish(later, due=later + HOUR, detail="late", failed=False)
    with work.begin() as tx:  # the first worker was only slow
        assert not tx.tasks.save(done, expected=first.started)
    with work.begin() as tx:
        done = second.finish(later, due=later + HOUR, detail="3 assets", failed=False)
        assert tx.tasks.save(done, expected=second.started)
    with work.read() as tx:
        assert tx.tasks.all() == [done]
    assert claim(work, now=later) is None
