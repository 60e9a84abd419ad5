"""`rebalancer batch`: propose for many portfolios, from a file or from the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import click

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.batch_request import BatchRequest
from rebalancer.entrypoints.cli.batch_store import run as run_over_store
from rebalancer.entrypoints.cli.commands.jobs import submit
from rebalancer.entrypoints.cli.engine_options import EngineChoice, engine_options
from rebalancer.entrypoints.cli.options import (
    FILE,
    POLICY_HELP,
    as_of_option,
    container,
    cost_options,
    currency_option,
    json_option,
    market_options,
    settings,
)
from rebalancer.entrypoints.cli.run_id import RunId
from rebalancer.entrypoints.cli.screen import meter, print_json

if TYPE_CHECKING:
    from rebalancer.wiring.market import Sources

_PRINTED_FAILURES = 5
"""Failures that are printed in full; the rest is counted."""


@click.command()
@click.option(
    "--portfolios", type=FILE, help="File of portfolios, one JSON object per line; see below."
)
@market_options
@click.option("--policy", required=True, help=POLICY_HELP)
@click.option(
    "--out",
    type=FILE,
    help="With --portfolios: file of proposals, one JSON object per line, in the same order.",
)
@click.option(
    "--all",
    "every_stored",
    is_flag=True,
    help="Propose for every stored portfolio instead, and store the proposals.",
)
@as_of_option
@click.option(
    "--background",
    is_flag=True,
    help="With --all: submit a job that a `rebalancer worker` or `rebalancer serve` runs; see "
    "`rebalancer jobs`.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted run; the output is the same as that of one run.",
)
@click.option(
    "--run",
    metavar="ID",
    type=RunId(),
    help="With --all: start the run of this id, or join it if another machine has started it. ID "
    "is a UUID, or a name, such as book-2026-06-30.",
)
@cost_options
@json_option
@currency_option
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes. Default: $REBALANCER_WORKERS, or one per core; with --engine ray, as many as "
    "the cluster has cores for.",
)
@engine_options
def batch(
    portfolios: Path | None,
    where: Sources,
    out: Path | None,
    every_stored: bool,
    background: bool,
    resume: bool,
    run: UUID | None,
    as_json: bool,
    currency: str | None,
    workers: int | None,
    engine: EngineChoice,
    **terms: Any,
) -> int:
    """Propose for every portfolio of a file or of the store.

    Portfolios may have different base currencies. An invalid one gives a record with the status
    "failed", does not affect the others, and makes the exit code 3. For --resume, a run over a file
    writes the hashes of its inputs to OUT.run; a run over the store needs the same prices, policy
    and costs again.

    Machines that give the same --run share one run: each portfolio gets one proposal, also if some
    of the machines fail, and all print the same summary at the end. They must have the same prices,
    policy, costs and release of rebalancer.

    \b
    A portfolio with the required fields, and one with all fields:
      {"id": "a1", "cash": "250.00", "holdings": {"KO": "10"}, "targets": {"KO": 0.5, "PG": 0.5}}
      {"id": "a2", "currency": "USD", "cash": {"USD": "1000.00", "EUR": "200.00"},
       "holdings": {"AAPL": "10"}, "targets": {"AAPL": 0.4}, "risk_profile": "balanced",
       "cash_flow": "500.00", "last_rebalance": "2022-11-30", "conversions": "automatic",
       "preferences": {"whole_shares": true,
       "quantity_step": "0.0001", "min_trade": "50.00", "do_not_sell": [], "do_not_buy": [],
       "max_turnover": 0.3, "cash_reserve": "100.00", "max_weight": 0.6, "band": 0.02,
       "max_departure": 0.2, "skip_unprofitable": false, "sell_remainders": true,
       "lot_method": "fifo", "max_realised_gain": "500.00", "max_realised_gain_year": "2000.00"},
       "lots": {"AAPL": [{"quantity": "10", "cost": "900.00", "acquired": "2021-03-01"}]},
       "gain_this_year": "150.00"}

    Targets by groups, with target_groups and look_through, are described in docs/targets.md.

    \b
    Examples:
      rebalancer batch --portfolios book.jsonl --prices prices.csv --policy band --out out.jsonl
      rebalancer batch --portfolios book.jsonl --policy monthly --as-of 2022-06-30 --out out.jsonl
      rebalancer batch --all --policy band
      rebalancer batch --all --policy band --run book-2026-06-30
      rebalancer batch --all --policy band --engine ray --address 10.0.0.1:6379
    """
    request = BatchRequest(where, settings(), currency=currency or settings().currency, **terms)
    workers = engine.most(workers, settings().cores)
    if every_stored:
        others = {"--portfolios": portfolios, "--out": out}
        if given := [option for option, value in others.items() if value is not None]:
            raise _conflict(f"{', '.join(given)} cannot be combined with --all")
        if run is not None and (resume or background):
            other = "--resume" if resume else "--background"
            raise _conflict(f"--run cannot be combined with {other}")
        if not background:
            return _run_over_store(
                request, engine, run, resume=resume, as_json=as_json, workers=workers
            )
        engine.check_foreground(background)
        if resume:
            raise _conflict("--resume cannot be combined with --background")
        _submit(request, as_json=as_json)
        return 0
    if portfolios is None or out is None:
        raise _conflict("give either --portfolios and --out, or --all")
    if background:
        raise _conflict("--background needs --all")
    if run is not None:
        raise _conflict("--run needs --all")
    if not engine.is_local:
        raise _conflict("--engine ray needs --all")
    if as_json:
        raise _conflict("--json needs --all; a run over a file always writes JSON")
    from rebalancer.entrypoints.cli.batch_file import run as run_over_file

    size = portfolios.stat().st_size if portfolios.is_file() else None
    with meter("proposing", size) as advance:
        tally = run_over_file(
            request, portfolios, out, resume=resume, workers=workers, advance=advance
        )
    click.echo(
        f"{out}: {tally.total()} portfolios, {tally['proposed']} proposed, "
        f"{tally['nothing_to_do']} with nothing to do, {tally['failed']} failed",
        err=True,
    )
    return 3 if tally["failed"] else 0


def _conflict(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="conflicting_options")


def _submit(request: BatchRequest, *, as_json: bool) -> None:
    """Submit a job that proposes for every stored portfolio."""
    from rebalancer.application.background import BATCH, BatchJobRequest

    where = request.sources
    with container(where) as wired:  # validates the request now rather than in the job
        terms = request.terms(wired)
    job_request = BatchJobRequest(
        policy=request.policy,
        as_of=terms.market.last_date.isoformat(),
        currency=request.currency,
        prices=where.portable_prices,
        cost_bps=request.cost_bps,
        costs=request.costs,
        fx_spread_bps=request.fx_spread_bps,
        assets=None if where.assets is None else str(where.assets.resolve()),
        periods_per_year=where.periods_per_year,
        layout=where.layout,
    )
    submit(BATCH, attrs.asdict(job_request), as_json=as_json)


def _run_over_store(
    request: BatchRequest,
    engine: EngineChoice,
    shared: UUID | None,
    *,
    resume: bool,
    as_json: bool,
    workers: int,
) -> int:
    """Propose for every stored portfolio, store the proposals, and return the exit code."""
    from rebalancer.application.ports.store import UnitOfWork

    with container(request.sources) as wired:
        with engine.open() as opened, meter("proposing", None) as advance:
            ended = run_over_store(
                request,
                wired,
                id=shared or wired.get(Ids)(),
                shared=shared is not None,
                now=wired.get(Clock)(),
                resume=resume,
                workers=workers,
                engine=opened,
                advance=advance,
            )
        with wired.get(UnitOfWork).read() as tx:
            failures = tx.runs.failures(ended.id) if ended.failed else []
    if as_json:
        record = {
            "run": str(ended.id),
            "policy": ended.policy,
            "as_of": ended.as_of.isoformat(),
            "proposed": ended.proposed,
            "nothing_to_do": ended.nothing,
            "failed": ended.failed,
            "failures": [{"portfolio_id": str(id), "error": why} for id, why in failures],
        }
        print_json(record)
    else:
        click.echo(
            f"Run {ended.id}, {ended.policy}, closes of {ended.as_of}: {ended.proposed} proposed, "
            f"{ended.nothing} with nothing to do, {ended.failed} failed"
        )
        for id, why in failures[:_PRINTED_FAILURES]:
            click.echo(f"portfolio {id}: {why}", err=True)
        if len(failures) > _PRINTED_FAILURES:
            click.echo(f"and {len(failures) - _PRINTED_FAILURES} more; --json lists all", err=True)
    return 3 if failures else 0
