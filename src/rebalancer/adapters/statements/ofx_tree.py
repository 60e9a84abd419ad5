"""OFX as a tree: SGML without end tags (versions 1.x) and XML (versions 2.x).

In SGML an element with text has no end tag, and an element with others inside has one. Both forms
are read by the same rules: text ends at the next tag, an end tag closes what it names, and an
element that is neither closed nor has text is empty.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import attrs

from rebalancer.adapters.statements.drafts import shorten
from rebalancer.adapters.statements.text_files import decode
from rebalancer.domain.errors import InvalidRequest

DEEPEST = 60
MOST_ELEMENTS = 2_000_000
_TAG = re.compile(r"<(/?)([A-Za-z0-9][A-Za-z0-9._]{0,60})\s*(/?)>|<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_HEADER = re.compile(r"^\s*([A-Z]{3,20})\s*:\s*([^\r\n]{0,80})", re.MULTILINE)
_CHARSETS = {
    "1252": "cp1252",
    "ISO-8859-1": "iso8859-1",
    "8859-1": "iso8859-1",
    "UTF-8": "utf-8",
    "NONE": "utf-8",
    "": "utf-8",
}


@attrs.define(eq=False)
class Node:
    """An element of a file.

    Attributes:
        line: Line of its start, from 1.
    """

    name: str
    line: int
    text: str = ""
    children: list[Node] = attrs.field(factory=list)

    def child(self, name: str) -> Node | None:
        """Return the first child of a name."""
        return next((one for one in self.children if one.name == name), None)

    def value(self, *path: str) -> str:
        """Return the text of an element below, by the names on the way; empty without it."""
        found: Node | None = self
        for name in path:
            found = None if found is None else found.child(name)
        return "" if found is None else found.text

    def walk(self) -> Iterator[Node]:
        """Yield this element and all below it, in the order of the file."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children)


def parse_ofx(data: bytes) -> Node:
    """Return the element OFX of a file.

    Raises:
        InvalidRequest: the file is damaged, incomplete, nested too deeply, or declares a document
            type or entities.
    """
    text = decode(data, _encoding(data))
    start = re.search(r"<OFX\s*>", text, re.IGNORECASE)
    if start is None:
        raise InvalidRequest(
            "the file has no element OFX; download it again in the format OFX or QFX",
            field="file",
            code="other_layout",
        )
    if text.rfind("<![CDATA[") > text.rfind("]]>"):
        raise InvalidRequest(
            "the file has text in CDATA that does not end; it is damaged, download it again",
            field="file",
            code="malformed_ofx",
        )
    return _Builder(text, start.start()).build()


def _encoding(data: bytes) -> str:
    """Return the encoding that the header states."""
    head = data[:2048].decode("latin-1")
    declared = re.search(r"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.-]{1,40})[\"']", head)
    if declared is not None:
        return declared[1]
    header = dict(_HEADER.findall(head.partition("<")[0]))
    encoding = header.get("ENCODING", "").strip().upper()
    charset = header.get("CHARSET", "").strip().upper()
    if encoding in ("UTF-8", "UNICODE"):
        return "utf-8"
    return _CHARSETS.get(charset, "utf-8")


class _Builder:
    """Builds the tree of a text."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._start = start
        self._line = 1
        self._counted = 0
        self._open: list[Node] = []
        self._root: Node | None = None
        self._leaf: Node | None = None
        self._count = 0

    def build(self) -> Node:
        """Return the root.

        Raises:
            InvalidRequest: see `parse_ofx`.
        """
        at = 0
        for tag in _TAG.finditer(self._text):
            self._between(at, tag.start())
            at = tag.end()
            if tag[4] is not None:
                self._add_text(tag[4])
            elif tag[2] is None or tag.start() < self._start:
                continue
            elif self._root is not None and not self._open:
                break  # what follows the element OFX
            elif tag[1]:
                self._close(tag[2].upper(), tag.start())
            else:
                self._add(tag[2].upper(), tag.start(), closed=bool(tag[3]))
        if self._root is None or self._open:
            named = f", since {self._open[-1].name} is not closed" if self._open else ""
            raise InvalidRequest(
                f"the file ends too early{named}; download it again",
                field="file",
                code="incomplete_file",
            )
        return self._root

    def _between(self, start: int, end: int) -> None:
        """Read the text between two tags; a leftover of a tag in it is refused."""
        text = self._text[start:end]
        found = text.find("<!")
        if found >= 0:
            raise InvalidRequest(
                f"line {self._line_at(start + found)} declares a document type or an entity, which "
                "is not allowed in statements; download the file again",
                field="file",
                code="xml_declarations_not_allowed",
            )
        if start < self._start or not text.strip():
            return
        if "<" in text:
            raise InvalidRequest(
                f"line {self._line_at(start + text.index('<'))} has a tag that is not closed; the "
                "file is damaged, download it again",
                field="file",
                code="malformed_ofx",
            )
        self._add_text(html.unescape(text.strip()))

    def _add_text(self, text: str) -> None:
        if self._leaf is not None:
            self._leaf.text += text.strip()

    def _add(self, name: str, at: int, *, closed: bool) -> None:
        """Open an element; one that follows text is not inside that text's element."""
        self._end_leaf()
        self._count += 1
        if len(self._open) >= DEEPEST or self._count > MOST_ELEMENTS:
            raise InvalidRequest(
                f"line {self._line_at(at)} exceeds {DEEPEST} elements inside each other, or "
                f"{MOST_ELEMENTS} in all; download a shorter period",
                field="file",
                code="file_too_complex",
            )
        node = Node(name, self._line_at(at))
        if self._root is None:
            self._root = node
        else:
            self._open[-1].children.append(node)
        if not closed:
            self._open.append(node)
            self._leaf = node

    def _end_leaf(self) -> None:
        """Close an element that has text."""
        if self._leaf is not None and self._leaf.text:
            self._open.pop()
        self._leaf = None

    def _close(self, name: str, at: int) -> None:
        """Close an element; elements in it without an end tag are empty, with nothing inside."""
        self._leaf = None
        depth = next(
            (n for n in range(len(self._open) - 1, -1, -1) if self._open[n].name == name), None
        )
        if depth is None:
            raise InvalidRequest(
                f"line {self._line_at(at)} closes {shorten(name)}, which is not open; the file is "
                "damaged, download it again",
                field="file",
                code="malformed_ofx",
            )
        while len(self._open) > depth + 1:
            empty = self._open.pop()
            if not empty.text:
                self._open[-1].children += empty.children
                empty.children = []
        self._open.pop()

    def _line_at(self, at: int) -> int:
        """Return the line of a position; positions only grow."""
        if at < self._counted:
            return self._text.count("\n", 0, at) + 1
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        return self._line
