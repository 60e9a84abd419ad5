"""Single-flight cache: how often its source is read, and which threads wait for it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rebalancer.application.revision_cache import RevisionCache
from rebalancer.domain.errors import InvalidRequest, Unavailable

WAIT = 20.0
"""Seconds after which a thread that must not wait counts as stuck."""


class FakeSource:
    """Source with a revision, which counts its calls and can be down or blocked."""

    def __init__(self):
        self.now = 0.0
        self.is_up, self.revision = True, 1
        self.unblocked = threading.Event()
        self.unblocked.set()
        self.checks = self.reads = 0

    def read_revision(self):
        self.checks += 1
        assert self.unblocked.wait(WAIT)
        if not self.is_up:
            raise Unavailable("away", code="away") from OSError("at 192.0.2.1")
        return str(self.revision)

    def read(self, revision):
        self.reads += 1
        return f"of {revision}"

    def cached(self):
        return RevisionCache(
            "things", self.read, self.read_revision, check_interval=1.0, clock=lambda: self.now
        )


@pytest.fixture
def source():
    return FakeSource()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(32) as made:
        yield made


def until_check(source, count):
    """Wait until a thread has begun a check."""
    for _ in range(int(WAIT / 0.001)):
        if source.checks >= count:
            return
        threading.Event().wait(0.001)
    raise AssertionError(f"{source.checks} checks")


def test_value_is_read_once_and_checked_once_per_interval(source):
    cache = source.cached()
    assert [cache.get() for _ in range(5)] == ["of 1"] * 5
    assert (source.checks, source.reads) == (1, 1)
    source.now = 1.0
    cache.get()
    assert (source.checks, source.reads) == (2, 1)


def test_changed_value_is_read_after_the_interval_or_an_invalidation(source):
    cache = source.cached()
    cache.get()
    source.revision = 2
    assert cache.get() == "of 1"
    source.now = 1.0
    assert cache.get() == "of 2"
    source.revision = 3
    cache.invalidate()
    assert cache.get() == "of 3"


def test_change_during_a_read_is_not_missed(source):
    def read(revision):
        source.revision += 1  # another process writes meanwhile
        return f"as of {source.revision}"

    cache = RevisionCache(
        "things", read, source.read_revision, check_interval=0.0, clock=lambda: source.now
    )
    assert [cache.get(), cache.get()] == ["as of 2", "as of 3"]


def test_last_value_is_served_while_the_source_is_down(source, caplog):
    cache = source.cached()
    cache.get()
    cache.check()
    source.is_up = False
    for second in (2.0, 3.0, 4.0):
        source.now = second
        assert [cache.get() for _ in range(3)] == ["of 1"] * 3
        with pytest.raises(Unavailable, match="away"):
            cache.check()
    assert source.checks == 4
    source.is_up, source.revision, source.now = True, 2, 5.0
    assert cache.get() == "of 2"
    cache.check()
    assert [record.getMessage() for record in caplog.records] == [
        "things cannot be read; serving the last ones: away",
        "things can be read again",
    ]


def test_source_that_never_answered_is_asked_once_per_interval(source):
    source.is_up = False
    cache = source.cached()
    for _ in range(3):
        with pytest.raises(Unavailable) as failed:
            cache.get()
        assert failed.value.code == "away"
        assert str(failed.value.__cause__) == "at 192.0.2.1"  # for the log alone
    assert source.checks == 1
    source.is_up, source.now = True, 1.0
    assert cache.get() == "of 1"


def test_invalidation_after_an_outage_reads_again_at_once(source):
    cache = source.cached()
    cache.get()
    source.is_up, source.now = False, 2.0
    cache.get()
    source.is_up, source.revision = True, 2
    cache.invalidate()
    assert cache.get() == "of 2"


def test_invalid_value_is_read_once_per_interval(source):
    def read(revision):
        source.reads += 1
        raise InvalidRequest("the days do not increase", field="A.days", code="invalid")

    cache = RevisionCache("things", read, source.read_revision, clock=lambda: source.now)
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=r"A\.days: the days") as failed:
            cache.get()
        assert (failed.value.field, failed.value.code) == ("A.days", "invalid")
    assert source.reads == 1


def test_bug_in_a_read_releases_the_waiting_threads(source, pool):
    begun, go = threading.Event(), threading.Event()

    def read(revision):
        begun.set()
        go.wait(WAIT)
        raise ZeroDivisionError

    cache = RevisionCache("things", read, source.read_revision, clock=lambda: source.now)
    waiting = [pool.submit(cache.get) for _ in range(4)]
    begun.wait(WAIT)
    go.set()
    assert all(isinstance(one.exception(WAIT), ZeroDivisionError) for one in waiting)


def test_many_threads_share_the_first_read(source, pool):
    source.unblocked.clear()
    cache = source.cached()
    waiting = [pool.submit(cache.get) for _ in range(8)]
    until_check(source, 1)
    source.unblocked.set()
    assert {one.result(WAIT) for one in waiting} == {"of 1"}
    assert (source.checks, source.reads) == (1, 1)


def test_many_threads_share_the_first_error(source, pool):
    source.is_up = False
    source.unblocked.clear()
    cache = source.cached()
    waiting = [pool.submit(cache.get) for _ in range(30)]
    until_check(source, 1)
    source.unblocked.set()
    assert {str(one.exception(WAIT)) for one in waiting} == {"away"}
    assert source.checks == 1


def test_last_error_is_raised_at_once_while_one_thread_asks_again(source, pool):
    source.is_up = False
    cache = source.cached()
    with pytest.raises(Unavailable):
        cache.get()
    source.now = 2.0
    source.unblocked.clear()
    asking = pool.submit(cache.get)
    until_check(source, 2)
    others = [pool.submit(cache.get) for _ in range(29)]
    assert {str(one.exception(WAIT)) for one in others} == {"away"}
    assert not asking.done()
    source.unblocked.set()
    assert str(asking.exception(WAIT)) == "away"
    assert source.checks == 2


@pytest.mark.parametrize("is_up", [True, False])
def test_last_value_is_served_at_once_while_one_thread_asks_again(source, pool, is_up):
    cache = source.cached()
    cache.get()
    source.is_up, source.revision, source.now = is_up, 2, 2.0
    source.unblocked.clear()
    asking = pool.submit(cache.get)
    until_check(source, 2)
    others = [pool.submit(cache.get) for _ in range(29)]
    assert {one.result(WAIT) for one in others} == {"of 1"}
    assert not asking.done()
    source.unblocked.set()
    assert asking.result(WAIT) == ("of 2" if is_up else "of 1")
    assert source.checks == 2


@pytest.mark.parametrize("was_down", [False, True])
def test_invalidation_waits_for_a_new_check_during_a_running_one(source, pool, was_down):
    cache = source.cached()
    cache.get()
    if was_down:
        source.is_up, source.now = False, 2.0
        cache.get()
        source.is_up = True
    source.now = 4.0
    source.unblocked.clear()
    running = source.checks + 1
    other = pool.submit(cache.get)
    until_check(source, running)
    source.revision = 2  # the running check may or may not see it
    cache.invalidate()
    own = pool.submit(cache.get)
    source.unblocked.set()
    assert own.result(WAIT) == "of 2"
    assert other.result(WAIT) in ("of 1", "of 2")
