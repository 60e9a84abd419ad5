"""Apply the manifests to a real cluster, update, disturb and change it, under load.

Runs in namespaces of its own, which `deployment.check.cluster` makes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import httpx

from deployment.check.kubernetes import load, older
from deployment.check.kubernetes.node import NAME, Node

DEPLOYMENT = Path(__file__).parents[2]
MANIFESTS, RAY = DEPLOYMENT / "k8s", DEPLOYMENT / "ray"
SERVERS = {"postgres": "10.96.0.50", "valkey": "10.96.0.51"}
"""Addresses of their services: this cluster has no name service."""

IMAGES = {
    "api": "rebalancer:latest",
    "postgres": "stand-in-postgres:latest",
    "valkey": "stand-in-valkey:latest",
}
"""What is loaded, by the workload that runs it under the name of its manifest."""

PORTFOLIOS = 60
DATABASE_USER = 999
"""User of the databases' pods."""

BACKTEST = {
    "policies": ["monthly", *(f"volatility_target:target=0.{two}" for two in range(10, 22))],
    "whole_shares": True,
}
"""A job of several seconds."""


@attrs.frozen
class Walk:
    """The steps, in their order.

    Attributes:
        node: The cluster.
        folder: Where rewritten manifests are.
    """

    node: Node
    folder: Path

    def prepare_servers(self) -> None:
        """Create the secrets, and start Postgres and Valkey from the overlay for trials."""
        hosts = {f"{name.upper()}_HOST": address for name, address in SERVERS.items()}
        subprocess.run(
            [DEPLOYMENT / "k8s-overlays/trial/secrets.sh"],
            env={**self.node.environment, **hosts},
            check=True,
        )
        for secret in ("rebalancer", "rebalancer-owner"):  # MongoDB is optional, and not here
            patch = '[{"op": "remove", "path": "/data/REBALANCER_MONGO_URL"}]'
            self.node.ask("patch", "secret", secret, "--type=json", f"--patch={patch}")
        rendered = self.render("trial")
        for one in rendered:
            name = one["metadata"]["name"]
            if name in IMAGES and one["kind"] in ("Deployment", "StatefulSet"):
                (container,) = one["spec"]["template"]["spec"]["containers"]
                self.node.name_image(IMAGES[name], container["image"])
        wanted = [
            one
            for one in rendered
            if one["metadata"]["name"] in SERVERS
            or one["metadata"]["name"].startswith("server-roles-")
        ]
        disks = [self.disk(name) for name in SERVERS]
        self.apply([*disks, *wanted], "servers.yaml")
        for name in SERVERS:
            self.node.ask("rollout", "status", f"statefulset/{name}", "--timeout=180s")

    def disk(self, server: str) -> dict[str, Any]:
        """Return a volume in a folder for a database, which its user may write to."""
        folder = self.folder / f"disk-{server}"
        folder.mkdir()
        subprocess.run(["chown", f"{DATABASE_USER}:{DATABASE_USER}", folder], check=True)
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": server},
            "spec": {
                "capacity": {"storage": "8Gi"},
                "accessModes": ["ReadWriteOnce"],
                "claimRef": {"namespace": "rebalancer", "name": f"data-{server}-0"},
                "hostPath": {"path": str(folder)},
            },
        }

    def render(self, overlay: str) -> list[dict[str, Any]]:
        """Return the manifests of an overlay for this version, with fixed addresses of servers."""
        text = self.node.run(
            "kubectl",
            "kustomize",
            "--load-restrictor=LoadRestrictionsNone",
            str(DEPLOYMENT / "k8s-overlays" / overlay),
        )
        path = self.folder / f"{overlay}.yaml"
        path.write_text(text, encoding="utf-8")
        manifests = [older.rewrite(one) for one in older.read(path)]
        for one in manifests:
            if one["kind"] == "Service" and one["metadata"]["name"] in SERVERS:
                one["spec"]["clusterIP"] = SERVERS[one["metadata"]["name"]]
        return manifests

    def apply(self, manifests: list[dict[str, Any]], name: str, *options: str) -> None:
        """Apply manifests by way of a file."""
        path = older.write(manifests, self.folder / name)
        self.node.ask("apply", f"--filename={path}", *options)

    def apply_folder(self, **settings: str) -> Counter[str]:
        """Apply the folder of manifests, with other settings; count what became of the objects."""
        target = self.folder / "k8s"
        target.mkdir(exist_ok=True)
        own = {"REBALANCER_PLAIN_CONNECTIONS": "allowed", "REBALANCER_RATE_LIMIT": "0"}
        for path in sorted(MANIFESTS.iterdir()):
            manifests = [older.rewrite(one) for one in older.read(path)]
            for one in manifests:
                if one["kind"] == "ConfigMap":
                    one["data"] |= own | settings
            older.write(manifests, target / path.name)
        said = self.node.ask("apply", f"--filename={target}/")
        return Counter(line.split()[1] for line in said.splitlines() if line.count(" ") == 1)

    def wait_until_rolled_out(self) -> float:
        """Wait until all pods are of the newest version and ready; return the seconds."""
        started = time.monotonic()
        for name in ("api", "worker"):
            self.node.ask("rollout", "status", f"deployment/{name}", "--timeout=300s")
        return time.monotonic() - started

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Return the pods of a component that are not about to end."""
        label = f"--selector=app.kubernetes.io/component={component}"
        return [
            pod
            for pod in self.node.get("pods", label)["items"]
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def ready(self, component: str) -> int:
        """Return the number of ready pods of a component."""
        return sum(
            one["type"] == "Ready" and one["status"] == "True"
            for pod in self.pods(component)
            for one in pod["status"].get("conditions", ())
        )

    def address(self) -> str:
        """Return the address of the API."""
        return f"http://{self.node.get('service', 'api')['spec']['clusterIP']}"


def show(finding: str) -> None:
    """Print a line for the table of results."""
    print(f"shown: {finding}", flush=True)


def log_in(client: httpx.Client) -> str:
    """Create an account, and return its access token."""
    credentials = {"email": "ada@example.org", "password": "correct horse battery staple"}
    client.post("/api/users/register", json=credentials)
    token = str(client.post("/api/users/login", json=credentials).json()["access_token"])
    client.headers["Authorization"] = f"Bearer {token}"
    return token


def complete_job_of_deleted_pod(walk: Walk, client: httpx.Client) -> None:
    """Delete the worker's pod in the middle of a job, and see another pod complete it once."""
    asked = client.post("/api/backtest", json=BACKTEST)
    assert asked.status_code == 202, asked.text
    path = f"/api/jobs/{asked.json()['id']}"
    walk.node.wait_for(
        lambda: 0 < client.get(path).json()["progress"] < 0.9, 120, "the job does not run"
    )
    (pod,) = walk.pods("worker")
    name = pod["metadata"]["name"]
    before = client.get(path).json()
    assert before["state"] == "running", before
    walk.node.ask("delete", "pod", name, "--grace-period=0", "--force")
    seconds = walk.node.wait_for(
        lambda: client.get(path).json()["state"] not in ("queued", "running"),
        300,
        "the job has not ended",
    )
    job = client.get(path).json()
    assert job["state"] == "succeeded" and job["attempts"] == 2, job
    (other,) = walk.pods("worker")
    assert other["metadata"]["name"] != name
    show(
        f"worker's pod deleted at {before['progress']:.0%} of a job: the next pod completed "
        f"it in its second attempt, {seconds:.0f} s later",
    )


def share_batch(walk: Walk, client: httpx.Client) -> None:
    """Run the batch's pods by hand, and count a proposal for each portfolio."""
    for number in range(PORTFOLIOS):
        body = {
            "name": f"Portfolio {number}",
            "targets": {"JNJ": 0.3, "KO": 0.3, "PG": 0.2},
            "cash": "20000.00",
            "on": "2021-01-04",
        }
        made = client.post("/api/portfolios", json=body)
        assert made.status_code == 201, made.text
    cron = walk.node.get("cronjob", "batch")
    assert cron["spec"]["suspend"] is True
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "propose-by-hand", "namespace": "rebalancer"},
        "spec": cron["spec"]["jobTemplate"]["spec"],
    }
    walk.apply([job], "job.yaml")
    walk.node.ask("wait", "--for=condition=complete", "job/propose-by-hand", "--timeout=300s")
    counted = query(walk, "SELECT count(*), count(DISTINCT portfolio) FROM proposals")
    assert counted == f"{PORTFOLIOS}|{PORTFOLIOS}", counted
    show(
        f"batch on {job['spec']['parallelism']} pods: {PORTFOLIOS} portfolios, "
        f"{counted.partition('|')[0]} proposals, one each",
    )


def query(walk: Walk, statement: str) -> str:
    """Return what Postgres answers."""
    command = ["psql", "--username=rebalancer", "--no-align", "--tuples-only", "--command"]
    return walk.node.ask("exec", "postgres-0", "--", *command, statement).strip()


def offer_others(walk: Walk) -> None:
    """Let the server check the objects of the overlays and of the Ray cluster, and keep none."""
    others = {overlay: walk.render(overlay) for overlay in ("small", "large", "trial")}
    others["ray"] = [one for path in sorted(RAY.glob("*.yaml")) for one in older.read(path)]
    for name, manifests in others.items():
        walk.apply(manifests, f"{name}-offered.yaml", "--dry-run=server")
    counts = ", ".join(f"{name} {len(manifests)}" for name, manifests in others.items())
    show(f"the server would accept all objects of {counts}")


def update(walk: Walk) -> str:
    """Replace all pods of the API and the worker; return what was done."""
    walk.node.ask("rollout", "restart", "deployment/api", "deployment/worker")
    seconds = walk.wait_until_rolled_out()
    return f"two pods of the API and the worker replaced in {seconds:.0f} s"


def change_settings(walk: Walk) -> str:
    """Change a setting; then apply a wrong one, which old pods survive, and go back."""
    node = walk.node
    changed = walk.apply_folder(REBALANCER_LOG_LEVEL="warning")
    assert changed["configured"] == 1, changed
    node.ask("rollout", "restart", "deployment/api")
    walk.wait_until_rolled_out()
    said = node.ask("exec", "deployment/api", "--", "printenv", "REBALANCER_LOG_LEVEL")
    assert said.strip().endswith("warning"), said
    walk.apply_folder(REBALANCER_LOG_LEVEL="loud")
    node.ask("rollout", "restart", "deployment/api")

    def refused() -> bool:
        return any(
            status.get("restartCount", 0) > 0
            for pod in walk.pods("api")
            for status in pod["status"].get("initContainerStatuses", ())
        )

    node.wait_for(refused, 120, "the wrong setting was not refused")
    assert walk.ready("api") == 2
    walk.apply_folder()
    node.ask("rollout", "undo", "deployment/api")
    walk.wait_until_rolled_out()
    assert walk.ready("api") == 2
    return "a changed setting; a wrong one, with which no pod starts while old pods serve; undone"


def drain(walk: Walk) -> str:
    """Drain the only node: the budget keeps a pod of the API until the node is back."""
    node = walk.node
    ours = "--pod-selector=app.kubernetes.io/component in (api, worker)"
    try:
        node.ask("drain", NAME, ours, "--delete-emptydir-data", "--timeout=45s")
    except RuntimeError as error:
        assert "disruption budget" in str(error), error
    else:
        raise AssertionError("all pods of the API were taken away at once")
    assert walk.ready("api") == 1
    node.run("kubectl", "uncordon", NAME)
    seconds = node.wait_for(lambda: walk.ready("api") == 2, 180, "the pods have not come back")
    return (
        "the only node drained: the budget keeps a pod of the API; after its return two are ready "
        f"in {seconds:.0f} s"
    )


def run(walk: Walk) -> None:
    """Apply the manifests, and disturb what they start."""
    walk.prepare_servers()
    applied = walk.apply_folder()
    walk.node.wait_for(lambda: len(walk.pods("api")) == 2, 60, "the autoscaler did not add a pod")
    seconds = walk.wait_until_rolled_out()
    show(
        f"{applied.total()} objects applied, all pods ready after {seconds:.0f} s; the autoscaler "
        "keeps two pods of the API without metrics"
    )
    again = walk.apply_folder()
    assert set(again) == {"unchanged"}, again
    show("applied again, nothing changed")
    offer_others(walk)
    with httpx.Client(base_url=walk.address(), timeout=30, trust_env=False) as client:
        token = log_in(client)
        share_batch(walk, client)
        complete_job_of_deleted_pod(walk, client)
    url = f"{walk.address()}/api/portfolios?limit=1"
    for disturb in (update, change_settings, drain):
        with load.requests(url, token, walk.node.environment, walk.folder) as report:
            what = disturb(walk)
        show(f"{what}: {report.check()}")


def main(programs: Path, folder: Path, *archives: Path) -> None:
    """Run all steps."""
    node = Node(programs, folder)
    try:
        began = time.monotonic()
        node.start(archives)
        show(f"API server, kubelet and images ready after {time.monotonic() - began:.0f} s")
        run(Walk(node, folder))
    except Exception:
        print(node.report(), flush=True)
        raise


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
