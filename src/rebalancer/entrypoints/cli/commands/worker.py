"""`rebalancer worker`: does the jobs that others submit."""

from __future__ import annotations

import click

from rebalancer.entrypoints.cli.options import settings, sources


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    help="Jobs side by side, each in a process of its own. Default: $REBALANCER_JOBS_AT_ONCE, or "
    "1.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0, 86_400),
    default=25.0,
    show_default=True,
    help="Seconds that jobs may go on after SIGTERM; then they are put back for others.",
)
def worker(concurrency: int | None, grace: float) -> None:
    """Do backtests, trainings and batches that wait, until SIGTERM or Ctrl-C.

    They come from the queue in Redis where REBALANCER_REDIS_URL names one, else from the database.
    Any number of workers may share them; a job whose worker dies is tried again by another. The log
    is JSON on standard error.

    \b
    Examples:
      rebalancer worker
      REBALANCER_REDIS_URL=redis://localhost rebalancer worker --concurrency 4
    """
    import attrs

    from rebalancer.application.market_data import PrepareStores
    from rebalancer.entrypoints.cli.commands.serve import check_tables
    from rebalancer.entrypoints.worker import work
    from rebalancer.wiring.container import build_container

    chosen = settings()
    chosen = attrs.evolve(chosen, jobs_at_once=concurrency or chosen.jobs_at_once)
    wired = build_container(sources(None, None), settings=chosen)
    where = "database" if chosen.redis_url is None else "queue"
    many = "a job" if chosen.jobs_at_once == 1 else f"{chosen.jobs_at_once} jobs"

    def started() -> None:
        click.echo(f"Working on {many} at a time, from the {where}; SIGTERM ends it.")

    try:
        check_tables(wired)
        wired.get(PrepareStores)  # what is wrong with where they are is better known now
        work(chosen, wired, grace=grace, started=started)
    finally:
        wired.close()
