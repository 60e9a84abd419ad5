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
from rebalancer.adapters.redis.connection import Connection, RedisBreaker, RedisRejected
from rebalancer.adapters.redis.revocations import RedisRevocations
from rebalancer.application.ports.accounts import Revocations
from tests.contracts.redises import Clock, Silent, connected, on_loop, really_wait
from tests.servers import Valkey, running

LIFETIME = timedelta(seconds=2)  # long enough for a busy machine between two commands


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


def test_session_is_valid_until_it_is_revoked(opened: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with opened() as place:
            family, other = uuid4(), uuid4()
            assert not await place.ended.is_revoked(family)
            place.ended.revoke(family)
            assert await place.ended.is_revoked(family)  # at once, though it was asked a moment ago
            place.ended.revoke(family)
            assert await place.ended.is_revoked(family)
            assert not await place.ended.is_revoked(other)

    asyncio.run(scenario())


def test_revocation_lasts_as_long_as_an_access_token(opened: Callable[[], Any]) -> None:
    async def scenario() -> None:
        async with opened() as place:
            family = uuid4()
            place.ended.revoke(family)
            await place.wait(LIFETIME.total_seconds() / 2)
            assert await place.ended.is_revoked(family)
            await place.wait(LIFETIME.total_seconds() / 2)
            assert not await place.ended.is_revoked(family)

    asyncio.run(scenario())


def test_oldest_and_expired_revocations_are_dropped() -> None:
    clock = Clock()
    ended = MemoryRevocations(timedelta(minutes=15), most=10, clock=clock)
    families = [uuid4() for _ in range(25)]
    for family in families:
        clock.now += 60
        ended.revoke(family)
    assert [family for family, _ in ended.active()] == families[-10:]
    clock.now += 900
    ended.revoke(families[0])
    assert [family for family, _ in ended.active()] == families[:1]


def test_other_processes_see_a_revocation_within_a_second(redis_url: str) -> None:
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
                assert not await theirs.is_revoked(known)
                ours.revoke(known)
                ours.revoke(unknown)
                assert await ours.is_revoked(known)
                assert await theirs.is_revoked(unknown)
                assert not await theirs.is_revoked(known)  # as it heard just before
                await clock.wait(1.0)
                assert await theirs.is_revoked(known)
                left = one.ask(lambda client: client.ttl(one.name("ended", str(known))))
                assert 15 * 60 - 5 <= left <= 15 * 60

    asyncio.run(scenario())


def test_process_knows_its_own_revocations_while_redis_is_away() -> None:
    async def scenario() -> None:
        clock = Clock()
        with (
            running(Valkey) as server,
            connected(server.url, breaker=RedisBreaker(clock=clock)) as connection,
        ):
            async with on_loop(connection) as loop:
                ended = RedisRevocations(connection, loop, MemoryRevocations(), clock=clock)
                before, during, never = uuid4(), uuid4(), uuid4()
                ended.revoke(before)
                server.kill()
                ended.revoke(during)
                assert [await ended.is_revoked(one) for one in (before, during, never)] == [
                    *(True, True, False)
                ]
                server.start()
                await clock.wait(1.0)
                again = uuid4()
                ended.revoke(again)
                assert connection.ask(
                    lambda client: client.exists(connection.name("ended", str(again)))
                )
                assert [await ended.is_revoked(one) for one in (before, during, again, never)] == [
                    *(True, True, True, False)
                ]

    asyncio.run(scenario())


@attrs.define
class Two:
    """Two processes that share a server."""

    here: RedisRevocations
    there: RedisRevocations
    connections: tuple[Connection, Connection]
    clock: Clock


@asynccontextmanager
async def two_processes(url: str) -> AsyncIterator[Two]:
    clock, prefix = Clock(), uuid4().hex
    with (
        connected(url, prefix=prefix, breaker=RedisBreaker(clock=clock)) as one,
        connected(url, prefix=prefix, breaker=RedisBreaker(clock=clock)) as another,
    ):
        async with on_loop(one) as here, on_loop(another) as there:
            yield Two(
                RedisRevocations(one, here, MemoryRevocations()),
                # Asks Redis each time, as its clock advances with each look.
                RedisRevocations(another, there, MemoryRevocations(), clock=_passing(clock)),
                (one, another),
                clock,
            )


def _passing(clock: Clock) -> Callable[[], float]:
    def now() -> float:
        clock.now += 1.0
        return clock.now

    return now


@pytest.mark.parametrize("who", ["a thread", "a rejected command", "the loop"])
def test_revocations_during_an_outage_are_shared_after_it(who: str) -> None:
    async def scenario() -> None:
        with running(Valkey) as server:
            async with two_processes(server.url) as two:
                before, during, over = uuid4(), uuid4(), uuid4()
                two.here.revoke(before)
                assert await two.there.is_revoked(before)
                server.kill()
                two.here.revoke(during)
                server.start()  # and has forgotten everything
                await really_wait(0.1)  # so that both hear that their connections are gone
                two.clock.now += 1.0
                if who == "a thread":
                    two.connections[0].check()
                elif who == "a rejected command":
                    with pytest.raises(RedisRejected):
                        two.connections[0].ask(lambda client: client.execute_command("UNKNOWN"))
                else:  # about a valid session
                    assert not await two.here.is_revoked(over)
                assert await two.there.is_revoked(during)
                assert await two.there.is_revoked(before)
                assert not await two.there.is_revoked(over)
                one, _ = two.connections
                left = one.ask(lambda client: client.ttl(one.name("ended", str(during))))
                assert 15 * 60 - 15 <= left <= 15 * 60

    asyncio.run(scenario())


def test_revocations_lost_by_a_restart_are_repeated() -> None:
    async def scenario() -> None:
        with running(Valkey) as server:
            async with two_processes(server.url) as two:
                family = uuid4()
                two.here.revoke(family)
                server.kill()
                server.start()
                await really_wait(0.1)
                two.connections[0].check()  # any command; no outage was noticed
                assert await two.there.is_revoked(family)

    asyncio.run(scenario())


def test_answer_is_returned_and_commands_stay_due_if_repeating_them_fails() -> None:
    with running(Valkey) as server, connected(server.url) as connection:
        connection.breaker.replay(lambda: [("SHUTDOWN", "NOSAVE")])
        assert connection.ask(lambda client: client.ping())
        assert connection.breaker.replay_due


def test_many_revocations_are_repeated_without_expired_ones() -> None:
    async def scenario() -> None:
        clock = Clock()
        with running(Valkey) as server, connected(server.url) as connection:
            async with on_loop(connection) as loop:
                nearby = MemoryRevocations(timedelta(seconds=60), clock=clock)
                old = [uuid4() for _ in range(10)]
                for family in old:
                    nearby.revoke(family)
                clock.now += 60
                lasting = [uuid4() for _ in range(2500)]
                for family in lasting:
                    nearby.revoke(family)
                RedisRevocations(connection, loop, nearby)
                connection.check()
                assert connection.ask(lambda client: client.dbsize()) == len(lasting)

    asyncio.run(scenario())


def test_rejected_revocation_holds_in_this_process(redis_url: str) -> None:
    async def scenario() -> None:
        with connected(redis_url) as connection:
            async with on_loop(connection) as loop:
                ended = RedisRevocations(connection, loop, MemoryRevocations())
                connection.ask(lambda client: client.config_set("min-replicas-to-write", 1))
                try:
                    family = uuid4()
                    ended.revoke(family)
                    assert await ended.is_revoked(family)
                    assert not await ended.is_revoked(uuid4())
                finally:
                    connection.ask(lambda client: client.config_set("min-replicas-to-write", 0))

    asyncio.run(scenario())


def test_only_one_request_waits_for_a_silent_server() -> None:
    async def scenario() -> None:
        silent, clock = Silent(), Clock()
        connection = Connection(silent.url, timeout=0.05, breaker=RedisBreaker(clock=clock))
        async with on_loop(connection) as loop:
            ended = RedisRevocations(connection, loop, MemoryRevocations(), clock=clock)
            for _ in range(3):
                family = uuid4()
                assert not await ended.is_revoked(family)
                ended.revoke(family)
                assert await ended.is_revoked(family)
        assert silent.calls == 1
        connection.close()
        silent.close()

    asyncio.run(scenario())
