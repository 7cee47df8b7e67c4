-- How a room is written back, so that each key has a time to live at every instant; and what has
-- lapsed in it by now.

local function forget_oldest_away()
    local fields, ages = redis.call('HGETALL', AWAY), {}
    for i = 1, #fields, 2 do
        ages[#ages + 1] = {tonumber(string.match(fields[i + 1], '|(%d+)$')) or 0, fields[i]}
    end
    table.sort(ages, function(a, b) return a[1] < b[1] end)
    for i = 1, #ages - MOST_AWAY + OLDEST_AWAY do
        redis.call('HDEL', AWAY, ages[i][2])
    end
end

-- Written before the room, which has been read: were this key of another type, nothing would change.
local function write_away()
    local change = false
    for member in pairs(coming) do
        redis.call('HDEL', AWAY, member)
        change = true
    end
    for member, generation in pairs(going) do
        -- No generation is lower than 0.
        if generation > 0 then
            redis.call('HSET', AWAY, member, whole(generation) .. '|' .. whole(now))
            change = true
        end
    end
    if change then
        redis.call('PEXPIRE', AWAY, AWAY_TTL)
        if redis.call('HLEN', AWAY) > MOST_AWAY then
            forget_oldest_away()
        end
    end
end

local function write_room(room)
    local drops, writes = {}, {}
    for name in pairs(room.drops) do
        drops[#drops + 1] = name
    end
    for name, value in pairs(room.writes) do
        writes[#writes + 1] = name
        writes[#writes + 1] = value
    end
    -- Written first: a hash that loses its last field loses its time to live with it.
    if #writes > 0 then
        redis.call('HSET', ROOM, unpack(writes))
    end
    if #drops > 0 then
        redis.call('HDEL', ROOM, unpack(drops))
    end
    room.writes, room.drops = {}, {}
end

local function delete()
    redis.call('DEL', ROOM, AWAY)
end

-- Writes a room that has members, and lets it live for its whole time.
local function keep(room)
    write_away()
    write_room(room)
    redis.call('PEXPIRE', ROOM, ROOM_TTL)
end

-- Writes a room that has been empty since then: it waits for somebody to come back.
local function keep_empty(room, since)
    if GRACE == 0 then
        delete()
        return
    end
    write_away()
    redis.call('PEXPIREAT', AWAY, whole(since + GRACE))
    write_room(room)
    redis.call('PEXPIREAT', ROOM, whole(since + GRACE))
end

-- Drops what lapsed, so far in this script's memory only. When the last of it lapsed, or nil.
local function reap(room)
    local lapsed, last = {}, nil
    for lease, lapses in pairs(room.leases) do
        if lapses <= now then
            lapsed[lease] = true
            last = math.max(last or 0, lapses)
        end
    end
    if last then
        local members = {}
        for member, held in pairs(room.seats) do
            if lapsed[held.lease] then
                members[#members + 1] = member
            end
        end
        for _, member in ipairs(members) do
            vacate(room, member)
        end
        set(room, 'revision', room.revision + 1)
    end
    return last
end

local function standing(room, reaped, reply)
    reply[#reply + 1] = room.revision
    reply[#reply + 1] = room.count
    reply[#reply + 1] = reaped and 1 or 0
    for lease in pairs(room.leases) do
        reply[#reply + 1] = lease
    end
    return reply
end

-- What a script finds: the room, nil if there is none (any more), and whether this step has dropped
-- a lapsed lease.
local room, reaped = read_room(), false
-- A step that was asked for before this server stood still must not take that for the others' end.
if room and now <= REAPS_UNTIL then
    local last = reap(room)
    reaped = last ~= nil
    if reaped and room.count > 0 then
        write_away()
        write_room(room)
    elseif reaped and GRACE > 0 and last + GRACE > now then
        keep_empty(room, last)
    elseif reaped then
        -- It has been empty for too long, though nobody looked.
        delete()
        room = nil
    end
    if reaped then
        going = {}
    end
end
