"""Offer to fetch assets that a command does not know, where its prices come from the store."""

from __future__ import annotations

import sys

import click

from rebalancer.domain.errors import InvalidRequest, faults_of
from rebalancer.domain.market.symbols import UnknownSymbols
from rebalancer.entrypoints.cli.options import stated_sources


def offer_to_fetch(context: click.Context, error: InvalidRequest) -> bool:
    """Return whether the assets that an error names have been fetched, on the user's demand.

    The error gets the command that fetches them as its remedy. Only a person at a terminal is
    asked.
    """
    missing = dict.fromkeys(
        symbol
        for fault in faults_of(error)
        if isinstance(fault, UnknownSymbols)
        for symbol in fault.symbols
    )
    where = stated_sources(context)
    if not missing or where is None or not where.stored:
        return False
    names = ",".join(missing)
    error.add_note(f"Fetch prices with `rebalancer market sync --symbols {names}`.")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(f"Error: {error}.", err=True)
    if not click.confirm(f"{names}: fetch it now?", err=True):
        return False
    from rebalancer.entrypoints.cli.market_sync import fetch

    with context:
        return fetch(list(missing))
