"""The market through Redis: read once for all processes, and never in the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.adapters.mongo.connection import connect
from rebalancer.adapters.redis.connection import Connection, RedisBreaker
from rebalancer.adapters.redis.prices import RedisPriceCache
from rebalancer.application.market_import import ImportMarket
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import Database
from rebalancer.application.stored_market import StoredMarket
from rebalancer.config import Settings
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.bars import Bars, MarketSnapshot, bars_of_history
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import STORE, Sources
from tests.builders import prices, varied_prices
from tests.contracts.redises import Clock, Silent, connected
from tests.servers import Valkey, running

HISTORY = varied_prices()


def snapshot(history: PriceHistory) -> MarketSnapshot:
    """The snapshot of a store that holds a history."""
    return MarketSnapshot(history.symbols, history.dates, history.closes)


OFFER = snapshot(HISTORY)
NOTHING = MarketSnapshot.of([])
ACTIONS = Actions.of(
    [
        CorporateAction(
            "A",
            date(2020, 8, 31),
            ActionKind.DIVIDEND,
            Decimal("0.205"),
            "GBX",
            known=datetime(2020, 9, 1, 12, 30, 0, 7, UTC),
            source="files",
        ),
        CorporateAction("B", date(2020, 8, 31), ActionKind.SPIN_OFF, Decimal("0.5"), other="C"),
    ]
)


class Source:
    """A store that can change, go away, or take its time; counts who reads."""

    def __init__(self, offer: MarketSnapshot = OFFER, *, takes: float = 0.0) -> None:
        self.offer, self.takes = offer, takes
        self.away = False
        self.read = 0
        self._lock = threading.Lock()

    def __call__(self) -> MarketSnapshot:
        with self._lock:
            self.read += 1
        time.sleep(self.takes)
        if self.away:
            raise PricesUnavailable("the exchange is on fire")
        return self.offer


def unread() -> MarketSnapshot:
    raise AssertionError("the entry must be used")


def doubled(offer: MarketSnapshot = OFFER) -> MarketSnapshot:
    """Other prices."""
    return attrs.evolve(offer, closes=offer.closes * 2)


def same(one: MarketSnapshot, other: MarketSnapshot) -> bool:
    assert one.days.dtype == other.days.dtype
    assert [(each.known, each.source) for each in one.actions] == [
        (each.known, each.source) for each in other.actions
    ]
    return (
        one.adjusted == other.adjusted
        and one.actions == other.actions
        and one.symbols == other.symbols
        and one.days.tolist() == other.days.tolist()
        and np.array_equal(one.closes, other.closes, equal_nan=True)
    )


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


def names(connection: Connection) -> list[str]:
    found = connection.ask(lambda client: client.keys(connection.name("*")))
    return sorted(one.decode().removeprefix(f"{connection.prefix}:") for one in found)


@pytest.mark.parametrize(
    "offer",
    [
        OFFER,
        NOTHING,
        snapshot(prices(300, 1000)),  # 2.4 MB, in parts
        attrs.evolve(OFFER, adjusted=frozenset(OFFER.symbols[:2]), actions=ACTIONS),
    ],
    ids=["history", "nothing", "large", "actions"],
)
def test_processes_share_a_snapshot(
    connection: Connection, elsewhere: Connection, offer: MarketSnapshot
) -> None:
    source = Source(offer)
    assert RedisPriceCache(connection).get("7", source) is offer
    for place in (connection, elsewhere):
        got = RedisPriceCache(place).get("7", unread)
        assert same(got, offer)
        assert not got.closes.flags.writeable
    assert source.read == 1


def test_new_revision_replaces_the_entry(connection: Connection) -> None:
    cache = RedisPriceCache(connection)
    for revision in range(30):
        cache.get(str(revision), Source(doubled() if revision % 2 else OFFER))
    assert names(connection) == ["market:3"]
    left = connection.ask(lambda client: client.ttl(connection.name("market", "3")))
    assert 86_000 < left <= 86_400
    assert same(cache.get("29", unread), doubled())


def test_entry_of_another_revision_is_ignored(
    connection: Connection, elsewhere: Connection
) -> None:
    here, there = RedisPriceCache(connection), RedisPriceCache(elsewhere)
    here.get("1", Source())
    newer = Source(doubled())
    assert there.get("2", newer) is newer.offer
    older = Source()
    assert here.get("1", older) is OFFER  # a process that has not seen the newer revision
    assert same(there.get("1", unread), OFFER)
    assert (newer.read, older.read) == (1, 1)


def test_entry_expires(connection: Connection) -> None:
    cache = RedisPriceCache(connection, lifetime=0.05)
    cache.get("1", Source())
    time.sleep(0.06)
    assert names(connection) == []
    assert not same(cache.get("1", Source(doubled())), OFFER)


def test_failures_are_not_cached(connection: Connection) -> None:
    cache, source = RedisPriceCache(connection), Source()
    source.away = True
    for _ in range(2):
        with pytest.raises(PricesUnavailable, match="on fire"):
            cache.get("1", source)
        assert names(connection) == []  # the lock is free
    source.away = False
    assert cache.get("1", source) is OFFER


def together(count: int, ask: Callable[[int], Any]) -> list[Any]:
    """What each of so many threads gets, or its failure."""
    begin = threading.Barrier(count)

    def one(number: int) -> Any:
        begin.wait()
        try:
            return ask(number)
        except Unavailable as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_one_thread_reads_for_all(connection: Connection, elsewhere: Connection) -> None:
    source = Source(takes=0.2)
    caches = [RedisPriceCache(place) for place in (connection, elsewhere)]
    found = together(12, lambda number: caches[number % 2].get("1", source))
    assert source.read == 1
    assert all(same(one, OFFER) for one in found)


def test_waiting_threads_retry_after_a_failed_read(connection: Connection) -> None:
    source, cache = Source(takes=0.5), RedisPriceCache(connection)
    source.away = True
    began = time.monotonic()
    found = together(24, lambda _: cache.get("1", source))
    took = time.monotonic() - began
    assert all(str(one) == "the exchange is on fire" for one in found)
    assert took < 8.0, "after the first failure they ask at once, not one after another for 12 s"
    assert names(connection) == []


def _in_a_process(url: str, prefix: str, start: Any, asked: Any) -> None:
    with connected(url, prefix=prefix) as connection:
        source = Source(takes=0.3)
        start.wait(120)
        assert same(RedisPriceCache(connection).get("1", source), OFFER)
        asked.put(source.read)


def test_one_process_reads_for_all(redis_url: str, prefix: str) -> None:
    spawning = multiprocessing.get_context("spawn")
    start, asked = spawning.Barrier(3), spawning.Queue()
    processes = [
        spawning.Process(target=_in_a_process, args=(redis_url, prefix, start, asked))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    counts = [asked.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
        process.close()
    asked.close()
    asked.join_thread()
    assert sorted(counts) == [0, 0, 1]


def _never_heard_of_again(url: str, prefix: str, told: Any) -> None:
    def read() -> MarketSnapshot:
        told.set()
        time.sleep(60)
        return OFFER

    with connected(url, prefix=prefix) as connection:
        RedisPriceCache(connection, read_timeout=1.0).get("1", read)


def test_process_reads_itself_when_the_lock_holder_dies(
    redis_url: str, prefix: str, connection: Connection
) -> None:
    spawning = multiprocessing.get_context("spawn")
    told = spawning.Event()
    process = spawning.Process(target=_never_heard_of_again, args=(redis_url, prefix, told))
    process.start()
    assert told.wait(120)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(120)
    process.close()
    source = Source()
    began = time.monotonic()
    assert RedisPriceCache(connection).get("1", source) is OFFER
    assert source.read == 1
    assert time.monotonic() - began < 10.0  # less than this process would wait for its own reads


def test_process_reads_itself_after_the_time_limit(
    connection: Connection, elsewhere: Connection
) -> None:
    lock = connection.name("market", "3", "lock")
    elsewhere.ask(lambda client: client.set(lock, "somebody", px=60_000))
    assert RedisPriceCache(connection, read_timeout=0.05).get("1", Source()) is OFFER
    assert elsewhere.ask(lambda client: client.get(lock)) == b"somebody"
    assert same(RedisPriceCache(elsewhere).get("1", unread), OFFER)  # stored despite the time limit


def test_lock_of_another_process_is_not_released(connection: Connection) -> None:
    lock = connection.name("market", "3", "lock")

    def slowly() -> MarketSnapshot:
        connection.ask(lambda client: client.set(lock, "somebody"))
        return OFFER

    RedisPriceCache(connection).get("1", slowly)
    assert connection.ask(lambda client: client.get(lock)) == b"somebody"


Damage = Callable[[Any, str], object]

DAMAGE: dict[str, Damage] = {
    "empty": lambda client, name: client.hset(name, "0", b""),
    "nonsense": lambda client, name: client.hset(name, "0", b"nonsense"),
    "a bit": lambda client, name: client.hset(
        name, "0", client.hget(name, "0")[:-1] + bytes([client.hget(name, "0")[-1] ^ 1])
    ),
    "a part too many": lambda client, name: client.hset(name, "1", b"\x00"),
    "a strange part": lambda client, name: client.hset(name, b"\xff\xfe", b"x"),
    "no part": lambda client, name: client.hdel(name, "0"),
    "a binary revision": lambda client, name: client.hset(name, "revision", b"\xff\xfe"),
    "another revision inside": lambda client, name: client.hset(name, "revision", "2"),
    "text": lambda client, name: (client.delete(name), client.set(name, "old format")),
    "a list": lambda client, name: (client.delete(name), client.rpush(name, b"\xff")),
    "a lock of another kind": lambda client, name: (
        client.delete(name),
        client.rpush(f"{name}:lock", b"\xff"),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_entry_is_replaced(
    connection: Connection, elsewhere: Connection, damage: Damage
) -> None:
    name = connection.name("market", "3")
    RedisPriceCache(connection).get("1", Source())
    connection.ask(lambda client: damage(client, name))
    source = Source(doubled())
    asked = "2" if damage is DAMAGE["another revision inside"] else "1"
    assert RedisPriceCache(elsewhere).get(asked, source) is source.offer
    elsewhere.check()  # no outage was recorded
    if damage is not DAMAGE["a lock of another kind"]:
        assert same(RedisPriceCache(connection).get(asked, unread), doubled())


def test_store_is_read_while_redis_is_away() -> None:
    clock, source = Clock(), Source()
    with (
        running(Valkey) as server,
        connected(server.url, breaker=RedisBreaker(clock=clock)) as connection,
    ):
        cache = RedisPriceCache(connection)
        cache.get("1", source)
        server.kill()
        for _ in range(2):
            assert cache.get("1", source) is OFFER
        assert source.read == 3
        server.start()
        assert cache.get("1", source) is OFFER
        assert source.read == 4  # it is left alone for a moment
        clock.now += 1.0
        assert cache.get("1", source) is OFFER
        assert same(cache.get("1", unread), OFFER)
        assert source.read == 5


def test_outage_during_a_read_is_ignored() -> None:
    with running(Valkey) as server, connected(server.url) as connection:

        def read() -> MarketSnapshot:
            server.kill()
            return OFFER

        assert RedisPriceCache(connection).get("1", read) is OFFER


def test_only_one_read_waits_for_a_silent_server() -> None:
    silent, clock = Silent(), Clock()
    connection = Connection(silent.url, timeout=0.05, breaker=RedisBreaker(clock=clock))
    cache = RedisPriceCache(connection)
    for _ in range(4):
        assert cache.get("1", Source()) is OFFER
    assert silent.calls == 1
    clock.now += 1.0
    assert together(8, lambda _: cache.get("1", Source())) == [OFFER] * 8
    assert silent.calls == 2
    connection.close()
    silent.close()


def test_windows_are_cut_in_the_process(connection: Connection) -> None:
    store = MemoryMarket()
    store.save_bars(bars_of_history(HISTORY))
    kept = StoredMarket(store, RedisPriceCache(connection))
    kept.closes()
    before = commands(connection)
    for back in range(1, 100):
        day = HISTORY.dates[-back].item()
        assert kept.closes(until=day).last_date == day
    assert commands(connection) == before + 1, "to ask how many there were"
    assert names(connection) == ["market:3"]


def commands(connection: Connection) -> int:
    """How many the server has carried out."""
    told = connection.ask(lambda client: client.info("stats"))
    return int(told["total_commands_processed"])


@pytest.fixture(params=["sqlite", "mongo"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of a store that processes share; Redis is still to be named."""
    if request.param == "sqlite":
        return Settings(database_url=f"sqlite:///{tmp_path / 'shared.db'}")
    server = request.getfixturevalue("mongo_url")
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'shared.db'}",
        mongo_url=f"{server.rstrip('/')}/test_{uuid4().hex}",
    )


def test_import_is_seen_within_a_second(settings: Settings) -> None:
    with running(Valkey) as server, ExitStack() as at_the_end:
        shared = attrs.evolve(settings, redis_url=server.url)
        importing, serving = (
            build_container(Sources(prices=STORE), settings=shared) for _ in range(2)
        )
        at_the_end.callback(importing.close)
        at_the_end.callback(serving.close)
        importing.get(Database).upgrade()
        known = Instruments()
        importing.get(ImportMarket)(HISTORY, usual=known)
        assert serving.get(PriceSource) is serving.get(StoredMarket)
        assert serving.get(PriceSource).closes().digest == HISTORY.digest

        def seen(history: PriceHistory) -> bool:
            latest = time.monotonic() + 60
            while serving.get(PriceSource).closes().digest != history.digest:
                assert time.monotonic() < latest
                time.sleep(0.02)
            return True

        for factor in (2, 3):
            other = PriceHistory.of(HISTORY.symbols, HISTORY.dates, HISTORY.closes * factor)
            importing.get(ImportMarket)(other, usual=known)
            assert seen(other)
            server.kill()
            importing.get(ImportMarket)(HISTORY, usual=known)
            assert seen(HISTORY)
            server.start()


def test_recreated_store_is_not_confused_with_the_old_one(
    settings: Settings, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    shared = attrs.evolve(settings, redis_url=redis_url, redis_prefix=prefix)

    def imported(history: PriceHistory) -> PriceHistory:
        wired = build_container(Sources(prices=STORE), settings=shared)
        try:
            wired.get(Database).upgrade()
            wired.get(ImportMarket)(history, usual=Instruments())
            found: PriceHistory = wired.get(PriceSource).closes()
            return found
        finally:
            wired.close()

    assert imported(HISTORY).digest == HISTORY.digest
    if shared.mongo_url is not None:
        database = connect(shared.mongo_url)
        database.client.drop_database(database.name)
        database.client.close()
    for path in tmp_path.iterdir():
        path.unlink()
    other = doubled().history()
    assert other is not None
    assert imported(other).digest == other.digest


def test_deployments_on_one_server_have_separate_entries(redis_url: str, tmp_path: Path) -> None:
    def imported(name: str, history: PriceHistory) -> np.ndarray:
        url = f"sqlite:///{tmp_path / name}.db"
        mine = Settings(
            database_url=url, redis_url=redis_url, redis_prefix=f"{tmp_path.name}-{name}"
        )
        wired = build_container(Sources(prices=STORE), settings=mine)
        try:
            wired.get(Database).upgrade()
            wired.get(ImportMarket)(history, usual=Instruments())
            closes: np.ndarray = wired.get(PriceSource).closes(days=3).closes
            return closes
        finally:
            wired.close()

    other = doubled().history()
    assert other is not None
    assert np.array_equal(2 * imported("a", HISTORY), imported("b", other), equal_nan=True)
    with connected(redis_url, prefix=f"{tmp_path.name}-a") as connection:
        assert names(connection) == ["market:3"]


def test_assets_with_different_days_share_a_snapshot(connection: Connection) -> None:
    bars = bars_of_history(HISTORY)
    short = Bars("SHORT", bars[0].days[:20], bars[0].close[:20])
    offer = MarketSnapshot.of([*bars, short])
    RedisPriceCache(connection).get("1", lambda: offer)
    got = RedisPriceCache(connection).get("1", unread)
    assert same(got, offer)
    history = got.history()
    assert history is not None
    assert list(history.withheld) == ["SHORT"]
