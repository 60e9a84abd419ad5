"""Imports of statements in every store."""

from datetime import timedelta
from uuid import uuid4

import attrs
import pytest

from rebalancer.domain.errors import NotFound
from tests.contracts.stores import (
    HOUR,
    NOW,
    a_deposit,
    an_import,
    stored_portfolio,
    stored_user,
)


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


@pytest.fixture
def entries():
    return [a_deposit(amount) for amount in (1, 2, 3)]


@pytest.fixture
def portfolio(work, entries):
    return stored_portfolio(work, stored_user(work), *entries)


def stored(work, record, entries):
    with work.begin() as tx:
        tx.imports.add(record, [entry.id for entry in entries])
    return record


def test_imports_are_read_as_written(work, portfolio, entries):
    record = an_import(
        portfolio, entries=2, file_name="Übersicht 1.csv", mapping={"Ä": "B", "C": ""}
    )
    stored(work, record, entries[:2])
    for begin in (work.begin, work.read):
        with begin() as tx:
            assert tx.imports.get(record.id, portfolio=portfolio.id) == record
            assert tx.imports.entries(record.id) == sorted(one.id for one in entries[:2])
            assert tx.imports.undone_entries(portfolio.id) == frozenset()
            assert tx.imports.entries(uuid4()) == []


def test_imports_of_other_portfolios_are_not_found(work, portfolio, entries):
    record = stored(work, an_import(portfolio), entries[:1])
    other = stored_portfolio(work, stored_user(work))
    for id, place in ((record.id, other.id), (uuid4(), portfolio.id)):
        with work.read() as tx, pytest.raises(NotFound) as raised:
            tx.imports.get(id, portfolio=place)
        assert raised.value.code == "import_not_found"
    with work.begin() as tx, pytest.raises(NotFound):
        tx.imports.save(an_import(portfolio))
    with work.read() as tx:
        assert tx.imports.page(other.id, limit=9) == []
        assert tx.imports.undone_entries(other.id) == frozenset()


def test_undone_import_names_its_entries(work, portfolio, entries):
    first = stored(work, an_import(portfolio), entries[:1])
    stored(work, an_import(portfolio, entries=2), entries[1:])
    undone = attrs.evolve(first, undone=NOW + HOUR)
    with work.begin() as tx:
        tx.imports.save(undone)
    with work.read() as tx:
        assert tx.imports.get(first.id, portfolio=portfolio.id) == undone
        assert tx.imports.undone_entries(portfolio.id) == frozenset({entries[0].id})


def test_imports_are_paged_latest_first(work, portfolio, entries):
    records = [
        stored(work, an_import(portfolio, created=NOW + timedelta(days=day)), [entry])
        for day, entry in enumerate(entries)
    ]
    latest = records[::-1]
    with work.read() as tx:
        assert tx.imports.page(portfolio.id, limit=2) == latest[:2]
        assert tx.imports.page(portfolio.id, before=latest[1].id, limit=2) == latest[2:]
        assert tx.imports.page(portfolio.id, before=latest[2].id, limit=2) == []
