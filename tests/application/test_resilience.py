"""Retries, outage logs and circuit breakers."""

import asyncio
import logging

import pytest

from rebalancer.application.resilience import CircuitBreaker, OutageLog, retry_while_unavailable
from rebalancer.domain.errors import Conflict, Unavailable


class Server:
    """Fails a number of times before it answers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise Unavailable(f"failure {self.calls}")
        return "answer"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_call_is_repeated_until_it_answers() -> None:
    server = Server(failures=2)
    errors: list[str] = []
    answer = retry_while_unavailable(
        server,
        timeout=60.0,
        first_wait=0.001,
        on_error=lambda error: errors.append(error.message),
    )
    assert (answer, errors) == ("answer", ["failure 1", "failure 2"])


def test_last_error_is_raised_after_the_timeout() -> None:
    with pytest.raises(Unavailable, match="failure"):
        retry_while_unavailable(Server(failures=10**9), timeout=0.01, first_wait=0.001)


def test_other_errors_are_not_retried() -> None:
    calls = []

    def fail() -> None:
        calls.append(1)
        raise Conflict("changed")

    with pytest.raises(Conflict):
        retry_while_unavailable(fail, timeout=60.0)
    assert len(calls) == 1


def test_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = OutageLog(logging.getLogger("rebalancer.test"), "away", "back")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            outage.failed(OSError("refused"))
        for _ in range(3):
            outage.succeeded()
    assert caplog.messages == ["away: refused", "back"]


def test_breaker_fails_fast_after_an_outage_and_lets_one_caller_try() -> None:
    clock = Clock()
    breaker = CircuitBreaker(
        lambda: Unavailable("down"),
        lambda error: isinstance(error, OSError),
        pause=1.0,
        trial=5.0,
        clock=clock,
    )

    def ask(error: Exception | None = None) -> None:
        with breaker.guard():
            if error is not None:
                raise error

    with pytest.raises(ValueError, match="bug"):
        ask(ValueError("bug"))
    ask()  # a bug does not count as an outage
    with pytest.raises(OSError, match="reset"):
        ask(OSError("reset"))
    with pytest.raises(Unavailable, match="down"):
        ask()
    clock.now = 1.0
    with pytest.raises(asyncio.CancelledError), breaker.guard():
        with pytest.raises(Unavailable, match="down"):
            ask()  # another caller tries at this moment
        raise asyncio.CancelledError
    with pytest.raises(Unavailable, match="down"):
        ask()  # a cancelled request is not an answer
    clock.now = 6.0
    ask()
