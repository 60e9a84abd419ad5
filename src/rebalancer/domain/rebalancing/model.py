"""Proposals, their orders, and the inputs that they follow from."""

from __future__ import annotations

import hashlib
import json
import struct
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Policy, identity
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.portfolio import Portfolio

ALGORITHM = "2"
"""Part of every input hash: changes whenever the same inputs may give another proposal."""


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"


class Status(StrEnum):
    """What became of a request for a proposal."""

    PROPOSED = "proposed"
    NOTHING_TO_DO = "nothing_to_do"


@attrs.frozen
class Order:
    """One trade to make.

    Attributes:
        symbol: What.
        side: Buy or sell.
        quantity: How many, > 0, a multiple of the portfolio's step.
        price: The as-of close.
        value: Quantity times price, rounded half-even to the minor unit.
        cost: All that it costs, rounded alike.
        reason: Why, in plain language.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    value: Decimal
    cost: Decimal
    reason: str


@attrs.frozen
class NotTraded:
    """A held or targeted asset that is not traded, and why not."""

    symbol: str
    reason: str


@attrs.frozen
class Proposal:
    """The answer for one portfolio.

    Attributes:
        portfolio_id: Whose.
        status: Whether there is something to trade.
        as_of: Day of the closes.
        policy: Who decided.
        orders: What to trade, by symbol.
        not_traded: Every other held or targeted asset.
        weights_before: By symbol, of portfolio value before trading; the rest is cash.
        weights_after: The same after the orders.
        cash_after: Cash + cash flow - buys + sells - costs, exactly.
        turnover: One-way, fraction of portfolio value.
        cost: Sum of the orders' costs.
        drift_before: One-way distance from the policy's targets, fraction of portfolio value.
        drift_after: The same after the orders.
        volatility_before: Expected, a year; None when there is too little history.
        volatility_after: The same after the orders.
        notes: What else a person should know.
        input_hash: SHA-256 of all that the proposal follows from.
    """

    portfolio_id: str
    status: Status
    as_of: date
    policy: str
    orders: tuple[Order, ...]
    not_traded: tuple[NotTraded, ...]
    weights_before: dict[str, float]
    weights_after: dict[str, float]
    cash_after: Decimal
    turnover: float
    cost: Decimal
    drift_before: float
    drift_after: float
    volatility_before: float | None
    volatility_after: float | None
    notes: tuple[str, ...]
    input_hash: str


@attrs.frozen
class Failure:
    """Why there is no proposal for a portfolio."""

    portfolio_id: str
    error: InvalidRequest
    input_hash: str


@attrs.frozen(slots=False)
class RebalanceContext:
    """What proposals follow from, beside the portfolio itself.

    Attributes:
        policy: Who decides.
        market: Prices up to the as-of close, and nothing later.
        instruments: Classes and volumes.
        costs: The price list.
        currency: Of the prices.
    """

    policy: Policy
    market: PriceHistory
    instruments: Instruments
    costs: CostModel
    currency: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of them."""
        listed = sorted(
            (i.symbol, i.asset_class or "", repr(i.daily_volume)) for i in self.instruments
        )
        costs = (attrs.astuple(self.costs.rates), sorted(self.costs.overrides.items()))
        parts = (
            ALGORITHM,
            identity(self.policy),
            self.market.digest,
            listed,
            repr(costs),
            self.currency,
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def input_hash(self, portfolio: Portfolio) -> str:
        """SHA-256 of these context and a portfolio; equal inputs give equal proposals."""
        wishes = portfolio.preferences
        held, targeted = sorted(portfolio.holdings), sorted(portfolio.targets)
        weights = [portfolio.targets[symbol] + 0.0 for symbol in targeted]  # -0.0 is 0.0
        parts = (
            self.digest,
            portfolio.id,
            portfolio.currency.code,
            _canonical(portfolio.cash),
            _canonical(portfolio.cash_flow),
            held,
            [_canonical(portfolio.holdings[symbol]) for symbol in held],
            targeted,
            struct.pack(f"<{len(weights)}d", *weights),  # as text they would take thrice as long
            attrs.astuple(portfolio.risk_profile) if portfolio.risk_profile else None,
            str(portfolio.last_rebalance),
            bool(wishes.whole_shares),
            _canonical(wishes.quantity_step),
            _canonical(wishes.min_trade),
            sorted(wishes.do_not_sell),
            sorted(wishes.do_not_buy),
            _number(wishes.max_turnover),
            _canonical(wishes.cash_reserve),
            _number(wishes.max_weight),
            _number(wishes.band),
            _number(wishes.max_departure),
            bool(wishes.skip_unprofitable),
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def _canonical(number: Decimal) -> str:
    """One text for equal numbers: 10, 10.0 and 1E+1 alike."""
    text = str(number)
    if text.isdigit():
        return text
    return format(number.normalize(), "f") if number else "0"


def _number(fraction: float | None) -> float | None:
    """One value for equal fractions: 1 and 1.0, 0.0 and -0.0 alike."""
    return None if fraction is None else float(fraction) + 0.0
