"""The subscriber of live quotes: a thread in every process that may hold the lease."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import attrs

from rebalancer.application.ports.quotes import QuoteFeed
from rebalancer.application.quote_subscription import (
    HoldSubscription,
    ListQuotedAssets,
    PostTicks,
)
from rebalancer.application.resilience import OutageLog
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.market.live_quotes import LiveQuote, Tick

log = logging.getLogger("rebalancer.quotes")


@attrs.frozen
class SubscriberTimes:
    """Intervals of a subscriber, in seconds.

    Attributes:
        heartbeat: Between two extensions of the lease, and two attempts to take it; a third of its
            lifetime.
        assets: Between two looks at what is wanted.
        post: Between two posts; trades of an asset in between are replaced by the last one.
    """

    heartbeat: float = 5.0
    assets: float = 5.0
    post: float = 0.1


class QuoteSubscriber:
    """A thread that subscribes to quotes while this process holds the lease.

    Args:
        hold: Lease.
        assets: What to subscribe to.
        post: Board.
        feed: Creates the feed, within the event loop of the thread.
        times: Intervals.
        holder: Name of this process in the lease; None: machine, process and a random part.
    """

    def __init__(
        self,
        hold: HoldSubscription,
        assets: ListQuotedAssets,
        post: PostTicks,
        feed: Callable[[], QuoteFeed],
        *,
        times: SubscriberTimes | None = None,
        holder: str | None = None,
    ) -> None:
        """Start the thread."""
        self._hold, self._assets, self._post, self._create_feed = hold, assets, post, feed
        self._times = times or SubscriberTimes()
        self.holder = holder or f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self.subscribes = False
        """Whether this process holds the lease."""

        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stopped = threading.Event()
        self._ready = threading.Event()
        self._feed = OutageLog(log, "there are no live quotes", "there are live quotes again")
        self._store = OutageLog(log, "cannot keep the lease of quotes", "can keep it again")
        self._board = OutageLog(log, "cannot post quotes", "can post quotes again")
        self._faulty = OutageLog(log, "a report is not a quote", "reports are quotes again")
        self._thread = threading.Thread(target=self._run, name="quotes", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give the lease back and end the thread."""
        self._ready.wait()
        self._stopped.set()
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:
            log.exception("live quotes have ended")
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        while not self._stopped.is_set():
            if await self._take():
                try:
                    await self._subscribe()
                except RebalancerError as error:
                    self._feed.failed(error)
                except Exception:
                    log.exception("the subscription to quotes has failed")
            await self._wait(self._times.heartbeat)
        with suppress(RebalancerError):
            await asyncio.to_thread(self._hold.give_back, self.holder)

    async def _wait(self, seconds: float) -> bool:
        """Wait for a time; return at once, and true, when this process ends."""
        assert self._stop is not None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    async def _take(self) -> bool:
        """Return whether the lease is taken; an unavailable store counts as not."""
        try:
            taken = await asyncio.to_thread(self._hold.take, self.holder)
        except RebalancerError as error:
            self._store.failed(error)
            return False
        self._store.succeeded()
        return taken

    async def _subscribe(self) -> None:
        """Run the feed until the lease is lost, or this process ends."""
        log.info("subscribing to quotes as %s", self.holder)
        self.subscribes = True
        feed = self._create_feed()
        pending: dict[str, Tick] = {}

        def collect(tick: Tick) -> None:
            before = pending.get(tick.symbol)
            if before is None or tick.traded >= before.traded:
                pending[tick.symbol] = tick

        tasks = [
            asyncio.create_task(feed.run(collect)),
            asyncio.create_task(self._keep_lease()),
            asyncio.create_task(self._keep_assets(feed)),
            asyncio.create_task(self._keep_posting(pending)),
        ]
        stop = asyncio.create_task(self._stop.wait()) if self._stop is not None else None
        waited = [*tasks, *([] if stop is None else [stop])]
        try:
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waited:
                task.cancel()
            await asyncio.gather(*waited, return_exceptions=True)
            self.subscribes = False

    async def _keep_lease(self) -> None:
        """Extend the lease; return when another process may have it."""
        clock = asyncio.get_running_loop().time
        lifetime = self._hold.lifetime.total_seconds()
        ends = clock() + lifetime
        while True:
            await asyncio.sleep(self._times.heartbeat)
            begins = clock()
            try:
                if not await asyncio.to_thread(self._hold.take, self.holder):
                    log.warning("another process subscribes to quotes by now")
                    return
            except RebalancerError as error:
                self._store.failed(error)
                if clock() >= ends - self._times.heartbeat:  # before another one may take over
                    return
                continue
            self._store.succeeded()
            ends = begins + lifetime

    async def _keep_assets(self, feed: QuoteFeed) -> None:
        while True:
            try:
                feed.want(await asyncio.to_thread(self._assets, datetime.now(UTC)))
            except RebalancerError as error:
                self._store.failed(error)
            await asyncio.sleep(self._times.assets)

    async def _keep_posting(self, pending: dict[str, Tick]) -> None:
        """Post what was collected; keep the latest quotes to repeat those that a board loses."""
        latest: dict[str, LiveQuote] = {}
        repeated = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(self._times.post)
            ticks = list(pending.values())
            pending.clear()
            try:
                if ticks:
                    posted, faults = await asyncio.to_thread(self._post, ticks)
                    latest.update((one.quote.symbol, one.quote) for one in posted)
                    self._feed.succeeded()
                    if faults:
                        self._faulty.failed(faults[0].text)
                    else:
                        self._faulty.succeeded()
                if latest and asyncio.get_running_loop().time() - repeated >= self._times.assets:
                    repeated = asyncio.get_running_loop().time()
                    await asyncio.to_thread(self._post.repeat, list(latest.values()))
            except RebalancerError as error:
                self._board.failed(error)
                for tick in ticks:
                    pending.setdefault(tick.symbol, tick)
            else:
                self._board.succeeded()
