"""Query parameters and headers that several routes share."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from litestar.params import HeaderParameter, QueryParameter

from rebalancer.application.portfolios import ValuedPortfolio
from rebalancer.entrypoints.schemas.decoding import Malformed

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Most items on a page.")]
Cursor = Annotated[
    UUID | None, QueryParameter(description="Start after this id: the `next` of the previous page.")
]
_ETAG = r'^(W/)?"?(?P<version>[0-9]{1,9})(\.[0-9-]{10})?"?$'
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="The ETag of the version to replace.",
        schema_extra={"pattern": _ETAG.replace("?P<version>", "")},
    ),
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


def etag(valued: ValuedPortfolio) -> str:
    """Identify the state of a portfolio by its version and the day of its prices."""
    return f'"{valued.portfolio.version}.{valued.as_of}"'


def version_of(if_match: str) -> int:
    """Return the version in an ETag.

    Raises:
        Malformed: the header does not hold an ETag of a portfolio.
    """
    found = re.fullmatch(_ETAG, if_match)
    if found is None:
        raise Malformed(
            'expected the ETag of a portfolio, such as "3.2022-12-28"',
            field="If-Match",
            code="invalid_etag",
        )
    return int(found["version"])
