"""Offer to fetch assets that a command does not know, where its prices come from the store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from rebalancer.domain.errors import InvalidRequest, RebalancerError, faults_of
from rebalancer.domain.market.symbols import UnknownSymbols
from rebalancer.entrypoints.cli.options import stated_sources

if TYPE_CHECKING:
    from rebalancer.wiring.market import Sources


def name_fetch(error: RebalancerError, where: Sources | None) -> list[str]:
    """Give an error about unknown assets the command that fetches them as its remedy.

    Args:
        error: Error of a command.
        where: Where its prices come from; None: it has none.

    Returns:
        The assets; none if they cannot be fetched into these prices.
    """
    faults = faults_of(error) if isinstance(error, InvalidRequest) else ()
    missing = dict.fromkeys(
        symbol for fault in faults if isinstance(fault, UnknownSymbols) for symbol in fault.symbols
    )
    if not missing or where is None or not where.stored:
        return []
    error.add_note(f"Fetch prices with `rebalancer market sync --symbols {','.join(missing)}`.")
    return list(missing)


def offer_to_fetch(context: click.Context, error: InvalidRequest) -> bool:
    """Return whether the assets that an error names have been fetched, on the user's demand.

    Only a person at a terminal is asked.
    """
    missing = name_fetch(error, stated_sources(context))
    if not missing or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(f"Error: {error}.", err=True)
    if not click.confirm(f"{', '.join(missing)}: fetch it now?", err=True):
        return False
    from rebalancer.entrypoints.cli.market_sync import fetch

    with context:
        return fetch(missing)
