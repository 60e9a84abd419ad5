"""`rebalancer jobs`: work in the background, for operators."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from rebalancer.entrypoints.cli.options import json_option, settings, sources, store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dishka import Container

    from rebalancer.domain.jobs.job import Job

_WITH_FAILURES = 3
_LOOK = 0.5
"""Seconds from one look at a job to the next."""

_PAGE = 200


@click.group()
def jobs() -> None:
    """Look after work in the background, whosever it is."""


@jobs.command(name="list")
@click.option(
    "--state",
    metavar="STATE",
    help="Only those that are queued, running, succeeded, failed, cancelled or dead.",
)
@click.option("--kind", metavar="KIND", help="Only those of a kind: backtest, train or batch.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="How many at most.",
)
@json_option
def list_(state: str | None, kind: str | None, limit: int, as_json: bool) -> None:
    """Show jobs, the latest first.

    \b
    Examples:
      rebalancer jobs list --state dead
      rebalancer jobs list --kind train --json
    """
    import json
    from itertools import islice

    from rebalancer.entrypoints.cli.screen import console, wide_table

    with store() as wired:
        found = list(islice(_every(wired, state, kind), limit))
    if as_json:
        click.echo(json.dumps([_record(job) for job in found], indent=2, ensure_ascii=False))
        return
    screen = console()
    if not found:
        screen.print("There are none.")
        return
    table = wide_table(
        screen, "Jobs", ("id", "kind", "state", "created", "error"), ("done", "tried")
    )
    for job in found:
        created = job.created.strftime("%Y-%m-%d %H:%M")
        shown = (str(job.id), job.kind, _state(job), created, job.error or "")
        table.add_row(*shown, f"{job.progress:.0%}", str(job.attempts))
    screen.print(table)


@jobs.command()
@click.argument("id", type=click.UUID)
def show(id: UUID) -> None:
    """Print all that is known of a job, as JSON."""
    import json

    with store() as wired:
        job = _read(wired, id)
    click.echo(json.dumps(_record(job), indent=2, ensure_ascii=False))


@jobs.command()
@click.argument("id", type=click.UUID)
@json_option
def watch(id: UUID, as_json: bool) -> None:
    """Wait until a job has ended, and show how far it is; Ctrl-C leaves it alone.

    The exit code is 0 if it has succeeded, else 3.
    """
    import json

    from rebalancer.domain.errors import Unavailable
    from rebalancer.domain.jobs.job import JobState
    from rebalancer.entrypoints.cli.screen import meter

    with store() as wired:
        job = _read(wired, id)
        with meter(job.kind, 100) as advance:
            shown = 0
            while not job.state.is_final:
                percent = int(job.progress * 100)
                if percent > shown:
                    advance(percent - shown)
                    shown = percent
                time.sleep(_LOOK)
                try:
                    job = _read(wired, id)
                except Unavailable as error:
                    click.echo(f"{error}; looking again", err=True)
            if job.state is JobState.SUCCEEDED:
                advance(100 - shown)
    if as_json:
        click.echo(json.dumps(_record(job), indent=2, ensure_ascii=False))
    else:
        click.echo(f"{job.kind} {job.id}: {_state(job)}{f': {job.error}' if job.error else '.'}")
    if job.state is not JobState.SUCCEEDED:
        click.get_current_context().exit(_WITH_FAILURES)


@jobs.command()
@click.argument("id", type=click.UUID)
def cancel(id: UUID) -> None:
    """Stop a job: at once if it waits, else in a moment."""
    from rebalancer.application.jobs import CancelJob
    from rebalancer.application.ports.clock import Clock

    with store() as wired:
        job = wired.get(CancelJob)(id, owner=None, now=wired.get(Clock)())
    click.echo(f"{job.kind} {job.id}: {_state(job)}.")


@jobs.command()
@click.argument("id", type=click.UUID, required=False)
@click.option("--all-dead", is_flag=True, help="Every job that is dead.")
def requeue(id: UUID | None, all_dead: bool) -> None:
    """Try a job again that failed, is dead or was cancelled.

    \b
    Examples:
      rebalancer jobs requeue 3b1f4c0e-...
      rebalancer jobs requeue --all-dead
    """
    from contextlib import suppress

    from rebalancer.application.jobs import RequeueJob
    from rebalancer.application.ports.clock import Clock
    from rebalancer.domain.jobs.job import JobChanged

    if (id is None) == (not all_dead):
        raise click.UsageError("Give either the ID of a job, or --all-dead.")
    with submitting() as wired:
        use, now = wired.get(RequeueJob), wired.get(Clock)()
        if id is not None:
            job = use(id, owner=None, now=now)
            click.echo(f"{job.kind} {job.id}: {_state(job)}.")
            return
        count = 0
        for job in list(_every(wired, "dead", None)):
            with suppress(JobChanged):  # somebody was quicker
                use(job.id, owner=None, now=now)
                count += 1
    click.echo(f"{count} {'job waits' if count == 1 else 'jobs wait'} again.")


@contextmanager
def submitting() -> Iterator[Container]:
    """Everything wired together for a command that ends soon, and leaves jobs to others."""
    from rebalancer.wiring.container import SubmitOnlyProvider, build_container

    wired = build_container(sources(None, None), SubmitOnlyProvider(), settings=settings())
    try:
        yield wired
    finally:
        wired.close()


def submit(kind: str, request: Mapping[str, Any], *, as_json: bool) -> None:
    """Keep a job of an operator's, have it done, and print how to watch it."""
    import json

    from rebalancer.application.jobs import SubmitJob
    from rebalancer.application.ports.clock import Clock, Ids
    from rebalancer.domain.jobs.job import Job

    with submitting() as wired:
        now = wired.get(Clock)()
        job = Job.new(kind, request, id=wired.get(Ids)(), owner=None, now=now)
        wired.get(SubmitJob)(job, now=now)
    if as_json:
        click.echo(json.dumps(_record(job), indent=2, ensure_ascii=False))
        return
    click.echo(
        f"Submitted as {job.id}; a `rebalancer worker` or `rebalancer serve` does it.\n"
        f"  rebalancer jobs watch {job.id}"
    )


def _every(wired: Container, state: str | None, kind: str | None) -> Iterator[Job]:
    """All jobs, page by page."""
    from rebalancer.application.jobs import ListJobs
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.domain.jobs.job import JobState

    if state is not None and state not in list(JobState):
        raise InvalidRequest(f"must be one of {', '.join(JobState)}, got {state!r}", field="state")
    states = None if state is None else frozenset({JobState(state)})
    use, before = wired.get(ListJobs), None
    while True:
        page = use(None, states=states, before=before, limit=_PAGE)
        yield from (job for job in page if kind in (None, job.kind))
        if len(page) < _PAGE:
            return
        before = page[-1].id


def _read(wired: Container, id: UUID) -> Job:
    from rebalancer.application.jobs import ReadJob

    return wired.get(ReadJob)(id, owner=None)


def _state(job: Job) -> str:
    return f"{job.state.value}, about to stop" if job.cancelling else job.state.value


def _record(job: Job) -> dict[str, Any]:
    """A job as JSON values."""
    import attrs

    kept = attrs.asdict(job, recurse=False)
    times = ("created", "due", "alive", "finished")
    kept["spared"] = kept.pop("excused_attempts")
    kept["alive"] = kept.pop("last_heartbeat")
    return {
        **kept,
        **{name: kept[name] and kept[name].isoformat() for name in times},
        "id": str(job.id),
        "owner": job.owner and str(job.owner),
        "state": job.state.value,
        "request": dict(job.request),
        "result": None if job.result is None else dict(job.result),
    }
