"""Statements as files: which are text, and which reader reads them."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import cached_property
from hashlib import sha256

import attrs

from rebalancer.application.ports.statements import MappedTables, StatementReader, StatementReaders
from rebalancer.domain.errors import InvalidRequest, RebalancerError
from rebalancer.domain.portfolio.mapping_profiles import MappingProfile
from rebalancer.domain.portfolio.statements import Statement

GENERIC_LAYOUT = "generic_csv"
"""Layout of tables that a mapping profile describes."""

LARGEST_FILE = 10_000_000
"""Most bytes of a file."""

LONGEST_NAME = 255
"""Most characters of its name that are stored."""

_HEAD = 65_536
_UNPACK = "unpack it, and import the file inside"
_FORMATS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF; download the statement as CSV or XML instead"),
    (b"\x1f\x8b", f"compressed with gzip; {_UNPACK}"),
    (b"BZh", f"compressed with bzip2; {_UNPACK}"),
    (b"\xfd7zXZ", f"compressed with xz; {_UNPACK}"),
    (b"(\xb5/\xfd", f"compressed with zstd; {_UNPACK}"),
    (b"7z\xbc\xaf", f"a 7z archive; {_UNPACK}"),
    (b"Rar!", f"a RAR archive; {_UNPACK}"),
    (b"\xd0\xcf\x11\xe0", "an Excel file; save it as CSV, and import that"),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_SPREADSHEET = (b"[Content_Types].xml", b"xl/", b"mimetypeapplication/vnd.oasis")
_WIDE = (b"\xff\xfe", b"\xfe\xff")
"""Byte-order marks of UTF-16."""

log = logging.getLogger("rebalancer.imports")


@attrs.frozen(slots=False)
class StatementFile:
    """A file that a client sent.

    Attributes:
        name: As the client named it; may be empty.
        data: Its bytes.
    """

    name: str
    data: bytes = attrs.field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of its bytes, in hexadecimal digits."""
        return sha256(self.data).hexdigest()

    @property
    def short_name(self) -> str:
        """Name on one line, without folders and invisible characters."""
        name = self.name.replace("\\", "/").rpartition("/")[2]
        return "".join(one for one in name if one.isprintable())[:LONGEST_NAME]


@attrs.frozen
class ReadStatement:
    """Read a statement with the reader of its layout; only text is read."""

    readers: StatementReaders
    tables: MappedTables

    def __call__(
        self,
        file: StatementFile,
        layout: str | None = None,
        profile: MappingProfile | None = None,
    ) -> tuple[str, Statement]:
        """Return the title of the layout, and the statement.

        Args:
            file: At most `LARGEST_FILE` bytes.
            layout: Name of the layout; None: as recognised.
            profile: How a table without a known layout is read; None: not one.

        Raises:
            InvalidRequest: the file is too large, is not text, has an unknown layout, or cannot be
                read as a whole.
        """
        check_text(file.data)
        reader = self._choose(file, layout) if profile is None else self.tables.reader(profile)
        try:
            return reader.title, reader.read(file.data)
        except RebalancerError:
            raise
        except Exception:
            log.exception("a statement cannot be read as %s", reader.name)
            raise InvalidRequest(
                f"the file cannot be read as {reader.title}; export it again, or name another "
                "layout",
                field="file",
                code="unreadable_statement",
            ) from None

    def profile(self, file: StatementFile) -> MappingProfile | None:
        """Return the profile by which a table was read; None if none can be proposed."""
        with suppress(InvalidRequest):
            return self.tables.propose(file.data, file.short_name or "Table")
        return None

    def _choose(self, file: StatementFile, layout: str | None) -> StatementReader:
        if layout is None:
            reader = self.readers.find(file.data, file.name)
            if reader is None:
                titles = ", ".join(one.title for one in self.readers.all())
                raise InvalidRequest(
                    f"the layout of the file is unknown; supported are {titles}",
                    field="file",
                    code="unknown_layout",
                )
            return reader
        for reader in self.readers.all():
            if reader.name == layout:
                return reader
        names = ", ".join(one.name for one in self.readers.all())
        raise InvalidRequest(
            f"unknown layout {layout[:40]!r}; choose one of {names}",
            field="layout",
            code="unknown_layout",
        )


def check_text(data: bytes) -> None:
    """Check that a file is text that can be parsed without risk.

    Raises:
        InvalidRequest: it is empty, too large, an archive, a PDF, an Excel file or another binary
            one, or an XML document with a document type declaration, which may name other files.
    """
    if len(data) > LARGEST_FILE:
        raise InvalidRequest(
            f"the file has {len(data):,} bytes; import at most {LARGEST_FILE:,} at a time, such as "
            "one year after the other",
            field="file",
            code="file_too_large",
        )
    if not data.strip():
        raise InvalidRequest(
            "the file is empty; export the statement again", field="file", code="file_empty"
        )
    found = _find_format(data)
    if found is not None:
        raise InvalidRequest(f"the file is {found}", field="file", code="not_text")
    if _declares_type(data):
        raise InvalidRequest(
            "the file has a document type declaration (<!DOCTYPE ...>), which may refer to other "
            "files; a web page has one, too: download the statement as CSV or XML without it",
            field="file",
            code="document_type",
        )


def _find_format(data: bytes) -> str | None:
    """Return what a file is that is not text, with the remedy; None for text."""
    for mark, what in _FORMATS:
        if data.startswith(mark):
            return what
    head = data[:_HEAD]
    if data.startswith(_ZIP):
        if any(mark in head for mark in _SPREADSHEET):
            return "a spreadsheet; save it as CSV, and import that"
        return "a zip archive; unpack it, and import the file inside"
    if b"\0" in head and not data.startswith(_WIDE):
        return "not text; download the statement as CSV or XML"
    return None


def _declares_type(data: bytes) -> bool:
    """Return whether markup declares a document type or entities."""
    start = data[:200].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if not start.startswith(b"<"):
        return False
    plain = data.replace(b"\0", b"").lower()
    return b"<!doctype" in plain or b"<!entity" in plain
