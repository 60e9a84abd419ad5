"""Store of batch runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.jobs.batch_run import BatchRun, Chunk


class BatchRuns(Protocol):
    """Store of batch runs and their chunks, which several processes share."""

    def add(self, run: BatchRun, boundaries: Sequence[UUID]) -> None:
        """Store a new run with a chunk up to each boundary, and one after the last.

        Raises:
            RunExists: a run has this id, also one that another process began a moment ago.
        """

    def get(self, id: UUID) -> BatchRun:
        """Return a run with its current counts.

        Raises:
            NotFound: no run has this id.
        """

    def latest(self) -> BatchRun | None:
        """Return the run that started last, with its current counts; None without any."""

    def find_unfinished(self, terms: str) -> BatchRun | None:
        """Return the latest unfinished run with these terms."""

    def claim(self, id: UUID) -> Chunk | None:
        """Claim the unfinished chunk that was claimed least often; None: all are finished.

        A claim does not lock the chunk beyond the transaction, because its process may die. Two
        processes may work on one chunk; the first to complete it counts.

        Raises:
            ChunksHeld: other transactions hold every unfinished chunk.
        """

    def complete(
        self,
        chunk: Chunk,
        *,
        proposed: int,
        nothing: int,
        failures: Sequence[tuple[UUID, str]] = (),
    ) -> None:
        """Mark a chunk as finished, in one transaction with its proposals and before them.

        The counts are those of `BatchRun`; ``failures`` have portfolios, each with the reason.

        Raises:
            ChunkDone: another process finished the chunk; let the transaction roll back.
        """

    def finish(self, id: UUID, now: datetime) -> None:
        """Set the finish time of a run once all chunks are finished; otherwise do nothing."""

    def failures(self, id: UUID) -> list[tuple[UUID, str]]:
        """Return the portfolios without a proposal by id, each with the reason."""
