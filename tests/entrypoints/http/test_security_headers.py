"""Security headers of every answer."""

from __future__ import annotations

import re

import pytest
from litestar.testing import TestClient

from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.config import Settings
from rebalancer.entrypoints.http.app import application
from rebalancer.wiring.container import build_async_container
from rebalancer.wiring.market import Sources
from tests.entrypoints.http.conftest import (
    HISTORY,
    UNKNOWN_ID,
    ApiUser,
    FakePriceSource,
    Fakes,
    RunningApi,
    provide_values,
    run_api,
)

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)

PATHS = (
    "/",
    "/docs",
    "/docs/openapi.json",
    "/docs/static/swagger-ui.css",
    "/health/live",
    "/health/ready",
    "/nope",
    "/api/policies",
    "/api/portfolios",
    f"/api/portfolios/{UNKNOWN_ID}",
)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_security_headers(api: RunningApi, path: str, method: str) -> None:
    foreign = {"Origin": "https://example.com"}
    headers = api.client.request(method, path, follow_redirects=False, headers=foreign).headers
    assert not [name for name in headers if name.startswith("access-control-")]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["server"] == "rebalancer"
    for name in headers:
        assert len(headers.get_list(name)) == 1, name


def test_page_has_no_inline_script(api: RunningApi) -> None:
    page = api.client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page.text) == ["", ""]
    assert not re.search(r" on[a-z]+=", page.text)
    assert "SwaggerUIBundle(" in api.client.get("/docs/start.js").text


def test_personal_answers_are_not_stored(api: RunningApi, ada: ApiUser) -> None:
    opened = ada.post("/api/portfolios", {"name": "Mine", "targets": {}, "cash": "5"})
    path = opened.headers["location"]
    answers = [
        opened,
        ada.get(path),
        ada.get(path, headers={"If-None-Match": opened.headers["etag"]}),
        ada.get("/api/users/profile"),
        ada.get(f"/api/portfolios/{UNKNOWN_ID}"),
        api.client.post("/api/users/refresh", json={"refresh_token": "x"}),
        api.client.get("/api/users/profile"),
    ]
    assert [one.status_code for one in answers] == [201, 200, 304, 200, 404, 401, 401]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
    assert "cache-control" not in api.client.get("/api/policies").headers


def test_refused_requests_have_security_headers(work: UnitOfWork) -> None:
    fakes = Fakes()
    fakes.reset(work)
    with run_api(fakes, settings=Settings(rate_limit=1)) as limited:
        limited.client.get("/api/policies")
        refused = limited.client.get("/api/policies")
        assert refused.status_code == 429
        assert refused.headers["x-content-type-options"] == "nosniff"


def test_documentation_can_be_switched_off(work: UnitOfWork) -> None:
    assert not Settings.read({"REBALANCER_DOCS": "off"}).docs
    assert Settings.read({}).docs
    fakes = {UnitOfWork: work, PriceSource: FakePriceSource(HISTORY)}
    wired = build_async_container(Sources(), provide_values(fakes), settings=Settings())
    with TestClient(application(wired, documented=False)) as client:
        for path in ("/", "/docs", "/docs/openapi.json", "/docs/static/swagger-ui.css"):
            assert client.get(path).status_code == 404
        assert client.get("/health/live").status_code == 200
