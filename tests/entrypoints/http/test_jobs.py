"""Jobs over HTTP: listed, watched, stopped and tried again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rebalancer.application.ports.jobs import JobRunner
from rebalancer.entrypoints.http import jobs
from tests.entrypoints.http.conftest import Person, World, problem, provided
from tests.entrypoints.http.test_backtests import ORDER, Later, ended


@pytest.fixture
def later() -> Later:
    """A runner that does nothing by itself."""
    return Later()


@pytest.fixture
def waiting(in_world: Callable[..., World], later: Later) -> World:
    return in_world(provided({JobRunner: later}))


def started(person: Person) -> dict[str, Any]:
    asked = person.post("/api/backtest", ORDER)
    assert asked.status_code == 202, asked.text
    return asked.json()


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """What a stream of events has told, comments left out."""
    told = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            told.append((fields["event"], json.loads(fields["data"])))
    return told


def test_a_job_can_be_read(world: World, ada: Person) -> None:
    made = started(ada)
    done = ended(ada, f"/api/jobs/{made['id']}")
    assert (done["kind"], done["state"], done["attempts"]) == ("backtest", "succeeded", 1)
    assert (done["progress"], done["cancelling"], done["error"]) == (1.0, False, None)
    status = ada.get(f"/api/backtest/{made['id']}/status").json()
    assert {name: done[name] for name in status} == status


def test_jobs_come_page_by_page(waiting: World) -> None:
    ada, eve = waiting.somebody(), waiting.somebody("eve@example.org")
    started(eve)
    made = []
    for _ in range(5):
        made.append(started(ada)["id"])
        waiting.time.pass_by(seconds=1)
    pages = ada.pages("/api/jobs", "before", 2)
    assert [[job["id"] for job in page] for page in pages] == [
        [made[4], made[3]],
        [made[2], made[1]],
        [made[0]],
    ]
    ada.post(f"/api/jobs/{made[1]}/cancel")
    ended_ones = ada.get("/api/jobs", params={"state": "cancelled"}).json()["items"]
    assert [job["id"] for job in ended_ones] == [made[1]]
    problem(ada.get("/api/jobs", params={"state": "asleep"}), 400)


def test_a_job_can_be_cancelled_and_tried_again(waiting: World, later: Later) -> None:
    ada = waiting.somebody()
    made = started(ada)
    path = f"/api/jobs/{made['id']}"
    problem(ada.post(f"{path}/requeue"), 409)
    waiting.time.pass_by(seconds=1)
    stopped = ada.post(f"{path}/cancel")
    assert (stopped.status_code, stopped.json()["state"]) == (200, "cancelled")
    assert stopped.json() == ada.get(path).json()
    problem(ada.post(f"{path}/cancel"), 409)
    waiting.time.pass_by(seconds=1)
    again = ada.post(f"{path}/requeue")
    assert (again.status_code, again.json()["state"]) == (200, "queued")
    assert [job.id for job in later.waiting] == [later.waiting[0].id] * 2
    later.full = True
    ada.post(f"{path}/cancel")
    refused = ada.post(f"{path}/requeue")
    problem(refused, 503)
    assert refused.headers["retry-after"]
    assert ada.get(path).json()["state"] == "cancelled"


def test_a_job_that_has_ended_tells_so_at_once(world: World, ada: Person) -> None:
    done = ended(ada, f"/api/jobs/{started(ada)['id']}")
    stream = ada.get(f"/api/jobs/{done['id']}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-cache"
    assert events(stream.text) == [("end", done)]


def test_a_job_is_watched_until_it_ends(waiting: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOOK", 0.01)
    monkeypatch.setattr(jobs, "HEARTBEAT", 0.05)
    ada = waiting.somebody()
    made = started(ada)
    looked = threading.Event()

    def watch() -> str:
        looked.set()
        return ada.get(f"/api/jobs/{made['id']}/events").text

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        assert looked.wait(10)
        threading.Event().wait(0.3)
        waiting.work.away = True  # the store may be away for a moment
        threading.Event().wait(0.1)
        waiting.work.away = False
        ada.post(f"/api/jobs/{made['id']}/cancel")
        told = watching.result(10)
    assert [(event, job["state"]) for event, job in events(told)] == [
        ("progress", "queued"),
        ("end", "cancelled"),
    ]
    assert ": still here" in told


@pytest.fixture
def watched(waiting: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, Person, str]]:
    """Somebody with a job that nobody does, and whose watching is looked after often."""
    monkeypatch.setattr(jobs, "LOOK", 0.01)
    monkeypatch.setattr(jobs, "HEARTBEAT", 0.05)
    ada = waiting.somebody()
    yield waiting, ada, f"/api/jobs/{started(ada)['id']}"


def test_whoever_logs_out_watches_no_longer(watched: tuple[World, Person, str]) -> None:
    world, ada, path = watched
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(lambda: ada.get(f"{path}/events").text)
        threading.Event().wait(0.3)
        over = {"refresh_token": ada.login["refresh_token"]}
        assert world.client.post("/api/users/logout", json=over).is_success
        told = watching.result(10)
    assert [event for event, _ in events(told)] == ["progress"]


def test_so_many_jobs_may_be_watched_at_a_time(
    watched: tuple[World, Person, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST", 2)
    _, ada, path = watched
    with ThreadPoolExecutor(3) as pool:
        watching = [pool.submit(lambda: ada.get(f"{path}/events").text) for _ in range(2)]
        threading.Event().wait(0.3)
        problem(ada.get(f"{path}/events"), 429)
        ada.post(f"{path}/cancel")
        assert all("event: end" in one.result(10) for one in watching)
    assert ada.get(f"{path}/events").status_code == 200
