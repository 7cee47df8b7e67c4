-- The QR token that a room shows. ARGV: the fresh one, its expiry, the stale one.
if not room then
    return {'NO_ROOM'}
end
if not room.qr or room.qr == ARGV[OWN + 3] or room.qr_expires <= now then
    show_qr(room, ARGV[OWN + 1], tonumber(ARGV[OWN + 2]))
    write_room(room)
end
return {'qr', room.qr, room.qr_expires}
