"""Contract of `OneTimeTokens`, see application/ports."""

from __future__ import annotations

import pytest

from tests.contracts.stores import HOUR, NOW, a_one_time, race, stored_user


@pytest.fixture
def work(make):
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


def stored(work, *tokens):
    with work.begin() as tx:
        for token in tokens:
            tx.one_time.add(token)
    return tokens[0]


def take(work, token, *, purpose="reset", now=NOW):
    with work.begin() as tx:
        return tx.one_time.take(token.digest, purpose, now)


def test_token_is_taken_once(work, ada):
    token = stored(work, a_one_time(ada.id), a_one_time(ada.id))
    with work.read() as tx:
        assert tx.one_time.get(token.digest, "reset", NOW) == token
    assert take(work, token) == token
    assert take(work, token) is None
    with work.read() as tx:
        assert tx.one_time.get(token.digest, "reset", NOW) is None


def test_token_without_owner_is_taken(work):
    token = stored(work, a_one_time(None))
    assert take(work, token) == token


def test_token_of_another_purpose_or_expired_is_neither_found_nor_used(work, ada):
    token = stored(work, a_one_time(ada.id))
    assert take(work, token, purpose="verify") is None
    assert take(work, token, now=token.expires) is None
    with work.read() as tx:
        assert tx.one_time.get(token.digest, "verify", NOW) is None
        assert tx.one_time.get(token.digest, "reset", token.expires) is None
        assert tx.one_time.get("unknown", "reset", NOW) is None
    assert take(work, token) == token


def test_token_taken_in_a_transaction_that_fails_stays_valid(work, ada):
    token = stored(work, a_one_time(ada.id))
    with pytest.raises(ValueError), work.begin() as tx:
        assert tx.one_time.take(token.digest, "reset", NOW) == token
        raise ValueError
    assert take(work, token) == token


def test_one_of_concurrent_uses_gets_the_token(work, ada):
    token = stored(work, a_one_time(ada.id))
    taken = race(lambda _: take(work, token))
    assert [found for found in taken if found is not None] == [token]


def test_tokens_of_an_owner_are_counted_and_deleted_by_purpose(work, ada):
    bob = stored_user(work)
    other, his = a_one_time(ada.id, purpose="verify"), a_one_time(bob.id)
    stored(work, a_one_time(ada.id), a_one_time(ada.id), other, his, a_one_time(None))
    stored(work, a_one_time(ada.id, expires=NOW))
    with work.begin() as tx:
        assert tx.one_time.count(ada.id, "reset", NOW) == 2
        tx.one_time.delete(ada.id, "reset")
        assert tx.one_time.count(ada.id, "reset", NOW) == 0
    assert take(work, other, purpose="verify") == other
    assert take(work, his) == his


def test_expired_tokens_are_deleted(work, ada):
    old, good = a_one_time(ada.id, expires=NOW), a_one_time(ada.id, expires=NOW + HOUR)
    stored(work, old, good)
    with work.begin() as tx:
        tx.one_time.delete_expired(NOW)
    assert take(work, old, now=NOW - HOUR) is None
    assert take(work, good) == good
