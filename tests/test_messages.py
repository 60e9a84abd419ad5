"""Every error has a stable code, and the golden file holds the current texts."""

from __future__ import annotations

import re

from tests.messages import GOLDEN, golden, messages


def test_every_error_names_its_code() -> None:
    unnamed = [f"{one.place}: {one.kind}: {one.text}" for one in messages() if not one.code]
    assert not unnamed


def test_codes_are_literal_and_in_snake_case() -> None:
    codes = {one.code: one.place for one in messages()}
    passed_on = "{error.code}"
    assert not {
        code: at
        for code, at in codes.items()
        if code != passed_on and not re.fullmatch(r"[a-z][a-z0-9_]*", code)
    }


def test_golden_file_holds_the_current_texts() -> None:
    assert GOLDEN.read_text("utf-8") == golden(), "run `python -m tests.messages` and review"
