"""Encoding of reports for stores: a JSON document, and series as compressed bytes."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from rebalancer.application.reporting.report import SCHEMAS, Report
from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.errors import InvalidRequest, Unavailable

_NAMES, _DATES = "names", "dates"
_INT64_LIMIT = 2**63


def encode_document(report: Report, schemas: Mapping[str, int] = SCHEMAS) -> dict[str, Any]:
    """Return a report's document as plain JSON values, for storage.

    ``schemas`` has the newest supported schema by kind.

    Raises:
        InvalidRequest: the kind or schema is unknown, so the report could not be read again, or
            the document does not consist of JSON values.
    """
    if not 1 <= report.schema <= schemas.get(report.kind, 0):
        raise InvalidRequest(
            f"unknown schema {report.schema} of {report.kind}; supported are "
            f"{_describe_schemas(schemas)}",
            field="schema",
            code="unknown_report_schema",
        )
    try:
        text = json.dumps(report.document, allow_nan=False, ensure_ascii=False)
        text.encode()
        document = json.loads(text, parse_int=_parse_int64, object_pairs_hook=_parse_object)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"the document must consist of JSON values: {error}",
            field="document",
            code="report_not_json",
        ) from None
    if not isinstance(document, dict):
        raise InvalidRequest(
            f"the document is a {type(document).__name__}; it must be a JSON object",
            field="document",
            code="report_not_object",
        )
    return document


def check_readable(id: UUID, kind: str, schema: int, schemas: Mapping[str, int]) -> None:
    """Raise Unavailable if this version does not support the schema of a report."""
    if not 1 <= schema <= schemas.get(kind, 0):
        raise Unavailable(
            f"report {id} has schema {schema} of {kind}, but this version supports "
            f"{_describe_schemas(schemas)}; upgrade rebalancer",
            code="report_too_new",
        )


def pack_series(report: Report) -> bytes | None:
    """Return a report's series and dates as compressed bytes, exact; None if it has neither.

    The format is numpy's ``.npz``: each array little-endian, with its type, shape and checksum.
    """
    if not report.series and report.dates is None:
        return None
    names = json.dumps(list(report.series)).encode()
    arrays: dict[str, NDArray[Any]] = {_NAMES: np.frombuffer(names, dtype=np.uint8)}
    for at, values in enumerate(report.series.values()):
        arrays[str(at)] = values.astype("<f8")
    if report.dates is not None:
        arrays[_DATES] = report.dates.astype("<M8[D]")
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack_series(id: UUID, stored: bytes | None) -> tuple[dict[str, Floats], Dates | None]:
    """Return the series by name, and the dates, from the bytes of `pack_series`.

    Raises:
        Unavailable: the bytes are damaged.
    """
    if stored is None:
        return {}, None
    try:
        with np.load(BytesIO(stored), allow_pickle=False) as arrays:
            names = json.loads(arrays[_NAMES].tobytes())
            series = {name: arrays[str(at)].astype(np.float64) for at, name in enumerate(names)}
            dates = arrays[_DATES].astype("datetime64[D]") if _DATES in arrays else None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError) as error:
        raise Unavailable(
            f"the series of report {id} are damaged: {error}", code="report_damaged"
        ) from None
    return series, dates


def _describe_schemas(schemas: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} up to {newest}" for kind, newest in schemas.items())


def _parse_int64(digits: str) -> int:
    value = int(digits)
    if not -_INT64_LIMIT <= value < _INT64_LIMIT:
        raise ValueError(f"{digits} needs more than 64 bits")
    return value


def _parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for key, _ in pairs:
        if "\0" in key:
            raise ValueError(f"the key {key!r} contains a NUL character")
    return dict(pairs)
