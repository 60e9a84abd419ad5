"""What a reader of a backtest must know about exchange rates behind it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from rebalancer.domain.market.caution import Caution
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quotes import NOTABLE_RATE_AGE

_MOST_NAMED = 5
"""Assets that a caution names."""


def rate_cautions(history: PriceHistory, first: int, symbols: Collection[str]) -> list[Caution]:
    """Describe old exchange rates and assumed currencies of some assets from row ``first`` on."""
    quotes, days = history.quotes, history.dates[first:]
    if quotes is None or quotes.currency is None or quotes.rates is None:
        return []
    base, found = quotes.currency, []
    currencies = {symbol: quotes.currencies[history.columns[symbol]] for symbol in symbols}
    for currency in sorted(set(currencies.values()) - {base}):
        rates = quotes.exchange.convert(currency, base, days)
        if rates is None or np.isnat(rates.days).all():
            continue  # the assets have no prices then, which has its own caution
        known = ~np.isnat(rates.days)
        ages = np.busday_count(rates.days[known], days[known])
        if ages.max() > NOTABLE_RATE_AGE:
            worst = int(ages.argmax())
            text = (
                f"On {days[known][worst]} the exchange rate from {currency} to {base} is of "
                f"{rates.days[known][worst]}, {ages[worst]} weekdays earlier."
            )
            found.append(Caution("exchange_rates_old", text))
    assumed = sorted(one for one in symbols if one in quotes.assumed and currencies[one] != base)
    if assumed:
        shown = ", ".join(assumed) if len(assumed) <= _MOST_NAMED else f"{len(assumed)} assets"
        text = (
            f"The currency of {shown} is not stated; prices are taken to be in "
            f"{currencies[assumed[0]]}, and converted into {base}."
        )
        found.append(Caution("currency_assumed", text))
    return found
