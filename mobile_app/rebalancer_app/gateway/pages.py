"""Lists that come page by page."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        items: What it holds.
        next: Where the following page begins; None on the last one.
    """

    items: list[T]
    next: str | None = None
