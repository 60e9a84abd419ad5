"""Prices through Redis: read once for all processes, and never in the way."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryPrices
from rebalancer.adapters.redis.connection import Breaker, Connection
from rebalancer.adapters.redis.prices import CachedPrices
from rebalancer.application.market_data import ImportMarket
from rebalancer.application.ports.market import PriceSource, PricesUnavailable
from rebalancer.application.ports.store import Database
from rebalancer.config import Settings
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.wiring import STORE, Sources, container
from tests.builders import varied_prices
from tests.contracts.redises import Clock, Silent, connected
from tests.servers import Valkey, running

HISTORY = varied_prices()


class Source:
    """Prices that can change, go away, or take their time; counts who asks."""

    def __init__(self, history: PriceHistory = HISTORY, *, takes: float = 0.0) -> None:
        self.history, self.takes = history, takes
        self.away = False
        self.asked = 0
        self._lock = threading.Lock()

    def symbols(self) -> tuple[str, ...]:
        self._note()
        return self.history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        self._note()
        found = self.history.window(symbols, days=days, until=until)
        # As a store does that reads anew each time: equal, and another object.
        return PriceHistory.of(found.symbols, found.dates, found.closes)

    def _note(self) -> None:
        with self._lock:
            self.asked += 1
        time.sleep(self.takes)
        if self.away:
            raise PricesUnavailable("the exchange is on fire")


def changed() -> PriceHistory:
    """Other prices."""
    return PriceHistory.of(HISTORY.symbols, HISTORY.dates, HISTORY.closes * 2)


@pytest.fixture
def prefix() -> str:
    return uuid4().hex


@pytest.fixture
def connection(redis_url: str, prefix: str) -> Iterator[Connection]:
    with connected(redis_url, prefix=prefix) as connection:
        yield connection


@pytest.fixture
def elsewhere(redis_url: str, prefix: str) -> Iterator[Connection]:
    """The connection of another process."""
    with connected(redis_url, prefix=prefix) as connection:
        yield connection


def test_a_source_is_read_once_for_all(connection: Connection, elsewhere: Connection) -> None:
    source, unread = Source(), Source()
    here, there = CachedPrices(source, connection), CachedPrices(unread, elsewhere)
    calls: list[dict[str, Any]] = [
        {},
        {"days": 1},
        {"symbols": ["C", "F"]},
        {"symbols": ["F", "C"]},
        {"symbols": ["C"], "days": 9, "until": HISTORY.dates[50].item()},
    ]
    for call in calls:
        first = here.closes(**call)
        other = there.closes(**call)
        assert here.closes(**call) is first  # compared by identity where terms are derived
        assert there.closes(**call) is other
        expected = HISTORY.window(**({"until": None} | call))
        for got in (first, other):
            assert got.symbols == expected.symbols
            assert np.array_equal(got.dates, expected.dates)
            assert np.array_equal(got.closes, expected.closes, equal_nan=True)
            assert got.digest == expected.digest
    assert here.symbols() == there.symbols() == HISTORY.symbols
    assert (source.asked, unread.asked) == (len(calls) + 1, 0)


def test_gaps_before_the_first_close_travel(connection: Connection, elsewhere: Connection) -> None:
    closes = HISTORY.closes.copy()
    closes[:7, 1] = np.nan
    young = PriceHistory.of(HISTORY.symbols, HISTORY.dates, closes)
    CachedPrices(Source(young), connection).closes()
    got = CachedPrices(Source(), elsewhere).closes()
    assert np.array_equal(got.closes, closes, equal_nan=True)
    assert not got.closes.flags.writeable
    assert not got.dates.flags.writeable


def test_whoever_changes_prices_has_them_read_anew(
    connection: Connection, elsewhere: Connection
) -> None:
    source = Source()
    here, there = CachedPrices(source, connection), CachedPrices(source, elsewhere)
    before = here.closes()
    assert there.closes().digest == before.digest
    source.history = changed()
    assert here.closes() is before  # it serves out its minute, unless
    there.forget()
    after = here.closes()
    assert after.digest == there.closes().digest == source.history.digest
    assert here.closes() is after
    assert source.asked == 2


def test_prices_that_did_not_change_stay_the_same_object(connection: Connection) -> None:
    source = Source()
    prices = CachedPrices(source, connection)
    before = prices.closes()
    prices.forget()
    assert prices.closes() is before
    assert source.asked == 2


def test_what_changes_while_it_is_read_is_read_again(connection: Connection) -> None:
    class Changing(Source):
        def closes(self, *symbols: Any, **others: Any) -> PriceHistory:
            found = super().closes(*symbols, **others)
            if self.asked == 1:
                self.history = changed()
                importing.forget()
            return found

    source = Changing()
    importing = prices = CachedPrices(source, connection)
    assert prices.closes().digest == HISTORY.digest
    assert prices.closes().digest == source.history.digest
    assert source.asked == 2


def test_an_answer_ends_by_itself(connection: Connection) -> None:
    source = Source()
    prices = CachedPrices(source, connection, lifetime=0.05)
    prices.closes()
    source.history = changed()
    time.sleep(0.06)
    assert prices.closes().digest == source.history.digest


def test_errors_are_not_kept(connection: Connection) -> None:
    source = Source()
    prices = CachedPrices(source, connection)
    source.away = True
    for _ in range(2):
        with pytest.raises(PricesUnavailable, match="on fire"):
            prices.closes()
    with pytest.raises(PricesUnavailable, match="on fire"):
        prices.symbols()
    source.away = False
    assert prices.closes().digest == HISTORY.digest  # nobody holds the lock
    with pytest.raises(InvalidRequest, match="NOPE"):
        prices.closes(["NOPE"])
    source.away = True
    assert prices.closes().digest == HISTORY.digest  # what is kept serves meanwhile


def test_of_many_threads_one_reads(connection: Connection) -> None:
    source = Source(takes=0.1)
    prices = CachedPrices(source, connection)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: prices.closes(), range(12)))
    assert source.asked == 1
    assert len({id(one) for one in found}) == 1


def _in_a_process(url: str, prefix: str, start: Any, asked: Any) -> None:
    with connected(url, prefix=prefix) as connection:
        source = Source(takes=0.2)
        prices = CachedPrices(source, connection)
        start.wait(20)
        assert prices.closes().digest == HISTORY.digest
        asked.put(source.asked)


def test_of_many_processes_one_reads(redis_url: str, prefix: str) -> None:
    spawning = multiprocessing.get_context("spawn")
    start, asked = spawning.Barrier(3), spawning.Queue()
    processes = [
        spawning.Process(target=_in_a_process, args=(redis_url, prefix, start, asked))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    counts = [asked.get(timeout=30) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
        process.close()
    asked.close()
    asked.join_thread()
    assert sorted(counts) == [0, 0, 1]


def test_whoever_waits_too_long_reads_for_themselves(
    connection: Connection, elsewhere: Connection
) -> None:
    prices = CachedPrices(Source(), connection, patience=0.05)
    prices.closes()
    prices.forget()
    # Another process takes the lock of the same call, and is never heard of again.
    (name,) = [
        key.decode()
        for key in elsewhere.ask(lambda client: client.keys(elsewhere.name("prices", "*")))
        if key != elsewhere.name("prices", "generation").encode()
    ]
    elsewhere.ask(lambda client: client.set(f"{name}:lock", "somebody", px=60_000))
    assert prices.closes().digest == HISTORY.digest
    assert elsewhere.ask(lambda client: client.get(f"{name}:lock")) == b"somebody"


@pytest.mark.parametrize("damage", [b"", b"\x00", b"nonsense", b"\x93\xa0\xa0\xa0"])
def test_what_is_damaged_is_read_again(
    connection: Connection, elsewhere: Connection, damage: bytes
) -> None:
    CachedPrices(Source(), connection).closes()
    (name,) = connection.ask(lambda client: client.keys(connection.name("prices", "*")))
    connection.ask(lambda client: client.hset(name, "value", damage))
    source = Source()
    assert CachedPrices(source, elsewhere).closes().digest == HISTORY.digest
    assert source.asked == 1


def test_other_prices_than_the_tag_says_are_read_again(
    connection: Connection, elsewhere: Connection
) -> None:
    CachedPrices(Source(), connection).closes()
    (name,) = connection.ask(lambda client: client.keys(connection.name("prices", "*")))
    content = connection.ask(lambda client: client.hget(name, "value"))
    connection.ask(lambda client: client.hset(name, "value", content[:-1] + b"\x01"))
    assert CachedPrices(Source(), elsewhere).closes().digest == HISTORY.digest


def test_while_redis_is_away_the_source_is_asked() -> None:
    clock, source = Clock(), Source()
    with (
        running(Valkey) as server,
        connected(server.url, breaker=Breaker(clock=clock)) as connection,
    ):
        prices = CachedPrices(source, connection)
        before = prices.closes()
        server.kill()
        assert prices.closes() is before  # equal, so the same
        prices.forget()
        source.history = changed()
        assert prices.closes().digest == source.history.digest
        assert prices.symbols() == HISTORY.symbols
        assert source.asked == 4
        server.start()
        assert prices.closes().digest == source.history.digest
        assert source.asked == 5  # it is left alone for a moment
        clock.now += 1.0
        after = prices.closes()
        assert prices.closes() is after
        assert source.asked == 6


def test_a_silent_server_is_waited_for_once() -> None:
    silent, clock = Silent(), Clock()
    connection = Connection(silent.url, patience=0.05, breaker=Breaker(clock=clock))
    prices = CachedPrices(MemoryPrices(HISTORY), connection)
    for _ in range(4):
        assert prices.closes() is HISTORY
        prices.forget()
    assert silent.calls == 1
    clock.now += 1.0
    with ThreadPoolExecutor(8) as pool:
        assert all(one is HISTORY for one in pool.map(lambda _: prices.closes(), range(8)))
    assert silent.calls == 2
    connection.close()
    silent.close()


def test_an_import_is_seen_at_once_by_processes_that_share_a_cache(tmp_path: Path) -> None:
    with running(Valkey) as server, ExitStack() as at_the_end:
        shared = Settings(database_url=f"sqlite:///{tmp_path / 'shared.db'}", redis_url=server.url)
        importing, serving = (container(Sources(prices=STORE), settings=shared) for _ in range(2))
        at_the_end.callback(importing.close)
        at_the_end.callback(serving.close)
        importing.get(Database).upgrade()
        known = Instruments()
        importing.get(ImportMarket)(HISTORY, usual=known)
        before = serving.get(PriceSource).closes()
        assert isinstance(serving.get(PriceSource), CachedPrices)
        assert before.digest == HISTORY.digest
        for factor in (2, 3):
            other = PriceHistory.of(HISTORY.symbols, HISTORY.dates, HISTORY.closes * factor)
            importing.get(ImportMarket)(other, usual=known)
            assert serving.get(PriceSource).closes().digest == other.digest
            server.kill()  # and without the cache neither serves what was
            importing.get(ImportMarket)(HISTORY, usual=known)
            assert serving.get(PriceSource).closes().digest == HISTORY.digest
            server.start()


def test_a_process_does_not_remember_everything(connection: Connection) -> None:
    prices = CachedPrices(MemoryPrices(HISTORY), connection)
    for days in range(1, 101):
        prices.closes(days=days)
    assert len(prices._objects) == 32
