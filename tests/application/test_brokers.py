"""A broker whose fills arrive later: accepted first, then submitted, then executed once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import attrs
import pytest

from rebalancer.adapters.broker.paper import PaperBroker
from rebalancer.adapters.jobs.deferred import DeferredJobs
from rebalancer.application.decisions import AcceptProposal, CollectFills, Mode
from rebalancer.application.job_worker import JobSettings, RecoverJobs
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.rebalancing.lifecycle import Fill, ProposalClosed, ProposalRecord, Stage
from rebalancer.entrypoints.maintenance import Maintenance
from tests.application.test_proposals_together import NOW, OWNER, PRICES, House, an_ask

LATER = NOW + timedelta(hours=1)


@attrs.define
class SlowBroker:
    """A broker that fills orders when the test lets it."""

    fills_at_once: bool = attrs.field(default=False, init=False)
    is_simulated: bool = attrs.field(default=False, init=False)
    filled: bool = False
    reachable: bool = True
    submitted: list[UUID] = attrs.field(factory=list)
    polls: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))

    def submit(self, record: ProposalRecord) -> None:
        if not self.reachable:
            raise Unavailable("the broker did not answer")
        self.submitted.append(record.id)

    def fills(self, record: ProposalRecord) -> list[Fill] | None:
        return PaperBroker().fills(record) if self.filled else None

    def pending(self) -> list[UUID]:
        self.polls.release()
        return list(self.submitted)


def proposed(house: House, number: int = 2) -> ProposalRecord:
    made = house.propose(an_ask(house.open(number), number, policy_name="monthly"))
    assert made.current.record.proposal.orders
    return made.current.record


def stage_of(house: House, record: ProposalRecord) -> Stage:
    with house.work.read() as tx:
        return tx.proposals.get(record.id).stage


def test_fills_are_recorded_once_when_all_have_arrived() -> None:
    house, broker = House(), SlowBroker()
    record = proposed(house)
    accepted, _ = AcceptProposal(house.work, PRICES, broker, house.book)(
        record.id, owner=OWNER, now=NOW
    )
    assert (accepted.stage, broker.submitted) == (Stage.ACCEPTED, [record.id])
    collect = CollectFills(house.work, broker)
    assert not collect(record.id, now=LATER)
    assert stage_of(house, record) is Stage.ACCEPTED
    broker.filled = True
    assert collect(record.id, now=LATER) and collect(record.id, now=LATER)
    assert stage_of(house, record) is Stage.EXECUTED
    with house.work.read() as tx:
        ledger = tx.portfolios.ledger(record.portfolio_id)
    trades = [entry for entry in ledger.entries if entry.proposal == record.id and entry.symbol]
    assert [entry.symbol for entry in trades] == [one.symbol for one in record.proposal.orders]


def test_orders_that_were_not_submitted_are_submitted_with_the_next_collection() -> None:
    house, broker = House(), SlowBroker(reachable=False, filled=True)
    record = proposed(house)
    with pytest.raises(Unavailable):
        AcceptProposal(house.work, PRICES, broker, house.book)(record.id, owner=OWNER, now=NOW)
    assert stage_of(house, record) is Stage.ACCEPTED
    broker.reachable = True
    assert CollectFills(house.work, broker)(record.id, now=LATER)
    assert broker.submitted == [record.id]


def test_fills_of_an_undecided_proposal_are_not_collected() -> None:
    house, broker = House(), SlowBroker(filled=True)
    record = proposed(house)
    with pytest.raises(ProposalClosed) as error:
        CollectFills(house.work, broker)(record.id, now=datetime(2023, 1, 2, 10, tzinfo=UTC))
    assert error.value.code == "proposal_not_accepted"
    assert broker.submitted == []


def test_maintenance_books_the_fills_of_submitted_proposals() -> None:
    house, broker = House(), SlowBroker(filled=True)
    record, worksheet = proposed(house), proposed(house, 4)
    accept = AcceptProposal(house.work, PRICES, broker, house.book)
    accept(record.id, owner=OWNER, now=NOW)
    accept(worksheet.id, owner=OWNER, mode=Mode.WORKSHEET, now=NOW)
    maintenance = Maintenance(
        RecoverJobs(house.work, DeferredJobs(), lambda: LATER, JobSettings()),
        CollectFills(house.work, broker),
        DeleteExpired(house.work),
        lambda: LATER,
        interval=0.01,
    )
    try:
        for _ in range(2):  # the second poll follows the first collection
            assert broker.polls.acquire(timeout=120)
    finally:
        maintenance.stop()
    assert stage_of(house, record) is Stage.EXECUTED
    assert stage_of(house, worksheet) is Stage.ACCEPTED


def test_a_proposal_that_cannot_be_booked_does_not_block_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house, broker = House(), SlowBroker(filled=True)
    closed, record = proposed(house), proposed(house, 4)
    for one in (closed, record):
        AcceptProposal(house.work, PRICES, broker, house.book)(one.id, owner=OWNER, now=NOW)
    with house.work.begin() as tx:
        tx.portfolios.close(closed.portfolio_id, owner=OWNER, version=1, now=NOW)
    CollectFills(house.work, broker).pending(now=LATER)
    assert stage_of(house, record) is Stage.EXECUTED
    assert f"proposal {closed.id} cannot be booked" in caplog.text
