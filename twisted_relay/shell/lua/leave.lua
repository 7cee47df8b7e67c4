-- A seat given back, and with it a token that was spent for nothing, if any. ARGV: member, hold,
-- whether for good, token or nothing.
local member = ARGV[OWN + 1]
if not room or not room.seats[member] or room.seats[member].hold ~= ARGV[OWN + 2] then
    return {'none'}
end
local token = ARGV[OWN + 4]
if token ~= '' then
    unspend(room, token)
end
vacate(room, member)
set(room, 'revision', room.revision + 1)
if room.count > 0 then
    write_away()
    write_room(room)
elseif ARGV[OWN + 3] == '1' then
    delete()
else
    keep_empty(room, now)
end
return standing(room, reaped, {'standing'})
