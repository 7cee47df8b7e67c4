-- The tokens spent in a room. Their marks outlive the room, and may be evicted before it.

-- Until when a token expires whose being spent may have been forgotten: the marks were evicted.
local function unknown_until(room)
    if room and room.spent_until > 0 and redis.call('EXISTS', SPENT) == 0 then
        return math.max(room.spent_until, room.unknown_until)
    end
    return room and room.unknown_until or 0
end

local function is_spent(room, token, expires)
    return redis.call('ZSCORE', SPENT, token) or expires <= unknown_until(room)
end

-- Until when the last of the tokens remembered expires.
local function marked_until()
    return tonumber(redis.call('ZRANGE', SPENT, -1, -1, 'WITHSCORES')[2] or 0)
end

-- Forgets that a token was spent.
local function unspend(room, token)
    if redis.call('ZREM', SPENT, token) == 1 then
        set(room, 'spent_until', marked_until())
    end
end

-- Marks a token as spent; the first thing that a script writes. The room may be missing.
local function spend(room, token, expires)
    local unknown = unknown_until(room)
    redis.call('ZREMRANGEBYSCORE', SPENT, '-inf', whole(now - REPLAY_MARGIN))
    redis.call('ZADD', SPENT, whole(expires), token)
    local last = marked_until()
    redis.call('PEXPIREAT', SPENT, whole(last + REPLAY_MARGIN))
    if room then
        if unknown > room.unknown_until then
            set(room, 'unknown_until', unknown)
        end
        set(room, 'spent_until', last)
    end
end
