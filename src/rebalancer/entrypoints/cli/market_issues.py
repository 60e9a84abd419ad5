"""`rebalancer market issues`: findings about market data, and decisions on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import attrs
import click

from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.options import (
    IsoDate,
    SymbolText,
    container,
    json_option,
    sources,
)
from rebalancer.entrypoints.cli.screen import console, print_json, wide_table

if TYPE_CHECKING:
    from rebalancer.domain.market.issues import Issue
    from rebalancer.wiring.market import Sources

_rule = click.option("--rule", help="Only findings of this rule, such as unit_change.")
_day = click.option("--day", type=IsoDate(), help="Only findings of this day.")
_note = click.option("--note", default="", help="Why, for readers.")


@click.group(invoke_without_command=True)
@click.option("--symbol", type=SymbolText(), help="Only findings on this asset.")
@click.option(
    "--severity",
    type=click.Choice(["error", "warning"]),
    help="Only errors, whose figures are not used, or only warnings.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Also accepted, rejected and resolved findings."
)
@json_option
@click.pass_context
def issues(
    context: click.Context,
    symbol: str | None,
    severity: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """List the findings of the checks of imported market data.

    Figures with an error are hidden from policies until a later close at the level before, another
    import or a decision releases them. A warning is a caution. `accept` and `reject` decide on
    findings; docs/market-data.md describes the rules.

    \b
    Examples:
      rebalancer market issues
      rebalancer market issues --severity error --json
      rebalancer market issues accept SMCI --day 2024-10-01 --note "split of 10 for 1"
    """
    if context.invoked_subcommand is not None:
        return
    from rebalancer.application.market_issues import ListIssues, describe_issue
    from rebalancer.domain.market.quality import Severity

    with container(_stored()) as wired:
        found = wired.get(ListIssues)(
            symbol=symbol,
            severity=None if severity is None else Severity(severity),
            everything=everything,
        )
    if as_json:
        print_json([describe_issue(one) for one in found], ensure_ascii=True)
        return
    _print_issues(found)


@issues.command()
@click.argument("symbol", type=SymbolText())
@_rule
@_day
@_note
@json_option
def accept(symbol: str, rule: str | None, day: date | None, note: str, as_json: bool) -> None:
    """Accept findings: the figures are right, and are used.

    Without --rule and --day all findings on the asset are accepted.

    \b
    Example:
      rebalancer market issues accept SMCI --rule split_ratio --day 2024-10-01
    """
    _decide("accept", symbol, rule, day, note, as_json=as_json)


@issues.command()
@click.argument("symbol", type=SymbolText())
@_rule
@_day
@_note
@json_option
def reject(symbol: str, rule: str | None, day: date | None, note: str, as_json: bool) -> None:
    """Reject findings: the figures are wrong, and are not used until an import changes them.

    Without --rule and --day all findings on the asset are rejected.

    \b
    Example:
      rebalancer market issues reject AAA.L --day 2022-02-28
    """
    _decide("reject", symbol, rule, day, note, as_json=as_json)


def _decide(
    decision: str, symbol: str, rule: str | None, day: date | None, note: str, *, as_json: bool
) -> None:
    """Store a decision on findings, and print them."""
    from rebalancer.application.market_issues import DecideIssues, describe_issue
    from rebalancer.domain.market.quality import Decision, Rule

    rules = [each.value for each in Rule]
    if rule is not None and rule not in rules:
        raise InvalidRequest(
            f"unknown rule {rule!r}; choose {', '.join(rules)}",
            field="rule",
            code="unknown_rule",
        )
    with container(_stored()) as wired:
        decided = wired.get(DecideIssues)(
            Decision(decision),
            symbol,
            rule=None if rule is None else Rule(rule),
            day=day,
            note=note,
        )
    if as_json:
        print_json([describe_issue(one) for one in decided], ensure_ascii=True)
        return
    _print_issues(decided)


def _stored() -> Sources:
    """Return the store as the source of market data."""
    from rebalancer.wiring.market import STORE

    return attrs.evolve(sources(), prices=STORE)


def _print_issues(found: Sequence[Issue]) -> None:
    """Print issues as a table."""
    screen = console()
    if not found:
        screen.print("No findings.")
        return
    table = wide_table(
        screen,
        f"{len(found)} finding{'' if len(found) == 1 else 's'}",
        ["symbol", "rule", "severity", "day", "state", "finding"],
        [],
    )
    for one in found:
        table.add_row(one.symbol, one.rule, one.severity, str(one.day), one.state, f"{one.clause}.")
    screen.print(table)
