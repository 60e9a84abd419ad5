-- KEYS: latest quotes by symbol, last number.
-- ARGV: the channel, the milliseconds after which unused quotes expire, then for each quote its
-- symbol, the time of its trade and of its arrival in microseconds, and its other figures.
-- Returns the entries that are news; followers get the same. An entry is the number, both times and
-- the figures.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local number = tonumber(redis.call('GET', KEYS[2]) or 0)
local posted = {}
for i = 3, #ARGV, 4 do
    local symbol, traded, received, figures = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    local before = redis.call('HGET', KEYS[1], symbol)
    local is_news = true
    if before then
        local _, t, r, f = string.match(before, '^(%d+) (%d+) (%d+) (.*)$')
        t, r = tonumber(t), tonumber(r)
        if t then
            local traded_at, received_at = tonumber(traded), tonumber(received)
            is_news = traded_at > t or (traded_at == t and received_at >= r and f ~= figures)
        end
    end
    if is_news then
        number = math.max(number + 1, now)
        local entry = string.format('%.0f %s %s %s', number, traded, received, figures)
        redis.call('HSET', KEYS[1], symbol, entry)
        posted[#posted + 1] = entry
    end
end
if #posted > 0 then
    redis.call('SET', KEYS[2], string.format('%.0f', number))
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    redis.call('PUBLISH', ARGV[1], table.concat(posted, '\n'))
end
return posted
