"""Planned flows: deposits and withdrawals that recur, and the dates on which they fall due.

A plan records no money. A due date becomes an entry of the ledger once it is confirmed, and the
ledger alone states what was paid.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import LARGEST, Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind, not_positive
from rebalancer.domain.portfolio.portfolio import ExpectedFlow

if TYPE_CHECKING:
    from rebalancer.domain.arrays import Dates

MOST_FLOWS = 50
"""Most planned flows of a portfolio."""

LONGEST_HORIZON = 366
"""Most days ahead for which proposals may count planned flows."""

DEFAULT_HORIZON = 14

LONGEST_CLOSURE = 14
"""Days within which a market opens again; a later session does not move a due date."""

MATCHING_DAYS = 5
"""Days between a due date and an entry that may be its payment."""

OVERDUE_DAYS = 31
"""Days after which an undecided withdrawal no longer keeps cash."""

LONGEST_NOTE = 200

_WEEK = timedelta(days=7)
_SATURDAY = 5


class FlowKind(StrEnum):
    """Whether money is paid in or out."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"


class Every(StrEnum):
    """Interval between two due dates."""

    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


_MONTHS = {Every.MONTH: 1, Every.QUARTER: 3, Every.YEAR: 12}


@attrs.frozen
class PlannedFlow:
    """A deposit or withdrawal that recurs.

    Attributes:
        amount: In ``currency``, > 0.
        every: Interval. Quarters and years are counted from the month of ``first``.
        day: Day of the month, 1 to 31, the last day in shorter months; of a week, 1 (Monday) to 7.
        first: No due date is scheduled before this day.
        last: No due date is scheduled after this day; None: without an end.
        planned: Day on which the schedule was made; earlier dates never fall due.
        currency: ISO 4217 code; None: the portfolio's base currency.

    Raises:
        InvalidRequest: an attribute is out of range; its field is named.
    """

    id: UUID
    kind: FlowKind
    amount: Decimal
    every: Every
    day: int
    first: date
    planned: date
    last: date | None = None
    currency: str | None = None
    note: str = ""

    def __attrs_post_init__(self) -> None:
        if not (self.amount.is_finite() and 0 < self.amount < LARGEST):
            raise not_positive(self.amount, "amount")
        most = 7 if self.every is Every.WEEK else 31
        if not 1 <= self.day <= most:
            kind = "weekday, 1 (Monday) to 7" if most == 7 else "day of the month, 1 to 31"
            raise InvalidRequest(
                f"{self.day} is not a {kind}; enter one", field="day", code="invalid_day"
            )
        if self.last is not None and self.last < self.first:
            raise InvalidRequest(
                f"{self.last} is before the first day, {self.first}; choose a later day",
                field="last",
                code="last_before_first",
            )
        if self.currency is not None:
            Currency(self.currency)
        if len(self.note) > LONGEST_NOTE:
            raise InvalidRequest(
                f"{len(self.note)} characters; a note has at most {LONGEST_NOTE}",
                field="note",
                code="note_too_long",
            )

    @property
    def schedule(self) -> tuple[object, ...]:
        """What determines the dates of the flow."""
        return self.every, self.day, self.first, self.last

    def scheduled(self, after: date, until: date) -> Iterator[date]:
        """Yield the dates of the rule with ``after`` < date <= ``until``, in order.

        Sessions of markets do not count here, and neither does the day of planning.
        """
        until = until if self.last is None else min(until, self.last)
        start = max(self.first, after + timedelta(days=1))
        if self.every is Every.WEEK:
            on = start + timedelta(days=(self.day - start.isoweekday()) % 7)
            while on <= until:
                yield on
                if on > date.max - _WEEK:
                    return
                on += _WEEK
            return
        step = _MONTHS[self.every]
        origin = 12 * self.first.year + self.first.month - 1
        month = 12 * start.year + start.month - 1
        month = origin + step * -(-(month - origin) // step)
        while (on_month := month) <= 12 * until.year + until.month - 1:
            year, number = on_month // 12, on_month % 12 + 1
            on = date(year, number, min(self.day, monthrange(year, number)[1]))
            if start <= on <= until:
                yield on
            month += step

    def entry_id(self, scheduled: date) -> UUID:
        """Return the id of the ledger entry that books a date, so that it is booked once."""
        return uuid5(self.id, scheduled.isoformat())

    def currency_in(self, base: Currency) -> Currency:
        """Return its currency in a portfolio with a base currency."""
        return base if self.currency is None else Currency(self.currency)


@attrs.frozen
class DueFlow:
    """One date of a planned flow.

    Attributes:
        scheduled: The date of the rule, which names it.
        due: The market's session at or after it.
    """

    flow: PlannedFlow
    scheduled: date
    due: date


def next_session(day: date, sessions: Dates | None) -> date:
    """Return the session at or after a day; weekdays count where no session is known.

    Args:
        day: Any day.
        sessions: Days of the market's sessions, increasing; None: unknown.
    """
    if sessions is not None and len(sessions):
        import numpy as np  # here, so that the help of the command line starts without it

        at = int(np.searchsorted(sessions, np.datetime64(day, "D")))
        if at < len(sessions):
            found: date = sessions[at].astype("datetime64[D]").item()
            if found <= day + timedelta(days=LONGEST_CLOSURE):
                return found
    return day + timedelta(days=max(7 - day.weekday(), 0) if day.weekday() >= _SATURDAY else 0)


def due_between(
    flow: PlannedFlow, after: date, until: date, sessions: Dates | None = None
) -> tuple[DueFlow, ...]:
    """Return the dates of a flow that fall due with ``after`` < due <= ``until``, in order.

    The result depends on nothing else: adjacent intervals lose no date, and repeat none. Dates
    before the day of planning are left out.

    Args:
        flow: The rule.
        after: Day before the interval.
        until: Its last day.
        sessions: See `next_session`.
    """
    earliest = max(after - timedelta(days=LONGEST_CLOSURE + 1), flow.planned - timedelta(days=1))
    found = (
        DueFlow(flow, scheduled, next_session(scheduled, sessions))
        for scheduled in flow.scheduled(earliest, until)
    )
    return tuple(one for one in found if after < one.due <= until)


class FlowOutcome(StrEnum):
    """What became of a due date.

    BOOKED: confirmed, and recorded by an entry of its own. MATCHED: an entry that was recorded
    otherwise, such as by an imported statement, is its payment. SKIPPED: not paid.
    """

    BOOKED = "booked"
    MATCHED = "matched"
    SKIPPED = "skipped"


@attrs.frozen
class FlowDecision:
    """What the owner decided about one date of a planned flow.

    Attributes:
        scheduled: The date of the rule.
        entry: Entry of the ledger that is its payment; None if it was skipped.
    """

    portfolio: UUID
    flow: UUID
    scheduled: date
    outcome: FlowOutcome
    decided: datetime
    entry: UUID | None = None


@attrs.frozen
class FlowPlan:
    """The planned flows of a portfolio.

    Attributes:
        flows: In the order in which they were added.
        horizon: Days ahead for which proposals count planned flows; 0: they count none.
        automatic: Whether due flows are booked without confirmation, as paper portfolios allow.

    Raises:
        InvalidRequest: the horizon is out of range, there are too many flows, or an id is repeated.
    """

    flows: tuple[PlannedFlow, ...] = ()
    horizon: int = DEFAULT_HORIZON
    automatic: bool = False

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.horizon <= LONGEST_HORIZON:
            raise InvalidRequest(
                f"{self.horizon} days is not between 0 and {LONGEST_HORIZON}; choose a number in "
                "between",
                field="horizon",
                code="invalid_horizon",
            )
        if len(self.flows) > MOST_FLOWS:
            raise InvalidRequest(
                f"{len(self.flows)} planned flows exceed the maximum of {MOST_FLOWS}; remove some",
                field="flows",
                code="too_many_flows",
            )
        if len({flow.id for flow in self.flows}) < len(self.flows):
            raise InvalidRequest(
                "a planned flow is repeated; omit it", field="flows", code="duplicate_flow"
            )

    def __bool__(self) -> bool:
        return bool(self.flows)

    def find(self, id: UUID) -> PlannedFlow | None:
        """Return the flow of this id; None if there is no such flow."""
        return next((flow for flow in self.flows if flow.id == id), None)

    def put(self, flow: PlannedFlow) -> FlowPlan:
        """Return the plan with a flow, in place of one with the same id."""
        if self.find(flow.id) is None:
            return attrs.evolve(self, flows=(*self.flows, flow))
        flows = tuple(flow if one.id == flow.id else one for one in self.flows)
        return attrs.evolve(self, flows=flows)

    def without(self, id: UUID) -> FlowPlan:
        """Return the plan without a flow."""
        return attrs.evolve(self, flows=tuple(one for one in self.flows if one.id != id))

    def open_between(
        self,
        after: date,
        until: date,
        decided: Iterable[FlowDecision],
        sessions: Dates | None = None,
    ) -> list[DueFlow]:
        """Return the undecided dates that fall due with ``after`` < due <= ``until``, by day."""
        known = {(one.flow, one.scheduled) for one in decided}
        found = [
            due
            for flow in self.flows
            for due in due_between(flow, after, until, sessions)
            if (flow.id, due.scheduled) not in known
        ]
        return sorted(found, key=lambda one: (one.due, one.scheduled))

    def open_until(
        self, until: date, decided: Iterable[FlowDecision], sessions: Dates | None = None
    ) -> list[DueFlow]:
        """Return all undecided dates that fall due up to a day."""
        if not self.flows:
            return []
        first = min(flow.planned for flow in self.flows)
        return self.open_between(first - timedelta(days=1), until, decided, sessions)

    def expected(
        self, today: date, decided: Iterable[FlowDecision], sessions: Dates | None = None
    ) -> list[DueFlow]:
        """Return the undecided dates that a proposal counts: overdue ones, and the horizon."""
        if not self.flows or not self.horizon:
            return []
        after = today - timedelta(days=OVERDUE_DAYS)
        return self.open_between(after, today + timedelta(days=self.horizon), decided, sessions)


NO_PLAN = FlowPlan()


def expected_flow(due: DueFlow, base: Currency, rate: Decimal) -> ExpectedFlow:
    """Return a due flow as proposals count it.

    Args:
        due: The date.
        base: Base currency of the portfolio.
        rate: Units of the base currency per unit of the flow's.
    """
    currency = due.flow.currency_in(base)
    amount = due.flow.amount if due.flow.kind is FlowKind.DEPOSIT else -due.flow.amount
    value = amount if currency == base else base.round(amount * rate)
    return ExpectedFlow(due.due, amount, currency.code, value)


def find_matches(
    due: DueFlow, entries: Iterable[Entry], base: Currency, used: Collection[UUID] = ()
) -> list[Entry]:
    """Return the entries that may be the payment of a due date, the nearest first.

    Their kind, currency and amount are those of the flow, and their day is near.

    Args:
        due: The date.
        entries: Effective entries of the ledger.
        base: Base currency of the portfolio.
        used: Entries that are payments of other dates.
    """
    flow, near = due.flow, timedelta(days=MATCHING_DAYS)
    currency = flow.currency_in(base)
    own = None if currency == base else currency.code
    kind = EntryKind.DEPOSIT if flow.kind is FlowKind.DEPOSIT else EntryKind.WITHDRAWAL
    found = [
        entry
        for entry in entries
        if entry.kind is kind
        and entry.symbol is None
        and entry.amount == flow.amount
        and entry.currency in (own, currency.code)
        and abs(entry.on - due.due) <= near
        and entry.id not in used
    ]
    return sorted(found, key=lambda one: (abs(one.on - due.due), one.on, one.id))
