"""Measure job deliveries and cached prices on a real Valkey."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from saq import Queue, Worker

from benchmarks.books import business_days
from benchmarks.figures import Figure
from rebalancer.adapters.jobs.queue import QueuedJobs, QueueWorker
from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.adapters.redis.connection import Connection
from rebalancer.adapters.redis.prices import RedisPriceCache
from rebalancer.application.ports.market import Revised
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.arrays import Floats
from rebalancer.domain.jobs.job import Job
from rebalancer.domain.market.bars import Bars, bars_of_history
from rebalancer.domain.market.prices import PriceHistory
from tests.servers import Valkey, running

JOBS = 3_000
AT_ONCE = 10
WINDOW = (500, 252)
"""Assets and days."""

LONG = 2_520
"""Days of ten years."""

READS = 30


def figures() -> Iterator[Figure]:
    with running(Valkey) as server:
        yield from _deliveries(server.url)
        yield from _prices(server.url)


def _deliveries(url: str) -> Iterator[Figure]:
    now = datetime.now(UTC)
    jobs = [Job.new("nothing", {}, id=uuid4(), owner=None, now=now) for _ in range(JOBS)]
    queue = QueuedJobs(url, name="ours")
    begin = perf_counter()
    for job in jobs:
        queue.submit(job)
    submitted = JOBS / (perf_counter() - begin)
    queue.close()
    done = threading.Semaphore(0)

    def do(_: UUID) -> None:
        done.release()

    worker = QueueWorker(url, do, stop=lambda: None, at_once=AT_ONCE, name="ours")
    thread = threading.Thread(target=worker.run, kwargs={"grace": 1.0})
    begin = perf_counter()
    thread.start()
    for _ in range(JOBS):
        done.acquire()
    delivered = JOBS / (perf_counter() - begin)
    worker.stop()
    thread.join()
    bare_submitted, bare_delivered = asyncio.run(_bare(url))
    yield Figure(
        "queues",
        f"submit {JOBS:,} jobs, one after the other",
        "/s",
        submitted,
        "bare SAQ",
        bare_submitted,
        note="ours from plain threads, SAQ from its own event loop; both do no other work",
    )
    yield Figure(
        "queues",
        f"deliver {JOBS:,} empty jobs, {AT_ONCE} at once",
        "/s",
        delivered,
        "bare SAQ",
        bare_delivered,
    )


async def _bare(url: str) -> tuple[float, float]:
    queue = Queue.from_url(url, name="bare")
    begin = perf_counter()
    for _ in range(JOBS):
        await queue.enqueue("nothing", id=str(uuid4()))
    submitted = JOBS / (perf_counter() - begin)
    left, ended = JOBS, asyncio.Event()

    async def nothing(_: dict[str, Any], *, id: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            ended.set()

    worker: Worker[Any] = Worker(queue, [("nothing", nothing)], concurrency=AT_ONCE)
    begin = perf_counter()
    working = asyncio.create_task(worker.start())
    await ended.wait()
    delivered = JOBS / (perf_counter() - begin)
    await worker.stop()
    await working
    await queue.disconnect()
    return submitted, delivered


def _prices(url: str) -> Iterator[Figure]:
    assets, days = WINDOW
    what = f"a window of {assets} x {days} prices"
    took, _, again = _windows(url, days)
    yield Figure(
        "queues",
        f"{what} from the cache, a process's first read",
        "s",
        took,
        aim=0.005,
        note=f"The first read fetches the market of {assets} x {days} and slices it.",
    )
    yield Figure("queues", f"{what} from the cache, the next read", "s", again, aim=0.005)
    took, another, _ = _windows(url, LONG)
    yield Figure(
        "queues", f"the same from a market of {assets} x {LONG:,}, the first read", "s", took
    )
    yield Figure("queues", "the same, another day", "s", another, aim=0.005)


class UnreadMarket(MemoryMarket):
    """Store of the same revision, whose bars are only read from Redis."""

    def revision(self, *of: Revised) -> str:
        """Return the only revision."""
        return "1"

    def bars(self, *_: object, **__: object) -> dict[str, Bars]:
        """Fail: the cache has the snapshot."""
        raise AssertionError("the bars are in Redis")


def _windows(url: str, length: int) -> tuple[float, float, float]:
    """Return the median seconds of three reads of a window by one process.

    The first read fetches the market of ``length`` days from Redis; the second is for another day;
    the third repeats the second.
    """
    assets, days = WINDOW
    random = np.random.default_rng(0)
    moves: Floats = random.normal(0, 0.01, (length, assets))
    closes: Floats = 20.0 * (1.0 + moves).cumprod(axis=0)
    history = PriceHistory(
        symbols=tuple(f"S{number:03}" for number in range(assets)),
        dates=business_days("2011-01-04", length),
        closes=closes,
    )
    full, unread = MemoryMarket(), UnreadMarket()
    full.save_bars(bars_of_history(history))

    def process(connection: Connection, store: MemoryMarket) -> StoredMarket:
        return StoredMarket(store, RedisPriceCache(connection))

    with closing(Connection(url, prefix=f"bench{length}")) as connection:
        process(connection, full).closes(days=days)
    took, another, again = [], [], []
    for _ in range(READS):
        with closing(Connection(url, prefix=f"bench{length}")) as connection:
            connection.check()
            fresh = process(connection, unread)
            begin = perf_counter()
            found = fresh.closes(days=days)
            took.append(perf_counter() - begin)
            assert np.array_equal(found.closes, closes[-days:])
            begin = perf_counter()
            earlier = fresh.closes(days=days - 1, until=history.dates[-2].item())
            another.append(perf_counter() - begin)
            assert np.array_equal(earlier.closes, closes[-days:-1])
            begin = perf_counter()
            assert fresh.closes(days=days) is found
            again.append(perf_counter() - begin)
    return median(took), median(another), median(again)
