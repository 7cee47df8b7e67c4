-- A seat in a room. ARGV: member, hold, lease, generation or '', number in its label; token or '',
-- its expiry; whether a token serves once only.
local member, hold, lease, generation = ARGV[OWN + 1], ARGV[OWN + 2], ARGV[OWN + 3], ARGV[OWN + 4]
local label, token, expires = tonumber(ARGV[OWN + 5]), ARGV[OWN + 6], tonumber(ARGV[OWN + 7])

if token ~= '' and now >= expires + REPLAY_MARGIN then
    return {'TOKEN_EXPIRED'}
end
if ARGV[OWN + 8] == '1' then
    if token ~= '' then
        if is_spent(room, token, expires) then
            return {'TOKEN_REPLAY'}
        end
    -- A generation serves until a later one has been used.
    elseif room and generation ~= '' and tonumber(generation) < generation_of(room, member) then
        return {'TOKEN_REPLAY'}
    end
end
if not room then
    return {'NO_ROOM'}
end
if not room.seats[member] and room.count >= CAPACITY then
    return {'ROOM_FULL'}
end

local qr_spent = token ~= '' and room.qr == token
local first, taken_from = seat(room, member, hold, lease, generation, label)
if qr_spent then
    -- Whoever rotates next shows a fresh one, even if the one who spent it never does.
    show_qr(room, nil)
end
if token ~= '' then
    spend(room, token, expires)
end
keep(room)
return standing(room, reaped, {'seat', room.number, qr_spent and 1 or 0, first and 1 or 0, taken_from})
