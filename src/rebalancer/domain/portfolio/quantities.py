"""Quantities that can be ordered: multiples of a step, and what a closing sale may sell.

An instrument's lot size or quantity step takes precedence over the portfolio's preference. A sale
that closes a position sells all of it, with an odd lot or a last fraction, except for what is less
than the instrument's own quantity step. With ``sell_remainders`` false, every order is a multiple
of the step.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal, localcontext

from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.portfolio.portfolio import Portfolio

_DIGITS = 60
"""Enough for any quantity in any step, exactly."""


def order_step(portfolio: Portfolio, symbol: str, instruments: Instruments) -> Decimal:
    """Return the quantity that a portfolio's orders in an asset are multiples of."""
    return instruments[symbol].order_step or portfolio.preferences.step


def sellable_quantity(portfolio: Portfolio, symbol: str, instruments: Instruments) -> Decimal:
    """Return the part of a holding that a sale which closes the position sells."""
    held = portfolio.holdings.get(symbol, Decimal(0))
    smallest = instruments[symbol].quantity_step
    if not portfolio.preferences.sell_remainders:
        smallest = order_step(portfolio, symbol, instruments)
    if smallest is None:
        return held
    with localcontext(prec=_DIGITS):
        return (held / smallest).to_integral_value(ROUND_FLOOR) * smallest
