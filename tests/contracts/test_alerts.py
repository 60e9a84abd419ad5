"""Every store keeps alerts, leases, episodes and the limits of automation in the same way."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import attrs
import pytest

from rebalancer.domain.alerts.automation import (
    DaySpending,
)
from rebalancer.domain.alerts.evaluation import AlertState
from rebalancer.domain.alerts.record import (
    AutomationProgress,
    AutomationStop,
)
from rebalancer.domain.alerts.settings import AlertKind, AlertSettings
from rebalancer.domain.errors import Conflict
from rebalancer.domain.rebalancing.lifecycle import ProposalOrigin, Stage
from tests.contracts.stores import (
    DAY,
    HOUR,
    NOW,
    a_deposit,
    a_managed,
    a_proposal,
    a_user,
    an_alert_record,
    an_episode,
)

ME, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture(scope="module")
def work(make):
    return make()


@pytest.fixture
def owner(work):
    """Return an owner, who is disabled afterwards, so that no other test claims the alerts."""
    user = a_user()
    with work.begin() as tx:
        tx.users.add(user)
    yield user
    with work.begin() as tx:
        tx.users.save(attrs.evolve(user, disabled=NOW))


@pytest.fixture
def portfolio(work, owner):
    found = a_managed(owner.id, entries := [a_deposit()])
    with work.begin() as tx:
        tx.portfolios.add(found, entries)
    return found


PRICES = "2022-12-30 m"


def claim(work, *, worker=ME, now=NOW, market=PRICES, portfolio=None):
    with work.begin() as tx:
        return tx.alerts.claim(
            now,
            worker=worker,
            until=now + HOUR,
            market=market,
            settled=now + HOUR,
            limit=10,
            portfolio=portfolio,
        )


def store(work, record):
    with work.begin() as tx:
        tx.alerts.save_settings(record)
    return record


def test_record_is_stored_in_full(work, portfolio):
    record = store(work, an_alert_record(portfolio))

    with work.read() as tx:
        assert tx.alerts.find(portfolio.id) == record
        assert tx.alerts.of_owner(portfolio.owner) == [record]
        assert tx.alerts.find(uuid4()) is None


def test_new_settings_leave_the_state_and_end_a_lease(work, portfolio):
    record = store(work, an_alert_record(portfolio))
    assert claim(work)

    changed = AlertSettings(drift=0.2)
    store(work, attrs.evolve(record, settings=changed, state=AlertState(), version=None))

    with work.begin() as tx:
        assert tx.alerts.find(portfolio.id) == attrs.evolve(record, settings=changed)
        assert not tx.alerts.finish(record, worker=ME)


@pytest.mark.parametrize(
    ("record", "market", "claimed"),
    [
        ({}, PRICES, True),
        ({"due": NOW + HOUR}, PRICES, False),
        ({"due": NOW + HOUR}, "2022-12-30 other", True),
        ({"due": NOW + 2 * HOUR}, "2022-12-30 other", False),
        ({"due": NOW + 2 * HOUR}, "2023-01-02 m", True),
        ({"due": NOW + HOUR}, "2022-12-29 m", False),
        ({"due": NOW + HOUR, "market": None}, PRICES, True),
        ({"due": NOW + HOUR, "version": 7}, PRICES, True),
        ({"due": NOW + HOUR, "version": None}, PRICES, True),
    ],
)
def test_record_is_claimed_when_due_or_when_something_changed(
    work, portfolio, record, market, claimed
):
    store(work, an_alert_record(portfolio, **record))
    assert bool(claim(work, market=market)) is claimed


def test_one_of_two_workers_gets_a_record_until_its_lease_ends(work, portfolio):
    record = store(work, an_alert_record(portfolio))

    assert claim(work, worker=ME) == [record]
    assert claim(work, worker=OTHER) == []
    assert claim(work, worker=OTHER, portfolio=portfolio.id) == []
    assert claim(work, worker=OTHER, now=NOW + HOUR) == [record]
    with work.begin() as tx:
        assert not tx.alerts.finish(record, worker=ME)
        assert tx.alerts.finish(attrs.evolve(record, market="late"), worker=OTHER)
        assert not tx.alerts.finish(record, worker=OTHER)  # it is released
        assert tx.alerts.find(portfolio.id).market == "late"


def test_lease_is_held_for_the_steps_of_automation(work, portfolio):
    record = store(work, an_alert_record(portfolio))
    claim(work)
    done = AutomationProgress(outcome="done")

    with work.begin() as tx:
        assert tx.alerts.finish(record, worker=ME, release=False)
        assert not tx.alerts.save_progress(portfolio.id, done, worker=OTHER, release=True)
        assert tx.alerts.save_progress(portfolio.id, done, worker=ME, release=True)
        assert not tx.alerts.save_progress(portfolio.id, done, worker=ME, release=True)
        assert tx.alerts.find(portfolio.id).progress == done


def test_named_portfolio_is_claimed_before_it_is_due(work, portfolio):
    store(work, an_alert_record(portfolio, due=NOW + HOUR))
    assert claim(work, portfolio=portfolio.id)


def test_closed_portfolios_and_disabled_accounts_are_left_out(work, owner, portfolio):
    store(work, an_alert_record(portfolio))
    with work.begin() as tx:
        tx.users.save(attrs.evolve(owner, disabled=NOW))
    assert claim(work) == []
    with work.begin() as tx:
        tx.users.save(owner)
        tx.portfolios.close(portfolio.id, owner=owner.id, version=portfolio.version, now=NOW)
    assert claim(work) == []


def test_episodes_begin_once_end_and_are_paged(work, owner, portfolio):
    first, second = an_episode(portfolio), an_episode(portfolio, 2)
    with work.begin() as tx:
        tx.alerts.begin_episodes(owner.id, [first, second])
        tx.alerts.end_episode(portfolio.id, AlertKind.BAND, "A", 1, NOW + 3 * HOUR)
    ended = attrs.evolve(first, ended=NOW + 3 * HOUR)

    with work.read() as tx:
        assert tx.alerts.episodes(portfolio.id, limit=5) == [second, ended]
        assert tx.alerts.episodes(portfolio.id, before=second.id, limit=5) == [ended]
        assert tx.alerts.episodes(portfolio.id, before=uuid4(), limit=5) == []
        assert tx.alerts.episodes(uuid4(), limit=5) == []
    with pytest.raises(Conflict), work.begin() as tx:
        tx.alerts.begin_episodes(owner.id, [first])


def test_stop_of_the_deployment_comes_first(work, owner):
    with work.begin() as tx:
        assert tx.automation.stop_for(owner.id) is None
        assert tx.automation.set_stop(owner.id, NOW)
        assert not tx.automation.set_stop(owner.id, NOW + HOUR)
        assert tx.automation.stop_for(owner.id) == AutomationStop(owner.id, NOW)
        assert tx.automation.set_stop(None, NOW + HOUR)
    with work.read() as tx:
        assert tx.automation.stop_for(owner.id) == AutomationStop(None, NOW + HOUR)
        assert tx.automation.find_stop(owner.id) == AutomationStop(owner.id, NOW)
    with work.begin() as tx:
        assert tx.automation.clear_stop(None)
        assert not tx.automation.clear_stop(None)
        assert tx.automation.stop_for(owner.id) == AutomationStop(owner.id, NOW)


def test_spending_is_added_once_and_by_day(work, owner, portfolio):
    spending = DaySpending(0.25, Decimal("1.10"), {"A": Decimal("99.95")})
    proposal = uuid4()
    with work.begin() as tx:
        tx.automation.spend(portfolio.id, owner.id, DAY, proposal, spending)
    with work.read() as tx:
        assert tx.automation.spent(portfolio.id, DAY) == [spending]
        assert tx.automation.spent(portfolio.id, DAY + timedelta(1)) == []
        assert tx.automation.spent(uuid4(), date(2020, 1, 1)) == []
    with pytest.raises(Conflict), work.begin() as tx:
        tx.automation.spend(portfolio.id, owner.id, DAY, proposal, spending)


def test_waiting_proposals_are_found_with_their_origin(work, portfolio):
    waiting = a_proposal(portfolio, origin=ProposalOrigin.SCHEDULE)
    decided = a_proposal(portfolio, stage=Stage.REJECTED, decided=NOW)
    with work.begin() as tx:
        tx.proposals.add([waiting, decided])

    with work.read() as tx:
        ids = [portfolio.id, uuid4()]
        assert tx.proposals.waiting(ids, NOW) == {portfolio.id: [waiting]}
        assert tx.proposals.waiting(ids, waiting.expires) == {}


def test_superseded_proposal_has_expired(work, portfolio):
    waiting = a_proposal(portfolio, origin=ProposalOrigin.ALERT)
    with work.begin() as tx:
        tx.proposals.add([waiting])
        tx.proposals.save(waiting.supersede(NOW, OTHER), expected=Stage.PROPOSED)
    with work.read() as tx:
        assert tx.proposals.waiting([portfolio.id], NOW) == {}
        found = tx.proposals.get(waiting.id)
        assert (found.stage, found.expires) == (Stage.EXPIRED, NOW)
