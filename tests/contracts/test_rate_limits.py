"""What rate limits promise: `RateLimits` in application/ports, line by line."""

from __future__ import annotations

import asyncio
import logging
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rebalancer.adapters.memory.rate_limits import MemoryRateLimits
from rebalancer.adapters.redis.connection import Connection, RedisBreaker
from rebalancer.adapters.redis.rate_limits import RedisRateLimits
from rebalancer.application.ports.rate_limits import Limit, RateLimits, Verdict
from tests.contracts.redises import Clock, Silent, connected, on_loop, really_wait
from tests.servers import Valkey, running


@attrs.frozen
class Place:
    """Limits, and how time passes for them."""

    limits: RateLimits
    wait: Callable[[float], Awaitable[None]]
    clock: Callable[[], float]


Opening = Callable[[], Any]


class Unasked:
    """Fails a test that counts in the process although the server answers."""

    async def hit(self, *asked: tuple[Limit, str]) -> Verdict:
        raise AssertionError(asked)


@pytest.fixture(scope="module", params=["memory", "redis"])
def opened(request: pytest.FixtureRequest) -> Iterator[Opening]:
    """Opens new limits, inside of an event loop."""
    if request.param == "memory":

        @asynccontextmanager
        async def in_memory() -> AsyncIterator[Place]:
            clock = Clock()
            yield Place(MemoryRateLimits(clock=clock), clock.wait, clock)

        yield in_memory
        return

    url = request.getfixturevalue("redis_url")

    @asynccontextmanager
    async def on_redis() -> AsyncIterator[Place]:
        with connected(url) as connection:
            async with on_loop(connection) as loop:
                yield Place(RedisRateLimits(loop, Unasked()), really_wait, time.monotonic)

    yield on_redis


def limit(most: int, seconds: float = 60.0, name: str = "requests") -> Limit:
    return Limit(name, most, timedelta(seconds=seconds))


def test_requests_beyond_the_limit_are_refused(opened: Opening) -> None:
    async def scenario() -> None:
        async with opened() as place:
            verdicts = [await place.limits.hit((limit(3), "ada")) for _ in range(5)]
            assert [one.allowed for one in verdicts] == [True, True, True, False, False]
            assert [one.remaining for one in verdicts] == [2, 1, 0, 0, 0]
            assert all(one.limit == limit(3) for one in verdicts)
            assert verdicts[0].reset == pytest.approx(60.0)  # until what passed is out of sight
            assert 59.0 < verdicts[3].reset <= 60.0  # until the first of them is

    asyncio.run(scenario())


def test_clients_and_limits_are_counted_separately(opened: Opening) -> None:
    async def scenario() -> None:
        async with opened() as place:
            for who in ("ada", "bob", "ada:bob", ""):
                for name in ("requests", "login"):
                    assert (await place.limits.hit((limit(1, name=name), who))).allowed
                    assert not (await place.limits.hit((limit(1, name=name), who))).allowed

    asyncio.run(scenario())


def test_the_window_slides(opened: Opening) -> None:
    async def scenario() -> None:
        async with opened() as place:
            two = limit(2, 0.3)
            assert (await place.limits.hit((two, "ada"))).allowed
            await place.wait(0.2)
            assert (await place.limits.hit((two, "ada"))).allowed
            refused = await place.limits.hit((two, "ada"))
            assert not refused.allowed
            assert 0 < refused.reset <= 0.101
            await place.wait(refused.reset)
            again = await place.limits.hit((two, "ada"))  # in place of the first
            assert (again.allowed, again.remaining) == (True, 0)
            assert not (await place.limits.hit((two, "ada"))).allowed
            await place.wait(0.3)
            assert (await place.limits.hit((two, "ada"))).remaining == 1

    asyncio.run(scenario())


def test_refused_requests_do_not_extend_the_wait(opened: Opening) -> None:
    async def scenario() -> None:
        async with opened() as place:
            assert (await place.limits.hit((limit(1, 0.2), "ada"))).allowed
            for _ in range(20):
                last = await place.limits.hit((limit(1, 0.2), "ada"))
                if last.allowed:
                    break
                await place.wait(0.02)
            assert last.allowed

    asyncio.run(scenario())


def test_all_limits_or_none_count_a_request(opened: Opening) -> None:
    async def scenario() -> None:
        async with opened() as place:
            few, many = limit(1, name="few"), limit(5, name="many")
            first = await place.limits.hit((many, "ada"), (few, "there"))
            assert (first.allowed, first.limit, first.remaining) == (True, few, 0)
            for _ in range(3):
                refused = await place.limits.hit((many, "ada"), (few, "there"))
                assert (refused.allowed, refused.limit) == (False, few)
            assert (await place.limits.hit((many, "ada"))).remaining == 3
            # Of two that refuse, the one that does so for longer.
            longer = limit(1, 600, name="longer")
            await place.limits.hit((longer, "ada"))
            both = await place.limits.hit((few, "there"), (longer, "ada"))
            assert (both.allowed, both.limit) == (False, longer)
            assert both.reset > 500

    asyncio.run(scenario())


def test_a_limit_that_is_lowered_holds_at_once(opened: Opening) -> None:
    async def scenario() -> None:
        async with opened() as place:
            for _ in range(5):
                await place.limits.hit((limit(5, 0.3), "ada"))
                await place.wait(0.02)
            refused = await place.limits.hit((limit(2, 0.3), "ada"))
            assert not refused.allowed
            assert 0.15 < refused.reset <= 0.3  # until the fourth is out of sight, too
            await place.wait(refused.reset)
            assert (await place.limits.hit((limit(2, 0.3), "ada"))).allowed

    asyncio.run(scenario())


def test_concurrent_requests_pass_up_to_the_limit(opened: Opening) -> None:
    async def scenario() -> None:
        async with opened() as place:
            asked = ((limit(17), "ada"), (limit(40, name="other"), "there"))
            verdicts = await asyncio.gather(*(place.limits.hit(*asked) for _ in range(50)))
            assert sum(one.allowed for one in verdicts) == 17
            left = await place.limits.hit((limit(40, name="other"), "there"))
            assert left.remaining == 40 - 17 - 1

    asyncio.run(scenario())


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    most=st.integers(1, 5),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.004, 0.01, 0.03]), min_size=8, max_size=30),
)
def test_no_window_exceeds_the_limit(opened: Opening, most: int, pauses: list[float]) -> None:
    window = 0.04

    async def scenario() -> None:
        async with opened() as place:
            passed = []
            for pause in pauses:
                before = place.clock()
                verdict = await place.limits.hit((limit(most, window), "ada"))
                after = place.clock()
                if verdict.allowed:
                    passed.append((before, after))
                elif pause:  # the wait that a refusal states suffices
                    await place.wait(verdict.reset + 1e-6)
                    before = place.clock()
                    assert (await place.limits.hit((limit(most, window), "ada"))).allowed
                    passed.append((before, place.clock()))
                await place.wait(pause) if pause else None
            assert passed
            # Each was counted between `before` and `after`, whichever clock counts.
            for (first, _), (_, last) in zip(passed, passed[most:], strict=False):
                assert last - first >= window - 1e-5

    asyncio.run(scenario())


def test_memory_is_bounded_for_many_clients() -> None:
    async def scenario() -> None:
        limits = MemoryRateLimits(clients=100, requests=150)
        for number in range(1000):
            await limits.hit((limit(200), "busy"), (limit(9, name="other"), str(number)))
            assert limits.clients <= 100
            assert limits.requests <= 150

    asyncio.run(scenario())


def test_least_recent_client_is_dropped_first() -> None:
    async def scenario() -> None:
        clock = Clock()
        limits = MemoryRateLimits(clients=2, clock=clock)
        for who in ("ada", "bob", "ada", "eve"):
            clock.now += 1
            await limits.hit((limit(9), who))
        assert [(await limits.hit((limit(9), who))).remaining for who in ("ada", "bob")] == [6, 8]

    asyncio.run(scenario())


def test_expired_clients_are_dropped_by_the_next_request() -> None:
    async def scenario() -> None:
        clock = Clock()
        limits = MemoryRateLimits(clock=clock)
        for number in range(5000):
            name = ("requests", "login", "health")[number % 3]
            await limits.hit((limit(9, 60 if name != "health" else 600, name=name), str(number)))
        assert limits.clients == 5000
        clock.now += 60
        await limits.hit((limit(9), "ada"))
        assert limits.clients == 1 + 1666  # those of the longer window
        clock.now += 540
        await limits.hit((limit(9), "ada"))
        assert limits.clients == 1

    asyncio.run(scenario())


def test_client_without_counted_requests_is_dropped() -> None:
    async def scenario() -> None:
        clock = Clock()
        limits = MemoryRateLimits(clock=clock)
        once = limit(1, 36_000, name="once")
        await limits.hit((once, "user"))
        for number in range(300):
            await limits.hit((limit(9), str(number)))
            clock.now += 61
            assert not (await limits.hit((limit(9), str(number)), (once, "user"))).allowed
        assert limits.clients == 1

    asyncio.run(scenario())


def test_memory_of_many_clients_is_freed() -> None:
    async def scenario() -> None:
        clock = Clock()
        limits = MemoryRateLimits(clients=20_000, clock=clock)
        usual = limit(1200)
        tracemalloc.start()
        try:
            for number in range(30_000):
                await limits.hit((usual, f"address:10.{number >> 16}.{number >> 8 & 255}.{number}"))
            held, _ = tracemalloc.get_traced_memory()
            assert limits.clients == 20_000
            assert 2e6 < held < 10e6
            clock.now += 60
            await limits.hit((usual, "ada"))
            left, _ = tracemalloc.get_traced_memory()
            assert left < held / 3  # a table with room for as many
        finally:
            tracemalloc.stop()

    asyncio.run(scenario())


def test_memory_of_many_requests_is_bounded() -> None:
    async def scenario() -> None:
        limits = MemoryRateLimits(requests=40_000, clock=Clock())
        tracemalloc.start()
        try:
            for number in range(50_000):
                await limits.hit((limit(10_000), f"address:{number % 25}"))
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert limits.requests <= 40_000
        assert held < 40_000 * 12

    asyncio.run(scenario())


def test_rejected_command_is_counted_in_the_process(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        with connected(redis_url) as connection:
            async with on_loop(connection) as loop:
                limits = RedisRateLimits(loop, MemoryRateLimits())
                key = connection.name("limits", "requests", "ada")
                connection.ask(lambda client: client.set(key, "of another kind"))
                two = (limit(2), "ada")
                assert [(await limits.hit(two)).allowed for _ in range(3)] == [True, True, False]
                connection.check()  # it is not taken for away
                strict = RedisRateLimits(loop, Unasked())
                assert (await strict.hit((limit(2), "bob"))).allowed

    with caplog.at_level(logging.WARNING, "rebalancer.redis"):
        asyncio.run(scenario())
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("Redis rejected a command; continuing without it: ")


def test_keys_expire_with_their_window(redis_url: str) -> None:
    async def scenario() -> None:
        with connected(redis_url) as connection:
            async with on_loop(connection) as loop:
                await RedisRateLimits(loop, Unasked()).hit((limit(2, 0.05), "ada"))
                key = connection.name("limits", "requests", "ada")
                assert 0 < connection.ask(lambda client: client.pttl(key)) <= 50
                await really_wait(0.06)
                assert not connection.ask(lambda client: client.exists(key))

    asyncio.run(scenario())


def test_clock_set_back_blocks_no_client(redis_url: str) -> None:
    async def scenario() -> None:
        with connected(redis_url) as connection:
            async with on_loop(connection) as loop:
                limits = RedisRateLimits(loop, Unasked())
                key = connection.name("limits", "requests", "ada")
                in_an_hour = round((time.time() + 3600) * 1e6)
                connection.ask(lambda client: client.rpush(key, in_an_hour, in_an_hour))
                assert (await limits.hit((limit(2), "ada"))).allowed
                shortly = round((time.time() + 5) * 1e6)  # within the window, so it counts
                connection.ask(lambda client: client.rpush(key, shortly))
                assert not (await limits.hit((limit(2), "ada"))).allowed

    asyncio.run(scenario())


def test_processes_share_counts(redis_url: str) -> None:
    async def scenario() -> None:
        prefix = uuid4().hex
        with (
            connected(redis_url, prefix=prefix) as one,
            connected(redis_url, prefix=prefix) as another,
        ):
            async with on_loop(one) as here, on_loop(another) as there:
                two = [RedisRateLimits(loop, Unasked()) for loop in (here, there)]
                told = [await limits.hit((limit(5), "ada")) for limits in two * 3]
                assert [one.remaining for one in told] == [4, 3, 2, 1, 0, 0]
                assert not told[-1].allowed

    asyncio.run(scenario())


def test_each_process_counts_for_itself_while_redis_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        clock = Clock()
        with (
            running(Valkey) as server,
            connected(server.url, breaker=RedisBreaker(clock=clock)) as connection,
        ):
            async with on_loop(connection) as loop:
                limits = RedisRateLimits(loop, MemoryRateLimits())
                asked = (limit(2), "ada")
                assert [(await limits.hit(asked)).allowed for _ in range(3)] == [True, True, False]
                server.kill()
                assert [(await limits.hit(asked)).allowed for _ in range(3)] == [True, True, False]
                server.start()
                assert not (await limits.hit(asked)).allowed  # it is left alone for a moment
                await clock.wait(1.0)
                # The server has forgotten everything, its script included.
                assert [(await limits.hit(asked)).allowed for _ in range(3)] == [True, True, False]

    with caplog.at_level(logging.WARNING, "rebalancer.redis"):
        asyncio.run(scenario())
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("Redis is unavailable; continuing without it: ")
    assert told[1] == "Redis answers again"


def test_only_one_request_waits_for_a_silent_server() -> None:
    async def scenario() -> None:
        silent, clock = Silent(), Clock()
        connection = Connection(silent.url, timeout=0.05, breaker=RedisBreaker(clock=clock))
        async with on_loop(connection) as loop:
            limits = RedisRateLimits(loop, MemoryRateLimits())
            for _ in range(5):
                assert (await limits.hit((limit(9), "ada"))).allowed
            assert silent.calls == 1
            await clock.wait(1.0)
            # After the pause one request tries, and the others continue without Redis.
            await asyncio.gather(*(limits.hit((limit(99), "ada")) for _ in range(10)))
            assert silent.calls == 2
        connection.close()
        silent.close()

    asyncio.run(scenario())
