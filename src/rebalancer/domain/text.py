"""Text that people enter: what cannot be seen in it is refused."""

from __future__ import annotations

import re
import unicodedata

from rebalancer.domain.errors import InvalidRequest

_CANDIDATES = re.compile(
    "[\u0080-\u009f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""Control, format and filler characters (Default_Ignorable_Code_Point of Unicode, and more)."""

_SHOWN = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\ufffc\ufffd]")
"""Format characters that are seen: signs that enclose Arabic or Syriac numbers."""

_ZWNJ, _ZWJ = "\u200c", "\u200d"
_VIRAMA = 9
"""Combining class of the marks that join consonants in Indic scripts."""

_JOINED = ("ARABIC", "SYRIAC", "MANDAIC", "MONGOLIAN", "NKO", "PHAGS-PA")
"""Scripts whose letters are joined, so that a non-joiner shows."""


_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Characters that control a terminal, change the direction of text, or are invisible everywhere."""

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_CONTROL = re.compile("[\x00-\x1f\x7f]")


def escape_unsafe(text: str) -> str:
    """Write characters that control a terminal or the direction of text as escapes of JSON.

    Line feeds and tabs stay. Within JSON text the value stays the same.
    """
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    pair = found.group().encode("utf-16-be")
    return "".join(f"\\u{pair[at : at + 2].hex()}" for at in range(0, len(pair), 2))


def escape_formula(text: str) -> str:
    """Begin a text of a CSV cell with an apostrophe if a spreadsheet would take it for a formula.

    Numbers stay as they are.
    """
    is_formula = text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def check_line(text: str, *, field: str) -> None:
    """Check that a text is one line without control characters; see also `check_visible`.

    Raises:
        InvalidRequest: it is not; the message names the character.
    """
    found = _CONTROL.search(text)
    if found is not None:
        raise InvalidRequest(
            describe_hidden(text, found.start()), field=field, code="hidden_character"
        )
    check_visible(text, field=field)


def check_visible(text: str, *, field: str) -> None:
    """Check that a text has no invisible characters, nor such as change the direction of others.

    Joiners and variation selectors may stand where they show: in emoji, and in the scripts and
    ideographs that need them.

    Raises:
        InvalidRequest: it has one; the message names it.
    """
    found = find_hidden(text)
    if found is not None:
        raise InvalidRequest(describe_hidden(text, found), field=field, code="hidden_character")


def find_hidden(text: str) -> int | None:
    """Return the position of the first invisible character; None without one."""
    if text.isascii():
        return None
    return next(
        (found.start() for found in _CANDIDATES.finditer(text) if _is_hidden(text, found.start())),
        None,
    )


def describe_hidden(text: str, position: int) -> str:
    """Return a message about an invisible character of a text."""
    character = text[position]
    name = unicodedata.name(character, "a control character")
    return (
        f"character {position + 1} is invisible: U+{ord(character):04X} {name}; remove it, or type "
        "the text again"
    )


def _is_hidden(text: str, at: int) -> bool:
    character, before = text[at], text[at - 1] if at else ""
    if _SHOWN.match(character):
        return False
    if not before:
        return True
    if character == _ZWJ:
        after = text[at + 1 : at + 2]
        return not (unicodedata.combining(before) == _VIRAMA or _is_emoji(after))
    if character == _ZWNJ:
        joined = unicodedata.name(before, "").startswith(_JOINED)
        return not (unicodedata.combining(before) == _VIRAMA or joined)
    if "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        is_symbol = not (before.isalpha() or before.isspace()) and "\ufe0e" <= character <= "\ufe0f"
        return not (is_symbol or unicodedata.name(before, "").startswith("CJK"))
    return True


def _is_emoji(character: str) -> bool:
    return bool(character) and unicodedata.category(character) in ("So", "Sm")
