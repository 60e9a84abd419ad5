"""Cache of a value that is read again when its revision changes."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from threading import Condition
from typing import Generic, TypeVar

from rebalancer.domain.errors import RebalancerError

T = TypeVar("T")

log = logging.getLogger("rebalancer.market")

CHECK_INTERVAL = 1.0
"""Seconds for which nobody asks whether anything has changed."""


class RevisionCache(Generic[T]):
    """Something that is read again when its revision has changed.

    Whether it has is asked at most once in a while, by one thread for all. Meanwhile others have
    what is known, or the failure of a moment ago; they wait only where neither is there yet, or for
    what somebody has just changed. So one thread at most waits for a store that does not answer,
    and what is known serves on until it does.

    Args:
        what: What it is called, in the plural.
        read: Reads it, as of a revision.
        revision: Tells its revision, which is another one after every change.
        patience: Seconds, see `CHECK_INTERVAL`; after them a failed store is asked again.
        clock: Seconds that pass.
    """

    def __init__(
        self,
        what: str,
        read: Callable[[str], T],
        revision: Callable[[], str],
        *,
        patience: float = CHECK_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._read, self._revision = read, revision
        self._patience, self._clock = patience, clock
        self._told = Condition()
        self._asking = False
        self._asked: float | None = None
        self._changes = 0
        """How often somebody has said that something has changed."""

        self._covered = 0
        """How many of these whoever asked last knew of."""

        self._known: tuple[str, T] | None = None
        self._failed: RebalancerError | None = None

    def __call__(self) -> T:
        """What it is now, or was when it could last be read.

        Raises:
            Unavailable: the store has not answered yet.
            InvalidRequest: what it has makes no sense, and has not yet.
        """
        with self._told:
            while self._asking and self._worth_waiting():
                self._told.wait()
            if self._asking or self._fresh():
                return self._answer()
            self._asking = True
            changes = self._changes
        found: tuple[str, T] | None = None
        failed: RebalancerError | None = None
        try:
            found = self._ask()
        except RebalancerError as error:
            failed = error
        finally:  # others go on in any case
            with self._told:
                self._asking = False
                self._note(found, failed, changes)
                self._told.notify_all()
        with self._told:
            return self._answer()

    def ask_again(self) -> None:
        """Something has changed, as whoever calls knows."""
        with self._told:
            self._changes += 1

    def check(self) -> None:
        """See that what is known is what there is.

        Raises:
            Unavailable: the store does not answer, or did not a moment ago.
            InvalidRequest: what it has makes no sense.
        """
        self()
        with self._told:
            if self._failed is not None:
                raise _again(self._failed)

    def _ask(self) -> tuple[str, T]:
        revision = self._revision()  # before the reading, which may see more, not less
        if self._known is not None and self._known[0] == revision:
            return self._known
        return revision, self._read(revision)

    def _note(
        self, found: tuple[str, T] | None, failed: RebalancerError | None, changes: int
    ) -> None:
        if found is not None:
            if self._failed is not None and self._known is not None:
                log.warning("%s can be read again", self._what)
            self._known = found
        elif failed is None:
            return  # a bug, which whoever asked meets; the next one asks again
        elif self._failed is None and self._known is not None:
            log.warning("%s cannot be read, those known serve on: %s", self._what, failed)
        self._failed, self._asked, self._covered = failed, self._clock(), changes

    def _worth_waiting(self) -> bool:
        nothing = self._known is None and self._failed is None
        return nothing or self._covered < self._changes

    def _fresh(self) -> bool:
        if self._asked is None or self._covered < self._changes:
            return False
        return self._clock() - self._asked < self._patience

    def _answer(self) -> T:
        if self._known is not None:
            return self._known[1]
        assert self._failed is not None
        raise _again(self._failed)


def _again(failed: RebalancerError) -> RebalancerError:
    """The same failure, for another thread to raise."""
    again = copy.copy(failed)
    again.__cause__ = failed.__cause__
    return again
