"""Invisible characters are found, and joiners stand where they show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.text import check_visible, find_hidden


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Rente 2060",
        "Zo\u00eb's \u00c5ngstr\u00f6m",
        "\u682a\u5f0f \u845b\U000e0100\u57ce",  # an ideographic variant
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # a non-joiner in Persian
        "\u0915\u094d\u200d\u0937",  # a joiner after a virama
        "\U0001f469\u200d\U0001f52c",  # a scientist
        "\u2764\ufe0f 1\ufe0f\u20e3",
        "\U0001f3f3\ufe0f\u200d\U0001f308",  # a flag
    ],
)
def test_visible_text_is_accepted(text: str) -> None:
    check_visible(text, field="name")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("Pen\u00adsion", 3),
        ("\u200bPension", 0),
        ("Pension\u200e", 7),
        ("abc\u202egpj", 3),  # reads as abcjpg
        ("a\u2066b\u2069", 1),
        ("\ufeffa", 0),
        ("a\u200db", 1),
        ("a\u200cb", 1),
        ("a\ufe0f", 1),
        ("\u3164", 0),
        ("a\u2028b", 1),
        ("a\u0085b", 1),
        ("a\U000e0061", 1),
        ("\ufdd0", 0),
    ],
)
def test_invisible_character_is_found(text: str, at: int) -> None:
    assert find_hidden(text) == at
    code = f"U\\+{ord(text[at]):04X}"
    with pytest.raises(InvalidRequest, match=rf"character {at + 1} is invisible: {code} ") as found:
        check_visible(text, field="note")
    assert (found.value.field, found.value.code) == ("note", "hidden_character")


@given(
    st.text(
        st.characters(
            categories=["L", "N", "P", "Zs"], exclude_characters="\u115f\u1160\u3164\uffa0"
        )
    )
)
def test_letters_digits_and_punctuation_are_visible(text: str) -> None:
    assert find_hidden(text) is None
