from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from math import sqrt

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.backtest.engine import (
    BASELINE,
    BacktestSettings,
    compare_policies,
    simulate,
)
from rebalancer.domain.backtest.result import (
    EquityPath,
    MeasuredWindow,
    measure_performance,
)
from rebalancer.domain.backtest.step import drift, settle, step
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.market.frequency import DAILY, ObservationFrequency
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.formulas import Allocation
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import POLICIES, parse_rule
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import COST_PRESETS, CostModel, Rates
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.domain.rebalancing.solver import solve_trades
from tests.builders import CLASSES, a_book, backtest_settings, names, one_of, prices

BANDS = ("band", "band:edge", "band:half", "band:relative", "band:band=0.05")
CALENDAR = ("weekly", "monthly", "quarterly", "yearly")
IN_WINDOW = {  # so that each policy that needs history has it within few rows
    "volatility_target": "volatility_target:window=10,target=0.08",
    "trend": "trend:window=12",
    "inverse_volatility": "inverse_volatility:window=10",
    "risk_parity": "risk_parity:window=10",
    "minimum_variance": "minimum_variance:window=12",
    "hierarchical_risk_parity": "hierarchical_risk_parity:window=12",
}
EVERY = (*(IN_WINDOW.get(name, name) for name in POLICIES), *BANDS[1:], "risk_parity")
BEWARE = Caution("beware", "Beware.")
laws = settings(deadline=None, max_examples=25)


def table(*rows: Sequence[float], start: str = "2024-01-01") -> PriceHistory:
    """Closes on consecutive business days; the last ones hold for one day more."""
    rows = (*rows, rows[-1])
    days = np.busday_offset(start, np.arange(len(rows)), roll="forward")
    return PriceHistory.of(names(len(rows[0])), days, np.array(rows, dtype=float))


def with_holidays(history: PriceHistory, seed: int) -> PriceHistory:
    """Remove some days of a history, such as month starts."""
    kept = np.random.default_rng(seed).random(len(history)) > 0.15
    kept[:1] = True
    return PriceHistory.of(history.symbols, history.dates[kept], history.closes[kept])


# Reference implementation: one portfolio, day by day, in plain Python, independent of the package.


@attrs.define
class Naive:
    """Result of the reference implementation: as `EquityPath`, in lists."""

    values: list[float] = attrs.field(factory=list)
    weights: list[list[float]] = attrs.field(factory=list)
    costs: list[float] = attrs.field(factory=list)
    orders: list[int] = attrs.field(factory=list)
    turnover: list[float] = attrs.field(factory=list)


def period(rule: str, day: date) -> tuple[int, ...]:
    match rule:
        case "weekly":
            return tuple(day.isocalendar())[:2]
        case "monthly":
            return day.year, day.month
        case "quarterly":
            return day.year, (day.month + 2) // 3
        case "yearly":
            return (day.year,)
    return ()


def landed(
    held: list[float], aims: list[float], slack: list[float], outside: list[bool], invest: float
) -> list[float]:
    """Move assets outside their bands to within the slack; the others fund these trades."""
    after = [
        min(max(had, aim - off), aim + off) if out else had
        for had, aim, off, out in zip(held, aims, slack, outside, strict=True)
    ]
    gap = invest - sum(after)
    # The asset furthest from its aim first; assets that are equally far share.
    far = [abs(aim - goal) for aim, goal in zip(aims, after, strict=True)]
    waiting = [i for i in range(len(after)) if gap * (aims[i] - after[i]) > 0]
    while waiting and gap:
        furthest = max(far[i] for i in waiting)
        alike = [i for i in waiting if far[i] > furthest * (1 - 1e-9)]
        moved = min(abs(gap) / len(alike), furthest) * (1 if gap > 0 else -1)
        for i in alike:
            after[i] += moved
            waiting.remove(i)
        gap -= moved * len(alike)
    return after


def naive(
    rule: str,
    days: Sequence[date],
    closes: Sequence[Sequence[float]],
    targets: Sequence[float],
    bps: float,
    risk_free: float,
) -> Naive:
    name, _, variant = rule.partition(":")
    half_width, landing = 0.02, 0.0
    if variant.startswith("band="):
        half_width = float(variant[5:])
    if variant == "relative":
        half_width = 0.20
    if variant in ("edge", "half"):
        landing = {"edge": 1.0, "half": 0.5}[variant]
    assets = range(len(targets))
    wanted = sum(targets)
    cash, units = 1.0, [0.0 for _ in assets]
    out = Naive()
    for t, day in enumerate(days):
        if t:
            cash *= 1 + risk_free
        held = [units[i] * closes[t][i] for i in assets]
        value = cash + sum(held)
        widths = [half_width * (targets[i] if variant == "relative" else 1) for i in assets]
        drifts = [held[i] / value - targets[i] for i in assets]
        outside = [abs(drifts[i]) > widths[i] + 1e-12 for i in assets]
        cash_width = 0.02 if variant == "relative" else half_width
        if t == 0:
            acts, outside = True, [True for _ in assets]
        elif name == "buy_and_hold":
            acts = False
        elif name == "band":
            acts = any(outside) or abs(cash / value - (1 - wanted)) > cash_width + 1e-12
        else:
            acts = period(name, day) > period(name, days[t - 1])
            outside = [True for _ in assets]

        trade, fee = [0.0 for _ in assets], 0.0
        if acts:
            for _ in range(200):
                invest = min(wanted * value, value - fee)
                aims = [weight / wanted * invest for weight in targets]
                slack = [landing * width * value if t else 0.0 for width in widths]
                goals = landed(held, aims, slack, outside, invest)
                trade = [goal - had for goal, had in zip(goals, held, strict=True)]
                trade = [move if abs(move) > 1e-9 * value else 0.0 for move in trade]
                again = sum(abs(move) for move in trade) * bps / 10_000
                if abs(again - fee) < 1e-16 * value:
                    break
                fee = again
        bought = sum(move for move in trade if move > 0)
        sold = -sum(move for move in trade if move < 0)
        cash += sold - bought - fee
        held = [had + move for had, move in zip(held, trade, strict=True)]
        units = [held[i] / closes[t][i] for i in assets]
        out.values.append(cash + sum(held))
        out.weights.append([part / out.values[-1] for part in held])
        out.costs.append(fee)
        out.orders.append(sum(1 for move in trade if move))
        out.turnover.append(max(bought, sold) / value)
    return out


@st.composite
def worlds(draw: st.DrawFn) -> tuple[PriceHistory, list[float]]:
    """Up to five assets over months or years, with holidays, and their targets."""
    assets = draw(st.integers(1, 5))
    history = prices(
        assets,
        draw(st.sampled_from([3, 30, 90, 300])),
        seed=draw(st.integers(0, 10_000)),
        start=date(2019, 11, 20),
        volatility=draw(st.sampled_from([0.003, 0.01, 0.04])),
    )
    if len(history) > 20:
        history = with_holidays(history, assets)
    raw = draw(st.lists(st.integers(0, 10), min_size=assets, max_size=assets).filter(any))
    share = draw(st.sampled_from([1.0, 0.8]))
    return history, [share * part / sum(raw) for part in raw]


@pytest.mark.parametrize("rule", ["buy_and_hold", *CALENDAR, *BANDS])
@settings(laws, max_examples=20)
@given(
    world=worlds(),
    bps=st.sampled_from([0.0, 10.0, 50.0]),
    risk_free=st.sampled_from([0.0, 0.0002, -0.0001]),
)
def test_simulation_agrees_with_the_reference(
    rule: str, world: tuple[PriceHistory, list[float]], bps: float, risk_free: float
) -> None:
    history, targets = world
    expected = naive(rule, history.dates.tolist(), history.closes.tolist(), targets, bps, risk_free)
    found = simulate(
        parse_rule(rule), backtest_settings(history, targets, bps=bps, risk_free=risk_free)
    )
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-9)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-9)
    np.testing.assert_allclose(found.costs, expected.costs, atol=1e-11)
    np.testing.assert_allclose(found.turnover, expected.turnover, atol=1e-9)
    assert found.orders.tolist() == expected.orders


def step_by_step(rule: str) -> Policy:
    """Return the rule with a look-back of 2, which disables the shortcuts of the engine."""
    plain = parse_rule(rule)
    return attrs.evolve(plain, allocation=attrs.evolve(plain.allocation, lookback=2))


@pytest.mark.parametrize(
    "rule", [*CALENDAR, "buy_and_hold", *BANDS, "band:frequency=weekly", "band:band=0.3"]
)
@settings(laws, max_examples=10)
@given(
    seed=st.integers(0, 1000),
    rows=st.sampled_from([3, 16, 17, 18, 50, 1300]),
    volatility=st.sampled_from([0.0005, 0.01, 0.03]),
    share=st.sampled_from([1.0, 0.998, 0.8, 0.0]),
    bps=st.sampled_from([0.0, 10.0, 200.0]),
    as_live=st.booleans(),
)
def test_reviews_solved_at_once_equal_reviews_step_by_step(
    rule: str, seed: int, rows: int, volatility: float, share: float, bps: float, as_live: bool
) -> None:
    history = prices(4, rows, seed=seed, volatility=volatility)
    given_ = backtest_settings(
        history, np.full(4, share / 4), bps=bps, risk_free=0.0001, as_live=as_live
    )
    fast, slow = simulate(parse_rule(rule), given_), simulate(step_by_step(rule), given_)
    assert fast.orders.tolist() == slow.orders.tolist()
    np.testing.assert_allclose(fast.values, slow.values, rtol=1e-12)
    np.testing.assert_allclose(fast.weights, slow.weights, atol=1e-12)
    np.testing.assert_allclose(fast.costs, slow.costs, atol=1e-12)
    np.testing.assert_allclose(fast.turnover, slow.turnover, atol=1e-12)


def test_policy_that_depends_on_holdings_is_stepped_through() -> None:
    def half_way(book: Book, _: PriceHistory, __: int) -> tuple[np.ndarray, None]:
        held = book.values / book.total[:, None]
        return np.where(held.any(axis=1)[:, None], (held + book.targets) / 2, book.targets), None

    monthly = parse_rule("monthly")
    history = prices(3, 200, volatility=0.03)
    paths = [
        simulate(
            attrs.evolve(monthly, allocation=Allocation(half_way, lookback=lookback)),
            backtest_settings(history),
        )
        for lookback in (1, 2)
    ]
    np.testing.assert_allclose(paths[0].values, paths[1].values, rtol=1e-12)


# Examples.


def test_portfolio_is_at_target_after_costs() -> None:
    # 100 bps of what is bought: v (1 + 0.01) = 1.
    path = simulate(
        parse_rule("buy_and_hold"), backtest_settings(table([100, 50], [110, 50]), bps=100)
    )
    assert path.costs == pytest.approx([0.01 / 1.01, 0, 0])
    assert path.values == pytest.approx([1 / 1.01, 1.05 / 1.01, 1.05 / 1.01])
    assert path.weights[0] == pytest.approx([0.5, 0.5])
    assert path.weights[1] == pytest.approx([0.55 / 1.05, 0.5 / 1.05])
    assert path.orders.tolist() == [2, 0, 0]
    assert path.turnover == pytest.approx([1 / 1.01, 0, 0])


def test_monthly_rebalance_by_hand() -> None:
    # Wednesday 31 January and Thursday 1 February. 0.5 and 0.5 become 0.6 and 0.5.
    history = table([100, 50], [120, 50], start="2024-01-31")
    path = simulate(parse_rule("monthly"), backtest_settings(history, bps=0))
    assert path.values == pytest.approx([1, 1.1, 1.1])
    assert path.weights[1] == pytest.approx([0.5, 0.5])
    assert path.orders.tolist() == [2, 2, 0]
    assert path.turnover[1] == pytest.approx(0.05 / 1.1)
    # With 100 bps: invested 1 / 1.01 =: v. Sells s, buys b: 0.6 v - s = 0.5 v + b and
    # s - b = 0.01 (s + b), so s + b = 0.1 v and s - b = 0.001 v.
    path = simulate(parse_rule("monthly"), backtest_settings(history, bps=100))
    v = 1 / 1.01
    assert path.costs[1] == pytest.approx(0.001 * v)
    assert path.values[1] == pytest.approx(1.099 * v)
    assert path.weights[1] == pytest.approx([0.5, 0.5])
    assert path.turnover[1] == pytest.approx(0.0505 / 1.1)


def test_target_cash_pays_the_costs() -> None:
    # Weights are fractions of value before trading: 0.8 is invested, 0.2 less costs is left.
    path = simulate(
        parse_rule("buy_and_hold"), backtest_settings(table([100], [100]), [0.8], bps=100)
    )
    assert path.values == pytest.approx([0.992] * 3)
    assert path.weights[:, 0] == pytest.approx(0.8 / 0.992)
    # Of 0.004 left, 0.00996 cannot be paid: all targets shrink until it can.
    path = simulate(
        parse_rule("buy_and_hold"), backtest_settings(table([100], [100]), [0.996], bps=100)
    )
    assert path.values == pytest.approx(1 / 1.01)
    assert path.weights[:, 0] == pytest.approx(1)


def test_band_trades_assets_outside_and_others_only_for_funding() -> None:
    # 0.5, 0.3, 0.2 of 1 become 0.56, 0.3, 0.2 of 1.06: 52.8%, 28.3%, 18.9%. Only the first is
    # outside 2 points; it goes to 0.53 and frees 0.03. The second lacks 0.018, the third 0.012.
    history = table([100, 100, 100], [112, 100, 100])
    path = simulate(parse_rule("band"), backtest_settings(history, [0.5, 0.3, 0.2], bps=0))
    assert path.weights[1] == pytest.approx([0.5, 0.3, 0.2])
    # To the edge it goes to 0.52 of 1.06 and frees 0.0088, all of it for the second, which lacks
    # most.
    path = simulate(parse_rule("band:edge"), backtest_settings(history, [0.5, 0.3, 0.2], bps=0))
    assert path.weights[1] * 1.06 == pytest.approx([0.5512, 0.3088, 0.2])
    assert path.orders.tolist() == [3, 2, 0]
    # Half-way it goes to 0.51 and frees 0.0194: 0.018 for the second, 0.0014 for the third.
    path = simulate(parse_rule("band:half"), backtest_settings(history, [0.5, 0.3, 0.2], bps=0))
    assert path.weights[1] * 1.06 == pytest.approx([0.5406, 0.318, 0.2014])
    # 52.8% is not a fifth more than 50%.
    path = simulate(parse_rule("band:relative"), backtest_settings(history, [0.5, 0.3, 0.2], bps=0))
    assert path.orders.tolist() == [3, 0, 0]
    path = simulate(
        parse_rule("band:relative,band=0.05"), backtest_settings(history, [0.5, 0.3, 0.2], bps=0)
    )
    assert path.orders.tolist() == [3, 3, 0]


def test_edge_of_the_band_is_inside() -> None:
    # A fifth that gains a quarter, cash otherwise: 0.25 of 1.05.
    width = 0.25 / 1.05 - 0.2
    history = table([100], [125])
    for half_width, orders in ((width, 0), (width - 1e-9, 1)):
        rule = parse_rule(f"band:band={half_width!r}")
        assert simulate(rule, backtest_settings(history, [0.2], bps=0)).orders[1] == orders


@pytest.mark.parametrize(
    ("rule", "targets"),
    [
        ("band", [0.015, 0.0]),
        ("band:band=0.5", [0.3, 0.1]),
        ("band:band=1", [0.5, 0.5]),
        ("band:edge,band=1", [0.5, 0.5]),
        ("band:relative,band=1", [0.01, 0.005]),
        ("inverse_volatility", [0.01, 0.005]),
        ("volatility_target:target=0.0001,window=5", [0.5, 0.5]),
    ],
)
def test_first_close_buys_the_targets_with_any_band(rule: str, targets: list[float]) -> None:
    history = prices(2, 30)
    first = 10
    path = simulate(parse_rule(rule), backtest_settings(history, targets, bps=0, first=first))
    book = Book.single(2, targets=np.array(targets), cash=1.0, on=history.dates[first])
    wanted = parse_rule(rule).decide(book, history.until(first)).targets[0]
    assert path.weights[0] == pytest.approx(wanted, abs=1e-15)
    assert path.orders[0] == np.count_nonzero(wanted)


def test_cash_earns_the_risk_free_rate() -> None:
    history = table([100], [100])
    path = simulate(
        parse_rule("buy_and_hold"),
        backtest_settings(history, [0.5], bps=0, risk_free=[9, 0.1, 0.2]),
    )
    assert path.values == pytest.approx([1, 1.05, 0.5 + 0.5 * 1.1 * 1.2])
    # Assets do not.
    path = simulate(
        parse_rule("buy_and_hold"),
        backtest_settings(history, [1.0], bps=0, risk_free=[9, 0.1, 0.2]),
    )
    assert path.values == pytest.approx([1, 1, 1])


def test_rows_before_the_window_serve_as_look_back_only() -> None:
    history = prices(3, 200, seed=5)
    targets = [0.5, 0.3, 0.2]
    for rule in ("monthly", "band", "buy_and_hold"):
        late = simulate(parse_rule(rule), backtest_settings(history, targets, first=120))
        alone = simulate(parse_rule(rule), backtest_settings(history.since(120), targets))
        np.testing.assert_allclose(late.values, alone.values, rtol=1e-13)
        assert late.orders.tolist() == alone.orders.tolist()
        assert len(late.values) == 80


@pytest.mark.parametrize(
    "rule", ["trend:window=60", "risk_parity", "minimum_variance:window=60", "volatility_target"]
)
def test_policy_with_enough_history_uses_it_from_the_first_close(rule: str) -> None:
    history = prices(3, 200, seed=8, volatility=0.02)
    targets = np.array([0.5, 0.3, 0.2])
    needs = parse_rule(rule).lookback
    for first, informed in ((needs - 1, True), (needs - 2, False)):
        path = simulate(parse_rule(rule), backtest_settings(history, targets, bps=0, first=first))
        assert np.allclose(path.weights[0], targets, atol=1e-6) is not informed
        book = Book.single(3, targets=targets, cash=1.0, on=history.dates[first])
        decision = parse_rule(rule).decide(book, history.until(first))
        assert path.weights[0] == pytest.approx(decision.targets[0], abs=1e-12)


@pytest.mark.parametrize("rule", ["trend", "hierarchical_risk_parity", "trend:frequency=yearly"])
def test_policy_without_enough_history_follows_the_monthly_rule(rule: str) -> None:
    history = with_holidays(prices(3, 190, seed=3), 1)
    path, monthly = (
        simulate(parse_rule(name), backtest_settings(history)) for name in (rule, "monthly")
    )
    np.testing.assert_allclose(path.values, monthly.values, rtol=1e-12)
    assert path.orders.tolist() == monthly.orders.tolist()


def test_policy_applies_from_the_first_review_with_enough_history() -> None:
    history = prices(3, 200, seed=3, volatility=0.02)
    path, monthly = (
        simulate(parse_rule(n), backtest_settings(history))
        for n in ("inverse_volatility", "monthly")
    )
    enough = parse_rule("inverse_volatility").lookback - 1
    months = history.dates.astype("datetime64[M]")
    look = next(t for t in range(enough, 200) if months[t] != months[t - 1])
    np.testing.assert_allclose(path.weights[:look], monthly.weights[:look], atol=1e-12)
    assert abs(path.weights[look] - monthly.weights[look]).max() > 0.01


# Laws.


@st.composite
def charged_books(draw: st.DrawFn) -> tuple[Book, CostModel]:
    """Many portfolios, some empty, some all cash, and a cost model."""
    count, assets = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    values = rng.uniform(0, 50_000, (count, assets)) * (rng.random((count, assets)) < 0.7)
    targets = rng.uniform(0, 1, (count, assets)) * (rng.random((count, assets)) < 0.8)
    targets /= np.maximum(targets.sum(axis=1), 1.0)[:, None] * draw(st.sampled_from([1, 1.25]))
    book = a_book(
        targets,
        values,
        cash=rng.uniform(0, 20_000, count) * (rng.random(count) < 0.7),
        as_of="2024-03-01",
        reviewed="2024-02-01",
    )
    flat = st.sampled_from([0.0, 1.0, 10.0, 50.0, 200.0]).map(CostModel.flat)
    return book, draw(flat | st.sampled_from(list(COST_PRESETS.values())))


@pytest.mark.parametrize("rule", ["monthly", *BANDS])
@laws
@given(charged=charged_books())
def test_step_conserves_money(rule: str, charged: tuple[Book, CostModel]) -> None:
    book, costs = charged
    market = prices(book.assets.shape[1], 2)
    decision = parse_rule(rule).decide(book, market)
    done = solve_trades(book, decision, costs.of(market.symbols, Instruments()))
    after = settle(book, done, decision)
    whole = np.maximum(book.total, 1.0)
    np.testing.assert_allclose(
        (after.total + done.costs.sum(axis=1)) / whole, book.total / whole, atol=1e-12
    )
    assert (after.cash >= 0).all()
    assert (after.values >= -1e-9).all()
    assert (after.reviewed == np.where(decision.due, book.as_of, book.reviewed)).all()


@laws
@given(charged=charged_books(), seed=st.integers(0, 100))
def test_book_steps_as_its_single_portfolios(charged: tuple[Book, CostModel], seed: int) -> None:
    book, costs = charged
    rng = np.random.default_rng(seed)
    market = prices(book.assets.shape[1], 2)
    growth = rng.uniform(0.9, 1.1, book.values.shape)
    later = book.as_of + 1
    charges = costs.of(market.symbols, Instruments())
    for rule in ("monthly", "band"):
        chosen = parse_rule(rule)
        together, _ = step(book, chosen.decide(book, market), charges, growth, 1.01, later)
        for row in range(len(book)):
            one = one_of(book, row)
            single, _ = step(
                one, chosen.decide(one, market), charges, growth[row], 1.01, later[row : row + 1]
            )
            whole = max(book.total[row], 1.0)
            np.testing.assert_allclose(
                single.values[0] / whole, together.values[row] / whole, atol=1e-12
            )
            assert single.cash[0] / whole == pytest.approx(together.cash[row] / whole, abs=1e-12)


def test_holdings_and_cash_earn_their_returns() -> None:
    book = Book.single(2, targets=np.array([0.5, 0.5]), cash=10.0, on=np.datetime64("2024-01-02"))
    book = attrs.evolve(book, values=np.array([[100.0, 50.0]]))
    later = drift(book, np.array([1.1, 0.9]), 1.01, np.array(["2024-01-03"], "datetime64[D]"))
    assert later.values[0] == pytest.approx([110, 45])
    assert later.cash[0] == pytest.approx(10.1)
    assert later.as_of[0] == np.datetime64("2024-01-03")


@pytest.mark.parametrize("rule", EVERY)
@settings(laws, max_examples=6)
@given(
    seed=st.integers(0, 1000),
    row=st.integers(0, 88),
    shock=st.sampled_from([1e-3, 0.5, 2.0]),
    as_live=st.booleans(),
)
def test_later_prices_do_not_change_earlier_results(
    rule: str, seed: int, row: int, shock: float, as_live: bool
) -> None:
    history = prices(3, 90, seed=seed, volatility=0.02)
    changed = np.array(history.closes)
    changed[row + 1 :] *= np.exp(
        shock * np.random.default_rng(seed).standard_normal(changed[row + 1 :].shape)
    )
    other = PriceHistory.of(history.symbols, history.dates, changed)
    for first in (0, min(20, row)):
        paths = [
            simulate(parse_rule(rule), backtest_settings(known, first=first, as_live=as_live))
            for known in (history, other)
        ]
        until = row + 1 - first
        for field in attrs.fields_dict(EquityPath):
            before, after = (getattr(path, field)[:until] for path in paths)
            np.testing.assert_array_equal(before, after, err_msg=field)


@pytest.mark.parametrize("rule", EVERY)
def test_simulation_is_deterministic(rule: str) -> None:
    given_ = backtest_settings(prices(3, 90, seed=1, volatility=0.02), risk_free=0.0001)
    paths = [simulate(parse_rule(rule), given_) for _ in range(2)]
    for field in attrs.fields_dict(EquityPath):
        np.testing.assert_array_equal(*(getattr(path, field) for path in paths))


@pytest.mark.parametrize("rule", EVERY)
@pytest.mark.parametrize("costs", [CostModel.flat(10), COST_PRESETS["retail"]])
def test_portfolio_never_borrows_or_sells_short(rule: str, costs: CostModel) -> None:
    history = prices(4, 300, seed=11, volatility=0.03)
    path = simulate(parse_rule(rule), backtest_settings(history, costs=costs))
    assert (path.weights >= 0).all()
    assert (path.weights.sum(axis=1) <= 1 + 1e-12).all()
    assert (path.costs >= 0).all()
    assert ((path.orders > 0) == (path.turnover > 0)).all()


@pytest.mark.parametrize("rule", ["monthly", "band", "band:edge"])
@pytest.mark.parametrize("capital", [1_000.0, 100.0, 30.0])
def test_unaffordable_fees_are_not_charged(rule: str, capital: float) -> None:
    history = prices(4, 300, seed=11, volatility=0.03)
    given_ = backtest_settings(history, costs=COST_PRESETS["full-service"], capital=capital)
    path = simulate(parse_rule(rule), given_)
    assert (path.values > 0).all()
    assert (path.weights >= 0).all()
    assert (path.weights.sum(axis=1) <= 1 + 1e-12).all()


@pytest.mark.parametrize("bps", [1_000, 3_000, 9_000])
def test_costs_can_be_a_large_share_of_trades(bps: float) -> None:
    path = simulate(
        parse_rule("monthly"), backtest_settings(prices(4, 100, volatility=0.03), bps=bps)
    )
    assert (path.weights.sum(axis=1) <= 1 + 1e-12).all()
    assert path.weights.sum(axis=1) == pytest.approx(1, abs=1e-9)


def test_omitted_dust_sales_do_not_fund_purchases() -> None:
    market = prices(5, 2)
    dust = 9e-10
    book = attrs.evolve(
        Book.single(5, targets=np.full(5, 0.2), cash=0.0, on=market.dates[1]),
        values=np.array([[*[0.2 + dust] * 4, 0.2 - 4 * dust]]),
    )
    decision = parse_rule("monthly").decide(book, market)
    done = solve_trades(book, decision, CostModel.flat(0).of(market.symbols, Instruments()))
    assert settle(book, done, decision).cash[0] >= 0


@pytest.mark.parametrize("rule", EVERY)
def test_order_of_assets_does_not_matter(rule: str) -> None:
    targets = np.array([0.3, 0.3, 0.2, 0.1, 0.1])
    for seed in range(3):
        history = prices(5, 250, seed=seed, volatility=0.03)
        order = np.random.default_rng(seed).permutation(5)
        mixed = PriceHistory.of(
            [history.symbols[i] for i in order], history.dates, history.closes[:, order]
        )
        one = simulate(parse_rule(rule), backtest_settings(history, targets))
        other = simulate(parse_rule(rule), backtest_settings(mixed, targets[order]))
        np.testing.assert_allclose(one.values, other.values, rtol=1e-6)
        np.testing.assert_allclose(one.weights[:, order], other.weights, atol=1e-6)
        assert one.orders.tolist() == other.orders.tolist()


@pytest.mark.parametrize("rule", EVERY)
@settings(laws, max_examples=4)
@given(
    seed=st.integers(0, 1000),
    capital=st.sampled_from([50.0, 997.0, 10_000.0, 1e6]),
    costs=st.sampled_from([CostModel.flat(10), CostModel.flat(0), COST_PRESETS["retail"]]),
    share=st.sampled_from([1.0, 0.8]),
)
def test_as_live_holds_whole_shares(
    rule: str, seed: int, capital: float, costs: CostModel, share: float
) -> None:
    history = prices(3, 90, seed=seed, volatility=0.03)
    targets = np.full(3, share / 3)
    given_ = backtest_settings(history, targets, costs=costs, as_live=True, capital=capital)
    path = simulate(parse_rule(rule), given_)
    money = path.values * capital
    quantities = path.weights * money[:, None] / history.closes
    np.testing.assert_allclose(quantities, np.rint(quantities), atol=1e-6)
    assert (path.weights >= 0).all()
    assert (path.weights.sum(axis=1) <= 1 + 1e-12).all()


def test_as_live_trades_coins_in_fractions_and_shares_in_lots() -> None:
    # Steps of 0.001 coins at about 50,000, lots of 10 shares at about 20, whole shares of the last.
    moves = prices(3, 200, seed=4, volatility=0.02)
    closes = moves.closes / moves.closes[0] * [50_000.0, 20.0, 90.0]
    history = PriceHistory.of(("COIN", "LOT", "SHARE"), moves.dates, closes)
    listed = Instruments.of(
        [
            Instrument("COIN", quantity_step=Decimal("0.001")),
            Instrument("LOT", lot_size=Decimal(10)),
        ]
    )
    terms = backtest_settings(history, as_live=True, capital=10_000.0, instruments=listed)
    path = simulate(parse_rule("monthly"), terms)
    money = path.values * 10_000.0
    steps = path.weights * money[:, None] / history.closes / [0.001, 10.0, 1.0]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert steps[-1].min() >= 1
    assert path.weights.sum(axis=1).mean() > 0.98
    # Without a step of its own, the coin is traded in steps of the settings.
    assert (
        not simulate(parse_rule("monthly"), attrs.evolve(terms, instruments=Instruments()))
        .weights[:, 0]
        .any()
    )
    finer = attrs.evolve(terms, instruments=Instruments(), quantity_step=0.0001)
    assert simulate(parse_rule("monthly"), finer).weights[:, 0].min() > 0.25


def test_whole_shares_converge_with_much_money() -> None:
    history = prices(3, 300, seed=2)
    exact = simulate(parse_rule("monthly"), backtest_settings(history))
    live = simulate(parse_rule("monthly"), backtest_settings(history, as_live=True, capital=1e8))
    np.testing.assert_allclose(live.values, exact.values, rtol=1e-5)
    np.testing.assert_allclose(live.weights, exact.weights, atol=1e-5)


@laws
@given(seed=st.integers(0, 1000), unit=st.sampled_from([1e-3, 0.37, 1e5]))
def test_currency_unit_does_not_matter(seed: int, unit: float) -> None:
    history = prices(3, 120, seed=seed, volatility=0.02)
    scaled = PriceHistory.of(history.symbols, history.dates, history.closes * unit)
    for rule in ("monthly", "band", "trend:window=12"):
        one = simulate(parse_rule(rule), backtest_settings(history))
        other = simulate(parse_rule(rule), backtest_settings(scaled, capital=100_000.0 * unit))
        np.testing.assert_allclose(one.values, other.values, rtol=1e-10)
        assert one.orders.tolist() == other.orders.tolist()


# Bad windows.


@pytest.mark.parametrize("first", [8, 9, 10, 11])
def test_window_of_fewer_than_three_rows_is_rejected(first: int) -> None:
    with pytest.raises(InvalidRequest, match="at least 3") as error:
        backtest_settings(prices(2, 10), first=first)
    assert error.value.field == "from"


def test_window_without_any_price_at_its_start_is_rejected() -> None:
    closes = np.array(prices(2, 10).closes)
    closes[:4, 1] = np.nan
    history = PriceHistory.of(["A", "LATE"], prices(2, 10).dates, closes)
    with pytest.raises(InvalidRequest, match=f"LATE.*begin at {history.dates[4]}") as error:
        backtest_settings(history, [0.0, 1.0], first=3)
    assert error.value.field == "from"
    path = simulate(parse_rule("monthly"), backtest_settings(history, [0.0, 1.0], first=4))
    assert np.isfinite(path.values).all()


def test_assets_without_any_price_are_rejected() -> None:
    closes = np.array(prices(2, 10).closes)
    closes[:, 1] = np.nan
    history = PriceHistory.of(["A", "NEVER"], prices(2, 10).dates, closes)
    with pytest.raises(InvalidRequest, match=r"NEVER.*choose other assets") as error:
        backtest_settings(history, [0.0, 1.0])
    assert "begin at" not in str(error.value)


# Performance of a path.


def path_of(values: Sequence[float], **others: object) -> EquityPath:
    count = len(values)
    given_ = {
        "weights": np.ones((count, 1)),
        "costs": np.zeros(count),
        "orders": np.zeros(count, dtype=np.int64),
        "turnover": np.zeros(count),
    } | {name: np.array(value) for name, value in others.items()}
    return EquityPath(np.array(values, dtype=float), **given_)


def year_of(rows: int) -> MeasuredWindow:
    """A year of rows, without interest; two periods count as a year."""
    dates = np.datetime64("2021-01-01") + np.linspace(0, 365, rows).astype(np.int64)
    twice = ObservationFrequency(2, "irregular")
    return MeasuredWindow.of(dates, np.arange(rows), np.zeros(rows - 1), twice)


def window_of(rows: int) -> MeasuredWindow:
    """Rows of trading days, without interest."""
    return backtest_settings(prices(2, rows)).window


def test_performance_by_hand() -> None:
    path = path_of(
        [0.99, 1.089, 0.9801],
        weights=[[0.5, 0.5], [0.4, 0.4], [0.3, 0.3]],
        costs=[0.01, 0.002, 0.0],
        orders=[2, 3, 0],
        turnover=[0.99, 0.25, 0.0],
    )
    baseline = path_of([1.0, 1.05, 1.05 * 0.95])
    # Two closes half a year apart each: a year of 2 periods.
    dates = np.array(["2021-01-01", "2021-07-01", "2022-01-01"], dtype="datetime64[D]")
    twice = ObservationFrequency(2, "irregular")
    window = MeasuredWindow.of(dates, np.arange(3), np.array([0.0, 0.02]), twice)
    found = measure_performance(path, window, baseline)
    assert found.final_value == pytest.approx(0.9801)
    assert found.cagr == pytest.approx(0.9801 - 1)
    # Returns -1% (the costs of the first close), +10% and -10%: mean -1/300.
    mean = -0.01 / 3
    spread = sqrt(((0.01 + mean) ** 2 + (0.1 - mean) ** 2 + (0.1 + mean) ** 2) / 2)
    assert found.volatility == pytest.approx(spread * sqrt(2))
    # In excess of cash -0.01, 0.1 and -0.12: mean -0.01, deviations 0, 0.11 and -0.11.
    assert found.sharpe == pytest.approx(-0.01 / 0.11 * sqrt(2))
    assert found.sortino == pytest.approx(-0.01 / sqrt((0.01**2 + 0.12**2) / 3) * sqrt(2))
    # From 1.089 to 0.9801; the fall from 1 to 0.99 recovers.
    assert found.max_drawdown == pytest.approx(0.1)
    assert found.calmar == pytest.approx((0.9801 - 1) / 0.1)
    assert found.longest_drawdown == 2
    assert found.value_at_risk == pytest.approx(0.1)
    assert found.expected_shortfall == pytest.approx(0.1)
    # After the first close 0.25 and 3 orders in a year.
    assert found.turnover == found.turnover_per_year == pytest.approx(0.25)
    assert found.orders == found.orders_per_year == 3
    # With the first close.
    assert found.cost_paid == pytest.approx(0.012)
    assert found.average_exposure == pytest.approx((1.0 + 0.8 + 0.6) / 3)
    # Differences from the baseline -1%, +5% and -5%.
    spread = sqrt(((0.01 + mean) ** 2 + (0.05 - mean) ** 2 + (0.05 + mean) ** 2) / 2)
    assert found.tracking_error == pytest.approx(spread * sqrt(2))
    assert found.information_ratio == pytest.approx(mean / spread * sqrt(2))


def test_costs_of_the_first_close_count_in_every_figure() -> None:
    # 5% costs at the first close, and prices that do not move: returns -5%, 0 and 0.
    path = path_of([0.95, 0.95, 0.95])
    found = measure_performance(path, year_of(3), path_of([1.0, 1.0, 1.0]))
    assert found.max_drawdown == pytest.approx(0.05)
    assert found.longest_drawdown == 3
    deviation = 0.05 / sqrt(3)
    assert found.volatility == pytest.approx(deviation * sqrt(2))
    assert found.sharpe == pytest.approx(-0.05 / 3 / deviation * sqrt(2))
    assert found.sortino == pytest.approx(-0.05 / 3 / (0.05 / sqrt(3)) * sqrt(2))
    assert found.calmar == pytest.approx(-1)
    assert found.value_at_risk == found.expected_shortfall == pytest.approx(0.05)
    assert found.tracking_error == pytest.approx(deviation * sqrt(2))


def test_figures_a_year_need_a_year() -> None:
    dates = np.datetime64("2021-03-01") + np.array([0, 182, 364])
    for last, known in ((0, False), (1, True)):
        days = dates + np.array([0, 0, last])
        window = MeasuredWindow.of(days, np.arange(3), np.zeros(2), DAILY)
        path = path_of([1.0, 1.05, 1.1], turnover=[1.0, 0.1, 0.0])
        found = measure_performance(path, window, path)
        yearly = (found.cagr, found.calmar, found.turnover_per_year, found.orders_per_year)
        assert [figure is not None for figure in yearly] == [known] * 4
        assert (found.final_value, found.turnover) == pytest.approx((1.1, 0.1))
        assert ("less_than_a_year" in [each.code for each in window.cautions]) == (not known)
    assert found.cagr == pytest.approx(0.1)  # 365 days are one year, not 0.9993


def test_short_window_has_a_caution() -> None:
    codes = [[each.code for each in window_of(rows).cautions] for rows in (60, 61)]
    assert codes == [["short_window", "less_than_a_year"], ["less_than_a_year"]]


def test_performance_is_finite_on_extreme_paths() -> None:
    for values in ([1.0, 1.0, 1e6], [1.0, 2.0, 1e-6], [0.99, 0.99, 0.99]):
        path = path_of(values)
        found = attrs.asdict(measure_performance(path, year_of(len(values)), path))
        assert all(np.isfinite(value) for value in found.values()), found


def test_policies_are_compared_with_the_same_settings() -> None:
    history = prices(3, 120, seed=4)
    named: list[str] = []
    given_ = backtest_settings(history, first=20, risk_free=0.0001)
    found = compare_policies(
        [parse_rule("band"), parse_rule("monthly")],
        given_,
        cautions=[BEWARE],
        progress=named.append,
    )
    assert [result.policy for result in found.results] == named == ["band", "monthly"]
    assert found.dates.tolist() == history.dates[20:].tolist()
    assert (found.symbols, found.cost_label) == (history.symbols, given_.costs.label)
    assert found.cautions == (BEWARE,)
    band, monthly = found.results
    assert monthly.performance.tracking_error == 0
    assert monthly.performance.information_ratio == 0
    assert band.performance.tracking_error > 0
    expected = simulate(parse_rule("band"), given_)
    np.testing.assert_array_equal(band.path.values, expected.values)
    assert band.performance == measure_performance(
        expected, given_.window, simulate(parse_rule(BASELINE), given_)
    )


def test_rounding_error_is_not_a_drawdown() -> None:
    path = path_of([0.99, np.nextafter(0.99, 0), 0.99])
    baseline = measure_performance(path, year_of(3), path)
    assert baseline.max_drawdown == pytest.approx(0.01)


def test_fee_per_order_is_charged_in_money() -> None:
    # 10 an order on 1,000 in two assets: 980 are invested.
    costs = CostModel("ten", Rates(fixed=10))
    path = simulate(
        parse_rule("buy_and_hold"),
        backtest_settings(table([10, 10], [10, 10]), costs=costs, capital=1000),
    )
    assert path.costs == pytest.approx([0.02, 0, 0])
    assert path.values == pytest.approx([0.98] * 3)
    assert path.weights[0] == pytest.approx([0.5, 0.5])


# --- Limits ---------------------------------------------------------------------------------------


def limited(history, **limits):
    assets = len(history.symbols)
    return BacktestSettings(
        prices=history,
        first=260,
        targets=np.full(assets, 0.9 / assets),
        costs=CostModel.flat(10.0),
        risk_free=np.zeros(len(history)),
        instruments=CLASSES,
        **limits,
    )


@pytest.mark.parametrize("name", ["trend:window=50", "inverse_volatility", "volatility_target"])
@pytest.mark.parametrize("most", [0.0, 0.05, 0.3])
def test_departure_is_capped(name, most):
    settings = limited(prices(5, 600, volatility=0.02, seed=3), max_departure=most)
    path = simulate(parse_rule(name), settings)
    looked = path.turnover > 0
    off = path.weights[looked] - settings.targets
    # A band of 2 points and costs separate targets from holdings.
    distance = (np.abs(off).sum(axis=1) + np.abs(off.sum(axis=1))) / 2
    assert looked.sum() > 3 and distance.max() <= most + 0.02 * len(settings.targets)


@pytest.mark.parametrize("name", ["monthly", "band", "buy_and_hold", "band:edge"])
def test_limits_that_do_not_bind_have_no_effect(name):
    history = prices(5, 500, seed=4)
    free, held = limited(history), limited(history, max_departure=0.5)
    assert held.limits.bind and not free.limits.bind
    ours, theirs = simulate(parse_rule(name), held), simulate(parse_rule(name), free)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-12)
    assert (ours.orders == theirs.orders).all()


def test_zero_departure_holds_the_given_targets():
    history = prices(4, 500, seed=5)
    ours = simulate(parse_rule("trend:window=50,band=0"), limited(history, max_departure=0.0))
    theirs = simulate(parse_rule("monthly"), limited(history))
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-12)


@pytest.mark.parametrize("name", ["monthly", "band", "volatility_target"])
def test_profile_limits_hold_after_every_review(name):
    history = prices(5, 600, volatility=0.015, seed=6)
    profile = RISK_PROFILES["cautious"]
    settings = limited(history, profile=profile)
    path = simulate(parse_rule(name), settings)
    equities = CLASSES.equity_mask(history.symbols)
    looked = np.flatnonzero(path.turnover > 0)
    assert len(looked) > 3
    weights = path.weights[looked]
    assert (weights[:, equities].sum(axis=1) <= profile.equity_ceiling + 0.02 * 5).all()
    for row, mix in zip(looked, weights, strict=True):
        returns = history.until(settings.first + row).returns(252)
        volatility = float(np.sqrt(mix @ np.cov(returns, rowvar=False) @ mix * 252))
        assert volatility <= profile.target_volatility * 1.001


def test_departure_above_one_is_rejected():
    with pytest.raises(InvalidRequest) as refused:
        limited(prices(3, 400), max_departure=1.5)
    assert refused.value.field == "max_departure"
