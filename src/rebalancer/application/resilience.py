"""What callers of unreliable servers share: retries, outage logs and circuit breakers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import attrs
import stamina

from rebalancer.domain.errors import Unavailable

T = TypeVar("T")


def retry_while_unavailable(
    call: Callable[[], T],
    *,
    timeout: float,
    first_wait: float = 0.1,
    longest_wait: float = 5.0,
    on_error: Callable[[Unavailable], None] = lambda _: None,
) -> T:
    """Repeat a call that raises Unavailable, with exponential backoff and jitter.

    Args:
        call: Safe to repeat.
        timeout: Seconds after the first call; no retry starts later.
        first_wait: Seconds before the second call.
        longest_wait: Maximum seconds between two calls.
        on_error: Called with each failure; an exception from it ends the retries.

    Raises:
        Unavailable: the error of the last call.
    """

    def is_transient(error: Exception) -> bool:
        if isinstance(error, Unavailable):
            on_error(error)
        return isinstance(error, Unavailable)

    stamina.instrumentation.set_on_retry_hooks(())  # callers log outages themselves
    waits = {"wait_initial": first_wait, "wait_max": longest_wait, "wait_jitter": first_wait}
    retry = stamina.RetryingCaller(attempts=None, timeout=timeout, **waits)
    return retry(is_transient, call)


@attrs.define(eq=False)
class OutageLog:
    """Log the beginning and the end of an outage, each once."""

    _log: logging.Logger
    _away: str
    _back: str
    _lasts: bool = attrs.field(default=False, init=False)

    def failed(self, error: BaseException | str) -> None:
        """Record a failure."""
        if not self._lasts:
            self._log.warning("%s: %s", self._away, str(error) or type(error).__name__)
        self._lasts = True

    def succeeded(self) -> None:
        """Record an answer."""
        if self._lasts:
            self._log.warning("%s", self._back)
        self._lasts = False


@attrs.define(eq=False, kw_only=True)
class CircuitBreaker:
    """Fail fast while a server is down; after each pause one caller tries again.

    Args:
        error: Makes the error that callers get meanwhile.
        is_outage: Whether an error means that the server did not answer.
        pause: Seconds after a failure in which no caller asks the server.
        trial: Seconds that the one caller has before the next may try.
        failures: Consecutive failures that mean that the server is down.
    """

    _error: Callable[[], Unavailable] = attrs.field(kw_only=False)
    _is_outage: Callable[[Exception], bool] = attrs.field(kw_only=False)
    _pause: float = 1.0
    _trial: float = 1.0
    _failures: int = 1
    _log: OutageLog | None = None
    _clock: Callable[[], float] = time.monotonic
    _lock: Lock = attrs.field(factory=Lock, init=False)
    _next_trial: float | None = attrs.field(default=None, init=False)
    """None while the server answers."""
    _failed: int = attrs.field(default=0, init=False)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Ask the server in this block, unless it is down."""
        if self._next_trial is not None:
            with self._lock:
                now = self._clock()
                if self._next_trial is not None:
                    if now < self._next_trial:
                        raise self._error()
                    self._next_trial = now + self._trial
        try:
            yield
        except Exception as error:  # a cancelled request proves nothing about the server
            self._record(error)
            raise
        self._record(None)

    def _record(self, error: Exception | None) -> None:
        if error is not None and self._is_outage(error):
            with self._lock:
                self._failed += 1
                if self._failed < self._failures and self._next_trial is None:
                    return
                self._next_trial = self._clock() + self._pause
                if self._log is not None:
                    self._log.failed(error)
        elif self._failed or self._next_trial is not None:
            with self._lock:
                self._failed, self._next_trial = 0, None
                if self._log is not None:
                    self._log.succeeded()
