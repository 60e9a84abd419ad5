"""Notes on the prices behind a proposal: missing, old or doubtful ones."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.portfolio import Portfolio

RECENT = timedelta(days=366)
"""Age up to which a doubtful change of a price is mentioned: the window of risk estimates."""


def price_notes(portfolio: Portfolio, market: PriceHistory) -> list[str]:
    """Write what a reader should know about the prices of a portfolio's assets."""
    withheld = market.withheld
    carried: dict[str, str] = market.memo("carried last closes", lambda: _carried(market))
    doubtful: dict[str, list[str]] = market.memo("doubtful prices", lambda: _doubtful(market))
    if not (withheld or carried or doubtful):
        return []
    notes = []
    for symbol in portfolio.symbols:
        if symbol in withheld:
            notes.append(_withheld_note(symbol, withheld[symbol], portfolio, market))
        elif symbol in carried:
            notes.append(carried[symbol])
        notes += doubtful.get(symbol, [])
    return notes


def _withheld_note(symbol: str, reason: str, portfolio: Portfolio, market: PriceHistory) -> str:
    effects = []
    last = market.last_known(symbol)
    if portfolio.holdings.get(symbol) and last is not None:
        effects.append(f"its holding stays, at its last price of {last[0]}")
    if portfolio.targets.get(symbol):
        effects.append("what its target lacks stays in cash")
    return f"{symbol} is not tradable ({reason}): {', and '.join(effects) or 'not bought'}."


def _carried(market: PriceHistory) -> dict[str, str]:
    """Return a note on each asset whose last close only repeats an earlier one."""
    if market.carried is None:
        return {}
    notes = {}
    for column in np.flatnonzero(market.carried[-1]).tolist():
        symbol = market.symbols[column]
        last = market.last_known(symbol)
        if last is not None and symbol not in market.withheld:
            notes[symbol] = (
                f"{symbol} has no close on {market.last_date}; its close of {last[0]} is used."
            )
    return notes


def _doubtful(market: PriceHistory) -> dict[str, list[str]]:
    """Return notes on recent findings about each asset that is not withheld for them."""
    notes: dict[str, list[str]] = {}
    for finding in market.findings:
        if not finding.withholds and finding.day >= market.last_date - RECENT:
            notes.setdefault(finding.symbol, []).append(f"{finding.text}.")
    return {symbol: [*texts[:3], *_rest(texts[3:])] for symbol, texts in notes.items()}


def _rest(texts: list[str]) -> list[str]:
    return [f"And {len(texts)} further such changes within a year."] if texts else []
