"""Query parameters and headers that several routes share."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar.params import HeaderParameter, QueryParameter

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many at most.")]
ETAG = r'^(W/)?"?(?P<version>[0-9]{1,9})(\.[0-9-]{10})?"?$'
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="The ETag of what you saw.",
        schema_extra={"pattern": ETAG.replace("?P<version>", "")},
    ),
]
Cursor = Annotated[
    UUID | None, QueryParameter(description="Go on from here: the `next` of the page before.")
]
Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Any text of your own, new for each request: the same request sent again with "
        "the same key takes effect once, and is answered alike.",
    ),
]


def replay_headers(before: bool) -> dict[str, str]:
    """The header that tells a repeated request from the first."""
    return {"Idempotent-Replayed": "true"} if before else {}
