"""The market snapshot that one process has read from its store, for all processes."""

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
from rebalancer.domain.market.actions import Actions, CorporateAction
from rebalancer.domain.market.bars import MarketSnapshot

FORMAT = "3"
"""Version of the encoding, a part of the key."""

_POLL_INTERVAL = 0.02
_PART = 1_000_000
"""Bytes sent at a time: a server may not take a large market within one time-out."""

_DIGEST = sha256().digest_size


class _Market(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot as MessagePack: days since 1970 as int64, closes asset by asset as float64."""

    revision: str
    symbols: tuple[str, ...]
    days: memoryview
    closes: memoryview
    adjusted: tuple[str, ...]
    actions: tuple[CorporateAction, ...]
    withdrawn: tuple[CorporateAction, ...]


class RedisPriceCache:
    """See `PriceCache`: one entry for each deployment, as large as its market.

    The entry is a hash of the revision and of the snapshot, in parts after their digest; the next
    revision replaces it, and so does a valid snapshot a damaged one. A process that finds none
    takes a lock that expires, and reads the store; the others wait for the entry, the release of
    the lock or the end of ``read_timeout``.

    Args:
        lifetime: Seconds after which an unused entry expires.
        read_timeout: Seconds that the process with the lock has to read the store.
    """

    def __init__(
        self, connection: Connection, *, lifetime: float = 86_400.0, read_timeout: float = 15.0
    ) -> None:
        self._connection = connection
        self._lifetime, self._read_timeout = lifetime, read_timeout
        self._entry = connection.name("market", FORMAT)
        self._lock = connection.name("market", FORMAT, "lock")

    def get(self, revision: str, read: Callable[[], MarketSnapshot]) -> MarketSnapshot:
        token = uuid4().hex.encode()
        try:
            found = self._load(revision) or self._wait_for_entry(revision, token)
        except RedisAway:
            return read()
        if found is not None:
            return found
        try:
            snapshot = read()
            with suppress(RedisAway):
                self._store(_encode(revision, snapshot))
        finally:
            self._unlock(token)
        return snapshot

    def _load(self, revision: str) -> MarketSnapshot | None:
        """Return the entry if it is valid and has this revision."""
        try:
            stored = self._connection.ask(lambda client: client.hget(self._entry, "revision"))
            if stored != revision.encode():
                return None
            parts = self._connection.ask(lambda client: client.hgetall(self._entry))
        except RedisRejected:  # the key holds no hash
            return None
        return _decode(revision, parts)

    def _wait_for_entry(self, revision: str, token: bytes) -> MarketSnapshot | None:
        """Return the entry that another process stores; None if this process must read."""
        latest = time.monotonic() + self._read_timeout
        holder = self._take_lock(token)
        while holder is not None:
            time.sleep(_POLL_INTERVAL)
            is_held = self._connection.ask(lambda client: client.get(self._lock)) == holder
            # Loaded after the look at the lock, which is released after the entry is stored.
            found = self._load(revision)
            if found is not None or not is_held or time.monotonic() > latest:
                return found
        return self._load(revision)  # another process may have stored it just before

    def _take_lock(self, token: bytes) -> bytes | None:
        """Take the lock; return the token of the holder if another process has it."""
        expiry = round(1000 * self._read_timeout)
        taken, holder = self._connection.ask(
            lambda client: (
                client.pipeline(transaction=True)
                .set(self._lock, token, nx=True, px=expiry)
                .get(self._lock)
                .execute()
            )
        )
        return None if taken else holder

    def _unlock(self, token: bytes) -> None:
        """Release the lock if this process still holds it."""
        with suppress(RedisAway):
            self._connection.ask(
                lambda client: client.register_script(_RELEASE)([self._lock], [token])
            )

    def _store(self, parts: Mapping[str, bytes]) -> None:
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


def _encode(revision: str, snapshot: MarketSnapshot) -> dict[str, bytes]:
    encoded = msgspec.msgpack.encode(
        _Market(
            revision,
            snapshot.symbols,
            np.ascontiguousarray(snapshot.days.astype("<i8")).data,
            np.ascontiguousarray(snapshot.closes.T.astype("<f8", copy=False)).data,
            tuple(sorted(snapshot.adjusted)),
            snapshot.actions.entries,
            snapshot.actions.withdrawn,
        )
    )
    value = sha256(encoded).digest() + encoded
    parts = {str(at): value[at : at + _PART] for at in range(0, len(value), _PART)}
    return {"revision": revision.encode(), **parts}


def _decode(revision: str, parts: dict[bytes, bytes]) -> MarketSnapshot | None:
    """Decode an entry; None if it is damaged."""
    parts.pop(b"revision", None)
    try:
        value = b"".join(parts[at] for at in sorted(parts, key=int))
        digest, encoded = value[:_DIGEST], memoryview(value)[_DIGEST:]
        if sha256(encoded).digest() != digest:
            return None
        market = _MARKET.decode(encoded)
    except (msgspec.DecodeError, ValueError):  # not written by this application
        return None
    if market.revision != revision:  # replaced between two commands
        return None
    days = np.frombuffer(market.days, "<i8").astype("datetime64[D]")
    closes = np.frombuffer(market.closes, "<f8").reshape(len(market.symbols), len(days)).T
    actions = Actions(market.actions, market.withdrawn)
    return MarketSnapshot(market.symbols, days, closes, frozenset(market.adjusted), actions)


_MARKET: Any = msgspec.msgpack.Decoder(_Market)
