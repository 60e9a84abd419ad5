"""The soak's checks find each kind of violation, made on purpose."""

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
from tests.survival.clients import ConfirmedEffects
from tests.survival.soak import Report, check_counts, check_portfolio, check_runs


@pytest.fixture
def work():
    return MemoryWork()


def findings(work, portfolio, confirmed):
    found: list[str] = []
    with work.read() as tx:
        check_portfolio(tx, tx.portfolios.get(portfolio.id), confirmed, found)
    return " ".join(found)


def stored(work, *more):
    """Store a portfolio opened with 10,000, with further entries."""
    user = a_user()
    first = a_deposit("10000.00")
    portfolio = a_managed(user.id, [first])
    with work.begin() as tx:
        tx.users.add(user)
        tx.portfolios.add(portfolio, [first])
        for entry in more:
            ledger = tx.portfolios.ledger(portfolio.id).extended_by([entry])
            portfolio = portfolio.book(ledger, NOW)
            tx.portfolios.save(portfolio, entries=[entry])
    return portfolio


def test_fulfilled_promises_give_no_finding(work):
    portfolio = stored(work, a_deposit("5.50"), a_deposit("7.00"))
    id = str(portfolio.id)
    confirmed = ConfirmedEffects(deposits={(id, "a"): Decimal("5.50"), (id, "b"): Decimal("7.00")})
    assert findings(work, portfolio, confirmed) == ""


def test_missing_and_repeated_deposits_are_found(work):
    portfolio = stored(work, a_deposit("5.50"), a_deposit("5.50"))
    id = str(portfolio.id)
    once = {(id, "a"): Decimal("5.50")}
    assert "too many" in findings(work, portfolio, ConfirmedEffects(deposits=once))
    more = {**once, (id, "b"): Decimal("5.50"), (id, "c"): Decimal("1.00")}
    assert "missing" in findings(work, portfolio, ConfirmedEffects(deposits=more))


def test_missing_and_repeated_fills_are_found(work):
    portfolio = stored(work)
    done = attrs.evolve(a_proposal(portfolio), stage=Stage.EXECUTED, executed=NOW)
    with work.begin() as tx:
        tx.proposals.add([done])
    assert "other fills" in findings(work, portfolio, ConfirmedEffects())
    for expected in (False, True):  # the first fill is correct, the second is one too many
        fill = a_fill(done)
        with work.begin() as tx:
            portfolio = tx.portfolios.get(portfolio.id)
            ledger = tx.portfolios.ledger(portfolio.id).extended_by([fill])
            portfolio = portfolio.book(ledger, NOW)
            tx.portfolios.save(portfolio, entries=[fill])
        assert ("other fills" in findings(work, portfolio, ConfirmedEffects())) is expected


def test_lost_execution_is_found(work):
    portfolio = stored(work)
    record = a_proposal(portfolio)
    with work.begin() as tx:
        tx.proposals.add([record])
    assert "was executed" in findings(work, portfolio, ConfirmedEffects(executed={str(record.id)}))


def test_fill_unlike_its_order_is_found(work):
    portfolio = stored(work)
    done = attrs.evolve(a_proposal(portfolio), stage=Stage.EXECUTED, executed=NOW)
    fill = a_fill(done)
    three = attrs.evolve(fill, quantity=3 * fill.quantity)
    with work.begin() as tx:
        tx.proposals.add([done])
        ledger = tx.portfolios.ledger(portfolio.id).extended_by([three])
        tx.portfolios.save(portfolio.book(ledger, NOW), entries=[three])
    assert "other fills" in findings(work, portfolio, ConfirmedEffects())


def test_lost_edit_is_found(work):
    portfolio = stored(work)
    id = str(portfolio.id)
    assert "at version 1" in findings(work, portfolio, ConfirmedEffects(edits={id: {2: "Another"}}))
    assert "not named" in findings(work, portfolio, ConfirmedEffects(edits={id: {1: "Another"}}))
    flow = stored(work, a_deposit("5.50"))
    id = str(flow.id)
    overwritten = ConfirmedEffects(
        deposits={(id, "a"): Decimal("5.50")}, edits={id: {2: "Another"}}
    )
    assert "not named Another" in findings(work, flow, overwritten)


def test_unexplained_change_is_found(work):
    portfolio = stored(work)
    with work.begin() as tx:
        tx.portfolios.save(portfolio.revise(portfolio.mandate, NOW))
    id = str(portfolio.id)
    assert "at version 2" in findings(work, portfolio, ConfirmedEffects())
    assert findings(work, portfolio, ConfirmedEffects(unsure=Counter({id: 1}))) == ""


def test_unfinished_run_is_found(work):
    owner, run = a_user(email=soak.BOOK_OWNER), a_run()
    portfolio = a_managed(owner.id)
    with work.begin() as tx:
        tx.users.add(owner)
        tx.portfolios.add(portfolio, [])
        tx.runs.add(run, [])
        tx.proposals.add([a_proposal(portfolio, run=run.id)])
    report = Report()
    with work.read() as tx:
        check_runs(tx, report)
    assert report.findings == [f"run {run.id} was never finished"]


def test_second_proposal_of_a_run_is_found(work):
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
        check_runs(tx, report, book=1)
    assert (report.findings, report.runs) == ([], [run.id])
    with work.begin() as tx:
        tx.proposals.add([a_proposal(portfolio, run=run.id, id=uuid4())])
    with work.read() as tx:
        check_runs(tx, report, book=1)
    assert any("two proposals" in finding for finding in report.findings)


def test_lost_and_repeated_portfolios_and_proposals_are_found(work):
    portfolio = stored(work)
    record = a_proposal(portfolio)
    with work.begin() as tx:
        tx.proposals.add([record])
    both = ConfirmedEffects(portfolios={str(portfolio.id)}, proposals={str(record.id)})
    more = ConfirmedEffects(
        portfolios={str(portfolio.id), "lost"}, proposals={str(record.id), "lost"}
    )
    found: dict[str, list[str]] = {"held": [], "extra": [], "lost": []}
    with work.read() as tx:
        for name, confirmed in (("held", both), ("extra", ConfirmedEffects()), ("lost", more)):
            check_counts(tx, [portfolio.owner], confirmed, found[name])
    assert found["held"] == []
    assert ["never confirmed" in text for text in found["extra"]] == [True, True]
    assert ["are lost" in text for text in found["lost"]] == [True, True]
