"""`rebalancer jobs`: inspect and control background jobs, for operators."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import click

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.jobs.job import Job, JobChanged, JobState
from rebalancer.entrypoints.cli.options import container, json_option
from rebalancer.entrypoints.cli.screen import console, meter, print_json, wide_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dishka import Container

_POLL_SECONDS = 0.5
_PAGE = 200

_STORED_NAMES = {"excused_attempts": "spared", "last_heartbeat": "alive"}
"""Fields whose names in the output scripts rely on."""


@click.group()
def jobs() -> None:
    """Inspect and control the background jobs of all users."""


@jobs.command(name="list")
@click.option(
    "--state",
    metavar="STATE",
    help="Only jobs that are queued, running, succeeded, failed, cancelled or dead.",
)
@click.option("--kind", metavar="KIND", help="Only jobs of a kind: backtest, train or batch.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, help="Most jobs to list.")
@json_option
def list_(state: str | None, kind: str | None, limit: int, as_json: bool) -> None:
    """List jobs, the latest first.

    \b
    Examples:
      rebalancer jobs list --state dead
      rebalancer jobs list --kind train --json
    """
    with container() as wired:
        found = list(islice(_iterate_jobs(wired, state, kind), limit))
    if as_json:
        print_json([_job_document(job) for job in found])
        return
    screen = console()
    if not found:
        screen.print("No jobs found.")
        return
    table = wide_table(
        screen, "Jobs", ("id", "kind", "state", "created", "error"), ("done", "tries")
    )
    for job in found:
        created = job.created.strftime("%Y-%m-%d %H:%M")
        texts = (str(job.id), job.kind, _describe_state(job), created, job.error or "")
        table.add_row(*texts, f"{job.progress:.0%}", str(job.attempts))
    screen.print(table)


@jobs.command()
@click.argument("id", type=click.UUID)
def show(id: UUID) -> None:
    """Print a job with its request and its result as JSON."""
    with container() as wired:
        job = _read_job(wired, id)
    print_json(_job_document(job))


@jobs.command()
@click.argument("id", type=click.UUID)
@json_option
def watch(id: UUID, as_json: bool) -> None:
    """Wait for a job to end, and show its progress; Ctrl-C does not stop the job.

    The exit code is 0 if the job succeeds, else 3.
    """
    with container() as wired:
        job = _read_job(wired, id)
        with meter(job.kind, 100) as advance:
            shown = 0
            while not job.state.is_final:
                percent = int(job.progress * 100)
                if percent > shown:
                    advance(percent - shown)
                    shown = percent
                time.sleep(_POLL_SECONDS)
                try:
                    job = _read_job(wired, id)
                except Unavailable as error:
                    click.echo(f"{error}; trying again", err=True)
            if job.state is JobState.SUCCEEDED:
                advance(100 - shown)
    if as_json:
        print_json(_job_document(job))
    else:
        click.echo(
            f"{job.kind} {job.id}: {_describe_state(job)}{f': {job.error}' if job.error else '.'}"
        )
    if job.state is not JobState.SUCCEEDED:
        click.get_current_context().exit(3)


@jobs.command()
@click.argument("id", type=click.UUID)
def cancel(id: UUID) -> None:
    """Cancel a job; a running job stops at its next progress report."""
    from rebalancer.application.jobs import CancelJob

    with container() as wired:
        job = wired.get(CancelJob)(id, owner=None, now=wired.get(Clock)())
    click.echo(f"{job.kind} {job.id}: {_describe_state(job)}.")


@jobs.command()
@click.argument("id", type=click.UUID, required=False)
@click.option("--all-dead", is_flag=True, help="Requeue every dead job.")
def requeue(id: UUID | None, all_dead: bool) -> None:
    """Requeue a job that failed, is dead or was cancelled.

    \b
    Examples:
      rebalancer jobs requeue 3b1f4c0e-...
      rebalancer jobs requeue --all-dead
    """
    from rebalancer.application.jobs import RequeueJob

    if (id is None) == (not all_dead):
        raise click.UsageError("Give either the ID of a job or --all-dead.")
    with _submit_only_container() as wired:
        use, now = wired.get(RequeueJob), wired.get(Clock)()
        if id is not None:
            job = use(id, owner=None, now=now)
            click.echo(f"{job.kind} {job.id}: {_describe_state(job)}.")
            return
        count = 0
        for job in list(_iterate_jobs(wired, "dead", None)):
            with suppress(JobChanged):  # requeued or started meanwhile
                use(job.id, owner=None, now=now)
                count += 1
    click.echo(f"Requeued {count} {'job' if count == 1 else 'jobs'}.")


def _submit_only_container() -> AbstractContextManager[Container]:
    """Build a container for a short-lived process, which runs no job itself."""
    from rebalancer.wiring.container import SubmitOnlyProvider

    return container(None, SubmitOnlyProvider())


def submit(kind: str, request: Mapping[str, Any], *, as_json: bool) -> None:
    """Submit a job for the operator, and print how to watch it."""
    from rebalancer.application.jobs import SubmitJob

    with _submit_only_container() as wired:
        now = wired.get(Clock)()
        job = Job.new(kind, request, id=wired.get(Ids)(), owner=None, now=now)
        wired.get(SubmitJob)(job, now=now)
    if as_json:
        print_json(_job_document(job))
        return
    click.echo(
        f"Submitted as {job.id}; a `rebalancer worker` or `rebalancer serve` will run it.\n"
        f"  rebalancer jobs watch {job.id}"
    )


def _iterate_jobs(wired: Container, state: str | None, kind: str | None) -> Iterator[Job]:
    """Yield all jobs of a state and a kind, reading page by page."""
    from rebalancer.application.jobs import ListJobs

    if state is not None and state not in list(JobState):
        raise InvalidRequest(
            f"expected one of {', '.join(JobState)}, got {state!r}",
            field="state",
            code="unknown_job_state",
        )
    states = None if state is None else frozenset({JobState(state)})
    use, before = wired.get(ListJobs), None
    while True:
        page = use(None, states=states, before=before, limit=_PAGE)
        yield from (job for job in page if kind in (None, job.kind))
        if len(page) < _PAGE:
            return
        before = page[-1].id


def _read_job(wired: Container, id: UUID) -> Job:
    from rebalancer.application.jobs import ReadJob

    return wired.get(ReadJob)(id, owner=None)


def _describe_state(job: Job) -> str:
    return f"{job.state.value}, cancelling" if job.cancelling else job.state.value


def _job_document(job: Job) -> dict[str, Any]:
    """Return a job as JSON values."""
    found = attrs.asdict(job, recurse=False)
    for name, shown in _STORED_NAMES.items():
        found[shown] = found.pop(name)
    for name in ("created", "due", "started", "alive", "finished"):
        found[name] = found[name] and found[name].isoformat()
    return {
        **found,
        "id": str(job.id),
        "owner": job.owner and str(job.owner),
        "state": job.state.value,
        "request": dict(job.request),
        "result": None if job.result is None else dict(job.result),
    }
