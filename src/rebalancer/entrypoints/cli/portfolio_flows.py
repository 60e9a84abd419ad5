"""`rebalancer portfolio flows`: planned deposits and withdrawals of a stored portfolio."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.entrypoints.cli.options import IsoDate, container, json_option, market_options
from rebalancer.entrypoints.cli.screen import console, print_json, wide_table

if TYPE_CHECKING:
    from datetime import date

    from dishka import Container

    from rebalancer.application.planned_flows import PlanStatus
    from rebalancer.wiring.market import Sources

_PORTFOLIO = click.option(
    "--portfolio", "id", type=click.UUID, required=True, help="Portfolio of the flow."
)


@click.group()
def flows() -> None:
    """Plan recurring deposits and withdrawals, and confirm the dates that are due."""


@flows.command("list")
@click.argument("id", type=click.UUID)
@click.option("--days", type=click.IntRange(0, 366), default=90, help="Days ahead. Default: 90.")
@market_options
@json_option
def list_(id: UUID, days: int, where: Sources, as_json: bool) -> None:
    """List planned flows, the dates that are due, and those to come.

    \b
    Example:
      rebalancer portfolio flows list 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
    """
    with container(where) as wired:
        status = _read(wired, id, days)
    _print(status, as_json)


@flows.command()
@click.argument("id", type=click.UUID)
@click.option("--kind", type=click.Choice(["deposit", "withdrawal"]), required=True)
@click.option("--amount", required=True, help="In the flow's currency.")
@click.option("--currency", metavar="CODE", help="Default: the portfolio's base currency.")
@click.option("--every", type=click.Choice(["week", "month", "quarter", "year"]), default="month")
@click.option(
    "--day",
    type=click.IntRange(1, 31),
    help="Day of the month, or of the week from 1 (Monday). Default: that of --first.",
)
@click.option("--first", type=IsoDate(), metavar="DATE", help="First day. Default: today.")
@click.option("--last", type=IsoDate(), metavar="DATE", help="Last day. Default: without an end.")
@click.option("--note", default="", help="Note of the entries that it books.")
@market_options
@json_option
def add(
    id: UUID,
    kind: str,
    amount: str,
    currency: str | None,
    every: str,
    day: int | None,
    first: date | None,
    last: date | None,
    note: str,
    where: Sources,
    as_json: bool,
) -> None:
    """Plan a deposit or withdrawal that recurs.

    \b
    Example:
      rebalancer portfolio flows add 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        --kind deposit --amount 500 --every month --day 1
    """
    from rebalancer.application.planned_flows import RevisePlan, put_flow
    from rebalancer.entrypoints.schemas.decoding import decode_request
    from rebalancer.entrypoints.schemas.planned_flows import PlannedFlowBody
    from rebalancer.entrypoints.schemas.wire import json_line

    given: dict[str, Any] = {
        "kind": kind,
        "amount": amount,
        "currency": currency,
        "every": every,
        "day": day,
        "first": None if first is None else first.isoformat(),
        "last": None if last is None else last.isoformat(),
        "note": note,
    }
    stated = {name: value for name, value in given.items() if value is not None}
    body = decode_request(json_line(stated), PlannedFlowBody)
    with container(where) as wired:
        now, flow_id = wired.get(Clock)(), wired.get(Ids)()
        wired.get(RevisePlan)(
            put_flow(body.flow(flow_id, now.date())),
            portfolio_id=id,
            owner=_owner(wired, id),
            id=flow_id,
            now=now,
        )
        status = _read(wired, id, 90)
    _print(status, as_json)


@flows.command()
@click.argument("flow", type=click.UUID)
@_PORTFOLIO
@market_options
@json_option
def remove(flow: UUID, id: UUID, where: Sources, as_json: bool) -> None:
    """Remove a planned flow. Entries that it booked stay.

    \b
    Example:
      rebalancer portfolio flows remove 0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e \\
        --portfolio 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
    """
    from rebalancer.application.planned_flows import RevisePlan, remove_flow

    with container(where) as wired:
        now = wired.get(Clock)()
        wired.get(RevisePlan)(
            remove_flow(flow), portfolio_id=id, owner=_owner(wired, id), id=flow, now=now
        )
        status = _read(wired, id, 90)
    _print(status, as_json)


@flows.command()
@click.argument("flow", type=click.UUID)
@_PORTFOLIO
@click.option("--scheduled", type=IsoDate(), metavar="DATE", required=True, help="As listed.")
@click.option("--amount", help="What was paid. Default: as planned.")
@click.option("--on", type=IsoDate(), metavar="DATE", help="Day of payment. Default: when due.")
@click.option("--entry", type=click.UUID, help="Entry of the ledger that is the payment.")
@click.option(
    "--book-anyway", is_flag=True, help="Book a new entry although another may be the payment."
)
@market_options
@json_option
def confirm(
    flow: UUID,
    id: UUID,
    scheduled: date,
    amount: str | None,
    on: date | None,
    entry: UUID | None,
    book_anyway: bool,
    where: Sources,
    as_json: bool,
) -> None:
    """Book a date of a planned flow in the ledger; the same date is booked once.

    \b
    Example:
      rebalancer portfolio flows confirm 0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e \\
        --portfolio 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --scheduled 2026-12-01
    """
    from rebalancer.application.planned_flows import ConfirmFlow
    from rebalancer.entrypoints.schemas.decoding import decode_request
    from rebalancer.entrypoints.schemas.planned_flows import ConfirmationBody
    from rebalancer.entrypoints.schemas.wire import json_line

    given: dict[str, Any] = {"scheduled": scheduled.isoformat(), "book_anyway": book_anyway}
    given |= {} if amount is None else {"amount": amount}
    given |= {} if on is None else {"on": on.isoformat()}
    given |= {} if entry is None else {"entry_id": str(entry)}
    body = decode_request(json_line(given), ConfirmationBody)
    with container(where) as wired:
        wired.get(ConfirmFlow)(
            body.confirmation(),
            flow_id=flow,
            portfolio_id=id,
            owner=_owner(wired, id),
            now=wired.get(Clock)(),
        )
        status = _read(wired, id, 90)
    _print(status, as_json)


@flows.command()
@click.argument("flow", type=click.UUID)
@_PORTFOLIO
@click.option("--scheduled", type=IsoDate(), metavar="DATE", required=True, help="As listed.")
@market_options
@json_option
def skip(flow: UUID, id: UUID, scheduled: date, where: Sources, as_json: bool) -> None:
    """Decide that a date of a planned flow is not paid.

    \b
    Example:
      rebalancer portfolio flows skip 0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e \\
        --portfolio 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --scheduled 2026-12-01
    """
    from rebalancer.application.planned_flows import SkipFlow

    with container(where) as wired:
        wired.get(SkipFlow)(
            scheduled,
            flow_id=flow,
            portfolio_id=id,
            owner=_owner(wired, id),
            now=wired.get(Clock)(),
        )
        status = _read(wired, id, 90)
    _print(status, as_json)


@flows.command()
@click.argument("id", type=click.UUID)
@click.option(
    "--horizon", type=click.IntRange(0, 366), help="Days ahead that proposals count; 0: none."
)
@click.option(
    "--automatic/--confirm",
    default=None,
    help="Whether due flows are booked without confirmation, for portfolios on paper only.",
)
@market_options
@json_option
def terms(
    id: UUID, horizon: int | None, automatic: bool | None, where: Sources, as_json: bool
) -> None:
    """Choose how proposals count planned flows, and how those are booked.

    \b
    Example:
      rebalancer portfolio flows terms 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --horizon 30
    """
    import attrs

    from rebalancer.application.planned_flows import RevisePlan
    from rebalancer.domain.portfolio.mandate import ManagedPortfolio
    from rebalancer.domain.portfolio.planned_flows import FlowPlan

    def change(portfolio: ManagedPortfolio) -> FlowPlan:
        plan = portfolio.plan
        return attrs.evolve(
            plan,
            horizon=plan.horizon if horizon is None else horizon,
            automatic=plan.automatic if automatic is None else automatic,
        )

    with container(where) as wired:
        now: datetime = wired.get(Clock)()
        wired.get(RevisePlan)(change, portfolio_id=id, owner=_owner(wired, id), id=id, now=now)
        status = _read(wired, id, 90)
    _print(status, as_json)


def _owner(wired: Container, id: UUID) -> UUID:
    from rebalancer.application.ports.store import UnitOfWork

    with wired.get(UnitOfWork).read() as tx:
        owner: UUID = tx.portfolios.get(id).owner
    return owner


def _read(wired: Container, id: UUID, days: int) -> PlanStatus:
    from rebalancer.application.planned_flows import ReadPlan

    owner, now = _owner(wired, id), wired.get(Clock)()
    return wired.get(ReadPlan)(id, actor=owner, now=now, days=days)


def _print(status: PlanStatus, as_json: bool) -> None:
    from msgspec import to_builtins

    from rebalancer.entrypoints.schemas.planned_flows import plan_view

    view = plan_view(status)
    if as_json:
        print_json(to_builtins(view, enc_hook=str))
        return
    screen = console()
    if not view.flows:
        screen.print("No planned flows.")
        return
    table = wide_table(
        screen, "Planned flows", ["id", "kind", "every", "day", "first", "last"], ["amount", ""]
    )
    for one in view.flows:
        last = "" if one.last is None else str(one.last)
        rule = (one.kind.value, one.every.value, str(one.day), str(one.first), last)
        table.add_row(str(one.id), *rule, one.amount, one.currency)
    screen.print(table)
    dates = wide_table(screen, "Dates", ["flow", "scheduled", "due", "state"], ["amount", ""])
    for due in view.due:
        state = "due; an entry may be its payment" if due.matches else "due"
        row = (str(due.flow_id), str(due.scheduled), str(due.due), state)
        dates.add_row(*row, due.amount, due.currency)
    for coming in view.coming:
        row = (str(coming.flow_id), str(coming.scheduled), str(coming.due), "to come")
        dates.add_row(*row, coming.amount, coming.currency)
    screen.print(dates)
    counted = f"up to {view.horizon} days ahead" if view.horizon else "not at all"
    booked = "without confirmation" if view.automatic else "once they are confirmed"
    screen.print(f"Proposals count planned flows {counted}. Due flows are booked {booked}.")
