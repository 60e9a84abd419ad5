"""A portfolio: what is held, what should be held, and its owner's preferences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import attrs
from attrs.validators import optional

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.risk import RiskProfile

TARGET_TOLERANCE = 1e-6
"""How far targets may sum above 1 before it is an error rather than rounding."""

_ZERO = Decimal(0)
_ONE = Decimal(1)
_MOST = 1 + TARGET_TOLERANCE


def _fraction(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise InvalidRequest(
            f"must be a fraction between 0 and 1, got {value}",
            field=f"preferences.{attribute.name}",
        )


def _amount(_: object, attribute: attrs.Attribute[Decimal], value: Decimal) -> None:
    if not (value.is_finite() and value >= 0):
        raise InvalidRequest(
            f"must be zero or more, got {value}", field=f"preferences.{attribute.name}"
        )


@attrs.frozen
class Preferences:
    """What a portfolio's owner insists on.

    Attributes:
        whole_shares: Trade whole shares (or whole lots, where ``quantity_step`` is a larger whole
            number); otherwise multiples of ``quantity_step``.
        quantity_step: Smallest tradable quantity when fractions are allowed, > 0.
        min_trade: Least value of an order, in the portfolio's currency.
        do_not_sell: Symbols never sold.
        do_not_buy: Symbols never bought.
        max_turnover: Most one-way turnover of a proposal, as a fraction of value; sales that a
            withdrawal needs are exempt. None: no cap.
        cash_reserve: Cash to keep after costs.
        max_weight: Most weight of one asset. None: no cap.
        band: Half-width for band policies, and for nothing else. None: the policy's own.
        max_departure: How far a policy may take the targets from the given ones: one-way distance,
            cash counted as an asset. 0: never, 1: wherever it likes.
        skip_unprofitable: Leave out orders whose cost exceeds the drift risk that they remove in
            a year.
    """

    whole_shares: bool = True
    quantity_step: Decimal = attrs.field(default=Decimal("0.0001"))
    min_trade: Decimal = attrs.field(default=_ZERO, validator=_amount)
    do_not_sell: frozenset[str] = frozenset()
    do_not_buy: frozenset[str] = frozenset()
    max_turnover: float | None = attrs.field(default=None, validator=optional(_fraction))
    cash_reserve: Decimal = attrs.field(default=_ZERO, validator=_amount)
    max_weight: float | None = attrs.field(default=None, validator=optional(_fraction))
    band: float | None = attrs.field(default=None, validator=optional(_fraction))
    max_departure: float = attrs.field(default=0.2, validator=_fraction)
    skip_unprofitable: bool = False

    @quantity_step.validator
    def _check_step(self, _: object, value: Decimal) -> None:
        if not (value.is_finite() and value > 0):
            raise InvalidRequest(
                f"must be more than zero, got {value}", field="preferences.quantity_step"
            )

    @property
    def step(self) -> Decimal:
        """The quantity that orders are multiples of."""
        if not self.whole_shares:
            return self.quantity_step
        lots = self.quantity_step > 1 and self.quantity_step == self.quantity_step.to_integral()
        return self.quantity_step if lots else _ONE


NO_PREFERENCES = Preferences()


@attrs.frozen
class Portfolio:
    """One person's holdings and what they should become.

    Attributes:
        id: Unique within a book.
        currency: Of cash, prices and every amount here.
        cash: Money on the account; below zero it is a debit to be restored first.
        holdings: Quantity by symbol, each >= 0.
        targets: Fraction of portfolio value by symbol, each in [0, 1], summing to at most 1; what
            is missing is cash.
        risk_profile: Limits to keep; None means none.
        cash_flow: Deposit (positive) or withdrawal (negative) to be dealt with now.
        last_rebalance: When a rebalance was last executed; None when none is known.
        preferences: See `Preferences`.
        symbols: Every symbol held or targeted, in alphabetical order.

    Raises:
        InvalidRequest: an amount that is not finite, a negative holding, a target outside of
            [0, 1], targets summing above 1 + 1e-6, or an empty id.
    """

    id: str
    currency: Currency
    cash: Decimal
    holdings: Mapping[str, Decimal]
    targets: Mapping[str, float]
    risk_profile: RiskProfile | None = None
    cash_flow: Decimal = _ZERO
    last_rebalance: date | None = None
    preferences: Preferences = NO_PREFERENCES
    symbols: tuple[str, ...] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "symbols", tuple(sorted({**self.holdings, **self.targets})))
        if not self.id:
            raise InvalidRequest("must not be empty", field="id")
        for name, amount in (("cash", self.cash), ("cash_flow", self.cash_flow)):
            if not amount.is_finite():
                raise InvalidRequest(f"must be finite, got {amount}", field=name)
        for symbol, quantity in self.holdings.items():
            if not quantity.is_finite():
                raise InvalidRequest(f"must be finite, got {quantity}", field=f"holdings.{symbol}")
            if quantity < _ZERO:
                raise InvalidRequest(
                    f"must be zero or more, got {quantity}: short positions are not supported",
                    field=f"holdings.{symbol}",
                )
        check_targets(self.targets)


def check_targets(targets: Mapping[str, float]) -> None:
    """Make sure that targets are weights.

    Raises:
        InvalidRequest: one is outside of [0, 1], or they sum above 1 + 1e-6.
    """
    total = 0.0
    for symbol, weight in targets.items():
        if not 0 <= weight <= _MOST:  # also false for NaN
            raise InvalidRequest(
                f"must be a fraction between 0 and 1, got {weight}", field=f"targets.{symbol}"
            )
        total += weight
    if total > _MOST:
        raise InvalidRequest(
            f"sum to {total:.9g}, more than 1; lower them, and what is missing to 1 is cash",
            field="targets",
        )
