"""Revoked logins survive a restart of the process."""

from __future__ import annotations

import asyncio

import pytest

from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.revocations import StoredRevocations
from rebalancer.domain.errors import Unavailable
from tests.contracts.stores import a_token, stored_user


class Seconds:
    """A monotonic clock that a test advances."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def work():
    return MemoryWork()


@pytest.fixture
def token(work):
    token = a_token(stored_user(work).id)
    with work.begin() as tx:
        tx.tokens.add(token)
    return token


def ended(revocations, family):
    return asyncio.run(revocations.is_revoked(family))


def started(work, clock=None):
    """Return the revocations of a process that has just started."""
    return StoredRevocations(work, MemoryRevocations(), clock=clock or Seconds())


def test_login_is_valid_until_it_is_revoked(work, token):
    revocations = started(work)
    assert not ended(revocations, token.family)
    revocations.revoke(token.family)
    assert ended(revocations, token.family)
    assert [family for family, _ in revocations.active()] == [token.family]


def test_revoked_login_stays_revoked_after_a_restart(work, token):
    assert not ended(started(work), token.family)
    with work.begin() as tx:
        tx.tokens.revoke(token.family)
    assert ended(started(work), token.family)


def test_login_that_another_process_revoked_ends_within_seconds(work, token):
    clock = Seconds()
    revocations = started(work, clock)
    assert not ended(revocations, token.family)
    with work.begin() as tx:
        tx.tokens.revoke(token.family)
    clock.now = 4.9
    assert not ended(revocations, token.family)  # known for a few seconds, without a query
    clock.now = 5.1
    assert ended(revocations, token.family)


def test_outage_of_the_store_ends_no_login(work, token):
    class Away:
        def read(self):
            raise Unavailable("the database does not answer")

    assert not ended(started(Away()), token.family)


def test_number_of_remembered_logins_is_limited(work, token):
    revocations = StoredRevocations(work, MemoryRevocations(), capacity=1)
    other = a_token(token.owner)
    with work.begin() as tx:
        tx.tokens.add(other)
    for family in (token.family, other.family, token.family):
        assert not ended(revocations, family)
