"""Show targets by groups as trees on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rebalancer.domain.number_text import percent_text
from rebalancer.entrypoints.cli.screen import console, wide_table

if TYPE_CHECKING:
    from rebalancer.application.target_groups import TargetsNow
    from rebalancer.domain.rebalancing.model import Proposal

_INDENT = "  "


def groups_document(now: TargetsNow) -> list[dict[str, Any]]:
    """Return the groups of a portfolio and their drift as JSON values."""
    import msgspec

    from rebalancer.entrypoints.schemas.targets import targets_view

    found: list[dict[str, Any]] = msgspec.to_builtins(targets_view(now).groups)
    return found


def print_groups(now: TargetsNow) -> None:
    """Print the tree of groups with the assets inside; nothing if targets are by symbol."""
    if not now.groups:
        return
    screen = console()
    table = wide_table(screen, "Groups", ["group or asset"], ["weight", "target", "drift"])
    known = bool(now.weights)

    def row(indent: int, name: str, weight: float, target: float) -> None:
        table.add_row(
            _INDENT * indent + name,
            percent_text(weight) if known else "",
            percent_text(target),
            f"{100 * (weight - target):+.1f}".replace("-0.0", "+0.0") if known else "",
        )

    inner = {one.path: _own_assets(one.group.assets, one.members) for one in now.groups}
    for one in now.groups:
        below = {
            symbol
            for other in now.groups
            if other.path[:-1] == one.path
            for symbol in other.members
        }
        row(one.depth, one.group.name, one.weight(now.weights), one.target)
        for symbol in inner[one.path]:
            if symbol in below:
                continue
            share = one.members[symbol]
            name = symbol if share == 1 else f"{symbol} ({percent_text(share)} of it)"
            weight, target = now.weights.get(symbol, 0.0), now.targets.get(symbol, 0.0)
            row(one.depth + 1, name, weight * share, target * share)
    screen.print(table)
    for one in now.groups:
        if one.missing:
            side = "below" if one.missing > 0 else "above"
            screen.print(
                f"The funds of {one.group.name} keep its class {abs(100 * one.missing):.1f} points "
                f"{side} its target.",
                markup=False,
            )


def _own_assets(listed: Mapping[str, float], members: Mapping[str, float]) -> list[str]:
    """Return the members, those that the group lists first."""
    return [*(one for one in listed if one in members), *sorted(members.keys() - listed.keys())]


def groups_table(proposal: Proposal) -> Any:
    """Return a table of the groups of a proposal; None if it has none."""
    from rich.table import Table

    if not proposal.groups:
        return None
    table = Table(title="Groups", title_justify="left")
    table.add_column("group")
    for heading in ("target", "before", "after"):
        table.add_column(heading, justify="right")
    table.add_column("before the orders", ratio=1)
    for one in proposal.groups:
        weights = (one.target, one.weight_before, one.weight_after)
        name = _INDENT * (len(one.path) - 1) + one.name
        table.add_row(name, *map(percent_text, weights), one.reason)
    return table


def resolved_targets(proposal: Proposal, stated: Mapping[str, float]) -> dict[str, float]:
    """Return the target of each asset of a proposal, as they follow from its groups."""
    found = dict(stated)
    for one in proposal.groups:
        found.update(one.targets)
    return found
