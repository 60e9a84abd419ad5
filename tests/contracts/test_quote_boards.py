"""Boards of quotes: the latest of each asset, numbers that grow, and followers that coalesce."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import attrs
import pytest

from rebalancer.adapters.memory.quotes import MemoryQuoteBoard
from rebalancer.adapters.redis.connection import RedisBreaker
from rebalancer.adapters.redis.quotes import RedisQuoteBoard
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.live_quotes import LiveQuote, TradingPhase
from tests.contracts.redises import connected
from tests.servers import Valkey

NOW = datetime(2026, 11, 30, 15, 0, tzinfo=UTC)


def quote(symbol="VTI", price=250.0, seconds=0, **changes):
    traded = NOW + timedelta(seconds=seconds)
    return LiveQuote(symbol, price, "USD", traded, traded, "yahoo", **changes)


@pytest.fixture(params=["memory", "redis"])
def board(request, redis_url, prefix):
    if request.param == "memory":
        yield MemoryQuoteBoard()
        return
    with connected(redis_url, prefix=prefix) as connection:
        yield RedisQuoteBoard(connection)


@pytest.fixture
def prefix():
    return f"test-{uuid4().hex}"


def test_latest_quote_of_each_asset_is_read_as_it_was_posted(board):
    full = quote("BTC-USD", 61_250.5, bid=61_250.0, ask=61_251.0, phase=TradingPhase.REGULAR)
    board.post([quote(), full])
    board.post([quote(price=251.25, seconds=1)])
    found = board.latest(["BTC-USD", "VTI", "UNKNOWN"])
    assert {symbol: one.quote for symbol, one in found.items()} == {
        "VTI": quote(price=251.25, seconds=1),
        "BTC-USD": full,
    }


def test_numbers_grow_over_all_assets(board):
    posted = [*board.post([quote("A"), quote("B")]), *board.post([quote("A", seconds=1)])]
    numbers = [one.number for one in posted]
    assert numbers == sorted(set(numbers))
    assert board.latest(["A"])["A"] == posted[-1]


def test_report_that_changes_nothing_is_left_out(board):
    board.post([quote(seconds=5)])
    assert board.post([quote(price=9.0, seconds=4)]) == ()
    assert board.post([attrs.evolve(quote(seconds=5), received=NOW + timedelta(seconds=9))]) == ()
    assert board.latest(["VTI"])["VTI"].quote == quote(seconds=5)


def test_assets_are_wanted_until_their_time(board):
    board.want(["A", "B"], until=NOW + timedelta(seconds=30))
    board.want(["B"], until=NOW + timedelta(seconds=60))
    board.want(["B"], until=NOW + timedelta(seconds=10))
    assert board.wanted(NOW) == {"A", "B"}
    assert board.wanted(NOW + timedelta(seconds=30)) == {"B"}
    assert board.wanted(NOW + timedelta(seconds=60)) == set()


def test_follower_gets_what_is_posted_after_it_began(board):
    async def follow():
        board.post([quote(price=1.0)])
        follower = board.follow()
        assert list(await anext(follower)) == []
        (posted,) = await asyncio.to_thread(board.post, [quote(price=2.0, seconds=1)])
        assert list(await asyncio.wait_for(anext(follower), 60)) == [posted]
        await follower.aclose()

    asyncio.run(follow())


def test_follower_that_is_slow_gets_all_assets_and_ends_with_the_latest(board):
    async def follow():
        follower = board.follow()
        await anext(follower)
        for second in range(200):
            board.post([quote("A", 1.0 + second, second), quote("B", 2.0 + second, second)])
        seen = {}
        while seen.get("A") != 200.0 or seen.get("B") != 201.0:
            for one in await asyncio.wait_for(anext(follower), 60):
                seen[one.quote.symbol] = one.quote.price
        await follower.aclose()

    asyncio.run(follow())


def test_numbers_of_a_restarted_process_are_larger():
    first = MemoryQuoteBoard(lambda: 1000.0)
    (before,) = first.post([quote()])
    (after,) = MemoryQuoteBoard(lambda: 1000.5).post([quote()])
    assert after.number > before.number


def test_memory_board_gives_a_slow_follower_the_latest_alone():
    async def follow():
        board = MemoryQuoteBoard()
        follower = board.follow()
        await anext(follower)
        for second in range(1000):
            board.post([quote("A", 1.0 + second, second)])
        assert [one.quote.price for one in await anext(follower)] == [1000.0]
        await follower.aclose()

    asyncio.run(follow())


def test_follower_and_posts_resume_after_redis_was_killed(tmp_path):
    server = Valkey(tmp_path)
    server.start()
    try:
        with connected(server.url, breaker=RedisBreaker(0.05)) as connection:
            asyncio.run(outlive(server, RedisQuoteBoard(connection)))
    finally:
        server.stop()


async def outlive(server, board):
    """Kill the server under a follower, start it again, and follow again."""
    follower = board.follow()
    await anext(follower)
    (before,) = await asyncio.to_thread(board.post, [quote()])
    await asyncio.wait_for(anext(follower), 60)
    await asyncio.to_thread(server.kill)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(anext(follower), 60)
    with pytest.raises(Unavailable):
        await asyncio.to_thread(board.post, [quote(seconds=1)])
    await asyncio.to_thread(server.start)
    again = await followed(board)
    (after,) = await asyncio.to_thread(board.post, [quote(seconds=1)])
    assert after.number > before.number  # also if the server has lost everything
    assert list(await asyncio.wait_for(anext(again), 60)) == [after]
    await again.aclose()


async def followed(board):
    """Return a follower, once the board answers again."""
    while True:
        follower = board.follow()
        try:
            await anext(follower)
        except Unavailable:
            await asyncio.sleep(0.02)
        else:
            return follower


def test_entries_of_another_program_are_left_out(redis_url, prefix):
    with connected(redis_url, prefix=prefix) as connection:
        board = RedisQuoteBoard(connection)
        key = connection.name("quotes", "1")
        connection.ask(
            lambda client: client.hset(key, mapping={"A": "?", "B": '1 1 1 ["B",-1.0,"USD","x"]'})
        )
        assert board.latest(["A", "B"]) == {}
        board.post([quote("A")])
        assert board.latest(["A"])["A"].quote == quote("A")
