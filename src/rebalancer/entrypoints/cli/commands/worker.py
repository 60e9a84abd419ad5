"""`rebalancer worker`: run background jobs."""

from __future__ import annotations

import attrs
import click

from rebalancer.entrypoints.cli.commands.serve import check_tables
from rebalancer.entrypoints.cli.options import settings, sources


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    help="Jobs side by side, each in a process of its own. Default: $REBALANCER_JOBS_PAGE, or 1.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0, 86_400),
    default=25.0,
    help="Seconds that jobs may continue after SIGTERM; then they are released for other workers.",
)
def worker(concurrency: int | None, grace: float) -> None:
    """Run queued backtests, trainings and batches until SIGTERM or Ctrl-C.

    Jobs come from the queue in Redis if REBALANCER_REDIS_URL is set, else from the database. Any
    number of workers can run; if one dies, another one retries its job. Logs are written to
    standard error as JSON.

    \b
    Examples:
      rebalancer worker
      REBALANCER_REDIS_URL=redis://localhost rebalancer worker --concurrency 4
    """
    from rebalancer.application.market_data import PrepareStores
    from rebalancer.entrypoints.worker import work
    from rebalancer.wiring.container import build_container
    from rebalancer.wiring.stores import check_redis
    from rebalancer.wiring.telemetry import serve_metrics

    chosen = settings()
    chosen = attrs.evolve(chosen, jobs_at_once=concurrency or chosen.jobs_at_once)
    chosen.check_mail()
    chosen.check_encryption()
    chosen.check_connections()
    where = "database" if chosen.redis_url is None else "queue"
    amount = "one job" if chosen.jobs_at_once == 1 else f"{chosen.jobs_at_once} jobs"

    def started() -> None:
        click.echo(f"Working on {amount} at a time, from the {where}, until SIGTERM or Ctrl-C.")
        if metrics is not None:
            click.echo(f"Metrics at {metrics}")

    with serve_metrics(chosen) as metrics:
        wired = build_container(sources(), settings=chosen)
        try:
            check_tables(wired)
            check_redis(wired)
            wired.get(PrepareStores)  # reports a missing package now rather than in a job
            work(chosen, wired, grace=grace, started=started)
        finally:
            wired.close()
