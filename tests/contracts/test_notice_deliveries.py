"""Contracts of `Deliveries`, `OwnerChoices` and `Targets`, see application/ports."""

from datetime import time
from uuid import uuid4

import attrs
import pytest

from rebalancer.application.notices import raise_notice
from rebalancer.domain.errors import NotFound
from rebalancer.domain.notices.choices import Digest, Language, NoticeChoices, QuietHours
from rebalancer.domain.notices.deliveries import DeliveryState
from rebalancer.domain.notices.kinds import NoticeKind
from tests.contracts.stores import (
    HOUR,
    NOW,
    a_delivery,
    a_notice,
    a_target,
    all_pages,
    race,
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


def add(work, *deliveries):
    with work.begin() as tx:
        for delivery in deliveries:
            tx.notice_deliveries.add(delivery)


def claim(work, now=NOW, **others):
    with work.begin() as tx:
        return tx.notice_deliveries.claim(now, until=now + HOUR, **others)


def stored(work, delivery):
    with work.read() as tx:
        return tx.notice_deliveries.get(delivery.id, owner=delivery.owner)


def has_due(work, now=NOW):
    with work.read() as tx:
        return tx.notice_deliveries.has_due(now)


def test_message_is_claimed_by_one_and_due_again_later(work, ada):
    assert not has_due(work)
    delivery = a_delivery(a_notice(ada.id))
    add(work, delivery)
    assert has_due(work)
    assert not has_due(work, NOW - HOUR)
    assert claim(work) == attrs.evolve(delivery, attempts=1)
    assert claim(work) is None
    assert not has_due(work)
    assert claim(work, NOW + HOUR) == attrs.evolve(delivery, attempts=2)


def test_each_message_is_claimed_by_one_of_several_processes(work, ada, bob):
    users = [ada, bob, *(stored_user(work) for _ in range(3))]
    deliveries = [a_delivery(a_notice(user.id)) for user in users]
    add(work, *deliveries)
    claimed = [found.id for found in race(lambda _: claim(work)) if found is not None]
    while (found := claim(work)) is not None:
        claimed.append(found.id)
    assert sorted(claimed) == sorted(one.id for one in deliveries)


def test_notices_join_a_message_until_its_sending_begins(work, ada):
    first, second, third = (a_notice(ada.id, f"n{n}") for n in range(3))
    shared = a_delivery(first)
    add(work, shared, attrs.evolve(shared, notices=(second.id,)), shared)
    assert claim(work).notices == (first.id, second.id)
    late = attrs.evolve(shared, notices=(second.id, third.id))
    add(work, late, late)
    with work.begin() as tx:
        tx.notice_deliveries.close(shared.id, DeliveryState.SENT, NOW)
    assert claim(work).notices == (third.id,)
    assert claim(work, NOW) is None


def test_message_that_is_being_sent_holds_back_others_of_its_channel_alone(work, ada, bob):
    first, second = (a_delivery(a_notice(ada.id, f"n{n}"), due=NOW - HOUR) for n in range(2))
    other, elsewhere = a_delivery(a_notice(bob.id)), a_delivery(a_notice(ada.id), "target")
    add(work, first, second, other, elsewhere)
    busy = claim(work)
    assert {claim(work).id, claim(work).id} == {other.id, elsewhere.id}
    assert claim(work) is None
    with work.begin() as tx:
        tx.notice_deliveries.close(busy.id, DeliveryState.SENT, NOW)
    assert {busy.id, claim(work).id} == {first.id, second.id}


def test_channels_can_be_left_out(work, ada):
    add(work, a_delivery(a_notice(ada.id)))
    assert claim(work, without=["email"]) is None
    assert claim(work, without=["other"]) is not None


def test_closed_message_stays_closed(work, ada):
    delivery = a_delivery(a_notice(ada.id))
    add(work, delivery)
    claim(work)
    with work.begin() as tx:
        tx.notice_deliveries.close(delivery.id, DeliveryState.SENT, NOW)
        tx.notice_deliveries.close(delivery.id, DeliveryState.FAILED, NOW + HOUR, fault="late")
        tx.notice_deliveries.defer(delivery.id, NOW, rest=NOW, attempts=1)
        tx.notice_deliveries.retry(delivery.id, NOW)
        tx.notice_deliveries.close(uuid4(), DeliveryState.SENT, NOW)
    assert not has_due(work, NOW + 99 * HOUR)
    expected = attrs.evolve(delivery, attempts=1, state=DeliveryState.SENT, closed=NOW)
    assert stored(work, delivery) == expected


def test_deferred_message_defers_its_channel(work, ada):
    first, second = (a_delivery(a_notice(ada.id, f"n{n}")) for n in range(2))
    elsewhere = a_delivery(a_notice(ada.id), "target")
    add(work, first, second)
    busy = claim(work)
    add(work, elsewhere)
    with work.begin() as tx:
        until = NOW + 3 * HOUR
        tx.notice_deliveries.defer(busy.id, until, rest=NOW + HOUR, attempts=1, fault="status 503")
    assert claim(work).id == elsewhere.id
    assert claim(work) is None
    assert sorted(stored(work, one).due for one in (first, second)) == [NOW + HOUR, until]
    assert stored(work, busy).due == until
    assert stored(work, busy).fault == "status 503"


def test_process_that_lost_its_claim_cannot_defer(work, ada):
    delivery = a_delivery(a_notice(ada.id))
    add(work, delivery)
    claim(work)
    claim(work, NOW + HOUR)
    with work.begin() as tx:
        later = NOW + 9 * HOUR
        tx.notice_deliveries.defer(delivery.id, later, rest=later, attempts=1, fault="late")
    assert stored(work, delivery) == attrs.evolve(delivery, attempts=2)


def test_failed_message_can_be_sent_again(work, ada):
    delivery = a_delivery(a_notice(ada.id))
    add(work, delivery)
    claim(work)
    with work.begin() as tx:
        tx.notice_deliveries.close(delivery.id, DeliveryState.FAILED, NOW, fault="status 410")
        assert tx.notice_deliveries.get(delivery.id, owner=ada.id).fault == "status 410"
        tx.notice_deliveries.retry(delivery.id, NOW + HOUR)
    again = claim(work, NOW + HOUR)
    assert (again.id, again.attempts, again.created) == (delivery.id, 2, NOW + HOUR)


def test_waiting_messages_of_a_channel_are_dropped(work, ada, bob):
    mine, others = a_delivery(a_notice(ada.id)), a_delivery(a_notice(bob.id))
    add(work, mine, others)
    with work.begin() as tx:
        tx.notice_deliveries.drop(ada.id, "email", NOW)
    assert stored(work, mine).state is DeliveryState.DROPPED
    assert claim(work).id == others.id


def test_messages_are_listed_latest_first(work, ada, bob):
    mine = [a_delivery(a_notice(ada.id, f"n{n}"), created=NOW + HOUR * (n // 2)) for n in range(5)]
    add(work, *mine, a_delivery(a_notice(bob.id)))
    with work.begin() as tx:
        tx.notice_deliveries.close(mine[0].id, DeliveryState.FAILED, NOW)
    latest = sorted(mine, key=lambda one: (one.created, one.id), reverse=True)
    with work.read() as tx:
        page = tx.notice_deliveries.page
        found = all_pages(lambda last: page(ada.id, before=last, limit=2), 2)
        assert [one.id for one in found] == [one.id for one in latest]
        failed = page(ada.id, state=DeliveryState.FAILED, limit=9)
        assert [one.id for one in failed] == [mine[0].id]
        with pytest.raises(NotFound):
            tx.notice_deliveries.get(mine[0].id, owner=bob.id)


def test_old_messages_are_deleted(work, ada):
    old, new = a_delivery(a_notice(ada.id, "old")), a_delivery(a_notice(ada.id, "new"))
    add(work, old, new)
    with work.begin() as tx:
        tx.notice_deliveries.close(old.id, DeliveryState.SENT, NOW - HOUR)
        tx.notice_deliveries.delete_closed(NOW)
        assert [one.id for one in tx.notice_deliveries.page(ada.id, limit=9)] == [new.id]


def test_choices_are_read_as_written(work, ada):
    with work.begin() as tx:
        assert tx.notice_choices.get(ada.id) == NoticeChoices()
        chosen = NoticeChoices(
            Language.GERMAN,
            "Europe/Berlin",
            Digest.DAILY,
            time(7, 30),
            QuietHours(time(22), time(6, 15)),
            True,
            NOW,
        ).switched("email", {NoticeKind.DRIFT: False})
        tx.notice_choices.save(ada.id, NoticeChoices())
        tx.notice_choices.save(ada.id, chosen)
    with work.read() as tx:
        assert tx.notice_choices.get(ada.id) == chosen


def test_targets_are_read_as_written_by_their_owner(work, ada, bob):
    first, second = a_target(ada.id), a_target(ada.id, created=NOW + HOUR)
    with work.begin() as tx:
        tx.notice_targets.add(second)
        tx.notice_targets.add(first)
        changed = attrs.evolve(first, name="New", fault="status 500", failed=NOW, delivered=NOW)
        tx.notice_targets.save(changed)
        assert tx.notice_targets.of_owner(ada.id) == [changed, second]
        assert tx.notice_targets.of_owner(bob.id) == []
    for change in (
        lambda tx: tx.notice_targets.get(first.id, owner=bob.id),
        lambda tx: tx.notice_targets.delete(first.id, owner=bob.id),
        lambda tx: tx.notice_targets.save(a_target(ada.id)),
    ):
        with work.begin() as tx, pytest.raises(NotFound) as error:
            change(tx)
        assert error.value.code == "notice_target_not_found"
    with work.begin() as tx:
        tx.notice_targets.delete(first.id, owner=ada.id)
        assert tx.notice_targets.of_owner(ada.id) == [second]


def test_raised_notice_goes_to_the_chosen_channels_once(work, ada):
    target = a_target(ada.id)
    quiet = QuietHours(time(12), time(14))  # NOW is 12:30 UTC
    choices = NoticeChoices(quiet=quiet).switched("app", {NoticeKind.KILL_SWITCH: False})
    first, second = a_notice(ada.id, "n1"), a_notice(ada.id, "n2", created=NOW + HOUR)
    with work.begin() as tx:
        tx.notice_targets.add(target)
        tx.notice_choices.save(ada.id, choices)
        for notice in (first, second, first):
            raise_notice(tx, notice)
        found = tx.notice_deliveries.page(ada.id, limit=9)
        assert tx.notices.count(ada.id).unread == 0
    assert {one.channel for one in found} == {"email", target.channel}
    assert [one.notices for one in found] == [(first.id, second.id)] * 2
    assert {one.due for one in found} == {NOW.replace(hour=14, minute=0, second=0, microsecond=0)}
