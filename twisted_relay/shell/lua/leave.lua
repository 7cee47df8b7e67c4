-- A seat given back. ARGV: member, hold, whether for good.
local member = ARGV[OWN + 1]
if not room or not room.seats[member] or room.seats[member].hold ~= ARGV[OWN + 2] then
    return {'none'}
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
