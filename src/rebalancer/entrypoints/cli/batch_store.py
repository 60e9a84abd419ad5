"""`rebalancer batch --all`: every kept portfolio, by any number of processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import attrs

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from dishka import Container

    from rebalancer.config import Settings
    from rebalancer.domain.jobs.batch_run import BatchRun
    from rebalancer.domain.portfolio.costs import CostModel
    from rebalancer.domain.rebalancing.model import RebalanceContext
    from rebalancer.wiring.market import Sources

WORTHWHILE = 8
"""Parts of a run that a further process should find, since it takes a second to begin."""


@attrs.frozen
class StoreBatchRequest:
    """What is proposed for everybody.

    Attributes:
        sources: Where market data come from.
        settings: Where portfolios are kept, among others.
        policy: Who decides.
        costs: The price list.
        currency: Of the prices.
        as_of: The day to decide on; the last close when None.
    """

    sources: Sources
    settings: Settings
    policy: str
    costs: CostModel
    currency: str
    as_of: date | None

    def terms(self, wired: Container) -> RebalanceContext:
        """What the proposals follow from.

        Raises:
            InvalidRequest: the policy, the day or the prices make no sense; names the field.
        """
        from rebalancer.application.rebalance import BuildContext

        return wired.get(BuildContext)(
            policy_name=self.policy, costs=self.costs, currency=self.currency, as_of=self.as_of
        )


def run(
    request: StoreBatchRequest,
    wired: Container,
    *,
    id: UUID,
    now: datetime,
    resume: bool,
    workers: int,
    advance: Callable[[int], None] = lambda _: None,
) -> BatchRun:
    """The finished run.

    Args:
        request: What is proposed.
        wired: Of this process.
        id: The run's.
        now: When.
        resume: Go on with the latest unfinished run of the same terms.
        workers: Processes at most, this one among them; where there is little to do it does it
            alone.
        advance: Told how many portfolios more are done.

    Raises:
        InvalidRequest: there is no run to resume.
        Unavailable: the store went away for too long; says how to go on.
    """
    from rebalancer.application.batch import ProposeForEveryone
    from rebalancer.application.worker_processes import worker_processes
    from rebalancer.domain.errors import Unavailable
    from rebalancer.entrypoints.processes import seldom_tidied

    use, terms = wired.get(ProposeForEveryone), request.terms(wired)
    found = use.begin(terms, id=id, now=now, resume=resume)
    known = _proposed(found)

    def look(_: int) -> None:
        nonlocal known
        with suppress(Unavailable):  # whoever waits for the store waits for that, too
            done = _proposed(use.read(found.id))
            advance(done - known)
            known = done

    others = min(workers, (found.chunks - found.done) // WORTHWHILE) - 1
    try:
        with worker_processes(others, _share_run, request, found.id, now), seldom_tidied():
            use.run_chunks(found.id, terms, now=now, progress=look)
        return use.read(found.id)
    except Unavailable as error:
        raise Unavailable(f"{error}; go on with --resume") from error.__cause__


def _share_run(_: Connection, request: StoreBatchRequest, run: UUID, now: datetime) -> None:
    """Process chunks of a run until all are finished: all that a worker process does."""
    from rebalancer.application.batch import ProposeForEveryone
    from rebalancer.entrypoints.processes import seldom_tidied
    from rebalancer.wiring.container import build_container

    wired = build_container(request.sources, settings=request.settings)
    try:
        with seldom_tidied():
            wired.get(ProposeForEveryone).run_chunks(run, request.terms(wired), now=now)
    finally:
        wired.close()


def _proposed(run: BatchRun) -> int:
    return run.proposed + run.nothing + run.failed
