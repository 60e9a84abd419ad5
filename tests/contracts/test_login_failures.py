"""Contract of `LoginFailures` and `KnownDevices`."""

from datetime import timedelta
from uuid import uuid4

import attrs
import pytest

from rebalancer.domain.accounts.guessing import Failures, KnownDevice
from tests.contracts.stores import HOUR, NOW, race, stored_user


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


def a_device(owner, **others):
    return attrs.evolve(KnownDevice(uuid4().hex * 2, owner, NOW, NOW), **others)


def test_failures_are_added_and_replaced(work, ada):
    with work.begin() as tx:
        assert tx.failures.find("k") is None
        first = tx.failures.get("k", ada.id, NOW)
        assert first == Failures("k", 0, NOW, ada.id)
        assert tx.failures.get("k", None, NOW + HOUR) == first
        tx.failures.save(attrs.evolve(first, count=2.5, last=NOW + HOUR))
    with work.read() as tx:
        assert tx.failures.find("k") == Failures("k", 2.5, NOW + HOUR, ada.id)


def test_failures_of_an_account_are_cleared(work, ada):
    other = stored_user(work)
    kept = [Failures("hers", 1, NOW, other.id), Failures("network", 3, NOW)]
    with work.begin() as tx:
        for failures in (Failures("mine", 1, NOW, ada.id), *kept):
            tx.failures.save(failures)
        tx.failures.clear(ada.id)
        assert [tx.failures.find(key) for key in ("mine", "hers", "network")] == [None, *kept]


def test_old_failures_without_an_account_are_deleted(work, ada):
    with work.begin() as tx:
        for key, owner, last in (("a", None, NOW), ("b", None, NOW + HOUR), ("c", ada.id, NOW)):
            tx.failures.save(Failures(key, 1, last, owner))
        tx.failures.delete_before(NOW + HOUR)
        left = [key for key in "abc" if tx.failures.find(key)]
    assert left == ["b", "c"]


def test_failures_at_the_same_time_all_count(work):
    def fail(_):
        with work.begin() as tx:
            failures = tx.failures.get("k", None, NOW)
            tx.failures.save(attrs.evolve(failures, count=failures.count + 1))

    assert race(fail) == [None] * 8
    with work.read() as tx:
        assert tx.failures.find("k").count == 8


def test_devices_are_stored_listed_and_forgotten(work, ada):
    old, new = a_device(ada.id), a_device(ada.id, used=NOW + HOUR)
    hers = a_device(stored_user(work).id)
    with work.begin() as tx:
        for device in (old, new, hers):
            tx.devices.save(device)
        tx.devices.save(attrs.evolve(old, failures=3))
    with work.begin() as tx:
        assert tx.devices.find(old.digest).failures == 3
        assert tx.devices.find("unknown") is None
        assert [one.digest for one in tx.devices.of_owner(ada.id)] == [new.digest, old.digest]
        tx.devices.delete(old.digest)
        tx.devices.delete("unknown")
        assert tx.devices.of_owner(ada.id) == [new]
        tx.devices.forget(ada.id)
        assert tx.devices.of_owner(ada.id) == []
        assert tx.devices.find(hers.digest) == hers


def test_unused_devices_are_deleted(work, ada):
    old, new = a_device(ada.id), a_device(ada.id, used=NOW + HOUR)
    with work.begin() as tx:
        tx.devices.save(old)
        tx.devices.save(new)
        tx.devices.delete_unused(NOW + timedelta(minutes=1))
        assert tx.devices.of_owner(ada.id) == [new]
