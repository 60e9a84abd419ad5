"""Pace, quota, retries and circuit breaker around a provider."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from threading import BoundedSemaphore, Event, Lock
from typing import Any, TypeVar, cast

import attrs
import stamina

from rebalancer.application.metrics import PROVIDER_REQUESTS, PROVIDER_SECONDS
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.providers import (
    NEVER_RETRIED,
    Fetched,
    Garbled,
    Listing,
    MarketProvider,
    Offer,
    ProviderFault,
    QuotaSpent,
    QuotingProvider,
    Throttled,
    Unreachable,
)
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.ports.telemetry import Metrics, SpanKind, Tracer
from rebalancer.application.resilience import CircuitBreaker, OutageLog
from rebalancer.application.telemetry import NO_METRICS, NO_TRACER
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts
from rebalancer.domain.market.live_quotes import Tick

T = TypeVar("T")

log = logging.getLogger("rebalancer.market")

_FAILURES = 3
"""Consecutive questions without an answer, each of them repeated, after which it counts as down."""

_MOMENT = 1.0
"""Seconds that a search waits for its turn, as while many assets are synchronized."""

_SPENT = timedelta(hours=1)
"""Time until a provider is asked again that has not stated when its plan is reset."""


@attrs.frozen
class Pace:
    """How fast, and how often, a provider may be asked.

    Attributes:
        rates: Most requests in a number of seconds, each pair a limit of its own.
        a_day: Most requests in a day of UTC, remembered in the store; None: no limit.
        attempts: Most requests for one answer.
        longest_wait: Seconds that a caller waits for its turn, or for a provider that asks for
            patience.
        at_once: Most requests at the same time; None: no limit.
    """

    rates: tuple[tuple[int, float], ...] = ((5, 1.0),)
    a_day: int | None = None
    attempts: int = 3
    longest_wait: float = 60.0
    at_once: int | None = None


class GuardedProvider:
    """Provider that keeps its pace and quota, retries what may succeed, and fails fast when down.

    A retry counts as a request. A fault that states when to come back is respected: no
    request is made before. Threads share the pace.

    Args:
        provider: The provider.
        pace: Its limits.
        work: Stores what is spent of a daily quota; not used without one.
        clock: Gives the day of the quota.
        cost: Requests that `bars` takes; of a provider without bars, `series`.
        metrics: Count and time the questions.
        tracer: Records the questions.
    """

    def __init__(
        self,
        provider: MarketProvider,
        pace: Pace,
        work: UnitOfWork,
        clock: Clock,
        *,
        cost: int = 1,
        first_wait: float = 0.5,
        metrics: Metrics = NO_METRICS,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.name, self.title, self.terms = provider.name, provider.title, provider.terms
        self.offers: frozenset[Offer] = provider.offers
        self.pace = pace
        self._provider, self._work, self._clock = provider, work, clock
        self._cost, self._first_wait = cost, first_wait
        self._metrics, self._tracer = metrics, tracer
        self._limiter: Any = None
        self._lock = Lock()
        self._turn = Lock()
        self._closing = Event()
        self._slots = None if pace.at_once is None else BoundedSemaphore(pace.at_once)
        self._silent_until: datetime | None = None
        self._spent_until: datetime | None = None
        self._breaker = CircuitBreaker(
            lambda: Unreachable(f"{self.title} did not answer a moment ago; repeat it later"),
            lambda error: isinstance(error, Unreachable),
            pause=30.0,
            trial=30.0,
            failures=_FAILURES,
            log=OutageLog(log, f"{self.title} is down", f"{self.title} answers again"),
        )

    def bars(self, symbol: str, *, since: date | None, now: datetime) -> Fetched:
        return self._ask(lambda: self._provider.bars(symbol, since=since, now=now), cost=self._cost)

    def find(self, text: str, *, limit: int) -> Sequence[Listing]:
        """See `MarketProvider.find`; without retries or long waits, as people wait for it."""
        return self._ask(lambda: self._provider.find(text, limit=limit), patient=False)

    def facts(self, symbol: str) -> Facts:
        return self._ask(lambda: self._provider.facts(symbol))

    def series(self, id: str, *, since: date | None) -> EconomicSeries:
        cost = 1 if Offer.BARS in self.offers else self._cost
        return self._ask(lambda: self._provider.series(id, since=since), cost=cost)

    def quote(self, symbol: str) -> Tick:
        """See `QuotingProvider.quote`; asked only of a provider that offers quotes."""
        provider = cast(QuotingProvider, self._provider)
        return self._ask(lambda: provider.quote(symbol))

    def close(self) -> None:
        """Close connections, and end the pauses of callers; a later call opens them again."""
        self._closing.set()
        self._provider.close()

    def quota_left(self) -> int | None:
        """Return the requests that are left today; None without a daily quota.

        Raises:
            Unavailable: the store did not answer.
        """
        if self.pace.a_day is None:
            return None
        with self._work.read() as tx:
            used = tx.quotas.used(self.name, self._today())
        return max(self.pace.a_day - used, 0)

    def _ask(self, call: Callable[[], T], *, cost: int = 1, patient: bool = True) -> T:
        """Return the answer of the provider to one question.

        Args:
            call: Asks it.
            cost: Requests that this takes.
            patient: Whether to wait for the pace and to retry.
        """

        def is_transient(error: Exception) -> bool | timedelta:
            if not isinstance(error, ProviderFault) or isinstance(error, NEVER_RETRIED):
                return False
            if self._closing.is_set():
                return False
            wait = self._wait_for(error)
            if wait is None:
                return True
            return timedelta(seconds=wait) if wait <= self.pace.longest_wait else False

        def once() -> T:
            self._pause(0.0)
            longest = self.pace.longest_wait if patient else _MOMENT
            self._check_silence(longest)
            self._keep_pace(cost, longest)
            self._spend(cost)
            with self._slots or nullcontext():
                try:
                    return call()
                except (RebalancerError, NotImplementedError):
                    raise
                except Exception as error:  # foreign data must not stop what else is asked for
                    kind = type(error).__name__
                    log.error("%s sent what its adapter cannot read: %s", self.title, kind)
                    raise Garbled(f"{self.title} sent an unreadable answer ({kind})") from None

        self._closing.clear()
        stamina.instrumentation.set_on_retry_hooks(())  # the caller reports what failed
        retry = stamina.RetryingCaller(
            attempts=self.pace.attempts if patient else 1,
            timeout=None,
            wait_initial=self._first_wait,
            wait_max=30.0,
            wait_jitter=self._first_wait,
        )
        with self._measured(), self._breaker.guard():
            try:
                return retry(is_transient, once)
            except QuotaSpent as fault:
                with self._lock:
                    self._spent_until = fault.until or self._clock() + _SPENT
                raise

    @contextmanager
    def _measured(self) -> Iterator[None]:
        """Count, time and record a question with its waits and retries."""
        started, outcome = time.perf_counter(), "failed"
        try:
            with self._tracer.span(f"provider {self.name}", SpanKind.CLIENT):
                yield
            outcome = "answered"
        except ProviderFault as fault:
            outcome = fault.default_code.removeprefix("provider_")
            raise
        finally:
            self._metrics.add(PROVIDER_REQUESTS, self.name, outcome)
            seconds = time.perf_counter() - started
            self._metrics.observe(PROVIDER_SECONDS, seconds, self.name)

    def _wait_for(self, fault: Exception) -> float | None:
        """Return the seconds that a fault asks to wait, and remember them; None without any."""
        until = fault.until if isinstance(fault, Throttled) else None
        if until is None:
            return None
        with self._lock:
            self._silent_until = max(until, self._silent_until or until)
        return max((until - self._clock()).total_seconds(), 0.0)

    def _check_silence(self, longest_wait: float) -> None:
        """Wait for a provider that asked for patience, or fail if that takes too long.

        A provider whose plan is spent is not asked again before it is reset.
        """
        with self._lock:
            until, spent = self._silent_until, self._spent_until
        if spent is not None and self._clock() < spent:
            raise QuotaSpent(
                f"{self.title} has no requests left until {spent:%Y-%m-%d %H:%M} UTC; sync then, "
                "or choose another provider",
                until=spent,
            )
        wait = 0.0 if until is None else (until - self._clock()).total_seconds()
        if wait <= 0:
            return
        if wait > longest_wait:
            raise Throttled(
                f"{self.title} refuses more requests until {until:%Y-%m-%d %H:%M:%S} UTC",
                until=until,
            )
        self._pause(wait)

    def _spend(self, cost: int) -> None:
        if self.pace.a_day is None:
            return
        today = self._today()
        with self._work.begin() as tx:
            if tx.quotas.take(self.name, today, limit=self.pace.a_day, count=cost):
                return
        begins = datetime.fromisoformat(today).replace(tzinfo=UTC) + timedelta(days=1)
        raise QuotaSpent(
            f"the {self.pace.a_day} requests a day of {self.title} are spent until "
            f"{begins:%Y-%m-%d %H:%M} UTC; sync then, or choose another provider",
            until=begins,
        )

    def _keep_pace(self, cost: int, longest_wait: float) -> None:
        """Wait until the next request is allowed, or fail if that takes too long."""
        if not self._turn.acquire(timeout=longest_wait):
            raise Throttled(f"{self.title} has had too many requests; repeat it in a minute")
        try:
            if self._limiter is None:
                from pyrate_limiter import Limiter, Rate

                rates = [Rate(count, int(seconds * 1000)) for count, seconds in self.pace.rates]
                self._limiter = Limiter(rates)
            for _ in range(cost):
                while not self._limiter.try_acquire(self.name, blocking=False):
                    (bucket,) = self._limiter.buckets()
                    item = self._limiter.bucket_factory.wrap_item(self.name)
                    wait = bucket.waiting(item) / 1000
                    if wait > longest_wait:
                        until = self._clock() + timedelta(seconds=wait)
                        raise Throttled(
                            f"{self.title} allows no more requests until "
                            f"{until:%Y-%m-%d %H:%M:%S} UTC; repeat it then",
                            until=until,
                        )
                    self._pause(wait + 0.002)
        finally:
            self._turn.release()

    def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until this provider is closed."""
        if self._closing.wait(seconds):
            raise Throttled(f"{self.title} was closed before its turn came; repeat it")

    def _today(self) -> str:
        return str(self._clock().astimezone(UTC).date())
