"""Quotes: what single shares cost as traded, each in its own currency, beside total returns."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.market.actions import NO_ACTIONS, Actions
from rebalancer.domain.market.currencies import NO_RATES, ExchangeRates
from rebalancer.domain.market.sessions import Sessions

NOTABLE_RATE_AGE = 5
"""Weekdays after which the age of an exchange rate deserves a note."""


@attrs.frozen(eq=False)
class Quotes:
    """Prices of one share of N assets over T closes, and how they become money of one currency.

    Attributes:
        prices: As traded, in each asset's currency, shape (T, N), read-only; NaN where an asset has
            no current close. None: the closes of the history are the prices.
        currencies: ISO 4217 code of each asset's currency, N of them.
        actions: Corporate actions of these assets, as known when the prices were read.
        exchange: Exchange rates.
        currency: Currency into which `rates` convert; None: prices stay in their own currencies.
        rates: Units of ``currency`` per unit of the asset's currency, shape (T, N), read-only; None
            if all are 1.
        rate_days: Day of each rate at the last close, shape (N,); None without rates.
        adjusted: Symbols whose source has closes that are adjusted for splits and distributions.
            Their prices as traded follow from the actions that are known.
        markets: Code of each asset's market, N of them, None where it is not stated.
        sessions: Sessions of these markets, as far as they are known.
    """

    prices: Floats | None
    currencies: tuple[str, ...]
    actions: Actions = NO_ACTIONS
    exchange: ExchangeRates = NO_RATES
    currency: str | None = None
    rates: Floats | None = None
    rate_days: Dates | None = None
    adjusted: frozenset[str] = frozenset()
    markets: tuple[str | None, ...] = attrs.field()
    sessions: Sessions = attrs.field(factory=dict)

    @markets.default
    def _unknown_markets(self) -> tuple[str | None, ...]:
        return (None,) * len(self.currencies)

    def between(self, start: int, stop: int) -> Quotes:
        """Return the quotes of the rows from ``start`` to before ``stop``, no copy."""
        rows = slice(start, stop)
        return attrs.evolve(
            self,
            prices=None if self.prices is None else self.prices[rows],
            rates=None if self.rates is None else self.rates[rows],
        )

    def select(self, columns: Sequence[int]) -> Quotes:
        """Return the quotes of some assets, by column."""
        wanted = list(columns)
        return attrs.evolve(
            self,
            prices=None if self.prices is None else _frozen(self.prices[:, wanted]),
            currencies=tuple(self.currencies[column] for column in wanted),
            rates=None if self.rates is None else _frozen(self.rates[:, wanted]),
            rate_days=None if self.rate_days is None else self.rate_days[wanted],
            markets=tuple(self.markets[column] for column in wanted),
        )


def _frozen(table: Floats) -> Floats:
    table.setflags(write=False)
    return table


def rate_table(
    exchange: ExchangeRates, currencies: Sequence[str], target: str, days: Dates
) -> tuple[Floats | None, Dates, tuple[str, ...]]:
    """Return rates of currencies into one on days.

    Args:
        exchange: Known rates.
        currencies: N source currencies.
        target: Currency to convert into.
        days: (T,) increasing.

    Returns:
        (T, N) units of the target per unit of each source, NaN where unknown, or None if all are 1;
        (N,) day of the last rate; and the source currencies that cannot be converted, sorted.
    """
    table = np.ones((len(days), len(currencies)))
    last = np.full(len(currencies), days[-1], dtype="datetime64[D]")
    missing = set()
    for currency in sorted(set(currencies) - {target}):
        columns = [at for at, one in enumerate(currencies) if one == currency]
        converted = exchange.convert(currency, target, days)
        if converted is None:
            missing.add(currency)
            table[:, columns] = np.nan
            continue
        table[:, columns] = converted.rates[:, None]
        last[columns] = converted.days[-1]
    if (table == 1.0).all():
        return None, last, ()
    return _frozen(table), last, tuple(sorted(missing))
