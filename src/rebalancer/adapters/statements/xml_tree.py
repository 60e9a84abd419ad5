"""XML as a tree with line numbers, without document types, entities or deep nesting."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.parsers import expat

import attrs

from rebalancer.adapters.statements.text_files import decode
from rebalancer.domain.errors import InvalidRequest

MOST_ELEMENTS = 2_000_000
DEEPEST = 400
"""Elements inside each other; Portfolio Performance nests six for each pair of accounts."""

_ENCODING = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")


@attrs.define(eq=False)
class Element:
    """An element of a file.

    Attributes:
        line: Line of its start, from 1.
        text: Text directly in it, without that of its children.
    """

    name: str
    attributes: dict[str, str]
    line: int
    parent: Element | None = None
    text: str = ""
    children: list[Element] = attrs.field(factory=list)

    def child(self, name: str) -> Element | None:
        """Return the first child of a name."""
        return next((one for one in self.children if one.name == name), None)

    def value(self, name: str) -> str:
        """Return the text of a child; empty without it."""
        found = self.child(name)
        return "" if found is None else found.text.strip()

    def walk(self) -> Iterator[Element]:
        """Yield this element and all below it, in the order of the file."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting += reversed(element.children)


def _declared(data: bytes) -> str:
    """Return the encoding that an XML file declares; UTF-8 by default."""
    found = _ENCODING.match(data.lstrip()[:300])
    return "utf-8" if found is None else found.group(1).decode("ascii")


def parse(data: bytes) -> Element:
    """Return the root of an XML file.

    Raises:
        InvalidRequest: the file is too large, damaged, nested too deeply, or declares a document
            type or entities.
    """
    text = decode(data, _declared(data))
    return _Builder().build(text.lstrip("\ufeff \t\r\n"), data)


class _Builder:
    """Builds a tree from the events of a parser."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse
        self._parser.ExternalEntityRefHandler = self._refuse
        self._root: Element | None = None
        self._open: list[Element] = []
        self._count = 0
        self._skipped = 0

    def build(self, text: str, data: bytes) -> Element:
        """Parse a text; lines are those of the data."""
        self._skipped = _leading_lines(data)
        try:
            self._parser.Parse(text, True)
        except expat.ExpatError as error:
            raise InvalidRequest(
                f"line {error.lineno + self._skipped} is not well-formed XML "
                f"({expat.errors.messages.get(error.code, 'unknown error')}); the file is damaged "
                "or incomplete, export it again",
                field="file",
                code="malformed_xml",
            ) from None
        except UnicodeEncodeError:
            raise InvalidRequest(
                "the file contains half a character; save it in UTF-8",
                field="file",
                code="not_text",
            ) from None
        assert self._root is not None
        return self._root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= DEEPEST or self._count > MOST_ELEMENTS:
            raise InvalidRequest(
                f"line {self._line} exceeds {DEEPEST} elements inside each other, or "
                f"{MOST_ELEMENTS} in all; export a shorter period",
                field="file",
                code="file_too_complex",
            )
        parent = self._open[-1] if self._open else None
        element = Element(name, attributes, self._line, parent)
        if parent is None:
            self._root = element
        else:
            parent.children.append(element)
        self._open.append(element)

    def _end(self, _: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if self._open and not (text.isspace() and not self._open[-1].text):
            self._open[-1].text += text

    def _refuse(self, *_: object) -> int:
        raise InvalidRequest(
            f"line {self._line} declares a document type or an entity, which is not allowed in "
            "statements; export the file again, or remove the declaration",
            field="file",
            code="xml_declarations_not_allowed",
        )

    @property
    def _line(self) -> int:
        return int(self._parser.CurrentLineNumber) + self._skipped


def _leading_lines(data: bytes) -> int:
    """Return the number of line breaks before the first character that is not a space."""
    return data[: len(data) - len(data.lstrip())].count(b"\n")
