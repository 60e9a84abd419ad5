"""`rebalancer accept`: accept a stored proposal for its owner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from rebalancer.application.ports.clock import Clock
from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.files import write_text
from rebalancer.entrypoints.cli.options import FILE, container, json_option, market_options
from rebalancer.entrypoints.cli.screen import print_json

if TYPE_CHECKING:
    from rebalancer.application.rebalance import ProposalStatus
    from rebalancer.wiring.market import Sources


@click.command()
@click.argument("proposal_id", metavar="PROPOSAL_ID", type=click.UUID)
@click.option(
    "--mode",
    type=click.Choice(["paper", "worksheet"]),
    default="paper",
    help="paper: filled at once, at the closes and costs of the proposal. worksheet: the owner "
    "trades elsewhere.",
)
@click.option("--out", type=FILE, help="With --mode worksheet: write the orders to this CSV file.")
@market_options
@json_option
def accept(proposal_id: UUID, mode: str, out: Path | None, where: Sources, as_json: bool) -> None:
    """Accept a stored proposal on behalf of its owner.

    The prices must be the same as when the proposal was made. An accepted worksheet stays open
    until all its orders are filled by trades recorded over HTTP, for at most 30 days. `rebalancer
    cancel` cancels open orders.

    \b
    Examples:
      rebalancer accept 0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e
      rebalancer accept 0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e --mode worksheet --out orders.csv
    """
    from rebalancer.application.decisions import AcceptProposal, Mode
    from rebalancer.application.ports.store import UnitOfWork

    if out is not None and mode != "worksheet":
        raise InvalidRequest("--out needs --mode worksheet", code="conflicting_options")
    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.proposals.get(proposal_id).owner
        current, _ = wired.get(AcceptProposal)(
            proposal_id, owner=owner, mode=Mode(mode), now=wired.get(Clock)()
        )
    if out is not None:
        from rebalancer.entrypoints.schemas.proposal import worksheet_text

        write_text(out, worksheet_text(current), field="out")
    if as_json:
        print_json(proposal_stage(current))
        return
    made = current.record.proposal
    click.echo(
        f"{current.stage.capitalize()}: {len(made.orders)} orders of {made.policy}, closes of "
        f"{made.as_of}, costs {made.cost:f} {current.record.inputs.portfolio.currency}."
    )
    if out is not None:
        click.echo(f"Worksheet: {out.resolve()}")


def proposal_stage(current: ProposalStatus) -> dict[str, Any]:
    """Return the identity and the status of a stored proposal as JSON values."""
    record = current.record
    return {
        "id": str(record.id),
        "portfolio_id": str(record.portfolio_id),
        "stage": current.stage.value,
        "expires": record.expires.isoformat(),
    }
