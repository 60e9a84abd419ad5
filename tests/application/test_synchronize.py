"""Synchronizing is incremental, resumable, and reports what failed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryCalendars, MemoryMarket
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.market_issues import ListIssues
from rebalancer.application.ports.providers import (
    Fetched,
    Offer,
    Refused,
    Throttled,
    UnknownSymbol,
    Unreachable,
)
from rebalancer.application.provider_chain import ProviderChain
from rebalancer.application.stored_market import StoredMarket
from rebalancer.application.synchronize import OVERLAP, SyncMarket
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.quality import Decision, Rule

DAYS = np.arange("2024-01-01", "2024-06-01", dtype="datetime64[D]")
WEEKDAYS = DAYS[np.is_busday(DAYS)]


class Source:
    """Provider whose assets cost 100 on every weekday up to now."""

    title, terms = "A source", "none"

    def __init__(
        self, name="source", known=("AAA", "BBB", "CCC"), offers=(Offer.BARS,), price=100.0
    ):
        self.name, self.known, self.offers, self.price = name, known, frozenset(offers), price
        self.asked, self.faults, self.actions, self.last = [], {}, (), {}
        self.stuck = None  # an event until which no answer comes

    def bars(self, symbol, *, since, now):
        self.asked.append((symbol, since))
        if self.stuck is not None:
            self.stuck.wait(300)
        if symbol in self.faults:
            raise self.faults[symbol]
        if symbol not in self.known:
            raise UnknownSymbol(f"{self.title} does not know {symbol}")
        days = WEEKDAYS[
            WEEKDAYS.astype("datetime64[s]") + 75600 <= np.datetime64(int(now.timestamp()), "s")
        ]
        if since is not None:
            days = days[days >= np.datetime64(since)]
        if symbol in self.last:
            days = days[days <= np.datetime64(self.last[symbol])]
        bars = Bars(symbol, days, np.full(len(days), self.price), adjusted=False)
        return Fetched(bars, self.actions, Instrument(symbol, currency="USD", market="XNYS"))

    def close(self):
        if self.stuck is not None:
            self.stuck.set()


class Clock:
    def __init__(self):
        self.now = datetime(2024, 3, 8, 22, tzinfo=UTC)  # a Friday, after the close

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def sync(source, clock):
    return syncing(clock, source)


def syncing(clock, *sources, **preferred):
    market = StoredMarket(MemoryMarket(), check_interval=0.0)
    chain = ProviderChain({one.name: one for one in sources}, preferred)
    calendars = MemoryCalendars({"XNYS": WEEKDAYS})
    return SyncMarket(market, chain, MemoryWork(), calendars, clock)


def stored_days(sync, symbol):
    return sync.market.store.bars()[symbol].days.tolist()


def test_a_first_run_stores_everything_that_is_known(sync, source):
    report = sync(["AAA", "BBB"])
    assert report.failed == ()
    assert [one.symbol for one in report.outcomes] == ["AAA", "BBB"]
    assert {one.through for one in report.outcomes} == {date(2024, 3, 8)}
    assert stored_days(sync, "AAA")[-1] == date(2024, 3, 8)
    assert sorted(source.asked) == [("AAA", None), ("BBB", None)]
    listed = sync.market.instruments()["AAA"]
    assert (listed.currency, listed.market) == ("USD", "XNYS")


def test_no_request_is_made_before_another_session_has_ended(sync, source, clock):
    sync(["AAA"])
    source.asked.clear()
    for later in (timedelta(minutes=5), timedelta(hours=20), timedelta(days=2)):  # the weekend
        clock.now = datetime(2024, 3, 8, 22, tzinfo=UTC) + later
        (outcome,) = sync(["AAA"]).outcomes
        assert outcome.current
    assert source.asked == []
    clock.now = datetime(2024, 3, 11, 22, tzinfo=UTC)
    (outcome,) = sync(["AAA"]).outcomes
    assert (outcome.days, outcome.through) == (1, date(2024, 3, 11))
    assert source.asked == [("AAA", date(2024, 3, 8) - OVERLAP)]


def test_a_fault_of_one_asset_harms_no_other_and_is_repeated(sync, source, clock):
    source.faults = {"BBB": Unreachable("A source did not answer")}
    report = sync(["AAA", "BBB", "CCC"])
    assert [one.symbol for one in report.failed] == ["BBB"]
    assert set(sync.market.store.bars()) == {"AAA", "CCC"}
    source.faults, source.asked = {}, []
    assert sync(["AAA", "BBB", "CCC"]).failed == ()
    assert [symbol for symbol, _ in source.asked] == ["BBB"]


def test_an_interrupted_run_goes_on_where_it_ended(sync, source):
    class Killed(BaseException):
        pass

    def interrupt(outcome):
        raise Killed

    with pytest.raises(Killed):
        sync(["AAA", "BBB", "CCC"], progress=interrupt)
    done = set(sync.market.store.bars())
    assert done
    source.asked.clear()
    assert sync(["AAA", "BBB", "CCC"]).failed == ()
    with sync.work.read() as tx:
        states = tx.syncs.get()
    assert set(states) == set(sync.market.store.bars()) == {"AAA", "BBB", "CCC"}


def test_an_unknown_symbol_is_reported(sync):
    (outcome,) = sync(["NOSUCH"]).outcomes
    assert outcome.unknown
    assert "NOSUCH" in outcome.fault


def test_the_next_provider_is_asked_when_one_fails(clock):
    first, second = Source("first"), Source("second")
    first.faults = {"AAA": Throttled("first is busy")}
    sync = syncing(clock, first, second)
    assert [one.provider for one in sync(["AAA", "BBB"]).outcomes] == ["second", "first"]


def test_the_order_of_providers_depends_on_the_kind_of_symbol(clock):
    shares, coins = Source("shares"), Source("coins", known=("BTC-USD",))
    sync = syncing(clock, shares, coins, coin=("coins",))
    assert sync(["BTC-USD"]).outcomes[0].provider == "coins"
    assert shares.asked == []


def test_rates_come_from_providers_of_rates(clock):
    shares, rates = Source("shares"), Source("rates", known=("EURUSD",), offers=(Offer.RATES,))
    sync = syncing(clock, shares, rates)
    assert sync(["EURUSD"]).outcomes[0].provider == "rates"
    assert "EURUSD" not in sync.market.instruments().by_symbol


def test_one_provider_can_be_named(clock):
    first, second = Source("first"), Source("second")
    sync = syncing(clock, first, second)
    assert sync(["AAA"], provider="second").outcomes[0].provider == "second"
    with pytest.raises(InvalidRequest, match="nobody is not a provider"):
        sync(["AAA"], provider="nobody", since=date(2024, 1, 1))


def test_all_faults_are_reported_when_no_provider_answers(clock):
    first, second = Source("first"), Source("second")
    first.faults = {"AAA": Refused("first refused its key")}
    second.faults = {"AAA": Unreachable("second did not answer")}
    (outcome,) = syncing(clock, first, second)(["AAA"]).outcomes
    assert outcome.fault == "first refused its key; second did not answer"
    assert not outcome.unknown


def test_the_error_without_providers_names_the_remedy(clock):
    (outcome,) = syncing(clock)(["AAA"]).outcomes
    assert "no provider is set up" in outcome.fault


def test_a_day_can_be_fetched_again(sync, source):
    sync(["AAA"])
    source.asked.clear()
    sync(["AAA"], since=date(2024, 2, 1))
    assert source.asked == [("AAA", date(2024, 2, 1))]


def test_actions_are_stored_with_their_source(sync, source):
    paid = CorporateAction("AAA", date(2024, 3, 5), ActionKind.DIVIDEND, Decimal("0.5"), "USD")
    source.actions = (paid,)
    (outcome,) = sync(["AAA"]).outcomes
    assert outcome.actions == 1
    (stored,) = sync.market.store.actions()
    assert (stored, stored.source) == (paid, "source")


def test_what_a_list_states_of_an_instrument_stays(sync):
    sync.market.save_instruments(Instruments.of([Instrument("AAA", name="Mine", currency="GBX")]))
    sync(["AAA"])
    listed = sync.market.instruments()["AAA"]
    assert (listed.name, listed.currency, listed.market) == ("Mine", "GBX", "XNYS")


def test_many_assets_are_all_stored(clock):
    symbols = [f"S{number:03}" for number in range(150)]
    sync = syncing(clock, Source(known=symbols))
    told = []
    report = sync(symbols, progress=told.append)
    assert [one.symbol for one in report.outcomes] == symbols
    assert len(told) == len(sync.market.store.bars()) == 150


def test_figures_of_the_first_source_stay_and_a_disagreement_becomes_a_finding(clock):
    first, second = Source("first"), Source("second", price=103.0)
    sync = syncing(clock, first, second)
    sync(["AAA"])
    (outcome,) = sync(["AAA"], provider="second", since=date(2024, 3, 6)).outcomes
    assert (outcome.days, outcome.disagreements) == (0, 1)
    assert set(sync.market.store.bars()["AAA"].close) == {100.0}
    (finding,) = ListIssues(sync.market, sync.market)()
    assert (finding.rule, finding.day) == (Rule.SOURCES_DISAGREE, date(2024, 3, 6))
    assert finding.text == (
        "AAA closed on 2024-03-06 at 100 by first, which is used, and at 103 by second "
        "and 2 more days"
    )
    second.price = 100.1
    (outcome,) = sync(["AAA"], provider="second", since=date(2024, 3, 6)).outcomes
    assert (outcome.days, outcome.disagreements) == (0, 0)
    assert ListIssues(sync.market, sync.market)() == []


def test_later_days_come_from_the_source_that_answers(clock):
    first, second = Source("first"), Source("second", price=100.2)
    sync = syncing(clock, first, second)
    sync(["AAA"])
    first.faults = {"AAA": Unreachable("first did not answer")}
    clock.now += timedelta(days=3)
    (outcome,) = sync(["AAA"]).outcomes
    assert (outcome.provider, outcome.days, outcome.disagreements) == ("second", 1, 0)
    assert sync.market.store.bars()["AAA"].close[-2:].tolist() == [100.0, 100.2]
    second.price = 101.0  # its own figures are corrected
    clock.now += timedelta(days=1)
    sync(["AAA"])
    assert sync.market.store.bars()["AAA"].close[-3:].tolist() == [100.0, 101.0, 101.0]


def test_actions_of_two_sources_are_not_mixed(clock):
    def paid(day, amount):
        return CorporateAction(
            "AAA", date(2024, 3, day), ActionKind.DIVIDEND, Decimal(amount), "USD"
        )

    first, second = Source("first"), Source("second")
    first.actions = (paid(4, "0.50"), paid(5, "0.70"))
    second.actions = (paid(4, "0.502"), paid(6, "0.70"))
    sync = syncing(clock, first, second)
    sync(["AAA"])
    (outcome,) = sync(["AAA"], provider="second", since=date(2024, 3, 1)).outcomes
    assert (outcome.actions, outcome.disagreements) == (0, 2)
    assert [one.ex_day.day for one in sync.market.store.actions()] == [4, 5]
    texts = [one.text for one in ListIssues(sync.market, sync.market)()]
    assert texts == [
        "AAA has a dividend of 0.7 on 2024-03-05 by first, not by second",
        "AAA has a dividend of 0.7 on 2024-03-06 by second alone, which is not used",
    ]


def test_an_action_to_come_is_stored_on_its_day(sync, source, clock):
    split = CorporateAction("AAA", date(2024, 3, 14), ActionKind.SPLIT, Decimal(2))
    source.actions = (split,)
    assert sync(["AAA"]).outcomes[0].actions == 0
    clock.now = datetime(2024, 3, 14, 22, tzinfo=UTC)
    assert sync(["AAA"]).outcomes[0].actions == 1
    assert tuple(sync.market.store.actions()) == (split,)
    clock.now = datetime(2024, 3, 15, 22, tzinfo=UTC)
    assert sync(["AAA"]).outcomes[0].actions == 0


def test_a_corrected_action_counts_as_changed(sync, source, clock):
    paid = CorporateAction("AAA", date(2024, 3, 5), ActionKind.DIVIDEND, Decimal("0.5"), "USD")
    source.actions = (paid,)
    sync(["AAA", "BBB"])
    source.actions = (attrs.evolve(paid, value=Decimal("0.6")),)
    (outcome,) = sync(["AAA"], since=date(2024, 3, 1)).outcomes
    assert (outcome.actions, outcome.days) == (1, 0)
    assert sync.market.store.actions().entries[0].value == Decimal("0.6")


def test_equal_faults_are_logged_as_one_line(sync, source, caplog):
    caplog.set_level("INFO")
    symbols = [f"S{number:03}" for number in range(40)]
    source.faults = {
        symbol: Unreachable(f"A source failed with status 503 for {symbol}; repeat it later")
        for symbol in symbols
    }
    source.faults["A"] = Refused("A source refused A")
    assert len(sync([*symbols, "A"]).failed) == 41
    lines = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert lines[0] == (
        "cannot synchronize S000 and 39 others: A source failed with status 503 for ...; "
        "repeat it later"
    )
    assert len(lines) == 2


def test_the_log_of_many_different_faults_is_limited(sync, source, caplog):
    caplog.set_level("INFO")
    symbols = [f"S{number:03}" for number in range(40)]
    source.faults = {symbol: Refused(f"refused for reason {symbol}x") for symbol in symbols}
    sync(symbols)
    lines = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert len(lines) == 6
    assert lines[-1] == "cannot synchronize 35 further assets"


def test_a_clock_that_was_ahead_prevents_no_request(sync, source, clock):
    clock.now = datetime(2026, 3, 9, 22, tzinfo=UTC)
    source.last = {"AAA": date(2024, 3, 8)}
    sync(["AAA"])
    clock.now, source.last = datetime(2024, 3, 11, 22, tzinfo=UTC), {}
    (outcome,) = sync(["AAA"]).outcomes
    assert outcome.through == date(2024, 3, 11)


class JumpingSource(Source):
    """Source whose asset costs twenty times as much from a day on."""

    def bars(self, symbol, *, since, now):
        fetched = super().bars(symbol, since=since, now=now)
        later = fetched.bars.days >= np.datetime64("2024-03-06")
        close = np.where(later, 20.0, 1.0) * fetched.bars.close
        return attrs.evolve(fetched, bars=Bars(symbol, fetched.bars.days, close, adjusted=False))


@pytest.mark.parametrize("agrees", [True, False])
def test_a_withheld_change_is_released_by_an_agreeing_source(clock, agrees):
    first = JumpingSource("first")
    second = (JumpingSource if agrees else Source)("second")
    sync = syncing(clock, first, second)
    sync(["AAA"])
    assert "AAA" in sync.market.withheld()
    sync(["AAA"], provider="second", since=date(2024, 3, 1))
    assert ("AAA" in sync.market.withheld()) is not agrees
    accepted = [one for one in sync.market.verdicts() if one.decision is Decision.ACCEPT]
    assert [one.note for one in accepted] == ["second has the same change"] * agrees
