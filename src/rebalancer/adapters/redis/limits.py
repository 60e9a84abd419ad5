"""Rate limits that all processes share."""

from __future__ import annotations

from rebalancer.adapters.redis.connection import AsyncConnection, RedisAway
from rebalancer.application.ports.limits import Limit, RateLimits, Verdict

_MICROSECONDS = 1_000_000

_HIT = """
-- KEYS: of each limit the times, in microseconds, when somebody's requests passed, oldest first.
-- ARGV: of each limit how many may pass, and the window in microseconds.
-- Answers of each how many more may pass, less than 0 if this one may not, and the microseconds
-- until another one may or the window is empty. It is counted if all of them let it pass.
local told = redis.call('TIME')
local now = told[1] * 1000000 + told[2]
for i, key in ipairs(KEYS) do
    local newest = tonumber(redis.call('LINDEX', key, -1) or 0)
    if newest > now then  -- the clock was set back: by much, so that they mean nothing, or a little
        if newest - now > tonumber(ARGV[2 * i]) then redis.call('DEL', key) else now = newest end
    end
end
local allowed, answer = true, {}
for i, key in ipairs(KEYS) do
    local most, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local oldest = tonumber(redis.call('LINDEX', key, 0) or now)
    while oldest + window <= now do
        redis.call('LPOP', key)
        oldest = tonumber(redis.call('LINDEX', key, 0) or now)
    end
    local remaining = most - redis.call('LLEN', key) - 1
    local reset = window
    if remaining < 0 then
        allowed = false
        reset = tonumber(redis.call('LINDEX', key, -remaining - 1)) + window - now
    elseif remaining == 0 then
        reset = oldest + window - now
    end
    answer[2 * i - 1], answer[2 * i] = remaining, reset
end
if allowed then
    for i, key in ipairs(KEYS) do
        redis.call('RPUSH', key, string.format('%.0f', now))
        redis.call('PEXPIRE', key, math.ceil(ARGV[2 * i] / 1000))
    end
end
return answer
"""


class RedisRateLimits:
    """The time of each request that passed, in a list for each limit and whoever it is counted for.

    The list says exactly what passed within a window, where two counters would guess; Redis packs
    it, at some 10 bytes a request where a sorted set takes 100. It is the server's clock that
    counts, so that those of processes need not agree.

    Args:
        connection: To the server.
        nearby: What counts while it is away.
    """

    def __init__(self, connection: AsyncConnection, nearby: RateLimits) -> None:
        self._connection = connection
        self._nearby = nearby

    async def hit(self, *asked: tuple[Limit, str]) -> Verdict:
        """See `RateLimits.hit`."""
        name = self._connection.name
        keys = [name("limits", limit.name, who) for limit, who in asked]
        numbers = [
            number
            for limit, _ in asked
            for number in (limit.most, round(limit.window.total_seconds() * _MICROSECONDS))
        ]
        try:
            told = await self._connection.ask(
                lambda client: client.register_script(_HIT)(keys, numbers)
            )
        except RedisAway:
            return await self._nearby.hit(*asked)
        return Verdict.deciding(
            Verdict(limit, remaining >= 0, max(remaining, 0), reset / _MICROSECONDS)
            for (limit, _), remaining, reset in zip(asked, told[::2], told[1::2], strict=True)
        )
