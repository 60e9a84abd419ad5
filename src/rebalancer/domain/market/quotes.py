"""Quotes: prices of single shares as traded, each in its own currency, and total returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

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
        adjusted: Symbols whose source has closes that are adjusted for splits and distributions.
            Their prices as traded follow from the actions that are known.
        assumed: Symbols whose currency is not stated, so that a default stands for it.
        markets: Code of each asset's market, N of them, None where it is not stated.
        sessions: Sessions of these markets, as far as they are known.
    """

    prices: Floats | None
    currencies: tuple[str, ...]
    actions: Actions = NO_ACTIONS
    exchange: ExchangeRates = NO_RATES
    currency: str | None = None
    rates: Floats | None = None
    adjusted: frozenset[str] = frozenset()
    assumed: frozenset[str] = frozenset()
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
            markets=tuple(self.markets[column] for column in wanted),
        )

    def rate_days(self, day: np.datetime64) -> dict[str, date | None]:
        """Return the day of the exchange rate that counts on a day, by foreign currency.

        None for a currency without a rate up to then. Empty unless prices were converted.
        """
        found: dict[str, date | None] = {}
        if self.currency is None:
            return found
        days = np.array([day], dtype="datetime64[D]")
        for currency in sorted(set(self.currencies) - {self.currency}):
            converted = self.exchange.convert(currency, self.currency, days)
            found[currency] = None if converted is None else converted.days[0].item()
        return found


def _frozen(table: Floats) -> Floats:
    table.setflags(write=False)
    return table


def rate_table(
    exchange: ExchangeRates, currencies: Sequence[str], target: str, days: Dates
) -> tuple[Floats | None, tuple[str, ...]]:
    """Return rates of currencies into one on days.

    Args:
        exchange: Known rates.
        currencies: N source currencies.
        target: Currency to convert into.
        days: (T,) increasing.

    Returns:
        (T, N) units of the target per unit of each source, read-only, NaN where unknown, or None if
        all are the target; and the source currencies that no rate connects, sorted.
    """
    shape = (len(days), len(currencies))
    foreign = sorted(set(currencies) - {target})
    if not foreign:
        return None, ()
    alike = len(set(currencies)) == 1  # one column serves all assets then, without a copy
    table = np.ones((shape[0], 1) if alike else shape)
    missing = []
    for currency in foreign:
        columns = [at for at, one in enumerate(currencies) if one == currency]
        converted = exchange.convert(currency, target, days)
        if converted is None:
            missing.append(currency)
        rates = np.nan if converted is None else converted.rates[:, None]
        table[:, [0] if alike else columns] = rates
    return np.broadcast_to(_frozen(table), shape), tuple(missing)
