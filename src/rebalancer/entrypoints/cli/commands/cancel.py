"""`rebalancer cancel`: cancel the open orders of an accepted proposal for its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import click

from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.cli.commands.accept import proposal_stage
from rebalancer.entrypoints.cli.options import container, json_option, market_options
from rebalancer.entrypoints.cli.screen import print_json

if TYPE_CHECKING:
    from rebalancer.wiring.market import Sources


@click.command()
@click.argument("proposal_id", metavar="PROPOSAL_ID", type=click.UUID)
@click.option("--remark", default="", help="Why the orders are cancelled.")
@market_options
@json_option
def cancel(proposal_id: UUID, remark: str, where: Sources, as_json: bool) -> None:
    """Cancel the open orders of an accepted proposal on behalf of its owner.

    Trades that were recorded for it stay.

    \b
    Example:
      rebalancer cancel 0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e
    """
    from rebalancer.application.decisions import CancelProposal
    from rebalancer.application.ports.store import UnitOfWork

    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.proposals.get(proposal_id).owner
        current, _ = wired.get(CancelProposal)(
            proposal_id, owner=owner, remark=remark, now=wired.get(Clock)()
        )
    if as_json:
        print_json(proposal_stage(current))
        return
    left = current.record.open_quantities(current.filled)
    rest = ", ".join(f"{quantity.normalize():f} {symbol}" for symbol, quantity in left.items())
    click.echo(f"Cancelled the open orders: {rest}.")
