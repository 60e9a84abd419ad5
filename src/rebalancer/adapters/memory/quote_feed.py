"""A feed of quotes that a program states, for tests, demonstrations and development."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from rebalancer.domain.market.live_quotes import Tick


class MemoryQuoteFeed:
    """See `QuoteFeed`: delivers what `send` is given of the assets that are wanted.

    Attributes:
        wanted: Assets that are wanted now.
    """

    name = "memory"

    def __init__(self, known: Collection[str] | None = None) -> None:
        """Know some assets; all when None."""
        self.wanted: frozenset[str] = frozenset()
        self._known = known
        self._pending: dict[str, Tick] = {}
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def want(self, symbols: Collection[str]) -> None:
        self.wanted = frozenset(symbols)
        self._news.set()

    def send(self, ticks: Sequence[Tick]) -> None:
        """Deliver reports, or keep the last one of each asset until it is wanted.

        Any thread may call it.
        """
        loop = self._loop
        if loop is None:
            self._keep(ticks)
        else:
            loop.call_soon_threadsafe(self._keep, ticks)

    def _keep(self, ticks: Sequence[Tick]) -> None:
        self._pending.update(
            (one.symbol, one) for one in ticks if self._known is None or one.symbol in self._known
        )
        self._news.set()

    async def run(self, deliver: Callable[[Tick], None]) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                self._news.clear()
                for symbol in sorted(self._pending.keys() & self.wanted):
                    deliver(self._pending.pop(symbol))
                await self._news.wait()
        finally:
            self._loop = None
