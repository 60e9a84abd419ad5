"""Contributions of holdings to the return: by hand, and that they always add up."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.backtest.accounts import measure_account, measure_history
from rebalancer.domain.backtest.contributions import (
    Contribution,
    DailyContributions,
    Item,
    ItemKind,
    add_contributions,
)
from rebalancer.domain.backtest.lines import Span
from rebalancer.domain.backtest.periods import add_histories
from rebalancer.domain.backtest.track_record import TrackRecord, measure_track_record
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger
from tests.domain import test_track_record as records
from tests.domain import test_track_record_currencies as currencies
from tests.domain.test_adjustment import DAYS, day
from tests.domain.test_track_record import ENTRIES, EXAMPLE, MARKET, TARGETS, entry, trade

laws = settings(deadline=None, max_examples=40)
WHOLE = Span(None, len(DAYS) - 1)


def by_name(found: TrackRecord, span: Span | None = None) -> dict[str, Contribution[Item]]:
    """Return contributions by symbol, by currency of cash, or "fees"."""
    return {
        one.label.symbol or ("fees" if one.label.kind is ItemKind.FEES else one.label.currency): one
        for one in found.daily.over(span or found.span)
    }


def test_contributions_by_hand() -> None:
    found = records.record(EXAMPLE, {"A": 0.6}, *ENTRIES)
    # 50 A and 495; then 60 A and 569 less 109; at last a dividend of 20 and a fee of 10.
    second = 1.045  # the index: 1045 of 1000
    third = second * 1095 / 1045 * 1289 / 1295
    fourth = third * 1109 / 1289
    of_a = [
        -5 / 1000,  # the cost of the first purchase
        50 / 995 * 0.995,
        (50 / 1045 + 1095 / 1045 * (120 - 126) / 1295) * second,  # bought above the close, for 1
        -180 / 1289 * third,
        (60 + 20) / 1000 * fourth,
    ]
    got = by_name(found)
    assert set(got) == {"A", "USD", "fees"}
    assert got["A"].contribution == pytest.approx(sum(of_a), abs=1e-14)
    assert got["fees"].contribution == pytest.approx(1080 / 1000 * -10 / 1080 * fourth, abs=1e-14)
    assert got["USD"].contribution == 0.0
    assert sum(one.contribution for one in got.values()) == pytest.approx(
        found.portfolio.twr, abs=1e-12
    )
    assert got["A"].gain == pytest.approx(-5 + 50 + 50 - 6 - 180 + 80)
    assert sum(one.gain for one in got.values()) == pytest.approx(found.gain)
    weights = [500 / 995, 550 / 1045, 720 / 1289, 540 / 1000]
    assert got["A"].weight == pytest.approx(sum(weights) / 5)  # none at the start of the first day
    assert got["A"].own_return == pytest.approx(1.1 * 12 / 11 * 9 / 12 * 620 / 540 - 1)


def test_contribution_splits_into_local_part_and_currency_effect() -> None:
    # The share rises by 10%; a dollar rises from 0.80 to 1 euro.
    market = currencies.market_of(
        {"A": currencies.rise(10, 11), "EURUSD": currencies.rise(1.25, 1)}, {"A": "USD"}
    )
    found = currencies.record(
        market,
        entry("deposit", 160, day(0)),
        entry("exchange", 160, day(0), counter_amount=Decimal(200), counter_currency="USD"),
        trade("buy", 10, "A", 10, day(0), currency="USD"),
    )
    got = by_name(found)
    # 80 euros in shares become 88 at the old rate, and 110; 80 in dollars become 100.
    assert got["A"].local == pytest.approx(8 / 160)
    assert got["A"].currency_effect == pytest.approx(22 / 160)
    assert (got["USD"].local, got["USD"].currency_effect) == pytest.approx((0, 20 / 160), abs=1e-15)
    assert got["A"].label == Item(ItemKind.ASSET, "A", "USD")
    grouped = found.daily.grouped(lambda item: item.currency).over(found.span)
    dollars = next(one for one in grouped if one.label == "USD")
    assert dollars.contribution == pytest.approx(50 / 160)
    assert dollars.weight == pytest.approx(29 / 30)
    assert dollars.own_return == pytest.approx(50 / 160)


def test_exchange_below_the_rate_of_the_day_costs_the_currency_that_is_bought() -> None:
    market = currencies.market_of(
        {"A": currencies.rise(10, 10), "EURUSD": currencies.rise(1.25, 1.25)}, {}
    )
    found = currencies.record(
        market,
        entry("deposit", 100, day(0)),
        entry("exchange", 50, day(3), counter_amount=Decimal(60), counter_currency="USD"),
    )
    assert by_name(found)["USD"].contribution == pytest.approx(-2 / 100)


def test_new_symbol_continues_and_spin_off_is_a_gain_of_its_parent() -> None:
    closes = {
        "A": np.array([10.0] * 10 + [8.0] * 20),
        "B": np.array([4.0] * 10 + [4.0] * 5 + [6.0] * 15),
        "C": np.array([8.0] * 20 + [16.0] * 10),
    }
    market = currencies.market_of(closes, {})
    found = currencies.record(
        market,
        entry("deposit", 100, day(0)),
        trade("buy", 10, "A", 10, day(0)),
        entry("spin_off", 0, day(10), symbol="A", other="B", ratio=Decimal("0.5")),
        entry("rename", 0, day(20), symbol="A", other="C"),
    )
    got = by_name(found)
    # On the tenth day A loses 20 and its holder gets 5 B of 4; later B rises to 6, and C doubles.
    assert got["A"].gain == pytest.approx(0)
    assert got["A"].own_return == pytest.approx(0)
    assert got["B"].gain == pytest.approx(10)
    assert got["B"].own_return == pytest.approx(0.5)
    assert got["C"].gain == pytest.approx(80)
    assert got["C"].own_return == pytest.approx(1.0)
    assert found.portfolio.twr == pytest.approx(0.9)


def test_merger_continues_the_asset_that_it_ends() -> None:
    closes = {"A": np.full(30, 10.0), "B": np.array([5.0] * 10 + [6.0] * 20)}
    market = currencies.market_of(closes, {})
    merger = {"symbol": "A", "other": "B", "ratio": Decimal("1.5")}
    found = currencies.record(
        market,
        entry("deposit", 100, day(0)),
        trade("buy", 10, "A", 10, day(0)),
        entry("merger", 20, day(10), **merger),
    )
    got = by_name(found)
    # 10 A of 10 become 15 B of 6 and 20 in money.
    assert got["A"].gain == pytest.approx(0)
    assert got["B"].gain == pytest.approx(90 + 20 - 100)
    assert got["B"].contribution == pytest.approx(0.1)
    assert got["B"].own_return == pytest.approx(0.1)


def test_period_is_measured_from_the_close_before() -> None:
    found = records.record(
        EXAMPLE, {"A": 0.6}, *ENTRIES, since=records.WEDNESDAY, until=records.THURSDAY
    )
    assert found.dates.tolist() == [records.TUESDAY, records.WEDNESDAY, records.THURSDAY]
    growth = 1095 / 1045 * 1289 / 1295 * 1109 / 1289
    assert found.portfolio.twr == pytest.approx(growth - 1)
    assert found.portfolio.index[0] == 1.0
    assert found.contributions == pytest.approx([0, 200, 91])
    assert found.gain == pytest.approx(1000 - 1045 - 91)
    assert found.costs == 1
    got = by_name(found)
    assert sum(one.contribution for one in got.values()) == pytest.approx(growth - 1, abs=1e-14)
    assert got["A"].contribution == pytest.approx(
        50 / 1045 + 1095 / 1045 * -6 / 1295 - 180 / 1289 * 1095 / 1045 * 1289 / 1295
    )


def test_loss_of_everything_is_explained() -> None:
    market = records.daily({"A": [10.0, 10.0, 0.001], "B": [1.0, 1.0, 1.0]})
    found = records.record(
        market,
        {"A": 1.0},
        entry("deposit", 100, records.MONDAY),
        trade("buy", 10, "A", 10, records.MONDAY),
        entry("withdrawal", "0.01", records.WEDNESDAY, symbol="A", quantity=10, price="0.001"),
    )
    assert sum(one.contribution for one in by_name(found).values()) == pytest.approx(-0.9999)


spans = st.tuples(st.integers(-1, records.ROWS - 2), st.integers(1, records.ROWS))


def span_in(rows: int, drawn: tuple[int, int]) -> Span:
    first = min(drawn[0], rows - 2)
    last = min(max(first, 0) + drawn[1], rows - 1)
    return Span(first if first >= 0 else None, last)


def assert_adds_up(daily: DailyContributions[Item], span: Span) -> None:
    """The parts add up to the return, and the money to the gain, in each grouping."""
    ratio = daily.ratio[span.counted]
    whole = float(np.prod(ratio)) - 1.0
    size = max(1.0, float(np.cumprod(ratio).max()))
    for grouped in (
        daily,
        daily.grouped(lambda item: item.currency),
        daily.grouped(lambda item: item.kind),
    ):
        parts = grouped.over(span)
        assert sum(one.contribution for one in parts) == pytest.approx(whole, abs=1e-12 * size)
        for one in parts:
            assert one.local + one.currency_effect == pytest.approx(one.contribution, abs=1e-12)


@laws
@given(records.plans, spans)
def test_contributions_add_up_to_the_return(
    plan: list[records.Step], drawn: tuple[int, int]
) -> None:
    booked = records.kept_in(MARKET, plan)
    found = measure_track_record(booked, TARGETS, MARKET)
    span = span_in(len(found.daily.dates), drawn)
    assert_adds_up(found.daily, span)
    since = found.daily.dates[span.first + 1].item() if span.first is not None else None
    part = measure_track_record(
        booked, TARGETS, MARKET, since=since, until=found.daily.dates[span.last].item()
    )
    assert part.span == span
    size = max(1.0, float(np.abs(part.portfolio.values).max()))
    parts = part.daily.over(span)
    assert sum(one.contribution for one in parts) == pytest.approx(
        part.portfolio.index[-1] - 1.0, abs=1e-12 * max(1.0, float(part.portfolio.index.max()))
    )
    if (part.daily.start[span.counted] > 0).all():
        gains = sum(one.gain for one in parts)
        assert gains == pytest.approx(part.gain, abs=1e-9 * size)


@laws
@given(records.plans, st.integers(1, records.ROWS - 2))
def test_contributions_of_two_periods_link(plan: list[records.Step], row: int) -> None:
    daily = measure_account(records.kept_in(MARKET, plan), MARKET).daily
    last = len(daily.dates) - 1
    row = min(row, last - 1)
    before = {one.label: one.contribution for one in daily.over(Span(None, row))}
    after = {one.label: one.contribution for one in daily.over(Span(row, last))}
    index = float(np.prod(daily.ratio[: row + 1]))
    for one in daily.over(Span(None, last)):
        linked = before.get(one.label, 0.0) + index * after.get(one.label, 0.0)
        assert one.contribution == pytest.approx(linked, abs=1e-10)


@laws
@given(
    currencies.moves,
    currencies.moves,
    st.lists(
        st.tuples(
            st.integers(1, 29),
            st.sampled_from(["deposit", "fee", "tax", "interest", "dividend", "sell", "exchange"]),
            st.integers(1, 20),
        ),
        max_size=8,
    ),
    st.sampled_from([None, 4, 17]),
    st.sampled_from([None, ("rename", 12), ("rename", 25), ("merger", 29), ("split", 7)]),
)
def test_contributions_in_several_currencies_add_up(
    moved: list[float],
    rated: list[float],
    steps: list[tuple[int, str, int]],
    first: int | None,
    reorganised: tuple[str, int] | None,
) -> None:
    closes, rates = 10 * np.cumprod(moved), 1.1 * np.cumprod(rated)
    market = currencies.market_of({"A": closes, "B": closes[::-1], "EURUSD": rates}, {"A": "USD"})
    price = Decimal(repr(float(closes[0])))
    entries: list[Entry] = [
        entry("deposit", 1000, day(0), currency="USD"),
        entry("deposit", 1000, day(0)),
        trade("buy", 40, "A", price, day(0), currency="USD", cost=1),
        entry("spin_off", 0, day(9), symbol="A", other="B", ratio=Decimal("0.25")),
    ]
    for row, kind, much in steps:
        match kind:
            case "sell":
                entries.append(trade("sell", 1, "A", 9, day(row), currency="USD", cost=1))
            case "exchange":
                more = {"counter_amount": Decimal(much), "counter_currency": "USD"}
                entries.append(entry("exchange", much, day(row), **more))
            case "dividend":
                of_a = {"symbol": "A", "currency": "USD", "withheld": Decimal("0.5")}
                entries.append(entry("dividend", much, day(row), **of_a))
            case _:
                entries.append(entry(kind, much, day(row), currency="USD"))
    if reorganised is not None:
        kind, row = reorganised
        about = {"other": "B"} if kind != "split" else {}
        ratio = {"ratio": Decimal("1.5")} if kind != "rename" else {}
        money = 7 if kind == "merger" else 0
        entries.append(entry(kind, money, day(row), symbol="A", **about, **ratio))
    found = currencies.record(market, *entries)
    span = Span(first, len(DAYS) - 1)
    assert_adds_up(found.daily, span)
    still = measure_history(Ledger(tuple(entries)), market, currency="EUR")
    assert np.cumprod(found.daily.ratio) == pytest.approx(still.index)
    gains = sum(one.gain for one in found.daily.over(WHOLE))
    assert gains == pytest.approx(found.gain, abs=1e-8)


@laws
@given(st.lists(records.plans, min_size=1, max_size=4))
def test_accounts_together_have_the_return_of_their_histories(
    plans: Sequence[list[records.Step]],
) -> None:
    booked = [records.kept_in(MARKET, plan) for plan in plans]
    histories = [measure_history(one, MARKET) for one in booked]
    together = add_histories(histories)
    daily = add_contributions([measure_account(one, MARKET).daily for one in booked])
    assert together is not None
    assert daily is not None
    if all(one.index.all() for one in histories):  # no account lost everything
        assert np.cumprod(daily.ratio) == pytest.approx(together.index, rel=1e-9)
    assert np.isfinite(together.index).all()
    assert_adds_up(daily, Span(None, len(daily.dates) - 1))


def test_two_accounts_together_by_hand() -> None:
    market = records.daily({"A": [10.0, 11.0], "B": [10.0, 8.0]})
    parts = [
        measure_account(
            Ledger(
                (
                    entry("deposit", paid, records.MONDAY),
                    trade("buy", paid // 10, symbol, 10, records.MONDAY),
                )
            ),
            market,
        ).daily
        for paid, symbol in ((300, "A"), (100, "B"))
    ]
    daily = add_contributions(parts)
    assert daily is not None
    got = {one.label.symbol: one.contribution for one in daily.over(Span(None, 1))}
    assert got["A"] == pytest.approx(30 / 400)
    assert got["B"] == pytest.approx(-20 / 400)
    assert add_contributions([]) is None
