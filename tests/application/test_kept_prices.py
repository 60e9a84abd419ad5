import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rebalancer.application.kept_prices import Remembered
from rebalancer.domain.errors import Unavailable


class Store:
    """A store that counts how often it is asked, and answers if it is there."""

    def __init__(self):
        self.now = 0.0
        self.there, self.revision = True, 1
        self.asked = self.read = 0

    def ask(self):
        self.asked += 1
        if not self.there:
            raise Unavailable("away")
        return self.revision

    def get(self):
        self.read += 1
        return f"of {self.revision}"

    def remembered(self):
        return Remembered(self.get, self.ask, patience=1.0, clock=lambda: self.now)


def test_it_is_read_once_and_asked_once_in_a_while():
    store = Store()
    value = store.remembered()
    assert [value() for _ in range(5)] == ["of 1"] * 5
    assert (store.asked, store.read) == (1, 1)
    store.now = 1.0
    value()
    assert (store.asked, store.read) == (2, 1)


def test_it_is_read_again_when_it_has_changed():
    store = Store()
    value = store.remembered()
    value()
    store.revision = 2
    assert value() == "of 1"
    store.now = 1.0
    assert value() == "of 2"
    store.revision = 3
    value.ask_again()
    assert value() == "of 3"


def test_a_change_while_it_is_read_is_not_missed():
    store = Store()

    def slowly():
        store.revision += 1  # somebody writes meanwhile
        return f"as of {store.revision}"

    value = Remembered(slowly, store.ask, patience=0.0, clock=lambda: store.now)
    assert [value(), value()] == ["as of 2", "as of 3"]


def test_a_store_that_is_away_is_not_asked_by_all_who_wait_and_heals():
    store = Store()
    value = store.remembered()
    value()
    store.there, store.now = False, 2.0
    for _ in range(3):
        with pytest.raises(Unavailable, match="away"):
            value()
    assert store.asked == 2
    store.there, store.now = True, 3.0
    assert value() == "of 1"
    assert store.read == 1


def test_many_at_once_read_once():
    store = Store()
    value = store.remembered()
    begin = threading.Barrier(8)

    def ask(_):
        begin.wait()
        return value()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"of 1"}
    assert store.read == 1
