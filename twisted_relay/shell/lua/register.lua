-- The members of an instance, put (back) into a room. ARGV: lease, former lease, revision, number;
-- QR token or '', its expiry; how many members, and for each: member, hold, generation, number in
-- its label; then for each spent token: its expiry, token.
local lease, former, revision = ARGV[OWN + 1], ARGV[OWN + 2], tonumber(ARGV[OWN + 3])
local number, qr, qr_expires = tonumber(ARGV[OWN + 4]), ARGV[OWN + 5], tonumber(ARGV[OWN + 6])
local first, last = OWN + 8, OWN + 7 + 4 * tonumber(ARGV[OWN + 7])

local made_anew = not room
if made_anew then
    room = new_room()
    set(room, 'spent_until', marked_until())
end
local was_empty, changed = room.count == 0, false

local here, replaced, crowded_out = {}, {}, {}
for i = first, last, 4 do
    here[ARGV[i]] = ARGV[i + 1]
end
-- What is held under the leases of the instance by nobody it knows is held by nobody.
local missing = {}
for member, held in pairs(room.seats) do
    if (held.lease == lease or held.lease == former) and here[member] ~= held.hold then
        missing[#missing + 1] = member
    end
end
for _, member in ipairs(missing) do
    vacate(room, member)
    changed = true
end
for i = first, last, 4 do
    local member, hold, generation = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
    local held = room.seats[member]
    if (held and held.hold ~= hold) or (not held and generation_of(room, member) > generation) then
        replaced[#replaced + 1] = member
    elseif not held and room.count >= CAPACITY then
        crowded_out[#crowded_out + 1] = member
    else
        changed = changed or not held or held.lease ~= lease
        place(room, member, hold, lease, generation, tonumber(ARGV[i + 3]))
    end
end

room.number = math.max(room.number, number)
set(room, 'number', room.number)
-- A revision behind one that was heard of is that of a store that has lost something.
if changed or room.revision < revision then
    set(room, 'revision', math.max(room.revision, revision) + 1)
end
local stays = not made_anew or room.count > 0
for i = last + 1, #ARGV, 2 do
    if now < tonumber(ARGV[i]) + REPLAY_MARGIN then
        spend(stays and room or nil, ARGV[i + 1], tonumber(ARGV[i]))
    end
end
if stays then
    if not room.qr and qr ~= '' then
        show_qr(room, qr, qr_expires)
    end
    if room.qr and is_spent(room, room.qr, room.qr_expires) then
        show_qr(room, nil)
    end
end
if room.count > 0 then
    keep(room)
elseif not stays then
    room.revision = revision
elseif was_empty then
    write_room(room)
else
    keep_empty(room, now)
end
local reply = {'registered', (made_anew and stays) and 1 or 0, #replaced, #crowded_out}
for _, members in ipairs({replaced, crowded_out}) do
    for _, member in ipairs(members) do
        reply[#reply + 1] = member
    end
end
return standing(room, reaped, reply)
