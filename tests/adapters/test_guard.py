"""A guarded provider keeps pace and quota, repeats what may succeed, and fails fast when down."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

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


def test_a_provider_that_is_down_is_left_alone_for_a_while():
    provider = Scripted(Unreachable("away"))
    guard = guarded(provider)
    for _ in range(3):
        with pytest.raises(Unreachable):
            guard.facts("A")
    assert provider.calls == FAST.attempts


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
