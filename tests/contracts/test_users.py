"""Roles and disabled accounts in every store of users."""

import attrs
import pytest

from rebalancer.domain.accounts.deletion import Deletion
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.errors import Conflict, NotFound
from tests.contracts.stores import HOUR, NOW, a_user, race, stored_user

RACERS = 8


@pytest.fixture
def work(make):
    """Return an empty store."""
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


def test_users_are_listed_oldest_first(work):
    made = [
        stored_user(work, created=NOW + HOUR * age, role=role)
        for age, role in ((2, Role.PERSON), (0, Role.OPERATOR), (1, Role.PERSON), (1, Role.ADVISER))
    ]
    expected = sorted(made, key=lambda user: (user.created, user.id))
    with work.read() as tx:
        assert tx.users.page(limit=3) == expected[:3]
        assert tx.users.page(after=expected[1].id, limit=9) == expected[2:]
        assert tx.users.page(role=Role.PERSON, limit=9) == [made[2], made[0]]
        assert tx.users.page(after=a_user().id, limit=9) == []


def test_operators_that_are_disabled_or_to_be_deleted_do_not_count(work):
    operator, leaving = (stored_user(work, role=Role.OPERATOR) for _ in range(2))
    with work.begin() as tx:
        tx.deletions.save(Deletion(leaving.id, requested=NOW, due=NOW + HOUR))
    stored_user(work, role=Role.OPERATOR, disabled=NOW)
    stored_user(work, role=Role.ADVISER)
    for begin in (work.begin, work.read):
        with begin() as tx:
            assert tx.users.enabled_operators() == {operator.id}


def test_operators_cannot_demote_each_other_at_the_same_time(work):
    operators = [stored_user(work, role=Role.OPERATOR) for _ in range(RACERS)]

    def demote(number):
        with work.begin() as tx:
            if len(tx.users.enabled_operators()) == 1:
                raise Conflict("the last operator")
            chosen = tx.users.get(operators[number].id)
            tx.users.save(attrs.evolve(chosen, role=Role.PERSON))

    failed = [one for one in race(demote, RACERS) if one is not None]
    assert [type(one) for one in failed] == [Conflict]
    with work.read() as tx:
        assert len(tx.users.enabled_operators()) == 1


def test_changes_of_a_user_at_the_same_time_are_all_stored(work, ada):
    changes = [{"disabled": NOW}, {"role": Role.ADVISER}, {"name": "Ada L."}, {"assessed": NOW}]

    def change(number):
        with work.begin() as tx:
            stored = tx.users.get(ada.id)
            tx.users.save(attrs.evolve(stored, **changes[number % len(changes)]))

    assert set(race(change, RACERS)) == {None}
    expected = attrs.evolve(ada, **{k: v for one in changes for k, v in one.items()})
    with work.read() as tx:
        assert tx.users.get(ada.id) == expected


def test_unknown_user_is_not_found(work):
    with work.begin() as tx, pytest.raises(NotFound):
        tx.users.get(a_user().id)
