"""The API's description: what Litestar finds out, with our structs as msgspec checks them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, get_origin

import msgspec
from litestar import Request
from litestar._openapi.schema_generation import SchemaCreator
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from litestar.utils.predicates import is_class_and_subclass

from rebalancer.entrypoints.schemas.wire import Amount, Bounded, NonNegative

_SCHEMAS = "#/components/schemas/"


class StructSchemas(OpenAPISchemaPlugin):
    """Leaves the description of our structs to msgspec, which knows all that it checks."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}
        self._completed: dict[str, Any] | None = None

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether it is one of ours."""
        return is_class_and_subclass(get_origin(value) or value, msgspec.Struct)

    def to_openapi_schema(
        self, field_definition: FieldDefinition, schema_creator: SchemaCreator
    ) -> Schema:
        """A place to be filled by `completed`."""
        kind = field_definition.annotation
        name = _name(kind)
        self._seen[name] = kind
        return schema_creator.create_component_schema(
            field_definition, required=[], property_fields={}, title=name
        )

    def completed(self, document: dict[str, Any]) -> dict[str, Any]:
        """The description with the places filled, and a few things mended."""
        if self._completed is None:
            kinds = list(self._seen.values())
            _, described = msgspec.json.schema_components(
                kinds, schema_hook=_described, ref_template=_SCHEMAS + "{name}"
            )
            places = document["components"]["schemas"]
            names = {
                _SCHEMAS + place: _SCHEMAS + schema["title"]
                for place, schema in places.items()
                if schema.get("title") in described
            }
            others = {p: s for p, s in places.items() if _SCHEMAS + p not in names}
            document["components"]["schemas"] = {**others, **described}
            document["paths"] = _renamed(document["paths"], names)
            for operations in document["paths"].values():
                for operation in operations.values():
                    _mend(operation, described)
            self._completed = document
        return self._completed


class OpenApiJson(JsonRenderPlugin):
    """The description, for machines."""

    def __init__(self, structs: StructSchemas, *, path: str) -> None:
        self._structs = structs
        super().__init__(path=path)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """As JSON."""
        return super().render(request, self._structs.completed(openapi_schema))


class SwaggerPage(SwaggerRenderPlugin):
    """The same as a page to read, and to try things on; all that it loads comes from us."""

    def __init__(self, structs: StructSchemas, *, path: str, static: str) -> None:
        self._structs = structs
        super().__init__(
            js_url=f"{static}/swagger-ui-bundle.js",
            css_url=f"{static}/swagger-ui.css",
            standalone_preset_js_url=f"{static}/swagger-ui-standalone-preset.js",
            favicon=f"<link rel='icon' href='{static}/favicon-32x32.png'>",
            path=path,
        )

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """As HTML."""
        return super().render(request, self._structs.completed(openapi_schema))


def swagger_folder() -> Path:
    """Where the swagger-ui that a package brings along lies; the package itself is not loaded."""
    return Path(str(distribution("swagger-ui-py").locate_file("swagger_ui/static")))


@cache
def _name(kind: Any) -> str:
    (schema,), _ = msgspec.json.schema_components(
        [kind], schema_hook=_described, ref_template="{name}"
    )
    return str(schema["$ref"])


def _described(kind: type[Any]) -> dict[str, Any]:
    """The JSON schema of a scalar of requests."""
    if issubclass(kind, Bounded):
        return {"type": "number", "minimum": kind.low, "maximum": kind.high}
    if issubclass(kind, Amount):
        most = 10**15 - 1
        return {
            "oneOf": [
                {"type": "string", "pattern": kind.pattern},
                {
                    "type": "integer",
                    "minimum": 0 if issubclass(kind, NonNegative) else -most,
                    "maximum": most,
                },
            ],
            "examples": [kind.example],
        }
    raise NotImplementedError(kind)


def _renamed(node: Any, names: dict[str, str]) -> Any:
    """The same with other references."""
    if isinstance(node, dict):
        return {
            key: names.get(value, value) if key == "$ref" else _renamed(value, names)
            for key, value in node.items()
        }
    return [_renamed(one, names) for one in node] if isinstance(node, list) else node


def _mend(operation: dict[str, Any], described: dict[str, Any]) -> None:
    """What Litestar gets wrong: a parameter can be left out, but not be null; so can some bodies.

    A body can be left out if none of its fields is required.
    """
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        choices = [one for one in schema.pop("oneOf", ()) if one != {"type": "null"}]
        if len(choices) == 1:
            schema.update(choices[0])
        elif choices:
            schema["oneOf"] = choices
        schema.pop("description", None)  # which the parameter has
    if (body := operation.get("requestBody")) is not None:
        name = body["content"]["application/json"]["schema"]["$ref"].removeprefix(_SCHEMAS)
        body["required"] = bool(described[name].get("required"))
        described[name]["examples"] = [_example(described[name], described)]


def _example(schema: dict[str, Any], described: dict[str, Any]) -> Any:
    """A value of a schema, from the examples of its parts."""
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    if "$ref" in schema:
        return _example(described[schema["$ref"].removeprefix(_SCHEMAS)], described)
    if schema["type"] == "array":
        return [_example(schema["items"], described)]
    return {
        name: _example(part, described)
        for name, part in schema["properties"].items()
        if name in schema.get("required", ()) or "examples" in part
    }
