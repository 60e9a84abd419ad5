"""Quotas of accounts hold on every store, also for requests that run at the same time."""

from collections import Counter
from datetime import timedelta

import attrs
import pytest

from rebalancer.application.quotas import DailyQuotaReached, QuotaReached, Quotas
from rebalancer.config import Settings
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.rebalancing.lifecycle import Stage
from tests.contracts.stores import (
    DAY,
    NOW,
    a_deposit,
    a_job,
    a_managed,
    a_proposal,
    race,
    stored_portfolio,
    stored_proposal,
    stored_user,
)

RACERS = 20
FEW = Quotas(portfolios=5, proposals=5, proposals_a_day=5, jobs=5, bytes_a_day=500)


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


def patiently(do):
    """Repeat what fails because the database is busy."""

    def run(number):
        while True:
            try:
                return do(number)
            except Unavailable:
                continue

    return run


def open_portfolio(work, owner):
    with work.begin() as tx:
        FEW.check_portfolios(tx, owner)
        tx.portfolios.add(a_managed(owner), [])


def start_job(work, owner):
    with work.begin() as tx:
        FEW.check_jobs(tx, owner)
        tx.jobs.add(a_job(owner=owner))


def propose(work, owner, quotas=FEW):
    with work.begin() as tx:
        (portfolio,) = tx.portfolios.page(owner, limit=1)
        quotas.take_proposals(tx, owner, 1, NOW)
        tx.proposals.add([a_proposal(portfolio)])


def propose_without_daily_quota(work, owner):
    propose(work, owner, attrs.evolve(FEW, proposals_a_day=0))


def store_bytes(work, owner):
    with work.begin() as tx:
        FEW.take_bytes(tx, owner, 100, NOW)


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (open_portfolio, QuotaReached),
        (start_job, QuotaReached),
        (propose, DailyQuotaReached),
        (propose_without_daily_quota, QuotaReached),
        (store_bytes, DailyQuotaReached),
    ],
)
def test_parallel_requests_do_not_exceed_a_quota(work, ada, use, error):
    if use in (propose, propose_without_daily_quota):
        stored_portfolio(work, ada, a_deposit())
    outcomes = race(patiently(lambda _: use(work, ada.id)), RACERS)
    assert Counter(map(type, outcomes)) == {type(None): 5, error: RACERS - 5}
    eve = stored_user(work)
    if use is not open_portfolio:
        stored_portfolio(work, eve, a_deposit())
    use(work, eve.id)  # quotas of others are their own


def test_quota_is_free_again_once_something_ends(work, ada):
    for _ in range(5):
        open_portfolio(work, ada.id)
        start_job(work, ada.id)
    with work.begin() as tx:
        (first, *_) = tx.portfolios.page(ada.id, limit=1)
        tx.portfolios.close(first.id, owner=ada.id, version=1, now=NOW)
        (job, *_) = tx.jobs.page(ada.id, limit=1)
        tx.jobs.save(job.cancel(NOW))
    open_portfolio(work, ada.id)
    start_job(work, ada.id)
    with pytest.raises(QuotaReached, match="5 portfolios"):
        open_portfolio(work, ada.id)


def test_counters_of_a_day_begin_again_the_next_day(work, ada):
    with work.begin() as tx:
        FEW.take_bytes(tx, ada.id, 500, NOW)
    with pytest.raises(DailyQuotaReached) as reached, work.begin() as tx:
        FEW.take_bytes(tx, ada.id, 1, NOW)
    assert reached.value.limit == 500
    assert NOW + timedelta(seconds=reached.value.retry_after) == NOW.replace(
        day=NOW.day + 1, hour=0, minute=0, second=0
    )
    with work.begin() as tx:
        FEW.take_bytes(tx, ada.id, 500, NOW + timedelta(days=1))
        assert tx.usage.used(ada.id, "bytes", NOW.date()) == 500
        assert tx.usage.delete_before(NOW.date() + timedelta(days=1)) == 1
        assert tx.usage.used(ada.id, "bytes", NOW.date()) == 0


def test_failed_transaction_uses_no_quota(work, ada):
    with pytest.raises(ValueError, match="later"), work.begin() as tx:
        FEW.take_bytes(tx, ada.id, 400, NOW)
        raise ValueError("later")
    with work.begin() as tx:
        FEW.take_bytes(tx, ada.id, 500, NOW)


def test_only_old_proposals_that_were_never_accepted_are_deleted(work, ada):
    portfolio = stored_portfolio(work, ada, a_deposit())
    past = {"proposed": NOW - timedelta(days=3), "expires": NOW - timedelta(days=1)}
    kept = [
        stored_proposal(work, portfolio),
        stored_proposal(work, portfolio, **past | {"expires": NOW + timedelta(days=9)}),
    ]
    old = [stored_proposal(work, portfolio, **past) for _ in range(3)]
    with work.begin() as tx:
        accepted = old[0].accept(old[0].proposed, version=portfolio.version, newest=DAY)
        tx.proposals.save(accepted, expected=Stage.PROPOSED)
        tx.proposals.save(old[1].reject(old[1].proposed), expected=Stage.PROPOSED)
        assert tx.proposals.count_undecided(ada.id) == 4
        assert tx.proposals.delete_expired(NOW, limit=1) == 1
        assert tx.proposals.delete_expired(NOW, limit=9) == 1
        assert tx.proposals.delete_expired(NOW, limit=9) == 0
        assert {one.id for one in tx.proposals.page(ada.id, limit=9)} == {
            accepted.id,
            *(one.id for one in kept),
        }


def test_ledger_has_a_most_number_of_entries():
    quotas = Quotas(entries=10)
    quotas.check_entries(8, 2)
    with pytest.raises(QuotaReached, match="11 more would exceed the maximum of 10"):
        quotas.check_entries(0, 11)
    Quotas(entries=0).check_entries(10**9, 1)


def test_settings_have_the_same_quotas():
    settings, quotas = Settings(), Quotas()
    for field in attrs.fields(Quotas):
        name = field.name.replace("bytes", "megabytes")
        factor = 1_000_000 if name != field.name else 1
        assert getattr(settings, f"most_{name}") * factor == getattr(quotas, field.name)
