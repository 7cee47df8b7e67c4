-- What each script on a room begins with: the room as it is now, and how it is written back.
--
-- KEYS  the room; the tokens spent in it; the generations of its members who are away
-- ARGV  1 until when lapsed leases are dropped, 0 for not at all; 2 deadline of this step, 0 for none; 3 life of a room,
--       4 of an empty one, 5 of a lease, 6 of generations; 7 capacity. Times are ms, all of them
--       by this server's clock. What else a script takes comes after these.
--
-- Nothing is written before everything is read and found good: a script that fails changes nothing.

local ROOM, SPENT, AWAY = KEYS[1], KEYS[2], KEYS[3]
local REAPS_UNTIL, DEADLINE = tonumber(ARGV[1]), tonumber(ARGV[2])
local ROOM_TTL, GRACE, LEASE_TTL = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local AWAY_TTL, CAPACITY = tonumber(ARGV[6]), tonumber(ARGV[7])
local OWN = 7
-- A spent token is remembered for so long beyond its expiry (wire protocol, "Join tokens").
local REPLAY_MARGIN = 5000
-- So many generations are remembered; when there are more, so many of the oldest go at once.
local MOST_AWAY, OLDEST_AWAY = 4096, 256

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if DEADLINE > 0 and now > DEADLINE then
    return {'late'}
end

local function whole(number)
    -- tostring would write 1.7e+12.
    return string.format('%.0f', number)
end

local function number_in(text)
    if not text or #text > 15 or not string.find(text, '^%d+$') then
        error('a number makes no sense')
    end
    return tonumber(text)
end

local function seat_in(text)
    local hold, lease, generation, label = string.match(text, '^([^|]+)|([^|]+)|(%d+)|(%d+)$')
    if not hold then
        error('a seat makes no sense')
    end
    return {hold = hold, lease = lease, generation = number_in(generation), label = number_in(label)}
end

local FACTS = {revision = true, number = true, spent_until = true, unknown_until = true}

-- The room: facts by name; seats by member; leases by name, each with when it lapses; held counts
-- the seats under each lease. `writes` and `drops` are the fields that differ from what is stored.
local function new_room()
    return {
        revision = 0, number = 0, spent_until = 0, unknown_until = 0,
        seats = {}, count = 0, leases = {}, held = {}, writes = {}, drops = {},
    }
end

local function read_room()
    local fields = redis.call('HGETALL', ROOM)
    if #fields == 0 then
        return nil
    end
    local room = new_room()
    room.revision = nil
    for i = 1, #fields, 2 do
        local name, value = fields[i], fields[i + 1]
        local kind = string.sub(name, 1, 2)
        if kind == 's:' then
            local seat = seat_in(value)
            room.seats[string.sub(name, 3)] = seat
            room.count = room.count + 1
            room.held[seat.lease] = (room.held[seat.lease] or 0) + 1
        elseif kind == 'l:' then
            room.leases[string.sub(name, 3)] = number_in(value)
        elseif name == 'qr' then
            local expires, id = string.match(value, '^(%d+)|(.+)$')
            room.qr, room.qr_expires = id, number_in(expires)
        elseif FACTS[name] then
            room[name] = number_in(value)
        else
            error('a field makes no sense')
        end
    end
    for lease in pairs(room.leases) do
        if not room.held[lease] then
            error('a lease has no seat')
        end
    end
    for lease in pairs(room.held) do
        if not room.leases[lease] then
            error('a seat has no lease')
        end
    end
    if not room.revision then
        error('a room has no revision')
    end
    return room
end

-- Generations of members who go away in this step, and members who come back in it.
local going, coming = {}, {}

local function write(room, name, value)
    room.writes[name] = value
    room.drops[name] = nil
end

local function drop(room, name)
    room.drops[name] = true
    room.writes[name] = nil
end

local function set(room, fact, number)
    room[fact] = number
    write(room, fact, whole(number))
end

local function show_qr(room, id, expires)
    room.qr, room.qr_expires = id, expires
    if id then
        write(room, 'qr', whole(expires) .. '|' .. id)
    else
        drop(room, 'qr')
    end
end

local function extend(room, lease)
    room.leases[lease] = now + LEASE_TTL
    write(room, 'l:' .. lease, whole(now + LEASE_TTL))
end

local function vacate(room, member)
    local seat = room.seats[member]
    if not seat then
        return nil
    end
    room.seats[member] = nil
    room.count = room.count - 1
    drop(room, 's:' .. member)
    room.held[seat.lease] = room.held[seat.lease] - 1
    if room.held[seat.lease] == 0 then
        room.held[seat.lease], room.leases[seat.lease] = nil, nil
        drop(room, 'l:' .. seat.lease)
    end
    going[member] = seat.generation
    return seat
end

-- The highest generation that this member is known to have used.
local function generation_of(room, member)
    if room.seats[member] then
        return room.seats[member].generation
    end
    if going[member] then
        return going[member]
    end
    local known = redis.call('HGET', AWAY, member)
    return known and number_in(string.match(known, '^(%d+)|%d+$')) or 0
end

local function place(room, member, hold, lease, generation, label)
    generation = math.max(generation, generation_of(room, member))
    vacate(room, member)
    going[member], coming[member] = nil, true
    room.seats[member] = {hold = hold, lease = lease, generation = generation, label = label}
    room.count = room.count + 1
    room.held[lease] = (room.held[lease] or 0) + 1
    write(room, 's:' .. member, table.concat({hold, lease, whole(generation), whole(label)}, '|'))
    extend(room, lease)
end

-- Takes a seat for a newcomer or for one who comes back; says whether the lease is new here, and
-- under which other lease the seat was held.
local function seat(room, member, hold, lease, generation, label)
    local first, before = not room.leases[lease], room.seats[member]
    if generation == '' then
        local labels = {}
        for other, held in pairs(room.seats) do
            if other ~= member then
                labels[held.label] = true
            end
        end
        local number = room.number + 1
        while labels[number] do
            number = number + 1
        end
        set(room, 'number', number)
    end
    place(room, member, hold, lease, tonumber(generation) or 0, label)
    set(room, 'revision', room.revision + 1)
    return first, before and before.lease ~= lease and before.lease or ''
end
