"""Two nodes of a Ray cluster on this machine; ``python -m deployment.check.ray_nodes`` runs them.

Each node has one core. Nodes inherit the environment, with the settings of their helpers.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

import attrs
import psutil


@attrs.frozen
class TwoNodes:
    """A running cluster.

    Attributes:
        address: Address of the head.
        head: The node that commands connect through.
        other: A further node, which may die.
    """

    address: str
    head: Any
    other: Any

    def helpers(self, node: Any) -> list[psutil.Process]:
        """Return the processes of a node that run the function of a helper."""
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        children = raylet.children(recursive=True)
        return [one for one in children if "_help" in " ".join(one.cmdline())]

    def kill_other(self) -> None:
        """Kill all processes of the other node at once."""
        processes = [
            each.process.pid for kind in self.other.all_processes.values() for each in kind
        ]
        raylet = psutil.Process(self.other.all_processes["raylet"][0].process.pid)
        workers = raylet.children(recursive=True)
        for process in processes:
            os.kill(process, signal.SIGKILL)
        for worker in workers:
            if worker.is_running():
                worker.kill()


def require_token() -> None:
    """Set a token for this process and those that it starts."""
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = token_hex(32)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """Run two nodes while the block runs; call `require_token` before."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    try:
        other = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
        cluster.wait_for_nodes()
        yield TwoNodes(cluster.address, cluster.head_node, other)
    finally:
        cluster.shutdown()


def main() -> None:
    """Run two nodes and print their address and token, until Ctrl-C."""
    require_token()
    with two_nodes() as nodes:
        print(f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN={os.environ['RAY_AUTH_TOKEN']}")
        print(f"rebalancer batch --all --policy band --engine ray --address {nodes.address}")
        try:
            signal.pause()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
