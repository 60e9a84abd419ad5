"""`rebalancer portfolio actions`: list and decide on corporate actions of a stored portfolio."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import click

from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.cli.options import container, json_option, market_options
from rebalancer.entrypoints.cli.screen import console, print_json, wide_table

if TYPE_CHECKING:
    from rebalancer.entrypoints.schemas.actions import ActionView
    from rebalancer.wiring.market import Sources


@click.command()
@click.argument("id", type=click.UUID)
@click.option(
    "--confirm", metavar="KEY", multiple=True, help="Book this pending action; may be repeated."
)
@click.option(
    "--dismiss",
    metavar="KEY",
    multiple=True,
    help="Leave the ledger as it is for this pending action; may be repeated.",
)
@click.option("--confirm-all", is_flag=True, help="Book all pending actions.")
@market_options
@json_option
def actions(
    id: UUID,
    confirm: tuple[str, ...],
    dismiss: tuple[str, ...],
    confirm_all: bool,
    where: Sources,
    as_json: bool,
) -> None:
    """List splits, dividends and the like of a stored portfolio, and book pending ones.

    Portfolios with automatic booking have them in their ledger already. In others they wait until
    they are confirmed.

    \b
    Examples:
      rebalancer portfolio actions 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
      rebalancer portfolio actions 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        --confirm "KO 2022-12-01 dividend"
    """
    from msgspec import to_builtins

    from rebalancer.application.action_requests import Confirmation, DecideActions, ListActions
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.domain.portfolio.corporate_actions import ActionState
    from rebalancer.entrypoints.schemas.actions import action_views

    with container(where) as wired:
        now = wired.get(Clock)()
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.portfolios.get(id).owner
        found = wired.get(ListActions)(id, actor=owner, now=now)
        keys = list(confirm)
        if confirm_all:
            keys += [
                review.key
                for review in found.reviews
                if review.state is ActionState.PENDING and review.key not in (*confirm, *dismiss)
            ]
        decisions = [Confirmation(key) for key in keys]
        decisions += [Confirmation(key, dismissed=True) for key in dismiss]
        if decisions:
            found, _, _ = wired.get(DecideActions)(
                decisions, portfolio_id=id, owner=owner, id=uuid4(), now=now
            )
    views = action_views(found)
    if as_json:
        print_json(to_builtins(views, enc_hook=str))
    else:
        _print_actions(views)


def _print_actions(views: Sequence[ActionView]) -> None:
    screen = console()
    if not views:
        screen.print("No corporate actions found.")
        return
    table = wide_table(
        screen, "Corporate actions", ["day", "action", "state"], ["units", "value", "amount"]
    )
    for view in views:
        booked = [entry for entry in (*view.entries, *view.due) if entry.voids is None]
        paid = [entry for entry in booked if Decimal(entry.cash) and entry.kind != "exchange"]
        value = " ".join(filter(None, [view.value, view.currency, view.other]))
        amount = f"{paid[-1].cash} {paid[-1].currency}" if paid else ""
        name = view.key or f"{view.symbol} {view.kind}"
        table.add_row(str(view.on), name, view.state.value, view.units or "", value, amount)
    screen.print(table)
    pending = [view.key for view in views if view.state == "pending" and view.key]
    if pending:
        screen.print(f'To book one, add --confirm "{pending[0]}"', markup=False)
