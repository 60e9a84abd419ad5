"""Which columns are sealed."""

from uuid import uuid4

import pytest
from sqlalchemy import JSON, Text, select

from rebalancer.adapters.memory.reports import MemoryReports
from rebalancer.adapters.security.envelope import Envelope
from rebalancer.adapters.security.key_encryption import LocalKeys
from rebalancer.adapters.sql.sealed import PERSONAL, PUBLIC
from rebalancer.adapters.sql.tables import metadata
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.account_deletion import EraseAccounts
from rebalancer.application.encryption import SealBroken, erase_key
from rebalancer.domain.accounts.deletion import Deletion, DeletionTerms
from rebalancer.domain.accounts.mail import Mail, MailKind
from rebalancer.domain.portfolio.owner import EmailTaken
from tests.contracts.stores import (
    HOUR,
    NOW,
    a_deposit,
    a_share,
    a_user,
    stored_portfolio,
    stored_user,
)


def text_columns():
    return {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Text | JSON)
    }


def test_each_column_of_text_is_sealed_or_has_a_reason_not_to_be():
    sealed = {f"{one.table.name}.{name}" for one in PERSONAL.values() for name in one.names}
    assert not sealed & PUBLIC.keys()
    assert text_columns() == sealed | PUBLIC.keys()
    assert all(len(reason) > 10 for reason in PUBLIC.values())


@pytest.fixture(params=["sqlite", "postgres"])
def work(request, stores_of):
    return stores_of(request.param)


def rows_of(work, table):
    with work.engine.connect() as connection:
        return connection.execute(select(metadata.tables[table])).all()


def test_user_is_found_by_the_address_that_is_sealed(work):
    ada = stored_user(work, name="Ada Lovelace")
    with work.read() as tx:
        assert tx.users.by_email(ada.email) == ada
        assert tx.users.by_email("other@example.org") is None
    (row,) = [row for row in rows_of(work, "users") if row.id == ada.id]
    assert ada.email not in str(row) and "Lovelace" not in str(row)
    with pytest.raises(EmailTaken), work.begin() as tx:
        tx.users.add(a_user(email=ada.email))


def test_user_of_before_encryption_is_found_and_sealed_when_saved(work):
    ada = stored_user(SqlWork(work.engine))
    with work.begin() as tx:
        assert tx.users.by_email(ada.email) == ada
        tx.users.save(ada)
        assert tx.users.by_email(ada.email) == ada
    (row,) = [row for row in rows_of(work, "users") if row.id == ada.id]
    assert ada.email not in str(row)
    off = SqlWork(work.engine, Envelope(LocalKeys({"test": bytes(32)}), seals=False))
    with off.begin() as tx:
        assert tx.users.by_email(ada.email) == ada
        tx.users.save(ada)
    with work.read() as tx:
        assert tx.users.by_email(ada.email) == ada


def test_texts_that_were_swapped_between_rows_do_not_open(work):
    ada, bob = stored_user(work, name="Ada"), stored_user(work, name="Bob")
    table = metadata.tables["users"]
    names = {row.id: row.name for row in rows_of(work, "users")}
    with work.engine.begin() as connection:
        connection.execute(table.update().where(table.c.id == ada.id).values(name=names[bob.id]))
    with work.read() as tx, pytest.raises(SealBroken):
        tx.users.get(ada.id)


def test_note_of_an_owner_is_sealed_and_bound_to_its_entry(work):
    ada = stored_user(work)
    entries = [a_deposit(note="For Bob's flat"), a_deposit(note="inferred", action="A 2024-01-02")]
    portfolio = stored_portfolio(work, ada, *entries)
    with work.read() as tx:
        assert list(tx.portfolios.ledger(portfolio.id).entries) == entries
        assert tx.portfolios.entries(portfolio.id, limit=9) == entries[::-1]
    notes = [row.note for row in rows_of(work, "ledger_entries") if row.portfolio == portfolio.id]
    assert "Bob" not in notes[0] and notes[1] == "inferred"


def test_erasure_leaves_nothing_to_read(work):
    ada = stored_user(work)
    with work.begin() as tx:
        erase_key(tx, ada.id)
        assert tx.data_keys.get(ada.id) is None


def test_erased_account_leaves_no_sealed_address_and_no_key(work):
    ada, bob = stored_user(work), stored_user(work)
    portfolio = stored_portfolio(work, bob)
    with work.begin() as tx:
        tx.shares.add(a_share(portfolio, None, email=ada.email))
        tx.outbox.add(Mail(uuid4(), MailKind.NEW_SIGN_IN, ada.email, {}, NOW, NOW + HOUR))
        tx.deletions.save(Deletion(ada.id, NOW, NOW))
    assert EraseAccounts(work, MemoryReports(), DeletionTerms(HOUR))(NOW + HOUR) == 1
    assert [row.owner for row in rows_of(work, "data_keys") if row.owner == ada.id] == []
    assert [row for row in rows_of(work, "portfolio_shares") if row.owner == bob.id] == []
    with work.read() as tx:
        assert tx.outbox.count(ada.email, list(MailKind), NOW) == 0
        assert tx.users.by_email(ada.email) is None
