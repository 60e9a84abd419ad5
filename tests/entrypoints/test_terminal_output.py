"""Names and symbols cannot control the terminal of an operator."""

from __future__ import annotations

import io
import json

import pytest

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.text import check_line, escape_unsafe
from rebalancer.entrypoints.cli.screen import console, wide_table

HOSTILE = {
    "escape": "\x1b]0;owned\x07",
    "C1": "\x9b31m",
    "bell": "a\x07b",
    "return": "a\rb",
    "override": "abc\u202etxt.exe",
    "zero width": "a\u200bb",
    "isolate": "\u2067a\u2069",
    "tag": "\U000e0041",
}
HARMLESS = ["Zoë's \N{PILE OF POO} <b>", "M&M.NS", "क्\u200dष", "日本株\tA\nB", "👩\u200d👧"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_escaped(text: str) -> None:
    shown = escape_unsafe(text)
    assert shown != text
    assert escape_unsafe(shown) == shown
    assert shown.replace("\n", " ").isprintable()
    whole = json.dumps({text: text}, ensure_ascii=False)
    assert json.loads(escape_unsafe(whole)) == {text: text}


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_unchanged(text: str) -> None:
    assert escape_unsafe(text) == text


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_table_shows_no_hostile_text(
    monkeypatch: pytest.MonkeyPatch, text: str, terminal: bool
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    screen = console()
    screen.file = io.StringIO()
    assert screen.is_terminal == terminal
    table = wide_table(screen, text, [text], ["n"])
    table.add_row(text, "1")
    screen.print(text)
    screen.print(table)
    output = screen.file.getvalue()
    for character in set(text) - {"\x1b"}:
        if escape_unsafe(character) != character:
            assert character not in output
    assert "\x1b]" not in output


def test_hostile_header_of_a_price_file_is_escaped(quickly, write) -> None:
    rows = "".join(f"2021-01-{day:02},{day + 10}\n" for day in range(4, 9))
    path = write("prices.csv", f"date,A\x9b31m\u202eB\n{rows}")
    for options in ([], ["--json"]):
        shown = quickly("market", "list", "--prices", path, *options)
        everything = shown.stdout + shown.stderr
        assert "\x9b" not in everything and "\u202e" not in everything
        assert "A\\u009b31m\\u202e" in everything


@pytest.mark.parametrize("text", [*HOSTILE.values(), "two\nlines", "a\tb"])
def test_name_with_control_characters_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_line(text, field="name")
    assert (refused.value.field, refused.value.code) == ("name", "hidden_character")


def test_ordinary_name_is_accepted() -> None:
    for name in ("Ada", "Zoë O'Brien", "日本", "\N{PILE OF POO}"):
        check_line(name, field="name")
