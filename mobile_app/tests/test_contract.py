"""The gateway and the server's OpenAPI document agree, so that a change of one fails here."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import types
import typing
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import attrs
import httpx
import pytest

from rebalancer_app import gateway
from rebalancer_app.gateway.client import Endpoint

PLAIN = {
    str: {"string"},
    Decimal: {"string", "number", "integer"},
    UUID: {"string"},
    date: {"string"},
    datetime: {"string"},
    float: {"number", "integer"},
    int: {"integer"},
    bool: {"boolean"},
}


def endpoints() -> dict[str, Endpoint]:
    found = {}
    for module in pkgutil.iter_modules(gateway.__path__):
        for name, value in vars(
            importlib.import_module(f"{gateway.__name__}.{module.name}")
        ).items():
            if isinstance(value, Endpoint):
                found[f"{module.name}.{name}"] = value
    return found


@pytest.fixture(scope="session")
def document():
    from rebalancer.config import Settings
    from rebalancer.entrypoints.http.app import application
    from rebalancer.wiring.container import build_async_container
    from rebalancer.wiring.market import Sources

    settings = Settings(database_url="sqlite://", prices="sample", rate_limit=0)
    app = application(build_async_container(Sources.of(settings), settings=settings))

    async def read():
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            return (await client.get("/docs/openapi.json")).raise_for_status().json()

    return asyncio.run(read())


def resolve(schema, document):
    while "$ref" in schema:
        at = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        schema = at
    return schema


def alternatives(schema, document):
    """Return the schemas of a union, without null, and whether null is among them."""
    schema = resolve(schema, document)
    parts = schema.get("oneOf") or schema.get("anyOf")
    if "properties" in schema:  # which of its members are required together
        parts = None
    if parts is None:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            rest = [one for one in kinds if one != "null"]
            return [schema | {"type": one} for one in rest], "null" in kinds
        return [schema], False
    found, null = [], False
    for part in parts:
        more, is_null = alternatives(part, document)
        null = null or is_null
        for one in more:
            null = null or one.get("type") == "null"
            if one.get("type") != "null":
                found.append(one)
    return found, null


def differences(kind, schema, document, where, *, sent=False):
    """Yield where a class of the gateway does not fit a schema."""
    found, null = alternatives(schema, document)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        kind = next(one for one in arguments if one is not type(None))
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    elif null and not sent and kind is not typing.Any:
        yield f"{where}: may be null"
    if kind is typing.Any or not found:
        return
    if len(found) > 1 and kind not in PLAIN:
        found = [one for one in found if one.get("type") in ("object", "array")] or found
    one = found[0]
    if attrs.has(origin or kind):
        names = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
        hints = typing.get_type_hints(origin or kind)
        for field in attrs.fields(origin or kind):
            hint = hints[field.name]
            if typing.get_origin(hint) is list and typing.get_args(hint)[0] in names:
                hint = list[names[typing.get_args(hint)[0]]]
            name = field.metadata.get("name", field.name)
            if name not in one.get("properties", {}):
                yield f"{where}.{name}: unknown to the server"
                continue
            yield from differences(
                hint, one["properties"][name], document, f"{where}.{name}", sent=sent
            )
        if sent:
            known = {field.metadata.get("name", field.name) for field in attrs.fields(kind)}
            for name in set(one.get("required", ())) - known:
                yield f"{where}.{name}: required by the server"
    elif origin is list:
        if one.get("type") != "array":
            yield f"{where}: {one.get('type')}, not a list"
        else:
            yield from differences(arguments[0], one["items"], document, f"{where}[]", sent=sent)
    elif origin is dict:
        if one.get("type") != "object":
            yield f"{where}: {one.get('type')}, not an object"
        elif isinstance(one.get("additionalProperties"), dict):
            yield from differences(
                arguments[1], one["additionalProperties"], document, f"{where}[]", sent=sent
            )
    else:
        kinds = {each.get("type", "string") for each in found}
        if not kinds & PLAIN[kind]:
            yield f"{where}: {sorted(kinds)}, not {kind.__name__}"


@pytest.mark.parametrize("name", sorted(endpoints()))
def test_endpoint_fits_the_document(name, document):
    endpoint = endpoints()[name]
    paths = {path.rstrip("/"): item for path, item in document["paths"].items()}
    wanted = [
        path
        for path in paths
        if [part.startswith("{") or part for part in path.split("/")]
        == [part.startswith("{") or part for part in endpoint.path.split("/")]
    ]
    assert wanted, f"{endpoint.path} does not exist"
    operation = paths[wanted[0]].get(endpoint.method.lower())
    assert operation is not None, f"{endpoint.method} {endpoint.path} does not exist"
    offered = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
    assert set(endpoint.query) <= offered
    headers = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "header"}
    if endpoint.method == "POST":
        assert ("Idempotency-Key" in headers) == endpoint.keyed
    problems = []
    if endpoint.body is not None:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        problems += differences(endpoint.body, body, document, "body", sent=True)
    answers = [
        content["application/json"]["schema"]
        for status, answer in operation["responses"].items()
        if status.startswith("2") and (content := answer.get("content"))
        if "application/json" in content
    ]
    if endpoint.path.endswith("/events"):  # each event holds what the resource itself is
        whole = paths[wanted[0].removesuffix("/events")]["get"]["responses"]["200"]
        answers = [whole["content"]["application/json"]["schema"]]
    if endpoint.answer is not None:
        assert answers, "the server answers without a body"
        problems += differences(endpoint.answer, answers[0], document, "answer")
    assert problems == []
