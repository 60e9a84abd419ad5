"""Worksheets whose orders a corporate action overtakes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rebalancer.application.ports.store import Transaction
from rebalancer.domain.portfolio.entries import REORGANISATIONS, Entry
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.rebalancing.lifecycle import Stage

_LOOKED_AT = 50
"""Latest proposals of a portfolio that are looked at; older ones have expired."""


def cancel_worksheets(
    tx: Transaction, portfolio: ManagedPortfolio, entries: Sequence[Entry], now: datetime
) -> None:
    """Cancel accepted proposals with open orders for assets that entries reorganise.

    Quantities and prices of such orders are those of before a split, and their symbol may be
    another one now. Trades that were recorded stay; later ones are recorded as trades of their own.

    Args:
        tx: The transaction that stores the entries.
        portfolio: Their portfolio.
        entries: New entries of its ledger.
        now: Current time.
    """
    changed = {
        entry.symbol: entry
        for entry in entries
        if entry.kind in REORGANISATIONS and entry.symbol is not None
    }
    if not changed:
        return
    latest = tx.proposals.page(portfolio.owner, portfolio_id=portfolio.id, limit=_LOOKED_AT)
    accepted = [one for one in latest if one.stage_at(now) is Stage.ACCEPTED]
    fills = tx.portfolios.fills({one.id: portfolio.id for one in accepted}) if accepted else {}
    for record in accepted:
        overtaken = sorted(set(record.open_quantities(fills.get(record.id, {}))) & set(changed))
        if not overtaken:
            continue
        entry = changed[overtaken[0]]
        remark = f"The {entry.title} changed the units of open orders; request a new proposal."
        tx.proposals.save(record.cancel(now, remark), expected=Stage.ACCEPTED)
