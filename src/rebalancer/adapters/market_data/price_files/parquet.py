"""Parquet files as the text of the tables that they hold, so that each layout can be read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rebalancer.adapters.market_data.price_files.sheet import unreadable
from rebalancer.domain.errors import InvalidRequest, Unavailable

SUFFIX = ".parquet"

_INDEX = "__index_level_0__"
"""Name that pandas gives to an index without one."""


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its name."""
    return path.suffix.lower() == SUFFIX


def read_as_csv(path: Path, field: str) -> bytes:
    """Return a Parquet file as CSV in UTF-8, with one header line.

    Numbers have the digits that make them again. An index of pandas that has no name and holds days
    is the column date.

    Args:
        path: The file.
        field: Use of the file, see `InvalidRequest.field`.

    Raises:
        InvalidRequest: the file is missing, is not Parquet, or has a column that is no text, number
            or time.
        Unavailable: the package that reads Parquet is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import csv, parquet
    except ImportError:
        raise Unavailable(
            f"{path}: reading Parquet needs a further package: pip install 'rebalancer[parquet]'",
            code="package_missing",
        ) from None
    try:
        with path.open("rb") as file:
            table = parquet.read_table(file)
    except OSError as error:
        if isinstance(error, arrow.ArrowException):
            raise _damaged(path, field) from None
        raise unreadable(path, field, error) from None
    except arrow.ArrowException:
        raise _damaged(path, field) from None
    except ValueError as error:  # a path with a NUL
        raise unreadable(path, field, error) from None
    table = table.combine_chunks()
    for at, column in enumerate(table.schema):
        if arrow.types.is_dictionary(column.type):
            plain = table.column(at).cast(column.type.value_type)
            table = table.set_column(at, column.name, plain)
        if not _is_plain(arrow, table.schema.field(at).type):
            raise InvalidRequest(
                f"{path}, column {column.name}: values of type {column.type} are no prices; leave "
                "the column out",
                field=field,
                code="malformed_parquet",
            )
    # pandas writes an index last, and a table begins with its days.
    order = sorted(
        table.column_names, key=lambda name: not arrow.types.is_temporal(table.field(name).type)
    )
    names = ["date" if name == _INDEX else name for name in order]
    table = table.select(order)
    text = io.BytesIO()
    csv.write_csv(table.rename_columns(names), text)
    return text.getvalue()


def _is_plain(arrow: Any, kind: Any) -> bool:
    tests = ("is_integer", "is_floating", "is_decimal", "is_temporal", "is_boolean", "is_null")
    texts = ("is_string", "is_large_string", "is_string_view")
    return any(getattr(arrow.types, test)(kind) for test in (*tests, *texts))


def _damaged(path: Path, field: str) -> InvalidRequest:
    return InvalidRequest(
        f"{path}: this is not Parquet, or damaged; copy or download the file again",
        field=field,
        code="file_unreadable",
    )
