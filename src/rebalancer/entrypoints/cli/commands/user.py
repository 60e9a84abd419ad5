"""`rebalancer user`: manage user accounts, for operators."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.entrypoints.cli.options import FILE, container, json_option
from rebalancer.entrypoints.cli.screen import console, count_things, print_json, wide_table

if TYPE_CHECKING:
    from datetime import datetime

    from dishka import Container

    from rebalancer.application.operators import AccountStatus
    from rebalancer.domain.portfolio.owner import User

_PAGE = 200
_ROLES = ("person", "adviser", "operator")

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
email_argument = click.argument("email")


@click.group()
def user() -> None:
    """Manage user accounts."""


@user.command()
@click.option("--email", required=True, help="Email address of the user, used to log in.")
@click.option("--name", default="", show_default=False, help="Name of the user.")
@json_option
def create(email: str, name: str, as_json: bool) -> None:
    """Register a user.

    On a terminal the password is entered twice and not shown; otherwise it is read from the first
    line of standard input.

    \b
    Examples:
      rebalancer user create --email ada@example.org --name Ada
      pass show rebalancer/ada | rebalancer user create --email ada@example.org
    """
    from rebalancer.application.registration import Register

    password = _read_password()
    with container() as wired:
        known = wired.get(Register)(
            email=email,
            password=password,
            name=name,
            by_operator=True,
            id=wired.get(Ids)(),
            now=wired.get(Clock)(),
        )
    if as_json:
        document = {"id": str(known.id), "email": known.email, "name": known.name}
        print_json(document, indent=None)
    else:
        click.echo(f"Registered {known.email}, id {known.id}.")


def _read_password() -> str:
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")


@user.command(name="list")
@click.option("--role", type=click.Choice(_ROLES), help="Only accounts of this role.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, help="Most accounts to list.")
@json_option
def list_(role: str | None, limit: int, as_json: bool) -> None:
    """List accounts, oldest first.

    \b
    Examples:
      rebalancer user list --role operator
      rebalancer user list --json
    """
    from rebalancer.domain.accounts.roles import Role

    with container() as wired:
        found = list(islice(_iterate_accounts(wired, role and Role(role)), limit))
    if as_json:
        print_json([_account_document(one) for one in found])
        return
    screen = console()
    if not found:
        screen.print("No accounts found.")
        return
    table = wide_table(screen, "Accounts", ("email", "name", "role", "created", "disabled"), ())
    for one in found:
        disabled = "" if one.disabled is None else _minute(one.disabled)
        table.add_row(one.email, one.name, one.role.value, _minute(one.created), disabled)
    screen.print(table)


@user.command()
@email_argument
@json_option
def show(email: str, as_json: bool) -> None:
    """Show an account and a summary of its sessions."""
    from rebalancer.application.operators import ShowAccount

    with _account(email) as (wired, known):
        status = wired.get(ShowAccount)(known.id, bearer=None, now=wired.get(Clock)())
    _print_status(status, as_json)


@user.command()
@email_argument
@yes_option
@json_option
def disable(email: str, yes: bool, as_json: bool) -> None:
    """Block an account: end its sessions, cancel its jobs, and refuse sign-ins.

    Nothing is deleted. Servers that share no Redis with this command notice within 5 seconds.
    """
    from rebalancer.application.operators import DisableAccount

    with _account(email) as (wired, known):
        _confirm(f"Disable {known.email}, end its sessions and cancel its jobs?", yes)
        status = wired.get(DisableAccount)(known.id, bearer=None, now=wired.get(Clock)())
    _print_status(status, as_json)


@user.command()
@email_argument
@json_option
def enable(email: str, as_json: bool) -> None:
    """Let a disabled account sign in again."""
    from rebalancer.application.operators import EnableAccount

    with _account(email) as (wired, known):
        status = wired.get(EnableAccount)(known.id, bearer=None, now=wired.get(Clock)())
    _print_status(status, as_json)


@user.command()
@email_argument
@json_option
def unlock(email: str, as_json: bool) -> None:
    """Forget the failed logins of an account, after which sign-ins are slowed down or locked.

    A disabled account stays disabled: see `rebalancer user enable`.
    """
    from rebalancer.application.operators import UnlockAccount

    with _account(email) as (wired, known):
        status = wired.get(UnlockAccount)(known.id, bearer=None, now=wired.get(Clock)())
    _print_status(status, as_json)


@user.command(name="end-sessions")
@email_argument
@yes_option
@json_option
def end_sessions(email: str, yes: bool, as_json: bool) -> None:
    """Sign an account out on all devices."""
    from rebalancer.application.operators import EndAccountSessions

    with _account(email) as (wired, known):
        _confirm(f"Sign {known.email} out on all devices?", yes)
        ended = wired.get(EndAccountSessions)(known.id, bearer=None, now=wired.get(Clock)())
    if as_json:
        print_json({"id": str(known.id), "ended": ended}, indent=None)
    else:
        click.echo(f"Ended {count_things(ended, 'session')} of {known.email}.")


@user.command()
@email_argument
@click.argument("role", type=click.Choice(_ROLES))
@yes_option
@json_option
def role(email: str, role: str, yes: bool, as_json: bool) -> None:
    """Make an account that of a person, an adviser or an operator.

    An adviser can propose for portfolios that are shared with that right. An operator manages all
    accounts, and sees no portfolio of others. The first operator is made with this command.

    \b
    Examples:
      rebalancer user role ada@example.org operator
      rebalancer user role grace@example.org adviser --yes
    """
    from rebalancer.application.operators import ChangeRole
    from rebalancer.domain.accounts.roles import Role

    with _account(email) as (wired, known):
        if known.role.value != role:
            _confirm(f"Change the role of {known.email} from {known.role} to {role}?", yes)
        change = wired.get(ChangeRole)
        status = change(known.id, Role(role), bearer=None, now=wired.get(Clock)())
    _print_status(status, as_json)


@user.command(name="reset-password")
@email_argument
@json_option
def reset_password(email: str, as_json: bool) -> None:
    """Send a link with which the owner of an account chooses a new password.

    Where the service sends no mail, the link is printed, once. It works once, within an hour, and
    gives access to the account: pass it on over a channel that others cannot read.
    """
    from rebalancer.application.mail_texts import RESET_PATH
    from rebalancer.application.operators import ResetPassword
    from rebalancer.config import Settings

    with _account(email) as (wired, known):
        settings = wired.get(Settings)
        secret = wired.get(ResetPassword)(
            known.id,
            mails=settings.smtp_url is not None,
            bearer=None,
            now=wired.get(Clock)(),
        )
    link = None if secret is None else f"{settings.client_url}{RESET_PATH}#token={secret}"
    if as_json:
        print_json({"id": str(known.id), "mailed": secret is None, "link": link}, indent=None)
    elif link is None:
        click.echo(f"A link will be mailed to {known.email}.")
    else:
        click.echo(f"Link for {known.email}, valid once and for an hour:", err=True)
        click.echo(link)


@user.command()
@email_argument
@click.option("--unread", is_flag=True, help="Only notices that were not read.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, help="Most notices to list.")
@json_option
def notices(email: str, unread: bool, limit: int, as_json: bool) -> None:
    """List the notices of an account, latest first, and messages that could not be delivered.

    \b
    Examples:
      rebalancer user notices ada@example.org --unread
      rebalancer user notices ada@example.org --json
    """
    from rebalancer.application.notice_requests import ListDeliveries, ReadNotices
    from rebalancer.domain.notices.deliveries import DeliveryState
    from rebalancer.entrypoints.cli.user_notices import print_notices

    with _account(email) as (wired, known):
        found = wired.get(ReadNotices)(known.id, unread=unread, limit=limit)
        failed = wired.get(ListDeliveries)(known.id, state=DeliveryState.FAILED, limit=limit)
        print_notices(*found, failed, as_json)


@user.command(name="import-export")
@click.argument("file", type=FILE)
@click.option("--email", required=True, help="Email address of the account to import into.")
@json_option
def import_export(file: Path, email: str, as_json: bool) -> None:
    """Import the exported account of another installation.

    FILE is the archive that its owner downloaded, or account.jsonl in it. Portfolios with their
    ledgers, proposals and shares keep their ids and times; all of them are imported, or nothing.
    Create the account first: `rebalancer user create`.

    \b
    Examples:
      rebalancer user import-export rebalancer-2026-11-02.zip --email ada@example.org
    """
    from rebalancer.application.account_records import ImportAccount
    from rebalancer.entrypoints.account_file import read_account

    with _account(email) as (wired, known):
        records = read_account(file, owner=known.id)
        wired.get(ImportAccount)(records, owner=known.id, now=wired.get(Clock)())
    counts = {
        "portfolios": len(records.portfolios),
        "entries": records.entries,
        "proposals": len(records.proposals),
        "shares": len(records.invitations),
    }
    if as_json:
        print_json({"id": str(known.id), "email": known.email, **counts}, indent=None)
        return
    things = ", ".join(
        f"{count} {singular if count == 1 else plural}"
        for (plural, count), singular in zip(
            counts.items(), ("portfolio", "entry", "proposal", "share"), strict=True
        )
    )
    click.echo(f"Imported for {known.email}: {things}.")


@contextmanager
def _account(email: str) -> Iterator[tuple[Container, User]]:
    """Open the container, and find the account with an address."""
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.entrypoints.cli.stored_portfolios import find_user

    with container() as wired:
        with wired.get(UnitOfWork).read() as tx:
            known = find_user(tx, email)
        yield wired, known


def _confirm(question: str, yes: bool) -> None:
    """Ask a question, unless the answer is given; without a terminal it must be given."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("this needs a confirmation; add --yes")
    click.confirm(question, abort=True, err=True)


def _iterate_accounts(wired: Container, role: Any) -> Iterator[User]:
    from rebalancer.application.operators import ListAccounts

    after: UUID | None = None
    while True:
        now = wired.get(Clock)()
        page = wired.get(ListAccounts)(role=role, after=after, limit=_PAGE, bearer=None, now=now)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _account_document(known: User) -> dict[str, Any]:
    return {
        "id": str(known.id),
        "email": known.email,
        "name": known.name,
        "role": known.role.value,
        "created": known.created.isoformat(),
        "disabled": known.disabled and known.disabled.isoformat(),
    }


def _print_status(status: AccountStatus, as_json: bool) -> None:
    known, used = status.user, status.last_used
    if as_json:
        print_json(
            _account_document(known)
            | {
                "sessions": status.sessions,
                "last_used": used and used.isoformat(),
                "failed_logins": status.failed_logins,
            }
        )
        return
    state = "active" if known.disabled is None else f"disabled since {_minute(known.disabled)}"
    seen = "" if used is None else f", last used {_minute(used)}"
    console().print(
        f"{known.email} ({known.id})\n"
        f"Name: {known.name or 'none'}\nRole: {known.role}\nState: {state}\n"
        f"Registered: {_minute(known.created)}\n"
        f"Sessions: {status.sessions}{seen}\nFailed logins in a row: {status.failed_logins}"
    )


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")
