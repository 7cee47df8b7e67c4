-- A new room. ARGV: QR token or '', its expiry; then, if it has a first member: member, hold,
-- lease, number in its label.
delete()
room = new_room()
set(room, 'revision', 0)
set(room, 'number', 0)
set(room, 'spent_until', marked_until())
if ARGV[OWN + 1] ~= '' then
    show_qr(room, ARGV[OWN + 1], tonumber(ARGV[OWN + 2]))
end
local reply = {'empty'}
if ARGV[OWN + 3] then
    seat(room, ARGV[OWN + 3], ARGV[OWN + 4], ARGV[OWN + 5], '', tonumber(ARGV[OWN + 6]))
    reply = standing(room, false, {'seat', room.number, 0, 1, ''})
end
keep(room)
return reply
