"""Clients of a Redis server, an optional dependency.

Redis holds nothing that is worth a wait. After a failure the circuit breaker makes every caller
continue without Redis at once; after a pause one caller tries again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

from rebalancer.application.resilience import CircuitBreaker, OutageLog
from rebalancer.application.secure_connections import describe_certificate_fault
from rebalancer.domain.errors import InvalidRequest, Unavailable

T = TypeVar("T")

Command = tuple[str | int, ...]
"""Name of a Redis command and its arguments."""

_BATCH = 1_000
"""Commands sent at a time."""

_CONNECTIONS = 32
"""Maximum number of connections of a process; further callers wait for one."""

_ANSWER = 5.0
"""Seconds that a server has to answer a subscriber."""

log = logging.getLogger("rebalancer.redis")


class RedisAway(Unavailable):
    """Redis is unavailable; callers fall back."""

    default_code = "redis_unavailable"


class RedisRejected(RedisAway):
    """Redis rejected the command (wrong type or out of memory); other commands may succeed."""

    default_code = "redis_rejected"


class RedisBreaker:
    """Circuit breaker shared by all clients of one server.

    It also repeats the commands that a restarted or unreachable server has lost.

    Args:
        pause: Seconds after a failure in which no caller asks the server.
        log_interval: Seconds between two logs of rejected commands.
    """

    def __init__(
        self,
        pause: float = 1.0,
        *,
        log_interval: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        messages = "Redis is unavailable; continuing without it", "Redis answers again"
        self._circuit = CircuitBreaker(
            lambda: RedisAway("Redis is unavailable"),
            _is_outage,
            pause=pause,
            trial=pause,
            log=OutageLog(log, *messages),
            clock=clock,
        )
        self._clock, self._log_interval = clock, log_interval
        self._rejection_logged = float("-inf")
        self.replay_due = False
        """Whether the server may have lost commands since they were sent last."""

        self._replays: list[Callable[[], Sequence[Command]]] = []

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Ask Redis in this block.

        Raises:
            RedisAway: Redis does not answer, or failed a moment ago.
            RedisRejected: Redis rejected the command.
        """
        from redis.exceptions import RedisError, ResponseError

        try:
            with self._circuit.guard():
                yield
        except ResponseError as error:
            now = self._clock()
            if now - self._rejection_logged >= self._log_interval:
                self._rejection_logged = now
                log.warning("Redis rejected a command; continuing without it: %s", error)
            raise RedisRejected("Redis rejected a command") from error
        except (RedisError, OSError) as error:
            self.replay_due = True
            fault = describe_certificate_fault(str(error))
            if fault is None:
                raise RedisAway("Redis is unavailable") from error
            raise RedisAway(
                f"the certificate of the Redis server {fault}", code="redis_certificate_invalid"
            ) from error

    def connected(self) -> None:
        """Record a new connection, perhaps to a restarted, empty server."""
        self.replay_due = True

    def replay(self, commands: Callable[[], Sequence[Command]]) -> None:
        """Register commands to repeat whenever the server may have lost them."""
        self._replays.append(commands)

    @contextmanager
    def replaying(self) -> Iterator[Iterator[Sequence[Command]]]:
        """Yield the commands to repeat, in batches; they stay due if the block fails."""
        self.replay_due = False
        commands = [command for replay in self._replays for command in replay()]
        try:
            with self.guard() if commands else nullcontext():
                yield (commands[at : at + _BATCH] for at in range(0, len(commands), _BATCH))
        except BaseException:
            self.replay_due = True
            raise


class Connection:
    """Synchronous client.

    Args:
        url: URL of the server and its database.
        prefix: Prefix of all keys; deployments that share a server use different ones.
        timeout: Seconds for a connection or an answer; a server nearby needs a thousandth of it.
        breaker: Circuit breaker.

    Raises:
        InvalidRequest: the URL is malformed.
        Unavailable: the Redis client package is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "rebalancer",
        timeout: float = 0.5,
        breaker: RedisBreaker | None = None,
    ) -> None:
        try:
            import redis
            from redis.connection import BlockingConnectionPool
            from redis.retry import Retry
        except ImportError:
            raise Unavailable(
                "Redis needs a further package: pip install 'rebalancer[servers]'",
                code="package_missing",
            ) from None
        self.url, self.prefix, self.timeout = url, prefix, timeout
        self.breaker = breaker or RedisBreaker()

        def connect(connection: Any) -> None:
            connection.on_connect()
            self.breaker.connected()

        self._client = redis.Redis.from_pool(
            _pool(BlockingConnectionPool, Retry, url, timeout, connect)
        )

    def name(self, *parts: str) -> str:
        """Return the key for some parts."""
        return ":".join((self.prefix, *parts))

    def ask(self, command: Callable[[Any], T]) -> T:
        """Return the answer to a command, which gets the client; see `RedisBreaker.guard`."""
        try:
            with self.breaker.guard():
                answer = command(self._client)
        except RedisRejected:
            self._replay()
            raise
        self._replay()
        return answer

    def _replay(self) -> None:
        """Repeat the commands that are due; the answer that a caller waits for is valid anyway."""
        if self.breaker.replay_due:
            with suppress(RedisAway), self.breaker.replaying() as batches:
                for commands in batches:
                    _pipeline(self._client, commands).execute(raise_on_error=False)

    def check(self) -> None:
        """Raise RedisAway unless Redis answers."""
        self.ask(lambda client: client.ping())

    def check_mode(self) -> None:
        """Check that the server is not part of a cluster, unless it does not answer.

        Raises:
            InvalidRequest: it runs in cluster mode.
        """
        with suppress(RedisAway):
            if self.ask(lambda client: client.info("cluster")).get("cluster_enabled"):
                raise InvalidRequest(
                    "cluster mode is not supported: the keys of a job have different slots; use a "
                    "Redis or Valkey with cluster mode off, with replicas if you need them",
                    field="REBALANCER_REDIS_URL",
                    code="redis_cluster_mode",
                )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class AsyncConnection:
    """Client for an event loop; shares the settings and the breaker of a synchronous client."""

    def __init__(self, other: Connection) -> None:
        import redis.asyncio
        from redis.asyncio.connection import BlockingConnectionPool
        from redis.asyncio.retry import Retry

        self.name, self._breaker = other.name, other.breaker

        async def connect(connection: Any) -> None:
            await connection.on_connect()
            self._breaker.connected()

        self._client = redis.asyncio.Redis.from_pool(
            _pool(BlockingConnectionPool, Retry, other.url, other.timeout, connect)
        )

    async def ask(self, command: Callable[[Any], Awaitable[T]]) -> T:
        try:
            with self._breaker.guard():
                answer = await command(self._client)
        except RedisRejected:
            await self._replay()
            raise
        await self._replay()
        return answer

    async def _replay(self) -> None:
        if self._breaker.replay_due:
            with suppress(RedisAway), self._breaker.replaying() as batches:
                for commands in batches:
                    await _pipeline(self._client, commands).execute(raise_on_error=False)

    @asynccontextmanager
    async def subscription(self, channel: str) -> AsyncIterator[Subscription]:
        """Receive what is published on a channel, from the beginning of the block on.

        Raises:
            RedisAway: Redis does not answer; the block is then not run.
        """
        subscribed = Subscription(self._client.pubsub(), self._breaker)
        try:
            await subscribed.begin(channel)
            yield subscribed
        finally:
            await subscribed.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


class Subscription:
    """Messages of one channel."""

    def __init__(self, messages: Any, breaker: RedisBreaker) -> None:
        self._messages, self._breaker = messages, breaker

    async def begin(self, channel: str) -> None:
        """Subscribe, and wait until the server confirms it.

        Raises:
            RedisAway: Redis does not answer.
        """
        with self._breaker.guard():
            await self._messages.subscribe(channel)
            await self._next(_ANSWER)

    async def next(self, silence: float) -> bytes | None:
        """Return the next message; None if a time without one has passed.

        Args:
            silence: Seconds; the server must then confirm that it is there.

        Raises:
            RedisAway: the connection is lost.
        """
        with self._breaker.guard():
            message = await self._messages.get_message(timeout=silence)
            if message is None:
                await self._messages.ping()
                message = await self._next(_ANSWER)
        return message["data"] if message["type"] == "message" else None

    async def close(self) -> None:
        """Give the connection back."""
        with suppress(Exception):  # it may be lost
            await self._messages.aclose()

    async def _next(self, seconds: float) -> Any:
        message = await self._messages.get_message(timeout=seconds)
        if message is None:
            raise TimeoutError("Redis does not answer a subscriber")
        return message


def _is_outage(error: Exception) -> bool:
    from redis.exceptions import RedisError, ResponseError

    return isinstance(error, (RedisError, OSError)) and not isinstance(error, ResponseError)


def _pipeline(client: Any, commands: Sequence[Command]) -> Any:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return pipeline


def _pool(kind: Any, retry: Any, url: str, timeout: float, connect: Callable[[Any], Any]) -> Any:
    """Create a pool without a connection; the error for a malformed URL omits its password."""
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    redis_url = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
    try:
        pool = kind.from_url(
            redis_url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            max_connections=_CONNECTIONS,
            timeout=timeout,  # of the wait for a free connection
            retry=retry(NoBackoff(), 0),
            redis_connect_func=connect,
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
