"""Logins of an earlier version become sessions and go on."""

from contextlib import ExitStack
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import insert

from rebalancer.adapters.memory.revocations import MemoryRevocations
from rebalancer.adapters.security.keys import HkdfKeys
from rebalancer.adapters.security.tokens import JwtTokens
from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.rows import TOKENS
from rebalancer.adapters.sql.tables import refresh_tokens, users
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.accounts import RefreshLogin
from rebalancer.domain.accounts.sessions import SESSION_LIFETIME
from tests.contracts.databases import new_database
from tests.contracts.stores import HOUR, NOW, a_token, a_user


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request, tmp_path):
    """Return an empty database."""
    with ExitStack() as at_the_end:
        url = f"sqlite:///{tmp_path}/rebalancer.db"
        if request.param == "postgres":
            server = request.getfixturevalue("postgres_url")
            url = at_the_end.enter_context(new_database(server))
        engine = connect(url)
        at_the_end.callback(engine.dispose)
        yield engine


def test_families_of_refresh_tokens_become_sessions(engine):
    migrations.upgrade(engine, "0015")
    ada, tokens = a_user(), JwtTokens(HkdfKeys(("a secret of more than 32 characters",)))
    first = a_token(ada.id, used=NOW + HOUR)
    second = a_token(
        ada.id,
        family=first.family,
        issued=NOW + HOUR,
        expires=NOW + timedelta(days=30),
        digest=tokens.digest("the token of a client"),
    )
    others = [a_token(ada.id) for _ in range(1_100)]
    row = {"id": ada.id, "email": ada.email, "name": "", "password": "$", "created": NOW}
    with engine.begin() as connection:
        connection.execute(insert(users), [row])
        rows = [TOKENS.to_row(token) for token in (first, second, *others)]
        connection.execute(insert(refresh_tokens), rows)
    migrations.upgrade(engine)
    work = SqlWork(engine)
    with work.read() as tx:
        found = tx.sessions.active(ada.id, NOW + HOUR)
        session = tx.sessions.find(first.family)
    assert {one.id for one in found} == {token.family for token in (first, *others)}
    assert session is not None
    assert (session.created, session.authenticated, session.used) == (NOW, NOW, NOW + HOUR)
    assert session.ends == NOW + SESSION_LIFETIME
    login = RefreshLogin(work, tokens, MemoryRevocations())(
        "the token of a client", now=NOW + timedelta(days=9)
    )
    assert login.session.id == first.family


def test_database_without_logins_has_no_sessions(engine):
    migrations.upgrade(engine)
    with SqlWork(engine).read() as tx:
        assert tx.sessions.active(uuid4(), NOW) == []
