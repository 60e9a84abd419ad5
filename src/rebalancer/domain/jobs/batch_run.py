"""A batch run over every portfolio, cut into chunks that processes share."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict


@attrs.frozen
class BatchRun:
    """A run that proposes for every stored portfolio and can be resumed.

    Attributes:
        terms: SHA-256 of the inputs that all proposals share.
        as_of: Date of the closes.
        proposed: Portfolios with orders, so far.
        nothing: Portfolios without orders, so far.
        failed: Portfolios without a proposal, so far.
        done: Number of finished chunks, of ``chunks``.
        release: Version of the package that began it; None: unknown.
    """

    id: UUID
    terms: str
    policy: str
    as_of: date
    started: datetime
    proposed: int = 0
    nothing: int = 0
    failed: int = 0
    chunks: int = 0
    done: int = 0
    finished: datetime | None = None
    release: str | None = None


@attrs.frozen
class Chunk:
    """The portfolios of a run whose ids lie in a range.

    Attributes:
        run: Id of the run.
        number: Position in the run, from 0.
        after: Exclusive lower end of the range; None: open.
        until: Inclusive upper end of the range; None: open.
    """

    run: UUID
    number: int
    after: UUID | None
    until: UUID | None


class RunExists(Conflict):
    """A run with this id began already."""

    default_code = "run_exists"


class ChunkDone(Conflict):
    """Another process has finished this chunk."""

    default_code = "chunk_done"


class ChunksHeld(Conflict):
    """Other processes hold the last chunks of a run; ask again in a moment."""

    default_code = "chunks_held"
