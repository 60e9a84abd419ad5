"""Batches on two Ray nodes of this machine and a Postgres: same proposals, once each, after deaths.

`deployment.check.ray` runs it where Ray is installed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import psutil
import psycopg

from benchmarks.books import write_book, write_prices
from deployment.check.ray_nodes import TwoNodes, require_token, two_nodes
from tests.servers import Postgres, running

PORTFOLIOS = int(os.environ.get("RAY_PORTFOLIOS", "20000"))
KINDS = 500
"""Portfolios that are imported; the others are copies under new ids."""

OWNER = "ada@example.org"
PATIENCE = 600.0
"""Seconds in which a run ends."""

SAME_PROPOSALS = """
SELECT count(*) FROM proposals AS a JOIN proposals AS b USING (portfolio)
WHERE a.run = %s AND b.run = %s AND a.proposal::text = b.proposal::text
    AND a.seen::text = b.seen::text AND a.stage = b.stage
"""


@attrs.frozen
class Book:
    """A database with portfolios, and the command in a process of its own."""

    folder: Path
    url: str
    environment: Mapping[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command."""
        return subprocess.Popen(
            [sys.executable, "-m", "rebalancer.entrypoints.cli", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=self.folder,
            env=dict(self.environment),
        )

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the command to its end, and return its output."""
        return self.finish(self.start(*arguments), stdin)

    def finish(self, process: subprocess.Popen[str], stdin: str | None = None) -> str:
        """Wait for the end of a command, and return its output; raise if it failed."""
        output, errors = process.communicate(stdin, timeout=PATIENCE)
        if process.returncode or not output:
            raise RuntimeError(f"exit code {process.returncode}, output {output!r}: {errors}")
        return output

    def batch(self, *options: str) -> subprocess.Popen[str]:
        """Start a batch."""
        return self.start("batch", "--all", "--policy", "band", "--json", *options)

    def query(self, query: str, *values: Any) -> tuple[Any, ...]:
        """Return the only row of a query."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query, values).fetchone()
            assert row is not None
            return row

    def wait_for_chunks(self, process: subprocess.Popen[str], count: int) -> None:
        """Wait until the run that began last has finished some chunks."""
        latest = "SELECT id FROM batch_runs ORDER BY started DESC LIMIT 1"
        before = self.query("SELECT count(*) FROM batch_runs WHERE finished IS NULL")[0]
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends and process.poll() is None:
            done = self.query(f"SELECT count(*) FROM batch_chunks WHERE done AND run = ({latest})")
            unfinished = self.query("SELECT count(*) FROM batch_runs WHERE finished IS NULL")[0]
            if unfinished and done[0] >= count:
                return
            time.sleep(0.05)
        raise RuntimeError(f"the run did not get to chunk {count} ({before} unfinished)")

    def check_once(self, result: str) -> str:
        """Check that a run has one proposal or failure for each portfolio; return its id."""
        run: str = json.loads(result)["run"]
        rows, distinct = self.query(
            "SELECT count(*), count(DISTINCT portfolio) FROM proposals WHERE run = %s", run
        )
        failed = self.query("SELECT count(*) FROM batch_failures WHERE run = %s", run)[0]
        if not rows == distinct == PORTFOLIOS - failed:
            raise RuntimeError(f"{rows} proposals of {distinct} portfolios, {failed} failures")
        return run

    def time(self, process: subprocess.Popen[str]) -> float:
        """Return the seconds from the begin to the end of the run that a command begins."""
        found = "SELECT count(*), count(finished) FROM batch_runs"
        runs, _ = self.query(found)
        while process.poll() is None and self.query(found)[0] == runs:
            time.sleep(0.02)
        begin = time.monotonic()
        while process.poll() is None and self.query(found)[1] == runs:
            time.sleep(0.02)
        return time.monotonic() - begin


def main() -> int:
    """Run the checks; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    require_token()
    with (
        tempfile.TemporaryDirectory(prefix="rebalancer-ray-") as name,
        running(Postgres) as server,
    ):
        os.environ["REBALANCER_DATABASE_URL"] = server.url
        os.environ["REBALANCER_PRICES"] = str(Path(name) / "prices.csv")
        book = Book(Path(name), server.url, dict(os.environ))
        fill(book)
        with two_nodes() as nodes:
            ray = ("--engine", "ray", "--address", nodes.address, "--workers", "3")
            check_results_and_speed(book, ray)
            check_token(book, ray)
            check_dead_helper(book, nodes, ray)
            check_dead_driver(book, nodes, ray)
            check_dead_node(book, nodes, ray)  # last, since the node does not come back
    return 0


def fill(book: Book) -> None:
    """Store portfolios of one owner."""
    write_prices(book.folder / "prices.csv")
    write_book(book.folder / "book.jsonl", KINDS)
    lines = map(json.loads, (book.folder / "book.jsonl").read_text().splitlines())
    stored = [json.dumps({k: v for k, v in line.items() if k != "cash_flow"}) for line in lines]
    (book.folder / "stored.jsonl").write_text("\n".join(stored) + "\n")
    book.run("db", "upgrade")
    book.run("user", "create", "--email", OWNER, stdin="correct horse battery\n")
    book.run("portfolio", "import", "stored.jsonl", "--owner", OWNER, "--on", "2021-01-05")
    with psycopg.connect(book.url, autocommit=True) as operator:
        found = operator.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'portfolios' AND column_name <> 'id'"
        )
        columns = ", ".join(column for (column,) in found)
        operator.execute(
            f"INSERT INTO portfolios (id, {columns}) SELECT gen_random_uuid(), {columns}"
            f" FROM portfolios, generate_series(2, {PORTFOLIOS // KINDS})"
        )
        operator.execute("VACUUM ANALYZE")


def check_results_and_speed(book: Book, ray: tuple[str, ...]) -> None:
    """Compare a run on two nodes with one of as many processes of this machine."""
    spent: dict[str, list[float]] = {"local": [], "ray": []}
    runs: dict[str, str] = {}
    for name, options in 2 * [("local", ("--workers", "3")), ("ray", ray)]:
        begin = time.monotonic()
        process = book.batch(*options)
        spent[name].append(book.time(process))
        runs[name] = book.check_once(book.finish(process))
        whole = time.monotonic() - begin
        print(f"{name}: {spent[name][-1]:.1f} s, with start and end {whole:.1f} s", flush=True)
    same = book.query(SAME_PROPOSALS, runs["local"], runs["ray"])[0]
    rows = book.query("SELECT count(*) FROM proposals WHERE run = %s", runs["local"])[0]
    if same != rows:
        raise RuntimeError(f"{same} of {rows} proposals are the same")
    ratio = min(spent["local"]) / min(spent["ray"])
    print(
        f"shown: {rows:,} proposals on two nodes equal those of local processes; "
        f"{rows / min(spent['ray']):,.0f}/s, {ratio:.2f} of local"
    )


def check_token(book: Book, ray: tuple[str, ...]) -> None:
    """Check that a command with another token is refused, and begins no run."""
    before = book.query("SELECT count(*) FROM batch_runs")
    stranger = attrs.evolve(book, environment={**book.environment, "RAY_AUTH_TOKEN": 64 * "0"})
    process = stranger.batch(*ray)
    _, errors = process.communicate(timeout=PATIENCE)
    if process.returncode != 1 or "cannot be joined" not in errors:
        raise RuntimeError(f"exit code {process.returncode}: {errors}")
    if book.query("SELECT count(*) FROM batch_runs") != before:
        raise RuntimeError("a run began")
    print("shown: a wrong token is refused", flush=True)


def check_dead_helper(book: Book, nodes: TwoNodes, ray: tuple[str, ...]) -> None:
    """Kill a helper in the middle of a run."""
    process = book.batch(*ray)
    book.wait_for_chunks(process, 2)
    helper = _wait(lambda: [*nodes.helpers(nodes.head), *nodes.helpers(nodes.other)])[0]
    helper.kill()
    book.check_once(book.finish(process))
    print("shown: once each after the kill of a helper", flush=True)


def check_dead_driver(book: Book, nodes: TwoNodes, ray: tuple[str, ...]) -> None:
    """Kill the command in the middle of a run, and resume it."""
    process = book.batch(*ray)
    book.wait_for_chunks(process, 2)
    process.kill()
    process.communicate()
    _wait(lambda: not [*nodes.helpers(nodes.head), *nodes.helpers(nodes.other)])
    book.check_once(book.finish(book.batch(*ray, "--resume")))
    print("shown: helpers end with a killed command, and --resume continues", flush=True)


def check_dead_node(book: Book, nodes: TwoNodes, ray: tuple[str, ...]) -> None:
    """Kill a node in the middle of a run."""
    process = book.batch(*ray)
    book.wait_for_chunks(process, 2)
    _wait(lambda: nodes.helpers(nodes.other))
    nodes.kill_other()
    book.check_once(book.finish(process))
    print("shown: once each after the kill of a node", flush=True)


def _wait(condition: Callable[[], Any]) -> Any:
    """Wait until a condition is true, and return its value."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        with suppress(psutil.NoSuchProcess):
            if found := condition():
                return found
        time.sleep(0.05)
    raise RuntimeError("a process did not start or end in time")


if __name__ == "__main__":
    sys.exit(main())
