"""Rate limits in memory, for one process."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable

from rebalancer.application.ports.limits import Limit, Verdict

PEOPLE = 100_000
"""Of whom a process remembers requests, each limit by itself; one takes some 300 bytes."""

REQUESTS = 1_000_000
"""That are remembered of all of them; one takes 8 bytes, and a little to grow."""


class _Passed(OrderedDict[str, "array[float]"]):
    """The times when requests passed one limit, oldest first, by who has not asked for longest.

    Nobody is in it without a time.

    Attributes:
        window: Seconds for which a time matters.
    """

    window = 0.0

    @property
    def oldest(self) -> float:
        """When whoever has not asked for longest asked last; never, if there is nobody."""
        return self[next(iter(self))][-1] if self else float("inf")


class MemoryRateLimits:
    """The time of each request that passed, for as long as its window is open.

    Nothing is awaited on the way, so that requests of one event loop cannot come between. Each of
    them also lets go of whoever has not asked for a window's time, so that what a flood leaves goes
    with it. Where too much is remembered all the same, those who have not asked for longest are
    forgotten: it takes 50 MB at most.

    Args:
        people: Of how many, see `PEOPLE`.
        requests: How many, see `REQUESTS`.
        clock: Seconds; only differences matter.
    """

    def __init__(
        self,
        *,
        people: int = PEOPLE,
        requests: int = REQUESTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_people, self._most_requests = people, requests
        self._clock = clock
        self._limits: dict[str, _Passed] = {}
        self._people = self._requests = 0

    async def hit(self, *asked: tuple[Limit, str]) -> Verdict:
        """See `RateLimits.hit`."""
        now = self._clock()
        for limit, _ in asked:
            self._limits.setdefault(limit.name, _Passed()).window = limit.window.total_seconds()
        self._let_go(now)
        verdicts = [self._asked(limit, who, now) for limit, who in asked]
        decided = Verdict.deciding(verdicts)
        if decided.allowed:
            for limit, who in asked:
                self._count(self._limits[limit.name], who, now)
            self._forget()
        return decided

    def _asked(self, limit: Limit, who: str, now: float) -> Verdict:
        """What one limit says, as if the request were counted if it may pass."""
        passed = self._limits[limit.name]
        window = passed.window
        times = passed.get(who)
        if times is not None:
            over = bisect_right(times, now - window)
            del times[:over]
            self._requests -= over
            if not times:
                del passed[who]
                self._people -= 1
        remaining = limit.most - len(times or ()) - 1
        if remaining < 0:
            assert times
            reset = times[-remaining - 1] + window - now
            return Verdict(limit, allowed=False, remaining=0, reset=reset)
        oldest = times[0] if times and not remaining else now
        return Verdict(limit, allowed=True, remaining=remaining, reset=oldest + window - now)

    def _count(self, passed: _Passed, who: str, now: float) -> None:
        times = passed.get(who)
        if times is None:
            passed[who] = array("d", (now,))
            self._people += 1
        else:
            times.append(now)
            passed.move_to_end(who)
        self._requests += 1

    def _let_go(self, now: float) -> None:
        """Forget those of whom nothing matters any more, each of them once."""
        for passed in self._limits.values():
            while passed.oldest <= now - passed.window:
                self._drop(passed)

    def _forget(self) -> None:
        while self._people > self._most_people or self._requests > self._most_requests:
            self._drop(min(self._limits.values(), key=lambda passed: passed.oldest))

    def _drop(self, passed: _Passed) -> None:
        _, times = passed.popitem(last=False)
        self._people -= 1
        self._requests -= len(times)
