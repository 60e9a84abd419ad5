"""Read request bodies and query parameters strictly."""

from __future__ import annotations

from typing import Any, TypeVar

from litestar._openapi.schema_generation import SchemaCreator
from litestar.connection import ASGIConnection
from litestar.dto import MsgspecDTO
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.schemas.decoding import Malformed, decode_request
from rebalancer.entrypoints.schemas.wire import Body

T = TypeVar("T", bound=Body)


class Unsupported(InvalidRequest):
    """The body has a media type other than JSON."""

    default_code = "unsupported_media_type"


class StrictJson(MsgspecDTO[T]):
    """Decodes bodies with `decode_request`, and leaves their schemas to msgspec."""

    def decode_bytes(self, value: bytes) -> Any:
        """Decode a body to the type of the handler's ``data``.

        Raises:
            Unsupported: the media type is not JSON.
            InvalidRequest: the body is invalid; see `decode_request`.
        """
        kind = self.asgi_connection.content_type[0]  # type: ignore[attr-defined]  # of a Request
        is_json = kind == "application/json" or kind.endswith("+json")
        if kind and (not is_json or kind == "application/json-patch+json"):
            raise Unsupported(f"the media type {kind} is not supported; send application/json")
        handler: Any = self.asgi_connection.route_handler
        return decode_request(value, handler.parsed_fn_signature.parameters["data"].annotation)

    def decode_builtins(self, value: Any) -> Any:
        """Reject forms."""
        raise Unsupported("forms are not supported; send application/json")

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        """Do nothing: msgspec replaces the backend."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: SchemaCreator
    ) -> Any:
        """Describe the type itself."""
        return schema_creator.for_field_definition(field_definition)


async def reject_unknown_parameters(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Guard: reject a mistyped query parameter, which would otherwise have no effect.

    Raises:
        Malformed: a query parameter is unknown or occurs twice.
    """
    if not connection.scope["query_string"]:
        return
    known = {
        field.kwarg_definition.name or name
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }
    given = [name for name, _ in connection.query_params.multi_items()]
    for name in given:
        if name not in known:
            remedy = f"use {', '.join(sorted(known))}" if known else "remove it"
            raise Malformed(
                f"unknown query parameter; {remedy}", field=name or "?", code="unknown_parameter"
            )
        if given.count(name) > 1:
            raise Malformed(
                "the parameter occurs twice; remove one", field=name, code="duplicate_parameter"
            )
