"""Automatic proposals: when they are made, and within which limits paper accepts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates
from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.market.sessions import covers
from rebalancer.domain.rebalancing.model import Proposal

_ZERO = Decimal(0)
_ROUNDING = 1e-9


class Frequency(StrEnum):
    """How often a proposal is made: after each session, or the first one of a period."""

    SESSION = "session"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


@attrs.frozen
class AutoAccept:
    """Limits within which automatic proposals are accepted on paper, each for a day.

    A day is that of the portfolio's market. Amounts are in the portfolio's base currency.

    Attributes:
        max_turnover: Most turnover of all accepted proposals of the day, a fraction of value.
        max_cost: Most that their orders may cost together.
        max_order: Most that may be ordered of one asset.

    Raises:
        InvalidRequest: a limit is out of its range; the field names it.
    """

    max_turnover: float
    max_cost: Decimal
    max_order: Decimal

    def __attrs_post_init__(self) -> None:
        if not 0.0 < self.max_turnover <= 1.0:
            raise InvalidRequest(
                f"{self.max_turnover} is not a fraction above 0 and at most 1",
                field="auto_accept.max_turnover",
                code="automation_limit_invalid",
            )
        for name in ("max_cost", "max_order"):
            value: Decimal = getattr(self, name)
            if not value.is_finite() or value <= 0:
                raise InvalidRequest(
                    f"{value} is not an amount above 0",
                    field=f"auto_accept.{name}",
                    code="automation_limit_invalid",
                )

    def exceeds(self, other: AutoAccept | None) -> bool:
        """Return whether this allows anything that other limits, or None, do not."""
        return other is None or any(
            getattr(self, field.name) > getattr(other, field.name)
            for field in attrs.fields(AutoAccept)
        )


@attrs.frozen
class AutomationSettings:
    """Which proposals are made for a portfolio without a request.

    Attributes:
        frequency: How often one is made; None: never by schedule.
        on_alert: Whether one is made when an alert about the market begins.
        policy: Policy of the proposals; None: the default one.
        auto_accept: Limits within which they are accepted on paper; None: they wait for a decision.
    """

    frequency: Frequency | None = None
    on_alert: bool = False
    policy: str | None = None
    auto_accept: AutoAccept | None = None

    @property
    def proposes(self) -> bool:
        """Whether any proposal is made."""
        return self.frequency is not None or self.on_alert


NO_AUTOMATION = AutomationSettings()


def scheduled_session(frequency: Frequency, day: date, sessions: Dates | None) -> date | None:
    """Return the session of a period after which its proposal is due.

    It is the first session on or after the beginning of the period: Monday, or the first of the
    month or quarter. Where sessions are not known, every weekday counts as one.

    Args:
        frequency: Length of the period.
        day: A day of the period.
        sessions: Days of the market's sessions, increasing; None if they are not known.

    Returns:
        The session; None if it is after ``day``.
    """
    begins = _beginning(frequency, day)
    days = np.arange(np.datetime64(begins, "D"), np.datetime64(day, "D") + np.timedelta64(1, "D"))
    if sessions is None or not covers(sessions, days):
        open_days = days[np.is_busday(days)]
    else:
        open_days = days[np.isin(days, sessions)]
    if not len(open_days):
        return None
    chosen = open_days[-1] if frequency is Frequency.SESSION else open_days[0]
    found: date = chosen.item()
    return found


def _beginning(frequency: Frequency, day: date) -> date:
    if frequency is Frequency.SESSION:
        return day
    if frequency is Frequency.WEEKLY:
        return day - timedelta(day.weekday())
    if frequency is Frequency.MONTHLY:
        return day.replace(day=1)
    return day.replace(month=day.month - (day.month - 1) % 3, day=1)


class AutoAcceptRefused(Conflict):
    """An automatic proposal is not accepted without its owner."""

    default_code = "auto_accept_refused"


@attrs.frozen
class DaySpending:
    """What was accepted automatically for a portfolio on a day.

    Attributes:
        turnover: Sum of the turnovers, fractions of value.
        cost: Sum of the expected costs, in the base currency.
        orders: Value ordered by asset, bought and sold, in the base currency.
    """

    turnover: float = 0.0
    cost: Decimal = _ZERO
    orders: Mapping[str, Decimal] = attrs.field(factory=dict)

    @classmethod
    def of(cls, proposal: Proposal) -> DaySpending:
        """Return what one proposal spends."""
        orders: dict[str, Decimal] = {}
        for order in proposal.orders:
            orders[order.symbol] = orders.get(order.symbol, _ZERO) + order.value
        return cls(proposal.turnover, proposal.cost, orders)

    @classmethod
    def total(cls, parts: Iterable[DaySpending]) -> DaySpending:
        """Return the sum of several."""
        found = cls()
        for one in parts:
            orders = dict(found.orders)
            for symbol, value in one.orders.items():
                orders[symbol] = orders.get(symbol, _ZERO) + value
            found = cls(found.turnover + one.turnover, found.cost + one.cost, orders)
        return found

    def check(self, limits: AutoAccept) -> None:
        """Check that this is within the limits of a day.

        Raises:
            AutoAcceptRefused: it exceeds one; the message and the code name it.
        """
        if self.turnover > limits.max_turnover + _ROUNDING:
            raise AutoAcceptRefused(
                f"the turnover of the day would be {self.turnover:.2%}; at most "
                f"{limits.max_turnover:.2%} is accepted automatically",
                code="auto_accept_turnover",
            )
        if self.cost > limits.max_cost:
            raise AutoAcceptRefused(
                f"the cost of the day would be {self.cost:f}; at most {limits.max_cost:f} is "
                "accepted automatically",
                code="auto_accept_cost",
            )
        for symbol, value in sorted(self.orders.items()):
            if value > limits.max_order:
                raise AutoAcceptRefused(
                    f"the orders of {symbol} on the day would be {value:f}; at most "
                    f"{limits.max_order:f} is accepted automatically",
                    code="auto_accept_order",
                )
