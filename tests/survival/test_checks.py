"""The soak notices what it is there to notice: each kind of broken promise, made on purpose."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from uuid import uuid4

import attrs
import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.domain.rebalancing.lifecycle import Stage
from tests.contracts.stores import NOW, a_deposit, a_fill, a_managed, a_proposal, a_run, a_user
from tests.survival import soak
from tests.survival.people import Promises
from tests.survival.soak import Report, _check_portfolio, _check_runs


@pytest.fixture
def work():
    return MemoryWork()


def findings(work, portfolio, promises):
    found: list[str] = []
    with work.read() as tx:
        _check_portfolio(tx, tx.portfolios.get(portfolio.id), promises, found)
    return " ".join(found)


def kept(work, *more):
    """A portfolio that was opened with 10,000, after some more entries."""
    user = a_user()
    first = a_deposit("10000.00")
    portfolio = a_managed(user.id, [first])
    with work.begin() as tx:
        tx.users.add(user)
        tx.portfolios.add(portfolio, [first])
        for entry in more:
            ledger = tx.portfolios.ledger(portfolio.id).followed_by([entry])
            portfolio = portfolio.booked(ledger, NOW)
            tx.portfolios.save(portfolio, entries=[entry])
    return portfolio


def test_promises_that_are_kept(work):
    portfolio = kept(work, a_deposit("5.50"), a_deposit("7.00"))
    id = str(portfolio.id)
    promises = Promises(deposits={(id, "a"): Decimal("5.50"), (id, "b"): Decimal("7.00")})
    assert findings(work, portfolio, promises) == ""


def test_a_deposit_that_is_missing_or_there_twice(work):
    portfolio = kept(work, a_deposit("5.50"), a_deposit("5.50"))
    id = str(portfolio.id)
    once = {(id, "a"): Decimal("5.50")}
    assert "too many" in findings(work, portfolio, Promises(deposits=once))
    more = {**once, (id, "b"): Decimal("5.50"), (id, "c"): Decimal("1.00")}
    assert "missing" in findings(work, portfolio, Promises(deposits=more))


def test_a_rebalance_without_its_fills_or_with_fills_twice(work):
    portfolio = kept(work)
    done = attrs.evolve(a_proposal(portfolio), stage=Stage.EXECUTED, executed=NOW)
    with work.begin() as tx:
        tx.proposals.add([done])
    assert "other fills" in findings(work, portfolio, Promises())
    for expected in (False, True):  # the first is as it should be, the second too many
        fill = a_fill(done)
        with work.begin() as tx:
            portfolio = tx.portfolios.get(portfolio.id)
            ledger = tx.portfolios.ledger(portfolio.id).followed_by([fill])
            portfolio = portfolio.booked(ledger, NOW)
            tx.portfolios.save(portfolio, entries=[fill])
        assert ("other fills" in findings(work, portfolio, Promises())) is expected


def test_an_execution_that_was_promised_and_is_none(work):
    portfolio = kept(work)
    record = a_proposal(portfolio)
    with work.begin() as tx:
        tx.proposals.add([record])
    assert "was executed" in findings(work, portfolio, Promises(executed={str(record.id)}))


def test_a_fill_that_differs_from_its_order(work):
    portfolio = kept(work)
    done = attrs.evolve(a_proposal(portfolio), stage=Stage.EXECUTED, executed=NOW)
    fill = a_fill(done)
    three = attrs.evolve(fill, quantity=3 * fill.quantity)
    with work.begin() as tx:
        tx.proposals.add([done])
        ledger = tx.portfolios.ledger(portfolio.id).followed_by([three])
        tx.portfolios.save(portfolio.booked(ledger, NOW), entries=[three])
    assert "other fills" in findings(work, portfolio, Promises())


def test_an_edit_that_was_lost(work):
    portfolio = kept(work)
    id = str(portfolio.id)
    assert "at version 1" in findings(work, portfolio, Promises(edits={id: {2: "Another"}}))
    assert "not called" in findings(work, portfolio, Promises(edits={id: {1: "Another"}}))
    flow = kept(work, a_deposit("5.50"))
    id = str(flow.id)
    overwritten = Promises(deposits={(id, "a"): Decimal("5.50")}, edits={id: {2: "Another"}})
    assert "not called Another" in findings(work, flow, overwritten)


def test_a_change_that_nobody_made(work):
    portfolio = kept(work)
    with work.begin() as tx:
        tx.portfolios.save(portfolio.revised(portfolio.mandate, NOW))
    id = str(portfolio.id)
    assert "at version 2" in findings(work, portfolio, Promises())
    assert findings(work, portfolio, Promises(unsure=Counter({id: 1}))) == ""


def test_a_run_that_was_never_finished(work):
    owner, run = a_user(email=soak.BOOK_OWNER), a_run()
    portfolio = a_managed(owner.id)
    with work.begin() as tx:
        tx.users.add(owner)
        tx.portfolios.add(portfolio, [])
        tx.runs.add(run, [])
        tx.proposals.add([a_proposal(portfolio, run=run.id)])
    report = Report()
    with work.read() as tx:
        _check_runs(tx, report)
    assert report.findings == [f"run {run.id} was never finished"]


def test_a_portfolio_with_two_proposals_of_a_run(work, monkeypatch):
    monkeypatch.setattr(soak, "BOOK", 1)
    owner, run = a_user(email=soak.BOOK_OWNER), a_run()
    portfolio = a_managed(owner.id)
    with work.begin() as tx:
        tx.users.add(owner)
        tx.portfolios.add(portfolio, [])
        tx.runs.add(run, [])
        tx.runs.complete(tx.runs.claim(run.id), proposed=1, nothing=0)
        tx.runs.finish(run.id, NOW)
        tx.proposals.add([a_proposal(portfolio, run=run.id)])
    report = Report()
    with work.read() as tx:
        _check_runs(tx, report)
    assert (report.findings, report.runs) == ([], [run.id])
    with work.begin() as tx:
        tx.proposals.add([a_proposal(portfolio, run=run.id, id=uuid4())])
    with work.read() as tx:
        _check_runs(tx, report)
    assert any("two proposals" in finding for finding in report.findings)
