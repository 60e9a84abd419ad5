"""Contract of `ApiKeys`."""

from uuid import uuid4

import attrs
import pytest

from rebalancer.domain.accounts.api_keys import Scope
from rebalancer.domain.errors import NotFound
from tests.contracts.stores import HOUR, NOW, an_api_key, stored_user


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


def test_keys_are_stored_and_listed_oldest_first(work, ada):
    new = an_api_key(ada.id, created=NOW + HOUR, scopes=(Scope.READ,), name="Später")
    old, hers = an_api_key(ada.id), an_api_key(stored_user(work).id)
    with work.begin() as tx:
        for key in (new, old, hers):
            tx.api_keys.add(key)
    with work.read() as tx:
        assert tx.api_keys.of_owner(ada.id) == [old, new]
        assert tx.api_keys.by_digest(new.digest) == new
        assert tx.api_keys.by_digest("unknown") is None


def test_use_of_a_key_is_noted(work, ada):
    key = an_api_key(ada.id)
    with work.begin() as tx:
        tx.api_keys.add(key)
        tx.api_keys.note_use(key.id, NOW + HOUR)
        tx.api_keys.note_use(uuid4(), NOW)
        assert tx.api_keys.by_digest(key.digest) == attrs.evolve(key, used=NOW + HOUR)


def test_key_is_deleted_by_its_owner_alone(work, ada):
    key, eve = an_api_key(ada.id), stored_user(work)
    with work.begin() as tx:
        tx.api_keys.add(key)
    for id, owner in ((key.id, eve.id), (uuid4(), ada.id)):
        with pytest.raises(NotFound), work.begin() as tx:
            tx.api_keys.delete(id, owner=owner)
    with work.begin() as tx:
        tx.api_keys.delete(key.id, owner=ada.id)
        assert tx.api_keys.of_owner(ada.id) == []
