"""Automation on every store: limits of a day, the kill switch, dead workers, and races."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from decimal import Decimal
from threading import Event
from uuid import uuid4

import attrs
import pytest

from rebalancer.adapters.broker.paper import PaperBroker
from rebalancer.application.alert_evaluation import LEASE
from rebalancer.application.automatic_stop import ResumeAutomation, StopAutomation
from rebalancer.domain.alerts.automation import AutomationSettings, Frequency
from rebalancer.domain.alerts.settings import AlertSettings
from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.rebalancing.lifecycle import Stage
from tests.alerting import WIDE, Desk

TUESDAY, WEDNESDAY = date(2026, 1, 6), date(2026, 1, 7)
DAILY = AutomationSettings(Frequency.SESSION, auto_accept=WIDE)


@pytest.fixture(scope="module")
def work(make):
    return make()


@pytest.fixture
def desk(work):
    """Return a desk; its account is disabled afterwards, so that no other test evaluates it."""
    desk = Desk(work)
    yield desk
    with work.begin() as tx:
        tx.automation.clear_stop(None)
        tx.users.save(attrs.evolve(tx.users.get(desk.owner), disabled=desk.now))


def ready(desk, **limits):
    """Open a portfolio for which an automatic proposal is due; 750 of A are to be sold."""
    automation = attrs.evolve(DAILY, auto_accept=attrs.evolve(WIDE, **limits))
    id = desk.open(automation=automation)
    desk.look()
    desk.move(TUESDAY, 130.0)
    return id


def stages(desk, id):
    return [one.stage for one in desk.proposals(id)]


def kinds(desk):
    return sorted(one.kind for one in desk.notices())


def test_proposal_within_the_limits_is_accepted_on_paper(desk):
    id = ready(desk)
    assert desk.look().proposals == 1

    (made,) = desk.proposals(id)
    assert made.stage is Stage.EXECUTED
    assert desk.record(id).progress.outcome == "accepted"
    assert kinds(desk) == [NoticeKind.AUTO_ACCEPTED, NoticeKind.PROPOSAL_MADE]
    actions = [action for action, *_ in desk.events()]
    assert actions[-2:] == ["automatic_proposal", "proposal_accepted"]
    with desk.work.read() as tx:
        (spent,) = tx.automation.spent(id, TUESDAY)
    assert spent.turnover == made.proposal.turnover
    assert set(spent.orders) == {"A", "B"}


@pytest.mark.parametrize(
    ("limits", "code", "states"),
    [
        ({"max_turnover": 0.01}, "auto_accept_turnover", "at most 1.00%"),
        ({"max_cost": Decimal("0.10")}, "auto_accept_cost", "at most 0.10"),
        ({"max_order": Decimal(100)}, "auto_accept_order", "at most 100"),
    ],
)
def test_proposal_beyond_a_limit_waits_with_a_notice_that_names_it(desk, limits, code, states):
    id = ready(desk, **limits)
    desk.look()

    assert stages(desk, id) == [Stage.PROPOSED]
    assert kinds(desk) == [NoticeKind.AUTO_BLOCKED, NoticeKind.PROPOSAL_MADE]
    told = next(one for one in desk.notices() if one.kind is NoticeKind.AUTO_BLOCKED)
    assert states in told.parameters["reason"]
    assert ("automation_refused", "refused", code) in desk.events()
    assert desk.record(id).progress.accepting is None


def test_limits_count_what_was_accepted_earlier_on_the_day(desk):
    id = ready(desk, max_turnover=0.08)
    desk.look()
    (first,) = desk.proposals(id)
    assert first.stage is Stage.EXECUTED
    assert 0.04 < first.proposal.turnover < 0.08

    desk.prices.add(WEDNESDAY, 110.0)  # already on Tuesday evening, as clocks may differ
    desk.wait(minutes=1)
    desk.look()
    assert stages(desk, id) == [Stage.EXECUTED, Stage.PROPOSED]


def test_stop_of_the_owner_prevents_proposals_until_it_is_cleared(desk):
    id = ready(desk)
    StopAutomation(desk.work)(desk.owner, now=desk.now)
    desk.look()
    assert stages(desk, id) == []
    assert desk.record(id).progress.outcome == "automation_stopped"
    blocked = [one for one in desk.notices() if one.kind is NoticeKind.AUTO_BLOCKED]
    assert "stopped automation" in blocked[0].parameters["reason"]

    ResumeAutomation(desk.work).for_account(desk.owner, now=desk.now)
    desk.move(WEDNESDAY, 130.0)
    desk.look()
    assert stages(desk, id) == [Stage.EXECUTED]
    actions = [action for action, *_ in desk.events()]
    assert {"automation_stopped", "automation_resumed"} <= set(actions)


def test_stop_that_is_set_after_the_proposal_prevents_its_acceptance(desk):
    id = ready(desk)
    desk.broker = StoppingBroker(desk)
    desk.look()

    assert stages(desk, id) == [Stage.PROPOSED]
    assert ("automation_refused", "refused", "automation_stopped") in desk.events()
    with desk.work.read() as tx:
        assert tx.automation.spent(id, TUESDAY) == []


def test_real_broker_executes_nothing_automatically(desk):
    id = ready(desk)
    desk.broker = StoppingBroker(desk, is_simulated=False, stops=False)
    desk.look()

    assert stages(desk, id) == [Stage.PROPOSED]
    assert ("automation_refused", "refused", "auto_accept_not_paper") in desk.events()


def test_acceptance_that_began_before_a_stop_is_finished_before_the_stop_returns(desk):
    """The accepting transaction has read the switch when the stop begins."""
    id = ready(desk, max_order=Decimal(100))  # it is proposed, and not accepted
    desk.look()
    (made,) = desk.proposals(id)
    begun, order = Event(), []

    def guard(tx, record):
        assert tx.automation.stop_for(desk.owner) is None
        begun.set()
        stopped = pool.submit(stop)
        with pytest.raises(TimeoutError):
            stopped.result(timeout=0.2)  # it waits for this transaction
        order.append("accepted")
        return {}

    def stop():
        StopAutomation(desk.work).everywhere(None, now=desk.now)
        order.append("stopped")

    with ThreadPoolExecutor(1) as pool:
        desk.accept(made.id, owner=desk.owner, guard=guard, now=desk.now)
    assert begun.is_set()
    assert order == ["accepted", "stopped"]


def test_two_evaluators_evaluate_each_portfolio_once(desk):
    ids = [desk.open(AlertSettings(band=True, band_width=0.05)) for _ in range(4)]
    desk.look()
    desk.move(TUESDAY, 130.0)

    def look(_):
        try:
            return desk.look()
        except RebalancerError:  # the store was busy
            return None

    with ThreadPoolExecutor(2) as pool:
        done = [one for one in pool.map(look, range(4)) if one is not None]
    done.append(desk.look())

    assert sum(one.alerts for one in done) == 8
    assert [len(desk.episodes(id)) for id in ids] == [2] * 4
    assert len(desk.notices()) == 8


def test_two_acceptances_together_stay_within_the_limits_of_a_day(desk):
    id = ready(desk, max_order=Decimal(100))
    desk.look()
    (made,) = desk.proposals(id)
    other = attrs.evolve(made, id=uuid4())
    record = desk.record(id)
    limits = AutomationSettings(
        Frequency.SESSION, auto_accept=attrs.evolve(WIDE, max_turnover=0.08)
    )
    desk.automate(id, limits)
    worker = uuid4()
    with desk.work.begin() as tx:
        tx.proposals.add([other])
        tx.alerts.claim(
            desk.now,
            worker=worker,
            until=desk.now + LEASE,
            market="",
            settled=desk.now,
            limit=1,
            portfolio=id,
        )

    def accept(proposal):
        progress = attrs.evolve(record.progress, accepting=proposal, pending=None)
        leased = attrs.evolve(record, progress=progress, automation=limits)
        try:
            return desk.automation(leased, worker=worker).outcome
        except RebalancerError as error:  # the other one holds the lease, or the lock
            return error.code

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(accept, [made.id, other.id]))

    assert outcomes.count("accepted") == 1
    with desk.work.read() as tx:
        assert len(tx.automation.spent(id, TUESDAY)) == 1


@pytest.mark.parametrize("step", range(1, 6))
def test_worker_that_dies_at_any_step_repeats_and_loses_nothing(desk, step):
    id = ready(desk)
    dying = Desk(
        DyingWork(desk.work, step), desk.now, desk.prices, owner=desk.owner, registers=False
    )
    with suppress(Unavailable):
        dying.look()
    desk.now += LEASE + timedelta(minutes=10)
    for _ in range(2):
        desk.look()
        desk.now += LEASE + timedelta(minutes=10)

    assert stages(desk, id) == [Stage.EXECUTED]
    assert kinds(desk) == [NoticeKind.AUTO_ACCEPTED, NoticeKind.PROPOSAL_MADE]
    with desk.work.read() as tx:
        assert len(tx.automation.spent(id, TUESDAY)) == 1


@attrs.define
class DyingWork:
    """Store whose n-th writing transaction, and all later ones, fail: the process has died."""

    work: object
    left: int

    @contextmanager
    def begin(self):
        self.left -= 1
        if self.left <= 0:
            raise Unavailable("the process has died")
        with self.work.begin() as tx:
            yield tx

    def read(self):
        return self.work.read()


@attrs.define
class StoppingBroker:
    """Paper broker; if it stops, the owner stops automation while orders are prepared."""

    desk: Desk
    fills_at_once: bool = True
    is_simulated: bool = True
    stops: bool = True

    def submit(self, record):
        if self.stops:
            StopAutomation(self.desk.work)(self.desk.owner, now=self.desk.now)

    def fills(self, record):
        return PaperBroker().fills(record)

    def pending(self):
        return ()
