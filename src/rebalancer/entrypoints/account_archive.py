"""The export of an account as a zip archive: each section as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from typing import IO, Any

from rebalancer.application.account_export import EXPORT_VERSION, AccountExport, Section
from rebalancer.application.account_records import Row
from rebalancer.domain.text import escape_formula
from rebalancer.entrypoints.account_file import FILE_NAME, account_lines

_README = """\
This archive holds the data that the service stores about your account.

Each section is a file of JSON (an array of objects) and one of CSV with the same rows; nested
values of a CSV file are JSON. Times are in UTC, exact numbers are text in JSON. In CSV a text
that a spreadsheet would take for a formula begins with an apostrophe. manifest.json names the
version of the format, and the rows and the SHA-256 of each file.

account.jsonl holds what another installation of rebalancer can take over: its operators run
`rebalancer user import-export`. It breaks if it is edited.

Secrets are not included: the service stores passwords, tokens and keys only as hashes.
"""


def write_archive(file: IO[bytes], export: AccountExport, now: datetime) -> None:
    """Write an archive; rows are written as they are read, so that memory stays small."""
    files = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        _write_text(archive, "README.txt", _README, now)
        for section in export.sections:
            for name, write in ((f"{section.name}.json", _json), (f"{section.name}.csv", _csv)):
                with _member(archive, name, now) as member:
                    rows = write(member, section)
                files.append({"name": name, "rows": rows, "sha256": member.digest()})
        with _member(archive, FILE_NAME, now) as member:
            rows = 0
            for line in account_lines(export.records(), now):
                member.write(line)
                rows += 1
        files.append({"name": FILE_NAME, "rows": rows, "sha256": member.digest()})
        manifest = {"version": EXPORT_VERSION, "created": now.isoformat(), "files": files}
        _write_text(archive, "manifest.json", json.dumps(manifest, indent=2), now)


class _Member(io.RawIOBase):
    """File of an archive that computes its digest."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target, self._hash = target, sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._hash.update(data)
        return self._target.write(data)

    def digest(self) -> str:
        return self._hash.hexdigest()


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, now: datetime) -> Iterator[_Member]:
    info = zipfile.ZipInfo(name, now.timetuple()[:6])
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as target:
        yield _Member(target)


def _write_text(archive: zipfile.ZipFile, name: str, text: str, now: datetime) -> None:
    with _member(archive, name, now) as member:
        member.write(text.encode())


def _json(member: _Member, section: Section) -> int:
    count = 0
    member.write(b"[")
    for row in section.rows():
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        member.write((",\n" if count else "\n").encode() + text.encode())
        count += 1
    member.write(b"\n]\n")
    return count


def _csv(member: _Member, section: Section) -> int:
    count = 0
    with io.TextIOWrapper(io.BufferedWriter(member), encoding="utf-8", newline="") as text:
        lines = csv.writer(text)
        lines.writerow(section.fields)
        for row in section.rows():
            lines.writerow(_cells(row, section.fields))
            count += 1
    return count


def _cells(row: Row, fields: Sequence[str]) -> Iterator[str]:
    for field in fields:
        value = row.get(field)
        if value is None:
            yield ""
        elif isinstance(value, str):
            yield escape_formula(value)
        else:
            yield json.dumps(value, ensure_ascii=False)
