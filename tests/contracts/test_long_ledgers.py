"""Ledgers with checkpoints in SQL databases: always what all entries add up to."""

from datetime import timedelta
from uuid import uuid4

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from rebalancer.adapters.sql.checkpoints import LedgerRules
from rebalancer.adapters.sql.engine import writing
from rebalancer.adapters.sql.portfolios import SqlPortfolios
from rebalancer.adapters.sql.tables import ledger_checkpoints, ledger_entries
from rebalancer.application.ledger_changes import ExtendedPortfolio, LedgerChange, change_ledger
from rebalancer.application.ports.portfolios import LongReplay
from rebalancer.application.quotas import QuotaReached, Quotas
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import PortfolioChanged
from rebalancer.domain.rebalancing.lifecycle import Stage
from tests.contracts.stores import (
    DAY,
    NOW,
    a_deposit,
    race,
    renamed,
    stored_portfolio,
    stored_proposal,
    stored_user,
    with_entries,
)
from tests.domain.test_checkpoints import PROPOSALS, entries, facts, outcome


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def work(request, stores_of):
    """Return an empty database, whose ledgers all have checkpoints."""
    return stores_of(request.param)


@pytest.fixture
def few_locked(work):
    """Return the same stores, which lock no more than three entries while they are read."""
    return attrs.evolve(work, ledgers=LedgerRules(from_count=1, spacing=2, locked=3))


@pytest.fixture
def ada(work):
    return stored_user(work)


@pytest.fixture
def reads(work):
    """Collect the statements that read entries."""
    found = []

    @event.listens_for(work.engine, "before_cursor_execute")
    def note(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("SELECT ledger_entries"):
            found.append(statement)

    yield found
    event.remove(work.engine, "before_cursor_execute", note)


def checkpoints_of(work, id):
    with work.engine.connect() as connection:
        table = ledger_checkpoints.c
        query = select(table.last).where(table.portfolio == id).order_by(table.last)
        return list(connection.execute(query).scalars())


def append_without_checkpoint(work, portfolio, ledger, batch):
    """Record entries as versions do that know no checkpoints."""
    changed = portfolio.book(ledger.extended_by(batch), NOW)
    with work.begin() as tx:
        stores = tx.portfolios
        tx.portfolios.save(attrs.evolve(portfolio, version=portfolio.version + 1))
        stores._append(portfolio.id, portfolio.owner, batch)
    with writing(work.engine) as connection:
        stores = SqlPortfolios(connection, True)
        stores._compare_and_swap(
            portfolio.id,
            portfolio.owner,
            changed.version,
            {"cash": changed.positions.cash, "last_entry": changed.positions.last_entry}
            | {name: getattr(changed.positions, name) for name in _REST},
        )


_REST = ("holdings", "uninvested", "last_rebalance", "foreign_cash")


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_stored_ledger_equals_one_that_is_added_up(work, data):
    ada = stored_user(work)
    portfolio = stored_portfolio(work, ada)
    proposals = {
        id: stored_proposal(work, portfolio, stage=Stage.ACCEPTED, decided=NOW).id
        for id in PROPOSALS
    }
    recorded, day = (), 1
    for number in range(data.draw(st.integers(1, 12))):
        day += data.draw(st.sampled_from([0, 0, 1]))
        batch = [
            attrs.evolve(one, proposal=proposals.get(one.proposal, one.proposal))
            for one in data.draw(entries(number, recorded, day))
        ]
        if not batch or {one.id for one in batch} & {one.id for one in recorded}:
            continue
        with work.read() as tx:
            portfolio = tx.portfolios.get(portfolio.id)
            stored = tx.portfolios.ledger(portfolio.id)
            extended = outcome(lambda s=stored, b=batch: facts(s.extended_by(b)))
        longer = outcome(lambda r=recorded, b=batch: facts(Ledger(r).extended_by(b)))
        assert extended == longer
        if isinstance(longer[0], type):
            continue
        if data.draw(st.sampled_from([True, True, True, False])):
            with work.begin() as tx:
                changed = with_entries(tx, portfolio, *batch)
                tx.portfolios.save(changed, entries=batch)
        else:
            append_without_checkpoint(work, portfolio, Ledger(recorded), batch)
        recorded += tuple(batch)
    with work.read() as tx:
        assert tx.portfolios.ledger(portfolio.id).entries == recorded
        assert tx.portfolios.get(portfolio.id).positions == Ledger(recorded).positions
    assert [one for one in work.check() if str(portfolio.id) in one] == []


def test_appended_entries_are_all_that_is_written(work, ada, reads):
    portfolio = stored_portfolio(work, ada, a_deposit(), a_deposit())
    for _ in range(3):
        reads.clear()
        _, portfolio = change_ledger(work, portfolio.id, ada.id, deposit_on(DAY, 5), now=NOW)
        assert reads == []
    assert portfolio.positions.cash == 2015


def test_earlier_checkpoints_serve_back_dated_entries(work, ada):
    days = [DAY + timedelta(days=number) for number in range(6)]
    portfolio = stored_portfolio(work, ada)
    for day in days:
        with work.begin() as tx:
            entry = a_deposit(10, on=day)
            portfolio = with_entries(tx, tx.portfolios.get(portfolio.id), entry)
            tx.portfolios.save(portfolio, entries=[entry])
    before = checkpoints_of(work, portfolio.id)
    assert len(before) == 4  # of 1, 3, 5 and all 6 entries
    with work.begin() as tx:
        stored = tx.portfolios.get(portfolio.id)
        late = a_deposit(1, on=days[3])
        changed = with_entries(tx, stored, late)
        assert tx.portfolios.ledger(portfolio.id).extended_by([late]).origin.last == before[1]
        tx.portfolios.save(changed, entries=[late])
    assert checkpoints_of(work, portfolio.id)[:2] == before[:2]
    assert len(checkpoints_of(work, portfolio.id)) == 3
    assert changed.positions.cash == 61
    assert [one for one in work.check() if str(portfolio.id) in one] == []


def test_wrong_checkpoint_is_found(work, ada):
    portfolio = stored_portfolio(work, ada, a_deposit())
    with writing(work.engine) as connection:
        connection.execute(
            ledger_checkpoints.update()
            .where(ledger_checkpoints.c.portfolio == portfolio.id)
            .values(document=attrs.evolve(Ledger((a_deposit(7),)).state))
        )
    (finding,) = [one for one in work.check() if str(portfolio.id) in one]
    assert "the checkpoint at entry" in finding and "differs from the entries" in finding
    with work.begin() as tx:  # so that the other tests see no findings
        tx.portfolios.get(portfolio.id)
        tx.portfolios.ledger(portfolio.id)
    with writing(work.engine) as connection:
        connection.execute(
            ledger_checkpoints.delete().where(ledger_checkpoints.c.portfolio == portfolio.id)
        )


def deposit_on(day, amount=1, during=lambda: None):
    """Return a plan that records a deposit."""

    def plan(tx, portfolio, ledger):
        entry = a_deposit(amount, on=day)
        longer = ledger.extended_by([entry])
        during()
        extended = ExtendedPortfolio(portfolio.book(longer, NOW), (entry,), longer)
        return LedgerChange(entry, extended)

    return plan


def long_portfolio(work, ada, count=8):
    days = [DAY + timedelta(days=number) for number in range(count)]
    portfolio = stored_portfolio(work, ada, *(a_deposit(10, on=day) for day in days))
    return portfolio, days


def test_long_replay_holds_no_locks(few_locked, ada, reads):
    portfolio, days = long_portfolio(few_locked, ada)
    with few_locked.begin() as tx:
        tx.portfolios.get(portfolio.id)
        with pytest.raises(LongReplay):
            tx.portfolios.ledger(portfolio.id).extended_by([a_deposit(1, on=days[0])])
    planned = []

    def during():
        planned.append(1)
        with few_locked.begin() as tx:  # waits for no other writer
            tx.users.lock(ada.id)

    entry, changed = change_ledger(
        few_locked, portfolio.id, ada.id, deposit_on(days[0], during=during), now=NOW
    )
    assert planned == [1]
    assert (changed.positions.cash, changed.version) == (81, 2)
    with few_locked.read() as tx:
        assert tx.portfolios.ledger(portfolio.id).entries[-1] == entry
        assert tx.portfolios.get(portfolio.id) == changed
    assert [one for one in few_locked.check() if str(portfolio.id) in one] == []


def test_long_replay_is_repeated_if_the_portfolio_has_changed(few_locked, ada):
    portfolio, days = long_portfolio(few_locked, ada)
    changes = iter([True, False])

    def change_once():
        if next(changes):
            with few_locked.begin() as tx:
                tx.portfolios.save(renamed(tx.portfolios.get(portfolio.id)))

    _, changed = change_ledger(
        few_locked, portfolio.id, ada.id, deposit_on(days[0], during=change_once), now=NOW
    )
    assert (changed.positions.cash, changed.version) == (81, 3)
    assert changed.mandate.name == "Another name"


def test_portfolio_that_changes_all_the_time_is_a_conflict(few_locked, ada):
    portfolio, days = long_portfolio(few_locked, ada)

    def change():
        with few_locked.begin() as tx:
            tx.portfolios.save(renamed(tx.portfolios.get(portfolio.id)))

    with pytest.raises(PortfolioChanged):
        change_ledger(few_locked, portfolio.id, ada.id, deposit_on(days[0], during=change), now=NOW)


def test_parallel_back_dated_entries_are_all_counted(few_locked, ada):
    portfolio, days = long_portfolio(few_locked, ada)

    def deposit(number):
        while True:
            try:
                return change_ledger(
                    few_locked, portfolio.id, ada.id, deposit_on(days[number]), now=NOW
                )[1].version
            except (PortfolioChanged, Unavailable):
                continue

    assert sorted(race(deposit, 4)) == [2, 3, 4, 5]
    with few_locked.read() as tx:
        assert tx.portfolios.get(portfolio.id).positions.cash == 84
    assert [one for one in few_locked.check() if str(portfolio.id) in one] == []


def test_few_long_ledgers_are_read_at_a_time(few_locked, ada):
    portfolio, _ = long_portfolio(few_locked, ada)
    rules = attrs.evolve(few_locked.ledgers, wait=0.0)
    busy = attrs.evolve(few_locked, ledgers=rules)
    with rules.reading(), rules.reading():
        with pytest.raises(Unavailable) as refused, busy.read() as tx:
            _ = tx.portfolios.ledger(portfolio.id).entries
        assert refused.value.code == "long_ledgers_busy"
    with busy.read() as tx:
        assert len(tx.portfolios.ledger(portfolio.id).entries) == 8


def test_ledger_of_an_older_version_gets_a_checkpoint_with_its_next_entry(few_locked, ada):
    portfolio, days = long_portfolio(few_locked, ada)
    with writing(few_locked.engine) as connection:
        connection.execute(
            ledger_checkpoints.delete().where(ledger_checkpoints.c.portfolio == portfolio.id)
        )
    _, changed = change_ledger(few_locked, portfolio.id, ada.id, deposit_on(days[-1]), now=NOW)
    assert changed.positions.cash == 81
    assert len(checkpoints_of(few_locked, portfolio.id)) == 1


def test_quotas_hold_in_the_transaction_of_a_change(work, ada):
    portfolio = stored_portfolio(work, ada, a_deposit(), a_deposit())
    plan = deposit_on(DAY)
    change_ledger(work, portfolio.id, ada.id, plan, now=NOW, quotas=Quotas(entries=3))
    with pytest.raises(QuotaReached, match="3 entries, and 1 more"):
        change_ledger(work, portfolio.id, ada.id, plan, now=NOW, quotas=Quotas(entries=3))
    with work.read() as tx:
        assert tx.portfolios.ledger(portfolio.id).count == 3


def test_entries_of_proposals_are_found_by_an_index(work, ada):
    query = select(func.count()).where(ledger_entries.c.proposal == uuid4())
    with work.engine.connect() as connection:
        if work.engine.dialect.name == "sqlite":
            text = str(query.compile(work.engine, compile_kwargs={"literal_binds": True}))
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
            assert "ix_ledger_entries_proposal" in str(plan)
