"""Stores in memory, which end with the process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import attrs

from rebalancer.application.ports.store import Transaction
from rebalancer.domain.errors import Conflict, NotFound
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.jobs.batch_run import BatchRun, Chunk, ChunkDone
from rebalancer.domain.jobs.job import Job, JobState
from rebalancer.domain.portfolio.ledger import Entry, Ledger
from rebalancer.domain.portfolio.mandate import (
    ManagedPortfolio,
    PortfolioChanged,
    UnreadablePortfolio,
)
from rebalancer.domain.portfolio.owner import EmailTaken, RefreshToken, User
from rebalancer.domain.rebalancing.lifecycle import ProposalClosed, ProposalRecord, Stage

T = TypeVar("T")


class MemoryWork:
    """See `UnitOfWork`.

    A transaction works on copies of the tables, whose rows are immutable, and replaces the tables
    when it commits. Writers run one after the other.
    """

    def __init__(self) -> None:
        self._tables: Mapping[str, Mapping[Any, Any]] = {}
        self._writing = threading.Lock()

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        with self._writing:
            view = MemoryTransaction(self._tables)
            yield view
            self._tables = view.tables

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See `UnitOfWork.read`; writes are lost."""
        yield MemoryTransaction(self._tables)


class MemoryTransaction:
    """All stores over one copy of the tables."""

    def __init__(self, tables: Mapping[str, Mapping[Any, Any]]) -> None:
        self.tables = {name: dict(rows) for name, rows in tables.items()}
        self.users = MemoryUsers(self.tables.setdefault("users", {}))
        self.tokens = MemoryRefreshTokens(self.tables.setdefault("tokens", {}))
        self.portfolios = MemoryPortfolios(
            self.tables.setdefault("portfolios", {}),
            self.tables.setdefault("closed", {}),
            self.tables.setdefault("ledgers", {}),
        )
        self.proposals = MemoryProposals(
            self.tables.setdefault("proposals", {}), self.tables["closed"]
        )
        self.keys = MemoryIdempotencyKeys(self.tables.setdefault("keys", {}))
        self.jobs = MemoryJobs(self.tables.setdefault("jobs", {}))
        self.runs = MemoryBatchRuns(
            self.tables.setdefault("runs", {}),
            self.tables.setdefault("chunks", {}),
            self.tables.setdefault("failures", {}),
        )


@attrs.frozen
class MemoryUsers:
    """See `Users`."""

    rows: dict[UUID, User]

    def add(self, user: User) -> None:
        if self.by_email(user.email) is not None:
            raise EmailTaken(f"{user.email} is already registered; log in")
        self.rows[user.id] = user

    def get(self, id: UUID) -> User:
        return _require(self.rows, id, "user")

    def by_email(self, email: str) -> User | None:
        return next((user for user in self.rows.values() if user.email == email), None)

    def save(self, user: User) -> None:
        self.get(user.id)
        same = self.by_email(user.email)
        if same is not None and same.id != user.id:
            raise EmailTaken(f"{user.email} is already registered; choose another address")
        self.rows[user.id] = user


@attrs.frozen
class MemoryRefreshTokens:
    """See `RefreshTokens`."""

    rows: dict[str, RefreshToken]

    def add(self, token: RefreshToken) -> None:
        self.rows[token.digest] = token

    def get(self, digest: str) -> RefreshToken | None:
        return self.rows.get(digest)

    def mark_used(self, digest: str, now: datetime) -> bool:
        token = self.rows.get(digest)
        if token is None or token.used is not None:
            return False
        self.rows[digest] = attrs.evolve(token, used=now)
        return True

    def revoke(self, family: UUID) -> None:
        for digest in [d for d, token in self.rows.items() if token.family == family]:
            del self.rows[digest]

    def delete_expired(self, now: datetime, *, owner: UUID | None = None) -> None:
        for digest, token in list(self.rows.items()):
            if owner in (None, token.owner) and token.expires <= now:
                del self.rows[digest]


@attrs.frozen
class MemoryPortfolios:
    """See `Portfolios`."""

    rows: dict[UUID, ManagedPortfolio]
    closed: dict[UUID, datetime]
    ledgers: dict[UUID, tuple[Entry, ...]]

    def add(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        self._append(portfolio, entries)
        self.rows[portfolio.id] = portfolio

    def get(self, id: UUID, *, owner: UUID | None = None) -> ManagedPortfolio:
        found = _require(self.rows, id, "portfolio")
        if owner not in (None, found.owner) or id in self.closed:
            raise NotFound(f"portfolio {id} does not exist", code="portfolio_not_found")
        return found

    def save(self, portfolio: ManagedPortfolio, *, entries: Sequence[Entry] = ()) -> None:
        self._require_version(portfolio.id, portfolio.owner, portfolio.version - 1)
        self._append(portfolio, entries)
        self.rows[portfolio.id] = portfolio

    def close(self, id: UUID, *, owner: UUID, version: int, now: datetime) -> None:
        self._require_version(id, owner, version)
        self.closed[id] = now

    def page(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        mine = [row for row in self.rows.values() if row.owner == owner]
        mine.sort(key=lambda row: (row.created, row.id))
        return [row for row in _following(mine, after) if row.id not in self.closed][:limit]

    def get_many(self, ids: Collection[UUID]) -> dict[UUID, ManagedPortfolio]:
        return {id: self.rows[id] for id in ids if id in self.rows and id not in self.closed}

    def versions(self, ids: Collection[UUID]) -> dict[UUID, int]:
        return {id: self.rows[id].version for id in ids if id in self.rows}

    def chunk(
        self, *, after: UUID | None = None, until: UUID | None = None, limit: int | None = None
    ) -> list[ManagedPortfolio | UnreadablePortfolio]:
        inside = [
            id
            for id in self._open()
            if (after is None or id > after) and (until is None or id <= until)
        ]
        return [self.rows[id] for id in inside[:limit]]

    def chunk_boundaries(self, size: int) -> list[UUID]:
        return self._open()[size - 1 :: size]

    def ledger(self, id: UUID) -> Ledger:
        return Ledger(self.ledgers.get(id, ()))

    def entries(self, id: UUID, *, before: UUID | None = None, limit: int) -> list[Entry]:
        return _following(list(reversed(self.ledgers.get(id, ()))), before)[:limit]

    def _open(self) -> list[UUID]:
        return sorted(id for id in self.rows if id not in self.closed)

    def _require_version(self, id: UUID, owner: UUID, version: int) -> None:
        stored = self.get(id, owner=owner)
        if stored.version != version:
            raise PortfolioChanged(
                f"the portfolio is at version {stored.version}, not {version}; read it again"
            )

    def _append(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        before = self.ledgers.get(portfolio.id, ())
        known = {entry.id for entry in before}
        if any(entry.id in known for entry in entries):
            raise Conflict("the entry is in the ledger already", code="duplicate_entry")
        ledger = Ledger((*before, *entries))
        if ledger.positions != portfolio.positions:
            raise RuntimeError(f"portfolio {portfolio.id} does not agree with its ledger")
        self.ledgers[portfolio.id] = ledger.entries


@attrs.frozen
class MemoryProposals:
    """See `Proposals`."""

    rows: dict[UUID, ProposalRecord]
    closed: Mapping[UUID, datetime]

    def add(self, records: Sequence[ProposalRecord]) -> None:
        self.rows.update((record.id, record) for record in records)

    def get(self, id: UUID, *, owner: UUID | None = None) -> ProposalRecord:
        found = _require(self.rows, id, "proposal")
        if owner not in (None, found.owner) or found.portfolio_id in self.closed:
            raise NotFound(f"proposal {id} does not exist", code="proposal_not_found")
        return found

    def save(self, record: ProposalRecord, *, expected: Stage) -> None:
        stored = self.get(record.id, owner=record.owner)
        if stored.stage is not expected:
            raise ProposalClosed(f"the proposal is already {stored.stage}")
        self.rows[record.id] = record

    def page(
        self,
        owner: UUID,
        *,
        portfolio_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[ProposalRecord]:
        mine = [
            row
            for row in self.rows.values()
            if row.owner == owner
            and row.portfolio_id not in self.closed
            and portfolio_id in (None, row.portfolio_id)
        ]
        mine.sort(key=lambda row: (row.proposed, row.id), reverse=True)
        return _following(mine, before)[:limit]


@attrs.frozen
class MemoryIdempotencyKeys:
    """See `IdempotencyKeys`."""

    rows: dict[tuple[UUID, str], IdempotencyKey]

    def get(self, owner: UUID, key: str) -> IdempotencyKey | None:
        return self.rows.get((owner, key))

    def add(self, key: IdempotencyKey) -> None:
        if (key.owner, key.key) in self.rows:
            raise Conflict(
                "a request with this idempotency key is running; try again", code="request_running"
            )
        self.rows[key.owner, key.key] = key

    def delete_before(self, before: datetime) -> int:
        old = [which for which, key in self.rows.items() if key.created < before]
        for which in old:
            del self.rows[which]
        return len(old)


@attrs.frozen
class MemoryJobs:
    """See `Jobs`."""

    rows: dict[UUID, Job]

    def add(self, job: Job) -> None:
        self.rows[job.id] = job

    def get(self, id: UUID, *, owner: UUID | None = None) -> Job:
        found = _require(self.rows, id, "job")
        if owner not in (None, found.owner):
            raise NotFound(f"job {id} does not exist", code="job_not_found")
        return found

    def save(self, job: Job) -> None:
        self.get(job.id)
        self.rows[job.id] = job

    def page(
        self,
        owner: UUID | None = None,
        *,
        states: frozenset[JobState] | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Job]:
        found = [job for job in self.rows.values() if owner in (None, job.owner)]
        found.sort(key=lambda job: (job.created, job.id), reverse=True)
        return [job for job in _following(found, before) if states is None or job.state in states][
            :limit
        ]

    def overdue_or_running(self, *, due: datetime, limit: int) -> list[Job]:
        found = [
            job
            for job in self.rows.values()
            if job.state is JobState.RUNNING or (job.state is JobState.QUEUED and job.due < due)
        ]
        return sorted(found, key=lambda job: (job.due, job.id))[:limit]


@attrs.frozen
class MemoryBatchRuns:
    """See `BatchRuns`."""

    rows: dict[UUID, BatchRun]
    chunks: dict[UUID, tuple[tuple[Chunk, int, bool], ...]]
    failed: dict[UUID, tuple[tuple[UUID, str], ...]]

    def add(self, run: BatchRun, boundaries: Sequence[UUID]) -> None:
        ranges = zip((None, *boundaries), (*boundaries, None), strict=True)
        chunks = tuple(
            (Chunk(run.id, number, *ends), 0, False) for number, ends in enumerate(ranges)
        )
        self.chunks[run.id] = chunks
        self.rows[run.id] = attrs.evolve(run, chunks=len(chunks))

    def get(self, id: UUID) -> BatchRun:
        return _require(self.rows, id, "run")

    def find_unfinished(self, terms: str) -> BatchRun | None:
        open_runs = [run for run in self.rows.values() if run.terms == terms and not run.finished]
        return max(open_runs, key=lambda run: (run.started, run.id), default=None)

    def claim(self, id: UUID) -> Chunk | None:
        chunks = self.chunks.get(id, ())
        left = [(taken, chunk.number) for chunk, taken, done in chunks if not done]
        if not left:
            return None
        taken, number = min(left)
        chunk = chunks[number][0]
        self.chunks[id] = (*chunks[:number], (chunk, taken + 1, False), *chunks[number + 1 :])
        return chunk

    def complete(
        self,
        chunk: Chunk,
        *,
        proposed: int,
        nothing: int,
        failures: Sequence[tuple[UUID, str]] = (),
    ) -> None:
        chunks = self.chunks[chunk.run]
        _, taken, done = chunks[chunk.number]
        if done:
            raise ChunkDone(f"chunk {chunk.number} of the run is done already", code="chunk_done")
        before, after = chunks[: chunk.number], chunks[chunk.number + 1 :]
        self.chunks[chunk.run] = (*before, (chunk, taken, True), *after)
        run = self.rows[chunk.run]
        self.rows[run.id] = attrs.evolve(
            run,
            proposed=run.proposed + proposed,
            nothing=run.nothing + nothing,
            failed=run.failed + len(failures),
            done=run.done + 1,
        )
        self.failed[run.id] = (*self.failed.get(run.id, ()), *failures)

    def finish(self, id: UUID, now: datetime) -> None:
        run = self.get(id)
        if run.finished is None and run.done == run.chunks:
            self.rows[id] = attrs.evolve(run, finished=now)

    def failures(self, id: UUID) -> list[tuple[UUID, str]]:
        return sorted(self.failed.get(id, ()))


def _require(rows: Mapping[UUID, T], id: UUID, what: str) -> T:
    row = rows.get(id)
    if row is None:
        raise NotFound(f"{what} {id} does not exist", code=f"{what}_not_found")
    return row


def _following(rows: list[Any], cursor: UUID | None) -> list[Any]:
    """Return the rows after the one with this id; no rows if it does not exist."""
    if cursor is None:
        return rows
    at = next((i for i, row in enumerate(rows) if row.id == cursor), len(rows))
    return rows[at + 1 :]
