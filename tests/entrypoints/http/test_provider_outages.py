"""Whatever a provider does wrong, the API answers with a reason and without its key."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from tests.entrypoints.http.test_fetched_assets import open_network
from tests.internet import Handler, Reply

KEY = "planted-key-0123456789"
FAULTS = {
    "outage": Reply(503, "<html>busy</html>"),
    "too many": Reply(429, "slow down", {"retry-after": "3600"}),
    "page": Reply(200, "<html>Before you continue</html>", {"content-type": "text/html"}),
    "half": Reply(200, '{"chart": {"result": [{"meta": {"curr'),
    "other form": Reply(200, json.dumps({"chart": {"result": [{}]}, "quotes": [[]]})),
    "quoted key": Reply(200, json.dumps({"Error Message": KEY, "detail": KEY})),
}
PATHS = (
    "/api/market/assets?query=world&everywhere=true",
    "/api/market/fundamentals/VTI",
    "/api/market/series/GDP",
    "/api/market/schedule",
    "/health/ready",
)


def answer_with(reply: Reply) -> Handler:
    """Return a handler with one reply; a server without a key cannot quote it."""
    without = attrs.evolve(reply, body=str(reply.body).replace(KEY, "a key"))
    return lambda request: without if "yahoo" in request.host else reply


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_providers_is_never_an_internal_error(
    tmp_path: Path, sqlite_template: Path, fault: str
) -> None:
    keys = {"tiingo_key": KEY, "fred_key": KEY, "providers": ("yahoo", "tiingo", "fred", "ecb")}
    for network in open_network(tmp_path, sqlite_template, **keys):
        hosts = (*network.internet.hosts, "api.tiingo.com", "api.stlouisfed.org")
        network.internet.hosts = dict.fromkeys(hosts, answer_with(FAULTS[fault]))
        for path in PATHS:
            answer = network.user.get(path)
            assert answer.status_code in (200, 404, 503), (path, answer.text)
            assert KEY not in answer.text
        if fault == "page":  # retries take a while
            job = network.fetch("VTI")
            assert job["state"] in ("failed", "dead")
            assert "VTI" in job["error"] and KEY not in json.dumps(job)
