"""Rules for passwords (NIST SP 800-63B-4, section 3.1.1.2): length, and what is easy to guess."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rebalancer.domain.errors import InvalidRequest

SHORTEST_PASSWORD = 15
"""Characters of a password that alone proves an identity."""

SHORTEST_WITH_FACTOR = 8
"""Characters of a password that a second factor or a passkey supplements."""

LONGEST_PASSWORD = 128

FEWEST_GUESSES, FEWEST_WITH_FACTOR = 10.0, 8.0
"""Guesses that a password must withstand, as a power of ten; zxcvbn calls the larger one strong."""

SHORTEST_REST, SHORTEST_REST_WITH_FACTOR = 8, 4
"""Characters of a password besides words of the account and the service."""

SERVICE_WORDS = ("rebalancer",)
"""Words of this service that make a password easy to guess."""

_SHORTEST_WORD = 3


def prepare_password(text: str) -> str:
    """Return a password as it is hashed, by the profile OpaqueString (RFC 8265, section 4.2).

    Any space counts as U+0020, and characters are composed (NFC), so that all keyboards enter the
    same password. Letters keep their case.
    """
    spaced = "".join(" " if unicodedata.category(one) == "Zs" else one for one in text)
    return unicodedata.normalize("NFC", spaced)


def check_length(password: str, *, has_second_factor: bool, field: str) -> None:
    """Check the length of a prepared password.

    Raises:
        InvalidRequest: it is too short or too long.
    """
    least = SHORTEST_WITH_FACTOR if has_second_factor else SHORTEST_PASSWORD
    if not least <= len(password) <= LONGEST_PASSWORD:
        remedy = "; a sentence or four random words are easy to remember"
        raise InvalidRequest(
            f"{len(password)} characters; a password has {least} to {LONGEST_PASSWORD} characters"
            f"{remedy if len(password) < least else ''}",
            field=field,
            code="invalid_password",
        )


def is_short(password: str) -> bool:
    """Return whether a prepared password needs a second factor."""
    return len(password) < SHORTEST_PASSWORD


def context_words(*texts: str) -> tuple[str, ...]:
    """Return words that make a password easy to guess: of an address, a name and the service."""
    words = {word.casefold() for text in texts for word in (text, *re.split(r"[\W_]+", text))}
    return (*SERVICE_WORDS, *sorted(word for word in words if len(word) >= _SHORTEST_WORD))


def check_guesses(
    password: str,
    words: Sequence[str],
    guesses: float,
    *,
    has_second_factor: bool,
    field: str,
) -> None:
    """Check that a password is not easy to guess.

    Args:
        password: The prepared password.
        words: See `context_words`; what is left without them must have some length, too.
        guesses: Guesses that it withstands, as a power of ten.
        has_second_factor: Whether a second factor or a passkey supplements it.
        field: Name of the field.

    Raises:
        InvalidRequest: it is easy to guess.
    """
    least, fewest = SHORTEST_REST, FEWEST_GUESSES
    if has_second_factor:
        least, fewest = SHORTEST_REST_WITH_FACTOR, FEWEST_WITH_FACTOR
    rest = password.casefold()
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    has_words = len(rest) < len(password.casefold())
    if guesses < fewest or (has_words and len(rest) < least):
        raise InvalidRequest(
            "this password is easy to guess: it is common, or made of repetitions, keyboard "
            "rows, dates, your name or your address; choose four random words",
            field=field,
            code="guessable_password",
        )
