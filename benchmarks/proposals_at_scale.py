"""Measure inserts and reads of the proposals table as it grows, in one table and by month.

``python -m benchmarks.proposals_at_scale --rows 10000000`` needs 90 GB of disk and some hours on
two cores; figures are printed at each size. Documents are those of real proposals; ids
of owners and portfolios are made up, with ten portfolios an owner and a proposal a month.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from uuid import uuid4

import attrs
import psycopg

from benchmarks.books import write_book, write_prices
from benchmarks.stores import OWNER, Command
from tests.servers import Postgres, running

KINDS, MONTHS, CHUNK, READS = 500, 12, 512, 200
"""Distinct documents; months of proposals; rows of a transaction; reads of each kind."""

_BY_MONTH = """
CREATE TABLE by_month (LIKE proposals INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (proposed);
ALTER TABLE by_month ADD PRIMARY KEY (id, proposed);
CREATE INDEX ON by_month (owner, proposed, id);
CREATE INDEX ON by_month (portfolio, proposed, id);
CREATE INDEX ON by_month (owner, stage);
CREATE INDEX ON by_month (stage, proposed);
"""

_PART = """
CREATE TABLE by_month_{number} PARTITION OF by_month FOR VALUES
    FROM ('2025-01-01'::timestamptz + interval '{number} month')
    TO ('2025-01-01'::timestamptz + interval '1 month' * ({number} + 1))
"""

_ROWS = """
INSERT INTO {table} ({columns})
SELECT gen_random_uuid(), md5('o' || k / 10)::uuid, md5('p' || k)::uuid, t.proposal, t.seen,
    m, m + interval '90 days', 'expired', t.remark
FROM generate_series(%(first)s::int, %(last)s::int) AS k
JOIN samples AS t ON t.number = k %% %(kinds)s::int,
LATERAL (SELECT '2025-01-02'::timestamptz + interval '1 month' * %(month)s::int
    + k * interval '1 ms' AS m) AS at
"""
TABLES = ("proposals", "by_month")
_COLUMNS = "id, owner, portfolio, proposal, seen, proposed, expires, stage, remark"


@attrs.frozen
class Tables:
    """The tables on a connection."""

    connection: psycopg.Connection[Any]

    def insert(self, table: str, chunks: int) -> float:
        """Return the rows a second that `COPY` inserts into the last month, as a batch does."""
        rows = self.connection.execute(
            f"SELECT {_COLUMNS} FROM {table} WHERE proposed >= '2025-12-01' LIMIT {CHUNK}"
        ).fetchall()
        dumped = [(*row[:3], json.dumps(row[3]), json.dumps(row[4]), *row[5:]) for row in rows]
        begin = perf_counter()
        for _ in range(chunks):
            with (
                self.connection.transaction(),
                self.connection.cursor() as cursor,
                cursor.copy(f"COPY {table} ({_COLUMNS}) FROM STDIN") as copy,
            ):
                for row in dumped:
                    copy.write_row((uuid4(), *row[1:]))
        return chunks * len(rows) / (perf_counter() - begin)

    def read(self, query: str, keys: Sequence[Any]) -> float:
        """Return the median milliseconds of a query for each key."""
        spent = []
        for key in keys:
            begin = perf_counter()
            self.connection.execute(query, (key,)).fetchall()
            spent.append(1_000 * (perf_counter() - begin))
        return median(spent)

    def sizes(self, table: str) -> tuple[float, float]:
        """Return the gigabytes of the rows and of the indexes."""
        found = self.connection.execute(
            "SELECT sum(pg_table_size(oid)), sum(pg_indexes_size(oid)) FROM pg_class"
            " WHERE relkind = 'r' AND (relname = %s OR relname LIKE %s)",
            (table, f"{table}\\_%"),
        ).fetchone()
        assert found is not None
        return float(found[0]) / 1e9, float(found[1]) / 1e9


def fill(url: str, table: str, *, first: int, last: int) -> None:
    """Add the proposals of some portfolios in each month."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no foreign keys
        connection.execute("SET synchronous_commit = off")
        for month in range(MONTHS):
            connection.execute(
                _ROWS.format(table=table, columns=_COLUMNS),
                {"first": first, "last": last - 1, "kinds": KINDS, "month": month},
            )


def measure(tables: Tables, table: str, rows: int, report: Callable[[str], None]) -> None:
    """Print the figures of a table with a number of rows."""
    tables.connection.execute(f"ANALYZE {table}")
    sample = tables.connection.execute(
        f"SELECT id, owner, portfolio FROM {table} TABLESAMPLE SYSTEM (1) LIMIT %s", (READS,)
    ).fetchall()
    ids, owners, portfolios = zip(*sample, strict=True)
    latest = f"SELECT * FROM {table} WHERE {{}} = %s ORDER BY proposed DESC, id DESC LIMIT 20"
    by_id = tables.read(f"SELECT * FROM {table} WHERE id = %s", ids)
    by_owner = tables.read(latest.format("owner"), owners)
    by_portfolio = tables.read(latest.format("portfolio"), portfolios)
    copied = tables.insert(table, 20)
    heap, indexes = tables.sizes(table)
    report(
        f"{table}, {rows:,} rows: COPY {copied:,.0f} rows/s; one by id {by_id:.2f} ms, 20 of an"
        f" owner {by_owner:.2f} ms, 20 of a portfolio {by_portfolio:.2f} ms; rows {heap:.1f} GB,"
        f" indexes {indexes:.1f} GB"
    )


def drop_month(tables: Tables, rows: int, report: Callable[[str], None]) -> None:
    """Print how long it takes to remove the oldest month from either table."""
    begin = perf_counter()
    tables.connection.execute("DELETE FROM proposals WHERE proposed < '2025-02-01'")
    deleted = perf_counter() - begin
    begin = perf_counter()
    tables.connection.execute("DROP TABLE by_month_0")
    dropped = perf_counter() - begin
    report(f"a month of {rows // MONTHS:,} rows: DELETE {deleted:.1f} s, DROP {dropped:.3f} s")


def main() -> None:
    """Measure at a tenth, a third and all of the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="Parent of the server's folder.")
    options = parser.parse_args()

    def report(text: str) -> None:
        print(text, flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="rebalancer-bench-", dir=options.folder) as name,
        running(Postgres) as server,
    ):
        _propose(Command(Path(name), server.url), Path(name))
        with psycopg.connect(server.url, autocommit=True) as connection:
            _prepare(connection)
            tables, before = Tables(connection), 0
            for share in (0.1, 0.3, 1.0):
                portfolios = int(options.rows * share) // MONTHS
                with ThreadPoolExecutor() as pool:
                    filling = partial(fill, server.url, first=before, last=portfolios)
                    list(pool.map(filling, TABLES))
                for table in TABLES:
                    measure(tables, table, portfolios * MONTHS, report)
                before = portfolios
            drop_month(tables, before * MONTHS, report)


def _propose(rebalancer: Command, folder: Path) -> None:
    """Store real proposals for a small book."""
    write_prices(folder / "prices.csv")
    write_book(folder / "book.jsonl", KINDS)
    lines = map(json.loads, (folder / "book.jsonl").read_text().splitlines())
    stored = [json.dumps({k: v for k, v in line.items() if k != "cash_flow"}) for line in lines]
    (folder / "stored.jsonl").write_text("\n".join(stored) + "\n")
    rebalancer("db", "upgrade")
    rebalancer("user", "create", "--email", OWNER, stdin="correct horse battery\n")
    rebalancer("portfolio", "import", "stored.jsonl", "--owner", OWNER, "--on", "2021-01-05")
    rebalancer("batch", "--all", "--policy", "band", "--workers", "1", "--json")


def _prepare(connection: psycopg.Connection[Any]) -> None:
    """Keep the proposals as samples, and create both tables without foreign keys."""
    connection.execute(
        "CREATE TABLE samples AS SELECT row_number() OVER () - 1 AS number, proposal, seen, remark"
        f" FROM proposals LIMIT {KINDS}"
    )
    connection.execute("DELETE FROM proposals")
    connection.execute("SET session_replication_role = replica")  # no trigger of a foreign key
    connection.execute("SET synchronous_commit = off")
    connection.execute("ALTER SYSTEM SET max_wal_size = '4GB'")
    connection.execute("SELECT pg_reload_conf()")
    connection.execute(_BY_MONTH)
    for number in range(MONTHS):
        connection.execute(_PART.format(number=number))


if __name__ == "__main__":
    main()
