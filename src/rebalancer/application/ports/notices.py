"""Notices to the owners of portfolios."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID

import attrs

from rebalancer.application.ports.mail import Delivery
from rebalancer.domain.notices.choices import NoticeChoices
from rebalancer.domain.notices.deliveries import DeliveryState, NoticeDelivery
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.notices.targets import Target


@attrs.frozen
class NoticeCount:
    """How many notices an owner has not read.

    Attributes:
        newest: Id of the owner's latest notice, read or not; None without one.
    """

    unread: int
    newest: UUID | None


class Notices(Protocol):
    """Notices that were raised, each once."""

    def add(self, notice: Notice) -> bool:
        """Add a notice; return whether it is new.

        One with the same owner and key is left as it is.
        """

    def get(self, id: UUID, *, owner: UUID) -> Notice:
        """Return a notice.

        Raises:
            NotFound: the notice does not exist, or belongs to another user.
        """

    def of(self, ids: Collection[UUID]) -> list[Notice]:
        """Return the notices with these ids, oldest first; unknown ids are ignored."""

    def page(
        self,
        owner: UUID,
        *,
        unread: bool = False,
        portfolio: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Notice]:
        """Return notices of an owner, latest first, after the notice ``before``.

        With ``unread`` only those that were not read; of one portfolio unless None.
        """

    def count(self, owner: UUID) -> NoticeCount:
        """Return how many notices an owner has not read."""

    def mark_read(self, id: UUID, *, owner: UUID, now: datetime) -> Notice:
        """Mark a notice as read, unless it was read before; return it.

        Raises:
            NotFound: the notice does not exist, or belongs to another user.
        """

    def mark_all_read(self, owner: UUID, now: datetime, *, through: UUID | None = None) -> int:
        """Mark the notices of an owner as read; return how many were unread.

        With ``through`` only those up to that notice, so that one which the owner has not seen
        stays unread; none if the owner has no such notice.
        """

    def resolve(self, owner: UUID, key: str, now: datetime) -> bool:
        """Record that the state that a notice reports has ended; return whether it was open.

        An unknown key is ignored.
        """

    def delete_old(self, before: datetime) -> None:
        """Delete notices that were raised before a time."""


class OwnerChoices(Protocol):
    """What owners have chosen about their notices."""

    def get(self, owner: UUID) -> NoticeChoices:
        """Return the choices of an owner; the defaults if nothing was chosen.

        Choices that are read in a writing transaction are locked until the transaction ends.
        """

    def save(self, owner: UUID, choices: NoticeChoices) -> None:
        """Replace the choices of an owner."""


class Targets(Protocol):
    """Webhooks and push services of owners."""

    def add(self, target: Target) -> None:
        """Add a new target."""

    def get(self, id: UUID, *, owner: UUID) -> Target:
        """Return a target; one that is read in a writing transaction is locked until it ends.

        Raises:
            NotFound: the target does not exist, or belongs to another user.
        """

    def of_owner(self, owner: UUID) -> list[Target]:
        """Return the targets of an owner, oldest first."""

    def save(self, target: Target) -> None:
        """Replace a target.

        Raises:
            NotFound: the target does not exist.
        """

    def delete(self, id: UUID, *, owner: UUID) -> None:
        """Delete a target.

        Raises:
            NotFound: the target does not exist, or belongs to another user.
        """


class Deliveries(Protocol):
    """Messages with notices, which are written in transactions and sent afterwards."""

    def add(self, delivery: NoticeDelivery) -> None:
        """Add a message, or its notice to the message of the same id.

        If the sending of that message has begun, the notice goes into the message `following` it.
        """

    def has_due(self, now: datetime) -> bool:
        """Return whether a message is due."""

    def claim(
        self, now: datetime, *, until: datetime, without: Collection[str] = ()
    ) -> NoticeDelivery | None:
        """Begin the delivery of the message that is due first; None without one.

        The message counts the attempt, and no other process gets it before ``until``, in case this
        process ends. Of several processes one gets it. Messages to a channel of an owner that is
        busy with another one wait, and so do those to the channels ``without``.
        """

    def close(self, id: UUID, state: DeliveryState, now: datetime, *, fault: str = "") -> None:
        """End the delivery of a message; one that is closed, or unknown, is left as it is."""

    def defer(
        self, id: UUID, due: datetime, *, rest: datetime, attempts: int, fault: str = ""
    ) -> None:
        """Try again at another time, and send nothing to this channel of the owner until ``rest``.

        Nothing happens if the message is closed, or if its attempts are others: another process
        has claimed it since.
        """

    def get(self, id: UUID, *, owner: UUID) -> NoticeDelivery:
        """Return a message.

        Raises:
            NotFound: the message does not exist, or belongs to another user.
        """

    def page(
        self,
        owner: UUID,
        *,
        state: DeliveryState | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[NoticeDelivery]:
        """Return messages of an owner, latest first, after the message ``before``."""

    def retry(self, id: UUID, now: datetime) -> None:
        """Send a message that has failed once more; others are left as they are."""

    def drop(self, owner: UUID, channel: str, now: datetime) -> None:
        """Drop the messages to a channel of an owner that wait."""

    def delete_closed(self, before: datetime) -> None:
        """Delete messages that were closed before a time."""


class Webhooks(Protocol):
    """Client of the webhooks that owners have entered."""

    def check(self, address: str) -> None:
        """Check the URL of a webhook, without a request.

        Raises:
            InvalidRequest: it is not a URL, is not encrypted, or leads to a network that owners
                may not reach.
        """

    def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> Delivery:
        """Send a message; redirects are not followed."""


class PushServices(Protocol):
    """Client of the push services that owners have entered."""

    def check(self, address: str) -> None:
        """Check the address of a push service, without a request.

        Raises:
            InvalidRequest: the service is unknown or not allowed, or the address is malformed.
            Unavailable: this installation sends to no push services.
        """

    def push(self, address: str, title: str, text: str) -> Delivery:
        """Send a message.

        Raises:
            As `check`.
        """
