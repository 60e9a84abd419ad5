"""Saved mapping profiles in every store."""

from datetime import timedelta
from uuid import UUID

import attrs
import pytest

from rebalancer.domain.errors import NotFound
from tests.contracts.stores import NOW, a_saved_profile, stored_user


def test_profiles_are_saved_replaced_listed_and_deleted_by_owner(make):
    work = make()
    ada, bob = stored_user(work), stored_user(work)
    saved = a_saved_profile(ada.id)
    with work.begin() as tx:
        tx.profiles.save(saved)
        tx.profiles.save(a_saved_profile(bob.id, name="Broker"))
        tx.profiles.save(a_saved_profile(ada.id, name="another"))
    again = attrs.evolve(a_saved_profile(ada.id, name="MY  bank"), changed=NOW + timedelta(hours=1))
    with work.read() as tx:
        assert tx.profiles.get("my bank", owner=ada.id) == saved
        assert tx.profiles.find("my bank", owner=bob.id) is None
    with work.begin() as tx:
        tx.profiles.save(again)
    with work.read() as tx:
        names = [one.profile.name for one in tx.profiles.of_owner(ada.id)]
        assert names == ["another", "MY  bank"]
        assert tx.profiles.get("My Bank", owner=ada.id) == again
    with work.begin() as tx:
        tx.profiles.delete("My bank", owner=ada.id)
        for owner in (ada.id, UUID(int=5)):
            with pytest.raises(NotFound):
                tx.profiles.delete("My bank", owner=owner)
    with work.read() as tx:
        with pytest.raises(NotFound, match="no mapping profile is called"):
            tx.profiles.get("My bank", owner=ada.id)
        assert len(tx.profiles.of_owner(bob.id)) == 1
