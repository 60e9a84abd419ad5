"""Stores in memory, which end with the process."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import attrs

from rebalancer.adapters.memory.alerts import MemoryAlerts, MemoryAutomationControls
from rebalancer.adapters.memory.api_keys import MemoryApiKeys
from rebalancer.adapters.memory.audit import MemoryAuditTrail
from rebalancer.adapters.memory.data_keys import MemoryDataKeys
from rebalancer.adapters.memory.deletions import MemoryDeletions
from rebalancer.adapters.memory.factors import (
    MemoryPasskeys,
    MemoryRecoveryCodes,
    MemoryTotpSecrets,
)
from rebalancer.adapters.memory.flow_decisions import MemoryFlowDecisions
from rebalancer.adapters.memory.guessing import MemoryKnownDevices, MemoryLoginFailures
from rebalancer.adapters.memory.leases import MemoryLeases
from rebalancer.adapters.memory.mapping_profiles import MemoryMappingProfiles
from rebalancer.adapters.memory.models import MemoryModels
from rebalancer.adapters.memory.notice_deliveries import MemoryNoticeDeliveries
from rebalancer.adapters.memory.notices import (
    MemoryNoticeChoices,
    MemoryNotices,
    MemoryNoticeTargets,
)
from rebalancer.adapters.memory.one_time import MemoryOneTimeTokens
from rebalancer.adapters.memory.outbox import MemoryOutbox
from rebalancer.adapters.memory.shares import MemoryPortfolioShares
from rebalancer.adapters.memory.statements import MemoryStatementImports
from rebalancer.adapters.memory.synchronization import (
    MemoryProviderQuotas,
    MemoryScheduledTasks,
    MemorySyncStates,
)
from rebalancer.adapters.memory.usage import MemoryUsage
from rebalancer.application.not_found import NOT_FOUND, require
from rebalancer.application.ports.store import Transaction
from rebalancer.domain.accounts.deletion import Deletion
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.sessions import Session
from rebalancer.domain.accounts.shares import Right, only_the_owner
from rebalancer.domain.backtest.history_snapshots import KeptHistory
from rebalancer.domain.errors import Conflict
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.jobs.backlog import Backlog
from rebalancer.domain.jobs.batch_run import BatchRun, Chunk, ChunkDone, RunExists
from rebalancer.domain.jobs.job import Job, JobState
from rebalancer.domain.portfolio.ledger import Entry, Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, UnreadablePortfolio
from rebalancer.domain.portfolio.owner import EmailTaken, RefreshToken, User
from rebalancer.domain.rebalancing.lifecycle import (
    UNACCEPTED,
    ProposalClosed,
    ProposalRecord,
    Stage,
)

T = TypeVar("T")


class MemoryWork:
    """See `UnitOfWork`.

    A transaction works on copies of the tables, whose rows are immutable, and replaces the tables
    when it commits. Writers run one after the other.
    """

    def __init__(self) -> None:
        self._tables: Mapping[str, dict[Any, Any]] = {}
        self._writing = threading.Lock()

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        with self._writing:
            copies = self._copy()
            tx = _stores(copies)
            yield tx
            self._tables = copies
        for call in tx.after_commit:
            call()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        yield _stores(self._copy())

    def _copy(self) -> defaultdict[str, dict[Any, Any]]:
        return defaultdict(dict, {name: dict(rows) for name, rows in self._tables.items()})


def _stores(tables: defaultdict[str, dict[Any, Any]]) -> Transaction:
    shares = MemoryPortfolioShares(
        tables["shares"], tables["users"], tables["closed"], tables["deletions"]
    )
    return Transaction(
        users=MemoryUsers(tables["users"], tables["deletions"]),
        tokens=MemoryRefreshTokens(tables["tokens"]),
        passkeys=MemoryPasskeys(tables["passkeys"]),
        totp=MemoryTotpSecrets(tables["totp"]),
        recovery_codes=MemoryRecoveryCodes(tables["recovery_codes"]),
        one_time=MemoryOneTimeTokens(tables["one_time"]),
        sessions=MemorySessions(tables["sessions"]),
        api_keys=MemoryApiKeys(tables["api_keys"]),
        failures=MemoryLoginFailures(tables["failures_of_logins"]),
        devices=MemoryKnownDevices(tables["devices"]),
        portfolios=MemoryPortfolios(
            tables["portfolios"], tables["closed"], tables["ledgers"], shares, tables["histories"]
        ),
        shares=shares,
        alerts=MemoryAlerts(
            tables["alerts"],
            tables["alert_leases"],
            tables["episodes"],
            tables["portfolios"],
            tables["closed"],
            tables["users"],
        ),
        automation=MemoryAutomationControls(tables["automation_stops"], tables["acceptances"]),
        imports=MemoryStatementImports(tables["imports"], tables["imported"]),
        models=MemoryModels(tables["models"], tables["model_versions"]),
        flow_decisions=MemoryFlowDecisions(tables["flow_decisions"]),
        proposals=MemoryProposals(tables["proposals"], tables["closed"], shares),
        outbox=MemoryOutbox(tables["outbox"]),
        profiles=MemoryMappingProfiles(tables["mapping_profiles"]),
        notices=MemoryNotices(tables["notices"]),
        notice_choices=MemoryNoticeChoices(tables["notice_choices"]),
        notice_targets=MemoryNoticeTargets(tables["notice_targets"]),
        notice_deliveries=MemoryNoticeDeliveries(tables["notice_deliveries"]),
        keys=MemoryIdempotencyKeys(tables["keys"]),
        jobs=MemoryJobs(tables["jobs"]),
        runs=MemoryBatchRuns(tables["runs"], tables["chunks"], tables["failures"]),
        quotas=MemoryProviderQuotas(tables["quotas"]),
        syncs=MemorySyncStates(tables["syncs"]),
        tasks=MemoryScheduledTasks(tables["tasks"]),
        leases=MemoryLeases(tables["leases"]),
        data_keys=MemoryDataKeys(tables["data_keys"]),
        audit=MemoryAuditTrail(tables["audit"], tables["audit_seals"], tables["audit_cuts"]),
        deletions=MemoryDeletions(tables["deletions"], tables),
        usage=MemoryUsage(tables["usage"]),
        probe=MemoryProbe(),
    )


class MemoryProbe:
    def write(self) -> None:
        """Do nothing: memory can always be written."""

    def read(self) -> None:
        """Do nothing: memory can always be read."""


@attrs.frozen
class MemoryUsers:
    rows: dict[UUID, User]
    deletions: dict[UUID, Deletion]

    def add(self, user: User) -> None:
        if self.by_email(user.email) is not None:
            raise EmailTaken(f"{user.email} is already registered; log in")
        self.rows[user.id] = user

    def get(self, id: UUID) -> User:
        return require(self.rows.get(id), "user", id)

    def lock(self, id: UUID) -> None:
        """Do nothing: writers run one after the other."""

    def by_email(self, email: str) -> User | None:
        return next((user for user in self.rows.values() if user.email == email), None)

    def save(self, user: User) -> None:
        self.get(user.id)
        same = self.by_email(user.email)
        if same is not None and same.id != user.id:
            raise EmailTaken(f"{user.email} is already registered; choose another address")
        self.rows[user.id] = user

    def page(
        self, *, role: Role | None = None, after: UUID | None = None, limit: int
    ) -> list[User]:
        found = sorted(self.rows.values(), key=lambda user: (user.created, user.id))
        return [user for user in _following(found, after) if role in (None, user.role)][:limit]

    def enabled_operators(self) -> frozenset[UUID]:
        return frozenset(
            user.id
            for user in self.rows.values()
            if user.role is Role.OPERATOR
            and user.disabled is None
            and user.id not in self.deletions
        )


@attrs.frozen
class MemoryRefreshTokens:
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

    def unused(self, family: UUID) -> list[RefreshToken]:
        return [row for row in self.rows.values() if row.family == family and row.used is None]

    def revoke(self, family: UUID) -> None:
        for digest in [d for d, token in self.rows.items() if token.family == family]:
            del self.rows[digest]

    def has_family(self, family: UUID) -> bool:
        return any(token.family == family for token in self.rows.values())

    def delete_expired(self, now: datetime, *, owner: UUID | None = None) -> None:
        for digest, token in list(self.rows.items()):
            if owner in (None, token.owner) and token.expires <= now:
                del self.rows[digest]


@attrs.frozen
class MemorySessions:
    rows: dict[UUID, Session]

    def add(self, session: Session) -> None:
        self.rows[session.id] = session

    def find(self, id: UUID) -> Session | None:
        return self.rows.get(id)

    def save(self, session: Session) -> None:
        require(self.rows.get(session.id), "session", session.id)
        self.rows[session.id] = session

    def active(self, owner: UUID, now: datetime) -> list[Session]:
        found = [row for row in self.rows.values() if row.owner == owner and row.is_active(now)]
        return sorted(found, key=lambda row: (row.used, row.id), reverse=True)

    def delete_past(self, now: datetime) -> None:
        for id in [id for id, row in self.rows.items() if row.ends <= now]:
            del self.rows[id]


@attrs.frozen
class MemoryPortfolios:
    rows: dict[UUID, ManagedPortfolio]
    closed: dict[UUID, datetime]
    _ledgers: dict[UUID, tuple[Entry, ...]]
    _shares: MemoryPortfolioShares
    _histories: dict[UUID, KeptHistory]

    def add(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        ledger = portfolio.extend_ledger(self.ledger(portfolio.id), entries)
        self._ledgers[portfolio.id] = ledger.entries
        self.rows[portfolio.id] = portfolio

    def get(self, id: UUID, *, owner: UUID | None = None) -> ManagedPortfolio:
        found = _row_of(self.rows, id, owner)
        if owner is not None and found is None and id in self._shares.accepted(owner):
            raise only_the_owner()
        return require(None if id in self.closed else found, "portfolio", id)

    def get_for(self, id: UUID, actor: UUID, right: Right = Right.READ) -> ManagedPortfolio:
        found = self.get(id)
        if found.owner != actor:
            self._shares.check_right("portfolio", id, id, actor, right)
        return found

    def save(
        self,
        portfolio: ManagedPortfolio,
        *,
        entries: Sequence[Entry] = (),
        ledger: Ledger | None = None,
    ) -> None:
        self.get(portfolio.id, owner=portfolio.owner).check_version(portfolio.version - 1)
        self.add(portfolio, entries)

    def mark_booked(self, actions: str, versions: Mapping[UUID, int]) -> None:
        for id, version in versions.items():
            if id in self.rows and self.rows[id].version == version:
                self.rows[id] = attrs.evolve(self.rows[id], booked_actions=actions)

    def histories(self, ids: Collection[UUID]) -> dict[UUID, KeptHistory]:
        return {id: self._histories[id] for id in ids if id in self._histories}

    def keep_histories(self, kept: Mapping[UUID, KeptHistory]) -> None:
        self._histories.update(kept)

    def close(self, id: UUID, *, owner: UUID, version: int, now: datetime) -> None:
        self.get(id, owner=owner).check_version(version)
        self.closed[id] = now

    def with_automatic_flows(
        self, *, after: UUID | None = None, limit: int
    ) -> list[ManagedPortfolio]:
        found = [self.rows[id] for id in self._open() if after is None or id > after]
        return [row for row in found if row.plan and row.plan.automatic][:limit]

    def followers(self, model: UUID) -> list[ManagedPortfolio]:
        found = [self.rows[id] for id in self._open()]
        return [row for row in found if row.following and row.following.model == model]

    def count(self, owner: UUID) -> int:
        return sum(self.rows[id].owner == owner for id in self._open())

    def page(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        mine = [row for row in self.rows.values() if row.owner == owner]
        mine.sort(key=lambda row: (row.created, row.id))
        return [row for row in _following(mine, after) if row.id not in self.closed][:limit]

    def of_owner(
        self, owner: UUID, *, after: UUID | None = None, limit: int
    ) -> list[ManagedPortfolio]:
        mine = [row for row in self.rows.values() if row.owner == owner]
        return _following(sorted(mine, key=lambda row: (row.created, row.id)), after)[:limit]

    def closings(self, owner: UUID) -> dict[UUID, datetime]:
        return {id: when for id, when in self.closed.items() if self.rows[id].owner == owner}

    def shared_page(
        self, actor: UUID, *, after: UUID | None = None, limit: int
    ) -> list[ManagedPortfolio]:
        shared = [self.rows[id] for id in self._shares.accepted(actor)]
        shared.sort(key=lambda row: (row.created, row.id))
        return _following(shared, after)[:limit]

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

    def symbols(self) -> frozenset[str]:
        managed = [self.rows[id] for id in self._open()]
        held = {symbol for one in managed for symbol in one.positions.holdings}
        return frozenset(held.union(*(one.mandate.targets for one in managed)))

    def chunk_boundaries(self, size: int) -> list[UUID]:
        return self._open()[size - 1 :: size]

    def ledger(self, id: UUID) -> Ledger:
        return Ledger(self._ledgers.get(id, ()))

    def ledgers(self, ids: Collection[UUID]) -> dict[UUID, Ledger]:
        return {id: self.ledger(id) for id in ids}

    def entries(self, id: UUID, *, before: UUID | None = None, limit: int) -> list[Entry]:
        return _following(list(reversed(self._ledgers.get(id, ()))), before)[:limit]

    def void(self, id: UUID, entries: Collection[UUID]) -> frozenset[UUID]:
        voided = {entry.voids for entry in self._ledgers.get(id, ())}
        return frozenset(entry for entry in entries if entry in voided)

    def fills(self, proposals: Mapping[UUID, UUID]) -> dict[UUID, dict[str, Decimal]]:
        return {
            proposal: self.ledger(portfolio).fills(proposal)
            for proposal, portfolio in proposals.items()
        }

    def _open(self) -> list[UUID]:
        return sorted(id for id in self.rows if id not in self.closed)


@attrs.frozen
class MemoryProposals:
    rows: dict[UUID, ProposalRecord]
    closed: Mapping[UUID, datetime]
    _shares: MemoryPortfolioShares

    def add(self, records: Sequence[ProposalRecord]) -> None:
        self.rows.update((record.id, record) for record in records)

    def get(self, id: UUID, *, owner: UUID | None = None) -> ProposalRecord:
        found = self._open(id)
        if owner not in (None, found.owner):
            assert owner is not None
            if found.portfolio_id in self._shares.accepted(owner):
                raise only_the_owner()
            raise NOT_FOUND["proposal"](id)
        return found

    def get_for(self, id: UUID, actor: UUID, right: Right = Right.READ) -> ProposalRecord:
        found = self._open(id)
        if found.owner != actor:
            self._shares.check_right("proposal", id, found.portfolio_id, actor, right)
        return found

    def _open(self, id: UUID) -> ProposalRecord:
        found = self.rows.get(id)
        is_closed = found is not None and found.portfolio_id in self.closed
        return require(None if is_closed else found, "proposal", id)

    def save(self, record: ProposalRecord, *, expected: Stage) -> None:
        stored = self.get(record.id, owner=record.owner)
        if stored.stage is not expected:
            raise ProposalClosed(f"proposal {record.id} is already {stored.stage}")
        self.rows[record.id] = record

    def count_undecided(self, owner: UUID) -> int:
        return sum(row.owner == owner and row.stage in UNACCEPTED for row in self.rows.values())

    def delete_expired(self, before: datetime, *, limit: int) -> int:
        old = [
            id
            for id, row in self.rows.items()
            if row.stage in UNACCEPTED
            and row.proposed < before
            and (row.stage is not Stage.PROPOSED or row.expires <= before)
        ][:limit]
        for id in old:
            del self.rows[id]
        return len(old)

    def waiting(
        self, portfolios: Collection[UUID], now: datetime
    ) -> dict[UUID, list[ProposalRecord]]:
        found: dict[UUID, list[ProposalRecord]] = {}
        for row in sorted(self.rows.values(), key=lambda row: (row.proposed, row.id)):
            if row.portfolio_id in portfolios and row.stage_at(now) is Stage.PROPOSED:
                found.setdefault(row.portfolio_id, []).append(row)
        return found

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

    def of_owner(
        self, owner: UUID, *, before: UUID | None = None, limit: int
    ) -> list[ProposalRecord]:
        mine = [row for row in self.rows.values() if row.owner == owner]
        mine.sort(key=lambda row: (row.proposed, row.id), reverse=True)
        return _following(mine, before)[:limit]


@attrs.frozen
class MemoryIdempotencyKeys:
    rows: dict[tuple[UUID, str], IdempotencyKey]

    def get(self, owner: UUID, key: str) -> IdempotencyKey | None:
        return self.rows.get((owner, key))

    def add(self, key: IdempotencyKey) -> None:
        if (key.owner, key.key) in self.rows:
            raise Conflict(
                "a request with this idempotency key is running; try again", code="request_running"
            )
        self.rows[key.owner, key.key] = key

    def save_answer(self, owner: UUID, key: str, answer: str) -> None:
        known = self.rows.get((owner, key))
        if known is not None and known.answer is None:
            self.rows[owner, key] = attrs.evolve(known, answer=answer)

    def delete_before(self, before: datetime) -> int:
        old = [which for which, key in self.rows.items() if key.created < before]
        for which in old:
            del self.rows[which]
        return len(old)


@attrs.frozen
class MemoryJobs:
    rows: dict[UUID, Job]

    def add(self, job: Job) -> None:
        self.rows[job.id] = job

    def get(self, id: UUID, *, owner: UUID | None = None) -> Job:
        return require(_row_of(self.rows, id, owner), "job", id)

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

    def next_due(self, now: datetime) -> Job | None:
        turns: dict[UUID | None, datetime] = {}
        for job in self.rows.values():
            if job.started is not None:
                turns[job.owner] = max(job.started, turns.get(job.owner, job.started))
        due = [job for job in self.rows.values() if job.state is JobState.QUEUED and job.due <= now]

        def place(job: Job) -> tuple[object, ...]:
            turn = turns.get(job.owner)
            return turn is not None, turn or job.due, job.due, job.created, job.id

        return min(due, key=place, default=None)

    def count(self, owner: UUID, states: frozenset[JobState]) -> int:
        return sum(job.owner == owner and job.state in states for job in self.rows.values())

    def backlog(self, now: datetime) -> Backlog:
        states = (JobState.QUEUED, JobState.RUNNING)
        found = [job for job in self.rows.values() if job.state in states]
        waiting = [job for job in found if job.state is JobState.QUEUED and job.due <= now]
        running = [job for job in found if job.state is JobState.RUNNING]
        return Backlog(
            waiting=Counter(job.kind for job in waiting),
            running=Counter(job.kind for job in running),
            oldest=min((job.due for job in waiting), default=None),
        )

    def overdue_or_running(
        self, *, due: datetime, latest: datetime | None = None, limit: int
    ) -> list[Job]:
        found = [
            job
            for job in self.rows.values()
            if job.state is JobState.RUNNING
            or (
                job.state is JobState.QUEUED
                and (job.due < due or (latest is not None and job.due > latest))
            )
        ]
        return sorted(found, key=lambda job: (job.due, job.id))[:limit]


@attrs.frozen
class MemoryBatchRuns:
    rows: dict[UUID, BatchRun]
    chunks: dict[UUID, tuple[tuple[Chunk, int, bool], ...]]
    failed: dict[UUID, tuple[tuple[UUID, str], ...]]

    def add(self, run: BatchRun, boundaries: Sequence[UUID]) -> None:
        if run.id in self.rows:
            raise RunExists(f"run {run.id} exists already")
        ranges = zip((None, *boundaries), (*boundaries, None), strict=True)
        chunks = tuple(
            (Chunk(run.id, number, *ends), 0, False) for number, ends in enumerate(ranges)
        )
        self.chunks[run.id] = chunks
        self.rows[run.id] = attrs.evolve(run, chunks=len(chunks))

    def get(self, id: UUID) -> BatchRun:
        return require(self.rows.get(id), "run", id)

    def latest(self) -> BatchRun | None:
        return max(self.rows.values(), key=lambda run: (run.started, run.id), default=None)

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


def _row_of(rows: Mapping[UUID, T], id: UUID, owner: UUID | None) -> T | None:
    """Return the row of an owner, of any when None; None without one."""
    row: Any = rows.get(id)
    return row if row is not None and owner in (None, row.owner) else None


def _following(rows: list[Any], cursor: UUID | None) -> list[Any]:
    """Return the rows after the one with this id; no rows if it does not exist."""
    if cursor is None:
        return rows
    at = next((i for i, row in enumerate(rows) if row.id == cursor), len(rows))
    return rows[at + 1 :]
