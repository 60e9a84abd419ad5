"""Goals of a portfolio: amounts that the owner wants to have by a day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import LARGEST
from rebalancer.domain.portfolio.entries import not_positive

LONGEST_GOAL_NAME = 100
MOST_GOALS = 20
"""Most goals of a portfolio."""


@attrs.frozen
class SavingsGoal:
    """An amount that the owner wants the portfolio to be worth by a day.

    Attributes:
        name: 1 to 100 characters.
        amount: In the base currency, > 0; in the buying power of the day on which the goal was set
            unless ``nominal``.
        by: Day by which to have it.
        set_on: Day on which the goal was set.
        nominal: Whether the amount is money of the day ``by``.

    Raises:
        InvalidRequest: an attribute is out of range; its field is named.
    """

    name: str
    amount: Decimal
    by: date
    set_on: date
    nominal: bool = False

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.name.strip()) <= LONGEST_GOAL_NAME:
            raise InvalidRequest(
                f"{len(self.name)} characters; a name has 1 to {LONGEST_GOAL_NAME} characters, not "
                "only spaces",
                field="name",
                code="invalid_name",
            )
        if not (self.amount.is_finite() and 0 < self.amount < LARGEST):
            raise not_positive(self.amount, "amount")


def check_goals(goals: Iterable[SavingsGoal]) -> tuple[SavingsGoal, ...]:
    """Return goals in their order.

    Raises:
        InvalidRequest: there are too many, or two have the same name.
    """
    found = tuple(goals)
    if len(found) > MOST_GOALS:
        raise InvalidRequest(
            f"{len(found)} goals exceed the maximum of {MOST_GOALS}; remove some",
            field="goals",
            code="too_many_goals",
        )
    names = [goal.name for goal in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequest(
                f"two goals are named {name}; rename one", field="goals", code="duplicate_goal"
            )
    return found
