"""Bulk insert into Postgres with `COPY`, which is far cheaper than inserts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from rebalancer.adapters.sql.errors import translate_error


def copy_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows in the transaction that a connection is in.

    The binary format needs no escaping or parsing; each value has the type of its column. All rows
    have the same columns, as `insert` takes them.

    Raises:
        RebalancerError: as for statements that SQLAlchemy sends.
    """
    from psycopg import Error, sql  # installed, as this is a connection to Postgres

    columns = list(rows[0])
    dialect = connection.dialect
    processors = [
        table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns
    ]
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    driver: Any = connection.connection.driver_connection
    try:
        types = dict(driver.execute(_TYPES, (table.name,)).fetchall())
        with driver.cursor() as cursor, cursor.copy(into) as copy:
            copy.set_types([types[name] for name in columns])
            for row in rows:
                copy.write_row(
                    [
                        row[name] if process is None else process(row[name])
                        for name, process in zip(columns, processors, strict=True)
                    ]
                )
    except Error as error:
        wrapped = DBAPIError.instance(None, None, error, Error)
        raise (translate_error(error) or wrapped) from error


_TYPES = "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
