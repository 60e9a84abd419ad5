"""Rules for passwords (NIST SP 800-63B-4, section 3.1.1.2): length, and what is easy to guess."""

from __future__ import annotations

import re
import unicodedata

from rebalancer.domain.errors import InvalidRequest

SHORTEST_PASSWORD = 15
"""Characters of a password that alone proves an identity."""

SHORTEST_WITH_FACTOR = 8
"""Characters of a password that a second factor or a passkey supplements."""

LONGEST_PASSWORD = 128

FEWEST_GUESSES, FEWEST_WITH_FACTOR = 10.0, 8.0
"""Guesses that a password must withstand, as a power of ten; zxcvbn calls the larger one strong."""

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


def check_guesses(guesses: float, *, has_second_factor: bool, field: str) -> None:
    """Check how many guesses a password withstands, as a power of ten.

    Raises:
        InvalidRequest: it is easy to guess.
    """
    if guesses < (FEWEST_WITH_FACTOR if has_second_factor else FEWEST_GUESSES):
        raise InvalidRequest(
            "this password is easy to guess: it is common, or made of repetitions, keyboard "
            "rows, dates, your name or your address; choose four random words",
            field=field,
            code="guessable_password",
        )
