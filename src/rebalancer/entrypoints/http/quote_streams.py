"""Stream quotes and portfolios at quotes as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs
import msgspec
from litestar.response import ServerSentEventMessage

from rebalancer.application.live_values import DescribeWatched, ValueLive, WatchedAsset
from rebalancer.application.ports.clock import Clock
from rebalancer.application.valuation import ValuedPortfolio
from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.domain.market.live_quotes import PostedQuote
from rebalancer.domain.market.sessions import MarketHours
from rebalancer.entrypoints.http.quote_hub import QuoteHub, Watcher
from rebalancer.entrypoints.http.streams import STILL_HERE, OpenStreams, Place
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.streams import (
    AssetsView,
    live_portfolio_view,
    quote_view,
    watched_view,
)

MOST_SYMBOLS = 100
"""Assets of one stream at most."""


@attrs.frozen
class StreamTimes:
    """Intervals of streams, in seconds.

    Attributes:
        check: Between two looks whether the user may still watch.
        pace: Between two events about a portfolio.
        refresh: Between two reads of a portfolio and of sessions of markets.
    """

    check: float = 2.0
    pace: float = 1.0
    refresh: float = 5.0


class Stream:
    """One client of a stream: it may watch, it is kept open, and it ends.

    Args:
        streams: Streams of this process.
        place: Place of this one.
        is_authorized: Whether the user may still watch.
        times: Intervals.
    """

    def __init__(
        self,
        streams: OpenStreams,
        place: Place,
        is_authorized: Callable[[], Awaitable[bool]],
        times: StreamTimes,
    ) -> None:
        self._streams, self._place, self._times = streams, place, times
        self._is_authorized = is_authorized
        self._checked = float("-inf")
        self._sent = time.monotonic()

    async def may_go_on(self) -> bool:
        """Return whether the stream goes on; the user's right is checked now and then."""
        if self._streams.stopping.is_set():
            return False
        now = time.monotonic()
        if now - self._checked >= self._times.check:
            if not await self._is_authorized():
                return False
            self._checked = now
        return True

    async def wait(self, watcher: Watcher, longest: float) -> None:
        """Wait for news, a time, a check, the next heartbeat or the end of the server."""
        now = time.monotonic()
        due = min(self._checked + self._times.check, self._sent + self._streams.heartbeat)
        await watcher.wait(max(min(longest, due - now), 0.0))

    def event(self, name: str, data: object, number: int) -> ServerSentEventMessage:
        """Return an event; its id is the number of the latest quote that it knows."""
        self._sent = time.monotonic()
        return ServerSentEventMessage(
            event=name, id=str(number), data=msgspec.json.encode(data, enc_hook=str).decode()
        )

    def heartbeat(self) -> ServerSentEventMessage | None:
        """Return a comment if nothing was sent for a while."""
        if time.monotonic() - self._sent < self._streams.heartbeat:
            return None
        self._sent = time.monotonic()
        return ServerSentEventMessage(data=None, comment=STILL_HERE)

    def close(self) -> None:
        """Free the place."""
        self._place.free()


@attrs.frozen(kw_only=True)
class QuoteStreams:
    """Streams of quotes of one server process.

    No store, transaction or connection is held while a stream waits.

    Attributes:
        hub: Quotes.
        streams: All open streams.
        describe: Closes and sessions.
        clock: Time.
        is_live: Whether the deployment receives quotes.
        times: Intervals.
    """

    hub: QuoteHub
    streams: OpenStreams
    describe: DescribeWatched
    clock: Clock
    is_live: bool
    times: StreamTimes = StreamTimes()

    async def market(
        self,
        assets: Mapping[str, WatchedAsset],
        *,
        stream: Stream,
        after: int,
        once: bool,
    ) -> AsyncIterator[ServerSentEventMessage]:
        """Yield the assets, then each quote that is newer than a number.

        Args:
            assets: What to watch.
            stream: The client.
            after: Number of the last quote that the client has.
            once: Whether to end after what is known now.
        """
        try:
            with self.hub.watch(assets) as watcher:
                await self.hub.load(assets)
                hours = self._hours(assets)
                last = _clip(after, watcher.take_all())
                sent = dict.fromkeys(assets, last)
                if not await stream.may_go_on():
                    return
                yield self._assets(stream, assets, hours, last)
                pending = watcher.take_all()
                read = time.monotonic()
                while True:
                    for posted in pending:
                        symbol = posted.quote.symbol
                        if posted.number > sent[symbol]:
                            sent[symbol], last = posted.number, max(last, posted.number)
                            view = quote_view(posted.quote, assets[symbol], self.clock())
                            yield stream.event("quote", view, last)
                    if once:
                        return
                    await stream.wait(watcher, self.times.refresh)
                    if not await stream.may_go_on():
                        return
                    if time.monotonic() - read >= self.times.refresh:
                        read = time.monotonic()
                        found = self._hours(assets)
                        if _states(found) != _states(hours):
                            hours = found
                            yield self._assets(stream, assets, hours, last)
                    pending = watcher.take()
                    if not pending and (comment := stream.heartbeat()) is not None:
                        yield comment
        finally:
            stream.close()

    async def portfolio(
        self,
        valued: ValuedPortfolio,
        *,
        stream: Stream,
        read: Callable[[], Awaitable[ValuedPortfolio]],
        value: ValueLive,
        once: bool,
    ) -> AsyncIterator[ServerSentEventMessage]:
        """Yield a portfolio whenever its value at quotes has changed.

        Args:
            valued: The portfolio at the last close.
            stream: The client.
            read: Reads it again; raises once the user may not, or it is closed.
            value: Values it at quotes.
            once: Whether to end after the first event.
        """
        try:
            while True:
                changed = None
                async for message in self._portfolio(valued, stream, read, value, once):
                    if isinstance(message, ValuedPortfolio):
                        changed = message
                    else:
                        yield message
                if changed is None:
                    return
                valued = changed
        finally:
            stream.close()

    async def _portfolio(
        self,
        valued: ValuedPortfolio,
        stream: Stream,
        read: Callable[[], Awaitable[ValuedPortfolio]],
        value: ValueLive,
        once: bool,
    ) -> AsyncIterator[ServerSentEventMessage | ValuedPortfolio]:
        """Yield the events of a portfolio with the same holdings; at last, the changed one."""
        held = frozenset(valued.portfolio.positions.holdings)
        markets = await run_in(READS, value.markets, held)
        quotes: dict[str, PostedQuote] = {}
        shown: tuple[Any, ...] | None = None
        with self.hub.watch(held) as watcher:
            await self.hub.load(held)
            checked = time.monotonic()
            while await stream.may_go_on():
                quotes.update((one.quote.symbol, one) for one in watcher.take())
                now = self.clock()
                live = value(
                    valued, {name: one.quote for name, one in quotes.items()}, markets, now
                )
                state = (
                    valued.portfolio.version,
                    valued.as_of,
                    live.value,
                    [(one.price, one.quote, one.fault, one.hours) for one in live.positions],
                )
                if state != shown:
                    shown = state
                    number = max((one.number for one in quotes.values()), default=0)
                    view = live_portfolio_view(live, now, is_live=self.is_live)
                    yield stream.event("portfolio", view, number)
                    if once:
                        return
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.streams.stopping.wait(), self.times.pace)
                elif (comment := stream.heartbeat()) is not None:
                    yield comment
                await stream.wait(watcher, self.times.refresh)
                if time.monotonic() - checked >= self.times.refresh:
                    checked = time.monotonic()
                    try:
                        with suppress(Unavailable):  # until the store is back
                            valued = await read()
                    except RebalancerError:  # it is closed, or not shared any more
                        return
                    if frozenset(valued.portfolio.positions.holdings) != held:
                        yield valued
                        return

    def _hours(self, assets: Mapping[str, WatchedAsset]) -> dict[str, MarketHours | None]:
        now = self.clock()
        return {name: self.describe.hours(one.market, now) for name, one in assets.items()}

    def _assets(
        self,
        stream: Stream,
        assets: Mapping[str, WatchedAsset],
        hours: Mapping[str, MarketHours | None],
        number: int,
    ) -> ServerSentEventMessage:
        views = [watched_view(one, hours[name]) for name, one in assets.items()]
        return stream.event("assets", AssetsView(live=self.is_live, assets=views), number)


def _states(hours: Mapping[str, MarketHours | None]) -> list[bool | None]:
    return [None if one is None else one.is_open for one in hours.values()]


def _clip(after: int, known: list[PostedQuote]) -> int:
    """Return the number after which quotes are sent.

    A number that the board has not reached is of another board, so that everything is sent.
    """
    newest = max((one.number for one in known), default=0)
    return after if after <= newest else 0
