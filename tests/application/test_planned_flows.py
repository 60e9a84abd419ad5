"""Plan flows, confirm, skip and match due dates, and propose with them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.owner_entries import CashFlow
from rebalancer.application.planned_flows import (
    BookDueFlows,
    ConfirmFlow,
    FlowConfirmation,
    ReadPlan,
    RevisePlan,
    SkipFlow,
    put_flow,
    remove_flow,
)
from rebalancer.application.portfolios import OpenPortfolio
from rebalancer.application.stored_market import StoredMarket
from rebalancer.application.transactions import RecordCashFlow
from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.ledger import Overdrawn
from rebalancer.domain.portfolio.mandate import AcceptedVersions, Mandate, PortfolioChanged
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.portfolio.planned_flows import Every, FlowKind, FlowOutcome, PlannedFlow

NOW = datetime(2024, 1, 12, 18, tzinfo=UTC)
OWNER, ID, FLOW = UUID(int=1), UUID(int=2), UUID(int=3)
DAYS = np.arange("2023-11-01", "2024-01-13", dtype="datetime64[D]")
START = date(2023, 12, 1)


class Desk:
    """Market, portfolio and use cases in memory."""

    def __init__(self) -> None:
        self.market = StoredMarket(MemoryMarket(), check_interval=0.0)
        self.market.save_bars([Bars("A", DAYS, np.full(len(DAYS), 10.0), adjusted=False)])
        self.work = MemoryWork()
        with self.work.begin() as tx:
            tx.users.add(User(OWNER, "ada@example.org", "Ada", "x", NOW))
        OpenPortfolio(self.work, self.market, self.market)(
            Mandate("p", Currency("USD"), {"A": 1.0}),
            cash=Decimal(100),
            on=DAYS[0].item(),
            id=ID,
            owner=OWNER,
            now=NOW,
        )
        self.confirm_flow = ConfirmFlow(self.work, self.market)

    def plan(self, **others: Any) -> None:
        plain = PlannedFlow(
            FLOW, FlowKind.DEPOSIT, Decimal(50), Every.MONTH, 1, first=START, planned=START
        )
        flow = attrs.evolve(plain, **others)
        RevisePlan(self.work, self.market)(
            put_flow(flow), portfolio_id=ID, owner=OWNER, id=flow.id, now=NOW
        )

    def confirm(self, day: str = "2023-12-01", **stated: Any) -> Any:
        accepted = stated.pop("accepted", AcceptedVersions(never=frozenset()))
        return self.confirm_flow(
            FlowConfirmation(date.fromisoformat(day), **stated),
            flow_id=FLOW,
            portfolio_id=ID,
            owner=OWNER,
            accepted=accepted,
            now=NOW,
        )

    def skip(self, day: str = "2023-12-01") -> Any:
        skip = SkipFlow(self.work, self.market)
        scheduled = date.fromisoformat(day)
        return skip(scheduled, flow_id=FLOW, portfolio_id=ID, owner=OWNER, now=NOW)

    def deposit(self, amount: int, day: str) -> UUID:
        entry, _, _ = RecordCashFlow(self.work, self.market)(
            CashFlow(EntryKind.DEPOSIT, Decimal(amount), date.fromisoformat(day)),
            portfolio_id=ID,
            owner=OWNER,
            id=uuid4(),
            now=NOW,
        )
        return entry.id

    def status(self) -> Any:
        return ReadPlan(self.work, self.market)(ID, actor=OWNER, now=NOW)

    def due(self) -> list[str]:
        return [str(one.due.scheduled) for one in self.status().due]

    @property
    def portfolio(self) -> Any:
        with self.work.read() as tx:
            return tx.portfolios.get(ID)


@pytest.fixture
def desk() -> Desk:
    found = Desk()
    found.plan()
    return found


def test_confirming_books_the_flow_once(desk: Desk) -> None:
    assert desk.due() == ["2023-12-01", "2024-01-01"]
    entry, decision, valued, repeated = desk.confirm()
    assert (entry.kind, entry.amount, str(entry.on)) == ("deposit", 50, "2023-12-01")
    assert (decision.outcome, decision.entry, repeated) == (FlowOutcome.BOOKED, entry.id, False)
    assert valued.portfolio.positions.cash == 150
    version = desk.portfolio.version
    again, same, _, repeated = desk.confirm(amount=Decimal(70))
    assert (again, same, repeated) == (entry, decision, True)
    assert desk.portfolio.version == version
    assert desk.due() == ["2024-01-01"]
    assert [str(one.scheduled) for one in desk.status().coming] == [
        "2024-02-01",
        "2024-03-01",
        "2024-04-01",
    ]


def test_paid_amount_and_day_may_differ(desk: Desk) -> None:
    entry, *_ = desk.confirm(amount=Decimal("49.50"), on=date(2023, 12, 4))
    assert (entry.amount, str(entry.on)) == (Decimal("49.50"), "2023-12-04")


def test_imported_deposit_is_offered_and_not_booked_twice(desk: Desk) -> None:
    paid = desk.deposit(50, "2023-12-04")
    assert [one.id for one in desk.status().due[0].matches] == [paid]
    with pytest.raises(Conflict) as raised:
        desk.confirm()
    assert raised.value.code == "flow_matches_entry"
    assert str(paid) in raised.value.message
    before = desk.portfolio
    entry, decision, valued, _ = desk.confirm(entry=paid)
    assert (entry.id, decision.outcome) == (paid, FlowOutcome.MATCHED)
    assert valued.portfolio.positions == before.positions
    assert valued.portfolio.version == before.version + 1
    with pytest.raises(InvalidRequest) as refused:
        desk.confirm("2024-01-01", entry=paid)
    assert (refused.value.field, refused.value.code) == ("entry_id", "entry_does_not_match")


def test_second_deposit_can_be_booked_anyway(desk: Desk) -> None:
    desk.deposit(50, "2023-12-04")
    _, _, valued, _ = desk.confirm(anyway=True)
    assert valued.portfolio.positions.cash == 200


def test_skipped_date_can_be_confirmed_and_a_booked_one_not_skipped(desk: Desk) -> None:
    decision, valued, repeated = desk.skip()
    assert (decision.outcome, repeated, valued.portfolio.version) == ("skipped", False, 3)
    assert desk.skip()[2]
    assert desk.portfolio.version == 3
    assert desk.due() == ["2024-01-01"]
    desk.confirm()
    with pytest.raises(Conflict) as raised:
        desk.skip()
    assert raised.value.code == "flow_recorded"


@pytest.mark.parametrize(
    ("day", "code"),
    [
        ("2023-12-02", "not_a_due_date"),
        ("2023-11-01", "not_a_due_date"),
        ("2024-02-01", "flow_not_due"),
    ],
)
def test_only_near_dates_of_the_flow_are_confirmed(desk: Desk, day: str, code: str) -> None:
    for act in (desk.confirm, desk.skip):
        with pytest.raises(InvalidRequest) as raised:
            act(day)
        assert (raised.value.field, raised.value.code) == ("scheduled", code)


def test_withdrawal_without_cash_stays_due(desk: Desk) -> None:
    desk.plan(kind=FlowKind.WITHDRAWAL, amount=Decimal(500))
    with pytest.raises(Overdrawn):
        desk.confirm()
    assert desk.due() == ["2023-12-01", "2024-01-01"]


def test_stale_version_and_unknown_flow_are_refused(desk: Desk) -> None:
    with pytest.raises(PortfolioChanged):
        desk.confirm(accepted=AcceptedVersions(frozenset({1})))
    RevisePlan(desk.work, desk.market)(
        remove_flow(FLOW), portfolio_id=ID, owner=OWNER, id=FLOW, now=NOW
    )
    with pytest.raises(NotFound) as raised:
        desk.confirm()
    assert raised.value.code == "flow_not_found"


def test_change_of_the_amount_keeps_open_dates_and_of_the_schedule_not(desk: Desk) -> None:
    desk.plan(amount=Decimal(60), planned=NOW.date())
    assert desk.due() == ["2023-12-01", "2024-01-01"]
    desk.plan(day=2, planned=NOW.date())
    assert desk.due() == []


def test_unknown_currency_and_fine_amounts_are_refused(desk: Desk) -> None:
    with pytest.raises(InvalidRequest) as raised:
        desk.plan(amount=Decimal("1.001"))
    assert (raised.value.field, raised.value.code) == ("amount", "amount_too_fine")
    with pytest.raises(InvalidRequest) as raised:
        desk.plan(currency="EUR")
    assert raised.value.code == "no_exchange_rate"


def test_automatic_flows_are_booked_or_matched_in_order(desk: Desk) -> None:
    book = BookDueFlows(desk.work, desk.market, desk.confirm_flow)
    assert book(NOW) == 0
    desk.deposit(50, "2024-01-02")

    def automatic(portfolio: Any) -> Any:
        return attrs.evolve(portfolio.plan, automatic=True)

    RevisePlan(desk.work, desk.market)(automatic, portfolio_id=ID, owner=OWNER, id=FLOW, now=NOW)
    assert book(NOW) == 2
    assert book(NOW) == 0
    assert desk.portfolio.positions.cash == 200
    assert [one.outcome for one in desk.status().decided] == ["matched", "booked"]
