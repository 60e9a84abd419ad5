"""The stages of ``make ops-test``, in the order in which they run."""

from __future__ import annotations

import sys
from collections.abc import Callable

import attrs

from deployment.check.cluster import no_other_kubelet
from deployment.check.machine import apt, network_namespaces, root, source_packages

Requirement = Callable[[], str | None]
"""Return None if the machine can run a stage, else the reason why not."""


@attrs.frozen
class Stage:
    """A check in a process of its own.

    Attributes:
        name: As in ``make ops-test STAGES=name``.
        shows: What passing shows, in a few words; the process adds lines with ``shown: ``.
        command: The program with its arguments, run in the root of the repository.
        limit: Seconds after which it is stopped and has failed.
        needs: What the machine must have.
    """

    name: str
    shows: str
    command: tuple[str, ...]
    limit: float
    needs: tuple[Requirement, ...] = ()

    def obstacle(self) -> str | None:
        """Return why this machine cannot run the stage; None if it can."""
        return next((reason for need in self.needs if (reason := need())), None)


def _module(name: str) -> tuple[str, ...]:
    """Return the command of a module in this folder."""
    return sys.executable, "-m", f"deployment.check.{name}"


STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "containers",
            shows="images and docker-compose.yml on a Docker Engine",
            command=_module("containers"),
            limit=25 * 60,
            needs=(root, network_namespaces, apt),
        ),
        Stage(
            "cluster",
            shows="deployment/k8s on Kubernetes 1.20, with pods lost, updated and moved under load",
            command=_module("cluster"),
            limit=45 * 60,
            needs=(root, network_namespaces, apt, source_packages, no_other_kubelet),
        ),
        Stage(
            "ray",
            shows="batches on two nodes of a Ray cluster",
            command=_module("ray_cluster"),
            limit=15 * 60,
        ),
        Stage(
            "observability",
            shows="metrics, alerts, dashboard and traces of two server processes and a worker",
            command=_module("observability"),
            limit=600,
            needs=(apt,),
        ),
        Stage(
            "clouds",
            shows="deployment/aws, gcp and azure against the schemas of their providers",
            command=_module("clouds"),
            limit=10 * 60,
        ),
    )
}
