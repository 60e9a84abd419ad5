"""Proposals for every stored portfolio, in a run that several processes may share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID, uuid5

import attrs

from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.rebalance import policy_input, record_proposal
from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound, Unavailable
from rebalancer.domain.jobs.batch_run import BatchRun, Chunk, ChunkDone, ChunksHeld
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, UnreadablePortfolio
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.lifecycle import ProposalRecord, Stage
from rebalancer.domain.rebalancing.model import Failure, RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose_book

CHUNK = 512
"""Portfolios that a walk over the store takes at a time."""

OUTAGE = 60.0
"""Seconds for which a walk waits for a store that does not answer."""

_MOMENT = 0.5
"""Seconds until it asks again."""

_ZERO = Decimal(0)

log = logging.getLogger("rebalancer.batch")


@attrs.frozen
class ProposeForEveryone:
    """Ask a policy what every kept portfolio should trade, and keep the answers.

    Portfolios are walked by id, a chunk at a time; each chunk's proposals are kept in one
    transaction with the note that it is done, so that a killed run goes on where it stopped, and
    proposes for no portfolio twice. Several processes, on several machines, may share one run.
    """

    work: UnitOfWork
    prices: PriceSource

    def __call__(
        self,
        context: RebalanceContext,
        *,
        id: UUID,
        now: datetime,
        resume: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> BatchRun:
        """The finished run.

        Args:
            context: What the proposals follow from.
            id: The run's, and what the proposals' ids follow from; one that is there already goes
                on.
            now: When.
            resume: Go on with the latest unfinished run of the same context instead.
            progress: Told how many portfolios more are done.

        Raises:
            InvalidRequest: there is no run to resume.
            Conflict: the run of this id has other context.
        """
        run = self.begin(context, id=id, now=now, resume=resume)
        self.run_chunks(run.id, context, now=now, progress=progress)
        return self.read(run.id)

    def begin(
        self, context: RebalanceContext, *, id: UUID, now: datetime, resume: bool = False
    ) -> BatchRun:
        """The run, for any number of processes to share.

        Raises:
            As when it is called.
        """
        with self.work.begin() as tx:
            if resume:
                found = tx.runs.find_unfinished(context.digest)
                if found is None:
                    raise InvalidRequest(
                        "no run with these prices, this policy and these costs waits to be "
                        "finished; leave --resume out",
                        field="resume",
                    )
                return found
            with suppress(NotFound):
                known = tx.runs.get(id)
                if known.terms != context.digest:
                    raise Conflict("the run began with other prices, another policy or other costs")
                return known
            run = BatchRun(
                id, context.digest, context.policy.name, context.market.last_date, started=now
            )
            tx.runs.add(run, tx.portfolios.chunk_boundaries(CHUNK))
            return tx.runs.get(id)

    def run_chunks(
        self,
        run: UUID,
        context: RebalanceContext,
        *,
        now: datetime,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Do parts of a run that nobody else does, until all are done.

        Args:
            run: Which.
            context: Those that it began with.
            now: When.
            progress: Told how many portfolios more are done.

        Raises:
            Unavailable: the store has not answered for longer than `OUTAGE`.
        """
        newest = self.prices.closes(days=1).last_date
        away_since = None
        while True:
            try:
                part = self._claim(run, now)
                if part is None:
                    return
                progress(self._done(part, context, newest, now))
                away_since = None
            except ChunksHeld:
                progress(0)
                time.sleep(_MOMENT)
            except Unavailable as error:
                if away_since is None:
                    away_since = time.monotonic()
                    log.warning("run %s waits: %s", run, error)
                if time.monotonic() - away_since > OUTAGE:
                    raise
                progress(0)
                time.sleep(_MOMENT)

    def _claim(self, run: UUID, now: datetime) -> Chunk | None:
        """A part of a run; None: all are done, which is noted."""
        with self.work.begin() as tx:
            part = tx.runs.claim(run)
            if part is None:
                tx.runs.finish(run, now)
        return part

    def _done(self, part: Chunk, context: RebalanceContext, newest: date, now: datetime) -> int:
        """Do a part; how many portfolios are done by it."""
        with self.work.read() as tx:
            chunk = tx.portfolios.chunk(after=part.after, until=part.until)
        records, failures = _proposals(chunk, context, part.run, newest, now)
        traded = sum(record.stage is Stage.PROPOSED for record in records)
        try:
            with self.work.begin() as tx:
                # First, so that who comes second learns it before anything is written twice.
                nothing = len(records) - traded
                tx.runs.complete(part, proposed=traded, nothing=nothing, failures=failures)
                tx.proposals.add(records)
        except ChunkDone:
            return 0
        return len(chunk)

    def read(self, run: UUID) -> BatchRun:
        """How far a run is.

        Raises:
            NotFound: there is no such run.
        """
        with self.work.read() as tx:
            return tx.runs.get(run)


def _proposals(
    chunk: Sequence[ManagedPortfolio | UnreadablePortfolio],
    context: RebalanceContext,
    run: UUID,
    newest: date,
    now: datetime,
) -> tuple[list[ProposalRecord], list[tuple[UUID, str]]]:
    asked: list[tuple[ManagedPortfolio, Portfolio]] = []
    records: list[ProposalRecord] = []
    failures: list[tuple[UUID, str]] = []
    for portfolio in chunk:
        if isinstance(portfolio, UnreadablePortfolio):
            failures.append((portfolio.id, portfolio.why))
            continue
        try:
            asked.append((portfolio, policy_input(portfolio, context, _ZERO)))
        except InvalidRequest as error:
            failures.append((portfolio.id, str(error)))
    answers = propose_book([snapshot for _, snapshot in asked], context)
    for (portfolio, snapshot), answer in zip(asked, answers, strict=True):
        if isinstance(answer, Failure):
            failures.append((portfolio.id, str(answer.error)))
            continue
        own = uuid5(run, snapshot.id)
        records.append(
            record_proposal(
                answer, snapshot, portfolio, context, _ZERO, newest, id=own, now=now, run=run
            )
        )
    return records, failures
