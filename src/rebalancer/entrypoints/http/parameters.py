"""Query parameters and headers that several routes share."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar.params import HeaderParameter, QueryParameter

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Most items on a page.")]
Cursor = Annotated[
    UUID | None, QueryParameter(description="Start after this id: the `next` of the previous page.")
]
Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="A unique text of your choice. A request that is repeated with the same key "
        "takes effect once and gets the same response.",
    ),
]


def replay_headers(replayed: bool) -> dict[str, str]:
    """Mark the response to a repeated request."""
    return {"Idempotent-Replayed": "true"} if replayed else {}
