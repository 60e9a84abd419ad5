"""Notes on the exchange rates behind a proposal or a list: old ones, and assumed currencies."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quotes import NOTABLE_RATE_AGE

LAST_CLOSE = "the last close"
"""Name of the prices of the last row."""

_MOST_NAMED = 5
"""Assets that a note names."""


def rate_notes(
    symbols: Sequence[str],
    market: PriceHistory,
    cash: Collection[str] = (),
    *,
    last: str = LAST_CLOSE,
) -> list[str]:
    """Write what a reader should know about the exchange rates of some assets, and of cash.

    Args:
        symbols: Assets; those that the market does not have are passed over.
        market: Prices, converted into one currency.
        cash: ISO 4217 codes of cash in other currencies.
        last: Name of the prices of the last row.
    """
    quotes = market.quotes
    if quotes is None or quotes.currency is None or (quotes.rates is None and not cash):
        return []
    currencies = {
        symbol: quotes.currencies[market.columns[symbol]]
        for symbol in symbols
        if symbol in market.columns
    }
    return [
        *old_rates(sorted({*currencies.values(), *cash}), market, last=last),
        *_assumed(
            [one for one in currencies if one in quotes.assumed], currencies, quotes.currency
        ),
    ]


def old_rates(
    currencies: Sequence[str], market: PriceHistory, *, last: str = LAST_CLOSE
) -> list[str]:
    """Write which currencies have an exchange rate that is older than the prices of the last row.

    ``last`` names these.
    """
    quotes, newest = market.quotes, market.last_date
    found = []
    for currency in currencies:
        day = market.last_rate_day(currency)
        if day is None or quotes is None:
            continue
        age = int(np.busday_count(day, newest))
        if age > NOTABLE_RATE_AGE:
            found.append(
                f"The exchange rate from {currency} to {quotes.currency} is of {day}, {age} "
                f"weekdays before {last} of {newest}."
            )
    return found


def _assumed(symbols: Sequence[str], currencies: dict[str, str], base: str) -> list[str]:
    """Write which assets are taken to be in a currency that nothing states."""
    found = []
    for currency in sorted({currencies[symbol] for symbol in symbols} - {base}):
        names = [symbol for symbol in symbols if currencies[symbol] == currency]
        shown = ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} assets"
        found.append(
            f"The currency of {shown} is not stated; prices are taken to be in {currency}, and "
            f"converted into {base}."
        )
    return found
