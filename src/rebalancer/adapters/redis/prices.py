"""The market, as some process has read it from its store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np

from rebalancer.adapters.redis.connection import Connection, RedisAway, RedisRejected
from rebalancer.domain.market.bars import MarketSnapshot
from rebalancer.domain.market.prices import PriceHistory

FORMAT = "1"
"""Part of the name of what is kept: a version that writes otherwise writes elsewhere."""

LIFETIME = 86_400.0
"""Seconds after which what nobody has read anew is gone, as its deployment may be."""

LONGEST_READ = 15.0
"""Seconds that whoever reads the store has before others do; it may have died."""

_POLL = 0.02
_PART = 1_000_000
"""Bytes that are sent at a time: a large market takes longer than a server has to answer."""

_DIGEST = sha256().digest_size


class _Market(msgspec.Struct, frozen=True, array_like=True):
    """An offer as MessagePack: days since 1970 as int64, closes row by row as float64."""

    revision: str
    symbols: tuple[str, ...]
    dates: memoryview
    closes: memoryview
    withheld: dict[str, str]


class RedisPriceCache:
    """See `PriceCache`: one entry for each deployment, as large as its market.

    It is a hash of the revision that it was read as of, and of what was read, in parts behind their
    digest; whoever reads the next revision puts that in its place. Whatever else stands there is
    nothing, and is replaced likewise.

    Whoever finds nothing takes a lock, which ends by itself, and reads the store. Others wait until
    that one has found something, has given up, has died or takes too long.

    Args:
        connection: To the server.
        lifetime: Seconds, see `LIFETIME`.
        patience: Seconds, see `LONGEST_READ`.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        lifetime: float = LIFETIME,
        patience: float = LONGEST_READ,
    ) -> None:
        self._connection = connection
        self._lifetime = lifetime
        self._patience = patience
        self._entry = connection.name("market", FORMAT)
        self._lock = connection.name("market", FORMAT, "lock")

    def get(self, revision: str, read: Callable[[], MarketSnapshot]) -> MarketSnapshot:
        """See `PriceCache.get`."""
        ours = uuid4().hex.encode()
        try:
            found = self._kept(revision) or self._awaited(revision, ours)
        except RedisAway:
            return read()
        if found is not None:
            return found
        try:
            offer = read()
            with suppress(RedisAway):
                self._keep(_encoded(revision, offer))
        finally:
            self._release(ours)
        return offer

    def _kept(self, revision: str) -> MarketSnapshot | None:
        """What is kept, if it is of this revision and whole."""
        try:
            told = self._connection.ask(lambda client: client.hget(self._entry, "revision"))
            if told != revision.encode():
                return None
            parts = self._connection.ask(lambda client: client.hgetall(self._entry))
        except RedisRejected:  # it is no hash
            return None
        return _decoded(revision, parts)

    def _awaited(self, revision: str, ours: bytes) -> MarketSnapshot | None:
        """What somebody else finds who is reading; None if it is for us to read."""
        latest = time.monotonic() + self._patience
        theirs = self._locked(ours)
        while theirs is not None:
            time.sleep(_POLL)
            still = self._connection.ask(lambda client: client.get(self._lock)) == theirs
            # Asked for after the lock, which is let go after what was read is kept.
            found = self._kept(revision)
            if found is not None or not still or time.monotonic() > latest:
                return found
        return self._kept(revision)  # somebody may just have put it there

    def _locked(self, ours: bytes) -> bytes | None:
        """Take the lock; None if it is ours, else whose it is."""
        ends = round(1000 * self._patience)
        taken, holder = self._connection.ask(
            lambda client: (
                client.pipeline(transaction=True)
                .set(self._lock, ours, nx=True, px=ends)
                .get(self._lock)
                .execute()
            )
        )
        return None if taken else holder

    def _release(self, ours: bytes) -> None:
        """Let others in, unless the lock was not ours, or is no longer."""
        with suppress(RedisAway):
            self._connection.ask(
                lambda client: client.register_script(_RELEASE)([self._lock], [ours])
            )

    def _keep(self, parts: Mapping[str, bytes]) -> None:
        self._connection.ask(
            lambda client: (
                client.pipeline(transaction=True)
                .delete(self._entry)
                .hset(self._entry, mapping=parts)
                .pexpire(self._entry, round(1000 * self._lifetime))
                .execute()
            )
        )


_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


def _encoded(revision: str, offer: MarketSnapshot) -> dict[str, bytes]:
    history = offer.history
    symbols = () if history is None else history.symbols
    dates = np.empty(0) if history is None else history.dates
    closes = np.empty((0, 0)) if history is None else history.closes
    told = msgspec.msgpack.encode(
        _Market(
            revision,
            symbols,
            np.ascontiguousarray(dates.astype("<i8")).data,
            np.ascontiguousarray(closes.astype("<f8", copy=False)).data,
            dict(offer.withheld),
        )
    )
    value = sha256(told).digest() + told
    parts = {str(at): value[at : at + _PART] for at in range(0, len(value), _PART)}
    return {"revision": revision.encode(), **parts}


def _decoded(revision: str, parts: dict[bytes, bytes]) -> MarketSnapshot | None:
    """An offer as it was; its digest tells whether it is, so that it is not validated again."""
    parts.pop(b"revision", None)
    try:
        value = b"".join(parts[at] for at in sorted(parts, key=int))
        digest, told = value[:_DIGEST], memoryview(value)[_DIGEST:]
        if sha256(told).digest() != digest:
            return None
        market = _MARKET.decode(told)
    except (msgspec.DecodeError, ValueError):  # not ours, though it stands where ours should
        return None
    if market.revision != revision:  # it was replaced between two questions
        return None
    if not market.symbols:
        return MarketSnapshot(None, market.withheld)
    dates = np.frombuffer(market.dates, "<i8").astype("datetime64[D]")
    closes = np.frombuffer(market.closes, "<f8").reshape(len(dates), len(market.symbols)).copy()
    for array in (dates, closes):
        array.setflags(write=False)
    return MarketSnapshot(PriceHistory(market.symbols, dates, closes), market.withheld)


_MARKET: Any = msgspec.msgpack.Decoder(_Market)
