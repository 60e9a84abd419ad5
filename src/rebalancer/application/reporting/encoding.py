"""Reports as stores keep them: a document of JSON values, and columns of figures as bytes."""

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

Columns = dict[str, Floats]

_NAMES, _DATES = "names", "dates"
_WIDEST = 2**63


def checked(report: Report, schemas: Mapping[str, int] = SCHEMAS) -> dict[str, Any]:
    """The document of a report that is about to be kept, as plain JSON values.

    Args:
        report: What is to be kept.
        schemas: The newest shape that is known, by kind.

    Raises:
        InvalidRequest: its kind or shape is unknown here, so that nobody could read it again, or
            its document does not consist of JSON values.
    """
    if not 1 <= report.schema <= schemas.get(report.kind, 0):
        raise InvalidRequest(
            f"{report.kind} of shape {report.schema} is unknown; there are {_known(schemas)}",
            field="schema",
        )
    try:
        text = json.dumps(report.document, allow_nan=False, ensure_ascii=False)
        text.encode()
        document = json.loads(text, parse_int=_whole, object_pairs_hook=_object)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"must be of JSON values: {error}", field="document") from None
    if not isinstance(document, dict):
        raise InvalidRequest("must be an object", field="document")
    return document


def check_readable(id: UUID, kind: str, schema: int, schemas: Mapping[str, int]) -> None:
    """Make sure that this version knows the shape of a report.

    Raises:
        Unavailable: it does not; says which it is, and which it knows.
    """
    if not 1 <= schema <= schemas.get(kind, 0):
        raise Unavailable(
            f"report {id} is {kind} of shape {schema}, and this version knows {_known(schemas)}: "
            "it was written by a later one; use that"
        )


def packed(report: Report) -> bytes | None:
    """Columns and dates of a report, compressed, to the last bit; None where it has none.

    It is numpy's own ``.npz``: each array little-endian, with its type, shape and checksum.
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


def unpacked(id: UUID, kept: bytes | None) -> tuple[Columns, Dates | None]:
    """Columns by name, and dates, of what `packed` made of a report.

    Raises:
        Unavailable: it is damaged.
    """
    if kept is None:
        return {}, None
    try:
        with np.load(BytesIO(kept), allow_pickle=False) as arrays:
            names = json.loads(arrays[_NAMES].tobytes())
            series = {name: arrays[str(at)].astype(np.float64) for at, name in enumerate(names)}
            dates = arrays[_DATES].astype("datetime64[D]") if _DATES in arrays else None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError) as error:
        raise Unavailable(f"the series of report {id} are damaged: {error}") from None
    return series, dates


def _known(schemas: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} up to {newest}" for kind, newest in schemas.items())


def _whole(digits: str) -> int:
    value = int(digits)
    if not -_WIDEST <= value < _WIDEST:
        raise ValueError(f"{digits} needs more than 64 bits")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for key, _ in pairs:
        if "\0" in key:
            raise ValueError(f"the key {key!r} has a NUL")
    return dict(pairs)
