"""Contract of `Notices`, see application/ports."""

from uuid import uuid4

import attrs
import pytest

from rebalancer.application.notices import raise_notice
from rebalancer.application.ports.notices import NoticeCount
from rebalancer.domain.errors import NotFound
from tests.contracts.stores import (
    HOUR,
    NOW,
    a_notice,
    all_pages,
    race,
    stored_portfolio,
    stored_user,
)


@pytest.fixture
def work(make):
    return make()


@pytest.fixture
def ada(work):
    return stored_user(work)


@pytest.fixture
def bob(work):
    return stored_user(work)


def raised(work, *notices):
    with work.begin() as tx:
        return [raise_notice(tx, notice) for notice in notices]


def count(work, user):
    with work.read() as tx:
        return tx.notices.count(user.id)


def test_notice_is_read_as_written(work, ada):
    portfolio = stored_portfolio(work, ada)
    notice = a_notice(ada.id, portfolio=portfolio.id, read=NOW, resolved=NOW + HOUR, link="/a?b=c")
    assert raised(work, notice) == [True]
    with work.read() as tx:
        assert tx.notices.get(notice.id, owner=ada.id) == notice
        assert tx.notices.of([notice.id, uuid4()]) == [notice]


def test_same_key_makes_one_notice_of_each_owner(work, ada, bob):
    first, other = a_notice(ada.id), a_notice(bob.id)
    again = attrs.evolve(first, created=NOW + HOUR, link="/later")
    assert raised(work, first, other, again) == [True, True, False]
    assert raised(work, again) == [False]
    with work.read() as tx:
        assert tx.notices.page(ada.id, limit=9) == [first]
        assert tx.notices.page(bob.id, limit=9) == [other]


def test_notice_raised_by_several_processes_is_new_to_one(work, ada):
    assert sorted(race(lambda _: raised(work, a_notice(ada.id))[0])) == [False] * 7 + [True]


def test_notice_of_a_transaction_that_fails_does_not_exist(work, ada):
    with pytest.raises(ValueError), work.begin() as tx:
        raise_notice(tx, a_notice(ada.id))
        raise ValueError
    assert count(work, ada) == NoticeCount(0, None)


def test_pages_are_latest_first_and_filtered(work, ada, bob):
    portfolio = stored_portfolio(work, ada)
    about = {"portfolio": portfolio.id}
    notices = [
        a_notice(ada.id, f"n{n}", created=NOW + HOUR * (n // 2), **(about if n % 2 else {}))
        for n in range(6)
    ]
    raised(work, *notices, a_notice(bob.id))
    latest = sorted(notices, key=lambda one: (one.created, one.id), reverse=True)
    with work.begin() as tx:
        tx.notices.mark_read(latest[1].id, owner=ada.id, now=NOW)
    with work.read() as tx:
        page = tx.notices.page
        assert [
            one.id for one in all_pages(lambda last: page(ada.id, before=last, limit=4), 4)
        ] == [one.id for one in latest]
        unread = page(ada.id, unread=True, before=latest[1].id, limit=9)
        assert unread == latest[2:]
        mine = page(ada.id, portfolio=portfolio.id, limit=9)
        assert [one.id for one in mine] == [one.id for one in latest if one.portfolio]
        assert page(bob.id, before=latest[0].id, limit=9) == []


def test_notices_of_others_are_not_found(work, ada, bob):
    notice = a_notice(ada.id)
    raised(work, notice)
    for change in (
        lambda tx: tx.notices.get(notice.id, owner=bob.id),
        lambda tx: tx.notices.mark_read(notice.id, owner=bob.id, now=NOW),
        lambda tx: tx.notices.get(uuid4(), owner=ada.id),
    ):
        with work.begin() as tx, pytest.raises(NotFound) as error:
            change(tx)
        assert error.value.code == "notice_not_found"
    with work.begin() as tx:
        assert tx.notices.mark_all_read(bob.id, NOW) == 0
        assert tx.notices.mark_all_read(bob.id, NOW, through=notice.id) == 0
        assert not tx.notices.resolve(bob.id, notice.key, NOW)
    assert count(work, ada) == NoticeCount(1, notice.id)


def test_notices_are_marked_as_read_once(work, ada):
    first, second, third = (a_notice(ada.id, f"n{n}", created=NOW + HOUR * n) for n in range(3))
    raised(work, first, second, third)
    assert count(work, ada) == NoticeCount(3, third.id)
    with work.begin() as tx:
        assert tx.notices.mark_read(first.id, owner=ada.id, now=NOW).read == NOW
        assert tx.notices.mark_read(first.id, owner=ada.id, now=NOW + HOUR).read == NOW
        assert tx.notices.mark_all_read(ada.id, NOW + HOUR, through=second.id) == 1
    assert count(work, ada) == NoticeCount(1, third.id)
    with work.begin() as tx:
        assert tx.notices.mark_all_read(ada.id, NOW + HOUR) == 1
    assert count(work, ada) == NoticeCount(0, third.id)


def test_state_that_ended_is_resolved_once(work, ada):
    notice = a_notice(ada.id)
    raised(work, notice)
    with work.begin() as tx:
        assert tx.notices.resolve(ada.id, notice.key, NOW + HOUR)
        assert not tx.notices.resolve(ada.id, notice.key, NOW + 2 * HOUR)
        assert not tx.notices.resolve(ada.id, "another", NOW)
        assert tx.notices.get(notice.id, owner=ada.id).resolved == NOW + HOUR


def test_old_notices_are_deleted(work, ada):
    old, new = a_notice(ada.id, "old", created=NOW - HOUR), a_notice(ada.id, "new")
    raised(work, old, new)
    with work.begin() as tx:
        tx.notices.delete_old(NOW)
    assert count(work, ada) == NoticeCount(1, new.id)
