"""What streams of server-sent events share: their number for each user, and their end."""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from uuid import UUID

import attrs

from rebalancer.entrypoints.http.errors import TooManyRequests

STILL_HERE = "still here"
"""Comment that keeps a connection open."""


class Place:
    """A stream of a user that is open, or about to be.

    A stream whose client has disconnected is never iterated. So a place is also freed when nothing
    refers to it any more.
    """

    def __init__(self, free: Callable[[], None]) -> None:
        self.free = weakref.finalize(self, free)
        """Frees the place; later calls have no effect."""


@attrs.define(eq=False, kw_only=True)
class OpenStreams:
    """The open streams of one server process, of jobs and of quotes.

    Args:
        heartbeat: Seconds without a message after which a comment keeps the connection open.
        limit: Most open streams of one user; 0: unlimited.
    """

    heartbeat: float = 15.0
    limit: int = 10
    _open: Counter[UUID] = attrs.field(factory=Counter, init=False)
    stopping: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    """Set when the server shuts down: every stream ends then."""

    def count(self, owner: UUID) -> int:
        """Return the number of open streams of a user."""
        return self._open[owner]

    def reserve(self, owner: UUID) -> Place:
        """Return a place for a stream of a user.

        A route calls this before it awaits anything for the stream: between a check and a later
        count other requests would pass.

        Raises:
            TooManyRequests: the user has as many open streams as allowed.
        """
        if self.limit and self.count(owner) >= self.limit:
            raise TooManyRequests(
                f"you have {self.limit} open streams, the maximum; close one first",
                retry_after=max(round(self.heartbeat), 1),
            )
        self._open[owner] += 1
        return Place(partial(self._free, owner))

    def _free(self, owner: UUID) -> None:
        self._open[owner] -= 1
        if not self._open[owner]:
            del self._open[owner]
