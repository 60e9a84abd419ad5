"""The OpenAPI document is complete, valid and readable without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.entrypoints.http.conftest import RunningApi
from tests.entrypoints.http.test_ownership import ALL, PUBLIC

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.fixture
def document(api: RunningApi) -> dict[str, Any]:
    return api.client.get("/docs/openapi.json").json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in document["paths"].items():
        for method, operation in found.items():
            yield method.upper(), path, operation


def test_each_route_is_documented(document: dict[str, Any]) -> None:
    described = {(method, path) for method, path, _ in operations(document)}
    assert described == {
        (method, re.sub(r":\w+}", "}", path).rstrip("/")) for method, path, _ in ALL
    }


def test_each_operation_is_documented(document: dict[str, Any]) -> None:
    known = {tag["name"] for tag in document["tags"]}
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, operation in operations(document):
        assert operation["summary"] and operation["description"], path
        assert len(operation["tags"]) == 1 and set(operation["tags"]) <= known
        public = (method, path) in {(m, re.sub(r":\w+}", "}", p)) for m, p in PUBLIC}
        assert bool(operation.get("security")) != public, path
        errors = {int(status) for status in operation["responses"]}
        assert {400, 503} <= errors or path.startswith("/health")
        assert 429 in errors, path
        assert (401 in errors) or public
        assert (404 in errors) or "{" not in path
        for status, response in operation["responses"].items():
            assert response["description"]
            if int(status) >= 400 and (path, status) != ("/health/ready", "503"):
                assert list(response["content"]) == ["application/problem+json"]
        for parameter in operation.get("parameters", ()):
            assert "null" not in str(parameter["schema"]), parameter
        if "requestBody" in operation:
            assert {400, 413, 415} <= errors, path


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        if "requestBody" not in operation:
            continue
        kind, *_ = operation["requestBody"]["content"].values()
        name = kind["schema"]["$ref"].rpartition("/")[2]
        assert document["components"]["schemas"][name].get("examples"), (path, name)


def test_examples_are_accepted(api: RunningApi, document: dict[str, Any]) -> None:
    """Examples are well-formed; their ids, tokens and symbols do not exist here."""
    ada = api.register()
    for method, path, operation in operations(document):
        if "requestBody" not in operation:
            continue
        kind, *_ = operation["requestBody"]["content"].values()
        name = kind["schema"]["$ref"].rpartition("/")[2]
        for example in document["components"]["schemas"][name]["examples"]:
            url = re.sub(r"{\w+}", "00000000-0000-0000-0000-000000000007", path)
            answer = ada.ask(method, url, json=example, headers={"If-Match": '"1"'})
            assert answer.status_code not in (400, 405, 415), (path, answer.text)
            assert answer.status_code < 500


def test_references_are_resolvable(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for reference in re.findall(r"'\$ref': '([^']*)'", str(document)):
        assert reference.removeprefix("#/components/schemas/") in schemas
    assert not any("rebalancer." in name for name in schemas)


def test_page_loads_nothing_from_other_servers(api: RunningApi) -> None:
    page = api.client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    linked = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert len(linked) == 4
    for url in linked:
        assert url.startswith("/docs/"), url
        assert api.client.get(url).status_code == 200
    assert not re.findall(r"""["'(]https?://(?!testserver)""", page.text.partition("<body")[0])
    assert "cdn" not in page.text


def test_document_is_stable(api: RunningApi) -> None:
    first, second = (api.client.get("/docs/openapi.json").content for _ in range(2))
    assert first == second
    api.client.get("/docs")
    assert api.client.get("/docs/openapi.json").content == first


def test_headers_that_a_route_demands_are_marked(api: RunningApi, document: dict[str, Any]) -> None:
    """A request without a header that is not marked as required is not refused for its absence."""
    ada = api.register()
    portfolio = ada.portfolio()["id"]
    for method, path, operation in operations(document):
        parameters = {one["name"]: one for one in operation.get("parameters", ())}
        required = {name for name, one in parameters.items() if one["required"]}
        assert ("If-Match" in required) == ("428" in operation["responses"]), path
        url = path.replace("{portfolio_id}", portfolio)
        if "{" in url or "If-Match" not in parameters:
            continue
        answer = ada.ask(method, url, json={"name": "N", "targets": {"C": 0.1}})
        assert (answer.status_code == 428) == ("If-Match" in required), (method, path)
        if answer.status_code == 204:
            portfolio = ada.portfolio()["id"]


def test_patch_takes_both_formats(document: dict[str, Any]) -> None:
    content = document["paths"]["/api/portfolios/{portfolio_id}"]["patch"]["requestBody"]
    assert content["required"]
    assert set(content["content"]) == {"application/json", "application/merge-patch+json"}
