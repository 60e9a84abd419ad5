"""`rebalancer alerts`: evaluate alerts, and stop automation, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import click

from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.cli.options import container, json_option, market_options
from rebalancer.entrypoints.cli.screen import count_things, print_json
from rebalancer.entrypoints.cli.stored_portfolios import find_user

if TYPE_CHECKING:
    from rebalancer.wiring.market import Sources

_USER = click.option(
    "--user", metavar="EMAIL", help="Only for this account. Default: for the whole deployment."
)


@click.group()
def alerts() -> None:
    """Evaluate alerts, and stop or resume automatic proposals."""


@alerts.command()
@click.option("--portfolio", type=click.UUID, help="Only this portfolio, also if it is not due.")
@market_options
@json_option
def evaluate(portfolio: UUID | None, where: Sources, as_json: bool) -> None:
    """Evaluate the alerts that are due, and make the automatic proposals that are.

    Servers and workers do so by themselves. Without them, run it from cron after the closes. It can
    run any number of times: each alert is raised once.

    \b
    Examples:
      rebalancer alerts evaluate
      rebalancer alerts evaluate --portfolio 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --json
    """
    import attrs

    from rebalancer.application.alert_evaluation import EvaluateAlerts

    with container(where) as wired:
        report = wired.get(EvaluateAlerts)(portfolio=portfolio)
    if as_json:
        print_json(attrs.asdict(report))
        return
    click.echo(
        f"Evaluated {count_things(report.portfolios, 'portfolio')}: "
        f"{count_things(report.alerts, 'new alert')}, "
        f"{count_things(report.proposals, 'automatic proposal')} due."
    )


@alerts.command()
@_USER
def stop(user: str | None) -> None:
    """Stop automatic proposals and acceptances, at once; alerts continue.

    \b
    Examples:
      rebalancer alerts stop
      rebalancer alerts stop --user ada@example.org
    """
    from rebalancer.application.automatic_stop import StopAutomation
    from rebalancer.application.ports.store import UnitOfWork

    with container() as wired:
        use, now = wired.get(StopAutomation), wired.get(Clock)()
        if user is None:
            set_at = use.everywhere(None, now=now).since
        else:
            with wired.get(UnitOfWork).read() as tx:
                owner = find_user(tx, user).id
            set_at = use(owner, now=now).since
    whose = "for all accounts" if user is None else f"for {user}"
    click.echo(f"Automation is stopped {whose} since {set_at:%Y-%m-%d %H:%M} UTC.")


@alerts.command()
@_USER
def resume(user: str | None) -> None:
    """Let automation run again; what was due meanwhile is not made up for.

    \b
    Examples:
      rebalancer alerts resume
      rebalancer alerts resume --user ada@example.org
    """
    from rebalancer.application.automatic_stop import ResumeAutomation
    from rebalancer.application.ports.store import UnitOfWork

    with container() as wired:
        use, now = wired.get(ResumeAutomation), wired.get(Clock)()
        left = None
        if user is None:
            use.everywhere(None, now=now)
        else:
            with wired.get(UnitOfWork).read() as tx:
                owner = find_user(tx, user).id
            left = use.for_account(owner, now=now)
    if left is not None:
        click.echo("Automation stays stopped for all accounts; run: rebalancer alerts resume")
    else:
        click.echo(f"Automation may run again for {user or 'all accounts'}.")
