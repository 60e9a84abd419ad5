"""Yahoo's stream of trades over a WebSocket, without a key.

The client of yfinance is not used: after a clean close it spins and blocks its event loop, and it
never connects again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from base64 import b64decode
from collections.abc import Callable, Collection
from typing import Any

from rebalancer.adapters.market_data.quote_feeds.pricing_data import (
    MalformedMessage,
    read_pricing_data,
)
from rebalancer.application.resilience import OutageLog
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.currencies import is_rate_symbol
from rebalancer.domain.market.live_quotes import Tick, TradingPhase

log = logging.getLogger("rebalancer.quotes")

URL = "wss://streamer.finance.yahoo.com/?version=2"

_CHUNK = 100
"""Assets of one subscription message."""

_LARGEST = 1_000_000
"""Bytes of a message that is read."""

_PHASES = (
    TradingPhase.PRE_MARKET,
    TradingPhase.REGULAR,
    TradingPhase.POST_MARKET,
    TradingPhase.EXTENDED,
)
"""By Yahoo's number of market hours."""


class YahooStream:
    """See `QuoteFeed`.

    Args:
        url: Address of the stream.
        first_wait: Seconds before the first reconnection; it doubles until a message arrives.
        longest_wait: Seconds between two attempts at most.
        ping: Seconds between two pings; a connection without an answer for as long is given up.
        renewal: Seconds after which all assets are subscribed again: the server forgets some.
    """

    name = "yahoo"

    def __init__(
        self,
        url: str = URL,
        *,
        first_wait: float = 1.0,
        longest_wait: float = 60.0,
        ping: float = 20.0,
        renewal: float = 30.0,
    ) -> None:
        self._url, self._ping, self._renewal = url, ping, renewal
        self._first_wait, self._longest_wait = first_wait, longest_wait
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._received = False
        self._outage = OutageLog(
            log, "the stream of Yahoo is unavailable", "the stream of Yahoo is back"
        )
        self._unreadable = OutageLog(
            log, "Yahoo sent a message that cannot be read", "Yahoo's messages can be read again"
        )

    def want(self, symbols: Collection[str]) -> None:
        self._wanted = frozenset(symbols)
        self._changed.set()

    async def run(self, deliver: Callable[[Tick], None]) -> None:
        try:
            from websockets.asyncio.client import connect
            from websockets.exceptions import WebSocketException
        except ImportError:
            raise Unavailable(
                "live quotes need a further package: pip install 'rebalancer[market]'",
                code="package_missing",
            ) from None
        failures = 0
        while True:
            while not self._wanted:  # nothing to connect for
                await self._changed.wait()
                self._changed.clear()
            self._received = False
            try:
                async with connect(
                    self._url,
                    ping_interval=self._ping,
                    ping_timeout=self._ping,
                    close_timeout=1.0,
                    max_size=_LARGEST,
                ) as socket:
                    await self._converse(socket, deliver)
                reason = "it closed the connection"
            except (OSError, WebSocketException, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            if self._received or not self._wanted:
                failures = 0
            else:
                failures += 1
                self._outage.failed(reason)
            await asyncio.sleep(self._wait(failures))

    def _wait(self, failures: int) -> float:
        """Return the seconds to wait after a number of connections without a message."""
        longest = min(self._first_wait * 2.0 ** min(failures, 30), self._longest_wait)
        return random.uniform(longest / 2, longest)  # no secret depends on it

    async def _converse(self, socket: Any, deliver: Callable[[Tick], None]) -> None:
        """Subscribe and deliver until the connection ends, or no asset is wanted."""
        sender = asyncio.create_task(self._subscribe(socket))
        receiver = asyncio.create_task(self._receive(socket, deliver))
        try:
            done, _ = await asyncio.wait((sender, receiver), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (sender, receiver):
                task.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)

    async def _subscribe(self, socket: Any) -> None:
        """Keep the subscriptions equal to what is wanted; return when nothing is."""
        subscribed: frozenset[str] = frozenset()
        while self._wanted:
            self._changed.clear()
            wanted = self._wanted
            await self._send(socket, "unsubscribe", subscribed - wanted)
            await self._send(socket, "subscribe", wanted - subscribed)
            subscribed = wanted
            try:
                await asyncio.wait_for(self._changed.wait(), self._renewal)
            except TimeoutError:
                subscribed = frozenset()  # all of them once more

    async def _send(self, socket: Any, verb: str, symbols: Collection[str]) -> None:
        listed = sorted(map(_to_yahoo, symbols))
        for at in range(0, len(listed), _CHUNK):
            await socket.send(json.dumps({verb: listed[at : at + _CHUNK]}))

    async def _receive(self, socket: Any, deliver: Callable[[Tick], None]) -> None:
        async for message in socket:
            try:
                tick = read_message(message)
            except ValueError as error:  # bad JSON, base64 and protobuf are such
                self._unreadable.failed(error)
                continue
            if tick is None:
                continue
            self._received = True
            self._unreadable.succeeded()
            self._outage.succeeded()
            if tick.symbol in self._wanted:
                deliver(tick)


def read_message(message: str | bytes) -> Tick | None:
    """Return the trade of a message of the stream; None for messages about something else.

    Raises:
        ValueError: it cannot be read.
    """
    document = json.loads(message)
    encoded = document.get("message") if isinstance(document, dict) else None
    if not isinstance(encoded, str) or document.get("type", "pricing") != "pricing":
        return None
    data = read_pricing_data(b64decode(encoded, validate=True))
    if not data.id or data.time <= 0:
        raise MalformedMessage("a trade lacks its symbol or its time")
    hours = data.market_hours
    return Tick(
        _from_yahoo(data.id),
        data.price,
        data.traded,
        YahooStream.name,
        data.currency or None,
        data.bid or None,
        data.ask or None,
        _PHASES[hours] if hours < len(_PHASES) else None,
    )


def _to_yahoo(symbol: str) -> str:
    """Return Yahoo's symbol: exchange rates have an ending there."""
    return f"{symbol}=X" if is_rate_symbol(symbol) else symbol


def _from_yahoo(symbol: str) -> str:
    rate = symbol.removesuffix("=X")
    return rate if is_rate_symbol(rate) else symbol
