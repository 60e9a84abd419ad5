"""Rate limits that all processes share."""

from __future__ import annotations

from importlib.resources import files

from rebalancer.adapters.redis.connection import AsyncConnection, RedisAway
from rebalancer.application.ports.rate_limits import Limit, RateLimits, Verdict

_MICROSECONDS = 1_000_000


class RedisRateLimits:
    """Exact sliding windows: the times of the requests that passed, a list for each counter.

    Redis packs a list at some 10 bytes a request, where a sorted set takes 100. The server's clock
    counts, so the clocks of the processes may differ.

    Args:
        nearby: Rate limits of this process, used while Redis is away.
    """

    def __init__(self, connection: AsyncConnection, nearby: RateLimits) -> None:
        self._connection = connection
        self._nearby = nearby
        self._script = (files("rebalancer.adapters.redis") / "hit.lua").read_text("utf-8")

    async def hit(self, *counters: tuple[Limit, str]) -> Verdict:
        name = self._connection.name
        keys = [name("limits", limit.name, client) for limit, client in counters]
        numbers = [
            number
            for limit, _ in counters
            for number in (limit.most, round(limit.window.total_seconds() * _MICROSECONDS))
        ]
        try:
            answer = await self._connection.ask(
                lambda client: client.register_script(self._script)(keys, numbers)
            )
        except RedisAway:
            return await self._nearby.hit(*counters)
        return Verdict.deciding(
            Verdict(limit, remaining >= 0, max(remaining, 0), reset / _MICROSECONDS)
            for (limit, _), remaining, reset in zip(
                counters, answer[::2], answer[1::2], strict=True
            )
        )
