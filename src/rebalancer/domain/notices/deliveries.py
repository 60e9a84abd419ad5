"""Messages with notices that are sent to a mail address, a webhook or a push service."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.notices.choices import NoticeChoices
from rebalancer.domain.notices.notice import Notice

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=4)
"""Pauses before further attempts; each is three times the one before."""

MOST_ATTEMPTS = 18
"""Attempts after which a message has failed: with their pauses, about two days."""


class DeliveryState(StrEnum):
    """What became of a message."""

    WAITING = "waiting"  # for its time, or for a further attempt
    SENT = "sent"  # the other side has taken it
    FAILED = "failed"  # the other side refuses it, or did not take it in time
    DROPPED = "dropped"  # its owner wants it no more


@attrs.frozen
class NoticeDelivery:
    """A message with one notice or several, and how far its delivery is.

    Its id identifies the message to the other side, also when it is sent again.

    Attributes:
        channel: ``email``, or the id of a target.
        notices: Ids of notices in the order in which they were raised; grows until the first
            attempt.
        due: Time of the next attempt.
        attempts: Number of times that its delivery was begun.
        fault: Why the last attempt failed.
        closed: When it was sent, dropped, or failed for good.
    """

    id: UUID
    owner: UUID
    channel: str
    notices: tuple[UUID, ...]
    created: datetime
    due: datetime
    state: DeliveryState = DeliveryState.WAITING
    attempts: int = 0
    fault: str = ""
    closed: datetime | None = None

    @classmethod
    def plan(cls, notice: Notice, channel: str, choices: NoticeChoices) -> NoticeDelivery | None:
        """Return the message to a channel that a new notice belongs to; None if it is not sent.

        Notices of an owner that are due at the same later time share a message.
        """
        due = choices.due(notice.kind, channel, notice.created)
        if due is None:
            return None
        shared = due.isoformat() if due > notice.created else str(notice.id)
        return cls(
            id=uuid5(notice.owner, f"{channel} {shared}"),
            owner=notice.owner,
            channel=channel,
            notices=(notice.id,),
            created=notice.created,
            due=due,
        )

    def following(self, notice: UUID) -> NoticeDelivery:
        """Return the message that takes a notice after the sending of this one has begun."""
        return attrs.evolve(self, id=uuid5(self.id, str(notice)), notices=(notice,))


def pause_after(attempts: int) -> timedelta:
    """Return the pause after a number of attempts, at least one."""
    growth: int = 3 ** min(attempts - 1, 12)
    return min(FIRST_PAUSE * growth, LONGEST_PAUSE)
