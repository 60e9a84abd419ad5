"""Splits and income in a ledger: each counts once, whatever the history of closes looks like."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal, localcontext

import attrs
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.track_record import FREE, TrackRecord, measure_track_record
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction, inferred_source
from rebalancer.domain.market.adjustment import adjust_backwards
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Severity
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.own_prices import adjustment_note, own_actions, own_prices
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import a_context, a_portfolio
from tests.domain.test_adjustment import DAYS, action, as_traded, day, history, moves, plans
from tests.domain.test_track_record import entry, lines, trade

laws = settings(deadline=None, max_examples=20)
Plan = tuple[CorporateAction, ...]


def restated(closes: Floats, actions: Plan) -> Floats:
    """Return closes as a source restates them for later actions, (T,)."""
    known = Actions.of(actions).by_symbol.get("A", ())
    return adjust_backwards(DAYS, closes, known, lambda one, _: float(one.value))


def booked(closes: Floats, actions: Plan, *, reinvest: bool = True) -> Ledger:
    """Return a purchase of A on the first day, with each action booked and income reinvested."""
    units = Decimal(1_000_000)
    price = Decimal(repr(float(closes[0])))
    entries = [
        entry("deposit", units * price, day(0)),
        trade("buy", units, "A", price, day(0)),
    ]
    with localcontext(prec=60):
        for on in sorted({one.ex_day for one in actions}):
            here = [one for one in actions if one.ex_day == on]
            paid = sum((one.value for one in here if one.kind is not ActionKind.SPLIT), Decimal(0))
            for one in here:
                if one.kind is ActionKind.SPLIT:
                    entries.append(entry("split", 0, on, symbol="A", ratio=one.value))
                else:
                    kind = one.kind.value.replace("capital_gain", "dividend")
                    entries.append(entry(kind, units * one.value, on, symbol="A"))
            before = units
            for one in here:
                units *= one.value if one.kind is ActionKind.SPLIT else 1
            if paid and reinvest:
                close = Decimal(repr(float(closes[np.searchsorted(DAYS, np.datetime64(on))])))
                bought = before * paid / close
                entries.append(
                    entry("buy", before * paid, on, symbol="A", quantity=bought, price=close)
                )
                units += bought
    return Ledger(tuple(entries))


def measured(market: PriceHistory, ledger: Ledger) -> TrackRecord:
    return measure_track_record(ledger, {"A": 0.5, "B": 0.5}, market, costs=FREE)


def assert_same(one: TrackRecord, other: TrackRecord) -> None:
    for line, same in zip(lines(one), lines(other), strict=True):
        assert same.values == pytest.approx(line.values, rel=1e-11)
        assert same.index == pytest.approx(line.index, rel=1e-11)
    assert other.gain == pytest.approx(one.gain, rel=1e-9, abs=1e-4)


@laws
@given(moves, plans)
def test_holding_that_reinvests_has_the_adjusted_return(moved: list[float], actions: Plan) -> None:
    closes = as_traded(moved, actions)
    assume(closes.min() > 0.01)
    market = history(closes, actions)
    found = measured(market, booked(closes, actions))
    adjusted = market.closes[:, market.column("A")]
    assert found.portfolio.index == pytest.approx(adjusted / adjusted[0], rel=1e-12)
    assert found.no_rebalancing.index == pytest.approx(adjusted / adjusted[0], rel=1e-12)
    follows = measure_track_record(booked(closes, actions), {}, market, benchmark="A").benchmark
    assert follows.index == pytest.approx(adjusted / adjusted[0], rel=1e-12)


@laws
@given(moves, plans, st.booleans())
def test_restating_closes_with_their_actions_changes_no_value_and_no_return(
    moved: list[float], actions: Plan, reinvest: bool
) -> None:
    closes = as_traded(moved, actions)
    assume(closes.min() > 0.01)
    adjusted = restated(closes, actions)
    assume(adjusted.min() > 0.01)
    ledger = booked(closes, actions, reinvest=reinvest)
    raw = measured(history(closes, actions), ledger)
    assert_same(raw, measured(history(adjusted, actions, adjusted=True), ledger))
    # Also if the ledger alone knows the actions.
    assert_same(raw, measured(history(adjusted, adjusted=True), ledger))
    unknown = history(closes)
    if not any(one.severity is Severity.ERROR for one in unknown.all_findings):
        assert_same(raw, measured(unknown, ledger))


@laws
@given(moves, plans, st.randoms(use_true_random=False))
def test_actions_that_are_booked_late_change_no_return(
    moved: list[float], actions: Plan, dice: object
) -> None:
    closes = as_traded(moved, actions)
    assume(closes.min() > 0.01)
    ledger = booked(closes, actions)
    late = list(ledger.entries)
    dice.shuffle(late)  # type: ignore[attr-defined]  # a Random
    market = history(closes, actions)
    assert_same(measured(market, ledger), measured(market, Ledger(tuple(late))))


@laws
@given(moves, plans)
def test_restating_closes_with_their_actions_changes_no_proposal(
    moved: list[float], actions: Plan
) -> None:
    closes = as_traded(moved, actions)
    assume(closes.min() > 0.01)
    adjusted = restated(closes, actions)
    assume(adjusted.min() > 0.01)
    ledger = booked(closes, actions, reinvest=False)
    held = ledger.positions
    portfolio = a_portfolio(held.holdings, {"A": 0.4, "B": 0.4}, cash=held.cash)
    orders = []
    for market in (history(closes, actions), history(adjusted, actions, adjusted=True)):
        seen = own_prices(market, ledger, "USD")
        made = propose(portfolio, a_context(seen))
        orders.append([(one.symbol, one.side, one.quantity) for one in made.orders])
    assert orders[0] == orders[1]


def adjusted_market(closes: Sequence[float], actions: Plan = ()) -> PriceHistory:
    table = np.array([*closes, *[closes[-1]] * (len(DAYS) - len(closes))], dtype=float)
    return history(table, actions, adjusted=True)


def test_recorded_split_corrects_trades_at_prices_before_it() -> None:
    # Ten shares at 600; the file has 200 for that day, since a split of 3 for 1 is in its closes.
    market = adjusted_market([200.0, 210.0, 240.0, 270.0])
    ledger = Ledger(
        (
            entry("deposit", 6000, day(0)),
            trade("buy", 10, "A", 600, day(0)),
            entry("split", 0, day(2), symbol="A", ratio=Decimal(3)),
        )
    )
    found = measured(market, ledger)
    assert found.portfolio.values[:4] == pytest.approx([6000, 6300, 7200, 8100])
    assert found.portfolio.twr == pytest.approx(0.35)
    assert found.portfolio.max_drawdown == pytest.approx(0, abs=1e-12)
    assert found.no_rebalancing.twr == pytest.approx(0.35)
    seen = own_prices(market, ledger, "USD")
    assert seen.traded[:4, seen.column("A")] == pytest.approx([600, 630, 240, 270])


def test_recorded_dividend_counts_once_on_restated_closes() -> None:
    # 99 shares at 100, then a dividend of 2, for which the closes were restated to 98.
    market = adjusted_market([98.0])
    ledger = Ledger(
        (
            entry("deposit", 10_000, day(0)),
            trade("buy", 99, "A", 100, day(0), cost="9.90"),
            entry("dividend", 198, day(5), symbol="A"),
        )
    )
    found = measured(market, ledger)
    assert found.portfolio.values[0] == found.portfolio.values[-1] == pytest.approx(9990.10)
    assert found.gain == pytest.approx(-9.90)
    assert found.portfolio.twr == pytest.approx(-0.00099)
    assert found.dividends == 198
    # A dividend that the market knows, and that is recorded weeks later, is no second one.
    known = adjusted_market([98.0], (action("dividend", 2, 2),))
    assert own_actions(known, ledger, "USD") == {}
    again = measured(known, ledger)
    assert again.portfolio.values[-1] == pytest.approx(9990.10)
    # The ledger states the day of one that was inferred, so that the value is even until then.
    source = inferred_source(day(2), day(len(DAYS) - 1))
    inferred = adjusted_market([98.0], (action("dividend", 2, 2, source=source),))
    even = measured(inferred, ledger)
    assert even.portfolio.values == pytest.approx([9990.10] * len(DAYS))
    assert even.portfolio.twr == pytest.approx(-0.00099)


def test_dividend_on_the_day_of_a_deposit_is_income_of_what_was_held() -> None:
    closes = np.array([100.0, 100.0] + [50.0] * 28)
    market = history(closes, (action("dividend", 2, 50),))
    ledger = Ledger(
        (
            entry("deposit", 100, day(0)),
            trade("buy", 1, "A", 100, day(0)),
            entry("dividend", 50, day(2), symbol="A"),
            entry("deposit", 1000, day(2)),
        )
    )
    found = measured(market, ledger)
    assert found.portfolio.twr == pytest.approx(0, abs=1e-15)
    assert found.portfolio.values[-1] == pytest.approx(1100)


def test_each_kind_of_income_and_charge_counts_once() -> None:
    market = history(np.full(30, 10.0), (action("dividend", 5, 1), action("dividend", 9, 2)))
    ledger = Ledger(
        (
            entry("deposit", 200, day(0)),
            trade("buy", 10, "A", 10, day(0), cost=1),
            entry("dividend", 10, day(5), symbol="A", withheld=Decimal(3)),
            entry("return_of_capital", 20, day(9), symbol="A"),
            entry("interest", 4, day(12), withheld=Decimal(1)),
            entry("tax", 5, day(15)),
            entry("fee", 2, day(16)),
        )
    )
    found = measured(market, ledger)
    assert found.portfolio.values[-1] == pytest.approx(200 - 1 + 7 + 20 + 3 - 5 - 2)
    assert found.gain == pytest.approx(22)
    assert (found.costs, found.taxes) == (3, 9)
    assert (found.dividends, found.interest, found.returned_capital) == (10, 4, 20)


def spin_off_market() -> PriceHistory:
    bars = [
        Bars("A", DAYS, np.array([100.0] * 5 + [80.0] * 25), adjusted=False),
        Bars("S", DAYS[5:], np.full(25, 40.0), adjusted=False),
    ]
    found = MarketSnapshot.of(bars, Actions((action("spin_off", 5, "0.5", other="S"),))).history()
    assert found is not None
    return found


def test_spin_off_moves_value_without_a_flow_or_a_return() -> None:
    ledger = Ledger(
        (
            entry("deposit", 1000, day(0)),
            trade("buy", 10, "A", 100, day(0)),
            entry("spin_off", 0, day(5), symbol="A", other="S", ratio=Decimal("0.5")),
        )
    )
    found = measure_track_record(ledger, {"A": 1.0}, spin_off_market(), costs=FREE)
    for line in lines(found):
        assert line.values == pytest.approx(np.full(30, 1000.0))
        assert line.index == pytest.approx(np.ones(30))
    assert found.contributions == pytest.approx(np.full(30, 1000.0))


@pytest.mark.parametrize("known", ["old", "new", "both", "neither"])
def test_new_symbol_carries_a_position_on(known: str) -> None:
    closes = 10.0 * 1.01 ** np.arange(30)
    bars = [Bars("B", DAYS, np.full(30, 7.0))]
    if known in ("old", "both"):
        bars.append(Bars("OLD", DAYS[:10], closes[:10], adjusted=False))
    if known == "new":
        bars.append(Bars("NEW", DAYS, closes, adjusted=False))
    if known == "both":
        bars.append(Bars("NEW", DAYS[10:], closes[10:], adjusted=False))
    market = MarketSnapshot.of(bars).history()
    assert market is not None
    ledger = Ledger(
        (
            entry("deposit", 100, day(0)),
            trade("buy", 10, "OLD", 10, day(0)),
            entry("rename", 0, day(10), symbol="OLD", other="NEW"),
        )
    )
    found = measure_track_record(ledger, {"B": 0.5}, market, costs=FREE)
    last = {"old": closes[9], "neither": closes[0]}.get(known, closes[-1])
    for line in (found.portfolio, found.no_rebalancing):
        assert line.values[-1] == pytest.approx(10 * last)
    told = any(note.startswith("OLD has no price data") for note in found.notes)
    assert told == (known == "neither")
    if known in ("new", "both"):
        assert found.portfolio.values == pytest.approx(10 * closes)
        assert found.no_rebalancing.values == pytest.approx(10 * closes)


def test_merger_exchanges_units_and_pays_money_without_a_flow() -> None:
    bars = [
        Bars("OLD", DAYS[:10], np.full(10, 20.0), adjusted=False),
        Bars("NEW", DAYS, np.full(30, 30.0), adjusted=False),
    ]
    market = MarketSnapshot.of(bars).history()
    assert market is not None
    ledger = Ledger(
        (
            entry("deposit", 200, day(0)),
            trade("buy", 10, "OLD", 20, day(0)),
            entry("merger", 50, day(10), symbol="OLD", other="NEW", ratio=Decimal("0.5")),
        )
    )
    found = measure_track_record(ledger, {"NEW": 1.0}, market, costs=FREE)
    for line in (found.portfolio, found.no_rebalancing):
        assert line.values == pytest.approx([200.0] * 10 + [200.0] * 20)
        assert line.index == pytest.approx(np.ones(30))


def test_split_of_an_asset_without_closes_divides_its_last_price() -> None:
    market = history(np.full(30, 5.0))
    ledger = Ledger(
        (
            entry("deposit", 100, day(0)),
            trade("buy", 1, "X", 100, day(0)),
            entry("split", 0, day(4), symbol="X", ratio=Decimal(4)),
        )
    )
    found = measured(market, ledger)
    assert found.portfolio.values == pytest.approx(np.full(30, 100.0))
    assert own_prices(market, ledger, "USD").last_known("X") == (day(4), 25.0)


def test_void_split_has_no_effect_on_prices() -> None:
    market = adjusted_market([200.0])
    split = entry("split", 0, day(2), symbol="A", ratio=Decimal(3))
    void = split.reversal(recorded=split.recorded)
    bought = [entry("deposit", 600, day(0)), trade("buy", 1, "A", 200, day(0))]
    ledger = Ledger((*bought, split, void))
    assert own_prices(market, ledger, "USD") is market.in_currency("USD")
    assert measured(market, ledger).portfolio.twr == pytest.approx(0, abs=1e-15)


def test_caution_names_held_assets_whose_actions_are_not_known() -> None:
    closes = np.full(30, 10.0)
    note = adjustment_note(history(closes, adjusted=True), ["A", "B"])
    assert note is not None
    assert note.startswith("Splits and dividends of A, B are known only as far as")
    known = history(closes, (action("dividend", 3, "0.1"),), adjusted=True)
    assert adjustment_note(known, ["A"]) is None
    assert adjustment_note(history(closes), ["A"]) is None
    found = measured(
        history(closes, adjusted=True),
        Ledger((entry("deposit", 100, day(0)), trade("buy", 1, "A", 10, day(0)))),
    )
    assert sum("are known only" in one for one in found.notes) == 1


def test_own_actions_are_per_unit_held_at_the_start_of_the_day() -> None:
    market = history(np.full(30, 10.0))
    bought: list[Entry] = [
        entry("deposit", 1000, day(0)),
        trade("buy", 10, "A", 10, day(0)),
        trade("buy", 30, "A", 10, day(3)),
        entry("dividend", 5, day(3), symbol="A"),
        entry("dividend", 5, day(3), symbol="A"),
        entry("dividend", 7, day(4), symbol="B"),
    ]
    found = own_actions(market, Ledger(tuple(bought)), "USD")
    paid = CorporateAction("A", day(3), ActionKind.DIVIDEND, Decimal(1), currency="USD")
    assert found == {"A": (paid,)}
    assert attrs.asdict(found["A"][0])["ex_day"] == date(2022, 1, 6)


def test_split_on_a_day_without_closes_counts_from_the_next_close() -> None:
    weekdays = DAYS[np.is_busday(DAYS)]
    monday = int(np.searchsorted(weekdays, np.datetime64("2022-01-10")))
    closes = np.where(np.arange(len(weekdays)) < monday, 40.0, 10.0)
    bars = Bars("A", weekdays, closes, adjusted=False)
    saturday = date(2022, 1, 8)
    split = CorporateAction("A", saturday, ActionKind.SPLIT, Decimal(4))
    market = MarketSnapshot.of([bars], Actions((split,))).history()
    assert market is not None
    ledger = Ledger(
        (
            entry("deposit", 400, day(0)),
            trade("buy", 10, "A", 40, day(0)),
            entry("split", 0, saturday, symbol="A", ratio=Decimal(4)),
            trade("sell", 40, "A", 10, date(2022, 1, 10)),
        )
    )
    found = measure_track_record(ledger, {"A": 1.0}, market, costs=FREE)
    for line in lines(found):
        assert line.values == pytest.approx(np.full(len(weekdays), 400.0))


def test_split_of_the_ledger_explains_a_jump_of_closes_as_traded() -> None:
    closes = np.array([40.0, 40.4] * 5 + [10.0, 10.1] * 10)
    market = history(closes)
    assert len(market.findings) == 1
    booked_split = entry("split", 0, day(10), symbol="A", ratio=Decimal(4))
    ledger = Ledger(
        (entry("deposit", 400, day(0)), trade("buy", 10, "A", 40, day(0)), booked_split)
    )
    seen = own_prices(market, ledger, "USD")
    assert seen.findings == ()
    column = seen.column("A")
    assert np.abs(np.diff(np.log(seen.closes[:, column]))).max() < 0.02
    assert seen.traded[:, column] == pytest.approx(closes)
    assert len(market.findings) == 1
