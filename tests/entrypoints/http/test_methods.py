"""Each path answers HEAD like GET, and names its methods."""

from __future__ import annotations

import pytest

from tests.authenticator import Authenticator
from tests.entrypoints.http.conftest import (
    RunningApi,
    expect_problem,
    finished_job,
    start_backtest,
)
from tests.entrypoints.http.test_ownership import ALL, plain

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
PATHS: dict[str, set[str]] = {}
for _method, _path, _ in ALL:
    PATHS.setdefault(_path, {"OPTIONS"}).add(_method)
    if _method == "GET":
        PATHS[_path].add("HEAD")


def allowed(header: str) -> set[str]:
    methods = [one.strip() for one in header.split(",")]
    assert methods == sorted(set(methods))
    return set(methods)


@pytest.mark.parametrize("path", PATHS)
def test_path_names_its_methods(api: RunningApi, path: str) -> None:
    ada = api.register()
    url, known = plain(path), PATHS[path]
    answer = ada.ask("OPTIONS", url)
    assert answer.status_code == 204
    assert allowed(answer.headers["allow"]) == known
    assert ("accept-patch" in answer.headers) == ("PATCH" in known)
    for method in METHODS - known:
        refused = ada.ask(method, url, json={})
        if method != "HEAD":
            detail = expect_problem(refused, 405)
            assert detail.endswith(f"is not allowed here; use one of {', '.join(sorted(known))}")
        assert refused.status_code == 405
        assert allowed(refused.headers["allow"]) == known, method
    for method in known - {"OPTIONS"}:
        assert ada.ask(method, url, json={}).status_code != 405, method


GETS = [path for method, path, _ in ALL if method == "GET"]


@pytest.mark.parametrize("path", GETS)
def test_head_has_the_headers_of_get(api: RunningApi, path: str) -> None:
    ada = api.register()
    portfolio = ada.portfolio()["id"]
    ids = {
        "portfolio_id": portfolio,
        "proposal_id": ada.proposal(portfolio)["id"],
        "passkey_id": ada.add_passkey(Authenticator())["id"],
        "job_id": finished_job(ada, f"/api/jobs/{start_backtest(ada)['id']}")["id"],
        "symbol": "C",
        "name": "trend",
    }
    url = plain(path, **ids)
    head = ada.ask("HEAD", url)
    assert head.content == b""
    if path.endswith(("/events", "{portfolio_id:uuid}/stream")):
        assert head.status_code == 200  # and the stream has ended
        return
    got = ada.get(url)
    assert head.status_code == got.status_code
    for name in ("content-type", "etag", "content-disposition"):
        assert head.headers.get(name) == got.headers.get(name)


def test_head_outside_the_api(api: RunningApi) -> None:
    for path in ("/docs", "/docs/openapi.json", "/docs/static/swagger-ui.css"):
        head = api.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == api.client.get(path).headers["content-length"]
    assert api.client.head("/api/nowhere").status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_root_leads_to_the_documentation(api: RunningApi, method: str) -> None:
    answer = api.client.request(method, "/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    assert api.client.request(method, "/").status_code == 200
