"""The board of quotes of one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Lock

import attrs

from rebalancer.domain.market.live_quotes import LiveQuote, PostedQuote


@attrs.define(eq=False)
class _Follower:
    """Posted quotes that one follower has not taken, the latest of each asset."""

    loop: asyncio.AbstractEventLoop
    news: asyncio.Event = attrs.field(factory=asyncio.Event)
    pending: dict[str, PostedQuote] = attrs.field(factory=dict)


class MemoryQuoteBoard:
    """See `QuoteBoard`; threads and event loops may share it.

    Numbers are at least the microseconds since 1970, so that they also grow over restarts.

    Args:
        clock: Seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._latest: dict[str, PostedQuote] = {}
        self._number = 0
        self._until: dict[str, datetime] = {}
        self._followers: set[_Follower] = set()

    def post(self, quotes: Sequence[LiveQuote]) -> tuple[PostedQuote, ...]:
        posted = []
        with self._lock:
            for quote in quotes:
                before = self._latest.get(quote.symbol)
                if not quote.replaces(None if before is None else before.quote):
                    continue
                self._number = max(self._number + 1, int(self._clock() * 1e6))
                one = PostedQuote(self._number, quote)
                self._latest[quote.symbol] = one
                posted.append(one)
            if not posted:
                return ()
            for follower in self._followers:
                # The latest of each asset alone, however slow the follower is.
                follower.pending.update((one.quote.symbol, one) for one in posted)
                with suppress(RuntimeError):  # its loop has ended
                    follower.loop.call_soon_threadsafe(follower.news.set)
        return tuple(posted)

    def latest(self, symbols: Collection[str]) -> Mapping[str, PostedQuote]:
        with self._lock:
            return {symbol: self._latest[symbol] for symbol in symbols if symbol in self._latest}

    def want(self, symbols: Collection[str], *, until: datetime) -> None:
        with self._lock:
            for symbol in symbols:
                self._until[symbol] = max(until, self._until.get(symbol, until))

    def wanted(self, now: datetime) -> frozenset[str]:
        with self._lock:
            self._until = {one: until for one, until in self._until.items() if until > now}
            return frozenset(self._until)

    async def follow(self) -> AsyncIterator[Sequence[PostedQuote]]:
        follower = _Follower(asyncio.get_running_loop())
        with self._lock:
            self._followers.add(follower)
        try:
            yield ()
            while True:
                await follower.news.wait()
                with self._lock:
                    follower.news.clear()
                    pending, follower.pending = follower.pending, {}
                yield sorted(pending.values(), key=lambda one: one.number)
        finally:
            with self._lock:
                self._followers.discard(follower)
