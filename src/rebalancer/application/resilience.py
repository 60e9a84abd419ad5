"""What callers of unreliable servers share: retries, outage logs and circuit breakers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

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
    """Call a function until it answers, with exponential backoff and jitter.

    Args:
        call: The function; it must be safe to repeat.
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
    retry = stamina.RetryingCaller(
        attempts=None,
        timeout=timeout,
        wait_initial=first_wait,
        wait_max=longest_wait,
        wait_jitter=first_wait,
    )
    return retry(is_transient, call)


class OutageLog:
    """Log that a dependency is away, once at the beginning and once at the end of an outage.

    Args:
        log: Logger.
        away: Message for the beginning; the error follows it.
        back: Message for the end.
    """

    def __init__(self, log: logging.Logger, away: str, back: str) -> None:
        self._log = log
        self._away, self._back = away, back
        self._lasts = False

    def failed(self, error: BaseException) -> None:
        """Record a failure."""
        if not self._lasts:
            self._log.warning("%s: %s", self._away, str(error) or type(error).__name__)
        self._lasts = True

    def succeeded(self) -> None:
        """Record an answer."""
        if self._lasts:
            self._log.warning("%s", self._back)
        self._lasts = False


class CircuitBreaker:
    """Fail fast while a server is down; after each pause one caller tries again.

    Args:
        message: Message of the error that callers get meanwhile.
        pause: Seconds after a failure in which no caller asks the server.
        trial: Seconds that the one caller has before the next may try.
        log: Log of outages; None: the caller logs them.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        pause: float = 1.0,
        trial: float = 1.0,
        log: OutageLog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._message = message
        self._pause, self._trial = pause, trial
        self._log, self._clock = log, clock
        self._lock = Lock()
        self._is_open = False
        self._next_trial = 0.0

    def check(self) -> None:
        """Let the caller ask the server.

        Raises:
            Unavailable: the server failed a moment ago, or another caller tries it now.
        """
        if not self._is_open:
            return
        with self._lock:
            now = self._clock()
            if now < self._next_trial:
                raise Unavailable(self._message)
            self._next_trial = now + self._trial

    def failed(self, error: BaseException) -> None:
        """Record that the server did not answer."""
        with self._lock:
            self._is_open = True
            self._next_trial = self._clock() + self._pause
            if self._log is not None:
                self._log.failed(error)

    def succeeded(self) -> bool:
        """Record an answer; return whether it ends an outage."""
        if not self._is_open:
            return False
        with self._lock:
            was_open, self._is_open, self._next_trial = self._is_open, False, 0.0
            if self._log is not None:
                self._log.succeeded()
        return was_open

    @contextmanager
    def guard(self, is_outage: Callable[[BaseException], bool]) -> Iterator[None]:
        """Ask the server in this block, unless it is down.

        Args:
            is_outage: Whether an error means that the server did not answer.

        Raises:
            Unavailable: as `check`.
        """
        self.check()
        try:
            yield
        except BaseException as error:
            if is_outage(error):
                self.failed(error)
            else:
                self.succeeded()
            raise
        self.succeeded()
