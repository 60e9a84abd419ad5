"""A Redis server: how to ask it, and when not to.

Nothing here is worth waiting for. A server that did not answer is left alone for a moment, and all
who would have asked it go on without at once; then one of them tries again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from threading import Lock
from typing import Any, TypeVar

from rebalancer.domain.errors import Unavailable

T = TypeVar("T")

PATIENCE = 0.5
"""Seconds that connecting may take, and an answer: a near server needs a thousandth of it."""

PAUSE = 1.0
"""Seconds for which a server that did not answer is not asked again."""

_CONNECTIONS = 32
"""That a process holds at most; further requests wait for one of them."""

log = logging.getLogger("rebalancer.redis")


class Away(Unavailable):
    """Redis does not answer, or did not a moment ago."""


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
                raise Away("Redis does not answer")
            self._again = now + self._pause

    def failed(self, error: Exception) -> Away:
        """Note that there was no answer, or no sensible one."""
        with self._lock:
            told, self._away = self._away, True
            self._again = self._clock() + self._pause
        if not told:
            log.warning("Redis does not answer, and is done without: %s", error)
        return Away("Redis does not answer")

    def answered(self) -> None:
        """Note that there was an answer."""
        if self._away:
            with self._lock:
                self._away, self._again = False, 0.0
            log.warning("Redis answers again")


class Connection:
    """For plain functions.

    Args:
        url: Of the server, and its database.
        prefix: What all names there begin with.
        patience: Seconds, see `PATIENCE`.
        breaker: Whether it pays to ask.

    Raises:
        Unavailable: the package that speaks to Redis is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "rebalancer",
        patience: float = PATIENCE,
        breaker: Breaker | None = None,
    ) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise _missing() from None
        self.url, self.prefix, self.patience = url, prefix, patience
        self.breaker = breaker or Breaker()
        self._failures = (redis.RedisError, OSError)
        pool = redis.BlockingConnectionPool.from_url(
            _spoken(url), **_options(patience), retry=Retry(NoBackoff(), 0)
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
        """
        self.breaker.check()
        try:
            answer = question(self._client)
        except self._failures as error:
            raise self.breaker.failed(error) from None
        self.breaker.answered()
        return answer

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
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self.name = other.name
        self._breaker = other.breaker
        self._failures = (redis.RedisError, OSError)
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            _spoken(other.url), **_options(other.patience), retry=Retry(NoBackoff(), 0)
        )
        self._client = redis.asyncio.Redis.from_pool(pool)

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """See `Connection.ask`."""
        self._breaker.check()
        try:
            answer = await question(self._client)
        except self._failures as error:
            raise self._breaker.failed(error) from None
        self._breaker.answered()
        return answer

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


def _options(patience: float) -> dict[str, Any]:
    return {
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "max_connections": _CONNECTIONS,
        "timeout": patience,  # of waiting for one of them
    }


def _spoken(url: str) -> str:
    """The URL as the package knows it: Valkey is spoken to as Redis is."""
    return url.replace("valkey", "redis", 1) if url.startswith("valkey") else url


def _missing() -> Unavailable:
    return Unavailable("Redis needs another package: pip install 'rebalancer[servers]'")
