"""Engines: processes of this machine, or of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from dishka import Provider, Scope, provide

from rebalancer.adapters.processes.engine import LocalProcesses
from rebalancer.application.ports.engine import Engine

ENGINES = ("local", "ray")
"""Names of engines; the first is the default."""


class EngineProvider(Provider):
    """The engine of use cases that map tasks: processes of this machine unless another is given."""

    scope = Scope.APP

    def __init__(self, engine: Engine | None = None) -> None:
        super().__init__()
        self._engine = engine or LocalProcesses()

    @provide
    def engine(self) -> Engine:
        return self._engine


@contextmanager
def open_engine(name: str, address: str | None = None) -> Iterator[Engine]:
    """Provide an engine while the block runs.

    Args:
        name: One of `ENGINES`.
        address: Address of the Ray cluster; None: ``RAY_ADDRESS``, or a cluster of this machine.

    Raises:
        InvalidRequest: the address is malformed, or leads to a network without a token.
        Unavailable: Ray is not installed, or the cluster does not answer.
    """
    if name == "local":
        yield LocalProcesses()
        return
    from rebalancer.adapters.ray.address import LOCAL
    from rebalancer.adapters.ray.engine import RayCluster

    place = address or os.environ.get("RAY_ADDRESS") or LOCAL
    cluster = RayCluster(place, release=version("rebalancer"))
    try:
        yield cluster
    finally:
        cluster.close()
