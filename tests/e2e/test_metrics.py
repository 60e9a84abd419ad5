"""Metrics and traces of a real server with two processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from uuid import uuid4

import attrs
import httpx
import pytest

from tests.collector import Collector, Received, collecting
from tests.e2e.conftest import Running, until
from tests.e2e.test_jobs import logged_in

Samples = Mapping[str, float]
"""Values by series, as the endpoint writes it: a name with its labels."""

_SAMPLE = re.compile(r"^(?P<series>\w+(?:\{.*\})?) (?P<value>\S+)$", re.MULTILINE)


@attrs.frozen
class Measured:
    """A running server, the address of its metrics, and the collector of its traces."""

    server: Running
    address: str
    collector: Collector

    def scrape(self) -> Samples:
        answer = httpx.get(self.address, trust_env=False)
        assert answer.status_code == 200, answer.text
        return {found["series"]: float(found["value"]) for found in _SAMPLE.finditer(answer.text)}

    def ask(self, method: str, path: str) -> int:
        """Send a request on a connection of its own, which either process may accept."""
        with self.server.client() as client:
            return client.request(method, path).status_code


@pytest.fixture(scope="module")
def measured(share_server: Callable[..., Running]) -> Iterator[Measured]:
    with collecting() as collector:
        server = share_server(
            *("--workers", "2"),
            env={
                "REBALANCER_METRICS_PORT": "0",
                "REBALANCER_RATE_LIMIT": "0",
                "REBALANCER_TRACE_RATIO": "1",
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
                "OTEL_BSP_SCHEDULE_DELAY": "100",
            },
        )
        assert server.process.stdout is not None
        line = next(one for one in server.process.stdout if one.startswith("Metrics at "))
        yield Measured(server, line.removeprefix("Metrics at ").strip(), collector)


def test_two_processes_count_requests_together(measured: Measured) -> None:
    series = 'rebalancer_http_requests_total{method="GET",route="/api/portfolios",status="4xx"}'
    timed = 'rebalancer_http_request_seconds_count{method="GET",route="/api/portfolios"}'
    before = measured.scrape()

    for _ in range(40):
        assert measured.ask("GET", "/api/portfolios") == 401

    after = measured.scrape()
    assert after[series] - before.get(series, 0.0) == 40
    assert after[timed] - before.get(timed, 0.0) == 40


def test_unknown_paths_methods_and_ids_create_no_series(measured: Measured) -> None:
    def ask_unknown() -> None:
        measured.ask("GET", f"/{uuid4()}")
        measured.ask("GET", f"/api/portfolios/{uuid4()}?{uuid4().hex}=1")
        measured.ask(f"X{uuid4().hex}".upper()[:12], "/health/live")
        measured.ask("POST", f"/api/portfolios/{uuid4()}/rebalance")

    for _ in range(8):  # so that both processes have answered each
        ask_unknown()
    before = measured.scrape()

    for _ in range(10):
        ask_unknown()

    assert measured.scrape().keys() - before.keys() == set()


def test_endpoint_reports_that_the_process_lives(measured: Measured) -> None:
    answer = httpx.get(measured.address.replace("/metrics", "/health/live"), trust_env=False)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert measured.ask("GET", "/metrics") == 404  # the API's own port has no metrics


def test_request_job_and_store_are_one_trace(measured: Measured) -> None:
    trace, above = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    job = {"policies": ["monthly"]}
    with measured.server.client() as client:
        client.headers.update(logged_in(client))
        asked = client.post(
            "/api/backtest", json=job, headers={"traceparent": f"00-{trace}-{above}-00"}
        )
        assert asked.status_code == 202, asked.text
        until(lambda: client.get(f"/api/jobs/{asked.json()['id']}").json()["finished"] is not None)

    def named(name: str) -> list[Received]:
        return [one for one in measured.collector.trace(trace) if one.name == name]

    until(lambda: bool(named("POST /api/backtest")) and bool(named("job backtest")))
    (request,), (job_span,) = named("POST /api/backtest"), named("job backtest")
    assert request.parent == above
    assert request.attributes["http.response.status_code"] == "202"
    assert job_span.parent in {one.id for one in measured.collector.trace(trace)}
    parents = {one.parent for one in measured.collector.trace(trace) if "store" in one.name}
    assert {request.id, job_span.id} <= parents
    lines = [one for one in measured.server.lines if one.get("trace") == trace]
    assert any(one["message"] == "request" and one["path"] == "/api/backtest" for one in lines)


def test_stores_are_measured(measured: Measured) -> None:
    def value(name: str) -> float:
        return measured.scrape().get(name, -1.0)

    until(lambda: value("rebalancer_prices_newest_close_timestamp_seconds") > 0)
    until(lambda: value("rebalancer_measured_timestamp_seconds") > 0)
    assert value("rebalancer_jobs_longest_wait_seconds") >= 0
    limit = value("rebalancer_database_connections_limit")
    assert 0 <= value("rebalancer_database_connections_in_use") <= limit
    assert limit in (2 * 64, 3 * 64)  # of the processes, and of one that ran a job
