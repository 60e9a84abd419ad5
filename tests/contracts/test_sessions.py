"""Contract of `Sessions`, and of calls after a commit."""

from datetime import timedelta
from uuid import uuid4

import attrs
import pytest

from rebalancer.domain.accounts.sessions import IDLE_LIFETIME, SESSION_LIFETIME
from rebalancer.domain.errors import NotFound
from tests.contracts.stores import HOUR, NOW, a_session, a_token, stored_user


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


def add(work, *sessions):
    with work.begin() as tx:
        for session in sessions:
            tx.sessions.add(session)


def test_session_is_stored_and_replaced(work, ada):
    session = a_session(ada.id)
    add(work, session)
    ended = attrs.evolve(session, used=NOW + HOUR, agent="Ein Gerät", ended=NOW + 2 * HOUR)
    with work.begin() as tx:
        assert tx.sessions.find(session.id) == session
        assert tx.sessions.find(uuid4()) is None
        tx.sessions.save(ended)
    with work.read() as tx:
        assert tx.sessions.find(session.id) == ended


def test_unknown_session_cannot_be_replaced(work, ada):
    with pytest.raises(NotFound), work.begin() as tx:
        tx.sessions.save(a_session(ada.id))


def test_active_sessions_of_one_user_are_listed_last_used_first(work, ada):
    old, new = a_session(ada.id), a_session(ada.id, used=NOW + HOUR)
    add(
        work,
        old,
        new,
        a_session(ada.id, ended=NOW),
        a_session(ada.id, ends=NOW + HOUR),
        a_session(ada.id, used=NOW + HOUR - IDLE_LIFETIME),
        a_session(stored_user(work).id),
    )
    with work.read() as tx:
        assert tx.sessions.active(ada.id, NOW + HOUR) == [new, old]


def test_past_sessions_are_deleted_and_ended_ones_remain(work, ada):
    past = a_session(ada.id, ends=NOW + HOUR)
    ended = a_session(ada.id, ended=NOW)
    add(work, past, ended)
    with work.begin() as tx:
        tx.sessions.delete_past(NOW + HOUR)
    with work.read() as tx:
        assert tx.sessions.find(past.id) is None
        assert tx.sessions.find(ended.id) == ended
    with work.begin() as tx:
        tx.sessions.delete_past(NOW + SESSION_LIFETIME + timedelta(seconds=1))
    with work.read() as tx:
        assert tx.sessions.find(ended.id) is None


def test_unused_tokens_of_a_session_are_found(work, ada):
    used, unused = a_token(ada.id, used=NOW), a_token(ada.id)
    unused = attrs.evolve(unused, family=used.family)
    with work.begin() as tx:
        for token in (used, unused, a_token(ada.id)):
            tx.tokens.add(token)
        assert tx.tokens.unused(used.family) == [unused]


def test_calls_after_a_commit_see_it_and_do_not_follow_a_rollback(work, ada):
    session = a_session(ada.id)
    seen = []

    def look():
        with work.begin() as tx:
            seen.append(tx.sessions.find(session.id))

    with pytest.raises(ValueError, match="no"), work.begin() as tx:
        tx.sessions.add(session)
        tx.after_commit.append(look)
        raise ValueError("no")
    assert seen == []
    with work.begin() as tx:
        tx.sessions.add(session)
        tx.after_commit.append(look)
    assert seen == [session]
