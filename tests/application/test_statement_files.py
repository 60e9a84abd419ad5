"""Which files are read as statements."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Sequence

import attrs
import pytest

from rebalancer.adapters.statements.generic_csv import CsvTables
from rebalancer.adapters.statements.registry import DiscoveredReaders
from rebalancer.application.ports.statements import StatementReader
from rebalancer.application.statement_files import (
    LARGEST_FILE,
    ReadStatement,
    StatementFile,
    check_text,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.statements import Statement

READ = ReadStatement(DiscoveredReaders(), CsvTables())


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "file_empty", "empty"),
        (b" \r\n", "file_empty", "empty"),
        (b"%PDF-1.7\n", "not_text", "a PDF; download the statement as CSV or XML"),
        (gzip.compress(b"a,b", mtime=0), "not_text", "compressed with gzip; unpack it"),
        (zipped("a.csv"), "not_text", "a zip archive; unpack it"),
        (zipped("[Content_Types].xml"), "not_text", "a spreadsheet; save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "not_text", "an Excel file; save it as CSV"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not_text", "not text"),
        (b"<!DOCTYPE html><html></html>", "document_type", "web page"),
        (
            b'<?xml version="1.0"?>\n<!doctype a SYSTEM "file:///etc/passwd"><a/>',
            "document_type",
            "",
        ),
        (
            b'\xef\xbb\xbf<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a/>',
            "document_type",
            "",
        ),
        ('<?xml version="1.0"?><!DOCTYPE a><a/>'.encode("utf-16"), "document_type", ""),
        (b"a" * (LARGEST_FILE + 1), "file_too_large", "at most 10,000,000"),
    ],
)
def test_file_that_is_not_plain_text_is_refused(data: bytes, code: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_text(data)
    assert (caught.value.field, caught.value.code) == ("file", code)
    assert words in caught.value.message


@pytest.mark.parametrize(
    "data",
    [b"a,b\n1,2\n", "a,b".encode("utf-16"), b"<?xml version='1.0'?><a/>", b"note\n<!DOCTYPE\n"],
)
def test_text_is_accepted(data: bytes) -> None:
    check_text(data)


def test_unknown_layout_names_the_supported_ones() -> None:
    with pytest.raises(InvalidRequest, match="supported are") as caught:
        READ(StatementFile("a.txt", b"Dear customer"))
    assert caught.value.code == "unknown_layout"
    with pytest.raises(InvalidRequest, match="choose one of") as caught:
        READ(StatementFile("a.txt", b"Dear customer"), "no_such_layout")
    assert caught.value.field == "layout"


def test_stated_layout_is_used() -> None:
    data = b"date,kind,symbol,quantity,price,amount\n2022-01-03,deposit,,,,5\n"
    title, statement = READ(StatementFile("a.csv", data), "rebalancer_csv")
    assert (title, len(statement.transactions)) == ("Rebalancer ledger (CSV)", 1)


@attrs.frozen
class Broken:
    """A reader with a bug."""

    name: str = "broken"
    title: str = "Broken"

    def recognises(self, head: bytes, file_name: str) -> bool:
        return True

    def read(self, data: bytes) -> Statement:
        raise IndexError("list index out of range")


@attrs.frozen
class Readers:
    """Only the broken reader."""

    def all(self) -> Sequence[StatementReader]:
        return [Broken()]

    def find(self, data: bytes, file_name: str) -> StatementReader | None:
        return Broken()


def test_fault_of_a_reader_is_an_error_of_the_file() -> None:
    with pytest.raises(InvalidRequest, match="cannot be read as Broken") as caught:
        ReadStatement(Readers(), CsvTables())(StatementFile("a", b"x"))
    assert caught.value.code == "unreadable_statement"


def test_name_of_a_file_is_short_and_visible() -> None:
    file = StatementFile("C:\\Users\\ada\\a\x00b\u202e" + "c" * 300, b"")
    assert file.short_name == ("ab" + "c" * 300)[:255]
