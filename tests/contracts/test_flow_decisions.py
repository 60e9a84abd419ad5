"""Planned flows and what was decided about them, in every store."""

from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import attrs
import pytest

from rebalancer.domain.portfolio.planned_flows import (
    Every,
    FlowDecision,
    FlowKind,
    FlowOutcome,
    FlowPlan,
    PlannedFlow,
)
from tests.contracts.stores import HOUR, NOW, a_deposit, stored_portfolio, stored_user

FIRST = date(2026, 1, 31)
FLOW = PlannedFlow(
    UUID(int=3),
    FlowKind.WITHDRAWAL,
    Decimal("12.50"),
    Every.QUARTER,
    31,
    FIRST,
    planned=FIRST,
    last=FIRST + timedelta(days=700),
    currency="EUR",
    note="Übung",
)


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


def test_plans_are_read_as_written(work):
    portfolio = stored_portfolio(work, stored_user(work))
    plan = FlowPlan((FLOW,), horizon=30)
    with work.begin() as tx:
        tx.portfolios.save(portfolio.replan(plan, NOW))
    with work.read() as tx:
        assert tx.portfolios.get(portfolio.id).plan == plan
        assert tx.portfolios.with_automatic_flows(limit=9) == []


def test_automatic_plans_of_open_portfolios_are_found(work):
    owner = stored_user(work)
    found = sorted((stored_portfolio(work, owner) for _ in range(3)), key=lambda one: one.id)
    automatic = FlowPlan((FLOW,), automatic=True)
    with work.begin() as tx:
        tx.portfolios.save(found[0].replan(automatic, NOW))
        tx.portfolios.save(found[1].replan(automatic, NOW))
        tx.portfolios.save(found[2].replan(FlowPlan(automatic=True), NOW))  # without flows
    with work.read() as tx:
        ids = [one.id for one in tx.portfolios.with_automatic_flows(limit=9)]
        assert ids == [found[0].id, found[1].id]
        (later,) = tx.portfolios.with_automatic_flows(after=found[0].id, limit=9)
        assert later.id == found[1].id
        assert len(tx.portfolios.with_automatic_flows(limit=1)) == 1
    with work.begin() as tx:
        tx.portfolios.close(found[0].id, owner=found[0].owner, version=2, now=NOW)
    with work.read() as tx:
        assert [one.id for one in tx.portfolios.with_automatic_flows(limit=9)] == [found[1].id]


def test_decisions_are_replaced_by_date(work):
    entry = a_deposit()
    portfolio = stored_portfolio(work, stored_user(work), entry)
    skipped = FlowDecision(portfolio.id, FLOW.id, FIRST, FlowOutcome.SKIPPED, NOW)
    later = attrs.evolve(skipped, scheduled=FIRST + timedelta(days=1))
    booked = attrs.evolve(skipped, outcome=FlowOutcome.BOOKED, entry=entry.id, decided=NOW + HOUR)
    for one in (later, skipped, booked):
        with work.begin() as tx:
            tx.flow_decisions.put(one)
    other = uuid4()
    with work.read() as tx:
        assert tx.flow_decisions.of_portfolios([portfolio.id, other]) == {
            portfolio.id: [booked, later],
            other: [],
        }
        assert tx.flow_decisions.of_portfolios([]) == {}
