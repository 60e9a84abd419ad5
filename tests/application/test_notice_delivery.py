"""Delivery of notices: each once, at the time and to the channels that its owner wants."""

from __future__ import annotations

import json
from datetime import time, timedelta
from uuid import UUID, uuid4

import attrs
import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.security.keys import HkdfKeys
from rebalancer.application.notice_delivery import LEASE, DeliverNotices, SendToTarget
from rebalancer.application.notice_messages import NoticeWriter, sign_webhook
from rebalancer.application.notice_requests import RemoveTarget, RetryDelivery
from rebalancer.application.notices import raise_notice
from rebalancer.application.ports.mail import Delivery, MailServerDown, Outcome
from rebalancer.application.unsubscribing import Unsubscribe, read_token, write_token
from rebalancer.domain.accounts.deletion import Deletion
from rebalancer.domain.errors import Conflict, NotFound, Unavailable
from rebalancer.domain.notices.choices import EMAIL, Digest, Language, NoticeChoices, QuietHours
from rebalancer.domain.notices.deliveries import MOST_ATTEMPTS, DeliveryState
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.notices.targets import TargetKind
from tests.contracts.stores import HOUR, NOW, a_notice, a_target, a_user

URL = "https://app.example.org"
KEYS = HkdfKeys(("a secret of a deployment, for tests",))
DEFERRED, REFUSED = Delivery(Outcome.DEFERRED, "status 503"), Delivery(Outcome.REFUSED, "gone")
KIND = NoticeKind.KILL_SWITCH


@attrs.define
class OtherSide:
    """Mail server, webhooks and push services in memory, whose next answers are given."""

    answers: list = attrs.field(factory=list)
    mails: list = attrs.field(factory=list)
    posts: list = attrs.field(factory=list)
    while_sending: object = attrs.field(default=lambda: None)

    def answer(self, accepted, message):
        self.while_sending()
        found = self.answers.pop(0) if self.answers else Delivery(Outcome.SENT)
        if isinstance(found, BaseException):
            raise found
        if found.outcome is Outcome.SENT:
            accepted.append(message)
        return found

    def send(self, message):
        return self.answer(self.mails, message)

    def check(self, address):
        """Allow every address."""

    def post(self, address, body, headers):
        return self.answer(self.posts, (address, body, headers))

    def push(self, address, title, text):
        return self.answer(self.posts, (address, title, text))


class FailingWork(MemoryWork):
    """Store that fails to answer a number of times."""

    failures = 0

    def begin(self):
        if self.failures > 0:
            self.failures -= 1
            raise Unavailable("the database does not answer")
        return super().begin()


class World:
    """Store with an owner, other sides and a clock."""

    def __init__(self, **choices):
        self.work, self.other, self.now = FailingWork(), OtherSide(), NOW
        self.ada = a_user()
        writer = NoticeWriter(KEYS, URL)
        send = SendToTarget(writer, self.other, self.other, lambda: self.now)
        # One lane, so that answers come in the order of the messages.
        self.deliver = DeliverNotices(self.work, self.other, send, lambda: self.now, lanes=1)
        with self.work.begin() as tx:
            tx.users.add(self.ada)
        self.choose(NoticeChoices(**choices))

    def choose(self, choices):
        with self.work.begin() as tx:
            tx.notice_choices.save(self.ada.id, choices)

    def add_target(self, **others):
        target = a_target(self.ada.id, **others)
        with self.work.begin() as tx:
            tx.notice_targets.add(target)
        return target

    def target(self, target):
        with self.work.read() as tx:
            return tx.notice_targets.get(target.id, owner=self.ada.id)

    def notify(self, key="k", **others):
        notice = a_notice(self.ada.id, key, created=self.now, **others)
        with self.work.begin() as tx:
            raise_notice(tx, notice)
        return notice

    def messages(self):
        with self.work.read() as tx:
            return tx.notice_deliveries.page(self.ada.id, limit=99)

    @property
    def states(self):
        return [one.state for one in self.messages()]


@pytest.fixture
def world():
    return World()


def test_notice_is_mailed_once_with_a_way_to_end_such_mails(world):
    world.notify()
    assert world.deliver() == 1
    world.now += 2 * LEASE
    assert world.deliver() == 0
    (mail,) = world.other.mails
    assert mail.to == world.ada.email
    assert mail.subject == "Rebalancer: Automatic decisions stopped"
    assert "You have stopped automatic decisions for Pension." in mail.text
    assert mail.unsubscribe.startswith(f"{URL}/api/notices/unsubscribe?token=")
    assert mail.unsubscribe in mail.text
    token = mail.unsubscribe.partition("token=")[2]
    assert read_token(KEYS, token).kind is KIND
    assert world.states == [DeliveryState.SENT]


def test_webhook_gets_signed_json_with_the_same_id_at_every_attempt(world):
    target = world.add_target()
    world.choose(NoticeChoices().switched(EMAIL, {KIND: False}))
    notice = world.notify()
    world.other.answers = [DEFERRED]
    assert world.deliver() == 0
    assert world.target(target).fault == "status 503"
    world.now += timedelta(seconds=29)
    assert world.deliver() == 0
    world.now += timedelta(seconds=1)
    assert world.deliver() == 1
    ((address, body, headers),) = world.other.posts
    content = json.loads(body)
    assert address == target.address
    assert headers["Idempotency-Key"] == headers["webhook-id"] == str(world.messages()[0].id)
    assert headers == sign_webhook(target.secret, UUID(headers["webhook-id"]), body, world.now)
    assert content["type"] == "notices" and content["data"]["notices"][0]["id"] == str(notice.id)
    assert content["data"]["notices"][0]["parameters"] == dict(notice.parameters)
    assert world.target(target) == attrs.evolve(target, delivered=world.now, failed=NOW, fault="")


def test_signature_is_that_of_standard_webhooks():
    # The example of the specification's reference libraries.
    headers = sign_webhook(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        NOW.fromtimestamp(1614265330, NOW.tzinfo),
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_message_of_a_killed_process_is_sent_after_the_lease(world):
    world.notify()
    world.other.answers = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        world.deliver()
    assert world.deliver() == 0
    world.now += LEASE
    assert world.deliver() == 1
    assert len(world.other.mails) == 1


def test_accepted_message_is_not_sent_again_when_the_store_fails(world):
    world.notify()
    world.other.while_sending = lambda: setattr(world.work, "failures", 1)
    with pytest.raises(Unavailable):
        world.deliver()
    world.now += 2 * LEASE
    assert world.deliver() == 0
    assert world.states == [DeliveryState.SENT]
    assert len(world.other.mails) == 1


def test_message_that_cannot_be_written_keeps_no_other_waiting(world):
    world.notify("broken", parameters={})
    bob = a_user()
    with world.work.begin() as tx:
        tx.users.add(bob)
        raise_notice(tx, a_notice(bob.id, created=NOW))
    assert world.deliver() == 1
    assert [mail.to for mail in world.other.mails] == [bob.email]
    (message,) = world.messages()
    assert (message.state, message.attempts) == (DeliveryState.WAITING, 1)
    assert message.fault == "the message could not be written"


def test_refused_message_has_failed_until_its_owner_retries(world):
    target = world.add_target()
    world.choose(NoticeChoices().switched(EMAIL, {KIND: False}))
    world.notify()
    world.other.answers = [REFUSED]
    assert world.deliver() == 0
    (message,) = world.messages()
    assert (message.state, message.fault) == (DeliveryState.FAILED, "gone")
    assert world.target(target).fault == "gone"
    RetryDelivery(world.work)(message.id, owner=world.ada.id, now=world.now)
    assert world.deliver() == 1
    with pytest.raises(Conflict):
        RetryDelivery(world.work)(message.id, owner=world.ada.id, now=world.now)


def test_message_that_is_never_taken_fails_after_about_two_days(world):
    world.add_target()
    world.choose(NoticeChoices().switched(EMAIL, {KIND: False}))
    world.notify()
    world.other.answers = [DEFERRED] * MOST_ATTEMPTS
    while world.states == [DeliveryState.WAITING]:
        world.deliver()
        world.now = max(world.now, world.messages()[0].due)
    assert world.states == [DeliveryState.FAILED]
    assert timedelta(days=1.5) < world.now - NOW < timedelta(days=2.5)


def test_slow_mail_server_keeps_no_webhook_waiting(world):
    world.add_target()
    bob = a_user()
    with world.work.begin() as tx:
        tx.users.add(bob)
        raise_notice(tx, a_notice(bob.id, "earlier", created=NOW - HOUR))
    world.notify()
    world.other.answers = [MailServerDown("down")]
    with pytest.raises(MailServerDown):
        world.deliver()
    assert len(world.other.posts) == 1
    world.now += HOUR
    assert world.deliver() == 2
    assert {mail.to for mail in world.other.mails} == {bob.email, world.ada.email}


def test_what_falls_in_quiet_hours_comes_afterwards_as_one_mail():
    world = World(quiet=QuietHours(time(12), time(14)), language=Language.GERMAN)
    world.notify("a")
    world.now += timedelta(minutes=40)
    world.notify("b")
    assert world.deliver() == 0
    world.now = NOW.replace(hour=14, minute=0, second=0, microsecond=0)
    assert world.deliver() == 1
    (mail,) = world.other.mails
    assert mail.subject == "Rebalancer: 2 Hinweise"
    assert mail.text.count("Sie haben automatische Entscheidungen für Pension angehalten.") == 2


def test_failed_attempt_is_not_repeated_in_quiet_hours():
    world = World(quiet=QuietHours(time(12, 31), time(14)))
    world.notify()
    world.other.answers = [Delivery(Outcome.DEFERRED, "status 451")]
    world.deliver()
    world.now += timedelta(minutes=5)
    assert world.deliver() == 0
    assert world.messages()[0].due == NOW.replace(hour=14, minute=0, second=0, microsecond=0)


def test_daily_digest_is_one_message_for_each_channel():
    world = World(digest=Digest.DAILY)
    world.add_target()
    for n in range(3):
        world.notify(f"n{n}")
    assert world.deliver() == 0
    world.now += timedelta(days=1)
    assert world.deliver() == 2
    assert len(json.loads(world.other.posts[0][1])["data"]["notices"]) == 3


def test_waiting_message_follows_later_choices(world):
    target = world.add_target()
    world.notify("a")
    world.choose(NoticeChoices().switched(EMAIL, {KIND: False}))
    RemoveTarget(world.work)(target.id, owner=world.ada.id, now=NOW)
    assert world.deliver() == 0
    assert world.states == [DeliveryState.DROPPED] * 2
    world.choose(NoticeChoices(paused=True))
    world.notify("b")
    assert len(world.messages()) == 2


def test_account_that_is_locked_or_leaves_gets_nothing(world):
    world.notify("a")
    with world.work.begin() as tx:
        tx.deletions.save(Deletion(world.ada.id, NOW, NOW + HOUR))
    assert world.deliver() == 0
    assert world.states == [DeliveryState.DROPPED]


def test_push_service_gets_title_and_text(world):
    world.choose(NoticeChoices().switched(EMAIL, {KIND: False}))
    world.add_target(kind=TargetKind.PUSH, address="ntfy://host/x")
    world.notify(link="/portfolios/1")
    assert world.deliver() == 1
    ((_, title, text),) = world.other.posts
    assert title == "Automatic decisions stopped"
    assert text.endswith(f"Pension.\n{URL}/portfolios/1")


def test_link_ends_mails_of_one_kind_or_all(world):
    end = Unsubscribe(world.work, KEYS)
    for _ in range(2):
        assert end(write_token(KEYS, world.ada.id, KIND), now=NOW)[0].kind is KIND
    with world.work.read() as tx:
        choices = tx.notice_choices.get(world.ada.id)
        assert len(tx.audit.page(world.ada.id, limit=9)) == 1
    assert not choices.is_on(KIND, EMAIL) and choices.is_on(NoticeKind.DRIFT, EMAIL)
    end(write_token(KEYS, world.ada.id, None), now=NOW)
    with world.work.read() as tx:
        choices = tx.notice_choices.get(world.ada.id)
    assert not any(choices.is_on(kind, EMAIL) for kind in NoticeKind)


def test_forged_links_are_refused(world):
    good = write_token(KEYS, world.ada.id, KIND)
    other = HkdfKeys(("another secret of a deployment",))
    forged = (good[:-2], good + "AA", "", "ä", "=", good[:22] + "A" * 22, "A" * 60)
    for token in (
        *forged,
        write_token(other, world.ada.id, KIND),
        write_token(KEYS, uuid4(), None),
    ):
        with pytest.raises(NotFound) as error:
            Unsubscribe(world.work, KEYS)(token, now=NOW)
        assert error.value.code == "invalid_unsubscribe_link"
    rotated = HkdfKeys(("a newer secret of a deployment", *KEYS.secrets))
    assert Unsubscribe(world.work, rotated)(good, now=NOW)[0].kind is KIND
