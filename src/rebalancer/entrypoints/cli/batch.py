"""`rebalancer batch`: a whole book of portfolios, file to file."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from rebalancer.entrypoints.cli.options import (
    IsoDate,
    cost_model,
    cost_options,
    market_options,
    settings,
    sources,
)


@click.command()
@click.option(
    "--portfolios",
    required=True,
    type=click.Path(path_type=Path),
    help="One JSON object a line; see the example.",
)
@market_options
@click.option("--policy", required=True, help="Who decides; see `rebalancer policies`.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="One JSON object a line, in order.",
)
@click.option("--as-of", type=IsoDate(), help="Day to decide on. Default: the last close.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on where a killed run stopped; the result is byte for byte that of one run.",
)
@cost_options
@click.option("--currency", help="Of the prices. Default: $REBALANCER_CURRENCY, or USD.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes. Default: $REBALANCER_WORKERS, or one a core.",
)
def batch(
    portfolios: Path,
    prices: Path | None,
    assets: Path | None,
    policy: str,
    out: Path,
    as_of: date | None,
    resume: bool,
    cost_bps: float | None,
    preset: str | None,
    currency: str | None,
    workers: int | None,
) -> int:
    """Propose for every portfolio of a file.

    One bad portfolio gives one failed record and neither stops nor changes the rest; the exit code
    is then 3. The run's inputs are noted beside the output, in OUT.run, for --resume.

    \b
    A line in, shortest and full:
      {"id": "a1", "cash": "250.00", "holdings": {"KO": "10"}, "targets": {"KO": 0.5, "PG": 0.5}}
      {"id": "a2", "currency": "USD", "cash": "1000.00", "holdings": {"AAPL": "10"},
       "targets": {"AAPL": 0.4}, "risk_profile": "balanced", "cash_flow": "500.00",
       "last_rebalance": "2022-11-30", "preferences": {"whole_shares": true,
       "quantity_step": "0.0001", "min_trade": "50.00", "do_not_sell": [], "do_not_buy": [],
       "max_turnover": 0.3, "cash_reserve": "100.00", "max_weight": 0.6, "band": 0.02,
       "max_departure": 0.2, "skip_unprofitable": false}}

    \b
    Examples:
      rebalancer batch --portfolios book.jsonl --prices prices.csv --policy band --out out.jsonl
      rebalancer batch --portfolios book.jsonl --policy monthly --as-of 2022-06-30 --out out.jsonl
    """
    from rebalancer.entrypoints.cli.bulk import Order, run
    from rebalancer.entrypoints.cli.screen import meter

    order = Order(
        sources=sources(prices, assets),
        policy=policy,
        costs=cost_model(cost_bps, preset),
        currency=currency or settings().currency,
        as_of=as_of,
    )
    size = portfolios.stat().st_size if portfolios.is_file() else None
    with meter("proposing", size) as advance:
        tally = run(
            order,
            portfolios,
            out,
            resume=resume,
            workers=workers or settings().cores,
            advance=advance,
        )
    click.echo(
        f"{out}: {tally.lines} portfolios, {tally.proposed} proposed, {tally.nothing} with "
        f"nothing to do, {tally.failed} failed",
        err=True,
    )
    return 3 if tally.failed else 0
