from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book, Limits
from rebalancer.domain.portfolio.costs import CostModel, CostSchedule, Rates
from rebalancer.domain.rebalancing.solver import Trades, solve_trades
from tests.builders import a_book

FREE = CostModel.flat(0)
ONE_PERCENT = CostModel.flat(100)
COSTS = (
    FREE,
    CostModel.flat(10),
    ONE_PERCENT,
    CostModel.flat(3000),
    CostModel("fixed", Rates(fixed=0.002)),
    CostModel("minimum", Rates(commission_bps=20, minimum=0.001)),
    CostModel("slippage", Rates(commission_bps=1, slippage_bps=50)),
)


def charges(model: CostModel = FREE) -> CostSchedule:
    return model.of(["A"], Instruments())


def holding(
    values: list[float] | Floats,
    targets: list[float] | Floats,
    *,
    cash: float | list[float] | Floats = 0.0,
    flow: float | list[float] | Floats = 0.0,
    **limits: Any,
) -> Book:
    """Portfolios with this money per asset: one, or a row each; limits by name."""
    return a_book(targets, values, cash=cash, flow=flow, limits=limits or None)


def to_target(book: Book, *, due: bool = True) -> Decision:
    return Decision(book.targets, np.full(len(book), due))


def in_band(
    book: Book, width: float = 0.02, *, landing: float = 0.0, relative: bool = False
) -> Decision:
    band = width * book.targets if relative else np.full(book.values.shape, width)
    cash = np.full(len(book), 0.02 if relative else width)
    return Decision(book.targets, np.ones(len(book), dtype=bool), band, cash, landing)


def moved(done: Trades) -> list[float]:
    """What a book of one trades, to the cent."""
    found: list[float] = (np.round(done.values[0], 2) + 0.0).tolist()
    return found


def cash_after(book: Book, done: Trades) -> Floats:
    left: Floats = book.cash + book.flow - (done.values + done.costs).sum(axis=1)
    return left


# By hand.


def test_all_goes_to_target_and_pays_for_itself() -> None:
    # 1,000 of cash at 1%: x + 0.01 x = 1000, half of x each.
    book = holding([0, 0], [0.5, 0.5], cash=1000.0)
    done = solve_trades(book, to_target(book), charges(ONE_PERCENT))
    assert done.values[0] == pytest.approx([500 / 1.01] * 2)
    assert cash_after(book, done) == pytest.approx([0], abs=1e-9)
    assert done.turnover[0] == pytest.approx(1 / 1.01)


def test_costs_come_out_of_cash_where_targets_leave_enough() -> None:
    book = holding([0, 0], [0.5, 0.3], cash=1000.0)
    done = solve_trades(book, to_target(book), charges(ONE_PERCENT))
    assert done.values[0] == pytest.approx([500, 300])
    assert cash_after(book, done) == pytest.approx([192])


def test_reserve_and_costs_scale_all_targets_by_one_factor() -> None:
    # (1000 - 100) / 1.01 is invested, in the proportions of the targets.
    book = holding([0, 0], [0.6, 0.4], cash=1000.0, reserve=100.0)
    done = solve_trades(book, to_target(book), charges(ONE_PERCENT))
    assert done.values[0] == pytest.approx([0.6 * 900 / 1.01, 0.4 * 900 / 1.01])
    assert cash_after(book, done) == pytest.approx([100])
    assert done.short_of_reserve[0] == 0


def test_a_locked_overweight_keeps_its_room_and_the_others_shrink_pro_rata() -> None:
    book = holding([600, 100, 300], [0.4, 0.4, 0.2], no_sell=[[True, False, False]])
    done = solve_trades(book, to_target(book), charges())
    # 400 is left for targets of 400 and 200: two thirds of each.
    assert done.aims[0] == pytest.approx([600, 400 * 2 / 3, 200 * 2 / 3])
    assert moved(done) == [0, 166.67, -166.67]


def test_shrinking_can_lock_another() -> None:
    # A leaves 400 for 300, 300 and 100; B is held above its share 171 and locked, so C and D share.
    book = holding([600, 250, 100, 50], [0.3, 0.3, 0.3, 0.1], no_sell=[[True, True, False, False]])
    done = solve_trades(book, to_target(book), charges())
    assert done.aims[0] == pytest.approx([600, 250, 112.5, 37.5])


def test_a_deposit_goes_to_the_largest_shortfalls_first_also_when_the_policy_waits() -> None:
    # V is 1,000: 200 of A, 50 of B are missing, C has 100 too much.
    book = holding([300, 250, 300], [0.5, 0.3, 0.2], flow=150.0)
    assert moved(solve_trades(book, to_target(book, due=False), charges())) == [150, 0, 0]
    book = holding([300, 250, 230], [0.5, 0.3, 0.2], flow=220.0)
    assert moved(solve_trades(book, to_target(book, due=False), charges())) == [200, 20, 0]


def test_a_deposit_leaves_in_cash_what_targets_leave_there() -> None:
    # V is 1,000, of which 400 in cash: 100 of the deposit are left of it.
    book = holding([300, 200], [0.4, 0.2], flow=500.0)
    done = solve_trades(book, to_target(book, due=False), charges())
    assert moved(done) == [100, 0]
    assert cash_after(book, done) == pytest.approx([400])


def test_a_withdrawal_comes_from_the_largest_excesses_first_also_when_the_policy_waits() -> None:
    # V is 1,000: A has 150 too much, B 50, C none.
    book = holding([650, 350, 200], [0.5, 0.3, 0.2], flow=-200.0)
    assert moved(solve_trades(book, to_target(book, due=False), charges())) == [-150, -50, 0]
    book = holding([650, 350, 100], [0.5, 0.3, 0.2], flow=-100.0)
    assert moved(solve_trades(book, to_target(book, due=False), charges())) == [-100, 0, 0]


def test_cash_pays_a_withdrawal_before_sales_do() -> None:
    # Afterwards cash may stand at its target, 10% of 1,000, so only 50 are sold.
    book = holding([600, 350], [0.55, 0.35], cash=150.0, flow=-100.0)
    done = solve_trades(book, to_target(book, due=False), charges())
    assert moved(done) == [-50, 0]


def test_equal_shortfalls_share_equally_in_any_order() -> None:
    book = holding([250, 250, 300], [0.4, 0.4, 0.2], flow=200.0)
    assert moved(solve_trades(book, to_target(book, due=False), charges())) == [100, 100, 0]


def test_orders_are_the_net_of_cash_flow_and_policy() -> None:
    book = holding([300, 250, 300], [0.5, 0.3, 0.2], flow=150.0)
    done = solve_trades(book, to_target(book), charges())
    assert moved(done) == [200, 50, -100]
    assert np.round(done.flow[0], 2).tolist() == [150, 0, 0]


def test_the_turnover_cap_scales_what_the_policy_wants() -> None:
    book = holding([700, 200, 100], [0.5, 0.3, 0.2], max_turnover=0.1)
    done = solve_trades(book, to_target(book), charges())
    assert moved(done) == [-100, 50, 50]
    assert done.allowed[0] == pytest.approx(0.5)


def test_sales_for_a_withdrawal_do_not_count_against_the_cap() -> None:
    book = holding([700, 200, 100], [0.5, 0.3, 0.2], flow=-300.0, max_turnover=0.05)
    done = solve_trades(book, to_target(book), charges())
    # V is 700: 300 for the withdrawal, and 35 of the policy's own.
    assert moved(done) == [-335, 7, 28]


def test_restoring_the_reserve_goes_beyond_the_cap() -> None:
    book = holding([600, 400], [0.5, 0.5], cash=0.0, reserve=200.0, max_turnover=0.05)
    done = solve_trades(book, to_target(book), charges())
    assert moved(done) == [-200, 0]
    assert cash_after(book, done) == pytest.approx([200])


def test_until_the_reserve_is_restored_nothing_is_bought() -> None:
    locked = [[False, True]]
    book = holding([100, 900], [0.5, 0.5], reserve=300.0, no_sell=locked)
    done = solve_trades(book, to_target(book), charges())
    assert moved(done) == [-100, 0]
    assert done.short_of_reserve[0] == pytest.approx(200)


def test_a_debit_is_restored_first() -> None:
    book = holding([700, 500], [0.5, 0.5], cash=-200.0)
    done = solve_trades(book, to_target(book, due=False), charges())
    assert moved(done) == [-200, 0]


def test_what_stands_above_its_maximum_is_trimmed_though_the_policy_waits() -> None:
    book = holding([700, 300], [0.7, 0.3], max_weight=0.4)
    done = solve_trades(book, to_target(book, due=False), charges())
    assert moved(done) == [-300, 0]


def test_the_cap_stands_above_the_maximum_weight() -> None:
    book = holding([700, 300], [0.7, 0.3], max_weight=0.4, max_turnover=0.1)
    assert moved(solve_trades(book, to_target(book), charges())) == [-100, 0]


# Bands.


def test_outside_goes_to_target_and_inside_only_funds() -> None:
    # A is 3 points over; B is 2.5 under, C 0.5. What A frees goes to B and then to C.
    book = holding([530, 275, 195], [0.5, 0.3, 0.2])
    assert moved(solve_trades(book, in_band(book), charges())) == [-30, 25, 5]
    # B inside: it takes what A frees as far as it is short.
    book = holding([530, 285, 185], [0.5, 0.3, 0.2])
    assert moved(solve_trades(book, in_band(book), charges())) == [-30, 15, 15]
    # C exceeds its target and keeps it, because no other asset needs funding.
    book = holding([530, 260, 210], [0.5, 0.3, 0.2])
    assert moved(solve_trades(book, in_band(book), charges())) == [-30, 40, -10]


def test_inside_rests() -> None:
    book = holding([519, 285, 196], [0.5, 0.3, 0.2])
    done = solve_trades(book, in_band(book), charges(ONE_PERCENT))
    assert moved(done) == [0, 0, 0]
    assert not done.acts[0]
    assert not done.outside.any()


def test_on_the_edge_is_inside() -> None:
    book = holding([520, 280, 200], [0.5, 0.3, 0.2])
    assert moved(solve_trades(book, in_band(book), charges())) == [0, 0, 0]


def test_edge_and_half_land_as_specified() -> None:
    book = holding([530, 290, 180], [0.5, 0.3, 0.2])
    # To 52%; the money goes to the largest shortfall.
    assert moved(solve_trades(book, in_band(book, landing=1.0), charges())) == [-10, 0, 10]
    # To 51%.
    assert moved(solve_trades(book, in_band(book, landing=0.5), charges())) == [-20, 0, 20]


def test_a_relative_band_is_a_share_of_the_target() -> None:
    # 20% of the targets: 10 points of A, 2 of B.
    book = holding([580, 75, 345], [0.5, 0.1, 0.4])
    # B is 2.5 under and goes to target, for the money of A, the largest excess.
    assert moved(solve_trades(book, in_band(book, 0.2, relative=True), charges())) == [-25, 25, 0]
    book = holding([580, 85, 335], [0.5, 0.1, 0.4])
    assert moved(solve_trades(book, in_band(book, 0.2, relative=True), charges())) == [0, 0, 0]


def test_cash_counts_as_an_asset() -> None:
    # Each is 1.5 under, cash 4.5 over: it goes to target, each taking what it lacks.
    book = holding([385, 285, 285], [0.4, 0.3, 0.3], cash=45.0)
    done = solve_trades(book, in_band(book), charges())
    assert done.acts[0]
    assert not done.outside.any()
    assert moved(done) == [15, 15, 15]


def test_the_policy_judges_the_drift_that_the_cash_flow_leaves() -> None:
    # The deposit brings A from 5 points under to inside its band: nothing more is done.
    book = holding([400, 285, 215], [0.5, 0.3, 0.2], flow=100.0)
    done = solve_trades(book, in_band(book), charges())
    assert moved(done) == [100, 0, 0]
    assert not done.acts[0]


# Laws.

weights = st.lists(st.integers(0, 20), min_size=2, max_size=6)


@st.composite
def books(draw: st.DrawFn, *, flows: bool = True, debits: bool = True) -> Book:
    """Unlimited portfolios worth about 1."""
    slots = draw(st.integers(1, 5))
    parts = st.lists(st.integers(0, 20), min_size=slots, max_size=slots)
    held, wanted = np.array(draw(parts), dtype=float), np.array(draw(parts), dtype=float)
    cash = draw(st.sampled_from([0.0, 0.02, 0.5, 1.0, -0.1] if debits else [0.0, 0.02, 0.5, 1.0]))
    invested = draw(st.sampled_from([1.0, 0.98, 0.6, 0.0]))
    held = held / max(held.sum(), 1) * (1 - cash)
    wanted = wanted / max(wanted.sum(), 1) * invested
    flow = draw(st.sampled_from([0.0, 0.05, -0.05, 0.7, -0.7])) if flows else 0.0
    if held.sum() + cash + flow <= 0.05:
        flow = 0.5
    return holding(held, wanted, cash=cash, flow=flow)


@st.composite
def decisions(draw: st.DrawFn, book: Book) -> Decision:
    if draw(st.booleans()):
        return to_target(book, due=draw(st.booleans()))
    return in_band(
        book,
        draw(st.sampled_from([0.0, 0.02, 0.2])),
        landing=draw(st.sampled_from([0.0, 0.5, 1.0])),
        relative=draw(st.booleans()),
    )


@given(data=st.data(), model=st.sampled_from(COSTS))
def test_limits_that_limit_nothing_change_nothing(data: st.DataObject, model: CostModel) -> None:
    book = data.draw(books(debits=False))
    decision = data.draw(decisions(book))
    free = solve_trades(book, decision, charges(model))
    unlimited = attrs.evolve(Limits.none(book), bind=True)
    bound = solve_trades(attrs.evolve(book, limits=unlimited), decision, charges(model))
    assert bound.values == pytest.approx(free.values, abs=3e-9)
    assert bound.costs == pytest.approx(free.costs, abs=3e-9)
    assert bound.acts.tolist() == free.acts.tolist()


@given(data=st.data(), model=st.sampled_from(COSTS))
def test_cash_is_never_negative_and_nothing_is_short(data: st.DataObject, model: CostModel) -> None:
    book = data.draw(books(debits=False))
    done = solve_trades(book, data.draw(decisions(book)), charges(model))
    if book.cash[0] + book.flow[0] >= 0:
        assert cash_after(book, done)[0] >= -1e-12
    assert (book.values + done.values >= -1e-15).all()
    assert done.costs == pytest.approx(charges(model)(np.abs(done.values)))


@given(data=st.data(), bps=st.sampled_from([0, 5, 10, 100, 3000, 9000]))
def test_proportional_costs_are_solved_for(data: st.DataObject, bps: float) -> None:
    book = data.draw(books(flows=False, debits=False))
    targets = book.targets / max(float(book.targets.sum()), 1e-9)
    book = attrs.evolve(book, targets=targets)
    done = solve_trades(book, to_target(book), charges(CostModel.flat(bps)))
    if targets.any():  # fully invested: what is left of V is all at target
        left = book.total - done.costs.sum(axis=1)
        assert cash_after(book, done) == pytest.approx([0], abs=1e-12 + 6e-9 * bool(bps == 0))
        assert book.values + done.values == pytest.approx(left[:, None] * targets, abs=1e-8)


@given(data=st.data(), scale=st.sampled_from([1e-3, 10.0, 1e6]))
def test_the_size_of_the_portfolio_does_not_matter(data: st.DataObject, scale: float) -> None:
    book = data.draw(books())
    decision = data.draw(decisions(book))
    larger = attrs.evolve(
        book, values=book.values * scale, cash=book.cash * scale, flow=book.flow * scale
    )
    one = solve_trades(book, decision, charges(ONE_PERCENT))
    other = solve_trades(larger, decision, charges(ONE_PERCENT))
    assert other.values / scale == pytest.approx(one.values, abs=3e-9)


@given(data=st.data(), model=st.sampled_from(COSTS))
def test_the_order_of_assets_does_not_matter(data: st.DataObject, model: CostModel) -> None:
    book = data.draw(books())
    decision = data.draw(decisions(book))
    order = np.array(data.draw(st.permutations(range(book.values.shape[1]))))
    other = attrs.evolve(book, values=book.values[:, order], targets=book.targets[:, order])
    turned = attrs.evolve(
        decision,
        targets=decision.targets[:, order],
        band=None if decision.band is None else decision.band[:, order],
    )
    one = solve_trades(book, decision, charges(model)).values[:, order]
    assert solve_trades(other, turned, charges(model)).values == pytest.approx(one, abs=3e-9)


def padded(book: Book, slots: int) -> Book:
    """The same with unused slots at the end."""
    more = slots - book.values.shape[1]

    def wider(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.pad(array, ((0, 0), (0, more)))

    limits = book.limits
    return attrs.evolve(
        book,
        assets=wider(book.assets),
        present=wider(book.present),
        values=wider(book.values),
        targets=wider(book.targets),
        limits=attrs.evolve(
            limits,
            no_sell=wider(limits.no_sell),
            no_buy=wider(limits.no_buy),
            equity=wider(limits.equity),
        ),
    )


@pytest.mark.parametrize("model", COSTS, ids=lambda model: model.label)
def test_a_row_is_the_same_to_the_last_bit_alone_and_among_others(model: CostModel) -> None:
    dice = np.random.default_rng(3)
    count, slots = 40, 8
    values = dice.dirichlet(np.ones(slots), count)
    book = holding(
        values,
        dice.dirichlet(np.ones(slots), count) * dice.choice([1.0, 0.9], (count, 1)),
        cash=dice.choice([0.0, 0.1, -0.05], count),
        flow=dice.choice([0.0, 0.2, -0.2], count),
        reserve=dice.choice([0.0, 0.1], count),
        max_turnover=dice.choice([np.inf, 0.1], count),
        max_weight=dice.choice([np.inf, 0.3], count),
        no_sell=dice.random((count, slots)) < 0.1,
        no_buy=dice.random((count, slots)) < 0.1,
    )
    for decide in (to_target, in_band):
        together = solve_trades(book, decide(book), charges(model))
        wide = padded(book, 256)
        widely = solve_trades(wide, decide(wide), charges(model))
        assert np.array_equal(widely.values[:, :slots], together.values)
        for row in range(count):
            one = book.only(np.array([row]))
            alone = solve_trades(one, decide(one), charges(model))
            assert np.array_equal(alone.values[0], together.values[row])
            assert np.array_equal(alone.aims[0], together.aims[row])


def test_every_limit_has_a_place_in_these_tests() -> None:
    # Those of groups are in test_group_limits.
    assert set(attrs.fields_dict(Limits)) - {"groups"} == {
        "no_sell",
        "no_buy",
        "reserve",
        "max_turnover",
        "max_departure",
        "max_weight",
        "equity",
        "equity_ceiling",
        "cash_floor",
        "target_volatility",
        "tolerated_drawdown",
        "lots",  # test_gain_limit.py
        "bind",
    }
