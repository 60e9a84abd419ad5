"""A guarded provider keeps pace and quota, repeats what may succeed, and fails fast when down."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from rebalancer.adapters.market_data.providers.guard import GuardedProvider, Pace
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.ports.providers import (
    Garbled,
    Offer,
    QuotaSpent,
    Refused,
    Throttled,
    UnknownSymbol,
    Unreachable,
)

NOW = datetime(2024, 3, 8, 22, tzinfo=UTC)
FAST = Pace(rates=((1000, 1.0),))


class Scripted:
    """Provider whose calls raise or return one answer after the other; the last one repeats."""

    name, title, terms = "scripted", "Scripted", "none"
    offers = frozenset({Offer.FACTS})

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), 0

    def close(self):
        pass

    def facts(self, symbol):
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def guarded(provider, pace=FAST, work=None, clock=lambda: NOW, **options):
    return GuardedProvider(provider, pace, work or MemoryWork(), clock, first_wait=0.001, **options)


@pytest.mark.parametrize("fault", [Unreachable("away"), Garbled("noise"), Throttled("busy")])
def test_what_may_succeed_is_repeated(fault):
    provider = Scripted(fault, fault, "facts")
    assert guarded(provider).facts("A") == "facts"
    assert provider.calls == 3


@pytest.mark.parametrize("fault", [Refused("no key"), UnknownSymbol("none"), QuotaSpent("all")])
def test_what_cannot_succeed_is_not_repeated(fault):
    provider = Scripted(fault)
    with pytest.raises(type(fault)):
        guarded(provider).facts("A")
    assert provider.calls == 1


def test_repetitions_end_with_the_last_fault():
    provider = Scripted(Garbled("noise"))
    with pytest.raises(Garbled):
        guarded(provider).facts("A")
    assert provider.calls == FAST.attempts


def test_a_stated_wait_is_respected():
    provider = Scripted(Throttled("busy", until=NOW + timedelta(seconds=0.2)), "facts")
    begins = time.monotonic()
    assert guarded(provider).facts("A") == "facts"
    assert time.monotonic() - begins >= 0.2


def test_no_request_is_made_before_a_long_wait_is_over():
    now = [NOW]
    provider = Scripted(Throttled("busy", until=NOW + timedelta(hours=1)), "facts")
    guard = guarded(provider, clock=lambda: now[0])
    for _ in range(2):
        with pytest.raises(Throttled) as raised:
            guard.facts("A")
        assert raised.value.until == NOW + timedelta(hours=1)
    assert provider.calls == 1
    now[0] = NOW + timedelta(hours=1, seconds=1)
    assert guard.facts("A") == "facts"


def test_a_provider_that_is_down_is_left_alone_for_a_while(caplog):
    provider = Scripted(Unreachable("away"))
    guard = guarded(provider)
    for _ in range(9):
        with pytest.raises(Unreachable):
            guard.facts("A")
    assert provider.calls == 3 * FAST.attempts
    assert [record.getMessage() for record in caplog.records] == ["Scripted is down: away"]


def test_one_asset_that_is_never_answered_stops_no_other():
    class Choosy(Scripted):
        def facts(self, symbol):
            self.calls += 1
            if symbol == "BAD":
                raise Unreachable("status 500")
            return "facts"

    guard = guarded(Choosy())
    for _ in range(5):
        with pytest.raises(Unreachable, match="500"):
            guard.facts("BAD")
        assert guard.facts("A") == "facts"


def test_an_unknown_symbol_does_not_open_the_breaker():
    provider = Scripted(UnknownSymbol("none"), "facts")
    guard = guarded(provider)
    with pytest.raises(UnknownSymbol):
        guard.facts("NOSUCH")
    assert guard.facts("A") == "facts"


def test_a_daily_quota_survives_a_restart_and_resets_the_next_day():
    work, now = MemoryWork(), [NOW]
    pace = Pace(rates=((1000, 1.0),), a_day=3)

    def restarted():
        return guarded(Scripted("facts"), pace, work, lambda: now[0])

    for _ in range(3):
        assert restarted().facts("A") == "facts"
    assert restarted().quota_left() == 0
    with pytest.raises(QuotaSpent) as raised:
        restarted().facts("A")
    assert raised.value.until == datetime(2024, 3, 9, tzinfo=UTC)
    now[0] = datetime(2024, 3, 9, 0, 0, 1, tzinfo=UTC)
    assert restarted().facts("A") == "facts"
    assert restarted().quota_left() == 2


def test_repetitions_count_towards_the_quota():
    work, pace = MemoryWork(), Pace(rates=((1000, 1.0),), a_day=2)
    with pytest.raises(QuotaSpent):
        guarded(Scripted(Garbled("noise")), pace, work).facts("A")
    assert guarded(Scripted("facts"), pace, work).quota_left() == 0


def test_requests_keep_their_distance():
    guard = guarded(Scripted("facts"), Pace(rates=((2, 0.3),)))
    begins = time.monotonic()
    for _ in range(5):
        guard.facts("A")
    assert time.monotonic() - begins >= 0.55


def test_a_long_wait_for_a_turn_is_a_fault_without_a_request():
    work = MemoryWork()
    pace = Pace(rates=((2, 3600.0),), a_day=10, longest_wait=1.0)
    provider = Scripted("facts")
    guard = guarded(provider, pace, work)
    for _ in range(2):
        guard.facts("A")
    begins = time.monotonic()
    for _ in range(3):
        with pytest.raises(Throttled) as raised:
            guard.facts("A")
    assert time.monotonic() - begins < 600  # of an hour
    assert NOW + timedelta(minutes=59) < raised.value.until <= NOW + timedelta(hours=1, minutes=1)
    assert (provider.calls, guard.quota_left()) == (2, 8)


@pytest.mark.parametrize("until", [NOW + timedelta(hours=2), None])
def test_no_request_is_made_after_a_plan_is_spent(until):
    now = [NOW]
    provider = Scripted(QuotaSpent("all", until=until), "facts")
    guard = guarded(provider, clock=lambda: now[0])
    for _ in range(4):
        with pytest.raises(QuotaSpent):
            guard.facts("A")
    assert provider.calls == 1
    now[0] += timedelta(hours=2, seconds=1)
    assert guard.facts("A") == "facts"


def test_requests_at_the_same_time_are_limited():
    class Busy(Scripted):
        running = most = 0

        def facts(self, symbol):
            self.running += 1
            self.most = max(self.most, self.running)
            time.sleep(0.01)
            self.running -= 1
            return "facts"

    provider = Busy()
    guard = guarded(provider, attrs.evolve(FAST, at_once=1))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(guard.facts, "ABCDEFGH")) == ["facts"] * 8
    assert provider.most == 1


def test_closing_ends_the_pauses_of_callers():
    provider = Scripted("facts")
    guard = guarded(provider, Pace(rates=((1, 50.0),)))
    guard.facts("A")
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(guard.facts, "A") for _ in range(3)]
        time.sleep(0.2)
        guard.close()
        for one in waiting:
            with pytest.raises(Throttled):
                one.result(timeout=120)
    assert provider.calls == 1


def test_two_processes_never_spend_more_than_the_quota(tmp_path, sqlite_template):
    path = tmp_path / "shared.db"
    shutil.copy(sqlite_template, path)
    program = """
import sys
from concurrent.futures import ThreadPoolExecutor
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.ports.providers import QuotaSpent
from tests.adapters.test_guard import NOW, Pace, Scripted, guarded

work = SqlWork(connect(sys.argv[1]))
provider = Scripted("facts")
guard = guarded(provider, Pace(rates=((1000, 1.0),), a_day=25), work)

def ask(_):
    try:
        guard.facts("A")
    except QuotaSpent:
        pass

with ThreadPoolExecutor(4) as pool:
    list(pool.map(ask, range(20)))
print(provider.calls)
"""
    command = [sys.executable, "-c", program, f"sqlite:///{path}"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [(*one.communicate(timeout=60), one.returncode) for one in running]
    assert [(error, code) for _, error, code in ended] == [("", 0)] * 2
    assert sum(int(calls) for calls, *_ in ended) == 25


def test_an_error_of_an_adapter_is_a_fault_without_its_text():
    with pytest.raises(Garbled) as raised:
        guarded(Scripted(KeyError("a-secret"))).facts("A")
    assert "KeyError" in str(raised.value)
    assert "a-secret" not in str(raised.value)
