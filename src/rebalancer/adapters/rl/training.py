"""Training: worlds, a warm start, then a learning algorithm, one network for each seed.

Training proceeds in segments. The environment and the random state of a segment depend only on the
seed and the segment's number, and each segment ends with a checkpoint. So an interrupted training
continues from its last checkpoint and gives the same policy as an uninterrupted one.

The algorithms import torch and Stable-Baselines3 when training begins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import numpy as np

from rebalancer.adapters.rl.algorithms import Algorithm, find_algorithm
from rebalancer.adapters.rl.rewards import make_reward
from rebalancer.adapters.rl.simulation import Simulation, observed_along
from rebalancer.adapters.rl.weights import network_arrays
from rebalancer.adapters.rl.worlds import Worlds, draw_worlds
from rebalancer.application.atomic_files import replacing
from rebalancer.application.ports.engine import Engine
from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.model_card import TrainingData, TrainingRecord, TrainingStage
from rebalancer.domain.policy.network import Network
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.policy.training import CurvePoint, TrainedPolicy, TrainingPlan

HELD_OUT = 1_024
"""Portfolios that measure the mean reward of a policy, in held-out worlds."""

_Report = Callable[[CurvePoint], None]


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
    progress: _Report = lambda _: None,
    drawn: Callable[[int], None] = lambda _: None,
    engine: Engine,
) -> TrainedPolicy:
    """See `Trainer.train`; the policy has the algorithm's name if ``name`` is None.

    The engine trains the seeds.
    """
    pin_threads()
    claim = _claim_folder(out, panels, plan, regimes)
    held_out = max(2, plan.worlds // 7)
    prices = list(panels.values())
    learning, judging = (
        draw_worlds(prices, regimes, count=count, seed=seed, inputs=plan.inputs, progress=drawn)
        for count, seed in ((plan.worlds - held_out, 1), (held_out, 2))
    )
    shared = (plan, out.resolve(), claim, learning, judging)
    trained = engine.map(
        _train_seed_anywhere, plan.seeds, *shared, most=plan.workers, progress=progress
    )
    results = {plan.seeds[index]: result for index, result in trained}
    networks = tuple(results[seed].network for seed in plan.seeds)
    lowest, highest = _trained_range(networks, learning)
    return TrainedPolicy(
        learned=LearnedPolicy(
            name=name or plan.algorithm,
            networks=networks,
            regimes=regimes,
            rule=parse_rule(chosen_rule),
            lowest=lowest,
            highest=highest,
            chosen_rule=chosen_rule,
            inputs=learning.inputs,
        ),
        training=_training_record(panels, plan, command, today),
        curve=tuple(point for seed in plan.seeds for point in results[seed].curve),
        before={seed: results[seed].before for seed in plan.seeds},
        after={seed: results[seed].after for seed in plan.seeds},
    )


def pin_threads() -> None:
    """Let torch use one thread, so that it always adds in the same order."""
    import torch

    torch.set_num_threads(1)


def mean_reward(network: Network, judging: Worlds, reward: str, *, seed: int = 0) -> float:
    """Measure the mean weekly reward of a network in held-out worlds."""
    count = min(HELD_OUT, 4 * len(judging))
    simulation = Simulation(judging, range(seed, seed + count), reward=make_reward(reward))
    total = 0.0
    for _ in range(judging.steps):
        actions = network.actions(simulation.observed.astype(np.float64))
        rewards, _, _ = simulation.step(actions)
        total += float(rewards.mean())
    return total / judging.steps


@attrs.frozen(eq=False)
class _SeedResult:
    """Outcome of one seed; see `TrainedPolicy`."""

    network: Network
    curve: tuple[CurvePoint, ...]
    before: float
    after: float


def _train_seed_anywhere(
    seed: int,
    report: _Report,
    plan: TrainingPlan,
    out: Path,
    claim: str,
    learning: Worlds,
    judging: Worlds,
) -> _SeedResult:
    """Train a seed in any process, also of another machine.

    Checkpoints are in the folder of the training if this machine has it, else in a temporary one.
    """
    pin_threads()
    stated = _claim_file(out)
    if stated.exists() and stated.read_text().strip() == claim:
        return _train_seed(plan, seed, out, learning, judging, report)
    with TemporaryDirectory(prefix="rebalancer-training-") as folder:
        return _train_seed(plan, seed, Path(folder), learning, judging, report)


def _train_seed(
    plan: TrainingPlan, seed: int, out: Path, learning: Worlds, judging: Worlds, progress: _Report
) -> _SeedResult:
    folder = out / "checkpoints" / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    start, curve = _start_warm(plan, seed, folder, learning, progress)
    before = mean_reward(start, judging, plan.reward)
    algorithm, segments = find_algorithm(plan.algorithm), _segments(plan)
    unchanged = algorithm.unchanged(start, learning.inputs)
    best, after = (start, -np.inf) if unchanged is None else (unchanged, before)
    for number in range(segments):
        checkpoint = folder / f"segment-{number + 1:04d}.npz"
        if checkpoint.exists():
            network = _load_network(checkpoint)
        else:
            network = _train_segment(algorithm, plan, seed, number, folder, start, learning)
            _save_network(checkpoint, network)
            # Only now: an interrupted segment needs the model again.
            (folder / f"model-{number:04d}.zip").unlink(missing_ok=True)
        reward = mean_reward(network, judging, plan.reward)
        steps = algorithm.segment
        point = CurvePoint(seed, plan.algorithm, (number + 1) * steps, segments * steps, reward)
        curve.append(point)
        progress(point)
        # The best of the later half: the algorithm has hardly changed an early lucky network.
        if 2 * (number + 1) >= segments and reward > after:
            best, after = network, reward
    return _SeedResult(best, tuple(curve), before, after)


def _start_warm(
    plan: TrainingPlan, seed: int, folder: Path, learning: Worlds, progress: _Report
) -> tuple[Network, list[CurvePoint]]:
    """Return the network that the algorithm begins with, and its learning curve."""
    from rebalancer.adapters.rl.warm_start import warm_start

    checkpoint, record = folder / "warm-start.npz", folder / "warm-start.json"
    if checkpoint.exists() and record.exists():
        points = json.loads(record.read_text())
        return _load_network(checkpoint), [CurvePoint(*point.values()) for point in points]
    curve = []

    def report(iteration: int, reward: float) -> None:
        if iteration % 10 == 0 or iteration == plan.warm_start:
            curve.append(CurvePoint(seed, "warm start", iteration, plan.warm_start, reward))
            progress(curve[-1])

    network = warm_start(
        learning,
        seed=seed,
        iterations=plan.warm_start,
        reward=plan.reward,
        progress=report,
    )
    record.write_text(json.dumps([attrs.asdict(point) for point in curve]))
    _save_network(checkpoint, network)
    return network, curve


def _train_segment(
    algorithm: Algorithm,
    plan: TrainingPlan,
    seed: int,
    number: int,
    folder: Path,
    start: Network,
    learning: Worlds,
) -> Network:
    """Train one segment from the checkpoint of the one before, and save a checkpoint."""
    from stable_baselines3.common.utils import set_random_seed

    from rebalancer.adapters.rl.environment import RebalancingVecEnv

    base = (seed * 1_000 + number) * 10_000 % 2**31
    env = RebalancingVecEnv(
        learning,
        make_reward(plan.reward),
        algorithm.environments,
        seed=base,
        discrete=algorithm.discrete,
    )
    set_random_seed(base)
    before, after = (folder / f"model-{place:04d}.zip" for place in (number, number + 1))
    if number == 0:
        model = algorithm.create(env, start, learning, seed=seed, device=plan.device)
    else:
        model = algorithm.load(before, env, device=plan.device)
    set_random_seed(base + 1)
    model.learn(algorithm.segment, reset_num_timesteps=True)
    with replacing(after) as path:
        model.save(path)
    return algorithm.network(model, learning.inputs)


def _trained_range(networks: Sequence[Network], learning: Worlds) -> tuple[Floats, Floats]:
    """Return the least and greatest features, (F,), of the training."""
    market = learning.features.reshape(-1, learning.features.shape[-1]).astype(np.float64)
    observed = np.concatenate([observed_along(network, learning, 0) for network in networks])
    width = market.shape[1]
    lowest = np.concatenate([market.min(axis=0), observed[:, width:].min(axis=0)])
    highest = np.concatenate([market.max(axis=0), observed[:, width:].max(axis=0)])
    return lowest, highest


def _save_network(path: Path, network: Network) -> None:
    arrays: dict[str, Any] = network_arrays(network)
    if network.grid is not None:
        arrays["grid"] = network.grid
    with replacing(path) as fresh:
        np.savez(fresh, **arrays)


def _load_network(path: Path) -> Network:
    with np.load(path, allow_pickle=False) as arrays:

        def layers(prefix: str) -> tuple[list[Floats], list[Floats]]:
            count = sum(name.startswith(f"{prefix}w") for name in arrays)
            weights, biases = (
                [arrays[f"{prefix}{part}{i}"] for i in range(count)] for part in "wb"
            )
            return weights, biases

        base = Network(*layers("base/")) if "base/w0" in arrays else None
        return Network(*layers(""), arrays.get("grid"), base)


def _segments(plan: TrainingPlan) -> int:
    """Return the number of segments for each seed."""
    return -(-plan.steps // find_algorithm(plan.algorithm).segment)


def _claim_folder(
    out: Path, panels: Mapping[str, PriceHistory], plan: TrainingPlan, regimes: RegimeModel
) -> str:
    """Reserve a folder, and return the digest of the training.

    Raises:
        InvalidRequest: the folder holds checkpoints of another training.
    """
    inputs = attrs.asdict(plan) | {"data": {name: panel.digest for name, panel in panels.items()}}
    arrays = (regimes.start, regimes.transition, regimes.means, regimes.covariances)
    inputs["regimes"] = [array.tolist() for array in arrays]
    if (revision := find_algorithm(plan.algorithm).revision) > 1:
        inputs["revision"] = revision
    # More steps or seeds continue the same training; the number of workers changes nothing.
    for free in ("steps", "seeds", "workers"):
        del inputs[free]
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    claim = _claim_file(out)
    if claim.exists() and claim.read_text().strip() != digest:
        raise InvalidRequest(
            f"{out} holds checkpoints of another training; choose another folder, or remove "
            f"{claim.parent}",
            field="out",
            code="folder_of_other_training",
        )
    claim.parent.mkdir(parents=True, exist_ok=True)
    claim.write_text(digest + "\n")
    return digest


def _claim_file(out: Path) -> Path:
    return out / "checkpoints" / "training.sha256"


def training_stages(plan: TrainingPlan) -> tuple[TrainingStage, ...]:
    """Return the stages of a training, with their numbers of steps."""
    algorithm = find_algorithm(plan.algorithm)
    stages = [TrainingStage("worlds", plan.worlds, "two-year worlds on resampled paths")]
    if plan.warm_start:
        note = "gradient steps of a smooth simulation"
        stages.append(TrainingStage("warm start", plan.warm_start, note))
    if plan.features > 1:
        stages.append(TrainingStage("features", plan.features, "number of the set of features"))
    note = "steps of the simulation a seed; the best checkpoint of the later half is selected"
    steps = _segments(plan) * algorithm.segment
    stages += [*algorithm.preparation, TrainingStage(plan.algorithm, steps, note)]
    return tuple(stages)


def _training_record(
    panels: Mapping[str, PriceHistory], plan: TrainingPlan, command: str, today: date
) -> TrainingRecord:
    libraries = ("numpy", "torch", "stable-baselines3", "gymnasium")
    return TrainingRecord(
        algorithm=plan.algorithm,
        created=today,
        stages=training_stages(plan),
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
        libraries={library: version(library) for library in libraries},
        command=command,
    )
