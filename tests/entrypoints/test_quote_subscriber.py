"""The subscriber of quotes: one of a deployment, taken over, and what it subscribes to."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.quote_feed import MemoryQuoteFeed
from rebalancer.adapters.memory.quotes import MemoryQuoteBoard
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.quote_subscription import (
    HoldSubscription,
    ListQuotedAssets,
    PostTicks,
)
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.live_quotes import Tick
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.quote_subscriber import QuoteSubscriber, SubscriberTimes
from tests.contracts.stores import a_managed, stored_user
from tests.internet import wait_until

QUICK = SubscriberTimes(heartbeat=0.02, assets=0.02, post=0.005)


def clock():
    return datetime.now(UTC)


@attrs.define
class Listed:
    """Prices and instruments of a test."""

    known: tuple[str, ...] = ("VTI", "BND", "VOD.L", "BTC-USD")
    listed: Instruments = attrs.field(
        factory=lambda: Instruments.of([Instrument("VOD.L", currency="GBX")])
    )

    def symbols(self):
        return self.known

    def instruments(self):
        return self.listed


@attrs.define
class Faulty:
    """Unit of work that a test can make unavailable."""

    work: MemoryWork = attrs.field(factory=MemoryWork)
    down: bool = False

    def _check(self):
        if self.down:
            raise Unavailable("the store is down")

    def begin(self):
        self._check()
        return self.work.begin()

    def read(self):
        self._check()
        return self.work.read()


@attrs.define
class Deployment:
    """Processes that share a store and a board."""

    lifetime: timedelta = timedelta(seconds=0.3)
    work: Faulty = attrs.field(factory=Faulty)
    board: MemoryQuoteBoard = attrs.field(factory=MemoryQuoteBoard)
    market: Listed = attrs.field(factory=Listed)
    feeds: dict[str, list[MemoryQuoteFeed]] = attrs.field(factory=dict)

    @contextmanager
    def process(self, name, work=None):
        """Run a process that may subscribe."""

        def create():
            feed = MemoryQuoteFeed()
            self.feeds.setdefault(name, []).append(feed)
            return feed

        subscriber = QuoteSubscriber(
            HoldSubscription(work or self.work, clock, self.lifetime),
            ListQuotedAssets(self.work.work, self.board, self.market),
            PostTicks(self.board, self.market, Currency("USD"), clock),
            create,
            times=QUICK,
            holder=name,
        )
        try:
            yield subscriber
        finally:
            subscriber.stop()

    def latest(self, symbol):
        found = self.board.latest([symbol]).get(symbol)
        return None if found is None else found.quote


@pytest.fixture
def deployment():
    return Deployment()


def tick(symbol, price, **others):
    return Tick(symbol, price, datetime.now(UTC), "memory", **others)


def send_until_posted(deployment, name, symbol, price):
    def posted():
        deployment.feeds[name][-1].send([tick(symbol, price)])
        found = deployment.latest(symbol)
        return found is not None and found.price == price

    wait_until(posted)


def test_portfolios_and_streams_decide_what_is_subscribed(deployment):
    owner = stored_user(deployment.work.work).id
    managed = a_managed(owner)
    held = {*managed.mandate.targets, *managed.positions.holdings}
    deployment.market.known += tuple(sorted(held))
    with deployment.work.begin() as tx:
        tx.portfolios.add(managed, [])
    deployment.board.want(["VTI", "MY-HOUSE", "EURUSD"], until=clock() + timedelta(hours=1))
    with deployment.process("a") as one:
        wait_until(lambda: one.subscribes and deployment.feeds["a"][0].wanted)
        # MY-HOUSE has no price here: a name of the owner's own is not sent to a provider.
        wait_until(lambda: deployment.feeds["a"][0].wanted == held | {"VTI", "EURUSD"})


def test_reports_are_posted_in_the_unit_of_their_instrument(deployment):
    deployment.board.want(["VTI", "VOD.L", "EURUSD"], until=clock() + timedelta(hours=1))
    with deployment.process("a") as one:
        wait_until(lambda: one.subscribes)
        send_until_posted(deployment, "a", "VTI", 250.5)
        deployment.feeds["a"][0].send([tick("VOD.L", float(np.float32(70.55)))])
        wait_until(lambda: deployment.latest("VOD.L"))
        send_until_posted(deployment, "a", "EURUSD", 1.125)
    assert (deployment.latest("VOD.L").price, deployment.latest("VOD.L").currency) == (
        0.7055,
        "GBP",
    )
    assert deployment.latest("EURUSD").currency == "USD"
    assert deployment.latest("VTI").currency == "USD"


def test_one_of_two_processes_subscribes_and_the_other_takes_over_at_its_end(deployment):
    deployment.board.want(["VTI"], until=clock() + timedelta(hours=1))
    deployment.lifetime = timedelta(hours=1)  # given back, not expired
    with deployment.process("a") as first:
        wait_until(lambda: first.subscribes)
        with deployment.process("b") as second:
            send_until_posted(deployment, "a", "VTI", 250.5)
            assert not second.subscribes
            first.stop()
            wait_until(lambda: second.subscribes)
            send_until_posted(deployment, "b", "VTI", 251.5)
        assert not first.subscribes


def test_subscriber_that_cannot_reach_the_store_stops_before_another_takes_over(deployment):
    deployment.board.want(["VTI"], until=clock() + timedelta(hours=1))
    away = Faulty(deployment.work.work)
    with deployment.process("a", away) as first, deployment.process("b") as second:
        wait_until(lambda: first.subscribes or second.subscribes)
        if second.subscribes:  # it was faster
            return
        away.down = True
        wait_until(lambda: second.subscribes)
        wait_until(lambda: not first.subscribes)
        away.down = False
        send_until_posted(deployment, "b", "VTI", 251.5)
        assert not first.subscribes


def test_quotes_that_the_board_has_lost_are_posted_again(deployment):
    deployment.board.want(["VTI"], until=clock() + timedelta(hours=1))
    with deployment.process("a") as one:
        wait_until(lambda: one.subscribes)
        send_until_posted(deployment, "a", "VTI", 250.5)
        deployment.board._latest.clear()  # as Redis after a restart
        wait_until(lambda: deployment.latest("VTI"))


def test_report_that_is_not_a_price_is_left_out_and_logged_once(deployment, caplog):
    deployment.board.want(["VTI", "BND"], until=clock() + timedelta(hours=1))
    with deployment.process("a") as one:
        wait_until(lambda: one.subscribes)
        deployment.feeds["a"][0].send([tick("VTI", 0.0)])
        send_until_posted(deployment, "a", "BND", float(Decimal("75.25")))
        assert deployment.latest("VTI") is None
    assert sum("not a quote" in one.message for one in caplog.records) <= 1


def test_failing_feed_is_tried_again(deployment, caplog):
    class Missing(MemoryQuoteFeed):
        async def run(self, deliver):
            raise Unavailable("live quotes need a further package", code="package_missing")

    tried = []

    def create():
        tried.append(Missing())
        return tried[-1]

    subscriber = QuoteSubscriber(
        HoldSubscription(deployment.work, clock),
        ListQuotedAssets(deployment.work.work, deployment.board, deployment.market),
        PostTicks(deployment.board, deployment.market, Currency("USD"), clock),
        create,
        times=QUICK,
    )
    try:
        wait_until(lambda: len(tried) >= 3)
    finally:
        subscriber.stop()
    assert sum("there are no live quotes" in one.message for one in caplog.records) == 1
