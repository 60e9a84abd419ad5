"""`rebalancer audit`: read, check and cut the audit trail, for operators."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from rebalancer.application.ports.clock import Clock
from rebalancer.domain.audit.chain import Link
from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.options import container, json_option
from rebalancer.entrypoints.cli.screen import console, count_things, print_json, wide_table

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.domain.audit.events import AuditEvent

_PAGE = 200
_FAILED = 3
"""Exit code of a check that found faults."""


@click.group()
def audit() -> None:
    """Read and check the audit trail: sign-ins, decisions, and what operators did."""


@audit.command(name="list")
@click.option("--user", metavar="ID|EMAIL", help="Only events about this account, or done by it.")
@click.option("--action", metavar="ACTION", help="Only events of an action, such as login_refused.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]),
    metavar="TIME",
    help="Only events since a day or a time in UTC, such as 2024-03-08T15:30.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, help="Most events to list.")
@json_option
def list_(
    user: str | None, action: str | None, since: datetime | None, limit: int, as_json: bool
) -> None:
    """List events, the latest first.

    \b
    Examples:
      rebalancer audit list --user ada@example.org
      rebalancer audit list --action login_refused --since 2024-03-08 --json
    """
    if action is not None:
        _check_action(action)
    start = None if since is None else since.replace(tzinfo=UTC)
    with container() as wired:
        account = None if user is None else _find_account(wired, user)
        events = _iterate_events(wired, involved=account, action=action, since=start)
        found = list(islice(events, limit))
    if as_json:
        print_json([_document(event) for event in found])
        return
    screen = console()
    if not found:
        screen.print("No events found.")
        return
    texts = ("time", "action", "outcome", "by", "from", "target")
    table = wide_table(screen, "Audit trail", texts, ("account",))  # ids in one piece
    for event in found:
        origin = event.origin
        table.add_row(
            event.at.strftime("%Y-%m-%d %H:%M:%S"),
            event.action,
            event.outcome,
            _actor(event),
            origin.address or "",
            event.target or "",
            str(event.subject or ""),
        )
    screen.print(table)


@audit.command()
@click.option(
    "--noted",
    metavar="POSITION:DIGEST",
    help="Head that an earlier check printed or the log has; it must still be in the chain.",
)
@json_option
def verify(noted: str | None, as_json: bool) -> None:
    """Check that no event was changed, removed or moved; the exit code is 3 if one was.

    The check prints the head of the chain. Note it elsewhere: only a noted head shows that the
    newest events were removed, or that the whole chain was rewritten.
    """
    from rebalancer.application.audit_trail import VerifyAuditTrail

    link = None if noted is None else _parse_link(noted)
    with container() as wired:
        found = wired.get(VerifyAuditTrail)(link)
    if as_json:
        document = {
            "events": found.events,
            "pending": found.pending,
            "start": str(found.start),
            "head": str(found.head),
            "faults": list(found.faults),
        }
        print_json(document)
    else:
        for fault in found.faults:
            click.echo(f"Fault: {fault}", err=True)
        removed = found.start.position
        click.echo(
            f"Checked {count_things(found.events, 'event')}"
            + (f" after a cut through position {removed}" if removed else "")
            + (f"; {found.pending} not sealed yet" if found.pending else "")
            + f".\nHead: {found.head}"
        )
    if found.faults:
        click.get_current_context().exit(_FAILED)


@audit.command()
@click.option(
    "--days",
    type=click.IntRange(30, 36_500),
    help="Age of the events to remove; default: REBALANCER_AUDIT_DAYS.",
    show_default=False,
)
def cut(days: int | None) -> None:
    """Remove old events, and record that; `rebalancer audit verify` still works.

    In Postgres the role of the application may not remove events. Run this as the role that owns
    the tables, for example once a day.
    """
    from rebalancer.application.audit_trail import AuditRetention, CutAuditTrail

    with container() as wired:
        kept = wired.get(AuditRetention).events if days is None else timedelta(days=days)
        now = wired.get(Clock)()
        done = None if kept is None else wired.get(CutAuditTrail)(now - kept, now=now)
    if done is None:
        click.echo("No event is old enough.")
    else:
        click.echo(f"Removed the events through position {done.through.position}.")


def _actor(event: AuditEvent) -> str:
    if event.actor is None:
        return event.origin.agent or "operator" if event.origin.via == "cli" else ""
    return "itself" if event.actor == event.subject else str(event.actor)


def _iterate_events(wired: Container, **conditions: Any) -> Iterator[AuditEvent]:
    from rebalancer.application.audit_trail import ListAuditEvents

    use, before = wired.get(ListAuditEvents), None
    while page := use(**conditions, before=before, limit=_PAGE):
        yield from page
        before = page[-1].id


def _find_account(wired: Container, text: str) -> UUID:
    """Return the id of an account that is named by its id or its address.

    An id is accepted without a check: events outlive their accounts.
    """
    from rebalancer.application.accounts import find_by_email
    from rebalancer.application.ports.store import UnitOfWork

    try:
        return UUID(text)
    except ValueError:
        pass
    with wired.get(UnitOfWork).read() as tx:
        found = find_by_email(tx, text)
    if found is None:
        raise InvalidRequest(
            f"no account has the address {text}; name its id",
            field="user",
            code="account_not_found",
        )
    return found.id


def _check_action(action: str) -> None:
    from difflib import get_close_matches

    from rebalancer.domain.audit.events import Action

    names = [one.value for one in Action]
    if action not in names:
        close = get_close_matches(action, names, 1)
        hint = f"did you mean {close[0]}?" if close else f"the actions are {', '.join(names)}"
        raise InvalidRequest(
            f"unknown action {action!r}; {hint}",
            field="action",
            code="unknown_action",
        )


def _parse_link(text: str) -> Link:
    position, _, digest = text.partition(":")
    if not position.isdecimal() or len(digest) != 64:
        raise InvalidRequest(
            "expected the head that an earlier check printed, as POSITION:DIGEST",
            field="noted",
            code="invalid_link",
        )
    return Link(int(position), digest)


def _document(event: AuditEvent) -> dict[str, Any]:
    origin = event.origin
    return {
        "id": str(event.id),
        "at": event.at.isoformat(),
        "action": event.action,
        "outcome": event.outcome.value,
        "actor": None if event.actor is None else str(event.actor),
        "subject": None if event.subject is None else str(event.subject),
        "target": event.target,
        "via": origin.via,
        "address": origin.address,
        "agent": origin.agent,
        "request": origin.request,
        "details": dict(event.details),
    }
