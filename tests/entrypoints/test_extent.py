"""Limits on the depth and the number of values of JSON text."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.schemas.extent import MOST_LEVELS, MOST_VALUES, check_extent

TEXTS = st.text(alphabet='[]{},:"\\ aé\n')
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


def code_of(text: bytes) -> str:
    try:
        check_extent(text)
    except InvalidRequest as error:
        return error.code
    return ""


@given(VALUES, st.integers(0, 60), st.booleans())
def test_depth_is_that_of_the_values(value: object, more: int, escaped: bool) -> None:
    def depth(one: object) -> int:
        if isinstance(one, dict):
            return 1 + max(map(depth, one.values()), default=0)
        return 1 + max(map(depth, one), default=0) if isinstance(one, list) else 0

    for number in range(more):
        value = [value, 1] if number % 2 else {'"]': value}
    text = json.dumps(value, ensure_ascii=escaped).encode()
    assert (code_of(text) == "nested_too_deeply") == (depth(value) > MOST_LEVELS)


def test_number_of_values_is_limited() -> None:
    assert code_of(json.dumps([1] * MOST_VALUES).encode()) == ""
    assert code_of(json.dumps([1] * (MOST_VALUES + 1)).encode()) == "too_many_values"
    assert code_of(json.dumps({"a": "," * 900_000}).encode()) == ""


@given(st.binary())
def test_any_bytes_are_accepted_or_refused(text: bytes) -> None:
    assert code_of(text) in ("", "nested_too_deeply", "too_many_values")


@pytest.mark.parametrize(
    "text",
    [
        b'"' * 1_000_000,
        b'{"a":"' + b'\\"' * 500_000,
        b'"\\' * 333_000,
        b"[" * 500_000 + b"]" * 500_000,
        b"[]" * 500_000,
        (b"[" * 900 + b"]" * 900) * 11,
        b"]" * 500_000 + b"[" * 500_000,
    ],
    ids=["quotes", "escapes", "mixed", "pyramid", "flat", "deep", "inverted"],
)
def test_no_text_takes_long(text: bytes) -> None:
    started = time.process_time()
    code_of(text)
    assert time.process_time() - started < 30  # a quadratic scan would take minutes
