"""The words of the app, a file for each language."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import attrs

LANGUAGES = {"en": "English", "de": "Deutsch"}


@attrs.frozen
class Texts:
    """The words of a language, by names such as ``home.title``."""

    language: str
    words: Mapping[str, str]

    def __call__(self, name: str, /, **values: object) -> str:
        """Return a text; names in braces are replaced by the values.

        A number in ``count`` chooses between ``name.one`` and ``name.other``.
        """
        if "count" in values:
            name = f"{name}.{'one' if values['count'] == 1 else 'other'}"
        return self.words[name].format(**values)

    def find(self, name: str, /) -> str | None:
        """Return a text without values; None if the language lacks this name."""
        return self.words.get(name)

    def describe(self, code: str, field: str = "", seconds: float | None = None) -> str | None:
        """Return a sentence for a problem of the server; None if the language lacks one.

        Args:
            code: Of the problem.
            field: Path of the only field that it concerns; empty: of none, or of several.
            seconds: After which another attempt makes sense; None if unknown.
        """
        name = field.rpartition(".")[2]
        found = self.find(f"problem.{code}.{name}") or self.find(f"problem.{code}")
        if found is None or "{seconds}" not in found:
            return found
        return None if seconds is None else found.replace("{seconds}", f"{seconds:.0f}")


@cache
def load_texts(language: str) -> Texts:
    """Return the words of a language; English for one that the app does not have."""
    chosen = language if language in LANGUAGES else "en"
    document = tomllib.loads(files(__name__).joinpath(f"{chosen}.toml").read_text(encoding="utf-8"))
    return Texts(chosen, dict(_flatten("", document)))


def _flatten(prefix: str, section: Mapping[str, object]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in section.items():
        if isinstance(value, Mapping):
            found += _flatten(f"{prefix}{name}.", value)
        else:
            found.append((f"{prefix}{name}", str(value)))
    return found
