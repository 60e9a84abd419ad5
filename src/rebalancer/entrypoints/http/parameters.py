"""Query parameters that several routes share."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar.params import QueryParameter

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="Most items on a page.")]
Cursor = Annotated[
    UUID | None, QueryParameter(description="Start after this id: the `next` of the previous page.")
]
