from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book, Limits, find_columns, open_book
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.limits import (
    LimitedDecision,
    PortfolioRisk,
    find_breaches,
    limit_decision,
)
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import (
    CLASSES,
    a_book,
    a_context,
    a_portfolio,
    flat_prices,
    names,
    portfolios,
    prices,
    varied_prices,
)

FEW = 10
"""Rows too few for an estimate of risk."""
KEPT = ["maximum weight", "equity ceiling", "target volatility", "tolerated drawdown", "cash floor"]
laws = settings(deadline=None, max_examples=50)


def column(value: float, count: int = 1) -> np.ndarray:
    return np.full(count, value)


def bounded(
    assets: int,
    *,
    count: int = 1,
    values: Sequence[float] | None = None,
    equity: Sequence[bool] | None = None,
    strategic: Sequence[float] | None = None,
    profiled: bool = True,
    **limits: float,
) -> Book:
    """Portfolios of all in cash (or ``values``) under no limit but those given."""
    bounds: dict[str, ArrayLike] = {
        "reserve": 0.0,
        "max_turnover": np.inf,
        "max_departure": np.inf,
        "max_weight": np.inf,
        "equity_ceiling": 1.0 if profiled else np.inf,
        "cash_floor": 0.0,
        "target_volatility": 100.0 if profiled else np.inf,
        "tolerated_drawdown": 1.0 if profiled else np.inf,
    } | limits
    return a_book(
        np.tile(np.zeros(assets) if strategic is None else strategic, (count, 1)),
        values,
        cash=100.0 - (0.0 if values is None else sum(values)),
        reviewed="2024-05-01",
        limits={"equity": True if equity is None else equity, **bounds},
    )


def wanting(targets: Sequence[float], *, due: bool = False, band: float | None = 0.02) -> Decision:
    wanted = np.array([targets], dtype=float)
    return Decision(
        targets=wanted,
        due=np.array([due]),
        band=None if band is None else np.full(wanted.shape, band),
        cash_band=None if band is None else np.array([band]),
    )


def limited(decision: Decision, book: Book, market: PriceHistory) -> LimitedDecision:
    return limit_decision(decision, book, PortfolioRisk(book, market))


def closes(*paths: Sequence[float]) -> PriceHistory:
    table = np.array(paths, dtype=float).T
    days = np.busday_offset("2023-01-02", np.arange(len(table)))
    return PriceHistory.of(names(len(paths)), days, table)


def in_turn(size: float, rows: int) -> list[float]:
    """A price that goes up by ``size`` and back, day by day."""
    return [100.0 * (1 + size * (t % 2)) for t in range(rows)]


def fall(market: PriceHistory, weights: np.ndarray) -> float:
    """Deepest fall over the last year of a mix held at these weights, day by day."""
    deepest, wealth, peak = 0.0, 1.0, 1.0
    for changes in market.returns(252).tolist():
        wealth *= 1 + sum(w * change for w, change in zip(weights, changes, strict=True))
        peak = max(peak, wealth)
        deepest = max(deepest, 1 - wealth / peak)
    return deepest


def targets(found: LimitedDecision) -> np.ndarray:
    return found.decision.targets[0]


# Each limit by hand.


def test_no_limits_change_nothing() -> None:
    book = bounded(2)
    book = attrs.evolve(book, limits=Limits.none(book))
    decision = wanting([0.9, 0.1])
    found = limited(decision, book, prices(2, 300))
    assert found.decision is decision
    assert found.shares == {}
    assert found.forced.tolist() == [False]
    assert found.departure.tolist() == [0]


@pytest.mark.parametrize(
    ("strategic", "wanted", "most", "departure", "nearer"),
    [
        # Half of the portfolio into cash: 0.2 of it is two fifths of the way.
        ([0.6, 0.4], [0.3, 0.2], 0.2, 0.5, [0.48, 0.32]),
        # Half of it from one asset to another.
        ([0.6, 0.4], [0.1, 0.9], 0.2, 0.5, [0.4, 0.6]),
        # 0.1 more of one, 0.3 less of the other, 0.2 more cash: 0.3 is sold.
        ([0.5, 0.3], [0.6, 0.0], 0.15, 0.3, [0.55, 0.15]),
        # Out of cash: 0.4 is bought.
        ([0.2, 0.2], [0.5, 0.3], 0.1, 0.4, [0.275, 0.225]),
        ([0.0, 0.0], [0.0, 1.0], 0.05, 1.0, [0.0, 0.05]),
    ],
)
def test_who_departs_too_far_is_brought_back(
    strategic: list[float], wanted: list[float], most: float, departure: float, nearer: list[float]
) -> None:
    book = bounded(2, strategic=strategic, max_departure=most)
    found = limited(wanting(wanted), book, prices(2, 300))
    assert targets(found) == pytest.approx(nearer)
    assert found.departure == pytest.approx([departure])
    assert all(kept == 1 for kept in found.shares.values())


@pytest.mark.parametrize("most", [0.5, 1.0, np.inf])
def test_who_stays_near_enough_is_left_alone(most: float) -> None:
    wanted = wanting([0.35, 0.6])
    book = bounded(2, strategic=[0.6, 0.1], profiled=False, max_departure=most)
    found = limited(wanted, book, prices(2, 300))
    assert found.decision.targets.tolist() == wanted.targets.tolist()
    assert found.departure.tolist() == [0]


def test_who_may_not_depart_holds_the_strategic_targets_exactly() -> None:
    strategic = [0.1, 0.2, 0.7 / 3]
    book = bounded(3, strategic=strategic, max_departure=0.0)
    found = limited(wanting([0.3, 0.0, 0.7]), book, prices(3, 300))
    assert targets(found).tolist() == strategic


def test_limits_apply_to_what_was_brought_back() -> None:
    # A third of the way from 0.6, 0.4 to 0, 1 is 0.4, 0.6, of which 0.5 is the most.
    book = bounded(2, strategic=[0.6, 0.4], max_departure=0.2, max_weight=0.5)
    found = limited(wanting([0.0, 1.0]), book, prices(2, FEW))
    assert targets(found) == pytest.approx([0.4, 0.5])
    assert found.departure == pytest.approx([0.6])
    assert found.shares["maximum weight"] == pytest.approx([0.9])
    assert found.reductions()[0] == {"maximum weight": pytest.approx(0.9)}


def test_a_maximum_weight_cuts_what_exceeds_it_and_leaves_the_rest_in_cash() -> None:
    found = limited(wanting([0.6, 0.3, 0.1]), bounded(3, max_weight=0.4), prices(3, FEW))
    assert targets(found) == pytest.approx([0.4, 0.3, 0.1])
    assert found.shares["maximum weight"] == pytest.approx([0.8])


def test_a_maximum_weight_needs_no_profile() -> None:
    book = bounded(2, max_weight=0.4, profiled=False)
    found = limited(wanting([0.6, 0.3]), book, prices(2, 300))
    assert targets(found) == pytest.approx([0.4, 0.3])
    assert list(found.shares) == ["maximum weight"]
    assert not found.forced.any()


def test_an_equity_ceiling_scales_equities_and_them_alone() -> None:
    book = bounded(3, equity=[True, True, False], equity_ceiling=0.4)
    found = limited(wanting([0.5, 0.3, 0.2]), book, prices(3, FEW))
    assert targets(found) == pytest.approx([0.25, 0.15, 0.2])
    assert found.shares["equity ceiling"] == pytest.approx([0.6])
    found = limited(wanting([0.3, 0.1, 0.6]), book, prices(3, FEW))
    assert targets(found) == pytest.approx([0.3, 0.1, 0.6])
    assert found.shares["equity ceiling"] == pytest.approx([1.0])


def test_a_cash_floor_scales_everything() -> None:
    found = limited(wanting([0.6, 0.4]), bounded(2, cash_floor=0.05), prices(2, FEW))
    assert targets(found) == pytest.approx([0.57, 0.38])
    assert found.shares["cash floor"] == pytest.approx([0.95])
    found = limited(wanting([0.5, 0.4]), bounded(2, cash_floor=0.05), prices(2, FEW))
    assert targets(found) == pytest.approx([0.5, 0.4])


def test_expected_volatility_scales_everything() -> None:
    # Two assets that move as one, so that the mix moves as each does.
    market = closes(in_turn(0.01, 301), in_turn(0.01, 301))
    returns = np.tile([0.01, -0.01 / 1.01], 126)
    yearly = returns.std(ddof=1) * np.sqrt(252)
    book = bounded(2, target_volatility=yearly / 2)
    found = limited(wanting([0.5, 0.3]), book, market)
    assert targets(found) == pytest.approx([0.5 / 1.6, 0.3 / 1.6])
    assert found.shares["target volatility"] == pytest.approx([1 / 1.6])
    assert PortfolioRisk(book, market).volatility(found.decision.targets) == pytest.approx(
        yearly / 2
    )
    calm = limited(wanting([0.3, 0.1]), book, market)
    assert targets(calm) == pytest.approx([0.3, 0.1])


def test_the_drawdown_of_the_mix_scales_everything() -> None:
    # Stands still, falls by a half in a day, stands still. A share s of it falls by s / 2.
    fallen = [100.0] * 40 + [50.0] * 40
    market = closes(fallen, [100.0] * 80)
    book = bounded(2, tolerated_drawdown=0.2)
    found = limited(wanting([0.8, 0.2]), book, market)
    assert targets(found) == pytest.approx([0.4, 0.1])
    assert found.shares["tolerated drawdown"] == pytest.approx([0.5])
    assert fall(market, targets(found)) == pytest.approx(0.2)
    shallow = limited(wanting([0.4, 0.6]), book, market)
    assert targets(shallow) == pytest.approx([0.4, 0.6])


def test_the_drawdown_counts_a_fall_from_the_very_first_day_and_the_last_year_only() -> None:
    book = bounded(1, tolerated_drawdown=0.1)
    found = limited(wanting([1.0]), book, closes([100.0, *[50.0] * 30]))
    assert targets(found) == pytest.approx([0.2])
    # 252 returns after the fall, it is forgotten.
    for after, kept in ((252, 0.2), (253, 1.0)):
        found = limited(wanting([1.0]), book, closes([100.0, *[50.0] * after]))
        assert targets(found) == pytest.approx([kept])


def test_limits_hold_in_turn() -> None:
    # Weight: 0.5, 0.3, 0.1. Equities 0.8 to 0.4: 0.25, 0.15, 0.1. Cash floor: half of it all.
    book = bounded(
        3, max_weight=0.5, equity=[True, True, False], equity_ceiling=0.4, cash_floor=0.75
    )
    found = limited(wanting([0.6, 0.3, 0.1]), book, prices(3, FEW))
    assert targets(found) == pytest.approx([0.125, 0.075, 0.05])
    assert found.shares["maximum weight"] == pytest.approx([0.9])
    assert found.shares["equity ceiling"] == pytest.approx([0.5 / 0.9])
    assert found.shares["cash floor"] == pytest.approx([0.5])


def test_limits_are_named() -> None:
    book = bounded(2)
    assert list(limited(wanting([0.5, 0.5]), book, prices(2, 300)).shares) == KEPT
    # Without history the two that need an estimate do not apply.
    assert list(limited(wanting([0.5, 0.5]), book, prices(2, 20)).shares) == [
        "maximum weight",
        "equity ceiling",
        "cash floor",
    ]
    assert list(limited(wanting([0.5, 0.5]), book, prices(2, 21)).shares) == KEPT


def test_departure_from_all_cash_targets_is_capped() -> None:
    book = bounded(2, max_weight=0.1, cash_floor=0.5, target_volatility=0.01)
    found = limited(wanting([0.0, 0.0]), book, prices(2, 300))
    assert targets(found).tolist() == [0, 0]
    assert all(kept == 1 for kept in found.shares.values())


def test_what_must_not_be_sold_uses_its_part_of_the_limit() -> None:
    # Both fall by a half at once: 0.3 that is stuck takes 0.15 of 0.2, which leaves 0.1 of the
    # other. With 0.6 stuck nothing is left; what is locked is not scaled.
    market = closes(*[[100.0] * 40 + [50.0] * 40] * 2)
    for stuck, left in ((30.0, 0.1), (60.0, 0.0)):
        book = bounded(2, values=[stuck, 0.0], tolerated_drawdown=0.2)
        assert book.limits is not None
        book = attrs.evolve(
            book, limits=attrs.evolve(book.limits, no_sell=np.array([[True, False]]))
        )
        found = limited(wanting([stuck / 100, 0.4]), book, market)
        assert targets(found) == pytest.approx([stuck / 100, left])


# Risk that cannot wait.


@pytest.mark.parametrize(
    ("limits", "exceeds"),
    [
        ({"target_volatility": 0.05}, True),
        ({"target_volatility": 0.5}, False),
        ({"tolerated_drawdown": 0.01}, True),
        ({"tolerated_drawdown": 0.9}, False),
        ({"max_weight": 0.1}, False),
        ({"equity_ceiling": 0.1}, False),
        ({"cash_floor": 0.9}, False),
        ({"profiled": False, "max_weight": 0.1}, False),
    ],
)
def test_breaches_of_profile_risk(limits: dict[str, float], exceeds: bool) -> None:
    book = bounded(2, **limits)  # type: ignore[arg-type]
    assert book.limits is not None
    for rows, answer in ((300, exceeds), (20, False)):
        risk = PortfolioRisk(book, prices(2, rows, volatility=0.01, seed=1))
        assert risk.exceeds(np.array([[0.5, 0.4]])).tolist() == [answer]
    assert risk.exceeds(np.zeros((1, 2))).tolist() == [False]


def test_exactly_at_the_limit_is_within_it() -> None:
    market = prices(2, 300, volatility=0.02, seed=1)
    held = np.array([[0.5, 0.4]])
    exact = {
        "target_volatility": float(PortfolioRisk(bounded(2), market).volatility(held)[0]),
        "tolerated_drawdown": fall(market, held[0]),
    }
    book = bounded(2, values=[50, 40], **exact)
    assert book.limits is not None
    assert not PortfolioRisk(book, market).exceeds(held).any()
    assert targets(limited(wanting([0.5, 0.4]), book, market)) == pytest.approx([0.5, 0.4])


def test_limits_alone_do_not_force_a_policy_to_act() -> None:
    found = limited(wanting([0.5, 0.4]), bounded(2, max_weight=0.1), prices(2, 300))
    assert found.forced.tolist() == [False]
    assert found.decision.due.tolist() == [False]
    assert found.decision.band == pytest.approx(0.02)


@pytest.mark.parametrize("band", [0.02, None])
def test_those_who_are_forced_go_to_their_targets_now(band: float | None) -> None:
    wanted = Decision(
        targets=np.full((2, 2), 0.5),
        due=np.array([False, False]),
        band=None if band is None else np.full((2, 2), band),
        cash_band=None if band is None else np.full(2, band),
    )
    book = bounded(2, count=2, cash_floor=0.1)
    found = limited(wanted, book, prices(2, FEW)).force(np.array([True, False]))
    assert found.forced.tolist() == found.decision.due.tolist() == [True, False]
    assert found.decision.targets == pytest.approx(0.45)
    if band is None:
        assert found.decision.band is None and found.decision.cash_band is None
    else:
        assert found.decision.band is not None and found.decision.cash_band is not None
        assert found.decision.band.tolist() == [[0, 0], [band, band]]
        assert found.decision.cash_band.tolist() == [0, band]
    again = found.force(np.array([False, False]))
    assert again.forced.tolist() == [True, False]


# Targets that exceed a profile. A and C are equities, B, F and I are not, G is unknown.

STILL = flat_prices(dict.fromkeys("ABCFGI", 10.0))
"""Too short for an estimate of risk."""


def of_profile(profile: str | None, wanted: dict[str, float]) -> Portfolio:
    return a_portfolio({}, wanted, profile=profile)


@pytest.mark.parametrize(
    ("profile", "wanted", "exceeded"),
    [
        (None, {"A": 1.0}, {}),
        ("aggressive", {"A": 1.0}, {}),
        ("conservative", {}, {}),
        ("conservative", {"A": 0.25, "B": 0.4, "F": 0.3}, {}),
        # 0.4 and 0.3 are left of 0.5 and 0.3.
        ("conservative", {"B": 0.5, "F": 0.3}, {"maximum weight": 0.875}),
        # 0.25 remains of 0.3, in addition to 0.6.
        ("conservative", {"A": 0.1, "G": 0.2, "B": 0.3, "F": 0.3}, {"equity ceiling": 0.85 / 0.9}),
        ("cautious", {"B": 0.4, "F": 0.4, "I": 0.2}, {"cash floor": 0.97}),
        # Each limit by itself: what one would cut does not hide another.
        (
            "conservative",
            {"A": 0.5, "C": 0.5},
            {"maximum weight": 0.8, "equity ceiling": 0.25, "cash floor": 0.95},
        ),
    ],
)
def test_what_targets_exceed(
    profile: str | None, wanted: dict[str, float], exceeded: dict[str, float]
) -> None:
    found = find_breaches(of_profile(profile, wanted), STILL, CLASSES)
    assert found == {name: pytest.approx(share) for name, share in exceeded.items()}


def test_targets_that_move_too_much() -> None:
    swings, still = in_turn(0.01, 301), [100.0] * 301
    market = closes(still, swings, still, still, still, swings)
    yearly = np.tile([0.01, -0.01 / 1.01], 126).std(ddof=1) * np.sqrt(252)
    found = find_breaches(of_profile("conservative", {"B": 0.4, "F": 0.3}), market, CLASSES)
    assert found == {"target volatility": pytest.approx(0.06 / (0.7 * yearly))}
    assert not find_breaches(of_profile("conservative", {"B": 0.4, "F": 0.3}), STILL, CLASSES)
    assert not find_breaches(of_profile("balanced", {"B": 0.4, "F": 0.3}), market, CLASSES)


def test_targets_that_have_fallen_too_deep() -> None:
    # 0.1% a day, every day: no volatility, and a share s of it falls to (1 - s / 1,000)^252.
    falling, still = [100.0 * 0.999**day for day in range(301)], [100.0] * 301
    market = closes(still, falling, still, still, still, falling)
    found = find_breaches(of_profile("conservative", {"B": 0.4, "F": 0.4}), market, CLASSES)
    assert found == {"tolerated drawdown": pytest.approx((1 - 0.88 ** (1 / 252)) / 0.0008)}
    assert not find_breaches(of_profile("cautious", {"B": 0.3, "F": 0.4}), market, CLASSES)


def test_only_the_targets_are_judged() -> None:
    portfolio = a_portfolio(
        {"A": 1000, "B": 10, "unheard-of": 1},
        {"B": 0.5, "F": 0.3},
        cash=-500,
        flow=-100,
        profile="conservative",
        do_not_sell=["A", "F"],
        max_weight=0.1,
        max_departure=0,
        cash_reserve=10_000,
    )
    assert find_breaches(portfolio, STILL, CLASSES) == {"maximum weight": pytest.approx(0.875)}


@pytest.mark.parametrize("profile", [None, "balanced"])
def test_nan_targets_are_handled(profile: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        find_breaches(of_profile(profile, {"A": 0.1, "Z": 0.1}), STILL, CLASSES)
    assert caught.value.field == "targets.Z"


# Laws.


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """One-way, cash counted as an asset."""
    moved = [*(one - other), other.sum() - one.sum()]
    return sum(abs(change) for change in moved) / 2


@given(
    seed=st.integers(0, 1000),
    most=st.sampled_from([0.2, 0.0, 0.05, 0.5, 1.0, np.inf]),
    share=st.sampled_from([1.0, 0.9, 0.0]),
)
@laws
def test_departure_is_capped(seed: int, most: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    market = prices(16, FEW)
    strategic = rng.dirichlet(np.full(8, 0.3), 5) * rng.choice([1.0, 0.95], (5, 1))
    wanted = rng.dirichlet(np.full(8, 0.3), 5) * share
    wanted[4] = strategic[4]
    book = bounded(8, count=5, profiled=False, max_departure=most)
    book = attrs.evolve(book, targets=strategic)
    decision = Decision(wanted, np.zeros(5, dtype=bool))
    found = limited(decision, book, market)
    weights = found.decision.targets
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) <= 1 + 1e-12).all()
    for row in range(5):
        asked = distance(wanted[row], strategic[row])
        assert distance(weights[row], strategic[row]) <= most + 1e-9
        assert distance(weights[row], strategic[row]) == pytest.approx(min(asked, most))
        if found.departure[row]:
            assert found.departure[row] == pytest.approx(asked)
        else:
            assert asked <= most + 1e-9
            assert weights[row].tolist() == wanted[row].tolist()
        # Alone, and in a wider book, to the last bit.
        some = np.array([row])
        alone = limited(decision.only(some), book.only(some), market)
        assert alone.decision.targets[0].tolist() == weights[row].tolist()
        assert alone.departure.tolist() == [found.departure[row]]
    assert found.departure[4] == 0
    if most == 0:
        assert weights.tolist() == strategic.tolist()
    wide = attrs.evolve(
        bounded(16, count=5, profiled=False, max_departure=most),
        targets=np.pad(strategic, ((0, 0), (0, 8))),
    )
    widely = limited(attrs.evolve(decision, targets=np.pad(wanted, ((0, 0), (0, 8)))), wide, market)
    assert widely.decision.targets[:, :8].tolist() == weights.tolist()


VARIED = varied_prices()


@given(portfolio=portfolios(VARIED))
@laws
def test_targets_exceed_nothing_where_no_limit_takes_anything(portfolio: Portfolio) -> None:
    bare = attrs.evolve(portfolio, holdings={}, preferences=a_portfolio().preferences)
    book, _ = open_book([bare], [find_columns(bare, VARIED)], VARIED, CLASSES)
    strategic = Decision(book.targets, np.array([True]))
    found = find_breaches(portfolio, VARIED, CLASSES)
    assert bool(found) == bool(limited(strategic, book, VARIED).reductions()[0])
    assert all(0 <= share < 1 for share in found.values())
    assert portfolio.risk_profile or not found


@given(
    seed=st.integers(0, 1000),
    assets=st.integers(1, 5),
    rows=st.sampled_from([2, 20, 21, 120, 300]),
    limits=st.fixed_dictionaries(
        {
            "max_weight": st.sampled_from([0.2, 0.5, 1.0]),
            "equity_ceiling": st.sampled_from([0.25, 0.65, 1.0]),
            "cash_floor": st.sampled_from([0.0, 0.05]),
            "target_volatility": st.sampled_from([0.06, 0.13, 0.28]),
            "tolerated_drawdown": st.sampled_from([0.12, 0.25, 0.5]),
        }
    ),
)
@laws
def test_what_comes_out_keeps_every_limit_and_nothing_grows(
    seed: int, assets: int, rows: int, limits: dict[str, float]
) -> None:
    rng = np.random.default_rng(seed)
    market = prices(assets, rows, seed=seed, volatility=0.015)
    raw = rng.uniform(0.01, 1, assets)
    wanted = raw / raw.sum() * rng.choice([1.0, 0.9])
    equity = rng.random(assets) < 0.6
    held = rng.uniform(0, 100 / assets, assets)
    book = bounded(assets, values=held.tolist(), equity=equity.tolist(), **limits)
    found = limited(wanting(wanted.tolist()), book, market)
    weights = found.decision.targets
    slack = 1 + 1e-9
    assert (weights >= 0).all()
    assert (weights[0] <= wanted * slack).all()
    assert weights.max() <= limits["max_weight"] * slack
    assert weights[0, equity].sum() <= limits["equity_ceiling"] * slack
    assert weights.sum() <= (1 - limits["cash_floor"]) * slack
    assert list(found.shares) == (KEPT if rows > 20 else [KEPT[0], KEPT[1], KEPT[4]])
    assert all((kept > 0).all() and (kept <= slack).all() for kept in found.shares.values())
    # The shares left by the limits in turn are the share left in all.
    left = np.prod(list(found.shares.values()))
    assert left * wanted.sum() == pytest.approx(weights.sum())
    risk = PortfolioRisk(book, market)
    if risk.known:
        assert risk.volatility(weights)[0] <= limits["target_volatility"] * slack
        assert fall(market, weights[0]) <= limits["tolerated_drawdown"] * slack
        assert book.limits is not None
        assert not risk.exceeds(weights).any()
    # What keeps the limits is not cut further.
    again = limited(attrs.evolve(found.decision, targets=weights), book, market)
    assert again.decision.targets == pytest.approx(weights, rel=1e-9)


@given(seed=st.integers(0, 1000))
@laws
def test_a_portfolio_does_not_depend_on_its_neighbours(seed: int) -> None:
    rng = np.random.default_rng(seed)
    market = prices(4, 120, seed=seed, volatility=0.02)
    raw = rng.uniform(0, 1, (3, 4))
    wanted = Decision(raw / raw.sum(axis=1, keepdims=True), np.zeros(3, dtype=bool))
    ceilings = {"equity_ceiling": 0.65, "target_volatility": 0.13, "tolerated_drawdown": 0.12}
    together = limited(wanted, bounded(4, count=3, **ceilings), market)
    for row in range(3):
        alone = limited(wanting(wanted.targets[row].tolist()), bounded(4, **ceilings), market)
        assert targets(alone) == pytest.approx(together.decision.targets[row], abs=1e-12)


def test_rounding_uses_idle_cash_within_the_limits_of_a_profile() -> None:
    # 1,500 for shares of 450, 20 and 35. Balanced allows 50% of one asset: one share of the first,
    # and its rest goes to the others as far as these come nearer to their targets.
    market = flat_prices({"A": 450.0, "B": 20.0, "C": 35.0})
    targets = {"A": 0.45, "B": 0.29, "C": 0.2}
    for profile, expected in (("balanced", {"A": 1, "B": 22, "C": 9}), ("growth", {"A": 2})):
        portfolio = a_portfolio({}, targets, cash=1500, profile=profile)
        proposal = propose(portfolio, a_context(market, costs=0.0))
        bought = {order.symbol: order.quantity for order in proposal.orders}
        assert bought.items() >= expected.items()
