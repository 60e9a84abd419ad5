"""Alerts by hand and by law: hysteresis, pauses, order and independence."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID, uuid5

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.alerts.evaluation import (
    AlertState,
    Evaluated,
    Observation,
    evaluate_alerts,
)
from rebalancer.domain.alerts.measures import Measures, Peak, WatchedBook, measure
from rebalancer.domain.alerts.settings import AlertKind, AlertSettings
from rebalancer.domain.backtest.periods import ValueHistory
from rebalancer.domain.errors import InvalidRequest

START = datetime(2026, 1, 5, 22, tzinfo=UTC)
ID = UUID(int=7)
DRIFT = AlertSettings(drift=0.10, margin=0.2, pause=0)


def figures(drift: list[float]) -> Measures:
    """Return measures with this drift and nothing else."""
    count = len(drift)
    unknown = np.full(count, np.nan)
    return Measures(
        np.zeros((count, 8)), np.zeros((count, 8)), np.array(drift), unknown, unknown, unknown
    )


def observe(
    wanted: AlertSettings = DRIFT,
    state: AlertState | None = None,
    *,
    id: UUID = ID,
    **given: Any,
) -> Observation:
    base = Observation(id, wanted, state or AlertState(), band=0.05, symbols=())
    return attrs.evolve(base, **given)


def walk(drifts: list[float], wanted: AlertSettings = DRIFT, hours: float = 1) -> list[Evaluated]:
    """Evaluate one portfolio at each of some drifts, one after the other."""
    state, found = AlertState(), []
    for number, drift in enumerate(drifts):
        now = START + timedelta(hours=hours * number)
        (one,) = evaluate_alerts([observe(wanted, state)], figures([drift]), now)
        state = one.state
        found.append(one)
    return found


def numbers(found: list[Evaluated]) -> list[int]:
    """Return the number of the episode that begins at each look; 0 for none."""
    return [one.began[0].number if one.began else 0 for one in found]


def test_alert_fires_once_and_again_after_value_was_inside_by_the_margin() -> None:
    # Limit 10 %, margin a fifth: armed again at 8 % or less.
    found = walk([0.05, 0.11, 0.12, 0.09, 0.11, 0.08, 0.10, 0.101])

    assert numbers(found) == [0, 1, 0, 0, 0, 0, 0, 2]
    assert [one.ended for one in found if one.ended] == [((AlertKind.DRIFT, "", 1),)]
    first = found[1].began[0]
    assert (first.value, first.limit, first.began) == (0.11, 0.10, START + timedelta(hours=1))
    assert first.key == f"alert:{ID}:drift::1"


def test_further_alert_waits_for_the_pause() -> None:
    wanted = attrs.evolve(DRIFT, pause=24)

    found = walk([0.2, 0.0, 0.2, 0.2, 0.2], wanted, hours=8)  # at 0, 8, 16, 24 and 32 hours

    assert numbers(found) == [1, 0, 0, 2, 0]


def test_unknown_value_changes_nothing() -> None:
    assert numbers(walk([0.2, np.nan, 0.2, 0.0, np.nan, 0.2])) == [1, 0, 0, 0, 0, 2]


def test_repeated_or_late_look_has_no_effect() -> None:
    (first,) = evaluate_alerts([observe()], figures([0.2]), START)

    for now in (START, START - timedelta(days=1)):
        (again,) = evaluate_alerts([observe(state=first.state)], figures([0.0]), now)
        assert again == Evaluated(first.state)


def test_measures_of_two_positions_and_cash_by_hand() -> None:
    book = WatchedBook(
        columns=np.array([[0, 1, 0, 0, 0, 0, 0, 0]]),
        present=np.array([[True, True] + [False] * 6]),
        units=np.array([[10.0, 5.0] + [0.0] * 6]),
        targets=np.array([[0.5, 0.4] + [0.0] * 6]),
        cash=np.array([100.0]),
        tables=np.array([0]),
        own_prices=np.full((1, 8), np.nan),
        levels=np.array([1.2]),
        peaks=np.array([1.5]),
        values=np.array([900.0]),
    )

    found = measure(book, np.array([[70.0, 40.0]]))  # 700 and 200 of 1,000

    assert found.values[0] == 1000.0
    assert found.departures[0, :2] == pytest.approx([0.2, 0.2])
    assert np.isnan(found.departures[0, 2:]).all()
    assert found.drift[0] == pytest.approx(0.2)  # 20 points to sell; the other side and cash agree
    assert found.cash[0] == pytest.approx(0.1)
    assert found.drawdown[0] == pytest.approx(1 - 1.2 * (1000 / 900) / 1.5)


def test_unpriced_asset_leaves_all_figures_unknown() -> None:
    book = WatchedBook(
        columns=np.zeros((1, 8), np.intp),
        present=np.array([[True] + [False] * 7]),
        units=np.array([[1.0] + [0.0] * 7]),
        targets=np.array([[1.0] + [0.0] * 7]),
        cash=np.array([10.0]),
        tables=np.array([0]),
        own_prices=np.full((1, 8), np.nan),
        levels=np.array([1.0]),
        peaks=np.array([1.0]),
        values=np.array([10.0]),
    )

    found = measure(book, np.array([[np.nan]]))

    assert np.isnan([found.drift[0], found.drawdown[0], found.cash[0]]).all()
    assert measure(attrs.evolve(book, own_prices=np.full((1, 8), 90.0)), np.array([[np.nan]])).cash[
        0
    ] == pytest.approx(0.1)


def test_position_leaves_its_band_by_subject() -> None:
    wanted = AlertSettings(band=True)
    departures = np.full((1, 8), np.nan)
    departures[0, :2] = [0.051, 0.049]
    nothing = figures([np.nan])

    (found,) = evaluate_alerts(
        [observe(wanted, symbols=("BND", "SPY"))],
        attrs.evolve(nothing, departures=departures),
        START,
    )

    assert [(one.kind, one.subject, one.limit) for one in found.began] == [
        (AlertKind.BAND, "BND", 0.05)
    ]


def test_sold_position_ends_its_episode() -> None:
    wanted = AlertSettings(band=True, pause=0)
    departures = np.full((1, 8), 0.2)
    measures = attrs.evolve(figures([np.nan]), departures=departures)
    (first,) = evaluate_alerts([observe(wanted, symbols=("BND",))], measures, START)

    later = START + timedelta(hours=1)
    (gone,) = evaluate_alerts([observe(wanted, first.state)], measures, later)
    (back,) = evaluate_alerts(
        [observe(wanted, gone.state, symbols=("BND",))], measures, later + timedelta(hours=1)
    )

    assert gone.ended == ((AlertKind.BAND, "BND", 1),)
    assert [one.number for one in back.began] == [2]


def test_deposit_is_as_old_as_it_is_known() -> None:
    wanted = AlertSettings(deposit_uninvested=3)
    state = AlertState().note_deposit(True, START)

    def look(days: float) -> Evaluated:
        now = START + timedelta(days=days)
        noted = state.note_deposit(True, now)
        return evaluate_alerts([observe(wanted, noted)], figures([np.nan]), now)[0]

    assert not look(3.0).began
    assert [one.kind for one in look(3.01).began] == [AlertKind.DEPOSIT_UNINVESTED]
    assert state.note_deposit(False, START).deposit_seen is None


def test_proposal_waits_and_expires_once_and_is_forgotten_when_decided() -> None:
    wanted = AlertSettings(proposal_waits=6, proposal_expires=4, pause=0)
    proposal = UUID(int=9)
    open_proposals = {proposal: (START, START + timedelta(hours=24))}

    state, seen = AlertState(), []
    for hours in (1, 7, 8, 21, 22):
        now = START + timedelta(hours=hours)
        one = observe(wanted, state, proposals=open_proposals)
        (found,) = evaluate_alerts([one], figures([np.nan]), now)
        state = found.state
        seen.append([episode.kind.value for episode in found.began])
    (decided,) = evaluate_alerts(
        [observe(wanted, state)], figures([np.nan]), START + timedelta(hours=23)
    )

    assert seen == [[], ["proposal_waits"], [], ["proposal_expires"], []]
    assert decided.state.watches == ()


def test_stale_prices_count_sessions_of_each_asset() -> None:
    wanted = AlertSettings(prices_stale=2)
    missed = {"BND": 2, "SPY": 3, "BTC-USD": None}

    one = observe(wanted, symbols=("BND", "SPY", "BTC-USD"), missed_sessions=missed)
    (found,) = evaluate_alerts([one], figures([np.nan]), START)

    assert [episode.subject for episode in found.began] == ["SPY"]


def history(begins: str, index: list[float]) -> ValueHistory:
    days = np.arange(np.datetime64(begins), np.datetime64(begins) + len(index))
    values = np.array(index)
    return ValueHistory(days, values, np.zeros(len(index)), values)


def test_peak_continues_from_close_to_close() -> None:
    peak = Peak.begin(history("2026-01-05", [1.0, 1.5, 1.2]))
    assert peak == Peak(date(2026, 1, 7), 1.2, 1.5)

    later = peak.advance(history("2026-01-05", [1.0, 1.5, 1.2, 1.8, 0.9]))
    assert later.level == pytest.approx(0.9)
    assert later.peak == pytest.approx(1.8)
    assert later.advance(history("2026-01-05", [1.0, 1.5, 1.2, 1.8, 0.9])) == later


def test_entry_for_an_earlier_day_moves_no_peak() -> None:
    peak = Peak.begin(history("2026-01-05", [1.0, 1.5, 1.2]))

    # A trade of January 6 is recorded later: the index was twice as high, and lost more.
    later = peak.advance(history("2026-01-05", [1.0, 3.0, 1.2, 1.2]))

    assert (later.level, later.peak) == pytest.approx((1.2, 1.5))


@pytest.mark.parametrize(
    ("given_limits", "field"),
    [
        ({"drift": 0.0}, "drift"),
        ({"cash_above": 1.0}, "cash_above"),
        ({"deposit_uninvested": 0}, "deposit_uninvested"),
        ({"pause": 99_999}, "pause"),
        ({"margin": 1.0}, "margin"),
        ({"drawdown": float("nan")}, "drawdown"),
        ({"cash_below": 0.2, "cash_above": 0.1}, "cash_below"),
    ],
)
def test_limit_out_of_range_names_its_field(given_limits: dict[str, float], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        AlertSettings(**given_limits)  # type: ignore[arg-type]  # by name
    assert caught.value.field == field


DRIFTS = st.lists(st.sampled_from([0.0, 0.079, 0.09, 0.1, 0.11, np.nan]), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(DRIFTS)
def test_law_between_two_alerts_a_value_was_inside_by_the_margin(drifts: list[float]) -> None:
    alerts = [at for at, number in enumerate(numbers(walk(drifts))) if number]

    for before, after in pairwise(alerts):
        assert any(one <= 0.08 for one in drifts[before + 1 : after])
    assert all(drifts[at] > 0.10 for at in alerts)


@settings(max_examples=25, deadline=None)
@given(st.lists(DRIFTS, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_law_batches_and_their_order_do_not_matter(
    paths: list[list[float]], random: Random
) -> None:
    alone = [walk(path) for path in paths]

    states = [AlertState()] * len(paths)
    together: list[list[Evaluated]] = [[] for _ in paths]
    for number in range(max(map(len, paths))):
        now = START + timedelta(hours=number)
        rows = [row for row, path in enumerate(paths) if number < len(path)]
        random.shuffle(rows)
        found = evaluate_alerts(
            [observe(state=states[row]) for row in rows],
            figures([paths[row][number] for row in rows]),
            now,
        )
        for row, one in zip(rows, found, strict=True):
            states[row] = one.state
            together[row].append(one)

    assert together == alone


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 9))
def test_law_measures_do_not_depend_on_neighbours(seed: int, row: int) -> None:
    draw = np.random.default_rng(seed)
    count, slots = 10, 16
    present = draw.random((count, slots)) < 0.6
    targets = np.where(present, draw.random((count, slots)) / slots, 0.0)
    book = WatchedBook(
        columns=draw.integers(0, 30, (count, slots)),
        present=present,
        units=np.where(present, draw.random((count, slots)) * 100, 0.0),
        targets=targets,
        cash=draw.random(count) * 1000,
        tables=draw.integers(0, 2, count),
        own_prices=np.full((count, slots), np.nan),
        levels=draw.random(count) + 0.5,
        peaks=draw.random(count) + 1.5,
        values=draw.random(count) * 1000 + 1,
    )
    prices = draw.random((2, 30)) * 100

    whole = measure(book, prices)
    alone = measure(
        WatchedBook(*(getattr(book, field.name)[[row]] for field in attrs.fields(WatchedBook))),
        prices,
    )

    for field in attrs.fields(Measures):
        np.testing.assert_array_equal(
            getattr(whole, field.name)[row], getattr(alone, field.name)[0]
        )


def test_keys_of_two_portfolios_differ() -> None:
    ids = [uuid5(ID, str(number)) for number in range(2)]

    found = evaluate_alerts([observe(id=id) for id in ids], figures([0.2, 0.3]), START)

    assert len({episode.key for one in found for episode in one.began}) == 2
