"""Every store in a SQL database: statements, and what they promise; see `rows` for values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Select,
    Table,
    bindparam,
    case,
    func,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy import delete as deletion

from rebalancer.adapters.sql.copying import copied
from rebalancer.adapters.sql.engine import PATIENCE, reading, writing
from rebalancer.adapters.sql.rows import (
    COUNTS,
    entry_of,
    entry_row,
    job_of,
    job_row,
    key_of,
    key_row,
    portfolio_of,
    portfolio_row,
    proposal_of,
    proposal_row,
    readable,
    run_of,
    run_row,
    token_of,
    token_row,
    user_of,
    user_row,
)
from rebalancer.adapters.sql.tables import (
    batch_chunks,
    batch_failures,
    batch_runs,
    idempotency_keys,
    jobs,
    ledger_entries,
    portfolios,
    proposals,
    refresh_tokens,
    users,
)
from rebalancer.application.ports.accounts import RefreshToken
from rebalancer.application.ports.jobs import Job, JobState
from rebalancer.application.ports.portfolios import (
    BatchRun,
    Chunk,
    ChunkDone,
    ChunksHeld,
    IdempotencyKey,
    Unreadable,
)
from rebalancer.application.ports.store import Transaction
from rebalancer.domain.errors import Conflict, NotFound, Unavailable
from rebalancer.domain.portfolio.ledger import Entry, Ledger, Overdrawn, Positions
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, PortfolioChanged
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.rebalancing.record import ProposalClosed, ProposalRecord, Stage

_CHECKED_AT_ONCE = 500

_MANY = 32
"""Rows from which on it pays to send them to Postgres as one stream."""

_NAMED_AT_ONCE = 10_000
"""Ids in one statement; no database takes any number of them."""


@attrs.frozen
class SqlWork:
    """See `UnitOfWork`.

    In SQLite there is one writer at a time. In Postgres those who write about the same portfolio,
    token or job take turns: what they read first, they hold until they are done.

    Attributes:
        engine: One of `connect`.
    """

    engine: Engine
    _turn: Lock = attrs.field(factory=Lock, init=False, eq=False, repr=False)

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """See `UnitOfWork.begin`."""
        with self._turned(), writing(self.engine) as connection:
            yield SqlTransaction(connection, holds=True)

    @contextmanager
    def _turned(self) -> Iterator[None]:
        """Writers of one process take turns here where SQLite would have them poll, and starve."""
        if self.engine.dialect.name != "sqlite":
            yield
            return
        if not self._turn.acquire(timeout=PATIENCE):
            raise Unavailable("the database is busy; try again")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See `UnitOfWork.read`; what writes through it raises Unavailable."""
        with reading(self.engine) as connection:
            yield SqlTransaction(connection)

    def check(self) -> list[str]:
        """Every portfolio, closed ones included, whose ledger and positions disagree, in words."""
        with reading(self.engine) as connection:
            found = [
                said
                for query, said in _CONTRADICTIONS
                for said in map(said.format_map, connection.execute(query).mappings())
            ]
            chunk = select(portfolios).order_by(portfolios.c.id).limit(_CHECKED_AT_ONCE)
            rows = connection.execute(chunk).all()
            while rows:
                span = ledger_entries.c.portfolio.between(rows[0].id, rows[-1].id)
                ledgers = _ledgers(connection, span)
                found += [
                    f"portfolio {row.id}: {why}"
                    for row in rows
                    if (why := _disagreement(row, ledgers[row.id]))
                ]
                rows = connection.execute(chunk.where(portfolios.c.id > rows[-1].id)).all()
        return found


class SqlTransaction:
    """All stores over one connection, in the transaction that it is in."""

    def __init__(self, connection: Connection, *, holds: bool = False) -> None:
        """Begin with nothing read.

        Args:
            connection: In a transaction.
            holds: Whether what is read by its id is held until the end, as it may be written then.
        """
        self.users = SqlUsers(connection)
        self.tokens = SqlTokens(connection, holds)
        self.portfolios = SqlPortfolios(connection, holds)
        self.proposals = SqlProposals(connection, holds)
        self.keys = SqlKeys(connection)
        self.jobs = SqlJobs(connection, holds)
        self.runs = SqlRuns(connection)


@attrs.frozen
class SqlUsers:
    """See `Users`."""

    connection: Connection

    def add(self, user: User) -> None:
        """See `Users.add`."""
        self.connection.execute(insert(users), user_row(user))

    def get(self, id: UUID) -> User:
        """See `Users.get`."""
        row = self.connection.execute(select(users).where(users.c.id == id)).one_or_none()
        return user_of(_found(row, "user", id))

    def by_email(self, email: str) -> User | None:
        """See `Users.by_email`."""
        row = self.connection.execute(select(users).where(users.c.email == email)).one_or_none()
        return None if row is None else user_of(row)

    def save(self, user: User) -> None:
        """See `Users.save`; raises EmailTaken as `add` does."""
        _replaced(self.connection, users, user_row(user), "user")


@attrs.frozen
class SqlTokens:
    """See `RefreshTokens`."""

    connection: Connection
    holds: bool = False

    def add(self, token: RefreshToken) -> None:
        """See `RefreshTokens.add`."""
        self.connection.execute(insert(refresh_tokens), token_row(token))

    def get(self, digest: str) -> RefreshToken | None:
        """See `RefreshTokens.get`."""
        query = select(refresh_tokens).where(refresh_tokens.c.digest == digest)
        row = self.connection.execute(_held(query) if self.holds else query).one_or_none()
        return None if row is None else token_of(row)

    def use(self, digest: str, now: datetime) -> bool:
        """See `RefreshTokens.use`."""
        table = refresh_tokens
        unused = (table.c.digest == digest) & table.c.used.is_(None)
        return self.connection.execute(update(table).where(unused).values(used=now)).rowcount == 1

    def revoke(self, family: UUID) -> None:
        """See `RefreshTokens.revoke`.

        Somebody may be exchanging one of them at this moment: once they are done, which we wait
        for, there is a new one, which our statement did not see. So it is said until none is left;
        a new one comes only of an old one that is there.
        """
        theirs = deletion(refresh_tokens).where(refresh_tokens.c.family == family)
        while self.connection.execute(theirs).rowcount:
            pass

    def tidy(self, now: datetime, *, owner: UUID | None = None) -> None:
        """See `RefreshTokens.tidy`."""
        table = refresh_tokens.c
        ended = select(table.digest).where(table.expires <= now)
        if owner is not None:
            ended = ended.where(table.owner == owner)
        self.connection.execute(_tidied(refresh_tokens, table.digest, ended))


@attrs.frozen
class SqlPortfolios:
    """See `Portfolios`.

    Attributes:
        connection: In a transaction.
        holds: Whether nobody else changes what was read until the transaction ends.
    """

    connection: Connection
    holds: bool = False
    _held: dict[UUID, ManagedPortfolio] = attrs.field(
        factory=dict, init=False, repr=False, eq=False
    )
    _ledgers: dict[UUID, Ledger] = attrs.field(factory=dict, init=False, repr=False, eq=False)

    def add(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        """See `Portfolios.add`."""
        _agree(portfolio, Ledger(), entries)
        self.connection.execute(insert(portfolios), portfolio_row(portfolio))
        self._record(portfolio.id, entries)

    def get(self, id: UUID, *, owner: UUID | None = None) -> ManagedPortfolio:
        """See `Portfolios.get`."""
        if owner is None:
            query = _HELD_SOME if self.holds else _SOME
            row = self.connection.execute(query, {"ids": [id]}).one_or_none()
        else:
            query = _HELD_THEIRS if self.holds else _THEIRS
            row = self.connection.execute(query, {"id": id, "owner": owner}).one_or_none()
        found = portfolio_of(_found(row, "portfolio", id))
        if self.holds:
            self._held[id] = found
        return found

    def save(self, portfolio: ManagedPortfolio, *, entries: Sequence[Entry] = ()) -> None:
        """See `Portfolios.save`."""
        id, before = portfolio.id, portfolio.version - 1
        kept = self._at(id, portfolio.owner, before)
        if entries or portfolio.positions != kept.positions:
            longer = _agree(portfolio, self.ledger(id), entries)
            if id in self._held:
                self._ledgers[id] = longer
        self._change(id, portfolio.owner, before, portfolio_row(portfolio))
        self._record(id, entries)
        if id in self._held:
            self._held[id] = portfolio

    def close(self, id: UUID, *, owner: UUID, version: int, now: datetime) -> None:
        """See `Portfolios.close`."""
        self._at(id, owner, version)
        self._change(id, owner, version, {"closed": now})
        self._held.pop(id, None)

    def of(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        """See `Portfolios.of`."""
        query = _FIRST if after is None else _NEXT
        asked = {"owner": owner, "after": after, "limit": limit}
        return [portfolio_of(row) for row in self.connection.execute(query, asked)]

    def some(self, ids: Collection[UUID]) -> dict[UUID, ManagedPortfolio]:
        """See `Portfolios.some`."""
        return {
            row.id: portfolio_of(row)
            for part in _parts(ids)
            for row in self.connection.execute(_SOME, {"ids": part})
        }

    def versions(self, ids: Collection[UUID]) -> dict[UUID, int]:
        """See `Portfolios.versions`."""
        return {
            row.id: row.version
            for part in _parts(ids)
            for row in self.connection.execute(_VERSIONS, {"ids": part})
        }

    def chunk(
        self, *, after: UUID | None = None, until: UUID | None = None, limit: int | None = None
    ) -> list[ManagedPortfolio | Unreadable]:
        """See `Portfolios.chunk`."""
        query = select(portfolios).where(portfolios.c.closed.is_(None))
        if after is not None:
            query = query.where(portfolios.c.id > after)
        if until is not None:
            query = query.where(portfolios.c.id <= until)
        query = query.order_by(portfolios.c.id).limit(limit)
        return [readable(row) for row in self.connection.execute(query).all()]

    def milestones(self, every: int) -> list[UUID]:
        """See `Portfolios.milestones`."""
        place = func.row_number().over(order_by=portfolios.c.id)
        placed = select(portfolios.c.id, place.label("place")).where(portfolios.c.closed.is_(None))
        numbered = placed.subquery()
        query = select(numbered.c.id).where(numbered.c.place % every == 0).order_by(numbered.c.id)
        return list(self.connection.execute(query).scalars())

    def ledger(self, id: UUID) -> Ledger:
        """See `Portfolios.ledger`."""
        if id in self._ledgers:
            return self._ledgers[id]
        rows = self.connection.execute(_LEDGER, {"portfolio": id})
        found = Ledger(tuple(map(entry_of, rows)))
        if id in self._held:
            self._ledgers[id] = found
        return found

    def entries(self, id: UUID, *, before: UUID | None = None, limit: int) -> list[Entry]:
        """See `Portfolios.entries`."""
        table = ledger_entries
        query = select(table).where(table.c.portfolio == id)
        if before is not None:
            cursor = table.alias("cursor")
            start = select(cursor.c.sequence).where(cursor.c.portfolio == id, cursor.c.id == before)
            query = query.where(table.c.sequence < start.scalar_subquery())
        query = query.order_by(table.c.sequence.desc()).limit(limit)
        return [entry_of(row) for row in self.connection.execute(query)]

    def _at(self, id: UUID, owner: UUID, version: int) -> ManagedPortfolio:
        kept = self._held.get(id)
        if kept is None:
            # Held, so that the ledger which is read after it is of the same moment.
            row = self.connection.execute(_HELD_THEIRS, {"id": id, "owner": owner}).one_or_none()
            kept = portfolio_of(_found(row, "portfolio", id))
        if kept.version != version:
            raise PortfolioChanged(
                f"the portfolio is at version {kept.version}, not {version}; read it again"
            )
        return kept

    def _change(self, id: UUID, owner: UUID, version: int, row: Mapping[str, Any]) -> None:
        """Compare and swap."""
        at = {"at_id": id, "at_owner": owner, "at_version": version}
        if self.connection.execute(_CHANGE, {**row, **at}).rowcount != 1:
            raise PortfolioChanged("the portfolio was changed this moment; read it again")

    def _record(self, id: UUID, entries: Sequence[Entry]) -> None:
        if entries:
            rows = [entry_row(id, entry) for entry in entries]
            self.connection.execute(insert(ledger_entries), rows)


@attrs.frozen
class SqlProposals:
    """See `Proposals`."""

    connection: Connection
    holds: bool = False

    def add(self, records: Sequence[ProposalRecord]) -> None:
        """See `Proposals.add`."""
        rows = [proposal_row(record) for record in records]
        if len(rows) >= _MANY and self.connection.dialect.name == "postgresql":
            copied(self.connection, proposals, rows)
        elif rows:
            self.connection.execute(insert(proposals), rows)

    def get(self, id: UUID, *, owner: UUID | None = None) -> ProposalRecord:
        """See `Proposals.get`.

        Those who write about a proposal take turns at its portfolio, as those do who write about
        the portfolio: in one order, so that no two wait for each other.
        """
        if self.holds and self.connection.dialect.name != "sqlite":
            its = select(proposals.c.portfolio).where(proposals.c.id == id).scalar_subquery()
            self.connection.execute(_held(select(portfolios.c.id).where(portfolios.c.id == its)))
        query = _open_proposals(owner).where(proposals.c.id == id)
        return proposal_of(_found(self.connection.execute(query).one_or_none(), "proposal", id))

    def save(self, record: ProposalRecord, *, seen: Stage) -> None:
        """See `Proposals.save`."""
        table = proposals.c
        kept = (table.id == record.id) & (table.owner == record.owner) & (table.stage == seen.value)
        is_open = (portfolios.c.id == table.portfolio) & portfolios.c.closed.is_(None)
        change = update(proposals).where(kept, select(portfolios.c.id).where(is_open).exists())
        if self.connection.execute(change.values(proposal_row(record))).rowcount != 1:
            raise ProposalClosed(f"is {self.get(record.id, owner=record.owner).stage} already")

    def of(
        self,
        owner: UUID,
        *,
        portfolio_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[ProposalRecord]:
        """See `Proposals.of`."""
        place = tuple_(proposals.c.proposed, proposals.c.id)
        query = _open_proposals(owner)
        cursor = proposals.alias("cursor")
        start = select(cursor.c.proposed, cursor.c.id).where(
            cursor.c.id == before, cursor.c.owner == owner
        )
        if portfolio_id is not None:
            query = query.where(proposals.c.portfolio == portfolio_id)
            start = start.where(cursor.c.portfolio == portfolio_id)
        if before is not None:
            query = query.where(place < start.scalar_subquery())
        query = query.order_by(proposals.c.proposed.desc(), proposals.c.id.desc()).limit(limit)
        return [proposal_of(row) for row in self.connection.execute(query)]


@attrs.frozen
class SqlKeys:
    """See `IdempotencyKeys`."""

    connection: Connection

    def get(self, owner: UUID, key: str) -> IdempotencyKey | None:
        """See `IdempotencyKeys.get`."""
        table = idempotency_keys
        query = select(table).where(table.c.owner == owner, table.c.key == key)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else key_of(row)

    def add(self, key: IdempotencyKey) -> None:
        """See `IdempotencyKeys.add`."""
        self.connection.execute(insert(idempotency_keys), key_row(key))

    def forget(self, before: datetime) -> int:
        """See `IdempotencyKeys.forget`."""
        table = idempotency_keys.c
        which = tuple_(table.owner, table.key)
        old = select(table.owner, table.key).where(table.created < before)
        return self.connection.execute(_tidied(idempotency_keys, which, old)).rowcount


@attrs.frozen
class SqlJobs:
    """See `Jobs`."""

    connection: Connection
    holds: bool = False

    def add(self, job: Job) -> None:
        """See `Jobs.add`."""
        self.connection.execute(insert(jobs), job_row(job))

    def get(self, id: UUID, *, owner: UUID | None = None) -> Job:
        """See `Jobs.get`."""
        query = select(jobs).where(jobs.c.id == id)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        row = self.connection.execute(_held(query) if self.holds else query).one_or_none()
        return job_of(_found(row, "job", id))

    def save(self, job: Job) -> None:
        """See `Jobs.save`."""
        _replaced(self.connection, jobs, job_row(job), "job")

    def of(
        self,
        owner: UUID | None = None,
        *,
        states: frozenset[JobState] | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Job]:
        """See `Jobs.of`."""
        query = select(jobs)
        cursor = jobs.alias("cursor")
        start = select(cursor.c.created, cursor.c.id).where(cursor.c.id == before)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
            start = start.where(cursor.c.owner == owner)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        if before is not None:
            query = query.where(tuple_(jobs.c.created, jobs.c.id) < start.scalar_subquery())
        query = query.order_by(jobs.c.created.desc(), jobs.c.id.desc()).limit(limit)
        return [job_of(row) for row in self.connection.execute(query)]

    def stranded(self, *, due: datetime, limit: int) -> list[Job]:
        """See `Jobs.stranded`."""
        waits = (jobs.c.state == JobState.QUEUED.value) & (jobs.c.due < due)
        done = jobs.c.state == JobState.RUNNING.value
        query = select(jobs).where(waits | done).order_by(jobs.c.due, jobs.c.id).limit(limit)
        return [job_of(row) for row in self.connection.execute(query)]


@attrs.frozen
class SqlRuns:
    """See `BatchRuns`."""

    connection: Connection

    def add(self, run: BatchRun, milestones: Sequence[UUID]) -> None:
        """See `BatchRuns.add`."""
        self.connection.execute(insert(batch_runs), run_row(run))
        nothing = {"taken": 0, "done": False, **dict.fromkeys(COUNTS, 0)}
        ranges = zip((None, *milestones), (*milestones, None), strict=True)
        rows = [
            {"run": run.id, "number": number, "after": after, "until": until, **nothing}
            for number, (after, until) in enumerate(ranges)
        ]
        self.connection.execute(insert(batch_chunks), rows)

    def get(self, id: UUID) -> BatchRun:
        """See `BatchRuns.get`."""
        row = self.connection.execute(_RUNS.where(batch_runs.c.id == id)).one_or_none()
        return run_of(_found(row, "run", id))

    def unfinished(self, terms: str) -> BatchRun | None:
        """See `BatchRuns.unfinished`."""
        table = batch_runs
        query = select(table.c.id).where(table.c.terms == terms, table.c.finished.is_(None))
        latest = query.order_by(table.c.started.desc(), table.c.id.desc()).limit(1)
        id = self.connection.execute(latest).scalar_one_or_none()
        return None if id is None else self.get(id)

    def take(self, id: UUID) -> Chunk | None:
        """See `BatchRuns.take`."""
        table = batch_chunks.c
        open_parts = select(batch_chunks).where(table.run == id, ~table.done)
        first = open_parts.order_by(table.taken, table.number).limit(1)
        row = self.connection.execute(first.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            if self.connection.execute(open_parts.limit(1)).first() is None:
                return None
            raise ChunksHeld("others are at the last parts of the run; ask again in a moment")
        chunk = Chunk(id, row.number, row.after, row.until)
        self.connection.execute(update(batch_chunks).where(_of(chunk)).values(taken=row.taken + 1))
        return chunk

    def done(
        self,
        chunk: Chunk,
        *,
        proposed: int,
        nothing: int,
        failures: Sequence[tuple[UUID, str]] = (),
    ) -> None:
        """See `BatchRuns.done`."""
        counts = {"proposed": proposed, "nothing_to_do": nothing, "failed": len(failures)}
        mine = update(batch_chunks).where(_of(chunk), ~batch_chunks.c.done)
        if self.connection.execute(mine.values(done=True, **counts)).rowcount != 1:
            raise ChunkDone(f"part {chunk.number} of the run is done already")
        if failures:
            rows = [{"run": chunk.run, "portfolio": id, "reason": why} for id, why in failures]
            self.connection.execute(insert(batch_failures), rows)

    def finish(self, id: UUID, now: datetime) -> None:
        """See `BatchRuns.finish`."""
        left = select(batch_chunks.c.number).where(batch_chunks.c.run == id, ~batch_chunks.c.done)
        whole = (batch_runs.c.id == id) & batch_runs.c.finished.is_(None) & ~left.exists()
        self.connection.execute(update(batch_runs).where(whole).values(finished=now))

    def failures(self, id: UUID) -> list[tuple[UUID, str]]:
        """See `BatchRuns.failures`."""
        table = batch_failures
        query = select(table).where(table.c.run == id).order_by(table.c.portfolio)
        return [(row.portfolio, row.reason) for row in self.connection.execute(query)]


# What several stores need.


def _found(row: Row[Any] | None, what: str, id: UUID) -> Row[Any]:
    if row is None:
        raise NotFound(f"there is no {what} {id}")
    return row


def _replaced(connection: Connection, table: Table, row: Mapping[str, Any], what: str) -> None:
    changed = connection.execute(update(table).where(table.c.id == row["id"]).values(row))
    if changed.rowcount != 1:
        raise NotFound(f"there is no {what} {row['id']}")


def _parts(ids: Collection[UUID]) -> Iterator[list[UUID]]:
    """Some after the other."""
    listed = list(ids)
    for at in range(0, len(listed), _NAMED_AT_ONCE):
        yield listed[at : at + _NAMED_AT_ONCE]


def _tidied(table: Table, which: Any, old: Select[Any]) -> Any:
    """Deletes what is old, but for what somebody is at: it goes the next time."""
    return deletion(table).where(which.in_(old.with_for_update(skip_locked=True)))


def _theirs(id: Any, owner: Any) -> Any:
    """The open portfolio of this id, if it is theirs."""
    table = portfolios.c
    return (table.id == id) & (table.owner == owner) & table.closed.is_(None)


_THEIRS = select(portfolios).where(_theirs(bindparam("id"), bindparam("owner")))
"""Made once, since every request about a portfolio begins with it."""


_FIRST = (
    select(portfolios)
    .where(portfolios.c.owner == bindparam("owner"), portfolios.c.closed.is_(None))
    .order_by(portfolios.c.created, portfolios.c.id)
    .limit(bindparam("limit"))
)
_BEFORE = portfolios.alias("cursor")
_NEXT = _FIRST.where(
    tuple_(portfolios.c.created, portfolios.c.id)
    > select(_BEFORE.c.created, _BEFORE.c.id)
    .where(_BEFORE.c.id == bindparam("after"), _BEFORE.c.owner == bindparam("owner"))
    .scalar_subquery()
)
"""A page of somebody's open portfolios, the oldest first."""


_CHANGE = update(portfolios).where(
    _theirs(bindparam("at_id"), bindparam("at_owner")),
    portfolios.c.version == bindparam("at_version"),
)
"""Of the columns that are given with it."""


_LEDGER = (
    select(ledger_entries)
    .where(ledger_entries.c.portfolio == bindparam("portfolio"))
    .order_by(ledger_entries.c.sequence)
)


_SOME = select(portfolios).where(
    portfolios.c.id.in_(bindparam("ids", expanding=True)), portfolios.c.closed.is_(None)
)

_VERSIONS = select(portfolios.c.id, portfolios.c.version).where(
    portfolios.c.id.in_(bindparam("ids", expanding=True))
)


def _held(query: Select[Any]) -> Select[Any]:
    """Rows that nobody else writes until the transaction ends; what refers to them may be added.

    SQLite, where there is one writer anyway, takes no notice.
    """
    return query.with_for_update(key_share=True)


_HELD_THEIRS, _HELD_SOME = _held(_THEIRS), _held(_SOME)

_PARTS = (
    select(
        batch_chunks.c.run,
        func.count().label("chunks"),
        func.sum(case((batch_chunks.c.done, 1), else_=0)).label("done"),
        *(func.sum(batch_chunks.c[name]).label(name) for name in COUNTS),
    )
    .group_by(batch_chunks.c.run)
    .subquery()
)
_RUNS = select(
    *(batch_runs.c[name] for name in ("id", "terms", "policy", "as_of", "started", "finished")),
    *(_PARTS.c[name] for name in ("chunks", "done", *COUNTS)),
).join_from(batch_runs, _PARTS, batch_runs.c.id == _PARTS.c.run)
"""Runs, and what is done of them; those of versions without parts are none of ours."""


_CONTRADICTIONS: tuple[tuple[Select[Any], str], ...] = (
    (
        select(proposals.c.id)
        .join(portfolios, proposals.c.portfolio == portfolios.c.id)
        .where(proposals.c.owner != portfolios.c.owner)
        .order_by(proposals.c.id),
        "proposal {id}: belongs to somebody else than its portfolio",
    ),
    (
        select(ledger_entries.c.id, ledger_entries.c.portfolio)
        .join(proposals, ledger_entries.c.proposal == proposals.c.id)
        .where(
            (ledger_entries.c.portfolio != proposals.c.portfolio)
            | (proposals.c.stage != Stage.EXECUTED.value)
        )
        .order_by(ledger_entries.c.id),
        "portfolio {portfolio}: entry {id} carries out a proposal of another portfolio, or one "
        "that is not executed",
    ),
)
"""What no constraint of one row can rule out, and what to say of each that is found."""


def _of(chunk: Chunk) -> Any:
    return (batch_chunks.c.run == chunk.run) & (batch_chunks.c.number == chunk.number)


def _open_proposals(owner: UUID | None) -> Select[Any]:
    """Proposals for an owner's portfolios, or for anybody's, apart from closed ones."""
    both = proposals.join(portfolios, proposals.c.portfolio == portfolios.c.id)
    query = select(proposals).select_from(both).where(portfolios.c.closed.is_(None))
    return query if owner is None else query.where(proposals.c.owner == owner)


def _ledgers(connection: Connection, which: Any) -> Mapping[UUID, Ledger]:
    """Ledgers by portfolio; empty for those without an entry."""
    entries: dict[UUID, list[Entry]] = {}
    for row in connection.execute(
        select(ledger_entries).where(which).order_by(ledger_entries.c.sequence)
    ):
        entries.setdefault(row.portfolio, []).append(entry_of(row))
    return defaultdict(Ledger, {id: Ledger(tuple(lines)) for id, lines in entries.items()})


def _agree(portfolio: ManagedPortfolio, ledger: Ledger, entries: Sequence[Entry]) -> Ledger:
    """The longer ledger, once we are sure of what nobody outside can mend.

    It costs little beside a portfolio gone wrong.
    """
    ids = [entry.id for entry in (*ledger.entries, *entries)]
    if len(set(ids)) < len(ids):
        raise Conflict("this is in the ledger already")
    longer = ledger.followed_by(entries)
    if longer.positions != portfolio.positions:
        raise RuntimeError(f"portfolio {portfolio.id} does not agree with its ledger")
    return longer


def _disagreement(row: Row[Any], ledger: Ledger) -> str | None:
    portfolio = readable(row)
    if isinstance(portfolio, Unreadable):
        return portfolio.why
    try:
        reckoned = ledger.positions
    except Overdrawn as error:
        return str(error)
    for name in (field.name for field in attrs.fields(Positions)):
        ours, kept = getattr(reckoned, name), getattr(portfolio.positions, name)
        if ours != kept:
            return f"the ledger amounts to {name} {_shown(ours)}, {_shown(kept)} is kept"
    return None


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{symbol} {units}" for symbol, units in value.items()) or "none"
    return "none" if value is None else str(value)
