"""The board of quotes that all processes share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import msgspec

from rebalancer.adapters.redis.connection import AsyncConnection, Connection
from rebalancer.domain.market.live_quotes import LiveQuote, PostedQuote, TradingPhase

FORMAT = "1"
"""Version of the encoding, a part of the keys."""

_KEPT = timedelta(days=7)
"""Time after the last post of any quote until all expire."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

SILENCE = 5.0
"""Seconds without a message after which a follower checks its connection."""


class _Figures(msgspec.Struct, frozen=True, array_like=True):
    """What a quote has besides its times."""

    symbol: str
    price: float
    currency: str
    source: str
    bid: float | None = None
    ask: float | None = None
    phase: str | None = None


class RedisQuoteBoard:
    """See `QuoteBoard`.

    A hash has the latest quotes, a channel publishes them, and a sorted set has the assets that are
    asked for. A script compares, numbers and publishes in one step; its numbers are at least the
    microseconds since 1970 by the server's clock, so that they also grow when the server has lost
    its data.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        name = connection.name
        self._latest, self._number = name("quotes", FORMAT), name("quotes", FORMAT, "number")
        self._wanted, self._channel = name("quotes", "wanted"), name("quotes", FORMAT, "news")
        self._script = (files("rebalancer.adapters.redis") / "post_quotes.lua").read_text("utf-8")

    def post(self, quotes: Sequence[LiveQuote]) -> tuple[PostedQuote, ...]:
        if not quotes:
            return ()
        arguments: list[str | bytes | int] = [self._channel, _KEPT // timedelta(milliseconds=1)]
        for quote in quotes:
            times = (_microseconds(quote.traded), _microseconds(quote.received))
            arguments += [quote.symbol, *times, _encode(quote)]
        keys = [self._latest, self._number]
        entries = self._connection.ask(
            lambda client: client.register_script(self._script)(keys, arguments)
        )
        return _decode(entries)

    def latest(self, symbols: Collection[str]) -> Mapping[str, PostedQuote]:
        if not symbols:
            return {}
        entries = self._connection.ask(lambda client: client.hmget(self._latest, sorted(symbols)))
        return {one.quote.symbol: one for one in _decode(entries)}

    def want(self, symbols: Collection[str], *, until: datetime) -> None:
        if not symbols:
            return
        times = dict.fromkeys(symbols, until.timestamp())
        self._connection.ask(lambda client: client.zadd(self._wanted, times, gt=True))

    def wanted(self, now: datetime) -> frozenset[str]:
        _, found = self._connection.ask(
            lambda client: (
                client.pipeline(transaction=False)
                .zremrangebyscore(self._wanted, "-inf", now.timestamp())
                .zrange(self._wanted, 0, -1)
                .execute()
            )
        )
        return frozenset(symbol.decode() for symbol in found)

    async def follow(self) -> AsyncIterator[Sequence[PostedQuote]]:
        loop = AsyncConnection(self._connection)
        try:
            async with loop.subscription(self._channel) as subscription:
                yield ()
                while True:
                    message = await subscription.next(SILENCE)
                    if message is not None:
                        yield _decode(message.split(b"\n"))
        finally:
            await loop.close()


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _encode(quote: LiveQuote) -> bytes:
    return msgspec.json.encode(
        _Figures(
            quote.symbol,
            quote.price,
            quote.currency,
            quote.source,
            quote.bid,
            quote.ask,
            quote.phase,
        )
    )


_DECODER: Any = msgspec.json.Decoder(_Figures)


def _decode(entries: Sequence[bytes | None]) -> tuple[PostedQuote, ...]:
    """Return the quotes of entries; those that another program has written are left out."""
    found = []
    for entry in entries:
        if entry is None:
            continue
        try:
            number, traded, received, encoded = entry.split(b" ", 3)
            figures = _DECODER.decode(encoded)
            quote = LiveQuote(
                figures.symbol,
                figures.price,
                figures.currency,
                _EPOCH + int(traded) * _MICROSECOND,
                _EPOCH + int(received) * _MICROSECOND,
                figures.source,
                figures.bid,
                figures.ask,
                None if figures.phase is None else TradingPhase(figures.phase),
            )
            found.append(PostedQuote(int(number), quote))
        except (ValueError, OverflowError, msgspec.DecodeError):
            continue
    return tuple(found)
