"""`rebalancer portfolio alerts`: alerts and automation of a stored portfolio."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.cli.options import container, json_option
from rebalancer.entrypoints.cli.screen import console, print_json, wide_table

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.application.alerts import PortfolioAlerts

FC = TypeVar("FC", bound=Callable[..., Any] | click.Command)
_OFF = "off"


class _OrOff(click.ParamType[Any]):
    """A number, or the word that switches an alert off."""

    def __init__(self, kind: click.ParamType[Any], metavar: str) -> None:
        self.kind, self.name = kind, f"{metavar}|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == _OFF else self.kind.convert(value, param, ctx)


def _fraction(name: str, help: str) -> Callable[[FC], FC]:
    return click.option(name, type=_OrOff(click.FLOAT, "fraction"), help=help)


def _count(name: str, unit: str, help: str) -> Callable[[FC], FC]:
    return click.option(name, type=_OrOff(click.INT, unit), help=help)


@click.group()
def alerts() -> None:
    """Choose the alerts and the automatic proposals of a portfolio, and read past alerts."""


@alerts.command()
@click.argument("id", type=click.UUID)
@json_option
def show(id: UUID, as_json: bool) -> None:
    """Show alerts and automation of a portfolio, and which alerts fire now.

    \b
    Example:
      rebalancer portfolio alerts show 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
    """
    with container() as wired:
        found = _read(wired, id)
    _print(found, as_json)


@alerts.command("set")
@click.argument("id", type=click.UUID)
@click.option("--band/--no-band", default=None, help="When an asset's weight leaves its band.")
@_fraction("--band-width", "Half-width of the band; off: the portfolio's own.")
@_fraction("--drift", "Largest distance of all weights from the targets.")
@_fraction("--drawdown", "Largest loss since the peak.")
@_fraction("--cash-above", "Largest weight of cash.")
@_fraction("--cash-below", "Smallest weight of cash.")
@_count("--deposit-uninvested", "days", "Days for which a deposit may lie uninvested.")
@_count("--prices-stale", "sessions", "Sessions without a close of an asset.")
@_count("--proposal-waits", "hours", "Hours for which a proposal may wait.")
@_count("--proposal-expires", "hours", "Hours before a proposal expires.")
@click.option("--margin", type=float, help="Part of a limit to be back inside by. Default: 0.2.")
@click.option("--pause", type=int, metavar="HOURS", help="Between two alerts. Default: 24.")
@click.option("--live/--closes", default=None, help="Whether quotes count, too.")
@json_option
def set_(id: UUID, as_json: bool, **given: Any) -> None:
    """Change alerts of a portfolio; those that are not named stay as they are.

    \b
    Examples:
      rebalancer portfolio alerts set 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --band --drawdown 0.15
      rebalancer portfolio alerts set 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --drawdown off
    """
    from rebalancer.application.alerts import ChangeAlerts
    from rebalancer.entrypoints.schemas.alerts import AlertsBody, AlertSettingsView
    from rebalancer.entrypoints.schemas.decoding import decode_request
    from rebalancer.entrypoints.schemas.wire import json_line

    with container() as wired:
        known = json_of(AlertSettingsView.of(_read(wired, id).record.settings))
        stated = {name: value for name, value in given.items() if value is not None}
        known |= {name: None if value == _OFF else value for name, value in stated.items()}
        body = decode_request(json_line(known), AlertsBody)
        now = wired.get(Clock)()
        found = wired.get(ChangeAlerts)(id, body.settings(), owner=None, now=now)
    _print(found, as_json)


@alerts.command()
@click.argument("id", type=click.UUID)
@click.option(
    "--frequency",
    type=click.Choice(["session", "weekly", "monthly", "quarterly", "never"]),
    help="After each session, or after the first one of a period.",
)
@click.option("--on-alert/--not-on-alert", default=None, help="When an alert begins, too.")
@click.option("--policy", metavar="NAME", help="Policy of the proposals. Default: band.")
@click.option(
    "--auto-accept",
    nargs=3,
    metavar="TURNOVER COST ORDER",
    help="Accept on paper within these limits of a day: a fraction of value, and two amounts.",
)
@click.option("--no-auto-accept", is_flag=True, help="Let the proposals wait for a decision.")
@json_option
def automate(
    id: UUID,
    frequency: str | None,
    on_alert: bool | None,
    policy: str | None,
    auto_accept: tuple[str, str, str] | None,
    no_auto_accept: bool,
    as_json: bool,
) -> None:
    """Change which proposals are made without a request; what is not named stays as it is.

    \b
    Examples:
      rebalancer portfolio alerts automate 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --frequency monthly
      rebalancer portfolio alerts automate 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        --on-alert --auto-accept 0.1 20 5000
    """
    from rebalancer.application.alerts import ChangeAutomation
    from rebalancer.entrypoints.schemas.alerts import AutomationBody, automation_view
    from rebalancer.entrypoints.schemas.decoding import decode_request
    from rebalancer.entrypoints.schemas.wire import json_line

    if auto_accept is not None and no_auto_accept:
        raise click.UsageError("--auto-accept and --no-auto-accept exclude each other.")
    with container() as wired:
        shown = json_of(automation_view(_read(wired, id)))
        known = {name: shown[name] for name in ("frequency", "on_alert", "policy", "auto_accept")}
        if frequency is not None:
            known["frequency"] = None if frequency == "never" else frequency
        if on_alert is not None:
            known["on_alert"] = on_alert
        if policy is not None:
            known["policy"] = policy
        if no_auto_accept:
            known["auto_accept"] = None
        if auto_accept is not None:
            turnover, cost, order = auto_accept
            limits = {"max_turnover": _number(turnover), "max_cost": cost, "max_order": order}
            known["auto_accept"] = limits
        body = decode_request(json_line(known), AutomationBody)
        now = wired.get(Clock)()
        change = wired.get(ChangeAutomation)
        found = change(id, body.automation(), bearer=None, now=now)
    _print(found, as_json)


@alerts.command()
@click.argument("id", type=click.UUID)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, help="Most to list.")
@json_option
def history(id: UUID, limit: int, as_json: bool) -> None:
    """List past and present alerts of a portfolio, the latest first.

    \b
    Example:
      rebalancer portfolio alerts history 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --limit 5
    """
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.entrypoints.schemas.alerts import episode_view

    with container() as wired, wired.get(UnitOfWork).read() as tx:
        tx.portfolios.get(id)
        found = tx.alerts.episodes(id, limit=limit)
    if as_json:
        print_json([json_of(episode_view(one)) for one in found])
        return
    screen = console()
    table = wide_table(screen, "Alerts", ["began", "ended", "kind", "subject"], ["value", "limit"])
    for one in found:
        ended = "-" if one.ended is None else f"{one.ended:%Y-%m-%d %H:%M}"
        began = f"{one.began:%Y-%m-%d %H:%M}"
        table.add_row(
            began, ended, one.kind.value, one.subject, f"{one.value:.4g}", f"{one.limit:.4g}"
        )
    screen.print(table)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a number; enter a fraction such as 0.1", param_hint="--auto-accept"
        ) from None


def _read(wired: Container, id: UUID) -> PortfolioAlerts:
    """Return the alerts of a portfolio of any owner."""
    from rebalancer.application.alerts import ReadAlerts
    from rebalancer.application.ports.store import UnitOfWork

    with wired.get(UnitOfWork).read() as tx:
        owner = tx.portfolios.get(id).owner
    return wired.get(ReadAlerts)(id, actor=owner, now=wired.get(Clock)())


def json_of(view: object) -> dict[str, Any]:
    """Return a view as JSON values."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(view, enc_hook=str)
    return found


def _print(found: PortfolioAlerts, as_json: bool) -> None:
    from rebalancer.entrypoints.schemas.alerts import alerts_view, automation_view

    alerts, automation = json_of(alerts_view(found)), json_of(automation_view(found))
    if as_json:
        print_json({"alerts": alerts, "automation": automation})
        return
    screen = console()
    wanted = {
        name: value
        for name, value in alerts["settings"].items()
        if value not in (None, False) and name not in ("margin", "pause")
    }
    screen.print("Alerts: " + (_pairs(wanted) or "none"), markup=False)
    for one in alerts["watches"]:
        since = f", since {one['firing_since']}" if one["firing_since"] else ""
        what = f"{one['kind']} {one['subject']}".strip()
        screen.print(f"  {what}: {one['state']}{since}", markup=False)
    limits = automation["auto_accept"]
    schedule = automation["frequency"] or "never"
    on_alert = ", on alert" if automation["on_alert"] else ""
    screen.print(f"Automatic proposals: {schedule}{on_alert}", markup=False)
    accepted = f"on paper within {_pairs(limits)} a day" if limits else "by the owner"
    screen.print(f"Accepted: {accepted}", markup=False)
    if automation["stop"]["stopped"]:
        by, since = automation["stop"]["by"], automation["stop"]["since"]
        screen.print(f"Automation is stopped by the {by} since {since}.", markup=False)


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value}"
        for name, value in values.items()
    )
