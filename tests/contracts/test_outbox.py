"""Contract of `Outbox`, see application/ports."""

from __future__ import annotations

import attrs
import pytest

from rebalancer.adapters.sql.work import SqlWork
from rebalancer.domain.accounts.mail import MailKind
from tests.contracts.stores import HOUR, NOW, a_mail, race

RESETS = [MailKind.RESET_PASSWORD, MailKind.CONFIRM_ADDRESS]


@pytest.fixture
def work(make):
    return make()


def add(work, *mails):
    with work.begin() as tx:
        for mail in mails:
            tx.outbox.add(mail)


def claim(work, now=NOW):
    with work.begin() as tx:
        return tx.outbox.claim(now, until=now + HOUR)


def has_due(work, now=NOW):
    with work.read() as tx:
        return tx.outbox.has_due(now)


def test_mail_is_claimed_by_one_and_due_again_later(work):
    assert not has_due(work)
    assert claim(work) is None
    mail = a_mail()
    add(work, mail)
    assert has_due(work)
    assert not has_due(work, NOW - HOUR)
    assert claim(work) == attrs.evolve(mail, attempts=1)
    assert claim(work) is None
    assert not has_due(work)
    assert claim(work, NOW + HOUR) == attrs.evolve(mail, attempts=2)


def test_mail_that_is_due_first_is_claimed_first(work):
    late, early = a_mail(), a_mail(created=NOW - HOUR)
    add(work, late, early)
    assert [claim(work).id, claim(work).id] == [early.id, late.id]


def test_same_mail_is_added_once(work):
    mail = a_mail()
    add(work, mail)
    add(work, attrs.evolve(mail, to="eve@example.org"))
    assert claim(work).to == mail.to
    assert claim(work) is None


def test_mail_of_a_transaction_that_fails_is_not_sent(work):
    with pytest.raises(ValueError), work.begin() as tx:
        tx.outbox.add(a_mail())
        raise ValueError
    assert not has_due(work)


def test_deferred_mail_is_due_at_its_time(work):
    mail = a_mail()
    add(work, mail)
    claim(work)
    with work.begin() as tx:
        tx.outbox.defer(mail.id, NOW + 2 * HOUR)
    assert claim(work, NOW + HOUR) is None
    assert claim(work, NOW + 2 * HOUR).id == mail.id


def test_closed_mail_is_never_due_and_without_its_facts(work):
    mail = a_mail()
    add(work, mail)
    claim(work)
    with work.begin() as tx:
        tx.outbox.close(mail.id, NOW)
        tx.outbox.defer(mail.id, NOW)
    assert not has_due(work, NOW + 99 * HOUR)
    assert claim(work, NOW + 99 * HOUR) is None
    if isinstance(work, SqlWork):
        with work.engine.begin() as connection:
            stored = connection.exec_driver_sql("SELECT CAST(facts AS TEXT) FROM outbox").all()
        assert stored == [("{}",)]


def test_each_mail_is_claimed_by_one_of_several_processes(work):
    mails = [a_mail() for _ in range(6)]
    add(work, *mails)
    claimed = [mail.id for mail in race(lambda _: claim(work)) if mail is not None]
    assert sorted(claimed) == sorted(set(claimed))
    while (mail := claim(work)) is not None:
        claimed.append(mail.id)
    assert sorted(claimed) == sorted(mail.id for mail in mails)


def test_mails_to_an_address_are_counted_also_when_sent(work):
    sent, waiting = a_mail(), a_mail()
    others = a_mail(to="bob@example.org"), a_mail(kind=MailKind.PASSWORD_CHANGED)
    add(work, sent, waiting, a_mail(created=NOW - HOUR), *others)
    with work.begin() as tx:
        tx.outbox.close(sent.id, NOW)
        assert tx.outbox.count(sent.to, RESETS, NOW) == 2
        assert tx.outbox.count(sent.to, RESETS, NOW - HOUR) == 3
        assert tx.outbox.count("eve@example.org", RESETS, NOW) == 0


def test_closed_and_expired_mails_are_deleted(work):
    sent, expired, waiting = a_mail(), a_mail(expires=NOW - HOUR), a_mail()
    add(work, sent, expired, waiting)
    with work.begin() as tx:
        tx.outbox.close(sent.id, NOW - HOUR)
        tx.outbox.delete_closed(NOW)
        assert tx.outbox.count(sent.to, RESETS, NOW) == 1
    assert claim(work).id == waiting.id


def test_service_without_mail_stores_none(stores_of):
    silent = attrs.evolve(stores_of("sqlite"), sends_mail=False)
    add(silent, a_mail())
    assert not has_due(attrs.evolve(silent, sends_mail=True))
