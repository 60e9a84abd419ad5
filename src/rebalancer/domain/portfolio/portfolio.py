"""A portfolio: what is held, what should be held, and its owner's preferences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

import attrs
from attrs.validators import optional

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.sellable import SellableLot, check_lots
from rebalancer.domain.portfolio.risk import RiskProfile
from rebalancer.domain.portfolio.target_groups import (
    LookThrough,
    TargetTree,
    check_look_through,
)

TARGET_TOLERANCE = 1e-6
"""Tolerance for rounding in the sum of the targets."""

_ZERO = Decimal(0)
_ONE = Decimal(1)
_MOST = 1 + TARGET_TOLERANCE


def _fraction(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise InvalidRequest(
            f"{value} is not between 0 and 1; enter a fraction",
            field=f"preferences.{attribute.name}",
            code="not_a_fraction",
        )


def _amount(_: object, attribute: attrs.Attribute[Decimal], value: Decimal) -> None:
    if not (value.is_finite() and value >= 0):
        raise InvalidRequest(
            f"{value} is not zero or more; enter a finite amount",
            field=f"preferences.{attribute.name}",
            code="amount_negative",
        )


@attrs.frozen
class Preferences:
    """Constraints that a portfolio's owner sets.

    Attributes:
        whole_shares: Trade whole shares (or whole lots, where ``quantity_step`` is a larger whole
            number); otherwise multiples of ``quantity_step``.
        quantity_step: Smallest tradable quantity when fractions are allowed, > 0.
        min_trade: Minimum value of an order, in the portfolio's currency.
        do_not_sell: Symbols that are never sold.
        do_not_buy: Symbols that are never bought.
        max_turnover: Maximum one-way turnover of a proposal, as a fraction of value; sales for a
            withdrawal do not count. None: no cap.
        cash_reserve: Cash to hold after costs.
        max_weight: Maximum weight of one asset. None: no cap.
        band: Half-width for band policies. None: the policy's own.
        max_departure: Maximum one-way distance, with cash as an asset, of a policy's targets from
            the given ones; 1: no limit.
        skip_unprofitable: Drop orders whose cost exceeds the drift risk that they remove in a year.
        sell_remainders: Whether a sale that closes a position includes an odd lot and the last
            fraction of a step; false for brokers that reject such orders.
        lot_method: Method by which gains are computed, unless a request names another one.
        max_realised_gain: Most that the sales of a proposal may gain, net of their losses, in the
            portfolio's currency. None: no limit.
        max_realised_gain_year: Most that the sales of a tax year may gain, net of losses, with what
            is realised already. None: no limit.
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
    sell_remainders: bool = True
    lot_method: LotMethod = LotMethod.FIFO
    max_realised_gain: Decimal | None = attrs.field(default=None, validator=optional(_amount))
    max_realised_gain_year: Decimal | None = attrs.field(default=None, validator=optional(_amount))

    @quantity_step.validator
    def _check_step(self, _: object, value: Decimal) -> None:
        if not (value.is_finite() and value > 0):
            raise InvalidRequest(
                f"{value} is not more than zero; enter the smallest tradable quantity",
                field="preferences.quantity_step",
                code="amount_not_positive",
            )

    @property
    def step(self) -> Decimal:
        """The quantity that orders are multiples of."""
        if not self.whole_shares:
            return self.quantity_step
        lots = self.quantity_step > 1 and self.quantity_step == self.quantity_step.to_integral()
        return self.quantity_step if lots else _ONE

    @property
    def limits_gains(self) -> bool:
        """Whether realised gains are limited."""
        return self.max_realised_gain is not None or self.max_realised_gain_year is not None

    @property
    def asks_for_lots(self) -> bool:
        """Whether proposals take account of lots: gains are limited, or a method is chosen."""
        return self.limits_gains or self.lot_method is not LotMethod.FIFO


NO_PREFERENCES = Preferences()


class Conversions(StrEnum):
    """Who converts money between currencies.

    AUTOMATIC: the broker, with each order; proceeds of sales return to the base currency. LISTED:
    the owner, by the conversions that a proposal lists; proceeds stay in their currency.
    """

    AUTOMATIC = "automatic"
    LISTED = "listed"


@attrs.frozen
class ExpectedFlow:
    """Deposit (+) or withdrawal (-) that is planned, and not recorded yet.

    Attributes:
        on: Day on which it falls due.
        amount: In ``currency``, an ISO 4217 code.
        value: In the portfolio's base currency.
    """

    on: date
    amount: Decimal
    currency: str
    value: Decimal


@attrs.frozen
class Portfolio:
    """Holdings, strategic targets and preferences of one portfolio.

    Attributes:
        id: Unique within a book.
        currency: Base currency: that of cash, targets, limits and every amount that names none.
        cash: Money in the base currency; a negative amount is a debit, which is covered first.
        holdings: Quantity by symbol, each >= 0.
        targets: Fraction of portfolio value by symbol, each in [0, 1], with a sum of at most 1;
            the rest is cash.
        risk_profile: Limits on holdings; None: no limits.
        cash_flow: Deposit (positive) or withdrawal (negative) to deal with now.
        last_rebalance: Day of the last executed rebalance; None if unknown.
        preferences: See `Preferences`.
        uninvested: Part of ``cash_flow`` that was paid in earlier and waits to be invested; matters
            for notes alone.
        foreign_cash: Money by the ISO 4217 codes of other currencies, each >= 0.
        conversions: See `Conversions`.
        target_groups: Targets by groups, from which ``targets`` follow: by their stated
            weights, or as `RebalanceContext.resolve_targets` computes them. None: none.
        look_through: Asset classes of funds of several classes.
        expected: Planned flows. Cash for the withdrawals among them is kept on top of the reserve;
            the deposits are not spent before they are recorded.
        lots: Lots of all holdings by symbol, in the order in which sales use them; None: unknown.
            With lots, sales prefer assets with losses or small gains.
        gain_this_year: Net gain that earlier sales of the tax year have realised.
        symbols: Every symbol held or targeted, in alphabetical order.

    Raises:
        InvalidRequest: an amount is not finite, a holding is negative, a target is outside of
            [0, 1], targets sum to more than 1 + 1e-6, the id is empty, foreign cash is negative or
            in the base currency, or lots are not those of the holdings.
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
    uninvested: Decimal = _ZERO
    foreign_cash: Mapping[str, Decimal] = attrs.field(factory=dict)
    conversions: Conversions = Conversions.AUTOMATIC
    target_groups: TargetTree | None = None
    look_through: LookThrough = attrs.field(factory=dict)
    expected: tuple[ExpectedFlow, ...] = ()
    lots: Mapping[str, tuple[SellableLot, ...]] | None = None
    gain_this_year: Decimal = _ZERO
    symbols: tuple[str, ...] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.target_groups is not None and not self.targets:
            object.__setattr__(self, "targets", self.target_groups.stated_weights)
        object.__setattr__(self, "symbols", tuple(sorted({**self.holdings, **self.targets})))
        if not self.id:
            raise InvalidRequest("the id is empty; enter one", field="id", code="empty_id")
        for name, amount in (
            ("cash", self.cash),
            ("cash_flow", self.cash_flow),
            ("gain_this_year", self.gain_this_year),
        ):
            if not amount.is_finite():
                raise InvalidRequest(
                    f"{amount} is not a finite amount; enter a number",
                    field=name,
                    code="amount_not_finite",
                )
        for symbol, quantity in self.holdings.items():
            if not quantity.is_finite():
                raise InvalidRequest(
                    f"{quantity} is not a finite quantity; enter a number",
                    field=f"holdings.{symbol}",
                    code="amount_not_finite",
                )
            if quantity < _ZERO:
                raise InvalidRequest(
                    f"{quantity} is negative, and short positions are not supported; enter zero or "
                    "more",
                    field=f"holdings.{symbol}",
                    code="holding_negative",
                )
        if self.foreign_cash:
            self._check_foreign_cash()
        if self.look_through:
            check_look_through(self.look_through)
        if self.lots is not None:
            check_lots(self.lots, self.holdings)
        check_targets(self.targets)

    @property
    def kept_cash(self) -> Decimal:
        """Cash that is kept for planned withdrawals."""
        return -sum((one.value for one in self.expected if one.value < 0), _ZERO)

    @property
    def required_cash(self) -> Decimal:
        """Cash to hold after costs: the reserve, and what planned withdrawals need."""
        reserve = self.preferences.cash_reserve
        return reserve + self.kept_cash if self.expected else reserve

    @property
    def gain_allowance(self) -> Decimal | None:
        """Most that the sales of a proposal may gain now, >= 0; None: no limit."""
        each, year = self.preferences.max_realised_gain, self.preferences.max_realised_gain_year
        if year is None:
            return each
        left = max(year - self.gain_this_year, _ZERO)
        return left if each is None else min(each, left)

    def without_gain_limits(self) -> Portfolio:
        """Return the portfolio without limits on realised gains, for uses that have no lots."""
        if not self.preferences.limits_gains:
            return self
        free = attrs.evolve(self.preferences, max_realised_gain=None, max_realised_gain_year=None)
        return attrs.evolve(self, preferences=free)

    def _check_foreign_cash(self) -> None:
        for code, amount in self.foreign_cash.items():
            if Currency(code) == self.currency:
                raise InvalidRequest(
                    f"{code} is the base currency; enter its amount as cash",
                    field=f"cash.{code}",
                    code="base_currency",
                )
            if not amount.is_finite():
                raise InvalidRequest(
                    f"{amount} is not a finite amount; enter a number",
                    field=f"cash.{code}",
                    code="amount_not_finite",
                )
            if amount < _ZERO:
                raise InvalidRequest(
                    f"{amount} is negative, and only {self.currency} may have a debit; enter zero "
                    "or more",
                    field=f"cash.{code}",
                    code="amount_negative",
                )


def check_targets(targets: Mapping[str, float]) -> None:
    """Check that targets are weights.

    Raises:
        InvalidRequest: a target is outside of [0, 1], or their sum exceeds 1 + 1e-6.
    """
    total = 0.0
    for symbol, weight in targets.items():
        if not 0 <= weight <= _MOST:  # also false for NaN
            raise InvalidRequest(
                f"{weight} is not between 0 and 1; enter a fraction",
                field=f"targets.{symbol}",
                code="not_a_fraction",
            )
        total += weight
    if total > _MOST:
        raise InvalidRequest(
            f"the targets sum to {total:.9g}; lower them to a sum of at most 1 (the rest is cash)",
            field="targets",
            code="targets_exceed_one",
        )
