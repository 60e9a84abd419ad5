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
MANIFESTS, TRIAL = DEPLOYMENT / "k8s", DEPLOYMENT / "k8s-overlays/trial"
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
        subprocess.run([TRIAL / "secrets.sh"], env={**self.node.environment, **hosts}, check=True)
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
        for one in wanted:
            if one["kind"] == "Service":
                one["spec"]["clusterIP"] = SERVERS[one["metadata"]["name"]]
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
        """Return the manifests of an overlay, for this version."""
        text = self.node.run(
            "kubectl",
            "kustomize",
            "--load-restrictor=LoadRestrictionsNone",
            str(DEPLOYMENT / "k8s-overlays" / overlay),
        )
        path = self.folder / f"{overlay}.yaml"
        path.write_text(text, encoding="utf-8")
        return [older.rewrite(one) for one in older.read(path)]

    def apply(self, manifests: list[dict[str, Any]], name: str) -> str:
        """Apply manifests; return what kubectl says."""
        path = older.write(manifests, self.folder / name)
        return self.node.ask("apply", f"--filename={path}")

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
    print(
        f"shown: worker's pod deleted at {before['progress']:.0%} of a job: the next pod completed "
        f"it in its second attempt, {seconds:.0f} s later",
        flush=True,
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
    print(
        f"shown: batch on {job['spec']['parallelism']} pods: {PORTFOLIOS} portfolios, "
        f"{counted.partition('|')[0]} proposals, one each",
        flush=True,
    )


def query(walk: Walk, statement: str) -> str:
    """Return what Postgres answers."""
    command = ["psql", "--username=rebalancer", "--no-align", "--tuples-only", "--command"]
    return walk.node.ask("exec", "postgres-0", "--", *command, statement).strip()


def main(programs: Path, folder: Path, *archives: Path) -> None:
    """Run all steps."""
    node = Node(programs, folder)
    began = time.monotonic()
    node.start(archives)
    print(f"shown: API server and kubelet ready after {time.monotonic() - began:.0f} s", flush=True)
    walk = Walk(node, folder)
    walk.prepare_servers()
    applied = walk.apply_folder()
    node.wait_for(lambda: len(walk.pods("api")) == 2, 60, "the autoscaler did not add a pod")
    seconds = walk.wait_until_rolled_out()
    print(f"shown: {sum(applied.values())} objects applied, all pods ready after {seconds:.0f} s")
    again = walk.apply_folder()
    assert set(again) == {"unchanged"}, again
    print("shown: applied again, nothing changed", flush=True)
    with httpx.Client(base_url=walk.address(), timeout=30, trust_env=False) as client:
        token = log_in(client)
        share_batch(walk, client)
        complete_job_of_deleted_pod(walk, client)
        url = f"{walk.address()}/api/portfolios?limit=1"
        sending = (url, token, node.environment, folder)
        with load.requests(*sending) as report:
            node.ask("rollout", "restart", "deployment/api", "deployment/worker")
            walk.wait_until_rolled_out()
        report.check("a rolling update of two pods of the API and of the worker")
        with load.requests(*sending) as report:
            change_settings(walk)
        report.check("a changed setting, a wrong one, and the way back")
        with load.requests(*sending) as report:
            drain(walk)
        report.check("a drain of the node")


def change_settings(walk: Walk) -> None:
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


def drain(walk: Walk) -> None:
    """Drain the only node: the budget keeps a pod of the API until the node is back."""
    node = walk.node
    said = node.ask(
        "drain",
        NAME,
        "--pod-selector=app.kubernetes.io/component in (api, worker)",
        "--delete-emptydir-data",
        "--ignore-daemonsets",
        "--timeout=45s",
        check=False,
    )
    assert "disruption budget" in said, said
    assert walk.ready("api") == 1
    node.run("kubectl", "uncordon", NAME)
    node.wait_for(lambda: walk.ready("api") == 2, 180, "the pods have not come back")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
