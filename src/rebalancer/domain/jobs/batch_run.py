"""A batch run over every portfolio, and the chunks that processes share."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict


@attrs.frozen
class BatchRun:
    """A walk over every portfolio in the store, by id, that can be taken up where it stopped.

    Attributes:
        id: Unique.
        terms: SHA-256 of what its proposals follow from.
        policy: Who decides.
        as_of: Day of the closes.
        started: When.
        proposed: Portfolios with something to trade, so far.
        nothing: Portfolios with nothing to trade, so far.
        failed: Portfolios that gave no proposal, so far.
        chunks: Parts that it is done in.
        done: How many of them are done.
        finished: When every portfolio was done.
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


@attrs.frozen
class Chunk:
    """A part of a walk: the portfolios whose ids lie in a range.

    Attributes:
        run: The walk.
        number: Which part, from 0.
        after: The range begins behind this id; None: with the first.
        until: The range ends with this id; None: with the last.
    """

    run: UUID
    number: int
    after: UUID | None
    until: UUID | None


class ChunkDone(Conflict):
    """Somebody else has done this part of a walk."""


class ChunksHeld(Conflict):
    """Others take or finish the last parts of a walk at this moment: ask again in a moment."""
