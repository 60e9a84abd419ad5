"""Learning algorithms, one module for each; the module's name is the algorithm's name.

A module defines ``ALGORITHM``. `rebalancer.domain.policy.algorithms.ALGORITHMS` lists the names
with their sources.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from rebalancer.adapters.rl.worlds import Worlds
from rebalancer.domain.policy.features import InputSet
from rebalancer.domain.policy.model_card import TrainingStage
from rebalancer.domain.policy.network import Network


class Algorithm(Protocol):
    """A learning algorithm of Stable-Baselines3.

    Attributes:
        discrete: Whether its environment takes indices of `environment.discrete_actions`.
        environments: Number of portfolios that step together.
        segment: Steps of one segment, the most that an interrupted training repeats.
        revision: Increases when checkpoints of the former method cannot be continued.
        preparation: Stages between the warm start and the algorithm's own updates.
    """

    discrete: bool
    environments: int
    segment: int
    revision: int
    preparation: tuple[TrainingStage, ...]

    def create(self, env: Any, start: Network, worlds: Worlds, *, seed: int, device: str) -> Any:
        """Create a model that begins like ``start``, the network of the warm start."""

    def load(self, path: Path, env: Any, *, device: str) -> Any:
        """Load a model from the checkpoint of an earlier segment."""

    def unchanged(self, start: Network, inputs: InputSet) -> Network | None:
        """Return a network that acts like the start, if it may be selected; otherwise None."""

    def network(self, model: Any, inputs: InputSet) -> Network:
        """Extract the network that decides in production from a model of an input set."""


def find_algorithm(name: str) -> Algorithm:
    """Return a learning algorithm by its name."""
    algorithm: Algorithm = import_module(f"{__name__}.{name}").ALGORITHM
    return algorithm


def linear_layers(stack: Any) -> list[Any]:
    """Return the layers of a torch module that have weights."""
    return [layer for layer in stack if hasattr(layer, "weight")]


def extract_network(layers: list[Any], grid: Any = None) -> Network:
    """Copy torch layers into a network."""
    return Network(
        [layer.weight.detach().cpu().numpy().T for layer in layers],
        [layer.bias.detach().cpu().numpy() for layer in layers],
        grid,
    )
