"""Batch runs and their chunks in a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, insert, select, update

from rebalancer.adapters.sql.engine import add_missing
from rebalancer.adapters.sql.rows import RUNS
from rebalancer.adapters.sql.statements import SqlStore
from rebalancer.adapters.sql.tables import COUNTS, batch_chunks, batch_failures, batch_runs
from rebalancer.application.not_found import require
from rebalancer.domain.jobs.batch_run import BatchRun, Chunk, ChunkDone, ChunksHeld, RunExists

_CHUNK_TOTALS = (
    select(
        batch_chunks.c.run,
        func.count().label("chunks"),
        func.sum(case((batch_chunks.c.done, 1), else_=0)).label("done"),
        *(func.sum(batch_chunks.c[name]).label(name) for name in COUNTS),
    )
    .group_by(batch_chunks.c.run)
    .subquery()
)
_STORED = "id", "terms", "policy", "as_of", "started", "finished", "release"
_RUNS = select(
    *(batch_runs.c[name] for name in _STORED),
    *(_CHUNK_TOTALS.c[name] for name in ("chunks", "done", *COUNTS)),
).join_from(batch_runs, _CHUNK_TOTALS, batch_runs.c.id == _CHUNK_TOTALS.c.run)
"""Runs and their progress, without those of versions that had no chunks."""


def _is_chunk(chunk: Chunk) -> Any:
    return (batch_chunks.c.run == chunk.run) & (batch_chunks.c.number == chunk.number)


class SqlBatchRuns(SqlStore):
    def add(self, run: BatchRun, boundaries: Sequence[UUID]) -> None:
        zero = dict.fromkeys(COUNTS, 0)
        values = {name: value for name, value in RUNS.to_row(run).items() if name in batch_runs.c}
        # The chunks count. The server waits for a transaction that adds the same id.
        if not add_missing(self.connection, batch_runs, values | zero):
            raise RunExists(f"run {run.id} exists already")
        empty = {"taken": 0, "done": False, **zero}
        ranges = zip((None, *boundaries), (*boundaries, None), strict=True)
        rows = [
            {"run": run.id, "number": number, "after": after, "until": until, **empty}
            for number, (after, until) in enumerate(ranges)
        ]
        self.connection.execute(insert(batch_chunks), rows)

    def get(self, id: UUID) -> BatchRun:
        row = self.connection.execute(_RUNS.where(batch_runs.c.id == id)).one_or_none()
        return RUNS.from_row(require(row, "run", id))

    def latest(self) -> BatchRun | None:
        query = select(batch_runs.c.id).order_by(
            batch_runs.c.started.desc(), batch_runs.c.id.desc()
        )
        id = self.connection.execute(query.limit(1)).scalar_one_or_none()
        row = self.connection.execute(_RUNS.where(batch_runs.c.id == id)).one_or_none()
        return None if row is None else RUNS.from_row(row)

    def find_unfinished(self, terms: str) -> BatchRun | None:
        table = batch_runs
        query = select(table.c.id).where(table.c.terms == terms, table.c.finished.is_(None))
        latest = query.order_by(table.c.started.desc(), table.c.id.desc()).limit(1)
        id = self.connection.execute(latest).scalar_one_or_none()
        return None if id is None else self.get(id)

    def claim(self, id: UUID) -> Chunk | None:
        table = batch_chunks.c
        open_chunks = select(batch_chunks).where(table.run == id, ~table.done)
        first = open_chunks.order_by(table.taken, table.number).limit(1)
        row = self.connection.execute(first.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            if self.connection.execute(open_chunks.limit(1)).first() is None:
                return None
            raise ChunksHeld(
                "other processes hold the last chunks of the run; try again in a moment",
                code="chunks_held",
            )
        chunk = Chunk(id, row.number, row.after, row.until)
        self.connection.execute(
            update(batch_chunks).where(_is_chunk(chunk)).values(taken=row.taken + 1)
        )
        return chunk

    def complete(
        self,
        chunk: Chunk,
        *,
        proposed: int,
        nothing: int,
        failures: Sequence[tuple[UUID, str]] = (),
    ) -> None:
        counts = {"proposed": proposed, "nothing_to_do": nothing, "failed": len(failures)}
        claim = update(batch_chunks).where(_is_chunk(chunk), ~batch_chunks.c.done)
        if self.connection.execute(claim.values(done=True, **counts)).rowcount != 1:
            raise ChunkDone(f"chunk {chunk.number} of the run is done already", code="chunk_done")
        if failures:
            rows = [{"run": chunk.run, "portfolio": id, "reason": why} for id, why in failures]
            self.connection.execute(insert(batch_failures), rows)

    def finish(self, id: UUID, now: datetime) -> None:
        left = select(batch_chunks.c.number).where(batch_chunks.c.run == id, ~batch_chunks.c.done)
        is_complete = (batch_runs.c.id == id) & batch_runs.c.finished.is_(None) & ~left.exists()
        self.connection.execute(update(batch_runs).where(is_complete).values(finished=now))

    def failures(self, id: UUID) -> list[tuple[UUID, str]]:
        table = batch_failures
        query = select(table).where(table.c.run == id).order_by(table.c.portfolio)
        return [(row.portfolio, row.reason) for row in self.connection.execute(query)]
