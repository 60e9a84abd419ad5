"""Background jobs through a running server: watched, interrupted, and completed."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import watchdog
from tests.e2e.conftest import TIMEOUT, Running, until
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.servers import Valkey, running

LONG = {
    "policies": ["monthly", *(f"volatility_target:target=0.{two}" for two in range(10, 15))],
    "whole_shares": True,
}
"""A backtest of some seconds."""


def logged_in(client: httpx.Client) -> dict[str, str]:
    credentials = {"email": "ada@example.org", "password": "correct horse battery staple"}
    client.post("/api/users/register", json=credentials)
    token = client.post("/api/users/login", json=credentials).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def started(client: httpx.Client) -> str:
    asked = client.post("/api/backtest", json=LONG)
    assert asked.status_code == 202, asked.text
    return str(asked.json()["id"])


def read(client: httpx.Client, id: str) -> dict[str, Any]:
    job: dict[str, Any] = client.get(f"/api/jobs/{id}").json()
    return job


def test_backtest_of_killed_server_is_completed_by_the_next(serve: Callable[..., Running]) -> None:
    first = serve("--upgrade")
    with first.client() as client:
        client.headers.update(logged_in(client))
        id = started(client)
        until(lambda: read(client, id)["progress"] > 0)
    assert first.stop(signal.SIGKILL) != 0
    second = serve()
    with second.client() as client:
        client.headers.update(logged_in(client))
        with client.stream("GET", f"/api/jobs/{id}/events") as stream:
            assert stream.status_code == 200
            events = [
                json.loads(line.removeprefix("data: "))
                for line in stream.iter_lines()
                if line.startswith("data: ")
            ]
        done = read(client, id)
        assert (done["state"], events[-1]) == ("succeeded", done)
        shares = [one["progress"] for one in events if one["state"] == "running"]
        assert len(shares) > 2 and shares == sorted(shares)
        series = client.get(f"/api/backtest/{id}/series", params={"points": 50}).json()
        assert len(series["dates"]) == 50
    assert second.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stopping_server_requeues_its_job_and_ends_event_streams(
    serve: Callable[..., Running], workers: str
) -> None:
    running = serve("--upgrade", "--workers", workers)
    with running.client() as client:
        client.headers.update(logged_in(client))
        id = started(client)
        until(lambda: read(client, id)["progress"] > 0)
        with client.stream("GET", f"/api/jobs/{id}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines)
            running.process.send_signal(signal.SIGTERM)
            assert "event: end" not in list(lines)  # the stream ends before the job does
            assert running.process.wait(TIMEOUT) == 0
    again = serve()
    with again.client() as client:
        client.headers.update(logged_in(client))
        until(lambda: read(client, id)["state"] == "succeeded")
        assert read(client, id)["attempts"] == 2


def test_workers_run_the_servers_jobs_from_the_queue(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    with running(Valkey) as queue:
        env = {"REBALANCER_REDIS_URL": queue.url}
        server = serve("--upgrade", env=env)
        with server.client() as client:
            client.headers.update(logged_in(client))
            id = started(client)
            worker = subprocess.Popen(
                [COMMAND, "worker"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT | env,
                cwd=tmp_path,
            )
            watchdog.watch(worker)
            try:
                until(lambda: read(client, id)["progress"] > 0, worker)
                assert client.post(f"/api/jobs/{id}/cancel").json()["cancelling"]
                until(lambda: read(client, id)["state"] == "cancelled", worker)
                queue.kill()
                refused = client.post("/api/backtest", json=LONG)
                assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
                queue.start()
                assert client.post(f"/api/jobs/{id}/requeue").json()["state"] == "queued"
                until(lambda: read(client, id)["state"] == "succeeded", worker)
                states = [job["state"] for job in client.get("/api/jobs").json()["items"]]
                assert states == ["failed", "succeeded"]
            finally:
                worker.terminate()
                assert worker.wait(120) == 0
                watchdog.release(worker)
        assert server.stop() == 0
