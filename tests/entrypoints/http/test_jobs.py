"""Jobs over HTTP: listed, watched, cancelled and retried."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest
from litestar.response import ServerSentEventMessage

from rebalancer.domain.errors import NotFound, Unavailable
from rebalancer.domain.jobs.job import Job
from rebalancer.entrypoints.http.errors import TooManyRequests
from rebalancer.entrypoints.http.job_streams import JobStreams
from tests.builders import a_job
from tests.entrypoints.http.conftest import (
    START,
    UNKNOWN_ID,
    ApiUser,
    RunningApi,
    expect_problem,
    finished_job,
    start_backtest,
    wait_until,
)


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of a stream, without comments."""
    events_received = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            events_received.append((fields["event"], json.loads(fields["data"])))
    return events_received


def test_job_is_read(api: RunningApi, ada: ApiUser) -> None:
    made = start_backtest(ada)
    done = finished_job(ada, f"/api/jobs/{made['id']}")
    assert (done["kind"], done["state"], done["attempts"]) == ("backtest", "succeeded", 1)
    assert (done["progress"], done["cancelling"], done["error"]) == (1.0, False, None)
    status = ada.get(f"/api/backtest/{made['id']}/status").json()
    assert {name: done[name] for name in status} == status


def test_jobs_are_listed_in_pages(holding: RunningApi) -> None:
    ada, eve = holding.register(), holding.register("eve@example.org")
    start_backtest(eve)
    made = []
    for _ in range(5):
        made.append(start_backtest(ada)["id"])
        holding.time.advance(seconds=1)
    pages = ada.pages("/api/jobs", "before", 2)
    assert [[job["id"] for job in page] for page in pages] == [
        [made[4], made[3]],
        [made[2], made[1]],
        [made[0]],
    ]
    ada.post(f"/api/jobs/{made[1]}/cancel")
    ended_ones = ada.get("/api/jobs", params={"state": "cancelled"}).json()["items"]
    assert [job["id"] for job in ended_ones] == [made[1]]
    expect_problem(ada.get("/api/jobs", params={"state": "asleep"}), 400)


def test_job_is_cancelled_and_retried(holding: RunningApi) -> None:
    ada = holding.register()
    made = start_backtest(ada)
    path = f"/api/jobs/{made['id']}"
    expect_problem(ada.post(f"{path}/requeue"), 409)
    holding.time.advance(seconds=1)
    stopped = ada.post(f"{path}/cancel")
    assert (stopped.status_code, stopped.json()["state"]) == (200, "cancelled")
    assert stopped.json() == ada.get(path).json()
    expect_problem(ada.post(f"{path}/cancel"), 409)
    holding.time.advance(seconds=1)
    again = ada.post(f"{path}/requeue")
    assert (again.status_code, again.json()["state"]) == (200, "queued")
    assert [job.id for job in holding.runner.waiting] == [holding.runner.waiting[0].id] * 2
    holding.runner.full = True
    ada.post(f"{path}/cancel")
    refused = ada.post(f"{path}/requeue")
    expect_problem(refused, 503)
    assert refused.headers["retry-after"]
    assert ada.get(path).json()["state"] == "cancelled"


def test_stream_of_finished_job_is_one_event(api: RunningApi, ada: ApiUser) -> None:
    done = finished_job(ada, f"/api/jobs/{start_backtest(ada)['id']}")
    stream = ada.get(f"/api/jobs/{done['id']}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-store"
    assert events(stream.text) == [("end", done)]


@pytest.fixture
def streams(holding: RunningApi) -> JobStreams:
    """Return the streams of the application, two for each user."""
    found: JobStreams = holding.app.state.job_streams
    return found


def test_stream_ends_with_the_job(holding: RunningApi, streams: JobStreams) -> None:
    ada = holding.register()
    path = f"/api/jobs/{start_backtest(ada)['id']}"
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(lambda: ada.get(f"{path}/events").text)
        wait_until(lambda: streams.count(ada.id) == 1)
        ada.post(f"{path}/cancel")
        received = events(stream.result(120))
    told = [(event, job["state"]) for event, job in received]
    assert told[-1] == ("end", "cancelled")
    assert told[:-1] in ([], [("progress", "queued")])


def test_stream_ends_when_its_user_logs_out(holding: RunningApi, streams: JobStreams) -> None:
    ada = holding.register()
    path = f"/api/jobs/{start_backtest(ada)['id']}"
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(lambda: ada.get(f"{path}/events").text)
        wait_until(lambda: streams.count(ada.id) == 1)
        token = {"refresh_token": ada.login["refresh_token"]}
        assert holding.client.post("/api/users/logout", json=token).is_success
        received = stream.result(120)
    assert [event for event, _ in events(received)] in ([], ["progress"])


@pytest.mark.parametrize("events", [0, 1, 3])
def test_busy_stream_ends_with_its_login(events: int) -> None:
    """A job that changes all the time leaves no time for heartbeats."""
    job = Job.new("x", {}, id=UNKNOWN_ID, owner=UNKNOWN_ID, now=START).start(START)
    changes = iter(range(1, 100))
    answers = iter([True] * events)

    async def read() -> Job:
        return job.heartbeat(START, attempt=1, progress=next(changes) / 100)

    async def is_authorized() -> bool:
        return next(answers, False)

    async def collect() -> list[ServerSentEventMessage]:
        streams = JobStreams(poll_interval=0, heartbeat=1_000)
        stream = streams.stream(
            job, place=streams.reserve(UNKNOWN_ID), read=read, is_authorized=is_authorized
        )
        return [message async for message in stream]

    assert len(asyncio.run(collect())) == events


def test_streams_of_a_user_are_limited(holding: RunningApi, streams: JobStreams) -> None:
    ada = holding.register()
    path = f"/api/jobs/{start_backtest(ada)['id']}"
    with ThreadPoolExecutor(2) as pool:
        open_streams = [pool.submit(lambda: ada.get(f"{path}/events").text) for _ in range(2)]
        wait_until(lambda: streams.count(ada.id) == 2)
        expect_problem(ada.get(f"{path}/events"), 429)
        ada.post(f"{path}/cancel")
        assert all("event: end" in stream.result(120) for stream in open_streams)
    assert ada.get(f"{path}/events").status_code == 200


def test_streams_opened_at_once_stay_within_the_limit(
    holding: RunningApi, streams: JobStreams
) -> None:
    ada = holding.register()
    path = f"/api/jobs/{start_backtest(ada)['id']}"
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(lambda: ada.get(f"{path}/events").status_code) for _ in range(12)]
        wait_until(lambda: sum(one.done() for one in asked) == 10)
        assert streams.count(ada.id) == 2
        ada.post(f"{path}/cancel")
        assert sorted(one.result(120) for one in asked) == [200] * 2 + [429] * 10


def test_abandoned_stream_frees_its_place() -> None:
    streams, job = JobStreams(limit=1), a_job()

    async def never() -> Any:
        raise AssertionError("the stream was iterated")

    for _ in range(2):
        place = streams.reserve(UNKNOWN_ID)
        stream = streams.stream(job, place=place, read=never, is_authorized=never)
        del place
        assert streams.count(UNKNOWN_ID) == 1
        with pytest.raises(TooManyRequests, match="have 1 open streams"):
            streams.reserve(UNKNOWN_ID)
        del stream
        assert streams.count(UNKNOWN_ID) == 0


def messages_of(
    job: Job, reads: list[Job | Exception], *, count: int
) -> list[ServerSentEventMessage]:
    """Return the first messages of a stream whose reads give these results, then the last one."""

    async def read() -> Job:
        result = reads.pop(0) if len(reads) > 1 else reads[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def is_authorized() -> bool:
        return True

    async def receive() -> list[ServerSentEventMessage]:
        streams = JobStreams(poll_interval=0, heartbeat=0)
        stream = streams.stream(
            job, place=streams.reserve(UNKNOWN_ID), read=read, is_authorized=is_authorized
        )
        received = []
        async for message in stream:
            received.append(message)
            if len(received) == count:
                break
        return received

    return asyncio.run(receive())


def test_idle_stream_sends_heartbeats() -> None:
    job = a_job()
    first, *heartbeats = messages_of(job, [job], count=3)
    assert first.event == "progress"
    assert [message.comment for message in heartbeats] == ["still here"] * 2


def test_stream_survives_outage_of_the_store() -> None:
    job = a_job()
    further = attrs.evolve(job, progress=0.5)
    reads: list[Job | Exception] = [Unavailable("the database did not answer"), job, further]
    messages = messages_of(job, reads, count=5)
    assert [message.event for message in messages if message.event] == ["progress", "progress"]


def test_stream_ends_when_the_job_is_deleted() -> None:
    job = a_job()
    messages = messages_of(job, [NotFound("job not found")], count=5)
    assert [message.event for message in messages if message.event] == ["progress"]
