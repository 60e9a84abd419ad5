"""Metrics of a real server with two processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from uuid import uuid4

import attrs
import httpx
import pytest

from tests.e2e.conftest import Running

Samples = Mapping[str, float]
"""Values by series, as the endpoint writes it: a name with its labels."""

_SAMPLE = re.compile(r"^(?P<series>\w+(?:\{.*\})?) (?P<value>\S+)$", re.MULTILINE)


@attrs.frozen
class Measured:
    """A running server, and the address of its metrics."""

    server: Running
    address: str

    def scrape(self) -> Samples:
        answer = httpx.get(self.address, trust_env=False)
        assert answer.status_code == 200, answer.text
        return {found["series"]: float(found["value"]) for found in _SAMPLE.finditer(answer.text)}

    def ask(self, method: str, path: str) -> int:
        """Send a request on a connection of its own, which either process may accept."""
        with self.server.client(timeout=30) as client:
            return client.request(method, path).status_code


@pytest.fixture(scope="module")
def measured(share_server: Callable[..., Running]) -> Iterator[Measured]:
    server = share_server(
        *("--workers", "2"), env={"REBALANCER_METRICS_PORT": "0", "REBALANCER_RATE_LIMIT": "0"}
    )
    assert server.process.stdout is not None
    line = next(one for one in server.process.stdout if one.startswith("Metrics at "))
    yield Measured(server, line.removeprefix("Metrics at ").strip())


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
