"""`rebalancer batch --all`: propose for every stored portfolio, in several processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from rebalancer.application.garbage_collection import rare_garbage_collection
from rebalancer.domain.errors import Conflict, Unavailable
from rebalancer.entrypoints.cli.options import report_reading

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.application.ports.engine import Engine
    from rebalancer.domain.jobs.batch_run import BatchRun
    from rebalancer.entrypoints.cli.batch_request import BatchRequest, PortableRequest

CHUNKS_PER_PROCESS = 8
"""Chunks that a further process must find to be worth the second that it takes to start."""


def run(
    request: BatchRequest,
    wired: Container,
    *,
    id: UUID,
    now: datetime,
    resume: bool,
    shared: bool = False,
    workers: int,
    engine: Engine,
    advance: Callable[[int], None] = lambda _: None,
) -> BatchRun:
    """Run a batch to its end, and return it.

    There are at most ``workers`` processes, including this one, which does a small run alone. The
    engine starts the others, and the table of chunks shares out the work.
    ``advance`` receives the number of portfolios that were done since its last call. With
    ``resume``, the latest unfinished run with the same context continues. With ``shared``, a run
    with this id, which another machine may have begun, must be of the same release.

    Raises:
        InvalidRequest: no run can be resumed.
        Conflict: the run with this id has another context, or another release began it.
        Unavailable: the store was unavailable for too long.
    """
    from rebalancer.application.batch import ProposeForEveryone

    use, terms = wired.get(ProposeForEveryone), request.terms(wired)
    report_reading(wired)
    try:
        found = use.begin(terms, id=id, now=now, resume=resume)
        if shared:
            found = use.join(found.id, terms)
    except Conflict as error:
        error.add_note("Choose another --run.")
        raise
    shown = _count_done(found)

    def show_progress(_: int) -> None:
        nonlocal shown
        with suppress(Unavailable):  # the bar catches up at the next chunk
            done = _count_done(use.read(found.id))
            advance(done - shown)
            shown = done

    others = min(workers, (found.chunks - found.done) // CHUNKS_PER_PROCESS) - 1
    try:
        with (
            engine.helpers(_share_run, request.portable, found.id, now, most=others),
            rare_garbage_collection(),
        ):
            use.run_chunks(found.id, terms, now=now, progress=show_progress)
        return use.read(found.id)
    except Unavailable as error:
        interrupted = Unavailable(error.message, code="run_interrupted")
        if shared:
            interrupted.add_note("Run the same command again to continue.")
        raise interrupted from error.__cause__


def _share_run(portable: PortableRequest, id: UUID, now: datetime) -> None:
    """Run chunks until none is left; the main function of a helper, on any machine.

    Raises:
        NotFound: the database of this machine does not have the run.
        Conflict: the run has another context, such as other prices.
        Unavailable: the store was unavailable for too long.
    """
    from rebalancer.application.batch import ProposeForEveryone
    from rebalancer.wiring.container import build_container

    request = portable.with_own_settings()
    wired = build_container(request.sources, settings=request.settings)
    try:
        use, terms = wired.get(ProposeForEveryone), request.terms(wired)
        with rare_garbage_collection():
            use.run_chunks(id, terms, now=now)
    finally:
        wired.close()


def _count_done(run: BatchRun) -> int:
    return run.proposed + run.nothing + run.failed
