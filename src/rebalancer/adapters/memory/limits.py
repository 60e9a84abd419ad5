"""Rate limits in memory, for one process."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from rebalancer.application.ports.limits import Limit, Verdict

MOST = 500_000
"""Requests that are remembered, some 20 MB of them."""


class MemoryRateLimits:
    """The time of each request that passed, for as long as its window is open.

    Nothing is awaited on the way, so that requests of one event loop cannot come between. Where too
    much is remembered, those who have not asked for longest are forgotten.

    Args:
        most: How many requests are remembered, of everybody.
        clock: Seconds; only differences matter.
    """

    def __init__(self, *, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._passed: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._remembered = 0

    async def hit(self, *asked: tuple[Limit, str]) -> Verdict:
        """See `RateLimits.hit`."""
        now = self._clock()
        verdicts = [self._asked(limit, who, now) for limit, who in asked]
        decided = Verdict.deciding(verdicts)
        if decided.allowed:
            for limit, who in asked:
                self._passed.setdefault((limit.name, who), deque()).append(now)
                self._passed.move_to_end((limit.name, who))
            self._remembered += len(asked)
            self._forget()
        return decided

    def _asked(self, limit: Limit, who: str, now: float) -> Verdict:
        """What one limit says, as if the request were counted if it may pass."""
        window = limit.window.total_seconds()
        passed = self._passed.get((limit.name, who), ())
        while passed and passed[0] + window <= now:
            passed.popleft()
            self._remembered -= 1
        remaining = limit.most - len(passed) - 1
        if remaining < 0:
            reset = passed[-remaining - 1] + window - now
            return Verdict(limit, allowed=False, remaining=0, reset=reset)
        oldest = passed[0] if passed and not remaining else now
        return Verdict(limit, allowed=True, remaining=remaining, reset=oldest + window - now)

    def _forget(self) -> None:
        while self._remembered > self._most:
            _, passed = self._passed.popitem(last=False)
            self._remembered -= len(passed)
