"""Bytes of a file as text."""

from __future__ import annotations

import codecs

from rebalancer.domain.errors import InvalidRequest

MOST_BYTES = 64 * 1024 * 1024
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KNOWN = {"utf-8", "utf-16", "ascii", "iso8859-1", "iso8859-15", "cp1252"}


def decode(data: bytes, declared: str = "utf-8") -> str:
    """Return the text of a file by its byte order mark, or by an encoding that it declares.

    A file that is not UTF-8, and should be, is read as Windows-1252, which contains Latin-1.

    Raises:
        InvalidRequest: it is too large, its encoding is unknown, or it does not match.
    """
    if len(data) > MOST_BYTES:
        raise InvalidRequest(
            f"the file has {len(data)} bytes, and the maximum is {MOST_BYTES}; export a shorter "
            "period",
            field="file",
            code="file_too_large",
        )
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), declared)
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        name = ""
    if name.removesuffix("-sig") not in _KNOWN:
        raise InvalidRequest(
            f"the encoding {encoding[:40]!r} is not supported; save the file in UTF-8",
            field="file",
            code="unknown_encoding",
        )
    for candidate in (name, "cp1252"):
        try:
            return data.decode(candidate)
        except UnicodeDecodeError:
            if name.startswith("utf-16"):
                break
    raise InvalidRequest(
        "the file contains bytes that are not text; save it in UTF-8",
        field="file",
        code="not_text",
    )
