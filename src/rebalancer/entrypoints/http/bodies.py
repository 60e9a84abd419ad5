"""Read request bodies and query parameters strictly."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from litestar._openapi.schema_generation import SchemaCreator
from litestar.connection import ASGIConnection
from litestar.dto import MsgspecDTO
from litestar.exceptions import InternalServerException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.http.forms import MULTIPART, TAKES_FORM, read_form
from rebalancer.entrypoints.schemas.decoding import Malformed, decode_request
from rebalancer.entrypoints.schemas.wire import Body

T = TypeVar("T", bound=Body)

LARGE_BODY = 1_000_000
"""Bytes of the body of a request with lists of assets; a portfolio of 500 takes a tenth of it."""

SMALL_BODY = 64_000
"""Bytes of the body of a request without lists of assets."""

TINY_BODY = 16_000
"""Bytes of the body of a request without a user, and most that is decoded on the event loop: that
takes at most a few milliseconds."""

_DECODED = "rebalancer.decoded"
"""Key of the decoded body in the scope of a request."""

_decoder = ThreadPoolExecutor(1, "decoder")
"""Decodes large bodies one after another: several threads would compete with the event loop."""

log = logging.getLogger("rebalancer.http")


class Unsupported(InvalidRequest):
    """The body has a media type other than JSON."""

    default_code = "unsupported_media_type"


class IncompleteBody(Malformed):
    """The client disconnected within the body, or its chunks are malformed."""

    default_code = "incomplete_body"


class StrictJson(MsgspecDTO[T]):
    """Decodes bodies with `decode_request`, and leaves their schemas to msgspec."""

    def decode_bytes(self, value: bytes) -> Any:
        """Decode a body to the type of the handler's ``data``.

        Raises:
            Unsupported: the media type is not JSON.
            InvalidRequest: the body is invalid; see `decode_request`.
        """
        connection: Any = self.asgi_connection
        if _DECODED in connection.scope:  # by `read_body`
            return connection.scope.pop(_DECODED)
        _check_media_type(connection)
        return decode_request(value, _schema_of(connection.route_handler))

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


async def read_body(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Guard: read the body of a request, and decode a large one off the event loop.

    Raises:
        IncompleteBody: the body ends early.
        Unsupported: the media type of a large body is not JSON.
        InvalidRequest: a large body is invalid; see `decode_request`.
    """
    if "data" not in handler.parsed_fn_signature.parameters:
        return
    request: Any = connection
    try:
        body = await request.body()
    except InternalServerException as error:  # Litestar's word for http.disconnect
        log.debug("%s %s: %s", request.method, request.scope["path"], error.detail)
        raise IncompleteBody("the body is incomplete; send it again", field="body") from None
    if request.content_type[0] == MULTIPART and handler.opt.get(TAKES_FORM):
        request.scope[_DECODED] = await read_form(request)
        return
    if len(body) > TINY_BODY:
        _check_media_type(request)
        schema = _schema_of(handler)
        loop = asyncio.get_running_loop()
        decoded = await loop.run_in_executor(_decoder, decode_request, body, schema)
        request.scope[_DECODED] = decoded


def _check_media_type(request: Any) -> None:
    kind = request.content_type[0]
    is_json = kind == "application/json" or kind.endswith("+json")
    if kind and (not is_json or kind == "application/json-patch+json"):
        raise Unsupported(f"the media type {kind} is not supported; send application/json")


def _schema_of(handler: BaseRouteHandler) -> Any:
    return handler.parsed_fn_signature.parameters["data"].annotation


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
