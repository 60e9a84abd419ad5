"""Measure stored portfolios on a real Postgres: whole books, and our store against the bare driver.

Server and clients share the machine, as the aim assumes.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import attrs
import msgspec
import psycopg

from benchmarks.books import write_book, write_prices
from benchmarks.figures import Figure
from benchmarks.processes import command
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.domain.portfolio.ledger import Entry, EntryKind
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.rebalancing.lifecycle import ProposalRecord
from tests.servers import Postgres, running

BOOK = 100_000
KINDS = 2_000
"""Distinct portfolios; the rest of the book are copies of them under new ids."""

ROUNDS = 500
"""Repetitions of each operation, alternating between ours and the driver's."""

NOW = datetime(2022, 3, 1, 12, tzinfo=UTC)
OWNER = "ada@example.org"
WORKERS = 2


def figures() -> Iterator[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="rebalancer-bench-") as name,
        running(Postgres) as server,
    ):
        folder = Path(name)
        rebalancer = Command(folder, server.url)
        write_prices(folder / "prices.csv")
        _fill(folder, rebalancer, server.url)
        yield from _batches(rebalancer, server.url)
        yield from _against_the_driver(server.url)


@attrs.frozen
class Command:
    """`rebalancer` with its own database."""

    folder: Path
    database: str

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the command; return its output."""
        done = subprocess.run(
            [*command(), *arguments],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            cwd=self.folder,
            env={
                **os.environ,
                "REBALANCER_DATABASE_URL": self.database,
                "REBALANCER_PRICES": "prices.csv",
                "REBALANCER_MOST_PORTFOLIOS": "0",
                "REBALANCER_MOST_MEGABYTES_A_DAY": "0",
            },
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout


def _fill(folder: Path, rebalancer: Command, url: str) -> None:
    write_book(folder / "book.jsonl", KINDS)
    lines = map(json.loads, (folder / "book.jsonl").read_text().splitlines())
    with (folder / "stored.jsonl").open("w") as file:
        for line in lines:
            line.pop("cash_flow", None)  # a ledger has no planned cash flow
            file.write(json.dumps(line) + "\n")
    rebalancer("db", "upgrade")
    rebalancer("user", "create", "--email", OWNER, stdin="correct horse battery\n")
    rebalancer("portfolio", "import", "stored.jsonl", "--owner", OWNER, "--on", "2021-01-05")
    with psycopg.connect(url, autocommit=True) as operator:
        found = operator.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'portfolios' AND column_name <> 'id'"
        )
        columns = ", ".join(name for (name,) in found)
        operator.execute(
            f"INSERT INTO portfolios (id, {columns}) SELECT gen_random_uuid(), {columns}"
            f" FROM portfolios, generate_series(2, {BOOK // KINDS})"
        )
        operator.execute("VACUUM ANALYZE")


def _batches(rebalancer: Command, url: str) -> Iterator[Figure]:
    for policy in ("monthly", "band"):
        begin = perf_counter()
        result = json.loads(
            rebalancer("batch", "--all", "--policy", policy, "--workers", str(WORKERS), "--json")
        )
        seconds = perf_counter() - begin
        with psycopg.connect(url, autocommit=True) as operator:
            row = operator.execute(
                "SELECT count(*), count(DISTINCT portfolio) FROM proposals WHERE run = %s",
                (result["run"],),
            ).fetchone()
        yield Figure(
            "stores",
            f"batch --all, {BOOK:,} portfolios on Postgres, {policy}: read, propose, write",
            "/s",
            BOOK / seconds,
            aim=5_000,
            agrees=row == (BOOK, BOOK) and result["proposed"] == BOOK,
            how_close="one proposal each",
            note=f"{WORKERS} processes and the server on {os.cpu_count()} cores, from start to end"
            if policy == "monthly"
            else "",
        )


def _against_the_driver(url: str) -> Iterator[Figure]:
    """Compare our operations with the same statements in the same transactions on the driver."""
    engine = connect(url)
    work = SqlWork(engine)
    with work.read() as tx:
        owner = tx.users.by_email(OWNER)
        assert owner is not None
        chunk = tx.portfolios.chunk(limit=KINDS)
        mine = [one for one in chunk if isinstance(one, ManagedPortfolio)]
    raw = Driver(url)
    pairs: dict[
        str, tuple[Callable[[ManagedPortfolio], Any], Callable[[ManagedPortfolio], Any]]
    ] = {
        "read one portfolio": (
            lambda one: _read(work, one),
            lambda one: raw.read(one.id, owner.id),
        ),
        "read 100 portfolios": (
            lambda one: _page(work, owner.id, one),
            lambda one: raw.page(owner.id, one),
        ),
        "deposit: lock, ledger, version, entry": (
            lambda one: _deposit(work, one),
            lambda one: raw.deposit(one.id, owner.id),
        ),
    }
    with work.read() as tx:  # only imported portfolios have a ledger
        stored = [one for one in mine if tx.portfolios.ledger(one.id).entries]
    for what, (ours, theirs) in pairs.items():
        spent = {"ours": 0.0, "theirs": 0.0}
        for number in range(ROUNDS):
            one = stored[number % len(stored)]
            for name, do in (("ours", ours), ("theirs", theirs)):
                begin = perf_counter()
                do(one)
                spent[name] += perf_counter() - begin
        yield Figure(
            "stores",
            what,
            "/s",
            ROUNDS / spent["ours"],
            "bare psycopg",
            ROUNDS / spent["theirs"],
            aim_ratio=0.6,
        )
    yield _proposals(work, raw, stored[0])
    raw.close()
    engine.dispose()


def _read(work: SqlWork, one: ManagedPortfolio) -> ManagedPortfolio:
    with work.read() as tx:
        return tx.portfolios.get(one.id, owner=one.owner)


def _page(work: SqlWork, owner: UUID, one: ManagedPortfolio) -> list[ManagedPortfolio]:
    with work.read() as tx:
        return tx.portfolios.page(owner, after=one.id, limit=100)


def _deposit(work: SqlWork, one: ManagedPortfolio) -> None:
    entry = Entry(uuid4(), EntryKind.DEPOSIT, date(2022, 2, 25), NOW, Decimal(1))
    with work.begin() as tx:
        portfolio = tx.portfolios.get(one.id, owner=one.owner)
        ledger = tx.portfolios.ledger(one.id).extended_by([entry])
        tx.portfolios.save(portfolio.book(ledger, NOW), entries=[entry])


def _proposals(work: SqlWork, raw: Driver, one: ManagedPortfolio) -> Figure:
    """Write a chunk of a batch, 512 proposals."""
    with work.read() as tx:
        like = _like(tx.proposals.page(one.owner, limit=1), one)
    rows = raw.rows_like(like, 512)
    ours, theirs, rounds = 0.0, 0.0, 10
    for _ in range(rounds):
        records = [attrs.evolve(like, id=uuid4()) for _ in range(512)]
        begin = perf_counter()
        with work.begin() as tx:
            tx.proposals.add(records)
        ours += perf_counter() - begin
        begin = perf_counter()
        raw.copy(rows())
        theirs += perf_counter() - begin
    return Figure(
        "stores",
        "write 512 proposals in one transaction",
        "/s",
        512 * rounds / ours,
        "bare COPY of ready rows",
        512 * rounds / theirs,
        aim_ratio=0.6,
    )


def _like(found: list[ProposalRecord], one: ManagedPortfolio) -> ProposalRecord:
    (record,) = found
    return attrs.evolve(record, portfolio_id=one.id, run=None)


class Driver:
    """Bare psycopg: hand-written statements for maximum speed."""

    def __init__(self, url: str) -> None:
        """Connect."""
        self._connection = psycopg.connect(url)

    def read(self, id: UUID, owner: UUID) -> Any:
        """Read one portfolio in a snapshot."""
        self._reads()
        with self._connection.transaction():
            return self._connection.execute(
                "SELECT * FROM portfolios WHERE id = %s AND owner = %s AND closed IS NULL",
                (id, owner),
            ).fetchone()

    def page(self, owner: UUID, one: ManagedPortfolio) -> Any:
        """Read a page of a hundred."""
        self._reads()
        with self._connection.transaction():
            return self._connection.execute(
                "SELECT * FROM portfolios WHERE owner = %s AND closed IS NULL"
                " AND (created, id) > (%s, %s) ORDER BY created, id LIMIT 100",
                (owner, one.created, one.id),
            ).fetchall()

    def deposit(self, id: UUID, owner: UUID) -> None:
        """Lock, read the ledger, add to the cash and to the ledger."""
        self._connection.read_only = None
        self._connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        with self._connection.transaction():
            run = self._connection.execute
            run(
                "SELECT * FROM portfolios WHERE id = %s AND owner = %s AND closed IS NULL"
                " FOR NO KEY UPDATE",
                (id, owner),
            ).fetchone()
            run(
                "SELECT * FROM ledger_entries WHERE portfolio = %s ORDER BY sequence", (id,)
            ).fetchall()
            run(
                "UPDATE portfolios SET cash = cash + 1, uninvested = uninvested + 1,"
                " version = version + 1, changed = %s WHERE id = %s",
                (NOW, id),
            )
            run(
                "INSERT INTO ledger_entries (portfolio, id, kind, day, recorded, amount, quantity,"
                " cost, note) VALUES (%s, %s, 'deposit', %s, %s, 1, 0, 0, '')",
                (id, uuid4(), date(2022, 2, 25), NOW),
            )

    def rows_like(self, record: ProposalRecord, count: int) -> Callable[[], list[Any]]:
        """Return a function that makes rows like this record, encoded, with new ids."""
        documents = [msgspec.json.encode(one).decode() for one in (record.proposal, record.inputs)]
        rest = (record.owner, record.portfolio_id, *documents, NOW, NOW, "proposed", "")
        return lambda: [(uuid4(), *rest) for _ in range(count)]

    def copy(self, rows: list[Any]) -> None:
        """Copy rows into the table in one stream, in the binary format."""
        self._connection.read_only = None
        self._connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        columns = "id, owner, portfolio, proposal, seen, proposed, expires, stage, remark"
        types = ["uuid"] * 3 + ["json"] * 2 + ["timestamptz"] * 2 + ["text"] * 2
        with (
            self._connection.transaction(),
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY proposals ({columns}) FROM STDIN (FORMAT BINARY)") as stream,
        ):
            stream.set_types(types)
            for row in rows:
                stream.write_row(row)

    def _reads(self) -> None:
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
