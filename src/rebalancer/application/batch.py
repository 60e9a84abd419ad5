"""Proposals for every stored portfolio, in a run that several processes share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID, uuid5

import attrs

from rebalancer.application.corporate_actions import BookActions, BookedPortfolio
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.rebalance import (
    at_close,
    own_context,
    policy_input,
    read_ledgers,
    record_proposal,
    with_lots,
)
from rebalancer.application.resilience import OutageLog, retry_while_unavailable
from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound, Unavailable
from rebalancer.domain.jobs.batch_run import BatchRun, Chunk, ChunkDone, ChunksHeld, RunExists
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, UnreadablePortfolio
from rebalancer.domain.portfolio.planned_flows import FlowDecision
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.lifecycle import ProposalRecord, Stage
from rebalancer.domain.rebalancing.model import Failure, RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose_book

T = TypeVar("T")

log = logging.getLogger("rebalancer.batch")

_NO_CASH_FLOW = Decimal(0)


@attrs.frozen
class ProposeForEveryone:
    """Propose for every stored portfolio, and store the proposals.

    Portfolios are processed in chunks by id. One transaction stores the proposals of a chunk and
    marks it as finished, so a killed run can be resumed and proposes for no portfolio twice.
    Several processes, on several machines, may share a run.

    Attributes:
        clock: Tells when a run ends.
        release: Version of the package; processes of another one cannot join a run.
        store_timeout: Seconds for which a run waits for a store that is away.
        poll_interval: Seconds between two attempts to claim a chunk.
    """

    work: UnitOfWork
    prices: PriceSource
    book: BookActions
    clock: Clock
    release: str
    chunk_size: int = 512
    store_timeout: float = 60.0
    poll_interval: float = 0.5

    def begin(
        self, context: RebalanceContext, *, id: UUID, now: datetime, resume: bool = False
    ) -> BatchRun:
        """Create a run that any number of processes can share, or find the one to continue.

        Args:
            context: Inputs that all proposals share.
            id: Id of the run; proposals derive their ids from it. An existing run continues.
            now: Current time.
            resume: Continue the latest unfinished run with the same context instead.

        Raises:
            InvalidRequest: no run can be resumed.
            Conflict: the run with this id has another context.
        """
        if resume:
            return self._find_unfinished(context)
        with suppress(NotFound):
            return self._read_own(id, context)
        run = BatchRun(
            id,
            context.digest,
            context.policy.name,
            context.market.last_date,
            started=now,
            release=self.release,
        )
        with suppress(RunExists), self.work.begin() as tx:  # another process may begin it now
            tx.runs.add(run, tx.portfolios.chunk_boundaries(self.chunk_size))
        return self._read_own(id, context)

    def join(self, id: UUID, context: RebalanceContext) -> BatchRun:
        """Return a run that this process may share, begun by the same release of the package.

        Raises:
            NotFound: no run has this id.
            Conflict: the run has another context, or another release began it.
        """
        run = self._read_own(id, context)
        if run.release != self.release:
            theirs = "an earlier release" if run.release is None else f"release {run.release}"
            raise Conflict(
                f"run {id} began with {theirs} of rebalancer, and this is {self.release}; use one "
                "release on all machines",
                code="run_release_differs",
            )
        return run

    def run_chunks(
        self,
        run: UUID,
        context: RebalanceContext,
        *,
        now: datetime,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Process chunks that no other process holds, until all are finished.

        Args:
            run: Id of the run.
            context: Context that the run began with.
            now: Time of the proposals.
            progress: Called with the number of portfolios finished since the last call, also with
                0 while this process waits; an exception from it ends the work.

        Raises:
            NotFound: no run has this id.
            Conflict: the run began with another context.
            Unavailable: the store has been away for longer than ``store_timeout``.
        """
        latest = self.prices.closes()
        outage = OutageLog(log, f"run {run} waits for the store", f"run {run} continues")

        def wait(error: Unavailable) -> None:
            outage.failed(error)
            progress(0)

        def run_next() -> int | None:
            chunk = self._claim(run)
            return None if chunk is None else self._run_chunk(chunk, context, latest, now)

        def retry(call: Callable[[], T]) -> T:
            return retry_while_unavailable(
                call,
                timeout=self.store_timeout,
                first_wait=self.poll_interval,
                longest_wait=self.poll_interval,
                on_error=wait,
            )

        retry(lambda: self._read_own(run, context))
        while True:
            try:
                finished = retry(run_next)
            except ChunksHeld:
                progress(0)
                time.sleep(self.poll_interval)
                continue
            outage.succeeded()
            if finished is None:
                return
            progress(finished)

    def read(self, run: UUID) -> BatchRun:
        """Return a run with its current counts.

        Raises:
            NotFound: no run has this id.
        """
        with self.work.read() as tx:
            return tx.runs.get(run)

    def _find_unfinished(self, context: RebalanceContext) -> BatchRun:
        with self.work.read() as tx:
            found = tx.runs.find_unfinished(context.digest)
        if found is None:
            raise InvalidRequest(
                "no unfinished run has these prices, this policy and these costs; start a new run",
                field="resume",
                code="no_run_to_resume",
            )
        return found

    def _read_own(self, id: UUID, context: RebalanceContext) -> BatchRun:
        """Return a run with this context."""
        run = self.read(id)
        if run.terms != context.digest:
            raise Conflict(
                f"run {id} began with other prices, another policy or other costs; start a new run",
                code="run_inputs_changed",
            )
        return run

    def _claim(self, run: UUID) -> Chunk | None:
        """Claim a chunk; None: all are finished, and the run is marked as finished."""
        with self.work.begin() as tx:
            chunk = tx.runs.claim(run)
            if chunk is None:
                tx.runs.finish(run, self.clock())
        return chunk

    def _run_chunk(
        self, chunk: Chunk, context: RebalanceContext, latest: PriceHistory, now: datetime
    ) -> int:
        """Process a chunk; return the number of portfolios that this process finished."""
        with self.work.read() as tx:
            stored = tx.portfolios.chunk(after=chunk.after, until=chunk.until)
        portfolios = self._book_actions(stored)
        records, failures = self._propose(portfolios, context, chunk.run, latest, now)
        proposed = sum(record.stage is Stage.PROPOSED for record in records)
        try:
            with self.work.begin() as tx:
                # First, so that the slower of two processes fails before it writes proposals.
                nothing = len(records) - proposed
                tx.runs.complete(chunk, proposed=proposed, nothing=nothing, failures=failures)
                tx.proposals.add(records)
        except ChunkDone:
            return 0
        return len(portfolios)

    def _book_actions(
        self, chunk: Sequence[ManagedPortfolio | UnreadablePortfolio]
    ) -> list[BookedPortfolio | UnreadablePortfolio]:
        """Return the portfolios with the corporate actions that are due."""
        readable = [one for one in chunk if isinstance(one, ManagedPortfolio)]
        booked = self.book.many(readable, self.prices.closes())
        current = {one.portfolio.id: one for one in booked}
        return [one if isinstance(one, UnreadablePortfolio) else current[one.id] for one in chunk]

    def _read_decisions(
        self, chunk: Sequence[BookedPortfolio | UnreadablePortfolio]
    ) -> dict[UUID, list[FlowDecision]]:
        """Return what was decided about planned flows, of the portfolios that have some."""
        planning = [
            one.portfolio.id
            for one in chunk
            if isinstance(one, BookedPortfolio) and one.portfolio.plan
        ]
        if not planning:
            return {}
        with self.work.read() as tx:
            return tx.flow_decisions.of_portfolios(planning)

    def _propose(
        self,
        chunk: Sequence[BookedPortfolio | UnreadablePortfolio],
        context: RebalanceContext,
        run: UUID,
        latest: PriceHistory,
        now: datetime,
    ) -> tuple[list[ProposalRecord], list[tuple[UUID, str]]]:
        """Return the proposals, and the portfolios without one, each with the reason."""
        books: dict[int, tuple[RebalanceContext, list[tuple[BookedPortfolio, Portfolio]]]] = {}
        records: list[ProposalRecord] = []
        failures: list[tuple[UUID, str]] = []
        decided = self._read_decisions(chunk)
        readable = (one.portfolio for one in chunk if isinstance(one, BookedPortfolio))
        ledgers = read_ledgers(self.work, readable)
        for booked in chunk:
            if isinstance(booked, UnreadablePortfolio):
                failures.append((booked.id, booked.reason))
                continue
            portfolio = booked.portfolio
            try:
                portfolio = at_close(portfolio, context, self.work)
                snapshot = policy_input(
                    portfolio,
                    context,
                    _NO_CASH_FLOW,
                    decided=decided.get(portfolio.id, ()),
                    today=context.asked or now.date(),
                )
                booked.check_units(context.market.last_date)
                snapshot = with_lots(snapshot, portfolio, context, latest, ledgers, now)
            except (InvalidRequest, Conflict) as error:
                failures.append((portfolio.id, str(error)))
                continue
            own = own_context(portfolio, context, self.work)
            books.setdefault(id(own), (own, []))[1].append((booked, snapshot))
        for own, inputs in books.values():
            results = propose_book([snapshot for _, snapshot in inputs], own)
            for (booked, snapshot), result in zip(inputs, results, strict=True):
                portfolio = booked.portfolio
                if isinstance(result, Failure):
                    failures.append((portfolio.id, str(result.error)))
                    continue
                records.append(
                    record_proposal(
                        attrs.evolve(result, notes=(*result.notes, *booked.notes)),
                        snapshot,
                        portfolio,
                        own,
                        _NO_CASH_FLOW,
                        latest,
                        id=uuid5(run, snapshot.id),
                        now=now,
                        run=run,
                    )
                )
        return records, failures
