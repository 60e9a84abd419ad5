"""Delivery of the messages with notices that are due."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Lock
from uuid import UUID

import attrs

from rebalancer.application.notice_messages import NoticeWriter, sign_webhook
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.mail import (
    Delivery,
    MailServer,
    MailServerDown,
    Outcome,
)
from rebalancer.application.ports.notices import PushServices, Webhooks
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.errors import NotFound, RebalancerError, Unavailable
from rebalancer.domain.notices.choices import EMAIL, NoticeChoices
from rebalancer.domain.notices.deliveries import (
    FIRST_PAUSE,
    MOST_ATTEMPTS,
    DeliveryState,
    NoticeDelivery,
    pause_after,
)
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.notices.targets import Target, TargetKind
from rebalancer.domain.portfolio.owner import User

log = logging.getLogger("rebalancer.notices")

LEASE = timedelta(minutes=5)
"""Time after which a message is sent again whose process ended; longer than one delivery takes."""

LONGEST_FAULT = 200
"""Characters of a reason that are stored."""


@attrs.frozen
class _Prepared:
    """A claimed message with all that sending it needs.

    Attributes:
        target: None for a mail.
        email: Address of the owner.
    """

    delivery: NoticeDelivery
    notices: list[Notice]
    choices: NoticeChoices
    target: Target | None
    email: str = attrs.field(repr=False)


@attrs.frozen
class SendToTarget:
    """Send a message to a webhook or a push service."""

    writer: NoticeWriter
    webhooks: Webhooks
    push: PushServices
    clock: Clock

    def __call__(
        self, target: Target, id: UUID, notices: list[Notice], choices: NoticeChoices
    ) -> Delivery:
        """Return the answer of the target; without notices the message is a test."""
        if target.kind is TargetKind.WEBHOOK:
            now = self.clock()
            body = (
                self.writer.webhook(notices, choices)
                if notices
                else self.writer.webhook_test(choices, now)
            )
            return self.webhooks.post(
                target.address, body, sign_webhook(target.secret, id, body, now)
            )
        title, text = self.writer.push(notices, choices) if notices else self.writer.test(choices)
        try:
            return self.push.push(target.address, title, text)
        except RebalancerError as error:  # the operator has removed the service
            return Delivery(Outcome.REFUSED, str(error))


@attrs.frozen
class DeliverNotices:
    """Send the messages with notices that are due.

    No message is lost: it waits until the other side has accepted it, refused it, or did not accept
    it for two days. It is not sent again once that is recorded, also if the database fails
    meanwhile, as this process remembers it. Only if the process is killed between the acceptance
    and the record is the message sent twice, with the same Message-ID or Idempotency-Key.

    Attributes:
        mail: None where the service sends no mail.
        lanes: Messages that are sent at the same time, each to another channel.
    """

    work: UnitOfWork
    mail: MailServer | None
    send: SendToTarget
    clock: Clock
    lanes: int = 4
    _unrecorded: dict[UUID, tuple[NoticeDelivery, Delivery]] = attrs.field(factory=dict, init=False)
    _lock: Lock = attrs.field(factory=Lock, init=False, repr=False, eq=False)

    def __call__(self, *, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Return how many messages were sent.

        Raises:
            MailServerDown: the mail server does not answer; mails wait, other messages were sent.
            Unavailable: the store does not answer.
        """
        for delivery, answer in list(self._unrecorded.values()):
            self._record(delivery, answer)
        with self.work.read() as tx:
            if not tx.notice_deliveries.has_due(self.clock()):
                return 0
        down: list[MailServerDown] = []
        with ThreadPoolExecutor(self.lanes, thread_name_prefix="notices") as threads:
            lanes = [
                threads.submit(self._deliver_all, down, should_stop) for _ in range(self.lanes)
            ]
        sent = sum(lane.result() for lane in lanes)
        if down:
            raise down[0]
        return sent

    def _deliver_all(self, down: list[MailServerDown], should_stop: Callable[[], bool]) -> int:
        sent = 0
        while not should_stop():
            now = self.clock()
            with self.work.begin() as tx:
                without = [EMAIL] if down else []
                claimed = tx.notice_deliveries.claim(now, until=now + LEASE, without=without)
            if claimed is None:
                break
            sent += self._deliver(claimed, now, down)
        return sent

    def _deliver(
        self, delivery: NoticeDelivery, begun: datetime, down: list[MailServerDown]
    ) -> bool:
        """Return whether a claimed message was sent."""
        with self._lock:
            earlier = self._unrecorded.get(delivery.id)
        if earlier is not None:
            self._record(delivery, earlier[1])
            return False
        try:
            prepared = self._prepare(delivery, begun)
            if prepared is None or self.clock() >= begun + LEASE:  # it stood still, or is not due
                return False
            answer = self._send(prepared)
        except MailServerDown as error:
            down.append(error)
            answer = Delivery(Outcome.DEFERRED, "the mail server does not answer")
        except Unavailable:  # the store; another attempt follows after the lease
            raise
        except Exception:
            # Such as a notice of a newer version: it must not keep all others waiting.
            log.exception("message %s cannot be written", delivery.id)
            answer = Delivery(Outcome.DEFERRED, "the message could not be written")
        with self._lock:
            self._unrecorded[delivery.id] = (delivery, answer)
        self._record(delivery, answer)
        return answer.outcome is Outcome.SENT

    def _prepare(self, delivery: NoticeDelivery, now: datetime) -> _Prepared | None:
        """Return what is to be sent; None if nothing is, or not now."""
        with self.work.begin() as tx:
            choices = tx.notice_choices.get(delivery.owner)
            later = choices.after_quiet(now)
            if later > now:
                attempts = delivery.attempts
                tx.notice_deliveries.defer(delivery.id, later, rest=later, attempts=attempts)
                return None
            found = tx.notices.of(delivery.notices)
            notices = [one for one in found if choices.is_on(one.kind, delivery.channel)]
            user = None if choices.is_paused(now) else self._recipient(tx, delivery.owner)
            target = None
            if delivery.channel != EMAIL:
                target = self._target(tx, delivery)
            if not notices or user is None or (target is None and not self._mails(delivery)):
                tx.notice_deliveries.close(delivery.id, DeliveryState.DROPPED, now)
                return None
            return _Prepared(delivery, notices, choices, target, user.email)

    def _mails(self, delivery: NoticeDelivery) -> bool:
        return delivery.channel == EMAIL and self.mail is not None

    def _recipient(self, tx: Transaction, owner: UUID) -> User | None:
        """Return the owner of an account; None if it is locked, or will be deleted."""
        try:
            user = tx.users.get(owner)
        except NotFound:
            return None
        leaves = user.disabled is not None or tx.deletions.find(owner) is not None
        return None if leaves else user

    def _target(self, tx: Transaction, delivery: NoticeDelivery) -> Target | None:
        try:
            return tx.notice_targets.get(UUID(delivery.channel), owner=delivery.owner)
        except NotFound:
            return None

    def _send(self, prepared: _Prepared) -> Delivery:
        delivery, notices, choices = prepared.delivery, prepared.notices, prepared.choices
        if prepared.target is not None:
            return self.send(prepared.target, delivery.id, notices, choices)
        assert self.mail is not None  # otherwise nothing is prepared
        message = self.send.writer.mail(delivery, notices, prepared.email, choices)
        return self.mail.send(message)

    def _record(self, delivery: NoticeDelivery, answer: Delivery) -> None:
        """Store what became of an attempt; it stays in memory until that has succeeded."""
        now, fault = self.clock(), answer.reason[:LONGEST_FAULT]
        gives_up = delivery.attempts >= MOST_ATTEMPTS
        with self.work.begin() as tx:
            if answer.outcome is Outcome.SENT:
                tx.notice_deliveries.close(delivery.id, DeliveryState.SENT, now)
            elif answer.outcome is Outcome.REFUSED or gives_up:
                tx.notice_deliveries.close(delivery.id, DeliveryState.FAILED, now, fault=fault)
            else:
                # Others to this channel wait briefly: a message that is never taken, such as one
                # that a webhook cannot read, must not hold them back for long.
                tx.notice_deliveries.defer(
                    delivery.id,
                    now + pause_after(delivery.attempts),
                    rest=now + FIRST_PAUSE,
                    attempts=delivery.attempts,
                    fault=fault,
                )
            record_answer(tx, delivery.owner, delivery.channel, answer, now)
        with self._lock:
            self._unrecorded.pop(delivery.id, None)
        if answer.outcome is not Outcome.SENT:
            log.info(
                "message %s (%s) was %s: %s", delivery.id, delivery.channel, answer.outcome, fault
            )


def record_answer(
    tx: Transaction, owner: UUID, channel: str, answer: Delivery, now: datetime
) -> None:
    """Store the last answer of a target, for its owner to see; it may be deleted by now."""
    if channel == EMAIL:
        return
    try:
        target = tx.notice_targets.get(UUID(channel), owner=owner)
    except NotFound:
        return
    if answer.outcome is Outcome.SENT:
        target = attrs.evolve(target, delivered=now, fault="")
    else:
        target = attrs.evolve(target, failed=now, fault=answer.reason[:LONGEST_FAULT])
    tx.notice_targets.save(target)
