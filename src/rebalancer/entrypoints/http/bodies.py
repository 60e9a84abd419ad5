"""Request bodies and query parameters, read strictly."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from litestar._openapi.schema_generation import SchemaCreator
from litestar.connection import ASGIConnection
from litestar.dto import AbstractDTO
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.schemas.decoding import Malformed, decode_request

T = TypeVar("T")


class Unsupported(InvalidRequest):
    """The body has a media type other than JSON."""

    default_code = "unsupported_media_type"


class StrictJson(AbstractDTO[T]):
    """Reads bodies; see above."""

    def decode_bytes(self, value: bytes) -> Any:
        """The body as the handler's type.

        Raises:
            Unsupported: it is not sent as JSON.
            Malformed: it is no clean JSON, or does not fit the type; names the field.
        """
        kind = self.asgi_connection.content_type[0]  # type: ignore[attr-defined]  # of a Request
        if kind and kind != "application/json" and not kind.endswith("+json"):
            raise Unsupported(f"send application/json, not {kind}")
        handler: Any = self.asgi_connection.route_handler
        return decode_request(value, handler.parsed_fn_signature.parameters["data"].annotation)

    def decode_builtins(self, value: Any) -> Any:
        """Forms are not spoken here."""
        raise Unsupported("send application/json")

    @classmethod
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:
        """Every body is read so."""
        return True

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        """Needs no backend of Litestar's."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: SchemaCreator
    ) -> Any:
        """The type itself."""
        return schema_creator.for_field_definition(field_definition)

    @classmethod
    def generate_field_definitions(
        cls, model_type: type[Any]
    ) -> Generator[DTOFieldDefinition, None, None]:
        """None: msgspec knows them."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """Never: msgspec sees to them."""
        return False


async def reject_unknown_parameters(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """A guard: whoever mistypes a parameter should not be answered as if it were left out.

    Raises:
        Malformed: a query parameter is not the route's, or occurs twice; names it.
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
            there_are = f"there are {', '.join(sorted(known))}" if known else "there is none"
            raise Malformed(f"is no parameter of this; {there_are}", field=name or "?")
        if given.count(name) > 1:
            raise Malformed("occurs twice; keep one", field=name)
