-- KEYS: for each limit the times, in microseconds, of the requests that passed, oldest first.
-- ARGV: for each limit the maximum number of requests, and the window in microseconds.
-- Returns for each limit the number of requests left, less than 0 if this one must not pass, and
-- the microseconds until another may pass or the window is empty. The request is counted if all
-- limits let it pass.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i, key in ipairs(KEYS) do
    local newest = tonumber(redis.call('LINDEX', key, -1) or 0)
    if newest > now then  -- the clock was set back: far, so the times are useless, or a little
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
