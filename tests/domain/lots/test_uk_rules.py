"""The pool of the United Kingdom agrees with a plain reading of its rules."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import attrs
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rebalancer.domain.portfolio.ledger import Ledger, Overdrawn
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.replay import trace_lots
from tests.domain.test_ledger import buy, deposit, laws, sell

Trades = list[tuple[int, int, int]]
"""Day, units bought (+) or sold (-), and money."""

trades = st.tuples(st.integers(0, 50), st.integers(-9, 12).filter(bool), st.integers(1, 99))


def gains_by_day(made: Trades) -> tuple[dict[int, Fraction], Fraction]:
    """Return the gain of each day with sales, and the cost of the pool that is left.

    As in HMRC's manual: first all days by the same-day rule, then sales in their order by the
    30-day rule, then the pool from the first day to the last.
    """
    days = sorted({day for day, _, _ in made})
    bought = {day: sum(units for at, units, _ in made if at == day and units > 0) for day in days}
    sold = {day: -sum(units for at, units, _ in made if at == day and units < 0) for day in days}
    paid = {day: sum(money for at, units, money in made if at == day and units > 0) for day in days}
    got = {day: sum(money for at, units, money in made if at == day and units < 0) for day in days}
    each = {day: Fraction(paid[day], bought[day]) for day in days if bought[day]}
    free, waits = dict(bought), dict(sold)
    costs = dict.fromkeys(days, Fraction(0))
    for day in days:
        same = min(free[day], waits[day])
        if same:
            free[day], waits[day] = free[day] - same, waits[day] - same
            costs[day] += same * each[day]
    for day in days:
        for later in days:
            if day < later <= day + 30 and (units := min(free[later], waits[day])):
                free[later], waits[day] = free[later] - units, waits[day] - units
                costs[day] += units * each[later]
    units, cost = 0, Fraction(0)
    for day in days:
        if free[day]:
            units, cost = units + free[day], cost + free[day] * each[day]
        if waits[day]:
            part = cost * waits[day] / units
            units, cost = units - waits[day], cost - part
            costs[day] += part
    return {day: got[day] - costs[day] for day in days if sold[day]}, cost


@settings(laws, max_examples=80)
@given(st.lists(trades, min_size=2, max_size=10))
def test_gains_are_those_of_the_plain_rules(made: Trades) -> None:
    booked = [deposit(10**6, -1)]
    for day, units, money in made:
        one = (buy if units > 0 else sell)(abs(units), "A", 1, day=day)
        booked.append(attrs.evolve(one, amount=Decimal(money)))
    ledger = Ledger(tuple(booked))
    try:
        _ = ledger.positions
    except Overdrawn:
        assume(False)
    history = trace_lots(ledger, LotMethod.UK_POOL, base="GBP", rates=lambda currency, on: None)
    expected, left = gains_by_day(made)
    found: dict[int, Decimal] = {}
    for one in history.disposals:
        day = (one.on - booked[0].on).days - 1
        assert one.gain is not None
        found[day] = found.get(day, Decimal(0)) + one.gain
    assert found.keys() == expected.keys()
    for day, gain in expected.items():
        assert abs(Fraction(found[day]) - gain) < Fraction(1, 10**9)
    cost = sum((lot.cost or Decimal(0) for lot in history.lots), Decimal(0))
    assert abs(Fraction(cost) - left) < Fraction(1, 10**9)
