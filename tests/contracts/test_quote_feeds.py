"""Every feed of quotes delivers what is wanted, whatever its provider does."""

import asyncio
import json
import logging
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import attrs
import numpy as np
import pytest

from rebalancer.adapters.market_data.quote_feeds.polling import PolledQuotes
from rebalancer.adapters.market_data.quote_feeds.pricing_data import (
    MalformedMessage,
    read_pricing_data,
)
from rebalancer.adapters.market_data.quote_feeds.yahoo_stream import YahooStream, read_message
from rebalancer.adapters.memory.quote_feed import MemoryQuoteFeed
from rebalancer.application.ports.providers import Offer, Throttled, UnknownSymbol, Unreachable
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.domain.market.live_quotes import Tick, TradingPhase
from tests.internet import Internet, environment
from tests.yahoo_stream import Fault, YahooStreamServer, encode, pricing_data

KNOWN = ("VTI", "VOD.L", "BTC-USD", "EURUSD=X")
QUICK = {"first_wait": 0.01, "longest_wait": 0.05}


@attrs.define
class QuotingFake:
    """Provider whose trades a test states."""

    name: str = "fake"
    title: str = "Fake"
    terms: str = ""
    offers: frozenset[Offer] = frozenset({Offer.QUOTES})
    ticks: dict[str, Tick] = attrs.field(factory=dict)
    fault: Exception | None = None
    asked: list[str] = attrs.field(factory=list)

    def quote(self, symbol):
        self.asked.append(symbol)
        if self.fault is not None:
            raise self.fault
        if symbol not in self.ticks:
            raise UnknownSymbol(f"{symbol} is unknown")
        return self.ticks[symbol]


@attrs.define
class Rig:
    """A feed, and how a test makes its provider report a trade."""

    feed: object
    report: object
    seen: list[Tick] = attrs.field(factory=list)

    async def until(self, reached):
        """Wait until a condition holds."""
        deadline = time.monotonic() + 120
        while not reached():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    async def delivers(self, symbol, price):
        """Report trades until one with this price is delivered."""
        seconds = 0
        while not any(one.symbol == symbol and one.price == price for one in self.seen):
            self.report(symbol, price, seconds)
            seconds += 1
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def running(self):
        """Run the feed during a block."""
        task = asyncio.create_task(self.feed.run(self.seen.append))
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def stream():
    return YahooStreamServer(KNOWN)


@pytest.fixture(scope="module")
def internet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("internet")
    with Internet({}) as running, environment(running.environment(folder)):
        yield running


@pytest.fixture
def yahoo(internet, stream):
    internet.sockets = dict(stream.sockets())

    def report(symbol, price, seconds=0):
        stream.send(symbol if symbol != "EURUSD" else "EURUSD=X", price, at=1.7e9 + seconds)

    return Rig(YahooStream(**QUICK), report)


def tick(symbol, price, seconds=0):
    return Tick(symbol, price, datetime(2026, 11, 30, tzinfo=UTC) + timedelta(seconds=seconds), "x")


@pytest.fixture
def memory():
    feed = MemoryQuoteFeed({"VTI", "VOD.L", "BTC-USD", "EURUSD"})
    return Rig(feed, lambda symbol, price, seconds=0: feed.send([tick(symbol, price, seconds)]))


@pytest.fixture
def polled():
    fake = QuotingFake()
    feed = PolledQuotes(ProviderChain({"fake": fake}), lambda: datetime.now(UTC), interval=0.01)
    known = {"VTI", "VOD.L", "BTC-USD", "EURUSD"}

    def report(symbol, price, seconds=0):
        if symbol in known:
            fake.ticks[symbol] = tick(symbol, price, seconds)

    for symbol in known:
        report(symbol, 1.0)
    return Rig(feed, report)


@pytest.fixture(params=["yahoo", "memory", "polled"])
def rig(request):
    return request.getfixturevalue(request.param)


def test_feed_delivers_trades_of_wanted_assets(rig):
    async def converse():
        rig.feed.want(["VTI", "EURUSD"])
        async with rig.running():
            await rig.delivers("VTI", 250.5)
            await rig.delivers("EURUSD", 1.125)
        assert {one.symbol for one in rig.seen} <= {"VTI", "EURUSD"}

    asyncio.run(converse())


def test_assets_are_added_and_removed_while_the_feed_runs(rig):
    async def converse():
        async with rig.running():
            rig.feed.want(["VTI"])
            await rig.delivers("VTI", 250.5)
            rig.feed.want(["VOD.L"])
            await rig.delivers("VOD.L", 70.5)
            rig.seen.clear()
            rig.report("VTI", 999.0, 99)
            await rig.delivers("VOD.L", 71.5)
            assert all(one.symbol == "VOD.L" for one in rig.seen)

    asyncio.run(converse())


def test_unknown_asset_disturbs_no_other_one(rig):
    async def converse():
        rig.feed.want(["NOT-KNOWN", "VTI"])
        async with rig.running():
            rig.report("NOT-KNOWN", 1.0)
            await rig.delivers("VTI", 250.5)
        assert {one.symbol for one in rig.seen} == {"VTI"}

    asyncio.run(converse())


@pytest.mark.parametrize("fault", list(Fault))
def test_stream_connects_and_subscribes_again_after_a_fault(yahoo, stream, fault):
    async def converse():
        stream.faults = [fault, fault]
        yahoo.feed = YahooStream(**QUICK, ping=0.1 if fault is Fault.SILENCE else 20.0)
        yahoo.feed.want(["VTI", "BTC-USD"])
        async with yahoo.running():
            await yahoo.delivers("VTI", 250.5)
            await yahoo.delivers("BTC-USD", 61000.5)
        assert stream.connections >= 3

    asyncio.run(converse())


def test_stream_that_closes_at_once_is_not_connected_to_in_a_busy_loop(yahoo, stream):
    async def converse():
        stream.faults = [Fault.CLOSE] * 1000
        yahoo.feed = YahooStream(first_wait=30.0)
        yahoo.feed.want(["VTI"])
        async with yahoo.running():
            await yahoo.until(lambda: stream.connections == 1)
            await yahoo.until(lambda: not stream.subscribed())
            beats = 0
            for _ in range(20):  # the event loop is free meanwhile
                await asyncio.sleep(0)
                beats += 1
            assert (beats, stream.connections) == (20, 1)

    asyncio.run(converse())


def test_garbage_is_left_out_and_logged_once(yahoo, stream, caplog):
    async def converse():
        yahoo.feed.want(["VTI"])
        async with yahoo.running():
            await yahoo.delivers("VTI", 250.5)
            for message in (
                "<html>",
                "[]",
                "{}",
                '{"message": "?"}',
                '{"message": "CgNW"}',
                "null",
            ):
                stream.send_raw("VTI", message)
            await yahoo.delivers("VTI", 251.5)
        assert stream.connections == 1
        assert {one.price for one in yahoo.seen} == {250.5, 251.5}

    with caplog.at_level(logging.WARNING):
        asyncio.run(converse())
    assert len([one for one in caplog.records if "cannot be read" in one.message]) == 1


def test_many_assets_are_subscribed_in_chunks(yahoo, stream):
    async def converse():
        wanted = [f"A{number:03}" for number in range(250)]
        yahoo.feed.want(wanted)
        async with yahoo.running():
            await yahoo.until(lambda: stream.subscribed() == set(wanted))
        assert [len(one) for one in stream.subscriptions] == [100, 100, 50]

    asyncio.run(converse())


def test_subscriptions_are_renewed(yahoo, stream):
    async def converse():
        yahoo.feed = YahooStream(**QUICK, renewal=0.01)
        yahoo.feed.want(["VTI"])
        async with yahoo.running():
            await yahoo.until(lambda: len(stream.subscriptions) >= 3)
        assert stream.connections == 1

    asyncio.run(converse())


def test_feed_without_assets_does_not_connect(yahoo, stream):
    async def converse():
        async with yahoo.running():
            yahoo.feed.want([])
            for _ in range(5):
                await asyncio.sleep(0)
            assert stream.connections == 0
            yahoo.feed.want(["VTI"])
            await yahoo.delivers("VTI", 250.5)
            yahoo.feed.want([])
            await yahoo.until(lambda: not stream.subscribed())

    asyncio.run(converse())


def test_message_is_read_as_yahoo_writes_it():
    message = encode(
        "VOD.L", 70.55, 1_764_514_800_123, currency="GBp", market_hours=2, bid=70.5, ask=70.6
    )
    assert read_message(message) == Tick(
        "VOD.L",
        float(np.float32(70.55)),
        datetime(2025, 11, 30, 15, 0, 0, 123_000, tzinfo=UTC),
        "yahoo",
        "GBp",
        float(np.float32(70.5)),
        float(np.float32(70.6)),
        TradingPhase.POST_MARKET,
    )


def test_reader_agrees_with_the_generated_class_on_every_field():
    rich = pricing_data()(
        id="BTC-USD",
        price=61250.5,
        time=1_764_514_800_000,
        currency="USD",
        exchange="CCC",
        quote_type=41,
        market_hours=1,
        change_percent=-1.5,
        day_volume=2**62,
        short_name="Bitcoin €",
        expire_date=-5,
        price_hint=2,
        bid=61250.0,
        ask=61251.0,
        circulating_supply=1.9e7,
        market_cap=1.2e12,
    )
    data = read_pricing_data(rich.SerializeToString())
    for field in attrs.fields(type(data)):
        assert getattr(data, field.name) == getattr(rich, field.name)


def test_cut_message_is_malformed():
    whole = pricing_data()(id="VTI", price=250.5, time=1_764_514_800_000).SerializeToString()
    ends = {5, 10}  # after a complete field, which is a valid message
    for length in range(1, len(whole)):
        if length in ends:
            read_pricing_data(whole[:length])
        else:
            with pytest.raises(MalformedMessage):
                read_pricing_data(whole[:length])


@pytest.mark.parametrize("data", [b"\x80" * 20, b"\x0b", b"\x0a\x02\xff\xff"])
def test_malformed_bytes_are_refused(data):
    with pytest.raises(MalformedMessage):
        read_pricing_data(data)


def test_message_without_symbol_or_time_is_malformed():
    with pytest.raises(MalformedMessage):
        read_message(encode("", 1.0, 1_764_514_800_000))
    with pytest.raises(MalformedMessage):
        read_message(encode("VTI", 1.0, 0))
    assert read_message(json.dumps({"type": "status", "message": "x"})) is None


def test_polling_stops_a_round_when_the_provider_wants_patience():
    async def converse():
        fake = QuotingFake(fault=Throttled("wait"))
        chain = ProviderChain({"fake": fake})
        rig = Rig(PolledQuotes(chain, lambda: datetime.now(UTC), interval=1000.0), None)
        rig.feed.want(["A", "B", "C"])
        async with rig.running():
            await rig.until(lambda: fake.asked)
            await asyncio.sleep(0)
            fake.fault = Unreachable("down")
            fake.asked.clear()
            rig.feed.want(["A", "B", "C", "D"])  # a new asset is asked for at once
            await rig.until(lambda: fake.asked == ["D"])

    asyncio.run(converse())


def test_polling_does_not_ask_again_for_an_unknown_asset():
    async def converse():
        fake = QuotingFake(ticks={"A": tick("A", 1.0)})
        chain = ProviderChain({"fake": fake})
        rig = Rig(PolledQuotes(chain, lambda: datetime.now(UTC), interval=0.01), None)
        rig.feed.want(["A", "B"])
        async with rig.running():
            await rig.until(lambda: fake.asked.count("A") >= 3)
        assert fake.asked.count("B") == 1

    asyncio.run(converse())
