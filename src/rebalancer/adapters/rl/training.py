"""Training: worlds, a warm start, then PPO or DQN (Stable-Baselines3), one network a seed.

Training goes in segments. Each begins with an environment and a random state that follow from the
seed and the segment's number alone, and ends with a checkpoint: so a training that was killed goes
on from its last checkpoint to the same policy as one that was not.

torch and Stable-Baselines3 are imported when training begins, and for nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from rebalancer.adapters.rl.simulation import Simulation, reward
from rebalancer.adapters.rl.worlds import Worlds, worlds
from rebalancer.application.atomic_files import replacing
from rebalancer.application.worker_processes import (
    WorkerProcess,
    serve,
    wait_for_any,
    worker_processes,
)
from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.model_card import TrainingData, TrainingRecord, TrainingStage
from rebalancer.domain.policy.network import Network
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.policy.training import CurvePoint, TrainedPolicy, TrainingPlan

if TYPE_CHECKING:
    from stable_baselines3 import DQN, PPO


PORTFOLIOS = {"ppo": 1_024, "dqn": 256}
"""Environments that step together."""

ROLLOUT = 32
"""Weeks that PPO collects before it learns from them."""

SEGMENT = {"ppo": 4 * ROLLOUT * 1_024, "dqn": 512 * 256}
"""Steps of one segment: what is lost at most when training is killed."""

HELD_OUT = 1_024
"""Portfolios that measure what a policy is worth, in worlds that it does not learn in."""


def train(
    panels: Mapping[str, PriceHistory],
    plan: TrainingPlan,
    out: Path,
    *,
    regimes: RegimeModel,
    chosen_rule: str,
    command: str,
    today: date,
    name: str | None = None,
    progress: Callable[[CurvePoint], None] = lambda _: None,
    drawn: Callable[[int], None] = lambda _: None,
) -> TrainedPolicy:
    """Train one network a seed, or go on where an earlier call was stopped.

    Args:
        panels: Prices by name, cut off where training ends, without bills.
        plan: What to train.
        out: Folder for checkpoints.
        regimes: The model of market regimes.
        chosen_rule: The best rule on the same prices; it also decides where the networks cannot be
            trusted.
        command: What makes the same policy again.
        today: For the record.
        name: Of the policy; that of the algorithm when None.
        progress: Told each point of the learning curves.
        drawn: Told the number of worlds that have come into being.

    Raises:
        InvalidRequest: the folder holds the checkpoints of another training, or prices are too
            short; names the field.
    """
    pin_threads()
    _claim(out, panels, plan, regimes)
    held_out = max(2, plan.worlds // 7)
    prices = list(panels.values())
    learning, judging = (
        worlds(prices, regimes, count=count, seed=seed, progress=drawn)
        for count, seed in ((plan.worlds - held_out, 1), (held_out, 2))
    )
    results = dict(_all_seeds(plan, out, learning, judging, progress))
    curves = [point for seed in plan.seeds for point in results[seed].curve]
    low, high = _seen([results[seed].network for seed in plan.seeds], learning)
    learned = LearnedPolicy(
        name=name or plan.algorithm,
        networks=tuple(results[seed].network for seed in plan.seeds),
        regimes=regimes,
        rule=parse_rule(chosen_rule),
        lowest=low,
        highest=high,
        chosen_rule=chosen_rule,
    )
    return TrainedPolicy(
        learned=learned,
        training=_account(panels, plan, command, today),
        curve=tuple(curves),
        before={seed: results[seed].before for seed in plan.seeds},
        after={seed: results[seed].after for seed in plan.seeds},
    )


def pin_threads() -> None:
    """Let torch use one thread, so that sums are taken in the same order."""
    import torch

    torch.set_num_threads(1)


def mean_reward(network: Network, judging: Worlds, name: str, *, seed: int = 0) -> float:
    """Mean reward a week of a network in worlds that it did not learn in."""
    count = min(HELD_OUT, 4 * len(judging))
    simulation = Simulation(judging, range(seed, seed + count), reward=reward(name))
    total = 0.0
    for _ in range(judging.steps):
        actions = network.actions(simulation.observed.astype(np.float64))
        rewards, _, _ = simulation.step(actions)
        total += float(rewards.mean())
    return total / judging.steps


@attrs.frozen(eq=False)
class _Seed:
    """What one seed came to."""

    network: Network
    curve: tuple[CurvePoint, ...]
    before: float
    after: float


_Report = Callable[[CurvePoint], None]


def _all_seeds(
    plan: TrainingPlan, out: Path, learning: Worlds, judging: Worlds, progress: _Report
) -> Iterator[tuple[int, _Seed]]:
    count = min(plan.workers, len(plan.seeds))
    if count < 2:
        for seed in plan.seeds:
            yield seed, _one_seed(plan, seed, out, learning, judging, progress)
        return
    left = list(plan.seeds)
    shared = (plan, out, learning, judging)  # inherited by a fork: worlds are too large to send
    with worker_processes(count, _train_seeds, *shared, method="fork") as workers:
        busy: dict[WorkerProcess, int] = {}
        while left or busy:
            for worker in workers:
                if left and worker not in busy:
                    busy[worker] = left.pop(0)
                    worker.send(busy[worker])
            for worker in wait_for_any(busy):
                message = worker.receive()
                if isinstance(message, CurvePoint):
                    progress(message)
                elif isinstance(message, Exception):
                    raise message
                else:
                    yield busy.pop(worker), message


def _train_seeds(
    parent: Connection, plan: TrainingPlan, out: Path, learning: Worlds, judging: Worlds
) -> None:
    """Train seeds in a worker process; each point of a learning curve is sent at once."""
    pin_threads()
    serve(parent, lambda seed: _one_seed(plan, seed, out, learning, judging, parent.send))


def _one_seed(
    plan: TrainingPlan, seed: int, out: Path, learning: Worlds, judging: Worlds, progress: _Report
) -> _Seed:
    folder = out / "checkpoints" / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    start, curve = _warm(plan, seed, folder, learning, judging, progress)
    before = mean_reward(start, judging, plan.reward)
    best, after = start, -np.inf
    learner = _Learner(plan, seed, start, learning)
    for number in range(_segments(plan)):
        kept = folder / f"segment-{number + 1:04d}.npz"
        if kept.exists():
            network = _read(kept)
        else:
            network = learner.segment(number, folder)
            _write(kept, network)
            # Not before: killed in between, the segment is done again.
            (folder / f"model-{number:04d}.zip").unlink(missing_ok=True)
        value = mean_reward(network, judging, plan.reward)
        at = (number + 1) * SEGMENT[plan.algorithm]
        point = CurvePoint(
            seed, plan.algorithm, at, _segments(plan) * SEGMENT[plan.algorithm], value
        )
        curve.append(point)
        progress(point)
        # The best of the later half: a lucky early one has hardly been changed by the algorithm.
        if 2 * (number + 1) >= _segments(plan) and value > after:
            best, after = network, value
    return _Seed(best, tuple(curve), before, after)


def _warm(
    plan: TrainingPlan,
    seed: int,
    folder: Path,
    learning: Worlds,
    judging: Worlds,
    progress: _Report,
) -> tuple[Network, list[CurvePoint]]:
    """The network that the algorithm begins with, and how it came about."""
    from rebalancer.adapters.rl.warm_start import warm_start

    kept, told = folder / "warm-start.npz", folder / "warm-start.json"
    if kept.exists() and told.exists():
        curve = [CurvePoint(*point.values()) for point in json.loads(told.read_text())]
        return _read(kept), curve
    curve = []

    def report(iteration: int, value: float) -> None:
        if iteration % 10 == 0 or iteration == plan.warm_start:
            curve.append(CurvePoint(seed, "warm start", iteration, plan.warm_start, value))
            progress(curve[-1])

    network = warm_start(learning, seed=seed, iterations=plan.warm_start, progress=report)
    told.write_text(json.dumps([attrs.asdict(point) for point in curve]))
    _write(kept, network)
    return network, curve


class _Learner:
    """One seed's PPO or DQN, segment after segment."""

    def __init__(self, plan: TrainingPlan, seed: int, start: Network, learning: Worlds) -> None:
        self._plan, self._seed, self._start, self._learning = plan, seed, start, learning

    def segment(self, number: int, folder: Path) -> Network:
        """Learn for one segment, from the checkpoint of the one before; keeps a checkpoint."""
        from stable_baselines3.common.utils import set_random_seed

        from rebalancer.adapters.rl.environment import RebalancingVecEnv

        plan = self._plan
        count = PORTFOLIOS[plan.algorithm]
        base = (self._seed * 1_000 + number) * 10_000 % 2**31
        env = RebalancingVecEnv(
            self._learning,
            reward(plan.reward),
            count,
            seed=base,
            discrete=plan.algorithm == "dqn",
        )
        set_random_seed(base)
        before, after = (folder / f"model-{place:04d}.zip" for place in (number, number + 1))
        if number == 0:
            model = _new(plan, env, self._start, self._learning, self._seed)
        else:
            kind = _kind(plan.algorithm)
            model = kind.load(before, env=env, device=plan.device)
        set_random_seed(base + 1)
        model.learn(SEGMENT[plan.algorithm], reset_num_timesteps=True)
        with replacing(after) as fresh:
            model.save(fresh)
        return network_of(model)


def _kind(algorithm: str) -> Any:
    from stable_baselines3 import DQN, PPO

    return PPO if algorithm == "ppo" else DQN


def _new(plan: TrainingPlan, env: Any, start: Network, learning: Worlds, seed: int) -> PPO | DQN:
    """An untrained model whose network is the warm start's."""
    import torch
    from stable_baselines3 import DQN, PPO

    hidden = [weight.shape[1] for weight in start.weights[:-1]]
    model: PPO | DQN
    if plan.algorithm == "ppo":
        model = PPO(
            "MlpPolicy",
            env,
            n_steps=ROLLOUT,
            batch_size=8_192,
            n_epochs=4,
            learning_rate=5e-5,
            gamma=0.95,
            gae_lambda=0.9,
            clip_range=0.15,
            ent_coef=0.0,
            vf_coef=0.5,
            seed=seed,
            device=plan.device,
            policy_kwargs={
                "net_arch": {"pi": hidden, "vf": [64, 64]},
                "activation_fn": torch.nn.Tanh,
                "log_std_init": -2.0,
            },
        )
        policy: Any = model.policy
        layers = [*_linear(policy.mlp_extractor.policy_net), policy.action_net]
        with torch.no_grad():
            for layer, weight, bias in zip(layers, start.weights, start.biases, strict=True):
                layer.weight.copy_(torch.tensor(weight.T))
                layer.bias.copy_(torch.tensor(bias))
        return model
    model = DQN(
        "MlpPolicy",
        env,
        learning_rate=5e-6,
        buffer_size=400_000,
        learning_starts=20_000,
        batch_size=2_048,
        gamma=0.9,
        train_freq=1,
        gradient_steps=2,
        target_update_interval=8_192,
        exploration_initial_eps=0.05,
        exploration_final_eps=0.05,
        seed=seed,
        device=plan.device,
        policy_kwargs={"net_arch": [64, 64], "activation_fn": torch.nn.Tanh},
    )
    _imitate(model, start, learning, seed)
    return model


_IMITATIONS = 4_000
_PREFERRED = 0.2
"""By how many rewards an action is worth less at first for each squared unit that it lies away from
what the warm start would do. Larger than the truth, so that the noise of a week's reward does not
undo at once what was imitated."""


def _imitate(model: DQN, start: Network, learning: Worlds, seed: int) -> None:
    """Value actions at first by how near they are to what the warm start would do."""
    import torch

    from rebalancer.adapters.rl.environment import GRID

    grid = torch.tensor(GRID, dtype=torch.float32)
    seen = _walked(start, learning, seed)
    wanted = torch.tensor(start.actions(seen), dtype=torch.float32)
    observed = torch.tensor(seen, dtype=torch.float32)
    # Pace, band and patience are the same for all actions of the grid.
    apart = (wanted[:, None, :5] - grid[None, :, :5]).square().sum(2)
    values = -_PREFERRED * apart
    climber = torch.optim.Adam(model.q_net.parameters(), lr=1e-3)
    random = np.random.default_rng([seed, 3])
    for _ in range(_IMITATIONS):
        rows = torch.from_numpy(random.integers(0, len(observed), 512))
        loss = (model.q_net(observed[rows]) - values[rows]).square().mean()
        climber.zero_grad()
        loss.backward()
        climber.step()
    model.q_net_target.load_state_dict(model.q_net.state_dict())


def _walked(network: Network, learning: Worlds, seed: int) -> Floats:
    """(N, `FEATURES`) what a network sees on its way through worlds."""
    simulation = Simulation(learning, range(seed, seed + 512), reward=reward("mean_variance"))
    seen = []
    for _ in range(learning.steps):
        observed = simulation.observed.astype(np.float64)
        seen.append(observed)
        simulation.step(network.actions(observed))
    return np.concatenate(seen)


def _seen(networks: Sequence[Network], learning: Worlds) -> tuple[Floats, Floats]:
    """Least and greatest figures of all that was trained on."""
    market = learning.features.reshape(-1, learning.features.shape[-1]).astype(np.float64)
    walked = np.concatenate([_walked(network, learning, 0) for network in networks])
    width = market.shape[1]
    low = np.concatenate([market.min(axis=0), walked[:, width:].min(axis=0)])
    high = np.concatenate([market.max(axis=0), walked[:, width:].max(axis=0)])
    return low, high


def network_of(model: PPO | DQN) -> Network:
    """The network that serves: PPO's mean action, DQN's values of the grid's actions."""
    from stable_baselines3 import PPO

    from rebalancer.adapters.rl.environment import GRID

    policy: Any = model.policy
    if isinstance(model, PPO):
        layers, grid = [*_linear(policy.mlp_extractor.policy_net), policy.action_net], None
    else:
        layers, grid = _linear(policy.q_net.q_net), GRID
    return Network(
        [layer.weight.detach().cpu().numpy().T for layer in layers],
        [layer.bias.detach().cpu().numpy() for layer in layers],
        grid,
    )


def _linear(stack: Any) -> list[Any]:
    return [layer for layer in stack if hasattr(layer, "weight")]


def _write(path: Path, network: Network) -> None:
    arrays: dict[str, Any] = {f"w{i}": weight for i, weight in enumerate(network.weights)}
    arrays |= {f"b{i}": bias for i, bias in enumerate(network.biases)}
    if network.grid is not None:
        arrays["grid"] = network.grid
    with replacing(path) as fresh:
        np.savez(fresh, **arrays)


def _read(path: Path) -> Network:
    with np.load(path, allow_pickle=False) as arrays:
        count = sum(name.startswith("w") for name in arrays)
        return Network(
            [arrays[f"w{i}"] for i in range(count)],
            [arrays[f"b{i}"] for i in range(count)],
            arrays.get("grid"),
        )


def _segments(plan: TrainingPlan) -> int:
    """Segments that a seed is trained for."""
    return -(-plan.steps // SEGMENT[plan.algorithm])


def _claim(
    out: Path, panels: Mapping[str, PriceHistory], plan: TrainingPlan, regimes: RegimeModel
) -> None:
    """Make sure that a folder's checkpoints are of this training.

    Raises:
        InvalidRequest: they are of another.
    """
    same = attrs.asdict(plan) | {"data": {name: panel.digest for name, panel in panels.items()}}
    arrays = (regimes.start, regimes.transition, regimes.means, regimes.covariances)
    same["regimes"] = [array.tolist() for array in arrays]
    # More steps or seeds go on from what there is; other workers come to the same.
    for free in ("steps", "seeds", "workers"):
        del same[free]
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
    kept = out / "checkpoints" / "training.sha256"
    if kept.exists() and kept.read_text().strip() != digest:
        raise InvalidRequest(
            f"{out} holds checkpoints of another training; name another folder, or remove "
            f"{kept.parent}",
            field="out",
        )
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(digest + "\n")


def _account(
    panels: Mapping[str, PriceHistory], plan: TrainingPlan, command: str, today: date
) -> TrainingRecord:
    stages = [
        TrainingStage("worlds", plan.worlds, "two-year worlds on resampled paths"),
    ]
    if plan.warm_start:
        stages.append(
            TrainingStage("warm start", plan.warm_start, "gradient steps of a smooth simulation")
        )
    if plan.algorithm == "dqn":
        stages.append(
            TrainingStage("imitation", _IMITATIONS, "values near the warm start's actions")
        )
    stages.append(
        TrainingStage(
            plan.algorithm,
            _segments(plan) * SEGMENT[plan.algorithm],
            "steps of the simulation a seed; the best checkpoint of the later half is kept",
        )
    )
    return TrainingRecord(
        algorithm=plan.algorithm,
        created=today,
        stages=tuple(stages),
        data=tuple(
            TrainingData(
                name=name,
                sha256=panel.digest,
                first=panel.dates[0].item(),
                last=panel.dates[-1].item(),
                symbols=len(panel.symbols),
            )
            for name, panel in panels.items()
        ),
        trained_until=max(panel.last_date for panel in panels.values()),
        reward=plan.reward,
        seeds=plan.seeds,
        libraries={
            library: version(library)
            for library in ("numpy", "torch", "stable-baselines3", "gymnasium")
        },
        command=command,
    )
