"""A file of portfolios to a file of proposals, in bounded memory, on several processes.

Lines are cut into chunks of fixed size, whose boundaries depend on line numbers alone. A chunk is a
pure function of its lines, so that neither the number of workers nor being killed and resumed can
change a byte: a resumed run keeps whole chunks and does the rest again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from io import BufferedRandom, BufferedReader
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import attrs

from rebalancer.application.atomic_files import write_atomically
from rebalancer.application.rebalance import BuildContext, ProposeForBook
from rebalancer.application.worker_processes import (
    WorkerDied,
    WorkerProcess,
    serve,
    worker_processes,
)
from rebalancer.config import Settings
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.model import Failure, Proposal, RebalanceContext
from rebalancer.entrypoints.cli.options import spare
from rebalancer.entrypoints.processes import seldom_tidied
from rebalancer.entrypoints.schemas.portfolio import LONGEST_ID, read_portfolio
from rebalancer.entrypoints.schemas.proposal import ProposalRecord, proposal_record
from rebalancer.entrypoints.schemas.wire import json_line, parse_json
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import Sources

CHUNK = 512
"""Lines that are solved together; part of the output's definition, see above."""

LONGEST_LINE = 1 << 20
"""Bytes, its end included; a longer line is a failed record, and is never in memory whole."""

ALONE_BELOW = 1 << 20
"""Bytes of input under which starting processes costs more than it gains."""

LONGEST_ERROR = 500
"""Characters; what an error quotes of the input may be of any length."""


@attrs.frozen
class BatchFileRequest:
    """What a run is asked for.

    Attributes:
        sources: Where market data come from.
        policy: Who decides.
        costs: The price list.
        currency: Of the prices.
        as_of: Day to decide on; None: the last close.
        settings: Where one's own learned policies are, and kept prices.
    """

    sources: Sources
    policy: str
    costs: CostModel
    currency: str
    as_of: date | None
    settings: Settings = attrs.field(factory=Settings)


@attrs.define
class Tally:
    """How many lines became what."""

    lines: int = 0
    proposed: int = 0
    nothing: int = 0
    failed: int = 0

    def count(self, status: str) -> None:
        """Count one record."""
        self.lines += 1
        self.proposed += status == "proposed"
        self.nothing += status == "nothing_to_do"
        self.failed += status == "failed"


@attrs.frozen
class Line:
    """One line of input.

    Attributes:
        number: From 1.
        text: Without its end; the beginning only, when it is too long.
        size: Bytes taken from the file.
        digest: SHA-256 of the whole line when it is too long, else empty.
    """

    number: int
    text: bytes
    size: int
    digest: str = ""


@attrs.frozen
class Record:
    """One line of output, and what the run must know of it."""

    number: int
    portfolio_id: str | None
    status: str
    text: bytes
    input_hash: str


def run(
    request: BatchFileRequest,
    portfolios: Path,
    out: Path,
    *,
    resume: bool,
    workers: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Propose for every line of ``portfolios`` and write one line each to ``out``.

    Raises:
        InvalidRequest: a file cannot be read or written, a parameter makes no sense, or a run is
            to be resumed whose inputs have changed.
        Unavailable: a worker process was killed.
    """
    Currency(request.currency)
    terms = _terms(request)
    try:
        _check(request, portfolios, out)
        with closing(sqlite3.connect("")) as database, portfolios.open("rb") as source:
            # A nameless database spills to disk: any number of ids, bounded memory.
            seen = _Seen(database)
            tally = Tally()
            with _output(out, _inputs(terms, source), resume=resume) as target:
                done = _kept(target, seen, tally)
                lines = _lines(source)
                for line in islice(lines, done):
                    advance(line.size)
                for record, size in _records(lines, request, terms, portfolios, workers):
                    final = record
                    if record.portfolio_id is not None and not seen.first(record):
                        final = _repeated(record, terms, seen.line(record))
                    target.write(final.text)
                    tally.count(final.status)
                    advance(size)
                    if record.number % CHUNK == 0:
                        target.flush()
                return tally
    except OSError as error:
        path = Path(error.filename) if error.filename else out
        field = "portfolios" if path == portfolios else "out"
        raise InvalidRequest(f"cannot use {path}: {error.strerror}", field=field) from None


def _check(request: BatchFileRequest, portfolios: Path, out: Path) -> None:
    """The input can be read twice, and writing the output destroys nothing else.

    Raises:
        InvalidRequest: not so.
    """
    if portfolios.exists() and not (portfolios.is_file() or portfolios.is_dir()):
        raise InvalidRequest(f"{portfolios} is a pipe or device; save it first", field="portfolios")
    if out.exists() and not out.is_file():
        raise InvalidRequest(f"{out} is not a file that can be written anew", field="out")
    for mine in (out, _inputs_file(out)):
        spare((portfolios, *request.sources.files), mine, field="out")


def _inputs_file(out: Path) -> Path:
    """Return the file beside the output that records the digests of its inputs."""
    return out.with_name(f"{out.name}.run")


def _terms(request: BatchFileRequest) -> RebalanceContext:
    wired = build_container(request.sources, settings=request.settings)
    try:
        return wired.get(BuildContext)(
            policy_name=request.policy,
            costs=request.costs,
            currency=request.currency,
            as_of=request.as_of,
        )
    finally:
        wired.close()


def _inputs(terms: RebalanceContext, source: BufferedReader) -> dict[str, str]:
    """Digests of all that the output follows from."""
    digest = hashlib.file_digest(source, "sha256").hexdigest()
    source.seek(0)
    return {"portfolios": digest, "prices, policy, costs and assets": terms.digest}


@contextmanager
def _output(out: Path, inputs: dict[str, str], *, resume: bool) -> Iterator[BufferedRandom]:
    """The output file, opened at its beginning; beside it stands what it is made of.

    Raises:
        InvalidRequest: a run is to be resumed that is not known or had other inputs.
    """
    note = _inputs_file(out)
    going_on = resume and out.exists()
    if going_on:
        try:
            before = dict(json.loads(note.read_bytes()))
        except (OSError, ValueError, TypeError):
            raise InvalidRequest(
                f"cannot resume {out}: {note.name}, which says what it was made of, is missing or "
                "damaged; run again without --resume",
                field="resume",
            ) from None
        changed = [name for name, digest in inputs.items() if before.get(name) != digest]
        if changed:
            raise InvalidRequest(
                f"cannot resume {out}: changed since that run: {'; '.join(changed)}. Restore them, "
                "or run again without --resume",
                field="resume",
            )
    else:
        out.unlink(missing_ok=True)
        write_atomically(note, f"{json.dumps(inputs, indent=2)}\n".encode())
    with open(out, "r+b" if going_on else "x+b") as target:  # noqa: PTH123 - Path.open is untyped here
        yield target
        target.flush()
        os.fsync(target.fileno())


def _kept(target: BufferedRandom, seen: _Seen, tally: Tally) -> int:
    """Keep whole chunks of a run that was killed, cut off the rest, and count what is kept."""
    kept = end = size = 0
    pending: list[Record] = []
    for number, text in enumerate(target, 1):
        record = _earlier(text, number)
        if record is None:
            break
        size += len(text)
        pending.append(record)
        if len(pending) == CHUNK:
            for one in pending:
                tally.count(one.status)
                if one.portfolio_id is not None:
                    seen.first(one)
            kept += CHUNK
            pending.clear()
            end += size
            size = 0
    target.seek(end)
    target.truncate()
    return kept


def _earlier(text: bytes, number: int) -> Record | None:
    """A record of the run that was killed; None where the line is torn."""
    try:
        found = json.loads(text)
        record = Record(found["line"], found["portfolio_id"], found["status"], b"", "")
    except (ValueError, KeyError, TypeError):
        return None
    return record if record.number == number and text.endswith(b"\n") else None


def _lines(source: BufferedReader) -> Iterator[Line]:
    """Lines of a file, none of which is in memory beyond `LONGEST_LINE`."""
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
    chunk: list[Line] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _records(
    lines: Iterator[Line],
    request: BatchFileRequest,
    terms: RebalanceContext,
    portfolios: Path,
    workers: int,
) -> Iterator[tuple[Record, int]]:
    """Records in the order of the lines, and the bytes that each line took."""
    piped = not all(path.is_file() for path in request.sources.files)  # cannot be read twice
    if workers == 1 or piped or portfolios.stat().st_size < ALONE_BELOW:
        with seldom_tidied():
            for chunk in _chunks(lines):
                yield from zip(solve(chunk, terms), (line.size for line in chunk), strict=True)
        return
    with worker_processes(workers, _solve_chunks, request) as crew:
        for chunk, solved in _in_turn(crew, _chunks(lines)):
            yield from zip(solved, (line.size for line in chunk), strict=True)


def _in_turn(
    crew: list[WorkerProcess], chunks: Iterator[list[Line]]
) -> Iterator[tuple[list[Line], list[Record]]]:
    """Chunks and their records in order; each worker has one chunk at a time, so memory is bounded.

    A worker gets its next chunk before its records are handed on, so that it never waits for long.
    """
    under_way: deque[tuple[list[Line], WorkerProcess]] = deque()
    for chunk, worker in zip(islice(chunks, len(crew)), crew, strict=False):
        with _losing_a_worker():
            worker.send(chunk)
        under_way.append((chunk, worker))
    while under_way:
        chunk, worker = under_way.popleft()
        with _losing_a_worker():
            solved = worker.receive()
        if isinstance(solved, Exception):
            raise solved
        following = next(chunks, None)
        if following is not None:
            with _losing_a_worker():
                worker.send(following)
            under_way.append((following, worker))
        yield chunk, solved


@contextmanager
def _losing_a_worker() -> Iterator[None]:
    """Translate the death of a worker process.

    Raises:
        Unavailable: a worker process has died.
    """
    try:
        yield
    except WorkerDied as death:
        raise Unavailable(
            f"{death}, perhaps for lack of memory: go on with --resume, and with fewer --workers",
            code="worker_died",
        ) from None


def _solve_chunks(parent: Connection, request: BatchFileRequest) -> None:
    """Solve chunks in a worker process until the parent hangs up."""
    with seldom_tidied():
        terms = _terms(request)
        serve(parent, lambda chunk: solve(chunk, terms))


def solve(chunk: list[Line], terms: RebalanceContext) -> list[Record]:
    """One record for each line of a chunk."""
    solved: dict[int, Record] = {}
    numbers: list[int] = []
    portfolios: list[Portfolio] = []
    for line in chunk:
        portfolio_id = None
        try:
            if line.digest:
                raise InvalidRequest(f"the line is longer than {LONGEST_LINE} bytes")
            if not line.text.strip():
                raise InvalidRequest("the line is empty; write one JSON object a line")
            values = parse_json(line.text)
            if isinstance(values.get("id"), str) and 0 < len(values["id"]) <= LONGEST_ID:
                portfolio_id = values["id"]
            portfolio = read_portfolio(values, currency=terms.currency)
            numbers.append(line.number)
            portfolios.append(portfolio)
        except InvalidRequest as error:
            parts = (terms.digest.encode(), line.digest.encode(), line.text)
            digest = hashlib.sha256(b"\n".join(parts)).hexdigest()
            solved[line.number] = _failed(line.number, portfolio_id, str(error), digest, terms)
    for number, answer in zip(numbers, _answers(portfolios, terms), strict=True):
        if isinstance(answer, Failure):
            solved[number] = _failed(
                number, answer.portfolio_id, str(answer.error), answer.input_hash, terms
            )
            continue
        text = json_line(proposal_record(answer, number))
        solved[number] = Record(
            number, answer.portfolio_id, answer.status.value, text, answer.input_hash
        )
    return [solved[line.number] for line in chunk]


def _answers(portfolios: list[Portfolio], terms: RebalanceContext) -> list[Proposal | Failure]:
    """One answer for each portfolio; a defect of ours that one brings out fails that one alone."""
    try:
        return ProposeForBook()(portfolios, terms)
    except Exception as error:
        if os.environ.get("REBALANCER_DEBUG"):
            raise
        if len(portfolios) == 1:
            what = f"unexpected {type(error).__name__}: {error}; this is a bug, please report it"
            hashed = terms.input_hash(portfolios[0])
            return [Failure(portfolios[0].id, InvalidRequest(what), hashed)]
    half = len(portfolios) // 2
    return _answers(portfolios[:half], terms) + _answers(portfolios[half:], terms)


def _failed(
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


def _repeated(record: Record, terms: RebalanceContext, first: int) -> Record:
    error = f"id: {record.portfolio_id!r} stands on line {first} already; ids must be unique"
    return _failed(record.number, record.portfolio_id, error, record.input_hash, terms)


class _Seen:
    """Which ids have occurred, and where."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def first(self, record: Record) -> bool:
        """Whether this is the first record of its id; it is remembered."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)", (_key(record), record.number)
        )
        return added.rowcount == 1

    def line(self, record: Record) -> int:
        """Line of the first record of an id."""
        found = self._database.execute("SELECT line FROM seen WHERE id = ?", (_key(record),))
        return int(found.fetchone()[0])


def _key(record: Record) -> bytes:
    assert record.portfolio_id is not None
    return record.portfolio_id.encode("utf-8", "surrogatepass")
