"""Snapshots of histories in every store."""

from datetime import date
from decimal import Decimal
from uuid import uuid4

import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest.accounts import measure_history
from rebalancer.domain.backtest.history_snapshots import KeptHistory, take_snapshot
from rebalancer.domain.portfolio.ledger import Entry, EntryKind, Ledger, LedgerMark
from tests.builders import prices
from tests.contracts.stores import NOW, stored_portfolio, stored_user

LONG = prices(days=80)
MARKET = LONG.until(69)


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


def day(row: int) -> date:
    return LONG.dates[row].item()


def entries(note: str = "") -> tuple[Entry, ...]:
    """Return entries before and after the base of a snapshot."""
    deposit = Entry(uuid4(), EntryKind.DEPOSIT, day(3), NOW, Decimal(1000), note=note)
    price = Decimal("101.25")
    later = Entry(
        uuid4(), EntryKind.BUY, day(65), NOW, 2 * price, "B", Decimal(2), price, note=note
    )
    return deposit, later


def test_stored_snapshot_is_continued_like_the_original(work):
    id = stored_portfolio(work, stored_user(work)).id
    recorded = entries()
    kept = KeptHistory(LedgerMark(7, 2), take_snapshot(Ledger(recorded), MARKET))
    with work.begin() as tx:
        tx.portfolios.keep_histories({id: kept})
        assert tx.portfolios.histories([id, uuid4()]).keys() == {id}
    with work.read() as tx:
        found = tx.portfolios.histories([id])[id]
    assert found.mark == kept.mark
    again = Entry(uuid4(), EntryKind.FEE, day(69), NOW, Decimal(5))
    continued = found.snapshot.continued([again], LONG)
    assert continued is not None
    expected = measure_history(Ledger((*recorded, again)), LONG)
    assert continued.history.values == pytest.approx(expected.values)
    assert continued.history.index == pytest.approx(expected.index)
    assert np.array_equal(continued.history.dates, expected.dates)


def test_later_snapshot_replaces_an_earlier_one(work):
    id = stored_portfolio(work, stored_user(work)).id
    snapshot = take_snapshot(Ledger(entries()), MARKET)
    for number in (7, 9):
        with work.begin() as tx:
            tx.portfolios.keep_histories({id: KeptHistory(LedgerMark(number, 2), snapshot)})
    with work.begin() as tx:
        tx.portfolios.keep_histories({})
        assert tx.portfolios.histories([id])[id].mark.number == 9
        assert tx.portfolios.histories([]) == {}


def test_no_note_is_stored_with_a_snapshot(stores_of):
    work = stores_of("sqlite")
    id = stored_portfolio(work, stored_user(work)).id
    snapshot = take_snapshot(Ledger(entries("for Grace")), MARKET)
    with work.begin() as tx:
        tx.portfolios.keep_histories({id: KeptHistory(LedgerMark(7, 2), snapshot)})
    with work.read() as tx:
        found = tx.portfolios.histories([id])[id].snapshot.base
    assert [entry.note for entry in found.recent] == [""]
    assert attrs.evolve(found.recent[0], note="for Grace") == snapshot.base.recent[0]


def test_snapshots_are_erased_with_the_account(work):
    user = stored_user(work)
    id = stored_portfolio(work, user).id
    kept = KeptHistory(LedgerMark(7, 2), take_snapshot(Ledger(entries()), MARKET))
    for keep_records in (True, False):
        with work.begin() as tx:
            tx.portfolios.keep_histories({id: kept})
        with work.begin() as tx:
            tx.deletions.erase(user, keep_records=keep_records, now=NOW)
            assert tx.portfolios.histories([id]) == {}
