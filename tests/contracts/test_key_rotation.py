"""Rotation of keys over full databases: switching on, renewing, switching off."""

from contextlib import ExitStack

import pytest
from sqlalchemy import select

from rebalancer.adapters.security.envelope import Envelope
from rebalancer.adapters.security.key_encryption import LocalKeys
from rebalancer.adapters.sql import rotation
from rebalancer.adapters.sql.database import SqlDatabase
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.sealed import PERSONAL
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.encryption import KeyUnavailable, NoEncryption
from rebalancer.domain.errors import Conflict
from tests.contracts.databases import OWNER, as_role
from tests.contracts.stores import (
    NOW,
    a_deposit,
    a_one_time,
    a_passkey,
    a_session,
    a_totp,
    a_user,
    stored_portfolio,
    stored_user,
)

OLD, NEW = {"old": b"o" * 32}, {"new": b"n" * 32}


def envelope(keys, seals=True):
    """Return the encryption of a new process, which remembers no keys of another database."""
    return Envelope(LocalKeys(keys), seals)


def off():
    return envelope(NEW | OLD, seals=False)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request, makers):
    with ExitStack() as at_the_end:
        made = connect(as_role(makers[request.param](), OWNER))
        at_the_end.callback(made.dispose)
        yield made


def fill(work):
    """Store texts of several tables; return what is read of them."""
    users = [stored_user(work, name=f"Ada {number}") for number in range(5)]
    for user in users:
        stored_portfolio(work, user, a_deposit(note="Why"), a_deposit(note=""))
        with work.begin() as tx:
            tx.one_time.add(a_one_time(user.id, document={"email": "new@example.org", "a": 1}))
            tx.passkeys.add(a_passkey(user.id, name="Laptop"))
            tx.totp.save(a_totp(user.id))
            tx.sessions.add(a_session(user.id))
    return users


def read(engine, encryption, users):
    with SqlWork(engine, encryption).read() as tx:
        return [
            (
                tx.users.get(user.id),
                tx.users.by_email(user.email),
                tx.passkeys.of_owner(user.id)[0].name,
                tx.totp.get(user.id),
                tx.sessions.active(user.id, NOW),
                [
                    [entry.note for entry in tx.portfolios.ledger(one.id).entries]
                    for one in tx.portfolios.page(user.id, limit=9)
                ],
            )
            for user in users
        ]


def texts_of(engine):
    """Return all personal values as they are stored."""
    with engine.connect() as connection:
        return {
            name: [
                str(getattr(row, column))
                for row in connection.execute(select(one.table).order_by(*one.table.primary_key))
                for column in one.names
            ]
            for name, one in PERSONAL.items()
        }


def rotate(engine, encryption, batch=2):
    seen = []
    done = rotation.rotate_keys(engine, encryption, lambda *at: seen.append(at), batch)
    assert not seen or seen[-1][0] == seen[-1][1]
    return done


def test_first_rotation_encrypts_what_is_plain_and_the_last_gives_it_back(engine):
    users = fill(SqlWork(engine))
    before, stored = read(engine, NoEncryption(), users), texts_of(engine)
    done = rotate(engine, envelope(OLD))
    assert done.keys == 0 and done.rows["users"] == 5 and done.rows["ledger_entries"] == 5
    plain, sealed = (
        {text for texts in found.values() for text in texts if text not in ("", "None")}
        for found in (stored, texts_of(engine))
    )
    assert "Ada 0" in plain and not plain & sealed
    assert not any("Laptop" in text for text in sealed)
    assert read(engine, envelope(OLD), users) == before
    with pytest.raises(KeyUnavailable):
        read(engine, NoEncryption(), users)
    assert rotate(engine, envelope(OLD)) == rotation.KeyRotation(0, {})

    assert rotate(engine, envelope(NEW | OLD)) == rotation.KeyRotation(6, {})  # with the system.s
    assert read(engine, envelope(NEW), users) == before
    with pytest.raises(KeyUnavailable, match="'new', which is not configured"):
        rotate(engine, envelope(OLD))

    done = rotate(engine, off())
    assert done.removed and done.rows["users"] == 5
    assert texts_of(engine) == stored
    assert read(engine, NoEncryption(), users) == before
    with SqlWork(engine).read() as tx:
        assert tx.data_keys.counts() == {}


def test_process_without_keys_finds_and_adds_no_accounts(engine):
    users = fill(SqlWork(engine))
    rotate(engine, envelope(OLD))
    work = SqlWork(engine)
    for ask in (
        lambda tx: tx.users.by_email(users[0].email),
        lambda tx: tx.users.add(a_user(email=users[0].email)),  # its index would not be unique
    ):
        with pytest.raises(KeyUnavailable), work.begin() as tx:
            ask(tx)


def test_interrupted_rotation_continues(engine):
    users = fill(SqlWork(engine))
    before = read(engine, NoEncryption(), users)

    def stop(done, total):
        raise KeyboardInterrupt

    for keys in (OLD, NEW | OLD):
        with pytest.raises(KeyboardInterrupt):
            rotation.rotate_keys(engine, envelope(keys), stop, 2)
        assert read(engine, envelope(keys), users) == before  # while some rows are changed
        rotate(engine, envelope(keys))
        assert read(engine, envelope(keys), users) == before
    with pytest.raises(KeyboardInterrupt):
        rotation.rotate_keys(engine, off(), stop, 2)
    assert read(engine, off(), users) == before
    rotate(engine, off())
    assert read(engine, NoEncryption(), users) == before


def test_keys_stay_while_other_processes_encrypt(engine):
    fill(SqlWork(engine, envelope(OLD)))
    late = []

    def register(done, total):
        if not late:
            late.append(stored_user(SqlWork(engine, envelope(OLD)), name="Late"))

    database = SqlDatabase(engine, envelope(OLD, seals=False))
    with pytest.raises(Conflict, match="encrypted meanwhile"):
        rotation.rotate_keys(
            engine,
            database.encryption,
            lambda done, total: register(done, total) if done >= total - 1 else None,
            2,
        )
    with SqlWork(engine, envelope(OLD)).read() as tx:
        assert tx.users.get(late[0].id).name == "Late"
    assert database.rotate_keys().removed
