"""Where batch runs are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.jobs.batch_run import BatchRun, Chunk


class BatchRuns(Protocol):
    """Walks over every portfolio, which several may share."""

    def add(self, run: BatchRun, boundaries: Sequence[UUID]) -> None:
        """Keep a new run in parts: one up to each boundary, and a last one behind them all."""

    def get(self, id: UUID) -> BatchRun:
        """The run of this id, with what is done of it by now.

        Raises:
            NotFound: there is none.
        """

    def find_unfinished(self, terms: str) -> BatchRun | None:
        """The latest run with these terms that has not reached the end."""

    def claim(self, id: UUID) -> Chunk | None:
        """A part that is not done, of those that were taken least often; None: all are done.

        Whoever took a part may be dead, so nobody waits for them: two may do the same part, and
        the first to finish counts.

        Raises:
            ChunksHeld: each part that is not done is being taken or finished by somebody.
        """

    def complete(
        self,
        chunk: Chunk,
        *,
        proposed: int,
        nothing: int,
        failures: Sequence[tuple[UUID, str]] = (),
    ) -> None:
        """A part is done, in one block with its proposals, which are to be kept after this.

        Args:
            chunk: Which.
            proposed: How many portfolios have something to trade.
            nothing: How many have nothing to trade.
            failures: Which portfolios gave no proposal, and why.

        Raises:
            ChunkDone: somebody else was quicker; let the block end with it, so that nothing of it
                is kept.
        """

    def finish(self, id: UUID, now: datetime) -> None:
        """Mark a run as finished if all of its parts are done, and it is not marked already."""

    def failures(self, id: UUID) -> list[tuple[UUID, str]]:
        """Which portfolios gave no proposal, by id, and why not."""
