"""The pages before sign-in and around the app, in the language of the browser."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path

import attrs

from rebalancer_app import theme
from rebalancer_app.texts import LANGUAGES, Texts, load_texts

FOLDER = Path(__file__).parent / "static"
LAYOUT = "layout"
"""What all pages have in common: the head, and the words of their scripts."""

TITLES = {
    "sign-in": "entrance.sign_in",
    "register": "pages.register.title",
    "forgotten-password": "pages.forgotten_password.title",
    "reset-password": "account.new",
    "confirm-email": "pages.confirm_email.title",
    "passkey": "pages.passkey.title",
    "confirm": "entrance.proof_title",
    "sign-out": "settings.sign_out",
}
"""Pages with scripts of their own, and the texts that name them in the browser's tabs."""

APP = "app"
"""The page that loads the app."""

PARTS = ("recovery-codes",)
"""Parts that several pages have, by the names of their files."""

SCRIPTS, PROBLEMS = "pages.script.", "problem."
"""What the names of texts begin with that scripts show."""

_PLACE = re.compile(r"\{([a-z_.-]+)\}")


@attrs.frozen
class Pages:
    """Turns the files of pages into pages.

    A file has places in braces: for a text of the app by its name, for a part by the name of its
    file, and for ``static``, the folder of the other files in URLs.

    Attributes:
        static: That folder.
        has_guest: Whether the sign-in page offers an account for looking around.
    """

    static: str
    has_guest: bool = False

    def render(self, name: str, language: str, *, is_own: bool = False) -> str:
        """Return a page.

        Args:
            name: `APP`, or one of `TITLES`.
            language: One of `texts.LANGUAGES`.
            is_own: Whether the app itself has opened it, rather than a link.

        Raises:
            KeyError: the page does not exist, or a place in it has no text.
        """
        texts = load_texts(language)
        own = {
            "static": self.static,
            "accent": theme.LIGHT.accent,
            "guest": "" if self.has_guest else "hidden",
        }
        own |= {part: self._fill(part, own, texts) for part in PARTS}
        title = texts("app.name")
        words = {}
        if name != APP:
            title = f"{texts(TITLES[name])} – {title}"
            words = script_words(texts)
        own |= {
            "language": texts.language,
            "title": escape(title),
            "words": escape(json.dumps(words, ensure_ascii=False)),
            "own": "data-own" if is_own else "",
            "content": self._fill(name, own, texts),
        }
        return self._fill(LAYOUT, own, texts)

    def _fill(self, name: str, own: dict[str, str], texts: Texts) -> str:
        """Return a file with its places filled."""

        def content(place: re.Match[str]) -> str:
            known = own.get(place[1])
            return escape(texts.words[place[1]]) if known is None else known

        return _PLACE.sub(content, (FOLDER / f"{name}.html").read_text(encoding="utf-8"))


def script_words(texts: Texts) -> dict[str, str]:
    """Return what scripts show: their own words by bare names, and problems by whole names."""
    own = {
        name.removeprefix(SCRIPTS): text
        for name, text in texts.words.items()
        if name.startswith(SCRIPTS)
    }
    return own | {name: text for name, text in texts.words.items() if name.startswith(PROBLEMS)}


def accepted_languages(header: str) -> list[str]:
    """Return the language tags of an ``Accept-Language`` header, best first (RFC 9110, 12.5.4).

    Refused ones, of quality 0, and parts that cannot be read are left out.
    """
    found: list[tuple[float, str]] = []
    for part in header.split(","):
        tag, *options = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        for option in options:
            if option[:2].lower() == "q=":
                quality = float(option[2:]) if re.fullmatch(r"[01](\.\d{0,3})?", option[2:]) else 0
        if re.fullmatch(r"\*|[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*", tag) and quality > 0:
            found.append((quality, tag))
    return [tag for _, tag in sorted(found, key=lambda one: -one[0])]


def choose_language(header: str) -> str:
    """Return the language of the app that a browser prefers; English if it wants none of them."""
    for tag in accepted_languages(header):
        language = tag.partition("-")[0].lower()
        if language in LANGUAGES:
            return language
    return "en"
