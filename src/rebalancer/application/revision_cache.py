"""Cache of a value that is read again when its revision changes."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from threading import Condition
from typing import Generic, TypeVar

import attrs

from rebalancer.domain.errors import RebalancerError

T = TypeVar("T")

log = logging.getLogger("rebalancer.market")

CHECK_INTERVAL = 1.0
"""Seconds between two checks of the revision."""


@attrs.define(eq=False)
class RevisionCache(Generic[T]):
    """Single-flight cache that serves the last value while its source is down.

    The revision is checked at most once per interval, by one thread for all. Meanwhile other
    threads get the cached value, or the last error. They wait only if there is neither, or if the
    value was invalidated since the last check. So at most one thread waits for a source that does
    not answer.

    Args:
        name: What is cached, for the log, in the plural.
        read: Reads the value of a revision.
        revision: Reads the revision, which changes with every change of the value.
        check_interval: Seconds between two checks; a failed source is asked again as often.
    """

    _name: str
    _read: Callable[[str], T]
    _revision: Callable[[], str]
    _check_interval: float = attrs.field(default=CHECK_INTERVAL, kw_only=True)
    _clock: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True)
    _state: Condition = attrs.field(factory=Condition, init=False)
    _checking: bool = attrs.field(default=False, init=False)
    _checked_at: float | None = attrs.field(default=None, init=False)
    _invalidations: int = attrs.field(default=0, init=False)
    _covered: int = attrs.field(default=0, init=False)
    """Invalidations before the last check began."""

    _cached: tuple[str, T] | None = attrs.field(default=None, init=False)
    _error: RebalancerError | None = attrs.field(default=None, init=False)

    def get(self) -> T:
        """Return the current value, or the last one that could be read.

        Raises:
            Unavailable: the source has not answered yet.
            InvalidRequest: the source has never held a valid value.
        """
        with self._state:
            while self._checking and self._must_wait():
                self._state.wait()
            if self._checking or self._is_fresh():
                return self._result()
            self._checking = True
            invalidations = self._invalidations
        found: tuple[str, T] | None = None
        error: RebalancerError | None = None
        try:
            found = self._load()
        except RebalancerError as raised:
            error = raised
        finally:  # release the waiting threads in any case
            with self._state:
                self._checking = False
                self._record(found, error, invalidations)
                self._state.notify_all()
        with self._state:
            return self._result()

    def invalidate(self) -> None:
        """Check the revision at the next call of `get`."""
        with self._state:
            self._invalidations += 1

    def check(self) -> None:
        """Check that the cached value is the current one.

        Raises:
            Unavailable: the source does not answer, or did not at the last check.
            InvalidRequest: the source holds an invalid value.
        """
        self.get()
        with self._state:
            if self._error is not None:
                raise _copy_of(self._error)

    def _load(self) -> tuple[str, T]:
        revision = self._revision()  # before the value, which may then be newer, never older
        if self._cached is not None and self._cached[0] == revision:
            return self._cached
        return revision, self._read(revision)

    def _record(
        self, found: tuple[str, T] | None, error: RebalancerError | None, invalidations: int
    ) -> None:
        if found is not None:
            if self._error is not None and self._cached is not None:
                log.warning("%s can be read again", self._name)
            self._cached = found
        elif error is None:
            return  # a bug: its thread raises it, and the next one tries again
        elif self._error is None and self._cached is not None:
            log.warning("%s cannot be read; serving the last ones: %s", self._name, error)
        self._error, self._checked_at, self._covered = error, self._clock(), invalidations

    def _must_wait(self) -> bool:
        is_empty = self._cached is None and self._error is None
        return is_empty or self._covered < self._invalidations

    def _is_fresh(self) -> bool:
        if self._checked_at is None or self._covered < self._invalidations:
            return False
        return self._clock() - self._checked_at < self._check_interval

    def _result(self) -> T:
        if self._cached is not None:
            return self._cached[1]
        assert self._error is not None
        raise _copy_of(self._error)


def _copy_of(error: RebalancerError) -> RebalancerError:
    """Return a copy that another thread can raise: a traceback belongs to one thread."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied
