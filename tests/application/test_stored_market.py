import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rebalancer.application.revision_cache import RevisionCache
from rebalancer.application.stored_market import StoredPrices
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.prices import PricesUnavailable

LONG = 1.0
"""Seconds that a dead server is waited for."""


class Store:
    """A store that counts how often it is asked, and answers if it is there."""

    def __init__(self):
        self.now = 0.0
        self.there, self.revision = True, 1
        self.takes = 0.0
        self.asked = self.read = 0

    def ask(self):
        self.asked += 1
        time.sleep(self.takes)
        if not self.there:
            raise Unavailable("away") from OSError("at 192.0.2.1")
        return str(self.revision)

    def get(self, revision):
        self.read += 1
        return f"of {revision}"

    def remembered(self):
        return RevisionCache("things", self.get, self.ask, patience=1.0, clock=lambda: self.now)


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

    def slowly(revision):
        store.revision += 1  # somebody writes meanwhile
        return f"as of {store.revision}"

    value = RevisionCache("things", slowly, store.ask, patience=0.0, clock=lambda: store.now)
    assert [value(), value()] == ["as of 2", "as of 3"]


def test_what_is_known_serves_on_while_the_store_is_away(caplog):
    store = Store()
    value = store.remembered()
    value()
    value.check()
    store.there = False
    for second in (2.0, 3.0, 4.0):
        store.now = second
        assert [value() for _ in range(3)] == ["of 1"] * 3
        with pytest.raises(Unavailable, match="away"):
            value.check()
    assert store.asked == 4
    store.there, store.revision, store.now = True, 2, 5.0
    assert value() == "of 2"
    value.check()
    assert [record.getMessage() for record in caplog.records] == [
        "things cannot be read, those known serve on: away",
        "things can be read again",
    ]


def test_a_store_that_was_never_there_is_not_asked_by_all_and_heals():
    store = Store()
    store.there = False
    value = store.remembered()
    for _ in range(3):
        with pytest.raises(Unavailable, match="away") as failed:
            value()
        assert str(failed.value.__cause__) == "at 192.0.2.1"  # for operators alone
    assert store.asked == 1
    store.there, store.now = True, 1.0
    assert value() == "of 1"


def test_what_somebody_has_kept_just_now_is_found_though_the_store_was_away():
    store = Store()
    value = store.remembered()
    value()
    store.there, store.now = False, 2.0
    value()
    store.there, store.revision = True, 2
    value.ask_again()
    assert value() == "of 2"


def test_what_makes_no_sense_is_not_read_by_all_either():
    store = Store()
    senseless = InvalidRequest("makes no sense", field="A.days")

    def get(revision):
        store.read += 1
        if store.revision == 1:
            raise senseless
        return revision

    value = RevisionCache("things", get, store.ask, clock=lambda: store.now)
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=r"A\.days: makes no sense") as failed:
            value()
        assert failed.value.field == "A.days"
    assert store.read == 1


def test_a_bug_keeps_nobody_waiting():
    store = Store()
    begun, go = threading.Event(), threading.Event()

    def get(revision):
        begun.set()
        go.wait(10)
        raise ZeroDivisionError

    value = RevisionCache("things", get, store.ask, clock=lambda: store.now)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(value) for _ in range(4)]
        begun.wait(10)
        go.set()
        assert all(isinstance(one.exception(), ZeroDivisionError) for one in waiting)


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


def at_once(count, ask):
    """What each of so many threads gets, and the seconds that it waits, the longest first."""
    begin = threading.Barrier(count)

    def one(_):
        begin.wait()
        began = time.monotonic()
        try:
            said = ask()
        except Unavailable as error:
            said = error
        return time.monotonic() - began, str(said)

    with ThreadPoolExecutor(count) as pool:
        found = sorted(pool.map(one, range(count)), reverse=True)
    return [seconds for seconds, _ in found], {said for _, said in found}


def test_nobody_but_one_waits_for_a_dead_server_of_which_nothing_is_known():
    store = Store()
    store.there, store.takes = False, LONG
    value = store.remembered()
    waited, said = at_once(30, value)
    assert said == {"away"}
    assert (store.asked, max(waited) < 2 * LONG) == (1, True), waited  # all of them, once
    for second in (2.0, 4.0):
        store.now = second
        waited, said = at_once(30, value)
        assert said == {"away"}
        assert waited[0] >= LONG > LONG / 2 > waited[1]
    assert store.asked == 3


def test_nobody_but_one_waits_for_a_dead_server_of_which_something_is_known():
    store = Store()
    value = store.remembered()
    value()
    store.there, store.takes = False, LONG
    for second in (2.0, 4.0):
        store.now = second
        waited, said = at_once(30, value)
        assert said == {"of 1"}
        assert waited[0] >= LONG > LONG / 2 > waited[1]
    assert store.asked == 3


def test_nobody_but_one_waits_for_a_slow_server():
    store = Store()
    value = store.remembered()
    value()
    store.takes, store.revision, store.now = LONG, 2, 2.0
    waited, said = at_once(10, value)
    assert said == {"of 1", "of 2"}
    assert waited[0] >= LONG > LONG / 2 > waited[1]


def test_who_keeps_something_waits_for_it_though_another_asks_already():
    store = Store()
    value = store.remembered()
    value()
    store.takes, store.now = LONG, 2.0
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(value)
        while store.asked < 2:
            time.sleep(0.001)
        store.revision = 2  # the other may or may not have seen it
        value.ask_again()
        assert value() == "of 2"
        assert other.result() in ("of 1", "of 2")


def test_who_keeps_something_after_an_outage_finds_it_though_another_asks_already():
    store = Store()
    value = store.remembered()
    value()
    store.there, store.now = False, 2.0
    value()
    store.there, store.takes, store.now = True, LONG, 4.0
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(value)
        while store.asked < 3:
            time.sleep(0.001)
        store.revision = 2
        value.ask_again()
        assert value() == "of 2"
        other.result()


class Cache:
    """Notes what it is asked for, and reads."""

    def __init__(self):
        self.asked = []

    def get(self, revision, read):
        self.asked.append(revision)
        return read()


def some_bars(symbol, days):
    return Bars(symbol, np.array(days, dtype="datetime64[D]"), np.full(len(days), 2.0))


def test_a_cache_is_asked_when_something_has_changed_and_windows_are_cut_here(caplog):
    store, cache = Store(), Cache()
    days = np.arange("2021-01-01", "2021-02-01", dtype="datetime64[D]")

    def read():
        return [some_bars("A", days), some_bars("OLD", days[:9])]

    kept = StoredPrices(read, store.ask, cache=cache, clock=lambda: store.now)
    with caplog.at_level(logging.WARNING, "rebalancer.market"):
        for back in range(20):
            assert len(kept.closes(days=back + 1)) == back + 1
            assert kept.closes(until=days[-1 - back].item()).dates[-1] == days[-1 - back]
    assert cache.asked == ["1"]
    assert list(kept.withheld()) == ["OLD"]
    (told,) = caplog.records
    assert told.getMessage().startswith("OLD is not on offer: 22 rows without a price")
    store.revision, store.now = 2, 1.0
    kept.closes()
    assert cache.asked == ["1", "2"]


def test_a_store_that_is_away_is_told_as_prices_that_are():
    store = Store()
    store.there = False
    kept = StoredPrices(list, store.ask, clock=lambda: store.now)
    for ask in (kept.closes, kept.symbols, kept.withheld):
        with pytest.raises(PricesUnavailable, match="away") as failed:
            ask()
        assert str(failed.value.__cause__) == "at 192.0.2.1"
