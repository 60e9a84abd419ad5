"""Notes on the prices behind a proposal: missing, old or doubtful ones."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.rate_notes import LAST_CLOSE, rate_notes

RECENT = timedelta(days=366)
"""Age up to which a doubtful change of a price is mentioned: the window of risk estimates."""


def price_notes(portfolio: Portfolio, market: PriceHistory, *, last: str = LAST_CLOSE) -> list[str]:
    """Write what a reader should know about the prices of a portfolio's assets.

    ``last`` names the prices of the last row.
    """
    withheld = market.withheld
    carried: dict[str, date] = market.memo("carried last closes", lambda: _carried(market))
    doubtful: dict[str, list[str]] = market.memo("doubtful prices", lambda: _doubtful(market))
    notes = rate_notes(portfolio.symbols, market, portfolio.foreign_cash, last=last)
    if not (withheld or carried or doubtful):
        return notes
    old: dict[date, list[str]] = {}
    for symbol in portfolio.symbols:
        if symbol in withheld:
            notes.append(_withheld_note(symbol, withheld[symbol], portfolio, market))
        elif symbol in carried:
            old.setdefault(carried[symbol], []).append(symbol)
        notes += doubtful.get(symbol, [])
    newest = _newest_close(portfolio, market)
    for day, symbols in sorted(old.items()):
        if day == newest:
            continue
        one = len(symbols) == 1
        notes.append(
            f"{', '.join(symbols)} {'has' if one else 'have'} no close on {newest}; "
            f"{'its close' if one else 'their closes'} of {day} {'is' if one else 'are'} used."
        )
    return notes


def _newest_close(portfolio: Portfolio, market: PriceHistory) -> date:
    """Return the day of the last close of any of a portfolio's assets."""
    columns = [market.columns[symbol] for symbol in portfolio.symbols]
    days = market.last_own_days[columns]
    known = days[~np.isnat(days)]
    newest: date = known.max().item() if len(known) else market.last_date
    return newest


def _withheld_note(symbol: str, reason: str, portfolio: Portfolio, market: PriceHistory) -> str:
    effects = []
    last = market.last_known(symbol)
    if portfolio.holdings.get(symbol) and last is not None:
        effects.append(f"its holding stays, at its last price of {last[0]}")
    if portfolio.targets.get(symbol):
        effects.append("what its target lacks stays in cash")
    return f"{symbol} is not tradable ({reason}): {', and '.join(effects) or 'not bought'}."


def _carried(market: PriceHistory) -> dict[str, date]:
    """Return the day of the last close of each asset that has none in the last row.

    Without those whose market has had no session since.
    """
    if market.carried is None:
        return {}
    symbols = [market.symbols[column] for column in np.flatnonzero(market.carried[-1])]
    symbols = [symbol for symbol in symbols if market.missed_sessions(symbol) != 0]
    days = {symbol: market.last_known(symbol) for symbol in symbols}
    return {symbol: last[0] for symbol, last in days.items() if last is not None}


def _doubtful(market: PriceHistory) -> dict[str, list[str]]:
    """Return notes on recent findings about each asset that is not withheld for them."""
    notes: dict[str, list[str]] = {}
    for finding in market.findings:
        if not finding.withholds and finding.day >= market.last_date - RECENT:
            notes.setdefault(finding.symbol, []).append(f"{finding.text}.")
    return {symbol: [*texts[:3], *_rest(texts[3:])] for symbol, texts in notes.items()}


def _rest(texts: list[str]) -> list[str]:
    return [f"And {len(texts)} further such changes within a year."] if texts else []
