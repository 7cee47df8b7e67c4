"""nextToken, seats, ghosts and generations; what becomes of a room that is empty."""

from __future__ import annotations

import time

import pytest


def _pair(relay):
    owner, guest = relay.connect(), relay.connect()
    room_id = owner.create(label="Ann")["roomId"]
    joined = guest.join(room_id, relay.http_token(room_id), label="Bob")
    owner.fence()
    return room_id, owner, guest, joined


def _code(client, room_id, token):
    client.send("JOIN_REQUEST", roomId=room_id, token=token)
    frame = client.next()
    return "JOINED" if frame["t"] == "JOINED" else frame["body"]["code"]


def test_coming_back_after_a_loss_takes_the_seat(relay):
    room_id, owner, guest, before = _pair(relay)
    guest.abort()
    owner.expect("SYSTEM_MSG")
    assert owner.expect("ROOM_STATS")["body"]["participants"] == 1
    back = relay.connect()
    after = back.join(room_id, before["nextToken"])
    assert after["resumed"] is True
    assert (after["memberId"], after["label"], after["participants"]) == (
        before["memberId"],
        "Bob",
        2,
    )
    assert after["nextToken"] != before["nextToken"]
    assert owner.expect("ROOM_STATS")["body"]["participants"] == 2
    assert owner.fence() == [], "no SYSTEM_MSG for one who comes back"
    back.say(room_id)
    assert owner.expect("APP_MSG")["body"]["memberId"] == before["memberId"]


def test_the_creator_comes_back_with_its_next_token(relay):
    owner = relay.connect()
    room = owner.create(label="Ann")
    guest = relay.connect()
    guest.join(room["roomId"], room["qrToken"])
    owner.abort()
    back = relay.connect().join(room["roomId"], room["nextToken"])
    assert (back["memberId"], back["label"], back["resumed"]) == (room["memberId"], "Ann", True)


def test_coming_back_with_a_new_label(relay):
    room_id, owner, guest, before = _pair(relay)
    guest.abort()
    back = relay.connect()
    assert back.join(room_id, before["nextToken"], label="Rob")["label"] == "Rob"
    back.send("MEDIA_MSG", roomId=room_id, mime="a/b", size=1, chunkSize=1024, chunks=["QQ"])
    assert owner.until("MEDIA_MSG")["body"]["from"] == "Rob"


def test_a_ghost_is_replaced_and_void(relay):
    room_id, owner, ghost, before = _pair(relay)
    back = relay.connect()
    after = back.join(room_id, before["nextToken"])
    assert (after["memberId"], after["participants"]) == (before["memberId"], 2)
    assert ghost.close_reason() == (1008, "replaced")
    ghost.close()
    assert owner.expect("ROOM_STATS")["body"]["participants"] == 2
    back.say(room_id)
    assert owner.expect("APP_MSG")["body"]["memberId"] == before["memberId"]
    assert owner.fence() == []
    assert back.kinds() == ["APP_MSG"]


def test_the_ghosts_end_does_not_take_the_seat_along(relay):
    room_id, owner, ghost, before = _pair(relay)
    back = relay.connect()
    back.send_together(
        back.envelope("JOIN_REQUEST", {"roomId": room_id, "token": before["nextToken"]})
    )
    ghost.abort()
    assert back.until("ROOM_STATS")["body"]["participants"] == 2
    owner.fence()
    assert relay.connect().join(room_id, relay.http_token(room_id))["participants"] == 3


def test_a_ghost_is_replaced_even_in_a_full_room(relay):
    room_id, owner, ghost, before = _pair(relay)
    relay.connect().join(room_id, relay.http_token(room_id))
    assert _code(relay.connect(), room_id, relay.http_token(room_id)) == "ERR_ROOM_FULL"
    assert relay.connect().join(room_id, before["nextToken"])["participants"] == 3
    assert ghost.close_reason() == (1008, "replaced")


def test_a_seat_given_to_another_is_not_there_any_more(relay):
    room_id, owner, guest, before = _pair(relay)
    relay.connect().join(room_id, relay.http_token(room_id))
    guest.abort()
    owner.until("ROOM_STATS"), owner.until("ROOM_STATS")
    owner.fence()
    relay.connect().join(room_id, relay.http_token(room_id))
    assert _code(relay.connect(), room_id, before["nextToken"]) == "ERR_ROOM_FULL"


def test_a_token_serves_again_until_its_successor_is_used(relay):
    room_id, _, _, before = _pair(relay)
    once = relay.connect().join(room_id, before["nextToken"])
    twice = relay.connect().join(room_id, before["nextToken"])
    assert twice["memberId"] == once["memberId"] == before["memberId"]
    relay.connect().join(room_id, twice["nextToken"])
    assert _code(relay.connect(), room_id, before["nextToken"]) == "ERR_TOKEN_REPLAY"


def test_a_long_chain_of_comebacks_keeps_one_seat(relay):
    room_id, owner, _, last = _pair(relay)
    for _ in range(8):
        client = relay.connect()
        last = client.join(room_id, last["nextToken"])
        assert last["participants"] == 2
    assert [f["t"] for f in owner.fence() if f["t"] == "SYSTEM_MSG"] == []


def test_a_next_token_is_for_its_room(relay):
    room_id, _, _, before = _pair(relay)
    other, _ = relay.room()
    assert _code(relay.connect(), other, before["nextToken"]) == "ERR_TOKEN_ROOM_MISMATCH"


def test_trap_23_a_next_token_outlives_a_long_session(start_relay):
    relay = start_relay(QR_ROTATION_MS=1000, ROOM_KEY_TTL_MS=1000)
    owner = relay.connect()
    room = owner.create()
    assert room["nextTokenExpUnixMs"] - time.time() * 1000 > 86_000_000
    for _ in range(3):
        owner.until("QR_ROTATED")  # three times the life of a room's key, and of a QR token
    owner.abort()
    assert relay.connect().join(room["roomId"], room["nextToken"])["resumed"] is True


def test_trap_23_a_fresh_token_comes_before_the_last_one_expires(start_relay):
    relay = start_relay(NEXT_TOKEN_TTL_MS=2000)
    client = relay.connect()
    room = client.create()
    frame = client.until("TOKEN")
    fresh = frame["body"]
    assert "re" not in frame
    assert time.time() * 1000 < room["nextTokenExpUnixMs"] < fresh["nextTokenExpUnixMs"]
    assert fresh["roomId"] == room["roomId"]
    client.abort()
    assert relay.connect().join(room["roomId"], fresh["nextToken"])["resumed"] is True


def test_an_expired_next_token(start_relay, wire):
    relay = start_relay(NEXT_TOKEN_TTL_MS=1000)
    client = relay.connect()
    room = client.create()
    client.abort()

    def code():
        return _code(relay.connect(), room["roomId"], room["nextToken"]) == "ERR_TOKEN_EXPIRED"

    wire.poll(code)


def test_trap_07_the_last_members_blip_does_not_delete_the_room(relay):
    client = relay.connect()
    room = client.create(label="Ann")
    client.abort()
    back = relay.connect()
    after = back.join(room["roomId"], room["nextToken"])
    assert (after["participants"], after["resumed"], after["label"]) == (1, True, "Ann")
    relay.connect().join(room["roomId"], room["qrToken"])


def test_an_empty_room_goes_after_its_grace(start_relay, wire):
    relay = start_relay(ROOM_EMPTY_GRACE_MS=500)
    client = relay.connect()
    room = client.create()
    began = time.monotonic()
    client.abort()
    path = f"/rooms/{room['roomId']}/token"
    wire.poll(lambda: relay.http("GET", path).status == 404)
    assert time.monotonic() - began > 0.4
    assert _code(relay.connect(), room["roomId"], room["nextToken"]) == "ERR_NO_ROOM"


def test_without_a_grace_the_empty_room_goes_at_once(start_relay, wire):
    relay = start_relay(ROOM_EMPTY_GRACE_MS=0)
    client = relay.connect()
    room = client.create()
    client.leave_cleanly()
    wire.poll(lambda: relay.http("GET", f"/rooms/{room['roomId']}/token").status == 404)


def test_leave_of_the_last_deletes_the_room_at_once(relay, wire):
    room_id, (client,) = relay.room()
    client.send("LEAVE", roomId=room_id)
    client.expect("LEFT")
    assert relay.http("GET", f"/rooms/{room_id}/token").status == 404
    assert _code(client, room_id, wire.mint(room_id)) == "ERR_NO_ROOM"


def test_trap_06_the_dead_keep_no_room_alive_and_the_living_do(start_relay, wire):
    relay = start_relay(ROOM_KEY_TTL_MS=1000, ROOM_EMPTY_GRACE_MS=300, QR_ROTATION_MS=1000)
    live = relay.connect()
    kept = live.create()["roomId"]
    dead = []
    for _ in range(10):
        client = relay.connect()
        dead.append(client.create()["roomId"])
        client.abort()
        client = relay.connect()  # and one whose join is under way as it dies
        client.send("JOIN_REQUEST", roomId=dead[-1], token=wire.mint(dead[-1]))
        client.abort()
    for room_id in dead:
        wire.poll(lambda path=f"/rooms/{room_id}/token": relay.http("GET", path).status == 404)
    for _ in range(3):
        live.until("QR_ROTATED")
    assert relay.http("GET", f"/rooms/{kept}/token").status == 200


def test_a_room_that_nobody_joined_expires(start_relay, wire):
    relay = start_relay(ROOM_KEY_TTL_MS=1000, ROOM_EMPTY_GRACE_MS=60_000)
    room_id = relay.http("POST", "/rooms").json["roomId"]
    assert relay.http("GET", f"/rooms/{room_id}/token").status == 200
    wire.poll(lambda: relay.http("GET", f"/rooms/{room_id}/token").status == 404)


@pytest.mark.parametrize("end", ["LEAVE", "abort"])
def test_one_who_left_may_come_back_with_its_token(relay, end):
    room_id, owner, guest, before = _pair(relay)
    if end == "LEAVE":
        guest.send("LEAVE", roomId=room_id)
        guest.until("LEFT")
    else:
        guest.abort()
    assert relay.connect().join(room_id, before["nextToken"])["memberId"] == before["memberId"]


def test_from_its_joined_on_a_connection_hears_every_message(relay):
    room_id, owner, ghost, before = _pair(relay)
    late, back = relay.connect(), relay.connect()
    token = relay.http_token(room_id)
    for number in range(120):
        owner.send("APP_MSG", f"message-{number:03d}", roomId=room_id, ciphertextB64="QQ")
        if number == 40:
            late.send("JOIN_REQUEST", roomId=room_id, token=token)
        if number == 80:
            back.send("JOIN_REQUEST", roomId=room_id, token=before["nextToken"])

    def said(frames):
        return [frame["id"] for frame in frames if frame["t"] == "APP_MSG"]

    order = said(owner.fence())
    assert order == [f"message-{number:03d}" for number in range(120)]
    for client in (late, back):
        client.expect("JOINED")
        heard = said(client.fence())
        assert heard == order[len(order) - len(heard) :], "a hole, or not in the room's order"
    until_replaced = []
    with pytest.raises(Exception) as ended:
        while True:
            until_replaced.append(ghost.next())
    assert ended.value.why == (1008, "replaced")
    before_it = said(until_replaced)
    assert before_it == order[: len(before_it)]
    assert len(before_it) + len(heard) == len(order), "the seat changed hands between two messages"


def test_a_close_without_a_code_is_a_leave_like_any_other(relay, wire):
    room_id, owner, guest, before = _pair(relay)
    guest.raw(guest.frame(b"", wire.close))
    assert guest.close_reason()[0] in (1000, 1005)
    assert owner.expect("SYSTEM_MSG")["body"]["text"] == "Bob has left the chat"
    assert relay.connect().join(room_id, before["nextToken"])["resumed"] is True


def test_an_empty_label_is_none(relay):
    room = relay.connect().create(label="")
    assert room["label"] == "P1"
    assert relay.connect().join(room["roomId"], room["qrToken"], label=None)["label"] == "P2"
