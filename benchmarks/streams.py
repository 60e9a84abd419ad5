"""Measure streams of quotes: 200 clients that read and 5 that never do, in one event loop."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

import attrs
import numpy as np

from benchmarks.figures import Figure
from rebalancer.adapters.memory.market import MemoryCalendars, MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.quotes import MemoryQuoteBoard
from rebalancer.application.live_values import DescribeWatched
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.live_quotes import LiveQuote
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.http.quote_hub import QuoteHub
from rebalancer.entrypoints.http.quote_streams import QuoteStreams, Stream, StreamTimes
from rebalancer.entrypoints.http.streams import OpenStreams

SYMBOLS, EACH, CLIENTS, IDLE = 100, 10, 200, 5
CALM, BUSY = 200, 20_000
"""Quotes a second: as on a lively day, and more than can be sent."""

SECONDS = 4.0
_PAUSE = 0.01
_NAMES = tuple(f"A{number:03}" for number in range(SYMBOLS))


@attrs.define
class Run:
    """What a run has measured."""

    events: int = 0
    delays: list[float] = attrs.field(factory=list)
    memory: list[float] = attrs.field(factory=list)
    took: float = 0.0

    def quantile(self, share: float) -> float:
        """Return a quantile of the delays, in seconds."""
        return float(np.quantile(self.delays, share)) if self.delays else float("nan")


def figures() -> Iterator[Figure]:
    """Yield events a second, delays and memory."""
    calm, busy = asyncio.run(_ours(CALM)), asyncio.run(_ours(BUSY))
    plain_calm, plain_busy = asyncio.run(_plain(CALM)), asyncio.run(_plain(BUSY))
    who = f"{CLIENTS} streams of {EACH} assets and {IDLE} that never read"
    peer = "asyncio queues"
    yield Figure(
        "streams",
        f"{who}: events of {BUSY:,} quotes a second",
        "/s",
        busy.events / busy.took,
        peer,
        plain_busy.events / plain_busy.took,
        note="The peer sends every event by a queue for each client, of 100 events, and drops what "
        "does not fit; ours also checks rights and sends the latest quote of each asset.",
    )
    yield Figure(
        "streams",
        f"{who}: median delay at {CALM} quotes a second",
        "s",
        calm.quantile(0.5),
        peer,
        plain_calm.quantile(0.5),
    )
    yield Figure(
        "streams",
        f"{who}: 99% of delays at {CALM} quotes a second",
        "s",
        calm.quantile(0.99),
        peer,
        plain_calm.quantile(0.99),
        aim=0.2,
    )
    yield Figure(
        "streams",
        f"{who}: growth of memory while {BUSY:,} quotes a second come",
        "MB",
        max(busy.memory[-1] - busy.memory[len(busy.memory) // 2], 0.0),
        peer,
        max(plain_busy.memory[-1] - plain_busy.memory[len(plain_busy.memory) // 2], 0.0),
        aim=5.0,
    )


async def _ours(rate: int) -> Run:
    board, run = MemoryQuoteBoard(), Run()
    hub = QuoteHub(board, _now)
    days = np.arange("2026-01-05", "2026-01-10", dtype="datetime64[D]")
    history = PriceHistory(_NAMES, days, np.full((len(days), SYMBOLS), 100.0))
    describe = DescribeWatched(
        MemoryPrices(history),
        MemoryInstruments(Instruments()),
        MemoryCalendars({}),
        Currency("USD"),
    )
    open_streams = OpenStreams(limit=0)
    streams = QuoteStreams(
        hub=hub,
        streams=open_streams,
        describe=describe,
        clock=_now,
        is_live=True,
        times=StreamTimes(),
    )

    async def allowed() -> bool:
        return True

    def events(client: int) -> AsyncIterator[Any]:
        place = open_streams.reserve(UUID(int=client))
        stream = Stream(open_streams, place, allowed, streams.times)
        return streams.market(describe(_watched(client)), stream=stream, after=0, once=False)

    def send(quotes: list[LiveQuote]) -> None:
        board.post(quotes)

    hub.start()
    try:
        return await _measure(run, rate, events, send)
    finally:
        await hub.stop()


@attrs.frozen
class _Plain:
    """An event of the peer."""

    event: str
    data: str


async def _plain(rate: int) -> Run:
    queues: dict[int, asyncio.Queue[LiveQuote]] = {
        client: asyncio.Queue(100) for client in range(CLIENTS + IDLE)
    }
    watched = {client: frozenset(_watched(client)) for client in queues}

    async def events(client: int) -> AsyncIterator[_Plain]:
        yield _Plain("assets", "")
        while True:
            quote = await queues[client].get()
            shown = attrs.asdict(quote)
            yield _Plain("quote", json.dumps(shown, default=str))

    def send(quotes: list[LiveQuote]) -> None:
        for quote in quotes:
            for client, symbols in watched.items():
                if quote.symbol in symbols and not queues[client].full():
                    queues[client].put_nowait(quote)

    return await _measure(Run(), rate, events, send)


async def _measure(
    run: Run,
    rate: int,
    events: Callable[[int], AsyncIterator[Any]],
    send: Callable[[list[LiveQuote]], None],
) -> Run:
    """Send quotes at a rate for a time to clients, of which some read one event alone."""
    ready = asyncio.Semaphore(0)

    async def read(client: int) -> None:
        async with aclosing(events(client)) as stream:  # type: ignore[type-var]  # both are generators
            await anext(stream)
            ready.release()
            if client >= CLIENTS:
                await asyncio.Event().wait()
            async for message in stream:
                if message.event == "quote":
                    run.events += 1
                    sent = datetime.fromisoformat(json.loads(message.data)["received"])
                    run.delays.append((_now() - sent).total_seconds())

    tasks = [asyncio.create_task(read(client)) for client in range(CLIENTS + IDLE)]
    for _ in tasks:
        await ready.acquire()
    gc.collect()
    begin, count, turn = perf_counter(), 0, 0
    while (passed := perf_counter() - begin) < SECONDS:
        due = int(passed * rate) - count
        send([_quote(count + number) for number in range(min(due, SYMBOLS))])
        count += due
        turn += 1
        if turn % 50 == 0:
            run.memory.append(_memory())
        await asyncio.sleep(_PAUSE)
    run.memory.append(_memory())
    run.took = perf_counter() - begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return run


def _quote(number: int) -> LiveQuote:
    now = _now()
    traded = now - timedelta(microseconds=1)
    return LiveQuote(
        _NAMES[number % SYMBOLS], 100.0 + number % 997 / 100, "USD", traded, now, "bench"
    )


def _watched(client: int) -> list[str]:
    return [_NAMES[(client * 7 + number * 11) % SYMBOLS] for number in range(EACH)]


def _now() -> datetime:
    return datetime.now(UTC)


def _memory() -> float:
    """Return the resident memory of this process, in MB; 0 where the system does not state it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # a plain file
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0
