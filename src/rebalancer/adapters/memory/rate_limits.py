"""Rate limits in memory, for one process."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable

import attrs

from rebalancer.application.ports.rate_limits import Limit, Verdict


class _Passed(OrderedDict[str, "array[float]"]):
    """Times of the requests that passed a limit, by client, least recent client first.

    Attributes:
        window: Seconds for which a time counts.
    """

    window = 0.0

    @property
    def oldest(self) -> float:
        """Time of the latest request of the least recent client; infinite without clients."""
        return self[next(iter(self))][-1] if self else float("inf")


@attrs.define(eq=False, kw_only=True)
class MemoryRateLimits:
    """Exact sliding windows: the time of each request that passed.

    Nothing is awaited, so requests of one event loop cannot interleave. Each request also drops
    clients whose window has passed; beyond the capacity the least recent clients are dropped. It
    takes 50 MB at most.

    Args:
        clients: Maximum number of clients to remember, over all limits; 300 bytes each.
        requests: Maximum number of requests to remember; 8 bytes each.
    """

    _most_clients: int = attrs.field(default=100_000, alias="clients")
    _most_requests: int = attrs.field(default=1_000_000, alias="requests")
    _clock: Callable[[], float] = time.monotonic
    _limits: dict[str, _Passed] = attrs.field(factory=dict, init=False)
    clients: int = attrs.field(default=0, init=False)
    """Number of clients in memory."""

    requests: int = attrs.field(default=0, init=False)
    """Number of requests in memory."""

    async def hit(self, *counters: tuple[Limit, str]) -> Verdict:
        now = self._clock()
        for limit, _ in counters:
            self._limits.setdefault(limit.name, _Passed()).window = limit.window.total_seconds()
        for passed in self._limits.values():
            while passed.oldest <= now - passed.window:
                self._drop_oldest(passed)
        decided = Verdict.deciding([self._check(*counter, now) for counter in counters])
        if decided.allowed:
            for limit, client in counters:
                self._count(self._limits[limit.name], client, now)
            while self.clients > self._most_clients or self.requests > self._most_requests:
                self._drop_oldest(min(self._limits.values(), key=lambda passed: passed.oldest))
        return decided

    def _check(self, limit: Limit, client: str, now: float) -> Verdict:
        """Return the verdict of one limit, as if a passing request were counted."""
        passed = self._limits[limit.name]
        window = passed.window
        times = passed.get(client)
        if times is not None:
            over = bisect_right(times, now - window)
            del times[:over]
            self.requests -= over
            if not times:
                del passed[client]
                self.clients -= 1
        remaining = limit.most - len(times or ()) - 1
        if remaining < 0:
            assert times
            reset = times[-remaining - 1] + window - now
            return Verdict(limit, allowed=False, remaining=0, reset=reset)
        oldest = times[0] if times and not remaining else now
        return Verdict(limit, allowed=True, remaining=remaining, reset=oldest + window - now)

    def _count(self, passed: _Passed, client: str, now: float) -> None:
        times = passed.get(client)
        if times is None:
            passed[client] = array("d", (now,))
            self.clients += 1
        else:
            times.append(now)
            passed.move_to_end(client)
        self.requests += 1

    def _drop_oldest(self, passed: _Passed) -> None:
        _, times = passed.popitem(last=False)
        self.clients -= 1
        self.requests -= len(times)
