"""The OpenAPI document: Litestar's, with the schemas of msgspec."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, get_origin

import msgspec
from litestar import MediaType, Request, get
from litestar._openapi.schema_generation import SchemaCreator
from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from litestar.utils.predicates import is_class_and_subclass

from rebalancer.entrypoints.http.errors import common_problems
from rebalancer.entrypoints.http.forms import MULTIPART, form_schema
from rebalancer.entrypoints.schemas import examples
from rebalancer.entrypoints.schemas.statement_imports import ImportBody
from rebalancer.entrypoints.schemas.wire import (
    CURRENCY,
    MOST_CURRENCIES,
    Amount,
    Body,
    Bounded,
    Cash,
    DecimalText,
    NonNegative,
    View,
)

_PREFIX = "#/components/schemas/"

_EXAMPLES = {
    "portfolio_id": str(examples.PORTFOLIO),
    "series": "DGS10",
    "symbol": "KO",
    "name": "band",
    "If-Match": "*",
}
"""Examples of parameters, by name."""


class StructSchemas(OpenAPISchemaPlugin):
    """Describes structs by the schemas of msgspec, which include all that it checks."""

    def __init__(self) -> None:
        self._structs: dict[str, Any] = {}
        self._document: dict[str, Any] | None = None

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Return whether a type is a struct."""
        return is_class_and_subclass(get_origin(value) or value, msgspec.Struct)

    def to_openapi_schema(
        self, field_definition: FieldDefinition, schema_creator: SchemaCreator
    ) -> Schema:
        """Return a placeholder, which `complete` replaces."""
        struct = field_definition.annotation
        name = _schema_name(struct)
        self._structs[name] = struct
        return schema_creator.create_component_schema(
            field_definition, required=[], property_fields={}, title=name
        )

    def complete(self, document: dict[str, Any]) -> dict[str, Any]:
        """Replace the placeholders of a document, and correct its parameters and bodies."""
        if self._document is None:
            _, schemas = msgspec.json.schema_components(
                list(self._structs.values()),
                schema_hook=_scalar_schema,
                ref_template=_PREFIX + "{name}",
            )
            views = {view.__name__ for view in _subclasses(View)}
            for name, schema in schemas.items():
                if name.partition("_")[0] in views:  # a page is called Page_PortfolioView_
                    _require_all_fields(schema)
            for name, struct in self._structs.items():
                if issubclass(get_origin(struct) or struct, Body) and struct.alternatives:
                    schemas[name]["anyOf"] = [
                        {"required": [one], "properties": {one: {"type": ["object", "integer"]}}}
                        for one in struct.alternatives
                    ]
            placeholders = document["components"]["schemas"]
            names = {
                _PREFIX + placeholder: _PREFIX + schema["title"]
                for placeholder, schema in placeholders.items()
                if schema.get("title") in schemas
            }
            others = {p: schema for p, schema in placeholders.items() if _PREFIX + p not in names}
            document["components"]["schemas"] = {**others, **schemas}
            document["paths"] = _rename_references(document["paths"], names)
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    operation["responses"] |= common_problems(path, operation)
                    _correct(operation, schemas)
                    if method == "put" and "requestBody" in operation:
                        operation["requestBody"]["required"] = True
                    if method == "patch":
                        content = (body := operation["requestBody"])["content"]
                        content["application/merge-patch+json"] = content["application/json"]
                        body["required"] = True
            self._document = document
        return self._document


class CompleteDocument(OpenAPIRenderPlugin):
    """Renders the completed document with another plugin."""

    def __init__(self, schemas: StructSchemas, plugin: OpenAPIRenderPlugin) -> None:
        self._schemas, self._plugin = schemas, plugin
        super().__init__(path=plugin.paths, media_type=plugin.media_type)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Render the document."""
        return self._plugin.render(request, self._schemas.complete(openapi_schema))


class InteractivePage(OpenAPIRenderPlugin):
    """Renders Swagger UI without inline scripts; it loads nothing from other servers.

    Args:
        static: Path of the files of Swagger UI.
        script: Path of `start_interactive_page`.
    """

    def __init__(self, static: str, script: str) -> None:
        self._static, self._script = static, script
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Render the page."""
        return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(openapi_schema["info"]["title"])}</title>
<link rel="icon" href="{self._static}/favicon-32x32.png">
<link rel="stylesheet" href="{self._static}/swagger-ui.css">
<script defer src="{self._static}/swagger-ui-bundle.js"></script>
<script defer src="{self._script}"></script>
</head>
<body><div id="page"></div></body>
</html>
""".encode()


@get("/docs/start.js", media_type="text/javascript", include_in_schema=False)
async def start_interactive_page() -> str:
    """Return the script that starts Swagger UI."""
    return """SwaggerUIBundle({
  url: "/docs/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


async def refuse_impossible_name(
    connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler
) -> None:
    """Guard: refuse a path that no file can have, for which the file system raises an error.

    Raises:
        NotFoundException: the path holds U+0000 or more than 255 bytes.
    """
    path = connection.scope["path"]
    if "\0" in path or len(path.encode(errors="replace")) > 255:
        raise NotFoundException("no such file")


def swagger_folder() -> Path:
    """Return the folder of Swagger UI in its package, without importing the package."""
    return Path(str(distribution("swagger-ui-py").locate_file("swagger_ui/static")))


@cache
def _schema_name(struct: Any) -> str:
    (schema,), _ = msgspec.json.schema_components(
        [struct], schema_hook=_scalar_schema, ref_template="{name}"
    )
    return str(schema["$ref"])


def _scalar_schema(kind: type[Any]) -> dict[str, Any]:
    """Describe a scalar type of ours."""
    if kind is DecimalText:
        return {"type": "string"}
    if issubclass(kind, Bounded):
        return {"type": "number", "minimum": kind.low, "maximum": kind.high}
    if issubclass(kind, Cash):
        one = _scalar_schema(kind.part)
        amounts = {
            "type": "object",
            "propertyNames": {"pattern": CURRENCY},
            "additionalProperties": {"oneOf": one["oneOf"]},
            "maxProperties": MOST_CURRENCIES,
        }
        return {"oneOf": [*one["oneOf"], amounts], "examples": one["examples"]}
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


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _require_all_fields(schema: dict[str, Any]) -> None:
    """State that a response has every field; a default is never left out."""
    schema["required"] = list(schema["properties"])
    for part in schema["properties"].values():
        part.pop("default", None)


def _rename_references(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            key: names.get(value, value) if key == "$ref" else _rename_references(value, names)
            for key, value in node.items()
        }
    return [_rename_references(one, names) for one in node] if isinstance(node, list) else node


def _correct(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Correct what Litestar describes wrongly.

    An optional parameter may be left out, but it may not be null. A body may be left out if none of
    its fields is required, but for that of PUT. A version is required if its absence is an error.
    """
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "If-Match" and "428" in operation["responses"]:
            parameter["required"] = True
        if parameter["name"] in _EXAMPLES:
            parameter["example"] = _EXAMPLES[parameter["name"]]
        schema = parameter["schema"]
        choices = [one for one in schema.pop("oneOf", ()) if one != {"type": "null"}]
        if len(choices) == 1:
            schema.update(choices[0])
        elif choices:
            schema["oneOf"] = choices
        schema.pop("description", None)  # the parameter has it
    if (body := operation.get("requestBody")) is not None:
        name = body["content"]["application/json"]["schema"]["$ref"].removeprefix(_PREFIX)
        body["required"] = any(schemas[name].get(one) for one in ("required", "anyOf"))
        schemas[name]["examples"] = [_example(schemas[name], schemas)]
        if name == ImportBody.__name__:
            body["content"][MULTIPART] = {"schema": form_schema()}


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Build an example of a schema from the examples of its parts."""
    if "examples" in schema:
        return schema["examples"][-1]  # that of the field, after that of its type
    if "enum" in schema:
        return schema["enum"][0]
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].removeprefix(_PREFIX)], schemas)
    if schema["type"] == "array":
        return [_example(schema["items"], schemas)]
    return {
        name: _example(part, schemas)
        for name, part in schema["properties"].items()
        if name in schema.get("required", ()) or "examples" in part
    }
