"""Contract of `MarketStore` and `StoredMarket`, see application/ports."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.bars import BAR_FIELDS, Bars
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PricesUnavailable
from rebalancer.domain.market.quality import Decision, Rule, Verdict
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import a_context, a_portfolio
from tests.contracts.databases import changing_schema
from tests.contracts.markets import KINDS, Clock, market_places


@pytest.fixture(scope="module", params=KINDS)
def places(request, makers):
    """Return a function that makes places of a kind; a place makes stores over its data."""
    with ExitStack() as at_the_end:
        yield lambda: market_places(request, makers, at_the_end, request.param)


@pytest.fixture
def place(places):
    return places()


@pytest.fixture
def market(place):
    return place()


@pytest.fixture(scope="module")
def shared(places):
    """Return one place for many examples, which use different symbols."""
    return places()


def some_days(first="2020-12-28", last="2021-01-12"):
    return np.arange(first, last, dtype="datetime64[D]")


def some_bars(symbol="A", days=None, *, seed=0, figures=BAR_FIELDS):
    days = some_days() if days is None else np.asarray(days, dtype="datetime64[D]")
    made = np.random.default_rng(seed).uniform(20.0, 25.0, (len(BAR_FIELDS), len(days)))
    return Bars(symbol, days, **{name: made[BAR_FIELDS.index(name)] for name in figures})


def same(one, other):
    assert one.symbol == other.symbol
    ours, theirs = one.columns(), other.columns()
    assert list(ours) == list(theirs)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
    return True


def test_bars_are_read_as_written(market):
    given_bars = [some_bars("A"), some_bars("B", seed=1, figures=("close",))]
    assert market.save_bars(given_bars) == 30
    found = market.store.bars()
    assert list(found) == ["A", "B"]
    assert all(same(found[one.symbol], one) for one in given_bars)


def test_closes_are_those_of_the_bars(market):
    """Of assets with several years, with gaps, as traded or adjusted, and of both bases."""
    days = some_days("2019-11-01", "2022-02-01")
    given_bars = [
        some_bars("A", days[::2]),
        attrs.evolve(some_bars("B", days[200:], seed=1), adjusted=False),
        some_bars("C", days, seed=2, figures=("close",)),
        some_bars("D", days[:5], seed=3),
        some_bars("E", days, seed=4),
        some_bars("EURUSD", days, seed=6, figures=("close",)),
    ]
    market.save_bars(given_bars)
    market.save_bars([attrs.evolve(some_bars("C", days[300:400], seed=5), adjusted=False)])
    wanted = ["EURUSD", "E", "C", "B", "A", "UNKNOWN"]
    bars = market.store.bars(["close"], symbols=wanted)
    found = market.store.closes(wanted)
    assert found.symbols == tuple(bars) == ("A", "B", "C", "E", "EURUSD")
    assert found.counts.tolist() == [len(one) for one in bars.values()]
    assert found.adjusted == {"A", "E"}
    assert np.array_equal(found.closes, np.concatenate([one.close for one in bars.values()]))
    read = np.concatenate([one.days for one in bars.values()])
    assert np.array_equal(found.days.astype("datetime64[D]"), read)
    assert market.store.closes(["UNKNOWN"]).symbols == ()


FIGURE = st.floats(min_value=1e-300, max_value=1e11) | st.sampled_from([5e-324, 1e-308, 0.1 + 0.2])


@st.composite
def bars_of(draw, symbol):
    days = sorted(draw(st.sets(st.integers(-800, 800), min_size=1, max_size=12)))
    names = ["close", *draw(st.sets(st.sampled_from(BAR_FIELDS[1:])))]
    figures = {
        name: draw(st.lists(FIGURE, min_size=len(days), max_size=len(days))) for name in names
    }
    return Bars(symbol, np.array(days, dtype="datetime64[D]"), **figures)


@settings(max_examples=50)
@given(data=st.data())
def test_later_bars_replace_earlier_ones(shared, data):
    market, symbol = shared(), uuid4().hex
    expected: dict[object, dict[str, float]] = {}
    for _ in range(data.draw(st.integers(1, 3))):
        bars = data.draw(bars_of(symbol))
        now = {day: float(close) for day, close in zip(bars.days, bars.close, strict=True)}
        new = sum(expected.get(day) != close for day, close in now.items())
        assert market.save_bars([bars]) >= new
        assert market.save_bars([bars]) == 0
        expected |= now
    found = market.store.bars(symbols=[symbol])[symbol]
    assert dict(zip(found.days, found.close.tolist(), strict=True)) == expected
    assert (np.diff(found.days) > np.timedelta64(0, "D")).all()


def test_saving_the_same_bars_again_changes_nothing(market):
    bars = [some_bars("A"), some_bars("B")]
    assert market.save_bars(bars) == 30
    before = market.store.bars()
    history = market.closes()
    assert market.save_bars(bars) == 0
    assert all(same(market.store.bars()[symbol], one) for symbol, one in before.items())
    assert market.closes() is history


def test_changed_days_are_counted(market):
    bars = some_bars("A")
    market.save_bars([bars])
    close = bars.close.copy()
    close[[2, 9]] += 1.0
    corrected = attrs.evolve(bars, close=close)
    assert market.save_bars([corrected]) == 2
    longer = some_bars("A", some_days("2021-01-10", "2021-01-14"), seed=7)
    assert market.save_bars([longer]) == 4
    assert len(market.store.bars()["A"]) == 17
    assert same(market.store.bars()["A"], corrected.merged_with(longer))


def test_later_bars_of_one_call_win(market):
    first, second = some_bars("A", seed=1), some_bars("A", seed=2)
    market.save_bars([first, second])
    assert same(market.store.bars()["A"], second)


def test_field_is_stored_for_years_whose_days_all_have_it(market):
    market.save_bars([some_bars("A")])
    market.save_bars([some_bars("A", ["2021-01-04"], figures=("close", "volume"))])
    assert market.store.bars()["A"].open is None
    assert market.store.bars()["A"].volume is not None
    whole = some_bars("A", seed=3)
    market.save_bars([whole])
    assert same(market.store.bars()["A"], whole)


def test_bars_are_sorted_by_symbol_and_limited_to_fields(market):
    bars = {symbol: some_bars(symbol, seed=at) for at, symbol in enumerate("CAB")}
    market.save_bars(list(bars.values()))
    assert list(market.store.bars()) == ["A", "B", "C"]
    closes = market.store.bars(["close"])["B"]
    assert closes.close.tobytes() == bars["B"].close.tobytes()
    assert closes.volume is None


def test_bars_are_read_only(market):
    market.save_bars([some_bars("A")])
    with pytest.raises(ValueError, match="read-only"):
        market.store.bars()["A"].close[0] = 1.0


def test_progress_is_reported(market):
    told = []
    bars = [some_bars(f"S{at:03}", some_days("2021-01-01", "2021-01-03")) for at in range(150)]
    market.save_bars(bars, progress=told.append)
    assert sum(told) == 150


def test_empty_store_has_no_prices(market):
    assert market.save_bars([]) == 0
    assert market.store.bars() == {}
    assert market.store.symbols() == market.symbols() == ()
    assert market.withheld() == {}
    market.check()
    with pytest.raises(PricesUnavailable, match="no prices are imported yet"):
        market.closes()


def test_closes_are_those_of_the_bars_by_symbol(market):
    bars = {symbol: some_bars(symbol, seed=at) for at, symbol in enumerate("CAB")}
    market.save_bars(list(bars.values()))
    history = market.closes()
    assert history.symbols == market.symbols() == ("A", "B", "C")
    assert np.array_equal(history.dates, some_days())
    for column, symbol in enumerate(history.symbols):
        assert history.closes[:, column].tobytes() == bars[symbol].close.tobytes()


def test_short_gap_repeats_the_last_close_and_a_longer_one_withholds_the_asset(market):
    days = some_days("2020-12-01", "2021-01-12")
    market.save_bars(
        [
            some_bars("WHOLE", days),
            some_bars("LATE", days[8:]),
            some_bars("SHORT", np.delete(days, range(3, 8))),
            some_bars("ENDED", days[:-16]),
        ]
    )
    history = market.closes()
    assert history.symbols == market.symbols() == ("ENDED", "LATE", "SHORT", "WHOLE")
    assert (history.closes[2:8, 2] == history.closes[2, 2]).all()
    assert not history.observed[3:8, 2].any()
    assert np.isnan(history.closes[:8, 1]).all()
    assert market.withheld() == {"ENDED": f"no close since {days[-17]}"}
    market.save_bars([some_bars("ENDED", days[-16:])])
    assert market.withheld() == {}


def test_same_call_returns_the_same_object_until_a_change(place):
    clock = Clock()
    market, other = place(clock=clock), place()
    other.save_bars([some_bars("A"), some_bars("B")])
    calls = [
        {},
        {"symbols": ["B", "A"]},
        {"symbols": ("B",), "days": 3},
        {"days": 5, "until": date(2021, 1, 5)},
    ]
    first = [market.closes(**call) for call in calls]
    clock.now += 60.0
    assert all(market.closes(**call) is one for call, one in zip(calls, first, strict=True))
    other.save_bars([some_bars("A", seed=5)])
    clock.now += 60.0
    second = [market.closes(**call) for call in calls]
    assert all(one is not two for one, two in zip(first, second, strict=True))
    assert all(market.closes(**call) is one for call, one in zip(calls, second, strict=True))
    assert second[0].closes[0, 0] == some_bars("A", seed=5).close[0]


def test_changes_by_others_are_seen_after_a_second(place):
    clock = Clock()
    market, other = place(clock=clock), place()
    other.save_bars([some_bars("A")])
    assert market.symbols() == ("A",)
    other.save_bars([some_bars("B")])
    other.save_instruments(Instruments.of([Instrument("B", "Bonds")]))
    clock.now += 0.9
    assert market.symbols() == (("A",) if market is not other else ("A", "B"))
    clock.now += 0.2
    assert market.symbols() == ("A", "B")
    assert market.instruments()["B"].name == "Bonds"


def test_own_changes_are_seen_at_once(place):
    market = place(clock=Clock())
    market.save_bars([some_bars("A")])
    assert market.symbols() == ("A",)
    market.save_bars([some_bars("B")])
    assert market.symbols() == ("A", "B")
    market.save_instruments(Instruments.of([Instrument("A", "one")]))
    assert market.instruments()["A"].name == "one"
    market.save_instruments(Instruments.of([Instrument("A", "two")]))
    assert market.instruments()["A"].name == "two"


@pytest.mark.parametrize("places", ["sqlite", "postgres"], indirect=True, scope="module")
def test_last_snapshot_is_served_while_the_store_is_down(place):
    clock = Clock()
    market = place(clock=clock)
    market.save_bars([some_bars("A")])
    market.save_instruments(Instruments.of([Instrument("A", "one")]))
    before, listed = market.closes(), market.instruments()
    with changing_schema(market.store.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE revisions RENAME TO gone")
    for _ in range(2):
        clock.now += 60.0
        assert market.closes() is before
        assert market.instruments() is listed
        with pytest.raises(Unavailable, match="lacks a table"):
            market.check()
    with changing_schema(market.store.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO revisions")
    clock.now += 60.0
    market.check()
    market.save_bars([some_bars("B")])
    assert market.symbols() == ("A", "B")


def test_concurrent_saves_of_one_asset_lose_nothing(place):
    days = np.arange("2019-01-01", "2021-01-01", dtype="datetime64[D]")
    symbols = [f"S{at}" for at in range(12)]
    rounds = 6
    together = threading.Barrier(2)

    def keep(part):
        market = place()
        together.wait()
        changed = 0
        for turn in range(rounds):
            mine = days[part::2][turn::rounds]
            changed += market.save_bars([some_bars(symbol, mine) for symbol in symbols])
        return changed

    with ThreadPoolExecutor(2) as pool:
        changed = sum(pool.map(keep, [0, 1]))
    assert changed == len(days) * len(symbols)
    found = place().store.bars()
    assert list(found) == sorted(symbols)
    assert all(np.array_equal(one.days, days) for one in found.values())
    assert place().closes().closes.shape == (len(days), len(symbols))


LIST = [
    Instrument("SPY", "S&P 500, all of it", AssetClass.EQUITY, 3e10),
    Instrument("AGG", "Bonds", AssetClass.BOND, None),
    Instrument("XYZ"),
]


def test_instruments_are_listed_in_the_order_of_their_first_save(market):
    assert list(market.instruments()) == []
    assert market.save_instruments(Instruments.of(LIST)) == 3
    assert list(market.instruments()) == LIST
    assert market.save_instruments(Instruments.of(LIST)) == 0
    better = Instrument("AGG", "US bonds", AssetClass.BOND, 1e9)
    another = Instrument("GLD", "Gold", AssetClass.GOLD, 2e9)
    assert market.save_instruments(Instruments.of([another, better, LIST[2]])) == 2
    assert list(market.instruments()) == [LIST[0], better, LIST[2], another]
    assert market.instruments() is market.instruments()


def test_currencies_and_markets_of_instruments_are_stored(market):
    listed = [
        Instrument("VOD.L", "Vodafone", AssetClass.EQUITY, 1e7, currency="GBX", market="XLON"),
        Instrument("BTC", "Bitcoin", currency="EUR", market="24/7"),
    ]
    assert market.save_instruments(Instruments.of(listed)) == 2
    assert list(market.instruments()) == listed
    moved = attrs.evolve(listed[0], currency="GBP")
    assert market.save_instruments(Instruments.of([moved])) == 1
    assert market.instruments()["VOD.L"] == moved


DAY = timedelta(days=1)
MONDAY = datetime(2021, 1, 18, 18, 0, 0, 250_001, UTC)


def closes_by_day(bars):
    """Return the closes of an asset by text of their day."""
    return dict(zip(bars.days.astype(str).tolist(), bars.close.tolist(), strict=True))


def test_correction_keeps_the_earlier_figure(market):
    store = market.store
    bars = some_bars()
    assert store.save_bars([bars], known=MONDAY, source="files") == 15
    close = bars.close.copy()
    close[[3, 8]] = 50.0, 60.0
    corrected = attrs.evolve(bars, close=close)
    assert store.save_bars([corrected], known=MONDAY + DAY, source="vendor") == 2
    again = attrs.evolve(bars, close=close + 1.0)
    assert store.save_bars([again], known=MONDAY + 2 * DAY) == 15
    assert same(store.bars()["A"], again)
    assert same(store.bars(known_by=MONDAY + 2 * DAY)["A"], again)
    for hours in (24, 47):
        assert same(store.bars(known_by=MONDAY + timedelta(hours=hours))["A"], corrected)
    for hours in (0, 23):
        assert same(store.bars(known_by=MONDAY + timedelta(hours=hours))["A"], bars)
    assert store.bars(known_by=MONDAY - timedelta(microseconds=1)) == {}


def test_days_known_later_are_left_out(market):
    store = market.store
    store.save_bars([some_bars("A"), some_bars("B")], known=MONDAY)
    later = some_bars("A", some_days("2021-01-10", "2021-01-15"), figures=("close",))
    store.save_bars([later], known=MONDAY + DAY)
    assert same(store.bars(known_by=MONDAY)["A"], some_bars("A"))
    assert store.bars()["A"].open is None
    assert len(store.bars()["A"]) == 18
    assert store.bars(known_by=MONDAY, symbols=["A"]).keys() == {"A"}


def test_correction_without_a_later_time_counts_as_later(market):
    store = market.store
    first, second = some_bars(), some_bars(seed=1)
    store.save_bars([first], known=MONDAY)
    store.save_bars([second], known=MONDAY - DAY)
    assert same(store.bars(known_by=MONDAY)["A"], first)
    assert same(store.bars(known_by=MONDAY + DAY)["A"], second)


def test_time_of_saving_is_the_known_time_by_default(market):
    before = datetime.now(UTC)
    market.save_bars([some_bars()])
    market.save_actions([SPLIT])
    after = datetime.now(UTC)
    assert market.store.bars(known_by=before - DAY) == {}
    assert same(market.store.bars(known_by=after)["A"], some_bars())
    (action,) = market.store.actions(known_by=after)
    assert before <= action.known <= after


def test_bars_are_limited_to_symbols_and_days(market):
    store = market.store
    store.save_bars([some_bars(symbol) for symbol in "ABC"], known=MONDAY)
    for known_by in (None, MONDAY):
        found = store.bars(
            ["close"], symbols=["C", "A", "X"], since=date(2021, 1, 3), known_by=known_by
        )
        assert list(found) == ["A", "C"]
        assert np.array_equal(found["A"].days, some_days("2021-01-03"))
        assert found["A"].volume is None
        assert store.bars(since=date(2021, 2, 1), known_by=known_by) == {}


def test_first_bars_as_traded_replace_adjusted_ones(market):
    store = market.store
    adjusted = some_bars("A", some_days("2019-12-30", "2021-01-03"))
    traded = attrs.evolve(some_bars("A", some_days("2020-12-30", "2021-01-05")), adjusted=False)
    store.save_bars([adjusted, some_bars("B")], known=MONDAY)
    before = store.revision("bars")
    assert store.save_bars([traded], known=MONDAY + DAY) == 6
    assert store.revision("bars") != before
    found = store.bars()
    assert store.symbols() == ("A", "B")
    assert same(found["A"], traded)
    assert not found["A"].adjusted
    assert found["B"].adjusted
    earlier = store.bars(known_by=MONDAY)["A"]
    assert same(earlier, adjusted)
    assert earlier.adjusted
    revision = store.revision("bars")
    assert store.save_bars([adjusted, traded], known=MONDAY + 2 * DAY) == 0
    assert store.save_bars([adjusted], known=MONDAY + 2 * DAY) == 0
    assert store.revision("bars") == revision
    older = attrs.evolve(some_bars("A", ["2019-12-31"]), adjusted=False)
    assert store.save_bars([older], known=MONDAY + 3 * DAY) == 1
    assert closes_by_day(store.bars()["A"]).keys() == {
        "2019-12-31",
        *some_days("2020-12-30", "2021-01-05").astype(str),
    }
    assert same(store.bars(known_by=MONDAY)["A"], adjusted)
    assert market.closes(["A"]).last_date == date(2021, 1, 11)


def test_equal_figures_as_traded_replace_adjusted_ones(market):
    bars = some_bars()
    market.save_bars([bars])
    assert market.save_bars([attrs.evolve(bars, adjusted=False)]) == 15
    assert not market.store.bars()["A"].adjusted


@settings(max_examples=50)
@given(data=st.data())
def test_every_earlier_state_can_be_read(shared, data):
    store, symbol = shared().store, uuid4().hex
    told, state = [], {}
    traded = False
    for at in range(data.draw(st.integers(1, 5))):
        bars = attrs.evolve(data.draw(bars_of(symbol)), adjusted=data.draw(st.booleans()))
        store.save_bars([bars], known=MONDAY + at * DAY, source=str(at))
        if not bars.adjusted and not traded:
            traded, state = True, {}
        if not (traded and bars.adjusted):
            state = state | closes_by_day(bars)
        told.append(state)
    for at, state in enumerate(told):
        found = store.bars(["close"], symbols=[symbol], known_by=MONDAY + at * DAY)
        assert closes_by_day(found[symbol]) == state
    assert closes_by_day(store.bars(symbols=[symbol])[symbol]) == told[-1]


SPLIT = CorporateAction("A", date(2021, 1, 5), ActionKind.SPLIT, Decimal(4))
ACTIONS = [
    SPLIT,
    CorporateAction("A", date(2021, 1, 4), ActionKind.DIVIDEND, Decimal("0.0825"), "GBX"),
    CorporateAction("B", date(2021, 1, 5), ActionKind.RENAME, other="C"),
    CorporateAction("B", date(2021, 1, 4), ActionKind.SPIN_OFF, Decimal("0.5"), other="D"),
    CorporateAction("B", date(2021, 1, 4), ActionKind.SPIN_OFF, Decimal("0.25"), other="A"),
    CorporateAction("C", date(2021, 2, 5), ActionKind.DELISTING),
]


def test_actions_are_read_as_written(market):
    store = market.store
    assert list(store.actions()) == []
    assert store.save_actions(ACTIONS, known=MONDAY, source="files") == 6
    assert list(store.actions()) == list(Actions.of(ACTIONS))
    assert {(one.known, one.source) for one in store.actions()} == {(MONDAY, "files")}
    revision = store.revision("actions")
    assert store.save_actions(ACTIONS[::-1], known=MONDAY + DAY, source="other") == 0
    assert {(one.known, one.source) for one in store.actions()} == {(MONDAY, "files")}
    assert store.revision("actions") == revision
    assert store.save_actions([]) == 0


def test_large_market_is_read_in_parts(market):
    bars = [some_bars(f"S{at:04}", some_days(last="2021-01-04"), seed=at) for at in range(501)]
    market.save_bars(bars)
    history = market.closes()
    assert history.symbols == tuple(one.symbol for one in bars)
    assert np.array_equal(history.closes, np.column_stack([one.close for one in bars]))


def test_corrected_action_keeps_the_earlier_figure(market):
    store = market.store
    store.save_actions(ACTIONS, known=MONDAY)
    right = attrs.evolve(SPLIT, value=Decimal(5))
    assert store.save_actions([right], known=MONDAY + DAY, source="vendor") == 1
    assert store.actions().by_symbol["A"][1] == right
    assert store.actions().by_symbol["A"][1].source == "vendor"
    assert store.actions(known_by=MONDAY).digest == Actions.of(ACTIONS).digest
    assert store.actions(known_by=MONDAY + DAY).digest == store.actions().digest
    assert list(store.actions(known_by=MONDAY - timedelta(microseconds=1))) == []
    assert store.save_actions([SPLIT], known=MONDAY) == 1
    assert store.actions(known_by=MONDAY + DAY).by_symbol["A"][1] == right
    assert store.actions().by_symbol["A"][1] == SPLIT


def test_each_kind_of_data_has_its_revision(place):
    market, other = place(), place()
    kinds = ("bars", "actions", "instruments", "verdicts")

    def changed_by(change):
        before = [other.store.revision(kind) for kind in kinds]
        change()
        after = [other.store.revision(kind) for kind in kinds]
        assert other.store.revision(*kinds) == " ".join(after)
        return [kind for kind, one, two in zip(kinds, before, after, strict=True) if one != two]

    assert changed_by(lambda: market.save_bars([some_bars()])) == ["bars"]
    assert changed_by(lambda: market.save_actions(ACTIONS)) == ["actions"]
    assert changed_by(lambda: market.save_instruments(Instruments.of(LIST))) == ["instruments"]
    assert changed_by(lambda: market.store.save_verdicts([VERDICT])) == ["verdicts"]
    assert changed_by(lambda: market.store.save_verdicts([VERDICT])) == []


VERDICT = Verdict("A", Rule.SPIKE, date(2021, 1, 5), Decision.ACCEPT, MONDAY, "a true crash")


def test_last_verdict_on_a_finding_counts(market):
    store = market.store
    other = attrs.evolve(VERDICT, rule=Rule.LARGE_MOVE, note="")
    assert store.save_verdicts([VERDICT, other]) == 2
    assert store.verdicts() == (other, VERDICT)
    assert store.save_verdicts([VERDICT]) == 0
    later = attrs.evolve(VERDICT, decision=Decision.REJECT, decided=MONDAY + DAY)
    assert store.save_verdicts([later]) == 1
    assert store.verdicts() == (other, later)
    assert store.save_verdicts([VERDICT]) == 0
    assert store.verdicts() == (other, later)


def test_concurrent_saves_of_actions_lose_nothing(place):
    days = np.arange("2019-01-01", "2019-03-01", dtype="datetime64[D]").tolist()
    together = threading.Barrier(2)

    def keep(part):
        store = place().store
        together.wait()
        return sum(
            store.save_actions([attrs.evolve(SPLIT, ex_day=day, symbol=symbol) for symbol in "AB"])
            for day in days[part::2]
        )

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(keep, [0, 1])) == 2 * len(days)
    assert len(place().store.actions()) == 2 * len(days)


def test_proposal_replays_on_what_was_known_when_it_was_made(market):
    """Later corrections, actions and days change the market, but not the one of that time."""
    days = some_days("2020-06-01", "2021-01-12")
    market.save_bars([attrs.evolve(some_bars(one, days), adjusted=False) for one in "AB"])
    made = datetime.now(UTC)
    portfolio = a_portfolio({"A": 10, "B": 5}, {"A": 0.5, "B": 0.5}, cash=1000)
    proposal = propose(portfolio, a_context(market.closes(), "monthly"))

    close = some_bars("A", days).close.copy()
    close[-3] = 30.0
    corrected = attrs.evolve(some_bars("A", days), close=close, adjusted=False)
    market.save_bars([corrected, some_bars("C", days)])
    market.save_actions([attrs.evolve(SPLIT, value=Decimal(2))])
    now = a_context(market.closes(), "monthly")
    assert now.replaying(portfolio, proposal.input_hash) is None

    then = a_context(market.known_by(made).closes(), "monthly")
    replayed = then.replaying(portfolio, proposal.input_hash)
    assert replayed is not None
    assert propose(portfolio, replayed) == proposal
    with pytest.raises(PricesUnavailable, match="no prices were known by"):
        market.known_by(made - timedelta(days=400))


def test_preparing_again_changes_nothing(market):
    market.save_bars([some_bars("A")])
    market.save_instruments(Instruments.of(LIST))
    market.prepare()
    assert same(market.store.bars()["A"], some_bars("A"))
    assert list(market.instruments()) == LIST


def test_years_have_the_source_of_each_day(market):
    days = some_days()
    market.save_bars([some_bars("A", days[:10]), some_bars("B", days)], source="first")
    market.save_bars([some_bars("A", days[10:], seed=1)], source="second")
    before, after = market.store.years("A")
    assert set(before.sources) == {"first"}
    assert (after.bars.days[0], after.bars.days[-1]) == (np.datetime64("2021-01-01"), days[-1])
    count = int((days[:10] >= after.bars.days[0]).sum())
    assert after.sources.tolist() == ["first"] * count + ["second"] * (len(after) - count)
    (alone,) = market.store.years("A", since=date(2021, 1, 5))
    assert alone.bars.days.tolist() == after.bars.days.tolist()
    assert market.store.years("NONE") == ()
