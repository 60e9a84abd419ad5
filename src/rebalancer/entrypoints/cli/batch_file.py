"""Propose for a file of portfolios, in bounded memory, on several processes.

Lines are cut into chunks of fixed size, whose boundaries depend on line numbers alone. The records
of a chunk are a pure function of its lines, so that neither the number of workers nor an
interruption changes a byte of the output: a resumed run keeps the complete chunks and repeats the
rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import BufferedRandom, BufferedReader
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import attrs

from rebalancer.application.atomic_files import write_atomically
from rebalancer.application.garbage_collection import rare_garbage_collection
from rebalancer.application.worker_processes import (
    WorkerDied,
    WorkerProcess,
    serve,
    worker_processes,
)
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.model import Failure, Proposal, RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose_book
from rebalancer.entrypoints.cli.batch_request import BatchRequest
from rebalancer.entrypoints.cli.files import check_output
from rebalancer.entrypoints.cli.options import report_reading
from rebalancer.entrypoints.schemas.portfolio import LONGEST_ID, read_portfolio
from rebalancer.entrypoints.schemas.proposal import ProposalRecord, proposal_record
from rebalancer.entrypoints.schemas.wire import json_line, parse_json
from rebalancer.wiring.container import build_container

CHUNK = 512
"""Lines that are solved together; the output depends on this number."""

LONGEST_LINE = 1 << 20
"""Bytes of a line with its end; a longer line fails, and is never read into memory whole."""

PARALLEL_FROM = 1 << 20
"""Bytes of input from which worker processes save more time than their start takes."""

LONGEST_ERROR = 500
"""Characters of an error in the output; a quotation from the input may be of any length."""


@attrs.frozen
class Line:
    """One line of input.

    Attributes:
        number: From 1.
        text: The line without its end; empty if it is too long.
        size: Bytes of the line in the file.
        digest: SHA-256 of a line that is too long, else empty.
    """

    number: int
    text: bytes
    size: int
    digest: str = ""


@attrs.frozen
class Record:
    """One line of output."""

    number: int
    portfolio_id: str | None
    status: str
    text: bytes
    input_hash: str


def run(
    request: BatchRequest,
    portfolios: Path,
    out: Path,
    *,
    resume: bool,
    workers: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Counter[str]:
    """Write a record to ``out`` for every line of ``portfolios``; count them by status.

    Raises:
        InvalidRequest: a file cannot be read or written, a parameter is invalid, or the inputs of a
            run to resume have changed.
        Unavailable: a worker process was killed.
    """
    Currency(request.currency)
    terms = _build_terms(request, report=True)
    try:
        _check_files(request, portfolios, out)
        with closing(sqlite3.connect("")) as database, portfolios.open("rb") as source:
            # A temporary database spills to disk, so that memory is bounded for any number of ids.
            ids = _FirstLines(database)
            tally: Counter[str] = Counter()
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
            inputs = {"portfolios": digest, "prices, policy, costs and assets": terms.digest}
            with _output(out, inputs, resume=resume) as target:
                done = _recover(target, ids, tally)
                lines = _lines(source)
                for line in islice(lines, done):
                    advance(line.size)
                for record, size in _records(lines, request, terms, portfolios, workers):
                    final = record
                    if record.portfolio_id is not None and not ids.add(record):
                        final = _duplicate_record(record, terms, ids.line(record))
                    target.write(final.text)
                    tally[final.status] += 1
                    advance(size)
                    if record.number % CHUNK == 0:
                        target.flush()
                return tally
    except OSError as error:
        path = Path(error.filename) if error.filename else out
        field = "portfolios" if path == portfolios else "out"
        raise InvalidRequest(
            f"cannot use {path}: {error.strerror}", field=field, code="file_unreadable"
        ) from None


def _check_files(request: BatchRequest, portfolios: Path, out: Path) -> None:
    """Check that the input can be read twice and that the output overwrites no input."""
    if portfolios.exists() and not (portfolios.is_file() or portfolios.is_dir()):
        raise InvalidRequest(
            f"{portfolios} is a pipe or a device; save its content to a file first",
            field="portfolios",
            code="not_a_file",
        )
    if out.exists() and not out.is_file():
        raise InvalidRequest(f"{out} is not a regular file", field="out", code="not_a_file")
    for written in (out, _inputs_file(out)):
        check_output(written, (portfolios, *request.sources.files), field="out")


def _inputs_file(out: Path) -> Path:
    """Return the file beside the output that records the digests of its inputs."""
    return out.with_name(f"{out.name}.run")


def _build_terms(request: BatchRequest, *, report: bool = False) -> RebalanceContext:
    wired = build_container(request.sources, settings=request.settings)
    try:
        terms = request.terms(wired)
        if report:
            report_reading(wired)
        return terms
    finally:
        wired.close()


@contextmanager
def _output(out: Path, inputs: dict[str, str], *, resume: bool) -> Iterator[BufferedRandom]:
    """Open the output at its beginning, and record the digests of the inputs in a second file.

    Raises:
        InvalidRequest: the run to resume is unknown or had other inputs.
    """
    note = _inputs_file(out)
    resuming = resume and out.exists()
    if resuming:
        try:
            before = dict(json.loads(note.read_bytes()))
        except (OSError, ValueError, TypeError):
            raise InvalidRequest(
                f"cannot resume {out}: its record of inputs, {note.name}, is missing or damaged",
                code="resume_impossible",
            ) from None
        changed = [name for name, digest in inputs.items() if before.get(name) != digest]
        if changed:
            raise InvalidRequest(
                f"cannot resume {out}: inputs changed since that run: {'; '.join(changed)}",
                code="resume_impossible",
            )
    else:
        out.unlink(missing_ok=True)
        write_atomically(note, f"{json.dumps(inputs, indent=2)}\n".encode())
    with open(out, "r+b" if resuming else "x+b") as target:  # noqa: PTH123 - Path.open is untyped here
        yield target
        target.flush()
        os.fsync(target.fileno())


def _recover(target: BufferedRandom, ids: _FirstLines, tally: Counter[str]) -> int:
    """Keep the complete chunks of an interrupted run, cut off the rest, and return their lines."""
    done = end = size = 0
    pending: list[Record] = []
    for number, text in enumerate(target, 1):
        record = _parse_record(text, number)
        if record is None:
            break
        size += len(text)
        pending.append(record)
        if len(pending) == CHUNK:
            for one in pending:
                tally[one.status] += 1
                if one.portfolio_id is not None:
                    ids.add(one)
            done += CHUNK
            pending.clear()
            end += size
            size = 0
    target.seek(end)
    target.truncate()
    return done


def _parse_record(text: bytes, number: int) -> Record | None:
    """Read a record of an interrupted run; None if the line is incomplete."""
    try:
        found = json.loads(text)
        record = Record(found["line"], found["portfolio_id"], found["status"], b"", "")
    except (ValueError, KeyError, TypeError):
        return None
    return record if record.number == number and text.endswith(b"\n") else None


def _lines(source: BufferedReader) -> Iterator[Line]:
    """Yield the lines of a file, reading at most `LONGEST_LINE` bytes at a time."""
    number = 0
    while text := source.readline(LONGEST_LINE + 1):
        number += 1
        size = len(text)
        digest = ""
        if size > LONGEST_LINE:
            sha = hashlib.sha256(text)
            while not text.endswith(b"\n") and (text := source.readline(LONGEST_LINE)):
                sha.update(text)
                size += len(text)
            text, digest = b"", sha.hexdigest()
        yield Line(number, text.rstrip(b"\r\n"), size, digest)


def _chunks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while chunk := list(islice(lines, CHUNK)):
        yield chunk


def _records(
    lines: Iterator[Line],
    request: BatchRequest,
    terms: RebalanceContext,
    portfolios: Path,
    workers: int,
) -> Iterator[tuple[Record, int]]:
    """Yield the records in the order of the lines, each with the size of its line."""
    piped = not all(path.is_file() for path in request.sources.files)  # cannot be read twice
    if workers == 1 or piped or portfolios.stat().st_size < PARALLEL_FROM:
        with rare_garbage_collection():
            for chunk in _chunks(lines):
                solved = solve(chunk, terms, debug=request.settings.debug)
                yield from zip(solved, (line.size for line in chunk), strict=True)
        return
    with worker_processes(workers, _solve_chunks, request) as pool:
        for chunk, solved in _in_turn(pool, _chunks(lines)):
            yield from zip(solved, (line.size for line in chunk), strict=True)


def _in_turn(
    crew: list[WorkerProcess], chunks: Iterator[list[Line]]
) -> Iterator[tuple[list[Line], list[Record]]]:
    """Yield chunks and their records in order; each worker has one chunk, so memory is bounded.

    A worker gets its next chunk before its records are yielded, so that it does not wait for them.

    Raises:
        Unavailable: a worker process has died.
    """
    under_way: deque[tuple[list[Line], WorkerProcess]] = deque()
    try:
        for chunk, worker in zip(islice(chunks, len(crew)), crew, strict=False):
            worker.send(chunk)
            under_way.append((chunk, worker))
        while under_way:
            chunk, worker = under_way.popleft()
            solved = worker.receive()
            if isinstance(solved, Exception):
                raise solved
            if (following := next(chunks, None)) is not None:
                worker.send(following)
                under_way.append((following, worker))
            yield chunk, solved
    except WorkerDied as death:
        raise Unavailable(f"{death}, possibly because memory ran out", code="worker_died") from None


def _solve_chunks(parent: Connection, request: BatchRequest) -> None:
    """Solve chunks in a worker process until the parent hangs up."""
    with rare_garbage_collection():
        terms, debug = _build_terms(request), request.settings.debug
        serve(parent, lambda chunk: solve(chunk, terms, debug=debug))


def solve(chunk: list[Line], terms: RebalanceContext, *, debug: bool = False) -> list[Record]:
    """Return one record for each line of a chunk."""
    solved: dict[int, Record] = {}
    numbers: list[int] = []
    portfolios: list[Portfolio] = []
    for line in chunk:
        portfolio_id = None
        try:
            if line.digest:
                raise InvalidRequest(
                    f"the line is longer than {LONGEST_LINE} bytes", code="line_too_long"
                )
            if not line.text.strip():
                raise InvalidRequest(
                    "the line is empty; write one JSON object per line", code="empty_line"
                )
            values = parse_json(line.text)
            if isinstance(values.get("id"), str) and 0 < len(values["id"]) <= LONGEST_ID:
                portfolio_id = values["id"]
            portfolio = read_portfolio(values, currency=terms.currency)
            numbers.append(line.number)
            portfolios.append(portfolio)
        except InvalidRequest as error:
            parts = (terms.digest.encode(), line.digest.encode(), line.text)
            digest = hashlib.sha256(b"\n".join(parts)).hexdigest()
            solved[line.number] = _failed_record(
                line.number, portfolio_id, str(error), digest, terms
            )
    answers = _propose_all(portfolios, terms, debug)
    for number, portfolio, answer in zip(numbers, portfolios, answers, strict=True):
        if isinstance(answer, Failure):
            solved[number] = _failed_record(
                number, answer.portfolio_id, str(answer.error), answer.input_hash, terms
            )
            continue
        text = json_line(proposal_record(answer, portfolio.currency.code, number))
        solved[number] = Record(
            number, answer.portfolio_id, answer.status.value, text, answer.input_hash
        )
    return [solved[line.number] for line in chunk]


def _propose_all(
    portfolios: list[Portfolio], terms: RebalanceContext, debug: bool
) -> list[Proposal | Failure]:
    """Propose for each portfolio; an unexpected error fails only the portfolio that causes it."""
    try:
        return propose_book(portfolios, terms)
    except Exception as error:
        if debug:
            raise
        if len(portfolios) == 1:
            message = f"unexpected {type(error).__name__}: {error}; please report this bug"
            hashed = terms.input_hash(portfolios[0])
            return [
                Failure(portfolios[0].id, InvalidRequest(message, code="internal_error"), hashed)
            ]
    half = len(portfolios) // 2
    return _propose_all(portfolios[:half], terms, debug) + _propose_all(
        portfolios[half:], terms, debug
    )


def _failed_record(
    number: int, portfolio_id: str | None, error: str, input_hash: str, terms: RebalanceContext
) -> Record:
    record = ProposalRecord(
        line=number,
        portfolio_id=portfolio_id,
        status="failed",
        as_of=terms.market.last_date,
        policy=terms.policy.name,
        error=error if len(error) <= LONGEST_ERROR else f"{error[: LONGEST_ERROR - 3]}...",
        input_hash=input_hash,
    )
    return Record(number, portfolio_id, "failed", json_line(record), input_hash)


def _duplicate_record(record: Record, terms: RebalanceContext, first: int) -> Record:
    error = f"id: {record.portfolio_id!r} is already used on line {first}; ids must be unique"
    return _failed_record(record.number, record.portfolio_id, error, record.input_hash, terms)


class _FirstLines:
    """The line on which each id occurred first."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def add(self, record: Record) -> bool:
        """Add the id of a record, and return whether it is new."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)", (_id_bytes(record), record.number)
        )
        return added.rowcount == 1

    def line(self, record: Record) -> int:
        """Return the line on which the id of a record occurred first."""
        found = self._database.execute("SELECT line FROM seen WHERE id = ?", (_id_bytes(record),))
        return int(found.fetchone()[0])


def _id_bytes(record: Record) -> bytes:
    assert record.portfolio_id is not None
    return record.portfolio_id.encode("utf-8", "surrogatepass")
