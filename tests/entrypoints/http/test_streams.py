"""Streams of quotes: what they send, who may watch, and when they end."""

from __future__ import annotations

import asyncio
import gc
import json
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryCalendars, MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.quotes import MemoryQuoteBoard
from rebalancer.application.live_values import DescribeWatched, ValueLive
from rebalancer.application.stream_tickets import MOST_TICKETS
from rebalancer.application.valuation import HeldPrice, ValuedPortfolio
from rebalancer.domain.errors import NotFound, Unavailable
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.live_quotes import LiveQuote
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.http.errors import TooManyRequests
from rebalancer.entrypoints.http.quote_hub import QuoteHub
from rebalancer.entrypoints.http.quote_streams import QuoteStreams, Stream, StreamTimes
from rebalancer.entrypoints.http.streams import OpenStreams
from tests.builders import varied_prices
from tests.contracts.stores import a_managed
from tests.entrypoints.http.conftest import (
    START,
    UNKNOWN_ID,
    ApiUser,
    RunningApi,
    expect_problem,
)

QUICK = StreamTimes(check=0.01, pace=0.001, refresh=0.01)
HISTORY = varied_prices()
SYMBOLS = HISTORY.symbols[:2]
FIRST, SECOND = SYMBOLS
CLOSE_DAY = HISTORY.last_date
NOW = datetime.combine(CLOSE_DAY, START.timetz()) + timedelta(days=3, hours=7)


def quote(symbol=FIRST, factor=1.01, seconds=0, **changes):
    """Return a quote at a multiple of the last close."""
    close = float(HISTORY.last_traded[HISTORY.columns[symbol]])
    traded = NOW - timedelta(minutes=1) + timedelta(seconds=seconds)
    plain = LiveQuote(symbol, close * factor, "USD", traded, traded, "test")
    return attrs.evolve(plain, **changes)


@attrs.define
class Rig:
    """Streams of one server process over a board in memory."""

    board: MemoryQuoteBoard = attrs.field(factory=MemoryQuoteBoard)
    authorized: bool = True
    now: datetime = NOW
    heartbeat: float = 1_000.0
    market: str | None = "XNYS"
    hub: QuoteHub = attrs.field(init=False)
    open: OpenStreams = attrs.field(init=False)
    streams: QuoteStreams = attrs.field(init=False)
    valued: ValuedPortfolio | None = None
    fault: Exception | None = None
    value: ValueLive = attrs.field(init=False)

    def __attrs_post_init__(self):
        self.hub = QuoteHub(self.board, lambda: self.now, retry=0.01)
        self.open = OpenStreams(heartbeat=self.heartbeat, limit=2)
        listed = Instruments.of([Instrument(symbol, market=self.market) for symbol in SYMBOLS])
        days = np.arange("2000-01-03", "2030-01-01", dtype="datetime64[D]")
        sessions = {"XNYS": days[np.is_busday(days)]}
        describe = DescribeWatched(
            MemoryPrices(HISTORY),
            MemoryInstruments(listed),
            MemoryCalendars(sessions),
            Currency("USD"),
        )
        self.value = ValueLive(self.read, describe)
        self.streams = QuoteStreams(
            hub=self.hub,
            streams=self.open,
            describe=describe,
            clock=lambda: self.now,
            is_live=True,
            times=QUICK,
        )

    def read(self, id, *, actor):
        if self.fault is not None:
            raise self.fault
        return self.valued

    def client(self):
        async def is_authorized():
            return self.authorized

        return Stream(self.open, self.open.reserve(UNKNOWN_ID), is_authorized, QUICK)

    def watch(self, symbols=SYMBOLS, after=0, once=False):
        assets = self.streams.describe(symbols)
        return self.streams.market(assets, stream=self.client(), after=after, once=once)

    def watch_portfolio(self, once=False):
        async def read():
            return self.value.portfolio(UNKNOWN_ID, actor=UNKNOWN_ID)

        return self.streams.portfolio(
            self.valued, stream=self.client(), read=read, value=self.value, once=once
        )

    @asynccontextmanager
    async def running(self):
        self.hub.start()
        try:
            while not self.hub.follows:
                await asyncio.sleep(0.001)
            yield
        finally:
            await self.hub.stop()


async def following(stream):
    """Return the next event as its name, number and data; the comment if it is one."""
    message = await asyncio.wait_for(anext(stream), 60)
    if message.comment is not None:
        return message.comment
    return message.event, int(message.id), json.loads(message.data)


def run(conversation, **options):
    async def main():
        rig = Rig(**options)
        async with rig.running():
            await conversation(rig)

    asyncio.run(main())


def test_stream_sends_assets_then_quotes_in_the_order_of_their_numbers():
    async def converse(rig):
        rig.board.post([quote(SECOND), quote(FIRST)])
        stream = rig.watch()
        event, _, assets = await following(stream)
        assert event == "assets" and assets["live"]
        described = {one["symbol"]: one for one in assets["assets"]}
        assert described[FIRST]["close_date"] == str(CLOSE_DAY)
        assert described[FIRST]["hours"]["open"]
        seen = [await following(stream) for _ in SYMBOLS]
        assert [data["symbol"] for _, _, data in seen] == [SECOND, FIRST]
        assert seen[0][1] < seen[1][1]
        assert seen[1][2]["change"] == pytest.approx(0.01)
        assert seen[1][2]["age"] == 60.0
        rig.board.post([quote(FIRST, 1.02, 1)])
        event, number, data = await following(stream)
        assert event == "quote" and number > seen[1][1]
        assert data["change"] == pytest.approx(0.02)
        await stream.aclose()

    run(converse)


def test_slow_client_gets_the_latest_quote_of_each_asset():
    async def converse(rig):
        stream = rig.watch()
        await following(stream)
        for second in range(500):
            rig.board.post([quote(FIRST, 1 + second / 1000, second / 100)])
            if second % 50 == 0:
                await asyncio.sleep(0)
        seen = []
        while not seen or seen[-1]["change"] < 0.4989:
            seen.append((await following(stream))[2])
        assert len(seen) < 100
        await stream.aclose()

    run(converse)


def test_stream_continues_after_the_last_event_id():
    async def converse(rig):
        (first, second) = rig.board.post([quote(FIRST), quote(SECOND)])
        messages = [one async for one in rig.watch(once=True)]
        assert [one.event for one in messages] == ["assets", "quote", "quote"]
        messages = [one async for one in rig.watch(after=first.number, once=True)]
        assert [json.loads(one.data).get("symbol") for one in messages] == [None, SECOND]
        assert int(messages[-1].id) == second.number
        messages = [one async for one in rig.watch(after=second.number, once=True)]
        assert [one.event for one in messages] == ["assets"]
        # A number that this board has not reached is of another one: everything is sent.
        messages = [one async for one in rig.watch(after=second.number + 1, once=True)]
        assert [one.event for one in messages] == ["assets", "quote", "quote"]

    run(converse)


def test_idle_stream_sends_comments():
    async def converse(rig):
        stream = rig.watch()
        await following(stream)
        assert await following(stream) == "still here"
        await stream.aclose()

    run(converse, heartbeat=0.01)


def test_stream_ends_with_the_login_and_with_the_server():
    async def converse(rig):
        stream = rig.watch()
        await following(stream)
        rig.authorized = False
        with pytest.raises(StopAsyncIteration):
            await following(stream)
        assert rig.open.count(UNKNOWN_ID) == 0
        rig.authorized = True
        stream = rig.watch()
        await following(stream)
        rig.open.stopping.set()
        with pytest.raises(StopAsyncIteration):
            await following(stream)

    run(converse)


def test_places_are_limited_and_freed():
    async def converse(rig):
        one, other = rig.watch(), rig.watch()
        with pytest.raises(TooManyRequests, match="2 open streams"):
            rig.watch()
        await following(one)
        await one.aclose()
        again = rig.watch()
        await following(again)
        await again.aclose()
        del other  # never iterated, as for a client that has disconnected
        gc.collect()
        assert rig.open.count(UNKNOWN_ID) == 0

    run(converse)


def test_assets_are_sent_again_when_a_market_closes():
    async def converse(rig):
        stream = rig.watch()
        _, _, before = await following(stream)
        assert before["assets"][0]["hours"]["open"]
        rig.now = NOW + timedelta(hours=8)
        event, _, after = await following(stream)
        assert event == "assets" and not after["assets"][0]["hours"]["open"]
        assert after["assets"][0]["hours"]["since"].endswith("T21:00:00Z")
        await stream.aclose()

    run(converse)


def test_hub_resumes_after_the_board_was_away():
    async def converse(rig):
        follow, away = rig.board.follow, True

        async def unreliable():
            if away:
                raise Unavailable("the board is away")
            async for posted in follow():
                yield posted

        rig.board.follow = unreliable
        await rig.hub.stop()
        rig.hub.start()
        stream = rig.watch()
        await following(stream)
        rig.board.post([quote(FIRST)])
        away = False
        assert (await following(stream))[0] == "quote"  # what was posted meanwhile is read
        await stream.aclose()

    run(converse)


def test_hub_forgets_assets_that_no_stream_watches():
    async def converse(rig):
        stream = rig.watch()
        await following(stream)
        rig.board.post([quote(FIRST)])
        await following(stream)
        assert rig.board.wanted(NOW) == set(SYMBOLS)
        await stream.aclose()
        assert not rig.hub._latest and not rig.hub._watchers

    run(converse)


def a_valued(**quantities):
    managed = a_managed(UNKNOWN_ID)
    holdings = {symbol: Decimal(units) for symbol, units in quantities.items()}
    positions = attrs.evolve(managed.positions, holdings=holdings, cash=Decimal(1000))
    managed = attrs.evolve(managed, positions=positions)
    prices = {}
    for symbol, units in holdings.items():
        close = HISTORY.exact_closes()[HISTORY.columns[symbol]]
        prices[symbol] = HeldPrice(close, CLOSE_DAY, currency="USD", value=close * units)
    return ValuedPortfolio(managed, CLOSE_DAY, prices)


def test_portfolio_moves_by_its_quotes_and_names_the_price_that_counts():
    async def converse(rig):
        rig.valued = a_valued(**{FIRST: 10, SECOND: 5})
        stream = rig.watch_portfolio()
        _, number, before = await following(stream)
        assert number == 0 and before["value"] == before["value_at_close"]
        assert {one["priced_by"] for one in before["positions"]} == {"close"}
        (posted,) = rig.board.post([quote(FIRST, 1.01)])
        _, number, after = await following(stream)
        assert number == posted.number
        moved = Decimal(after["value"]) - Decimal(before["value"])
        held = {one["symbol"]: one for one in after["positions"]}
        worth = Decimal(held[FIRST]["value_at_close"])
        assert abs(moved - worth / 100) <= Decimal("0.01")
        assert after["change"] == str(moved)
        assert held[FIRST]["priced_by"] == "quote" and held[FIRST]["age"] == 60.0
        assert held[SECOND]["priced_by"] == "close" and held[SECOND]["age"] is None
        assert held[FIRST]["hours"]["open"]
        await stream.aclose()

    run(converse)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (quote(FIRST, 100.0), "unit_change"),
        (quote(FIRST, 1.0, currency="JPY"), "other_currency"),
        (quote(FIRST, 1.2, traded=datetime.combine(CLOSE_DAY, START.timetz())), None),
    ],
    ids=["pence for pounds", "another currency", "before the close"],
)
def test_quote_that_cannot_be_right_leaves_the_close(wrong, fault):
    async def converse(rig):
        rig.valued = a_valued(**{FIRST: 10})
        rig.board.post([wrong])
        (message,) = [one async for one in rig.watch_portfolio(once=True)]
        shown = json.loads(message.data)
        assert shown["value"] == shown["value_at_close"]
        (position,) = shown["positions"]
        assert (position["priced_by"], position["fault"]) == ("close", fault)

    run(converse)


def test_portfolio_stream_follows_changed_holdings_and_ends_when_it_is_gone():
    async def converse(rig):
        rig.valued = a_valued(**{FIRST: 10})
        rig.board.post([quote(SECOND, 1.05)])
        stream = rig.watch_portfolio()
        await following(stream)
        changed = a_valued(**{FIRST: 10, SECOND: 1})
        rig.valued = attrs.evolve(changed, portfolio=attrs.evolve(changed.portfolio, version=9))
        _, _, shown = await following(stream)
        assert [one["symbol"] for one in shown["positions"]] == sorted(SYMBOLS)
        rig.fault = Unavailable("the store is busy")  # is waited for
        await asyncio.sleep(0.02)
        rig.fault = NotFound("the portfolio is closed")
        with pytest.raises(StopAsyncIteration):
            await following(stream)
        assert rig.open.count(UNKNOWN_ID) == 0

    run(converse)


def test_hours_of_an_unknown_market_are_not_guessed():
    async def converse(rig):
        (message,) = [one async for one in rig.watch([FIRST], once=True)]
        assert json.loads(message.data)["assets"][0]["hours"] is None

    run(converse, market=None)


over_http = pytest.mark.parametrize("store", ["memory"], indirect=True)


def ticket_of(user: ApiUser) -> str:
    answer = user.post("/api/stream-tickets")
    assert answer.status_code == 201
    return answer.json()["ticket"]


def events_of(text: str) -> list[str]:
    return [line.removeprefix("event: ") for line in text.splitlines() if line[:6] == "event:"]


@over_http
def test_stream_is_opened_by_header_or_ticket(api: RunningApi, ada: ApiUser) -> None:
    query = {"symbols": "C", "once": "true"}
    opened = ada.get("/api/market/stream", params=query)
    assert opened.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in opened.headers
    assert events_of(opened.text)[0] == "assets"
    ticket = {"ticket": ticket_of(ada)}
    by_ticket = api.client.get("/api/market/stream", params=query | ticket)
    assert by_ticket.status_code == 200
    assert events_of(by_ticket.text)[0] == "assets"
    again = api.client.get("/api/market/stream", params=query | ticket)
    assert "unknown, used or expired" in expect_problem(again, 401)


@over_http
def test_ticket_opens_streams_alone_and_for_its_user_alone(api: RunningApi, ada: ApiUser) -> None:
    portfolio, other = ada.portfolio()["id"], api.register("grace@example.org")
    path = f"/api/portfolios/{portfolio}/stream"
    mine = api.client.get(path, params={"once": "true", "ticket": ticket_of(ada)})
    assert events_of(mine.text) == ["portfolio"]
    foreign = api.client.get(path, params={"once": "true", "ticket": ticket_of(other)})
    expect_problem(foreign, 404)
    expect_problem(api.client.get("/api/portfolios", params={"ticket": ticket_of(ada)}), 401)


@over_http
def test_ticket_expires_and_ends_with_its_login(api: RunningApi, ada: ApiUser) -> None:
    query = {"symbols": "C", "once": "true"}
    late = ticket_of(ada)
    api.fakes.time.advance(seconds=31)
    expect_problem(api.client.get("/api/market/stream", params=query | {"ticket": late}), 401)
    ended = ticket_of(ada)
    token = {"refresh_token": ada.login["refresh_token"]}
    assert api.client.post("/api/users/logout", json=token).is_success
    refused = api.client.get("/api/market/stream", params=query | {"ticket": ended})
    assert "login has ended" in expect_problem(refused, 401)


@over_http
def test_unused_tickets_are_limited(ada: ApiUser) -> None:
    for _ in range(MOST_TICKETS):
        ticket_of(ada)
    expect_problem(ada.post("/api/stream-tickets"), 409)


@over_http
def test_symbols_of_a_stream_are_checked(ada: ApiUser) -> None:
    for symbols in ("", ",", "C,NOT-KNOWN", ",".join(f"S{number}" for number in range(101))):
        refused = ada.get("/api/market/stream", params={"symbols": symbols, "once": "true"})
        assert refused.status_code in (400, 422), symbols
        assert refused.json()["errors"][0]["field"] == "symbols"
