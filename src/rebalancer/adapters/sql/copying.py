"""Many rows at once into Postgres: `COPY`, which costs a fraction of as many inserts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from rebalancer.adapters.sql.engine import meaning_of


def copied(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows in the transaction that a connection is in.

    They go in the binary format, of which neither side has to escape or parse a character. In it a
    value must be of its column's very type: ids, text, documents, days and moments are; whole
    numbers and Decimals need not be, and the server refuses those that are not.

    Args:
        connection: To Postgres.
        table: Where to.
        rows: All with the same columns, as `insert` would take them.

    Raises:
        Conflict, Unavailable: as any other statement would, which SQLAlchemy sends.
    """
    from psycopg import Error, IntegrityError, sql  # there, as the connection is to Postgres

    columns = list(rows[0])
    processors = [
        table.c[name].type.dialect_impl(connection.dialect).bind_processor(connection.dialect)
        for name in columns
    ]
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                copy.write_row(
                    [
                        row[name] if process is None else process(row[name])
                        for name, process in zip(columns, processors, strict=True)
                    ]
                )
    except Error as error:
        raise meaning_of(error, contradicts=isinstance(error, IntegrityError)) from error
