"""A Redis server: how to ask it, and when not to.

Nothing here is worth waiting for. A server that did not answer is left alone for a moment, and all
who would have asked it go on without at once; then one of them tries again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from threading import Lock
from typing import Any, TypeVar

from rebalancer.domain.errors import InvalidRequest, Unavailable

T = TypeVar("T")

Command = tuple[str | int, ...]
"""Its name, and what it is about."""

PATIENCE = 0.5
"""Seconds that connecting may take, and an answer: a near server needs a thousandth of it."""

PAUSE = 1.0
"""Seconds for which a server that did not answer is not asked again."""

PREFIX = "rebalancer"
"""What all names on a server begin with, unless somebody says otherwise."""

_AWAY = "Redis does not answer"
_TELL_AGAIN = 60.0
"""Seconds for which the log says of no other refusal."""

_AT_ONCE = 1_000
"""Commands that are sent at a time."""

_CONNECTIONS = 32
"""That a process holds at most; further requests wait for one of them."""

log = logging.getLogger("rebalancer.redis")


class Away(Unavailable):
    """Redis is of no help at the moment: whoever asked does without."""


class Refused(Away):
    """It answers, and does not do what it was asked: what stands there is not ours, or it is full.

    That says nothing of other questions, so it is asked them.
    """


class Breaker:
    """Whether it pays to ask; shared by all who ask one server.

    Args:
        pause: Seconds for which nobody asks after a failure.
        clock: Seconds; only differences matter.
    """

    def __init__(
        self, pause: float = PAUSE, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause = pause
        self._clock = clock
        self._lock = Lock()
        self._away = False
        self._again = 0.0
        self._renewed = False
        self._refused = float("-inf")
        self._reminders: list[Callable[[], Sequence[Command]]] = []

    def check(self) -> None:
        """Go ahead, or not; after the pause one may, and others once it was answered.

        Raises:
            Away: it does not pay.
        """
        if not self._away:
            return
        with self._lock:
            now = self._clock()
            if now < self._again:
                raise Away(_AWAY)
            self._again = now + self._pause

    def failed(self, error: Exception) -> Away:
        """Note that there was no answer."""
        with self._lock:
            told, self._away = self._away, True
            self._again = self._clock() + self._pause
        if not told:
            log.warning("Redis does not answer, and is done without: %s", error)
        return Away(_AWAY)

    def refused(self, error: Exception) -> Refused:
        """Note that there was an answer, which is of no help; the log says so once in a while."""
        with self._lock:
            now = self._clock()
            tell = now - self._refused >= _TELL_AGAIN
            if tell:
                self._refused = now
        if tell:
            log.warning("Redis refuses what it is asked, and is done without: %s", error)
        return Refused("Redis refuses what it is asked")

    def answered(self) -> bool:
        """Note that there was an answer; whether the server may have forgotten what it was told."""
        if not self._away and not self._renewed:
            return False
        with self._lock:
            away, self._away, self._again = self._away, False, 0.0
            renewed, self._renewed = self._renewed, False
        if away:
            log.warning("Redis answers again")
        return away or renewed

    def connected(self) -> None:
        """Note a new connection: the server may have begun anew, with nothing in it."""
        self._renewed = True

    def remind(self, of: Callable[[], Sequence[Command]]) -> None:
        """Have the server told something whenever it may have forgotten it."""
        self._reminders.append(of)

    def reminders(self) -> Iterator[Sequence[Command]]:
        """What it must be told now, so much at a time."""
        for of in self._reminders:
            commands = of()
            for at in range(0, len(commands), _AT_ONCE):
                yield commands[at : at + _AT_ONCE]


class Connection:
    """For plain functions.

    Args:
        url: Of the server, and its database.
        prefix: What all names there begin with; who shares a server takes another one.
        patience: Seconds, see `PATIENCE`.
        breaker: Whether it pays to ask.

    Raises:
        InvalidRequest: the URL is malformed.
        Unavailable: the package that speaks to Redis is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = PREFIX,
        patience: float = PATIENCE,
        breaker: Breaker | None = None,
    ) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.connection import BlockingConnectionPool
            from redis.retry import Retry
        except ImportError:
            raise _missing() from None
        self.url, self.prefix, self.patience = url, prefix, patience
        self.breaker = breaker or Breaker()
        self._failures = (redis.RedisError, OSError)
        self._refusal = redis.ResponseError

        def connect(connection: Any) -> None:
            connection.on_connect()
            self.breaker.connected()

        pool = _pool(
            BlockingConnectionPool,
            url,
            patience,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=connect,
        )
        self._client = redis.Redis.from_pool(pool)

    def name(self, *parts: str) -> str:
        """What something of ours is called there."""
        return ":".join((self.prefix, *parts))

    def ask(self, question: Callable[[Any], T]) -> T:
        """What Redis says.

        Args:
            question: Put to its client, whose types do not tell an answer from one to be awaited.

        Raises:
            Away: it does not answer.
            Refused: it does not do it.
        """
        self.breaker.check()
        try:
            answer = question(self._client)
        except self._refusal as error:
            self._answered()
            raise self.breaker.refused(error) from error
        except self._failures as error:
            raise self.breaker.failed(error) from error
        self._answered()
        return answer

    def _answered(self) -> None:
        """Note it; after an absence the server is told first what it may have forgotten."""
        if not self.breaker.answered():
            return
        try:
            for commands in self.breaker.reminders():
                pipeline: Any = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                pipeline.execute(raise_on_error=False)
        except self._failures as error:
            self.breaker.failed(error)

    def check(self) -> None:
        """See that it answers.

        Raises:
            Away: it does not.
        """
        self.ask(lambda client: client.ping())

    def close(self) -> None:
        """Hang up."""
        self._client.close()


class AsyncConnection:
    """The same server for an event loop; nobody asks either while one of them finds it away.

    Args:
        other: For plain functions.
    """

    def __init__(self, other: Connection) -> None:
        import redis.asyncio
        from redis.asyncio.connection import BlockingConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self.name = other.name
        self._breaker = other.breaker
        self._failures = (redis.RedisError, OSError)
        self._refusal = redis.ResponseError

        async def connect(connection: Any) -> None:
            await connection.on_connect()
            self._breaker.connected()

        pool = _pool(
            BlockingConnectionPool,
            other.url,
            other.patience,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=connect,
        )
        self._client = redis.asyncio.Redis.from_pool(pool)

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """See `Connection.ask`."""
        self._breaker.check()
        try:
            answer = await question(self._client)
        except self._refusal as error:
            await self._answered()
            raise self._breaker.refused(error) from error
        except self._failures as error:
            raise self._breaker.failed(error) from error
        await self._answered()
        return answer

    async def _answered(self) -> None:
        """See `Connection`'s."""
        if not self._breaker.answered():
            return
        try:
            for commands in self._breaker.reminders():
                pipeline: Any = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                await pipeline.execute(raise_on_error=False)
        except self._failures as error:
            self._breaker.failed(error)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


def _pool(kind: Any, url: str, patience: float, **options: Any) -> Any:
    """A pool of connections, none of which is made yet.

    Raises:
        InvalidRequest: the URL is malformed; it is not quoted, for the password in it.
    """
    from redis.exceptions import RedisError

    spoken = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
    try:
        pool = kind.from_url(
            spoken,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            max_connections=_CONNECTIONS,
            timeout=patience,  # of waiting for one of them
            **options,
        )
        pool.connection_class(**pool.connection_kwargs)  # which knows what the URL may ask for
    except (ValueError, TypeError, RedisError):
        raise InvalidRequest(
            "expected a URL such as redis://:password@host:6379/0, with no other options than "
            "redis-py knows",
            field="REBALANCER_REDIS_URL",
        ) from None
    return pool


def _missing() -> Unavailable:
    return Unavailable("Redis needs another package: pip install 'rebalancer[servers]'")
