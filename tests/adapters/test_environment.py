"""Worlds, the simulation that walks through them, and the environments that learners see."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_checker import check_env as sb3_check

from rebalancer.adapters.market_data.sample import SamplePrices
from rebalancer.adapters.rl.environment import (
    RebalancingEnv,
    RebalancingVecEnv,
    discrete_actions,
)
from rebalancer.adapters.rl.rewards import (
    BEYOND_EXPOSURE_PRICE,
    DRAWDOWN_PRICE,
    ORDER_PRICE,
    VARIANCE_PRICE,
    DifferentialSharpe,
    Drawdown,
    DrawdownBeyondExposure,
    MeanVariance,
    StepOutcome,
    make_reward,
)
from rebalancer.adapters.rl.simulation import CHEAPEST, DEAREST, HIGHEST_RATE, RUIN, Simulation
from rebalancer.adapters.rl.worlds import LARGEST, SLOTS, SMALLEST, Worlds, draw_worlds, resampled
from rebalancer.domain.backtest.engine import BacktestSettings, simulate
from rebalancer.domain.backtest.step import step
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.actions import LEAST_INVESTED, interpret_actions
from rebalancer.domain.policy.features import FURTHEST, INPUTS_1, LOOKBACK
from rebalancer.domain.policy.network import Network
from rebalancer.domain.policy.observation import market_features, portfolio_features
from rebalancer.domain.policy.policy import Frequency
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostModel
from tests.builders import names, prices
from tests.networks import REGIMES, a_learned

WEEKS = 6
NAMES = [action.name for action in INPUTS_1.actions]


@cache
def a_few(*, synthetic: float = 0.5, weeks: int = WEEKS, seed: int = 4) -> Worlds:
    """Thirty worlds on one small panel."""
    return draw_worlds([a_panel()], REGIMES, count=30, seed=seed, weeks=weeks, synthetic=synthetic)


@cache
def a_panel() -> PriceHistory:
    """Seven assets, of which the last comes late."""
    closes = np.array(prices(7, LOOKBACK + 90, seed=2, volatility=0.012).closes)
    closes[:30, 6] = np.nan
    return PriceHistory.of(names(7), prices(1, len(closes)).dates, closes)


def by_hand(growth: Any, *, targets: Any = (0.5, 0.5), volatility: float = 0.26) -> Worlds:
    """One world of two assets whose every sleeve is the strategic mix; (L, 2) price relatives."""
    moves = np.array(growth, dtype=np.float32)
    weeks = len(moves)
    wanted = np.zeros((1, 8))
    wanted[0, :2] = targets
    relatives = np.ones((1, weeks, 8), dtype=np.float32)
    relatives[0, :, :2] = moves
    shape = (1, weeks + 1, len(INPUTS_1.sleeves), 8)
    return Worlds(
        targets=wanted,
        present=np.arange(8)[None, :] < 2,
        days=(np.datetime64("2021-06-07") + 7 * np.arange(weeks + 1))[None, :],
        growth=relatives,
        features=np.zeros((1, weeks + 1, len(INPUTS_1.market)), dtype=np.float32),
        sleeves=np.broadcast_to(wanted[:, None, None, :], shape).astype(np.float32),
        volatility=np.full((1, weeks + 1), volatility, dtype=np.float32),
        turnover=np.full((1, weeks + 1), 0.25, dtype=np.float32),
        monthly=np.full((1, weeks), 0.0078125, dtype=np.float32),
        monthly_turnover=np.full((1, weeks), 0.015625, dtype=np.float32),
    )


def crashed(made: Worlds, *, week: int) -> Worlds:
    """The same worlds, but that all assets lose 99.9% in one week."""
    growth = made.growth.copy()
    growth[:, week] = 0.001
    return attrs.evolve(made, growth=growth)


def random_actions(steps: int, count: int, *, seed: int = 0) -> Any:
    return (
        np.random.default_rng(seed)
        .uniform(-1, 1, (steps, count, len(INPUTS_1.actions)))
        .astype("f4")
    )


# Checkers and learners.


@pytest.mark.parametrize("discrete", [False, True])
def test_environments_pass_the_checkers_of_gymnasium_and_sb3(discrete: bool) -> None:
    env = RebalancingEnv(a_few(), make_reward("mean_variance"), discrete=discrete)
    gymnasium_check(env, skip_render_check=True)
    sb3_check(env, warn=True, skip_render_check=True)


def test_sb3_learns_from_many_portfolios_at_once() -> None:
    env = RebalancingVecEnv(a_few(), make_reward("mean_variance"), 16, seed=1)
    ppo = PPO("MlpPolicy", env, n_steps=8, batch_size=64, n_epochs=1, seed=0, device="cpu")
    before = [weight.detach().clone() for weight in ppo.policy.parameters()]
    ppo.learn(256)
    assert ppo.num_timesteps == 256
    after = list(ppo.policy.parameters())
    assert all(bool(weight.isfinite().all()) for weight in after)
    assert any(bool((one != other).any()) for one, other in zip(before, after, strict=True))

    env = RebalancingVecEnv(a_few(), make_reward("drawdown"), 16, seed=1, discrete=True)
    dqn = DQN(
        "MlpPolicy", env, learning_starts=32, batch_size=16, buffer_size=512, seed=0, device="cpu"
    )
    before = [weight.detach().clone() for weight in dqn.q_net.parameters()]
    dqn.learn(192)
    assert dqn.num_timesteps == 192
    after = list(dqn.q_net.parameters())
    assert all(bool(weight.isfinite().all()) for weight in after)
    assert any(bool((one != other).any()) for one, other in zip(before, after, strict=True))
    chosen, _ = dqn.predict(env.reset(), deterministic=True)
    assert chosen.shape == (16,) and (chosen < len(discrete_actions(INPUTS_1))).all()


# One portfolio and many.


@pytest.mark.parametrize("name", ["mean_variance", "differential_sharpe", "drawdown"])
@pytest.mark.parametrize("discrete", [False, True])
def test_vector_environment_equals_single_environments(name: str, discrete: bool) -> None:
    count, seed, steps = 5, 40, 3 * WEEKS + 4
    made = crashed(a_few(), week=3)  # some are ruined on the way, others see their world's end
    many = RebalancingVecEnv(made, make_reward(name), count, seed=seed, discrete=discrete)
    singles = [RebalancingEnv(made, make_reward(name), discrete=discrete) for _ in range(count)]
    seen = many.reset()
    for place, single in enumerate(singles):
        np.testing.assert_array_equal(single.reset(seed=seed + place)[0], seen[place])
    actions = random_actions(steps, count)
    if discrete:
        actions = np.random.default_rng(0).integers(
            0, len(discrete_actions(INPUTS_1)), (steps, count)
        )
    ruined = ended = 0
    for act in actions:
        seen, rewards, done, infos = many.step(act)
        for place, single in enumerate(singles):
            look, worth, terminated, truncated, _ = single.step(act[place])
            assert np.float32(worth) == rewards[place]
            assert bool(done[place]) == (terminated or truncated)
            assert not (terminated and truncated)
            if done[place]:
                assert infos[place]["TimeLimit.truncated"] is truncated
                np.testing.assert_array_equal(infos[place]["terminal_observation"], look)
                look = single.reset()[0]
                ruined, ended = ruined + terminated, ended + truncated
            else:
                assert infos[place] == {}
            np.testing.assert_array_equal(look, seen[place])
    assert ruined and ended


def test_seed_determines_the_path() -> None:
    def way(seed: int, *, again: bool = False) -> Any:
        env = RebalancingVecEnv(
            a_few(), make_reward("mean_variance"), 6, seed=77 if again else seed
        )
        if again:
            env.step(random_actions(1, 6)[0])
            assert env.seed(seed) == list(range(seed, seed + 6))
        first = env.reset()
        steps = [env.step(act) for act in random_actions(2 * WEEKS, 6)]
        return np.array([first, *(one[0] for one in steps)]), np.array([one[1] for one in steps])

    for mine, same in zip(way(3), way(3), strict=True):
        np.testing.assert_array_equal(mine, same)
    for mine, same in zip(way(3), way(3, again=True), strict=True):
        np.testing.assert_array_equal(mine, same)
    # Portfolio 1 of seed 3 has the path of portfolio 0 of seed 4; all other paths differ.
    ours, theirs = way(3)[0], way(4)[0]
    np.testing.assert_array_equal(ours[0, 1:], theirs[0, :-1])
    for place in range(6):
        assert not np.array_equal(ours[:, place], theirs[:, place])


def test_a_reset_without_a_seed_draws_another_world() -> None:
    env = RebalancingEnv(a_few(), make_reward("mean_variance"))
    first, again = env.reset(seed=5)[0], env.reset(seed=5)[0]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(env.reset()[0], first)
    many = RebalancingVecEnv(a_few(), make_reward("mean_variance"), 3, seed=5)
    first = many.reset()
    assert not np.array_equal(many.reset(), first)


def test_returned_arrays_do_not_change_later() -> None:
    many = RebalancingVecEnv(a_few(), make_reward("mean_variance"), 3, seed=5)
    first = many.reset()
    kept = first.copy()
    second = many.step(random_actions(1, 3)[0])[0]
    np.testing.assert_array_equal(first, kept)
    first[:] = 9.0
    second[:] = 9.0
    assert (many.step(random_actions(1, 3)[0])[0] <= FURTHEST).all()


def test_vector_environment_has_only_shared_attributes() -> None:
    many = RebalancingVecEnv(a_few(), make_reward("mean_variance"), 3, seed=5)
    assert many.get_attr("render_mode") == [None] * 3
    assert many.env_is_wrapped(RebalancingEnv, indices=[0, 2]) == [False, False]
    with pytest.raises(NotImplementedError, match="no attributes"):
        many.set_attr("worlds", None)
    with pytest.raises(NotImplementedError, match="no methods"):
        many.env_method("reset")
    with pytest.raises(InvalidRequest, match="a seed is required"):
        many.seed()
    many.close()


# Ruin and the end of the world.


def test_ruin_terminates_and_the_end_of_a_world_truncates() -> None:
    fall = [[1.0, 1.0], [0.04, 0.04], [1.0, 1.0]]
    simulation = Simulation(by_hand(fall), range(40), reward=MeanVariance())
    whole = np.tile(np.zeros(len(INPUTS_1.actions)), (40, 1))
    whole[:, NAMES.index("band")] = whole[:, NAMES.index("patience")] = -1.0
    rewards, ruined, ended = simulation.step(whole)
    assert not ruined.any() and not ended.any()
    rewards, ruined, ended = simulation.step(whole)
    # Each had all in assets, or all but four thousandths: 96% is lost.
    assert (simulation.book.total < RUIN).all() and ruined.all() and not ended.any()
    assert np.isfinite(rewards).all() and np.isfinite(simulation.observed).all()

    # What is ruined in the last week is ruined, not merely at its end; who held cash is not.
    simulation = Simulation(by_hand(fall[:2]), range(40), reward=MeanVariance())
    careful = whole.copy()
    careful[20:, NAMES.index("risk")] = -1.0
    simulation.step(careful)
    _, ruined, ended = simulation.step(careful)
    assert ruined.tolist() == [True] * 20 + [False] * 20
    assert ended.tolist() == [False] * 20 + [True] * 20


def test_end_of_episode_is_terminal_or_truncated() -> None:
    made = crashed(a_few(), week=2)
    many = RebalancingVecEnv(made, make_reward("mean_variance"), 40, seed=0)
    many.reset()
    whole = np.zeros((40, len(INPUTS_1.actions)), dtype=np.float32)
    whole[20:, NAMES.index("risk")] = -1.0
    for week in range(WEEKS):
        _, _, done, infos = many.step(whole)
        kinds = [info.get("TimeLimit.truncated") for info in infos]
        assert [kind is not None for kind in kinds] == done.tolist()
        if week == 2:
            assert done[:20].any() and not done[20:].any()
            assert not any(kinds)
        if week == WEEKS - 1:
            assert done[20:].all() and all(kinds[20:])
    assert all(
        info["terminal_observation"].shape == (len(INPUTS_1.features),) for info in infos[20:]
    )


# No second accounting.


def test_a_step_by_hand() -> None:
    """Both assets stand at half of what is invested; the least share of the targets is wanted."""
    simulation = Simulation(by_hand([[1.25, 0.5], [1.0, 1.0]]), [7], reward=MeanVariance())
    drawn = np.random.default_rng(7).random(6)
    rate = CHEAPEST * (DEAREST / CHEAPEST) ** drawn[1] * 1e-4
    interest = (1.0 + HIGHEST_RATE * drawn[3]) ** (1 / 52)
    share = 1.0 if drawn[4] < 0.5 else 0.3 + 0.7 * drawn[5]
    action = np.zeros(len(INPUTS_1.actions)).copy()
    action[NAMES.index("risk")] = -1.0
    action[NAMES.index("band")] = action[NAMES.index("patience")] = -1.0
    simulation.step(action[None])
    wanted = LEAST_INVESTED / 2
    moved = wanted - share / 2
    cost = rate * 2 * abs(moved)
    book = simulation.book
    np.testing.assert_allclose(
        book.values[0, :2], [wanted * 1.25 / interest, wanted * 0.5 / interest], rtol=0, atol=1e-12
    )
    assert book.cash[0] == pytest.approx(1.0 - share - 2 * moved - cost, abs=1e-12)
    assert book.cost_rate[0] == pytest.approx(rate, rel=1e-15)
    assert book.as_of[0] == book.reviewed[0] + 7 == np.datetime64("2021-06-14")


@pytest.mark.parametrize("seed", range(8))
def test_a_step_is_the_domains_step_costs_included(seed: int) -> None:
    made = a_few()
    simulation = Simulation(made, [seed], reward=MeanVariance())
    drawn = np.random.default_rng(seed).random(6)
    world = int(drawn[0] * len(made))
    bps = CHEAPEST * (DEAREST / CHEAPEST) ** drawn[1]
    share = 1.0 if drawn[4] < 0.5 else 0.3 + 0.7 * drawn[5]
    book = Book.single(
        SLOTS, targets=made.targets[world], cash=1.0, on=np.datetime64(made.days[world, 0])
    )
    held = made.targets[world] * share
    book = attrs.evolve(book, values=held[None], cash=np.array([1.0 - held.sum()]))
    charges = CostModel.flat(bps).of(names(SLOTS), Instruments())
    paid = 0.0
    for week, action in enumerate(random_actions(WEEKS, 1, seed=seed).astype(np.float64)):
        sleeves = made.sleeves[world, week].astype(np.float64)[None]
        decision = interpret_actions(action, book, sleeves, np.array([True]), INPUTS_1)
        growth = made.growth[world, week] / (1.0 + HIGHEST_RATE * drawn[3]) ** (1 / 52)
        book, done = step(book, decision, charges, growth, 1.0, made.days[world, week + 1 :][:1])
        simulation.step(action)
        paid += done.costs.sum()
        np.testing.assert_allclose(simulation.book.values, book.values, rtol=0, atol=1e-12)
        np.testing.assert_allclose(simulation.book.cash, book.cash, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(simulation.book.traded, book.traded)
        seen = np.concatenate(
            [made.features[world, week + 1], portfolio_features(simulation.book)[0]]
        )
        np.testing.assert_array_equal(simulation.observed[0], seen.astype(np.float32))
    assert paid > 0


@settings(max_examples=40)
@given(dice=st.integers(0, 10_000), size=st.sampled_from([0.1, 0.5, 1.0, 5.0]))
def test_money_is_conserved(dice: int, size: float) -> None:
    """What is there after a week was there before, or gained, less what trading cost."""
    made, random = a_few(), np.random.default_rng(dice)
    simulation = Simulation(made, range(dice, dice + 8), reward=MeanVariance())
    for _ in range(WEEKS - 1):
        before, week = simulation.book, int(simulation.week[0])
        growth = made.growth[simulation.world, week] / simulation.cash_growth[:, None]
        simulation.step(random.normal(0, size, (8, len(INPUTS_1.actions))))
        after = simulation.book
        held = after.values / growth
        gains = (held * (growth - 1.0)).sum(axis=1)
        costs = before.cost_rate * np.abs(held - before.values).sum(axis=1)
        np.testing.assert_allclose(after.total, before.total + gains - costs, rtol=0, atol=1e-12)
        assert (after.values >= 0).all() and (after.cash >= 0).all()
        assert not after.values[~after.present].any()


# The neutral action is a rule.


def neutral_policy() -> Any:
    """A network that always answers zeros."""
    layer = np.zeros((len(INPUTS_1.features), len(INPUTS_1.actions)))
    nothing = Network(weights=(layer,), biases=(np.zeros(len(INPUTS_1.actions)),))
    far = np.full(len(INPUTS_1.features), FURTHEST)
    # The rule that it falls back on is another one, so that falling back would show.
    return a_learned(networks=(nothing,), lowest=-far, highest=far, rule=parse_rule("monthly"))


@pytest.mark.parametrize("panel", ["synthetic", "stocks", "factors"])
def test_neutral_networks_are_the_weekly_band_rule(panel: str) -> None:
    if panel == "synthetic":
        market = prices(6, LOOKBACK + 400, seed=12, volatility=0.015)
    else:
        market = SamplePrices(panel).closes(days=LOOKBACK + 500)  # type: ignore[arg-type]
    count = len(market.symbols)
    targets = np.arange(1.0, count + 1)
    settings = BacktestSettings(
        prices=market,
        first=LOOKBACK + 5,
        targets=0.95 * targets / targets.sum(),
        costs=CostModel.flat(10.0),
        risk_free=np.full(len(market), 0.00005),
    )
    ours = simulate(neutral_policy(), settings)
    rule = simulate(parse_rule("band:frequency=weekly"), settings)
    np.testing.assert_allclose(ours.values, rule.values, rtol=1e-12)
    np.testing.assert_allclose(ours.weights, rule.weights, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.costs, rule.costs, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ours.orders, rule.orders)
    assert rule.orders[1:].sum() > 5


def test_the_neutral_action_is_the_weekly_band_rule_in_the_simulation() -> None:
    made = a_few()
    simulation = Simulation(made, range(12), reward=MeanVariance())
    rule, nowhere = parse_rule("band:frequency=weekly"), prices(1, 2)
    book = simulation.book
    traded = 0
    for week in range(WEEKS):
        growth = made.growth[simulation.world, week] / simulation.cash_growth[:, None]
        days = made.days[simulation.world, week + 1]
        decision = rule.decide(book, nowhere)
        assert decision.due.all()
        book, done = step(book, decision, simulation.charges, growth, 1.0, days)
        traded += int(done.count.sum())
        simulation.step(np.zeros((12, len(INPUTS_1.actions))))
        np.testing.assert_allclose(simulation.book.values, book.values, rtol=0, atol=1e-12)
        np.testing.assert_allclose(simulation.book.cash, book.cash, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(simulation.book.traded, book.traded)
    assert traded


# Worlds.


def test_worlds_are_feasible_and_within_range() -> None:
    made = draw_worlds([prices(40, LOOKBACK + 60, seed=1)], REGIMES, count=60, seed=2, weeks=WEEKS)
    used = made.present.sum(axis=1)
    assert len(made) == 60 and made.steps == WEEKS
    assert used.min() >= SMALLEST and used.max() <= LARGEST and len(set(used.tolist())) > 10
    assert (made.targets[made.present] > 0).all() and not made.targets[~made.present].any()
    sums = made.targets.sum(axis=1)
    assert (sums <= 1 + 1e-12).all() and (sums >= 0.7 - 1e-12).all()
    assert (sums < 0.999).any() and (sums > 0.999).any()
    assert np.isfinite(made.features).all() and (np.abs(made.features) <= FURTHEST).all()
    assert np.ptp(made.features, axis=(0, 1)).min() > 0
    assert np.isfinite(made.sleeves).all() and (made.sleeves >= 0).all()
    assert (made.sleeves.sum(axis=3) <= sums[:, None, None] + 1e-5).all()
    absent = np.broadcast_to(~made.present[:, None, None, :], made.sleeves.shape)
    assert not made.sleeves[absent].any()
    assert np.isfinite(made.growth).all() and (made.growth > 0).all()
    assert (made.growth.transpose(0, 2, 1)[~made.present] == 1).all()
    assert (made.volatility > 0.01).all()
    weeks = Frequency.WEEKLY.period(made.days.ravel()).reshape(made.days.shape)
    assert (np.diff(weeks, axis=1) >= 1).all()


def columns_of(made: Worlds, panel: PriceHistory, world: int) -> list[int]:
    """Which asset of a real panel is in each used slot of a world."""
    rows = np.searchsorted(panel.dates, made.days[world])
    assert (panel.dates[rows] == made.days[world]).all()
    relatives = panel.closes[rows[1:]] / panel.closes[rows[:-1]]
    found = []
    for slot in np.flatnonzero(made.present[world]):
        same = np.abs(relatives - made.growth[world, :, slot, None]).max(axis=0) < 1e-6
        assert same.sum() == 1
        found.append(int(np.argmax(same)))
    return found


def test_learners_see_in_worlds_what_policies_are_shown_in_service() -> None:
    panel, made = a_panel(), a_few(synthetic=0.0)
    for world in range(0, len(made), 3):
        columns = columns_of(made, panel, world)
        assert len(set(columns)) == len(columns)
        for look in (0, WEEKS):
            market = panel.until(int(np.searchsorted(panel.dates, made.days[world, look])))
            book = Book.single(
                len(columns),
                targets=made.targets[world, : len(columns)],
                cash=1.0,
                on=np.datetime64(made.days[world, look]),
            )
            seen = market_features(attrs.evolve(book, assets=np.array([columns])), market, REGIMES)
            assert seen.known.all()
            np.testing.assert_allclose(made.features[world, look], seen.features[0], atol=1e-5)
            sleeves = made.sleeves[world, look, :, : len(columns)]
            np.testing.assert_allclose(sleeves, seen.sleeves[0], atol=1e-6)
            assert made.volatility[world, look] == pytest.approx(seen.volatility[0], rel=1e-5)


def test_the_monthly_rule_of_a_world_is_the_monthly_rule() -> None:
    made = a_few(synthetic=0.0)
    for world in range(5):
        values = made.targets[world].copy()
        cash, months = 1.0 - values.sum(), made.days[world].astype("datetime64[M]")
        for week in range(WEEKS):
            total, moved = values.sum() + cash, 0.0
            if week == 0 or months[week] > months[week - 1]:
                aims = total * made.targets[world]
                bought = np.maximum(aims - values, 0).sum()
                moved = max(bought, bought - (aims - values).sum()) / total
                values, cash = aims, total - aims.sum()
            values = values * made.growth[world, week]
            gained = (values.sum() + cash) / total - 1.0
            assert made.monthly[world, week] == pytest.approx(gained, abs=1e-6)
            assert made.monthly_turnover[world, week] == pytest.approx(moved, abs=1e-6)


def test_nothing_is_seen_before_it_happens() -> None:
    panel = a_panel()
    last = LOOKBACK + 40
    closes = np.array(panel.closes)
    closes[last + 1 :] *= np.random.default_rng(0).uniform(0.5, 2.0, closes[last + 1 :].shape)
    other = PriceHistory.of(panel.symbols, panel.dates, closes)
    one = a_few(synthetic=0.0)
    two = draw_worlds([other], REGIMES, count=30, seed=4, weeks=WEEKS, synthetic=0.0)
    np.testing.assert_array_equal(one.days, two.days)
    np.testing.assert_array_equal(one.targets, two.targets)
    before = one.days <= panel.dates[last]
    assert before.any() and not before.all()
    for name in ("features", "sleeves", "volatility"):
        mine, theirs = getattr(one, name), getattr(two, name)
        np.testing.assert_array_equal(mine[before], theirs[before])
        assert not np.array_equal(mine[~before], theirs[~before])
    np.testing.assert_array_equal(one.growth[before[:, 1:]], two.growth[before[:, 1:]])


def test_worlds_follow_from_their_seed() -> None:
    one, same, other = (
        draw_worlds([a_panel()], REGIMES, count=12, seed=seed, weeks=WEEKS) for seed in (1, 1, 2)
    )
    for field in attrs.fields(Worlds):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(same, field.name))
    assert not np.array_equal(one.features, other.features)


def test_each_panel_is_used_equally_often_and_progress_is_reported() -> None:
    told: list[int] = []
    panels = [prices(5, LOOKBACK + 60, seed=1), prices(30, LOOKBACK + 60, seed=2)]
    made = draw_worlds(panels, REGIMES, count=21, seed=0, weeks=WEEKS, progress=told.append)
    assert len(made) == sum(told) == 21
    assert int((made.present.sum(axis=1) > 5).sum()) <= 11
    joined = Worlds.joined([made, a_few()])
    assert len(joined) == 51
    np.testing.assert_array_equal(joined.growth[21:], a_few().growth)


def test_an_asset_is_in_a_world_only_with_a_year_behind_it() -> None:
    panel, made = a_panel(), a_few(synthetic=0.0)
    late = panel.dates[30 + LOOKBACK - 1]
    with_it = [world for world in range(len(made)) if 6 in columns_of(made, panel, world)]
    assert with_it
    assert all(made.days[world, 0] >= late for world in with_it)


def test_panels_that_are_too_short_are_refused_in_words() -> None:
    with pytest.raises(InvalidRequest, match="has 280 rows; training needs a year") as refused:
        draw_worlds([prices(3, 280)], REGIMES, count=2, seed=0, weeks=WEEKS)
    assert refused.value.field == "prices"
    closes = np.array(prices(2, LOOKBACK + 60).closes)
    closes[:200] = np.nan
    young = PriceHistory.of(names(2), prices(1, len(closes)).dates, closes)
    with pytest.raises(InvalidRequest, match="no asset has a year of prices"):
        draw_worlds([young], REGIMES, count=2, seed=0, weeks=WEEKS, synthetic=0.0)
    with pytest.raises(InvalidRequest, match="no asset has prices on all days"):
        resampled(young, seed=0)


@pytest.mark.parametrize(("assets", "left"), [(1, 1), (7, 7), (45, 40)])
def test_a_resampled_path_has_the_shape_of_a_panel(assets: int, left: int) -> None:
    panel = prices(assets, 400, seed=3)
    path = resampled(panel, seed=9, rows=700)
    assert path.closes.shape == (700, left)
    assert set(path.symbols) <= set(panel.symbols)
    assert (path.closes > 0).all() and np.isfinite(path.closes).all()
    np.testing.assert_array_equal(path.closes, resampled(panel, seed=9, rows=700).closes)
    assert not np.array_equal(path.closes, resampled(panel, seed=10, rows=700).closes)


def test_a_resampled_path_keeps_risk_and_not_returns() -> None:
    # An asset that cannot lose, one that cannot win, and a third that mirrors the second.
    dice = np.random.default_rng(1).normal(0, 1, (800, 2))
    moves = np.column_stack(
        [0.01 + 0.01 * dice[:, 0], -0.002 + 0.02 * dice[:, 1], -0.01 * dice[:, 1]]
    )
    panel = PriceHistory.of(names(3), prices(1, 800).dates, 100.0 * np.cumprod(1.0 + moves, axis=0))
    ratios = []
    for seed in range(20):
        path = resampled(panel, seed=seed).closes
        returns = path[1:] / path[:-1] - 1.0
        deviation = returns.std(axis=0)
        assert ((deviation > 0.002) & (deviation < 0.08)).all()
        assert np.corrcoef(returns.T)[1, 2] == pytest.approx(-1.0, abs=1e-6)
        ratios.append(returns.mean(axis=0) / deviation * np.sqrt(252))
    # Sharpe ratios of 16 and -1.6 in the panel; of the order of a half in the paths.
    assert (np.abs(np.mean(ratios, axis=0)) < 1.2).all()


def test_an_asset_that_is_not_always_there_is_left_out_of_a_path() -> None:
    assert resampled(a_panel(), seed=0).symbols == names(6)


def test_a_resampled_path_of_wild_prices_still_has_prices() -> None:
    wild = resampled(prices(3, 300, seed=4, volatility=0.4), seed=1, rows=3_000)
    assert (wild.closes > 0).all() and np.isfinite(wild.closes).all()


# Rewards.


def passed(**changes: Any) -> StepOutcome:
    """One step of two portfolios."""
    figures = {
        "gained": [2.0, -1.0],
        "monthly": [1.0, 0.5],
        "turnover": [0.5, -0.25],
        "risk_aversion": [4.0, 10.0],
        "fall": [0.0, 1.5],
        "monthly_fall": [0.25, 0.5],
        "exposure": [0.8, 0.5],
        "orders": [0.5, -0.25],
    }
    return StepOutcome(**{name: np.array(value) for name, value in {**figures, **changes}.items()})


def test_the_mean_variance_reward_by_hand() -> None:
    # A gain of 1, squares of 4 and 1, half of an aversion of 4; -1.5, 1 and 0.25, half of 10.
    expected = [1 - VARIANCE_PRICE * 2 * 3 - 0.2 * 0.5, -1.5 - VARIANCE_PRICE * 5 * 0.75 + 0.05]
    np.testing.assert_allclose(MeanVariance(turnover_price=0.2)(passed()), expected, atol=1e-15)
    alike = passed(gained=[1.0, 0.5], turnover=[0.0, 0.0])
    assert MeanVariance()(alike).tolist() == [0.0, 0.0]


def test_the_drawdown_reward_by_hand() -> None:
    plain = MeanVariance()(passed())
    # A quarter less deep than the monthly rule at an aversion of 4; 1 deeper at 10.
    expected = [plain[0] + DRAWDOWN_PRICE * 0.25, plain[1] - DRAWDOWN_PRICE * 2.5]
    np.testing.assert_allclose(Drawdown()(passed()), expected, atol=1e-15)


def test_the_differential_sharpe_reward_by_hand() -> None:
    judge = DifferentialSharpe(memory=0.5, turnover_price=0.2)
    judge.begin(np.arange(2), 2)
    # Both begin at A = 0.1 and B = 1, where (B - A^2)^1.5 = 0.99^1.5.
    ours = [1.9 - 0.1 * 3.0 / 2, -1.1 - 0.1 * 0.0 / 2]
    monthly = [0.9 - 0.1 * 0.0 / 2, 0.4 - 0.1 * -0.75 / 2]
    expected = (np.array(ours) - monthly) / 0.99**1.5 - 0.2 * np.array([0.5, -0.25])
    np.testing.assert_allclose(judge(passed()), expected, atol=1e-14)


def test_differential_sharpe_is_moodys_and_saffells() -> None:
    """Equation 5 step by step, and as what it is: the slope of the Sharpe ratio in the memory."""
    eta, dice = 1 / 52, np.random.default_rng(3)
    ours, theirs = dice.normal(0.2, 1.0, (2, 120, 3))
    judge = DifferentialSharpe(memory=eta, turnover_price=0.0)
    judge.begin(np.arange(3), 3)
    known = {(path, row): (0.1, 1.0) for path in range(2) for row in range(3)}
    for week in range(120):
        if week == 60:  # one starts again, the others continue
            judge.begin(np.array([1]), 3)
            known[0, 1] = known[1, 1] = (0.1, 1.0)
        still = np.zeros(3)
        found = judge(
            passed(
                gained=ours[week],
                monthly=theirs[week],
                turnover=still,
                risk_aversion=still,
                fall=still,
                monthly_fall=still,
                exposure=still,
                orders=still,
            )
        )
        for row in range(3):
            gains = []
            for path, returns in enumerate((ours[week, row], theirs[week, row])):
                a, b = known[path, row]
                rise, widening = returns - a, returns**2 - b
                gains.append((b * rise - 0.5 * a * widening) / (b - a**2) ** 1.5)
                tiny = 1e-7
                later = (a + tiny * rise) / (b + tiny * widening - (a + tiny * rise) ** 2) ** 0.5
                slope = (later - a / (b - a**2) ** 0.5) / tiny
                assert gains[-1] == pytest.approx(slope, rel=1e-4, abs=1e-5)
                known[path, row] = (a + eta * rise, b + eta * widening)
            assert found[row] == pytest.approx(gains[0] - gains[1], abs=1e-12)


def test_drawdown_beyond_exposure_by_hand() -> None:
    # Falls of 0 and 1.5, less 0.8 times 0.25 and 0.5 times 0.5; aversions of 4 and 10.
    beyond = np.array([-0.2, 1.25]) * [1.0, 2.5]
    expected = MeanVariance()(passed()) - BEYOND_EXPOSURE_PRICE * beyond
    expected -= ORDER_PRICE * np.array([0.5, -0.25])
    np.testing.assert_allclose(DrawdownBeyondExposure()(passed()), expected, atol=1e-15)


def test_unknown_reward_lists_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="mean_variance, differential_sharpe, drawdown") as no:
        make_reward("profit")
    assert no.value.field == "reward"
    assert isinstance(make_reward("drawdown"), Drawdown)


def test_outcome_of_a_week_by_hand() -> None:
    """A mix that is the strategic one in every sleeve, held as it should be: nothing is traded."""
    told: list[StepOutcome] = []

    class Listening(MeanVariance):
        def __call__(self, passed: StepOutcome) -> Any:
            told.append(passed)
            return super().__call__(passed)

    seed = next(s for s in range(20) if np.random.default_rng(s).random(6)[4] < 0.5)
    drawn = np.random.default_rng(seed).random(6)
    simulation = Simulation(
        by_hand([[0.75, 0.75], [1.25, 1.25]], volatility=0.5), [seed], reward=Listening()
    )
    for _ in range(2):
        simulation.step(np.zeros((1, len(INPUTS_1.actions))))
    unit = 0.5 / np.sqrt(52)
    interest = (1.0 + HIGHEST_RATE * drawn[3]) ** (1 / 52)
    rate = simulation.book.cost_rate[0]
    down, up = 0.75 / interest, 1.25 / interest
    monthly = 1.0078125 / interest - 1.0 - 2 * 0.015625 * rate
    first, second = told
    assert first.gained[0] == pytest.approx((down - 1) / unit, abs=1e-12)
    assert second.gained[0] == pytest.approx((up - 1) / unit, abs=1e-12)
    assert first.monthly[0] == second.monthly[0] == pytest.approx(monthly / unit, abs=1e-12)
    assert first.turnover[0] == pytest.approx(-0.015625 / unit, abs=1e-12)
    assert first.fall[0] == pytest.approx((1 - down) / unit, abs=1e-12)
    assert second.fall[0] == 0.0  # it recovers in part; without a deeper fall the price is 0
    assert first.monthly_fall[0] == 0.0
    assert first.exposure[0] == second.exposure[0] == pytest.approx(1.0, abs=1e-12)
    assert first.orders[0] == pytest.approx(-12 / 52)
