"""What owners do with their notices: read them, choose among them, and keep targets."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.notice_delivery import SendToTarget, record_answer
from rebalancer.application.notice_messages import SECRET_PREFIX
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.mail import Delivery
from rebalancer.application.ports.notices import NoticeCount, PushServices, Webhooks
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DailyQuotaReached
from rebalancer.application.sessions import require_recent
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.notices.choices import APP, EMAIL, NoticeChoices
from rebalancer.domain.notices.deliveries import DeliveryState, NoticeDelivery
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.notices.targets import (
    LONGEST_ADDRESS,
    MOST_TARGETS,
    Target,
    TargetKind,
    check_name,
)

MOST_TESTS_A_DAY = 30
"""Limit of test messages of an owner in one day."""


@attrs.frozen
class ReadNotices:
    """Read the notices of an owner."""

    work: UnitOfWork

    def __call__(
        self,
        owner: UUID,
        *,
        unread: bool = False,
        portfolio: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> tuple[list[Notice], NoticeCount, NoticeChoices]:
        """Return a page of notices, latest first, with their count and the owner's choices."""
        with self.work.read() as tx:
            page = tx.notices.page(
                owner, unread=unread, portfolio=portfolio, before=before, limit=limit
            )
            return page, tx.notices.count(owner), tx.notice_choices.get(owner)

    def count(self, owner: UUID) -> NoticeCount:
        """Return how many notices the owner has not read."""
        with self.work.read() as tx:
            return tx.notices.count(owner)


@attrs.frozen
class MarkNotices:
    """Mark notices as read."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID, now: datetime) -> NoticeCount:
        """Mark a notice as read; return how many are unread then.

        Raises:
            NotFound: the notice does not exist, or belongs to another user.
        """
        with self.work.begin() as tx:
            tx.notices.mark_read(id, owner=owner, now=now)
            return tx.notices.count(owner)

    def all(self, owner: UUID, *, through: UUID | None = None, now: datetime) -> NoticeCount:
        """Mark all notices as read, or those up to one; return how many are unread then."""
        with self.work.begin() as tx:
            tx.notices.mark_all_read(owner, now, through=through)
            return tx.notices.count(owner)


@attrs.frozen
class ChooseNotices:
    """Read and change which notices an owner gets, where and when."""

    work: UnitOfWork

    def read(self, owner: UUID) -> NoticeChoices:
        """Return the choices of an owner."""
        with self.work.read() as tx:
            return tx.notice_choices.get(owner)

    def __call__(self, choices: NoticeChoices, *, owner: UUID, now: datetime) -> NoticeChoices:
        """Replace the choices of an owner; return them.

        Messages that wait follow the new choices when they are due.

        Raises:
            InvalidRequest: a channel is not one of the owner's.
        """
        with self.work.begin() as tx:
            known = {APP, EMAIL, *(one.channel for one in tx.notice_targets.of_owner(owner))}
            for channel in choices.switches:
                if channel not in known:
                    raise InvalidRequest(
                        f"{channel} is not a channel of yours; choose app, email, or the id of one "
                        "of your targets",
                        field="switches",
                        code="unknown_channel",
                    )
            if choices != tx.notice_choices.get(owner):
                tx.notice_choices.save(owner, choices)
                details = {"digest": choices.digest.value, "paused": str(choices.paused).lower()}
                record(tx, Action.NOTICE_CHOICES_CHANGED, at=now, actor=owner, details=details)
        return choices


@attrs.frozen
class ListTargets:
    """List the webhooks and push services of an owner."""

    work: UnitOfWork

    def __call__(self, owner: UUID) -> list[Target]:
        """Return the targets, oldest first."""
        with self.work.read() as tx:
            return tx.notice_targets.of_owner(owner)


@attrs.frozen
class AddTarget:
    """Add a webhook or push service."""

    work: UnitOfWork
    webhooks: Webhooks
    push: PushServices
    tokens: Tokens

    def __call__(
        self,
        kind: TargetKind,
        *,
        name: str,
        address: str,
        bearer: Bearer,
        id: UUID,
        now: datetime,
    ) -> Target:
        """Return the new target.

        Raises:
            InvalidRequest: the name or the address is not valid, or the address not allowed.
            NotAllowed: the last proof of identity is too old.
            Conflict: the owner has too many targets.
            Unavailable: this installation sends to no push services.
        """
        check_name(name)
        self._check(kind, address)
        owner = bearer.owner
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            tx.users.lock(owner)
            if len(tx.notice_targets.of_owner(owner)) >= MOST_TARGETS:
                raise Conflict(
                    f"you have {MOST_TARGETS} webhooks and push services, the maximum; remove one "
                    "first",
                    code="too_many_notice_targets",
                )
            secret = self._new_secret() if kind is TargetKind.WEBHOOK else ""
            target = Target(id, owner, kind, name, address, secret, now)
            tx.notice_targets.add(target)
            _record_target(tx, Action.NOTICE_TARGET_ADDED, target, now)
        return target

    def _check(self, kind: TargetKind, address: str) -> None:
        if len(address) > LONGEST_ADDRESS:
            raise InvalidRequest(
                f"an address has up to {LONGEST_ADDRESS} characters; this one has {len(address)}",
                field="address",
                code="invalid_address",
            )
        (self.webhooks if kind is TargetKind.WEBHOOK else self.push).check(address)

    def _new_secret(self) -> str:
        key = sha256(self.tokens.create_refresh_secret().encode()).digest()
        return f"{SECRET_PREFIX}{b64encode(key).decode()}"


@attrs.frozen
class RemoveTarget:
    """Remove a webhook or push service."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID, now: datetime) -> None:
        """Remove a target with the messages that wait for it, and its choices.

        Raises:
            NotFound: the target does not exist, or belongs to another user.
        """
        with self.work.begin() as tx:
            target = tx.notice_targets.get(id, owner=owner)
            tx.notice_targets.delete(id, owner=owner)
            tx.notice_deliveries.drop(owner, target.channel, now)
            choices = tx.notice_choices.get(owner)
            if target.channel in choices.switches:
                tx.notice_choices.save(owner, choices.without(target.channel))
            _record_target(tx, Action.NOTICE_TARGET_REMOVED, target, now)


@attrs.frozen
class TestTarget:
    """Send a test message to a webhook or push service."""

    __test__ = False  # its name begins like that of a class of tests

    work: UnitOfWork
    send: SendToTarget

    def __call__(self, id: UUID, *, owner: UUID, message: UUID, now: datetime) -> Delivery:
        """Return the answer of the target.

        Raises:
            NotFound: the target does not exist, or belongs to another user.
            DailyQuotaReached: the owner has sent too many test messages today.
        """
        with self.work.begin() as tx:
            target = tx.notice_targets.get(id, owner=owner)
            if not tx.usage.take(owner, "notice tests", now.date(), 1, limit=MOST_TESTS_A_DAY):
                raise DailyQuotaReached(
                    f"you have sent {MOST_TESTS_A_DAY} test messages today, the maximum; try again "
                    "tomorrow",
                    limit=MOST_TESTS_A_DAY,
                    retry_after=_seconds_of_day_left(now),
                )
            choices = tx.notice_choices.get(owner)
        answer = self.send(target, message, [], choices)
        with self.work.begin() as tx:
            record_answer(tx, owner, target.channel, answer, now)
        return answer


@attrs.frozen
class ListDeliveries:
    """List the messages that were sent to an owner, or could not be."""

    work: UnitOfWork

    def __call__(
        self,
        owner: UUID,
        *,
        state: DeliveryState | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> Sequence[NoticeDelivery]:
        """Return a page of messages, latest first."""
        with self.work.read() as tx:
            return tx.notice_deliveries.page(owner, state=state, before=before, limit=limit)


@attrs.frozen
class RetryDelivery:
    """Send a message once more that has failed."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID, now: datetime) -> NoticeDelivery:
        """Return the message, which waits again.

        Raises:
            NotFound: the message does not exist, or belongs to another user.
            Conflict: the message has not failed.
        """
        with self.work.begin() as tx:
            found = tx.notice_deliveries.get(id, owner=owner)
            if found.state is not DeliveryState.FAILED:
                raise Conflict(
                    f"this message has not failed; it is {found.state}", code="message_not_failed"
                )
            tx.notice_deliveries.retry(id, now)
            return tx.notice_deliveries.get(id, owner=owner)


def _record_target(tx: Transaction, action: Action, target: Target, now: datetime) -> None:
    record(
        tx,
        action,
        at=now,
        actor=target.owner,
        target=f"notice_target:{target.id}",
        details={"kind": target.kind.value},
    )


def _seconds_of_day_left(now: datetime) -> int:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight + timedelta(days=1) - now).total_seconds()) + 1
