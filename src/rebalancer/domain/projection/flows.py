"""Deposits and withdrawals of a projection, by the month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.planned_flows import FlowKind, FlowPlan
from rebalancer.domain.projection.returns import MONTHS_A_YEAR

LARGEST = 1e12
INTERVALS = (1, 2, 3, 6, 12)
"""Months between two payments."""


@attrs.frozen
class RecurringFlow:
    """A deposit or a withdrawal that recurs; it is paid at the start of a month.

    Attributes:
        amount: Deposit (+) or withdrawal (-), money of the first month of the projection.
        every: Months from one payment to the next.
        first: Month of the first payment; 1 is the first month of the projection.
        last: Last month in which it may be paid; None: until the projection ends.
        growth: Growth of the amount a year, from the first month of the projection on.

    Raises:
        InvalidRequest: a value is out of range.
    """

    amount: float
    every: int = 1
    first: int = 1
    last: int | None = None
    growth: float = 0.0

    def __attrs_post_init__(self) -> None:
        if not (np.isfinite(self.amount) and 0 < abs(self.amount) < LARGEST):
            raise InvalidRequest(
                f"{self.amount:g} is not an amount; enter more than 0 for a deposit and less than "
                "0 for a withdrawal",
                field="flows.amount",
                code="amount_zero",
            )
        if self.every not in INTERVALS:
            choices = ", ".join(map(str, INTERVALS))
            raise InvalidRequest(
                f"{self.every} months is no usual interval; choose one of {choices}",
                field="flows.every",
                code="unknown_interval",
            )
        if self.first < 1 or (self.last is not None and self.last < self.first):
            raise InvalidRequest(
                f"from month {self.first} to {self.last} there is no payment; months count from 1, "
                "and the last is not before the first",
                field="flows.first",
                code="months_reversed",
            )
        if not -0.5 <= self.growth <= 0.5:
            raise InvalidRequest(
                f"{self.growth:g} is not a growth rate a year; enter a fraction from -0.5 to 0.5",
                field="flows.growth",
                code="growth_out_of_range",
            )

    def payments(self, months: int) -> Floats:
        """Return (M,) what is paid at the start of each month, in money of that month."""
        month = np.arange(1, months + 1)
        due = (month >= self.first) & ((month - self.first) % self.every == 0)
        if self.last is not None:
            due &= month <= self.last
        grown = (1.0 + self.growth) ** ((month - 1) / MONTHS_A_YEAR)
        payments: Floats = np.where(due, self.amount * grown, 0.0)
        return payments


def monthly_payments(
    plan: FlowPlan, start: date, days: Dates, rates: Mapping[str, float]
) -> Floats:
    """Return (M,) what planned flows pay in each month, in the base currency.

    A date counts in the month in which it lies, as if it was paid at its start.

    Args:
        plan: Planned flows.
        start: First day of the projection; earlier dates do not count.
        days: (M + 1,) first days of the months, and the end of the last.
        rates: Base currency per unit of each currency; flows in others are left out.
    """
    total = np.zeros(len(days) - 1)
    last: date = days[-1].item()
    for flow in plan.flows:
        rate = 1.0 if flow.currency is None else rates.get(flow.currency, 0.0)
        sign = 1.0 if flow.kind is FlowKind.DEPOSIT else -1.0
        due = np.array(list(flow.scheduled(start, last)), dtype="datetime64[D]")
        months = np.clip(np.searchsorted(days, due, side="right") - 1, 0, len(total) - 1)
        np.add.at(total, months, sign * rate * float(flow.amount))
    return total


def total_payments(flows: Sequence[RecurringFlow], months: int) -> Floats:
    """Return (M,) the sum of what all flows pay at the start of each month."""
    total = np.zeros(months)
    for flow in flows:
        total += flow.payments(months)
    return total
