"""Limits on the depth and the number of values of JSON text, checked before it is parsed.

Parsing a megabyte of nested lists takes seconds, in which nothing else can run.
"""

from __future__ import annotations

import re

from rebalancer.domain.errors import InvalidRequest

MOST_LEVELS = 32
"""Most levels of nested objects and lists in a request; the deepest schema has five."""

MOST_VALUES = 20_000
"""Most values in a request; 500 trades with all their fields are about 5,000."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""A string, or the rest of the text where the closing quote is missing: linear on any text."""

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def check_extent(text: bytes, *, field: str = "") -> None:
    """Check the depth of JSON text and the number of its values, without parsing it.

    Text that is not JSON may pass.

    Args:
        text: UTF-8.
        field: The field that an error names.

    Raises:
        InvalidRequest: the text has too many levels or values.
    """
    bare = _STRING.sub(b"", text) if b'"' in text else text
    if bare.count(b",") + bare.count(b"[") + bare.count(b"{") > MOST_VALUES:
        raise InvalidRequest(
            f"the JSON has more than {MOST_VALUES:,} values; send less at a time",
            field=field,
            code="too_many_values",
        )
    if _depth_exceeds(bare):
        raise InvalidRequest(
            f"the JSON is nested more than {MOST_LEVELS} levels deep; remove levels",
            field=field,
            code="nested_too_deeply",
        )


def _depth_exceeds(bare: bytes) -> bool:
    """Return whether JSON text without strings has more than `MOST_LEVELS` levels."""
    brackets = bare.translate(_BRACKETS, _NOT_BRACKETS)
    for _ in range(MOST_LEVELS):  # each round removes the innermost level
        if b"[]" not in brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets or brackets.count(b"[") > MOST_LEVELS
