"""Strength of passwords by zxcvbn (Wheeler, USENIX Security 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

_EXAMINED = 30
"""Characters that are examined: the time grows fast with the length, up to seconds."""

_lock = Lock()
"""zxcvbn keeps the words of its last call in a module, so calls run one after the other."""


class ZxcvbnStrength:
    """See `PasswordStrength`; 47,000 common passwords, words, names, keyboard rows and dates.

    They are loaded at first use, within a tenth of a second.
    """

    def guesses(self, password: str, words: Sequence[str]) -> float:
        from zxcvbn import zxcvbn

        with _lock:
            found = zxcvbn(password[:_EXAMINED], user_inputs=list(words))
        return float(found["guesses_log10"])
