"""Quotes of one server process: the board is followed once, for all streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import attrs

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.quotes import QuoteBoard
from rebalancer.application.resilience import OutageLog
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.live_quotes import PostedQuote
from rebalancer.entrypoints.http.threads import READS, run_in

log = logging.getLogger("rebalancer.quotes")

ASKED = timedelta(seconds=90)
"""Time for which a process asks for the assets of its streams."""


@attrs.define(eq=False)
class Watcher:
    """A stream's view of some assets: those with news since it looked last.

    A stream that is slow finds the latest quote of each asset, and nothing of those in between.
    """

    symbols: frozenset[str]
    _latest: dict[str, PostedQuote]
    _news: set[str] = attrs.field(factory=set)
    _event: asyncio.Event = attrs.field(factory=asyncio.Event)

    def note(self, symbol: str) -> None:
        """Record that an asset has a new quote."""
        self._news.add(symbol)
        self._event.set()

    def take(self) -> list[PostedQuote]:
        """Return the latest quotes of the assets with news, in the order of their numbers."""
        self._event.clear()
        found = [self._latest[symbol] for symbol in self._news if symbol in self._latest]
        self._news.clear()
        return sorted(found, key=lambda one: one.number)

    def take_all(self) -> list[PostedQuote]:
        """Return the latest quotes of all assets, in the order of their numbers."""
        self._news.update(self.symbols)
        return self.take()

    async def wait(self, seconds: float) -> None:
        """Wait until an asset has news, or a time has passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # without a task for each wait
                await self._event.wait()

    def wake(self) -> None:
        """End the wait."""
        self._event.set()


class QuoteHub:
    """The latest quotes of all assets that streams of this process watch.

    Args:
        board: Board that all processes share.
        clock: Time.
        retry: Seconds after a failure until the board is followed again.
        renewal: Seconds between two times that the assets are asked for.
    """

    def __init__(
        self, board: QuoteBoard, clock: Clock, *, retry: float = 1.0, renewal: float = 20.0
    ) -> None:
        self._board, self._clock = board, clock
        self._retry, self._renewal = retry, renewal
        self._latest: dict[str, PostedQuote] = {}
        self._watchers: dict[str, set[Watcher]] = {}
        self._outage = OutageLog(log, "cannot follow the board of quotes", "can follow it again")
        self._tasks: list[asyncio.Task[None]] = []
        self.follows = False
        """Whether the board is being followed."""

    def start(self, stopping: asyncio.Event | None = None) -> None:
        """Follow the board until `stop`; streams are woken when the server is ``stopping``."""
        if self._tasks:
            return
        runs = [self._follow(), self._renew()]
        if stopping is not None:
            runs.append(self._wake_all(stopping))
        self._tasks = [asyncio.create_task(run) for run in runs]

    async def stop(self) -> None:
        """Stop following."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def watch(self, symbols: Collection[str]) -> Iterator[Watcher]:
        """Watch assets in a block; call `load` within it, so that known quotes are seen."""
        watcher = Watcher(frozenset(symbols), self._latest)
        for symbol in watcher.symbols:
            self._watchers.setdefault(symbol, set()).add(watcher)
            if symbol in self._latest:
                watcher.note(symbol)
        try:
            yield watcher
        finally:
            for symbol in watcher.symbols:
                others = self._watchers[symbol]
                others.discard(watcher)
                if not others:
                    del self._watchers[symbol]
                    self._latest.pop(symbol, None)

    async def load(self, symbols: Collection[str]) -> None:
        """Ask for assets, and read what the board has of them; without the board, nothing."""
        with suppress(Unavailable):
            await self._ask(symbols)
            found = await run_in(READS, self._board.latest, list(symbols))
            self._note(found.values())

    async def _ask(self, symbols: Collection[str]) -> None:
        if symbols:
            await run_in(READS, self._board.want, list(symbols), until=self._clock() + ASKED)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renewal)
            with suppress(Unavailable):
                await self._ask(list(self._watchers))

    async def _wake_all(self, stopping: asyncio.Event) -> None:
        """Wake all streams when the server is stopping, so that they end at once."""
        await stopping.wait()
        for watcher in {one for watching in self._watchers.values() for one in watching}:
            watcher.wake()

    async def _follow(self) -> None:
        while True:
            try:
                await self._follow_once()
            except Unavailable as error:
                self._outage.failed(error)
            except Exception:
                log.exception("the board of quotes cannot be followed")
            finally:
                self.follows = False
            await asyncio.sleep(self._retry)

    async def _follow_once(self) -> None:
        async for posted in self._board.follow():
            if not self.follows:
                self.follows = True
                self._outage.succeeded()
                await self.load(list(self._watchers))  # what was missed before
            self._note(posted)

    def _note(self, posted: Iterable[PostedQuote]) -> None:
        for one in posted:
            symbol = one.quote.symbol
            watchers = self._watchers.get(symbol)
            if not watchers:
                continue
            before = self._latest.get(symbol)
            if before is None or one.number > before.number:
                self._latest[symbol] = one
                for watcher in watchers:
                    watcher.note(symbol)
