"""Leases on every store: one holder at a time, renewed, taken over and given back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from rebalancer.domain.errors import RebalancerError
from tests.contracts.stores import a_managed, stored_user

NOW = datetime(2026, 11, 30, 15, 0, tzinfo=UTC)
LIFETIME = timedelta(seconds=15)


@pytest.fixture
def work(make):
    return make()


def take(work, holder, seconds=0, name="quotes"):
    now = NOW + timedelta(seconds=seconds)
    with work.begin() as tx:
        return tx.leases.take(name, holder, now=now, until=now + LIFETIME)


def holder(work, seconds=0):
    with work.read() as tx:
        return tx.leases.holder("quotes", NOW + timedelta(seconds=seconds))


def test_lease_has_one_holder_who_extends_it(work):
    assert holder(work) is None
    assert take(work, "a")
    assert not take(work, "b", 14)
    assert take(work, "a", 14)
    assert not take(work, "b", 28)
    assert holder(work, 28) == "a"
    assert take(work, "b", 28, name="other")


def test_lease_of_a_dead_holder_is_taken_over(work):
    assert take(work, "a")
    assert take(work, "b", 15)
    assert not take(work, "a", 16)
    assert holder(work, 16) == "b"


def test_lease_that_is_given_back_is_free(work):
    take(work, "a")
    with work.begin() as tx:
        tx.leases.give_back("quotes", "b")
    assert holder(work) == "a"
    with work.begin() as tx:
        tx.leases.give_back("quotes", "a")
    assert holder(work) is None
    assert take(work, "b", 1)


def test_one_of_several_processes_gets_a_free_lease(work):
    def race(name):
        try:
            return take(work, name)
        except RebalancerError:
            return False

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(race, ["a", "b", "c", "d"]))
    assert sum(taken) == 1


def test_assets_of_open_portfolios_are_listed(work):
    owner = stored_user(work).id
    managed = a_managed(owner)
    with work.begin() as tx:
        assert tx.portfolios.symbols() == frozenset()
        tx.portfolios.add(managed, [])
    expected = {*managed.mandate.targets, *managed.positions.holdings}
    with work.read() as tx:
        assert tx.portfolios.symbols() == expected
    with work.begin() as tx:
        tx.portfolios.close(managed.id, owner=owner, version=managed.version, now=NOW)
    with work.read() as tx:
        assert tx.portfolios.symbols() == frozenset()
