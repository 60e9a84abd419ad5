"""Notices to the owners of portfolios."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol
from uuid import UUID

import attrs

from rebalancer.domain.notices.notice import Notice


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
