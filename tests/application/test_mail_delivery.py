"""Delivery of mails from the outbox."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.account_notices import notify
from rebalancer.application.mail_delivery import (
    FIRST_PAUSE,
    LEASE,
    LONGEST_PAUSE,
    DeliverMail,
    pause_after,
)
from rebalancer.application.mail_texts import FACTS, write_message
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.application.ports.mail import Delivery, MailServerDown, Outcome
from rebalancer.domain.accounts.mail import MAIL_LIFETIME, MailKind
from tests.contracts.stores import NOW, a_mail, a_user

URL = "https://app.example.org"


@attrs.define
class Server:
    """Mail server in memory, whose next answers are given."""

    answers: list = attrs.field(factory=list)
    sent: list = attrs.field(factory=list)

    def send(self, message):
        answer = self.answers.pop(0) if self.answers else Delivery(Outcome.SENT)
        if isinstance(answer, BaseException):
            raise answer
        if answer.outcome is Outcome.SENT:
            self.sent.append(message)
        return answer


@attrs.define
class World:
    """Store, mail server and clock."""

    work: MemoryWork = attrs.field(factory=MemoryWork)
    server: Server = attrs.field(factory=Server)
    now: object = NOW

    def add(self, *mails):
        with self.work.begin() as tx:
            for mail in mails:
                tx.outbox.add(mail)

    def deliver(self, **options):
        return DeliverMail(self.work, self.server, lambda: self.now, URL)(**options)


@pytest.fixture
def world():
    return World()


def test_mails_are_sent_once(world):
    mails = [a_mail(), a_mail()]
    world.add(*mails)
    assert world.deliver() == 2
    assert {message.id for message in world.server.sent} == {mail.id for mail in mails}
    world.now += 2 * LEASE
    assert world.deliver() == 0
    assert len(world.server.sent) == 2


def test_mail_of_a_killed_process_is_sent_after_the_lease(world):
    world.add(a_mail())
    world.server.answers = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        world.deliver()
    assert world.deliver() == 0
    world.now += LEASE
    assert world.deliver() == 1


def test_deferred_mail_is_tried_again_after_growing_pauses(world):
    world.add(a_mail())
    world.server.answers = [Delivery(Outcome.DEFERRED, "status 450")] * 3
    pause, started = FIRST_PAUSE, world.now
    for _ in range(3):
        assert world.deliver() == 0
        world.now += pause - timedelta(milliseconds=1)
        before = len(world.server.answers)
        world.deliver()
        assert len(world.server.answers) == before
        world.now += timedelta(milliseconds=1)
        pause *= 2
    assert world.deliver() == 1
    assert world.now - started == 7 * FIRST_PAUSE


def test_pauses_grow_up_to_an_hour():
    pauses = [pause_after(attempts) for attempts in range(1, 200)]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_no_further_mail_is_tried_while_the_server_is_down(world):
    world.add(a_mail(), a_mail())
    world.server.answers = [MailServerDown("away")] * 2
    with pytest.raises(MailServerDown):
        world.deliver()
    assert len(world.server.answers) == 1
    world.server.answers = []
    world.now += FIRST_PAUSE
    assert world.deliver() == 2


def test_refused_mail_is_not_tried_again(world):
    world.add(a_mail())
    world.server.answers = [Delivery(Outcome.REFUSED, "status 550")]
    assert world.deliver() == 0
    world.now += MAIL_LIFETIME - LEASE
    assert world.deliver() == 0
    assert world.server.sent == []


def test_expired_mail_is_not_sent(world):
    world.add(a_mail(expires=NOW))
    assert world.deliver() == 0
    assert world.server.sent == []


def test_delivery_ends_between_two_mails(world):
    world.add(a_mail(), a_mail())
    assert world.deliver(should_stop=lambda: len(world.server.sent) == 1) == 1
    assert world.deliver() == 1


def test_sent_mails_are_forgotten_after_a_day(world):
    mail = a_mail()
    world.add(mail)
    world.deliver()
    delete = DeleteExpired(world.work)
    for age, left in ((timedelta(hours=23), 1), (timedelta(hours=25), 0)):
        delete(world.now + age)
        with world.work.read() as tx:
            assert tx.outbox.count(mail.to, [mail.kind], NOW) == left


def test_notice_goes_to_the_owner_of_the_account(world):
    ada = a_user()
    with world.work.begin() as tx:
        notify(tx, ada, MailKind.FACTOR_ADDED, now=NOW, factor="passkey")
        notify(tx, ada, MailKind.EMAIL_CHANGED, now=NOW, to="old@example.org")
    assert world.deliver() == 2
    texts = {message.to: message.text for message in world.server.sent}
    assert "passkey" in texts[ada.email]
    assert set(texts) == {ada.email, "old@example.org"}


@pytest.mark.parametrize("kind", MailKind)
def test_every_kind_of_mail_has_a_text(kind):
    facts = {name: f"the {name}" for name in FACTS.get(kind, ())}
    message = write_message(a_mail(kind=kind, facts=facts), URL)
    assert message.subject.startswith("Rebalancer: ")
    assert "\n" not in message.subject
    assert "{" not in message.text
    assert "unknown" not in message.text
    for fact in facts.values():
        assert fact in message.text


def test_secret_of_a_link_stands_in_its_fragment():
    message = write_message(a_mail(facts={"token": "abc", "validity": "60 minutes"}), f"{URL}/")
    assert f"{URL}/reset-password#token=abc\n" in message.text
