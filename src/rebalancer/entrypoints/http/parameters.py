"""Parameters that several routes share."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote
from uuid import UUID

from litestar import Request
from litestar.params import QueryParameter

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Most items on a page.")]
Cursor = Annotated[
    UUID | None, QueryParameter(description="Start after this id: the `next` of the previous page.")
]


def rest_of_path(request: Request[Any, Any, Any], before: str, decoded: str) -> str:
    """Return the symbol or id at the end of a path.

    A server decodes ``%2F`` before the path is split, so that only the raw path tells how many
    slashes a symbol has.

    Args:
        request: The request.
        before: End of the path before it.
        decoded: The end of the path as the server has decoded it.
    """
    raw: bytes = request.scope.get("raw_path") or b""
    _, found, rest = raw.partition(b"?")[0].partition(before.encode())
    return unquote(rest.decode("latin-1")) if found else decoded.removeprefix("/")
