-- One creation by an address, of so many that it may do at once and in a minute; the bucket refills
-- smoothly. KEYS: the bucket. ARGV: how many in a minute; deadline of this step.
-- It is forgotten when it would be full again, so it lives for a minute at most.
local burst, deadline = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > deadline then
    return {'late'}
end
local per_ms, level = burst / 60000, burst
local known = redis.call('GET', KEYS[1])
if known then
    local before, since = string.match(known, '^(%d+%.%d+)|(%d+)$')
    if not before then
        error('a bucket makes no sense')
    end
    level = math.min(burst, tonumber(before) + math.max(0, now - tonumber(since)) * per_ms)
end
if level < 1 then
    return {'wait', math.ceil((1 - level) / per_ms)}
end
level = level - 1
redis.call(
    'SET', KEYS[1], string.format('%.6f|%.0f', level, now), 'PX', math.ceil((burst - level) / per_ms)
)
return {'allowed'}
