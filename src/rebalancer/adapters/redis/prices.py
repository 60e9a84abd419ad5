"""Prices that were asked for a moment ago, by any process."""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from hashlib import sha256
from threading import Lock
from typing import Any, Generic, TypeVar
from uuid import uuid4

import attrs
import msgspec
import numpy as np

from rebalancer.adapters.redis.connection import Away, Connection
from rebalancer.application.ports.market import PriceSource
from rebalancer.domain.market.prices import PriceHistory

T = TypeVar("T")

LIFETIME = 60.0
"""Seconds for which an answer serves; up to a tenth less, so that not all end at once."""

LONGEST_FILL = 10.0
"""Seconds that whoever reads the source has before somebody else does; it may have died."""

_POLL = 0.02
_REMEMBERED = 32
"""Answers that a process holds; of a large market one takes some 10 MB."""

_LOCKS = 16


class _Window(msgspec.Struct, frozen=True, array_like=True):
    """A history as MessagePack: days since 1970 as int64, closes row by row as float64."""

    symbols: tuple[str, ...]
    dates: memoryview
    closes: memoryview


@attrs.frozen
class _Kind(Generic[T]):
    """How one sort of answer travels."""

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    tag: Callable[[T], str]


class CachedPrices:
    """Answers of a source that takes its time, kept in Redis for a minute or until it changes.

    An answer is a hash of what it is and of its tag: the generation of prices that it was read in,
    and a digest. A process remembers the last answers as objects and asks for tags alone, so that
    the same call gives the same object for as long as nothing changed, in Redis or behind it.
    Whoever finds nothing takes a lock, so that one reads the source while others wait for what it
    finds. While Redis is away, each asks the source.

    Args:
        source: What is asked in the end.
        connection: To the server.
        lifetime: Seconds, see `LIFETIME`.
        patience: Seconds that somebody waits for what another one reads, before they read
            themselves.
    """

    def __init__(
        self,
        source: PriceSource,
        connection: Connection,
        *,
        lifetime: float = LIFETIME,
        patience: float = LONGEST_FILL,
    ) -> None:
        self._source = source
        self._connection = connection
        self._lifetime = lifetime
        self._patience = patience
        self._objects: OrderedDict[str, tuple[str, object]] = OrderedDict()
        self._objects_lock = Lock()
        self._locks = tuple(Lock() for _ in range(_LOCKS))

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`."""
        return self._cached(_SYMBOLS, "symbols", self._source.symbols)

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        called = repr((None if symbols is None else list(symbols), days, until))
        return self._cached(
            _HISTORY,
            sha256(called.encode()).hexdigest(),
            lambda: self._source.closes(symbols, days=days, until=until),
        )

    def forget(self) -> None:
        """See `PriceCache.forget`."""
        with suppress(Away):
            self._connection.ask(lambda client: client.set(self._generation, uuid4().hex))

    def _cached(self, kind: _Kind[T], call: str, read: Callable[[], T]) -> T:
        """What is kept for a call, or else what reading gives."""
        try:
            found = self._kept(kind, call)
            if found is not None:
                return found
            with self._locks[hash(call) % _LOCKS]:  # one at a time in this process, and then
                return self._fetched(kind, call, read)  # one at a time in all of them
        except Away:
            return self._same(kind, call, read())

    def _fetched(self, kind: _Kind[T], call: str, read: Callable[[], T]) -> T:
        name = self._connection.name("prices", call, "lock")
        held = self._connection.ask(
            lambda client: client.lock(name, timeout=LONGEST_FILL, blocking=False)
        )
        latest = time.monotonic() + self._patience
        while True:
            found = self._kept(kind, call)
            if found is not None:
                return found
            if self._connection.ask(lambda _: held.acquire()):
                break
            if time.monotonic() > latest:
                return self._filled(kind, call, read)
            time.sleep(_POLL)
        try:
            found = self._kept(kind, call)  # somebody may just have put it there
            return self._filled(kind, call, read) if found is None else found
        finally:
            self._release(held)

    def _filled(self, kind: _Kind[T], call: str, read: Callable[[], T]) -> T:
        """Read, and keep it for others.

        The generation is asked for first: what is written while we read makes it another one, and
        what we keep worthless.
        """
        generation = self._connection.ask(lambda client: client.get(self._generation)) or b""
        value = self._same(kind, call, read())
        tag = f"{generation.decode()}:{kind.tag(value)}"
        ends = round(1000 * self._lifetime * random.uniform(0.9, 1.0))
        name, content = self._connection.name("prices", call), kind.encode(value)
        with suppress(Away):
            self._connection.ask(
                lambda client: (
                    client.pipeline(transaction=True)
                    .hset(name, mapping={"tag": tag, "value": content})
                    .pexpire(name, ends)
                    .execute()
                )
            )
        return value

    def _kept(self, kind: _Kind[T], call: str) -> T | None:
        """What is kept for a call, of the present generation."""
        name = self._connection.name("prices", call)
        generation, tag = self._connection.ask(
            lambda client: (
                client.pipeline(transaction=False).get(self._generation).hget(name, "tag").execute()
            )
        )
        if tag is None or not tag.startswith((generation or b"") + b":"):
            return None
        digest = tag.rpartition(b":")[2].decode()
        remembered = self._remembered(call)
        if remembered is not None and remembered[0] == digest:
            return remembered[1]  # type: ignore[return-value]  # one call, one kind of answer
        content = self._connection.ask(lambda client: client.hget(name, "value"))
        if content is None:
            return None
        try:
            value = kind.decode(content)
        except (msgspec.DecodeError, ValueError):  # of another version, or not ours
            return None
        return self._same(kind, call, value) if kind.tag(value) == digest else None

    def _same(self, kind: _Kind[T], call: str, value: T) -> T:
        """The object that was given before if it is equal; it is given from now on if not."""
        digest = kind.tag(value)
        with self._objects_lock:
            remembered = self._objects.get(call)
            if remembered is None or remembered[0] != digest:
                remembered = self._objects[call] = (digest, value)
            self._objects.move_to_end(call)
            if len(self._objects) > _REMEMBERED:
                self._objects.popitem(last=False)
        return remembered[1]  # type: ignore[return-value]  # one call, one kind of answer

    def _remembered(self, call: str) -> tuple[str, object] | None:
        with self._objects_lock:
            found = self._objects.get(call)
            if found is not None:
                self._objects.move_to_end(call)
        return found

    def _release(self, lock: Any) -> None:
        """Let others in, unless we took so long that they came in by themselves."""
        from redis.exceptions import LockError

        def release(_: Any) -> None:
            with suppress(LockError):
                lock.release()

        with suppress(Away):
            self._connection.ask(release)

    @property
    def _generation(self) -> str:
        return self._connection.name("prices", "generation")


def _encoded(history: PriceHistory) -> bytes:
    dates = np.ascontiguousarray(history.dates.astype("<i8"))
    closes = np.ascontiguousarray(history.closes.astype("<f8", copy=False))
    return msgspec.msgpack.encode(_Window(history.symbols, dates.data, closes.data))


def _decoded(content: bytes) -> PriceHistory:
    """A history as it was; its digest tells whether it is, so that it is not validated again."""
    window = _WINDOW.decode(content)
    dates = np.frombuffer(window.dates, "<i8").astype("datetime64[D]")
    closes = np.frombuffer(window.closes, "<f8").reshape(len(dates), len(window.symbols)).copy()
    for array in (dates, closes):
        array.setflags(write=False)
    return PriceHistory(window.symbols, dates, closes)


_WINDOW = msgspec.msgpack.Decoder(_Window)
_HISTORY = _Kind(_encoded, _decoded, lambda history: history.digest)
_SYMBOLS = _Kind(
    msgspec.msgpack.encode,
    msgspec.msgpack.Decoder(tuple[str, ...]).decode,
    lambda symbols: sha256("\n".join(symbols).encode()).hexdigest(),
)
