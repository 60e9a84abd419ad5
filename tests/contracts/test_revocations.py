"""What ended logins promise: `Revocations` in application/ports, line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import attrs
import pytest

from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.redis.connection import Breaker, Connection
from rebalancer.adapters.redis.revocations import FRESH, RedisRevocations
from rebalancer.application.ports.accounts import Revocations
from tests.contracts.redises import Clock, Silent, connected, on_loop, really_wait
from tests.servers import Valkey, running

LIFETIME = timedelta(milliseconds=150)


@attrs.frozen
class Place:
    """Ended logins, and how time passes for them."""

    ended: Revocations
    wait: Callable[[float], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
def opened(request: pytest.FixtureRequest) -> Iterator[Callable[[], Any]]:
    """Opens a new place, inside of an event loop."""
    if request.param == "memory":

        @asynccontextmanager
        async def in_memory() -> AsyncIterator[Place]:
            clock = Clock()
            yield Place(MemoryRevocations(LIFETIME, clock=clock), clock.wait)

        yield in_memory
        return

    url = request.getfixturevalue("redis_url")

    @asynccontextmanager
    async def on_redis() -> AsyncIterator[Place]:
        with connected(url) as connection:
            async with on_loop(connection) as loop:
                nearby = MemoryRevocations(LIFETIME)
                ended = RedisRevocations(connection, loop, nearby, lifetime=LIFETIME)
                yield Place(ended, really_wait)

    yield on_redis


def test_a_login_has_not_ended_until_it_has(opened: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with opened() as place:
            family, other = uuid4(), uuid4()
            assert not await place.ended.revoked(family)
            place.ended.revoke(family)
            assert await place.ended.revoked(family)  # at once, though it was asked a moment ago
            place.ended.revoke(family)
            assert await place.ended.revoked(family)
            assert not await place.ended.revoked(other)

    asyncio.run(scenario())


def test_it_is_remembered_for_as_long_as_a_token_could_serve(opened: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with opened() as place:
            family = uuid4()
            place.ended.revoke(family)
            await place.wait(LIFETIME.total_seconds() / 2)
            assert await place.ended.revoked(family)
            await place.wait(LIFETIME.total_seconds() / 2)
            assert not await place.ended.revoked(family)

    asyncio.run(scenario())


def test_whatever_has_ended_is_let_go() -> None:
    clock = Clock()
    ended = MemoryRevocations(timedelta(minutes=15), most=10, clock=clock)
    families = [uuid4() for _ in range(25)]
    for family in families:
        clock.now += 60
        ended.revoke(family)
    assert list(ended._ends) == families[-10:]
    clock.now += 900
    ended.revoke(families[0])
    assert list(ended._ends) == families[:1]


def test_other_processes_know_within_a_second(redis_url: str) -> None:
    async def scenario() -> None:
        clock, prefix = Clock(), uuid4().hex
        with (
            connected(redis_url, prefix=prefix) as one,
            connected(redis_url, prefix=prefix) as another,
        ):
            async with on_loop(one) as here, on_loop(another) as there:
                ours = RedisRevocations(one, here, MemoryRevocations(), clock=clock)
                theirs = RedisRevocations(another, there, MemoryRevocations(), clock=clock)
                known, unknown = uuid4(), uuid4()
                assert not await theirs.revoked(known)
                ours.revoke(known)
                ours.revoke(unknown)
                assert await ours.revoked(known)
                assert await theirs.revoked(unknown)
                assert not await theirs.revoked(known)  # as it heard just before
                await clock.wait(FRESH)
                assert await theirs.revoked(known)
                left = one.ask(lambda client: client.ttl(one.name("ended", str(known))))
                assert 15 * 60 - 5 <= left <= 15 * 60

    asyncio.run(scenario())


def test_while_redis_is_away_a_process_knows_what_it_has_ended() -> None:
    async def scenario() -> None:
        clock = Clock()
        with (
            running(Valkey) as server,
            connected(server.url, breaker=Breaker(clock=clock)) as connection,
        ):
            async with on_loop(connection) as loop:
                ended = RedisRevocations(connection, loop, MemoryRevocations(), clock=clock)
                before, during, never = uuid4(), uuid4(), uuid4()
                ended.revoke(before)
                server.kill()
                ended.revoke(during)
                assert [await ended.revoked(one) for one in (before, during, never)] == [
                    *(True, True, False)
                ]
                server.start()
                await clock.wait(1.0)
                again = uuid4()
                ended.revoke(again)
                assert connection.ask(
                    lambda client: client.exists(connection.name("ended", str(again)))
                )
                assert [await ended.revoked(one) for one in (before, during, again, never)] == [
                    *(True, True, True, False)
                ]

    asyncio.run(scenario())


def test_a_silent_server_is_waited_for_once() -> None:
    async def scenario() -> None:
        silent, clock = Silent(), Clock()
        connection = Connection(silent.url, patience=0.05, breaker=Breaker(clock=clock))
        async with on_loop(connection) as loop:
            ended = RedisRevocations(connection, loop, MemoryRevocations(), clock=clock)
            for _ in range(3):
                family = uuid4()
                assert not await ended.revoked(family)
                ended.revoke(family)
                assert await ended.revoked(family)
        assert silent.calls == 1
        connection.close()
        silent.close()

    asyncio.run(scenario())
