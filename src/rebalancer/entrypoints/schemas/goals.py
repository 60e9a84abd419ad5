"""Goals of a portfolio, in requests and responses."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from rebalancer.domain.errors import FaultCollector
from rebalancer.domain.portfolio.goals import LONGEST_GOAL_NAME, MOST_GOALS, SavingsGoal
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.entrypoints.schemas.wire import (
    Body,
    DecimalText,
    NonNegative,
    OneLine,
    View,
    about,
    format_decimal,
)

_NOMINAL = about("Whether the amount is money of that day, not of the day the goal was set.")


class SavingsGoalBody(Body, frozen=True, kw_only=True):
    """An amount to have by a day."""

    name: Annotated[
        OneLine, Meta(min_length=1, max_length=LONGEST_GOAL_NAME, examples=["Retirement"])
    ]
    amount: Annotated[NonNegative, about("In the base currency, more than 0.")]
    by: Annotated[date, about("A later day."), Meta(examples=["2046-01-31"])]
    nominal: Annotated[bool, _NOMINAL] = False

    def goal(self, today: date) -> SavingsGoal:
        """Return the goal, set today.

        Raises:
            InvalidRequest: a field is out of range.
        """
        return SavingsGoal(self.name, Decimal(self.amount), self.by, today, self.nominal)


class GoalsBody(Body, frozen=True, kw_only=True):
    """All goals of a portfolio."""

    goals: Annotated[list[SavingsGoalBody], Meta(max_length=MOST_GOALS)]

    def all(self, today: date) -> list[SavingsGoal]:
        """Return the goals, set today.

        Raises:
            InvalidRequest: fields are out of range.
        """
        found, faults = [], FaultCollector()
        for at, goal in enumerate(self.goals):
            with faults.collect(f"goals[{at}]."):
                found.append(goal.goal(today))
        faults.raise_any()
        return found


class SavingsGoalView(View, frozen=True, kw_only=True):
    """An amount to have by a day."""

    name: str
    amount: DecimalText
    by: date
    nominal: Annotated[bool, _NOMINAL]
    set_on: Annotated[date, about("Day on which the goal was set.")]


class GoalsView(View, frozen=True, kw_only=True):
    """The goals of a portfolio; its projection has the chance of each."""

    currency: str
    goals: list[SavingsGoalView]


def goals_view(portfolio: ManagedPortfolio) -> GoalsView:
    """Show the goals of a portfolio."""
    return GoalsView(
        currency=portfolio.mandate.currency.code,
        goals=[
            SavingsGoalView(
                name=goal.name,
                amount=DecimalText(format_decimal(goal.amount)),
                by=goal.by,
                nominal=goal.nominal,
                set_on=goal.set_on,
            )
            for goal in portfolio.goals
        ],
    )
