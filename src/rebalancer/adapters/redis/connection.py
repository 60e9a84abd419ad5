"""Clients of a Redis server, which callers can do without for a while.

Redis holds nothing that is worth a wait. After a failure the circuit breaker makes every caller
continue without Redis at once; after a pause one caller tries again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

from rebalancer.application.resilience import CircuitBreaker, OutageLog
from rebalancer.domain.errors import InvalidRequest, Unavailable

T = TypeVar("T")

Command = tuple[str | int, ...]
"""Name of a Redis command and its arguments."""

TIMEOUT = 0.5
"""Seconds for a connection or an answer; a server nearby needs a thousandth of it."""

PREFIX = "rebalancer"
"""Default prefix of all keys."""

_BATCH = 1_000
"""Commands sent at a time."""

_CONNECTIONS = 32
"""Maximum number of connections of a process; further callers wait for one."""

log = logging.getLogger("rebalancer.redis")


class RedisAway(Unavailable):
    """Redis is unavailable; callers fall back."""

    default_code = "redis_unavailable"


class RedisRejected(RedisAway):
    """Redis rejected the command (wrong type or out of memory); other commands may succeed."""

    default_code = "redis_rejected"


class RedisBreaker:
    """Circuit breaker shared by all clients of one server.

    It also repeats the commands that a restarted server may have lost.

    Args:
        pause: Seconds after a failure in which no caller asks the server.
        rejection_log_interval: Seconds between two logs of rejected commands.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        pause: float = 1.0,
        *,
        rejection_log_interval: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        outage_log = OutageLog(
            log, "Redis is unavailable; continuing without it", "Redis answers again"
        )
        self._circuit = CircuitBreaker(
            "Redis is unavailable", pause=pause, trial=pause, log=outage_log, clock=clock
        )
        self._clock = clock
        self._rejection_log_interval = rejection_log_interval
        self._rejection_logged = float("-inf")
        self._reconnected = False
        self._replays: list[Callable[[], Sequence[Command]]] = []

    def check(self) -> None:
        """Let the caller ask Redis.

        Raises:
            RedisAway: Redis failed a moment ago.
        """
        try:
            self._circuit.check()
        except Unavailable as error:
            raise RedisAway(error.message) from None

    def failed(self, error: Exception) -> RedisAway:
        """Record that Redis did not answer; return the error to raise."""
        self._circuit.failed(error)
        return RedisAway("Redis is unavailable")

    def rejected(self, error: Exception) -> RedisRejected:
        """Record that Redis rejected a command; return the error to raise."""
        now = self._clock()
        if now - self._rejection_logged >= self._rejection_log_interval:
            self._rejection_logged = now
            log.warning("Redis rejected a command; continuing without it: %s", error)
        return RedisRejected("Redis rejected a command")

    def succeeded(self) -> bool:
        """Record an answer; return whether the server may have lost its data since the last."""
        reconnected, self._reconnected = self._reconnected, False
        return self._circuit.succeeded() or reconnected

    def connected(self) -> None:
        """Record a new connection, perhaps to a restarted, empty server."""
        self._reconnected = True

    def replay(self, commands: Callable[[], Sequence[Command]]) -> None:
        """Register commands to repeat whenever the server may have lost its data."""
        self._replays.append(commands)

    def replays(self) -> Iterator[Sequence[Command]]:
        """Return the commands to repeat, in batches."""
        for replay in self._replays:
            commands = replay()
            for at in range(0, len(commands), _BATCH):
                yield commands[at : at + _BATCH]


class Connection:
    """Synchronous client.

    Args:
        url: URL of the server and its database.
        prefix: Prefix of all keys; deployments that share a server use different ones.
        timeout: Seconds, see `TIMEOUT`.
        breaker: Circuit breaker.

    Raises:
        InvalidRequest: the URL is malformed.
        Unavailable: the Redis client package is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = PREFIX,
        timeout: float = TIMEOUT,
        breaker: RedisBreaker | None = None,
    ) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.connection import BlockingConnectionPool
            from redis.retry import Retry
        except ImportError:
            raise Unavailable(
                "Redis needs a further package: pip install 'rebalancer[servers]'",
                code="package_missing",
            ) from None
        self.url, self.prefix, self.timeout = url, prefix, timeout
        self.breaker = breaker or RedisBreaker()
        self._failures = (redis.RedisError, OSError)
        self._rejection = redis.ResponseError

        def connect(connection: Any) -> None:
            connection.on_connect()
            self.breaker.connected()

        pool = _pool(
            BlockingConnectionPool,
            url,
            timeout,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=connect,
        )
        self._client = redis.Redis.from_pool(pool)

    def name(self, *parts: str) -> str:
        """Return the key for some parts."""
        return ":".join((self.prefix, *parts))

    def ask(self, command: Callable[[Any], T]) -> T:
        """Return the answer to a command.

        Args:
            command: Called with the client, whose types do not tell an answer from an awaitable.

        Raises:
            RedisAway: Redis does not answer.
            RedisRejected: Redis rejected the command.
        """
        self.breaker.check()
        try:
            answer = command(self._client)
        except self._rejection as error:
            self._succeeded()
            raise self.breaker.rejected(error) from error
        except self._failures as error:
            raise self.breaker.failed(error) from error
        self._succeeded()
        return answer

    def _succeeded(self) -> None:
        """Record an answer; first repeat what the server may have lost."""
        if not self.breaker.succeeded():
            return
        try:
            for commands in self.breaker.replays():
                pipeline: Any = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                pipeline.execute(raise_on_error=False)
        except self._failures as error:
            self.breaker.failed(error)

    def check(self) -> None:
        """Check that Redis answers.

        Raises:
            RedisAway: it does not.
        """
        self.ask(lambda client: client.ping())

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class AsyncConnection:
    """Client for an event loop; shares the circuit breaker of a synchronous client.

    Args:
        other: Synchronous client of the same server.
    """

    def __init__(self, other: Connection) -> None:
        import redis.asyncio
        from redis.asyncio.connection import BlockingConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self.name = other.name
        self._breaker = other.breaker
        self._failures = (redis.RedisError, OSError)
        self._rejection = redis.ResponseError

        async def connect(connection: Any) -> None:
            await connection.on_connect()
            self._breaker.connected()

        pool = _pool(
            BlockingConnectionPool,
            other.url,
            other.timeout,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=connect,
        )
        self._client = redis.asyncio.Redis.from_pool(pool)

    async def ask(self, command: Callable[[Any], Awaitable[T]]) -> T:
        """See `Connection.ask`."""
        self._breaker.check()
        try:
            answer = await command(self._client)
        except self._rejection as error:
            await self._succeeded()
            raise self._breaker.rejected(error) from error
        except self._failures as error:
            raise self._breaker.failed(error) from error
        await self._succeeded()
        return answer

    async def _succeeded(self) -> None:
        """See `Connection`."""
        if not self._breaker.succeeded():
            return
        try:
            for commands in self._breaker.replays():
                pipeline: Any = self._client.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                await pipeline.execute(raise_on_error=False)
        except self._failures as error:
            self._breaker.failed(error)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _pool(kind: Any, url: str, timeout: float, **options: Any) -> Any:
    """Create a connection pool without a connection.

    Raises:
        InvalidRequest: the URL is malformed; the message omits it, as it holds a password.
    """
    from redis.exceptions import RedisError

    redis_url = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
    try:
        pool = kind.from_url(
            redis_url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            max_connections=_CONNECTIONS,
            timeout=timeout,  # of the wait for a free connection
            **options,
        )
        pool.connection_class(**pool.connection_kwargs)  # rejects unknown options of the URL
    except (ValueError, TypeError, RedisError):
        raise InvalidRequest(
            "the Redis URL is malformed; use a URL such as redis://:password@host:6379/0 with "
            "options that redis-py supports",
            field="REBALANCER_REDIS_URL",
            code="malformed_redis_url",
        ) from None
    return pool
