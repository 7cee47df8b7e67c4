-- A lease and its room live on; how many seats are held under it. ARGV: lease.
local lease = ARGV[OWN + 1]
if not room or not room.leases[lease] then
    return {'none'}
end
extend(room, lease)
keep(room)
return standing(room, reaped, {'renewed', room.held[lease]})
