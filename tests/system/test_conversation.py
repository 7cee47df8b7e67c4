"""Every frame of the protocol, its answer, and the order in which things are heard."""

from __future__ import annotations

import json
import re
import time

MEDIA = {"mime": "image/png", "size": 5000, "chunkSize": 1024, "chunks": ["QUJD", "REVG"]}


def test_hello_says_what_is_in_force(relay):
    hello = relay.connect().hello
    body = hello["body"]
    assert abs(body["serverTimeUnixMs"] - time.time() * 1000) < 5000
    assert re.fullmatch(r"twisted-relay/\S+", body["server"])
    assert body["limits"]["maxWsMsgBytes"] == 262144
    assert body["limits"]["maxAppCiphertextBytes"] == 65536
    assert body["limits"]["maxParticipants"] == 3
    assert body["pingIntervalMs"] == 30000
    assert "re" not in hello


def test_the_subprotocol_is_selected_when_offered(relay):
    offered = relay.connect(headers={"Sec-WebSocket-Protocol": "chat, relay.v1"})
    assert offered.handshake["sec-websocket-protocol"] == "relay.v1"
    assert "sec-websocket-protocol" not in relay.connect().handshake
    other = relay.connect(headers={"Sec-WebSocket-Protocol": "chat"})
    assert "sec-websocket-protocol" not in other.handshake


def test_compression_is_not_negotiated(relay):
    client = relay.connect(headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
    assert "sec-websocket-extensions" not in client.handshake


def test_ping_is_answered(relay):
    client = relay.connect()
    id = client.send("PING")
    pong = client.expect("PONG")
    assert (pong["re"], pong["body"]) == (id, {})


def test_create_answers_with_a_seat_then_the_count(relay):
    client = relay.connect()
    id = client.send("ROOM_CREATE", label="Ann")
    created = client.expect("ROOM_CREATED")
    body = created["body"]
    assert created["re"] == id
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", body["roomId"])
    assert (body["maxParticipants"], body["label"]) == (3, "Ann")
    assert 0 < body["qrExpUnixMs"] - time.time() * 1000 <= 60_000
    assert body["nextTokenExpUnixMs"] - time.time() * 1000 > 86_300_000
    assert body["qrToken"].count(".") == body["nextToken"].count(".") == 1
    stats = client.expect("ROOM_STATS")
    assert stats["body"] == {"roomId": body["roomId"], "participants": 1, "max": 3}
    assert "re" not in stats
    assert client.fence() == []


def test_create_without_a_label_gives_one(relay):
    assert relay.connect().create()["label"] == "P1"


def test_a_joiner_hears_joined_system_stats_in_this_order(relay):
    owner, joiner = relay.connect(), relay.connect()
    room = owner.create()
    id = joiner.send("JOIN_REQUEST", roomId=room["roomId"], qrToken=room["qrToken"], label="Bob")
    joined = joiner.expect("JOINED")
    body = joined["body"]
    assert joined["re"] == id
    assert {name: body[name] for name in ("roomId", "participants", "max", "label", "resumed")} == {
        "roomId": room["roomId"],
        "participants": 2,
        "max": 3,
        "label": "Bob",
        "resumed": False,
    }
    assert body["memberId"] != room["memberId"]
    assert body["nextTokenExpUnixMs"] > time.time() * 1000
    for client in (joiner, owner):
        system = client.expect("SYSTEM_MSG")
        assert system["body"] == {
            "roomId": room["roomId"],
            "type": "info",
            "text": "this person has entered the chat with the name Bob",
        }
        stats = client.expect("ROOM_STATS")
        assert stats["body"] == {"roomId": room["roomId"], "participants": 2, "max": 3}
        assert "re" not in system
        assert "re" not in stats


def test_leave_is_answered_and_told(relay):
    room_id, (owner, member) = relay.room(2)
    member.say(room_id)
    id = member.send("LEAVE", roomId=room_id)
    assert member.expect("APP_MSG")["id"].startswith("client-")
    left = member.expect("LEFT")
    assert (left["re"], left["body"]) == (id, {"roomId": room_id})
    owner.expect("APP_MSG")
    assert owner.expect("SYSTEM_MSG")["body"]["text"] == "P2 has left the chat"
    assert owner.expect("ROOM_STATS")["body"]["participants"] == 1
    assert member.fence() == []


def test_a_lost_connection_is_told_like_a_leave(relay):
    for end in ("leave_cleanly", "abort", "close"):
        _, (owner, member) = relay.room(2)
        getattr(member, end)()
        assert owner.expect("SYSTEM_MSG")["body"]["text"] == "P2 has left the chat"
        assert owner.expect("ROOM_STATS")["body"]["participants"] == 1


def test_one_may_leave_and_enter_another_room(relay):
    client = relay.connect()
    first = client.create()["roomId"]
    client.send("LEAVE", roomId=first)
    client.expect("LEFT")
    assert client.create()["roomId"] != first


def test_a_message_reaches_every_member_with_its_senders_id(relay):
    room_id, members = relay.room(3)
    id = members[1].say(room_id, "aGVsbG8=")
    heard = [member.expect("APP_MSG") for member in members]
    assert heard[0] == heard[1] == heard[2]
    assert heard[0]["id"] == id
    assert "re" not in heard[0]
    assert heard[0]["body"]["ciphertextB64"] == "aGVsbG8="
    assert heard[0]["body"]["roomId"] == room_id
    assert set(heard[0]["body"]) == {"roomId", "ciphertextB64", "memberId"}


def test_both_base64_alphabets_pass_untouched(relay):
    room_id, (alone,) = relay.room()
    for text in ("ab-_", "ab+/", "a", "YQ==", "A" * 65536):
        alone.say(room_id, text)
        assert alone.expect("APP_MSG")["body"]["ciphertextB64"] == text


def test_unknown_fields_are_ignored_and_never_relayed(relay):
    room_id, (sender, hearer) = relay.room(2)
    sender.text(
        json.dumps(
            {
                "v": 1,
                "t": "APP_MSG",
                "id": "with-extras",
                "x": 1,
                "re": "forged-re",
                "memberId": "m",
                "body": {
                    "roomId": room_id,
                    "ciphertextB64": "QQ==",
                    "y": {"z": [1]},
                    "from": "Eve",
                },
            }
        )
    )
    frame = hearer.expect("APP_MSG")
    assert set(frame) == {"v", "t", "id", "body"}
    assert set(frame["body"]) == {"roomId", "ciphertextB64", "memberId"}


def test_trap_29_media_goes_to_the_others_with_its_senders_name(relay):
    owner, sender = relay.connect(), relay.connect()
    room = owner.create(label="Ann")
    member_id = sender.join(room["roomId"], room["qrToken"], label="Bob")["memberId"]
    owner.fence(), sender.fence()
    id = sender.send("MEDIA_MSG", roomId=room["roomId"], **MEDIA, **{"from": "Mallory"})
    ack = sender.expect("ACK")
    assert (ack["re"], ack["body"]) == (id, {})
    heard = owner.expect("MEDIA_MSG")
    assert heard["id"] == id
    assert "re" not in heard
    assert heard["body"] == {
        "roomId": room["roomId"],
        **MEDIA,
        "from": "Bob",
        "memberId": member_id,
    }
    assert sender.fence() == [], "media does not come back to its sender"


def test_media_in_parts_and_numbers_as_strings(relay):
    room_id, (sender, hearer) = relay.room(2)
    sender.send(
        "MEDIA_MSG",
        roomId=room_id,
        mime="a/b",
        size="5000",
        chunkSize="2048",
        chunks=["QQ"],
        mediaId="media-1",
        part=0,
        parts=2,
    )
    body = hearer.expect("MEDIA_MSG")["body"]
    assert (body["mediaId"], body["part"], body["parts"]) == ("media-1", 0, 2)
    assert (int(body["size"]), int(body["chunkSize"])) == (5000, 2048)
    sender.expect("ACK")


def test_media_without_parts_says_nothing_of_them(relay):
    room_id, (sender, hearer) = relay.room(2)
    sender.send("MEDIA_MSG", roomId=room_id, **MEDIA)
    assert not {"mediaId", "part", "parts"} & set(hearer.expect("MEDIA_MSG")["body"])


def test_trap_30_answers_name_their_requests_in_order_and_copies_acknowledge(relay):
    room_id, (sender, hearer) = relay.room(2)
    envelopes = [
        sender.envelope("PING", {}, "request-ping"),
        sender.envelope("APP_MSG", {"roomId": room_id, "ciphertextB64": "QQ"}, "request-app1"),
        sender.envelope("MEDIA_MSG", {"roomId": room_id, **MEDIA}, "request-media"),
        sender.envelope("APP_MSG", {"roomId": room_id, "ciphertextB64": "Qg"}, "request-app2"),
        sender.envelope("NONSENSE", {}, "request-wrong"),
        sender.envelope("LEAVE", {"roomId": room_id}, "request-leave"),
    ]
    sender.send_together(*envelopes)
    got = [sender.next() for _ in range(6)]
    assert [(frame["t"], frame.get("re") or frame["id"]) for frame in got] == [
        ("PONG", "request-ping"),
        ("APP_MSG", "request-app1"),
        ("ACK", "request-media"),
        ("APP_MSG", "request-app2"),
        ("ERROR", "request-wrong"),
        ("LEFT", "request-leave"),
    ]
    heard = [hearer.next() for _ in range(5)]
    assert [frame["t"] for frame in heard] == [
        "APP_MSG",
        "MEDIA_MSG",
        "APP_MSG",
        "SYSTEM_MSG",
        "ROOM_STATS",
    ]
    assert len({frame["body"]["memberId"] for frame in heard[:3]}) == 1


def test_all_hear_one_order_and_each_senders_own_order(relay):
    room_id, members = relay.room(3)
    for number in range(20):
        for index, member in enumerate(members):
            member.send(
                "APP_MSG", id=f"message-{index}-{number:03d}", roomId=room_id, ciphertextB64="QQ"
            )
    orders = [[member.expect("APP_MSG")["id"] for _ in range(60)] for member in members]
    assert orders[0] == orders[1] == orders[2]
    for index in range(3):
        mine = [id for id in orders[0] if id.startswith(f"message-{index}-")]
        assert mine == sorted(mine)
        assert len(mine) == 20


def test_rooms_do_not_hear_each_other(relay):
    one, (ann,) = relay.room()
    _, (bob,) = relay.room()
    ann.say(one)
    ann.expect("APP_MSG")
    assert bob.fence() == []


def test_trap_04_a_join_followed_at_once_by_a_message_in_one_segment(relay):
    owner, joiner = relay.connect(), relay.connect()
    room = owner.create()
    room_id = room["roomId"]
    joiner.send_together(
        joiner.envelope("JOIN_REQUEST", {"roomId": room_id, "qrToken": room["qrToken"]}),
        joiner.envelope("APP_MSG", {"roomId": room_id, "ciphertextB64": "QQ"}, "first-words"),
        joiner.envelope("PING", {}),
    )
    assert [joiner.next()["t"] for _ in range(3)] == ["JOINED", "SYSTEM_MSG", "ROOM_STATS"]
    assert joiner.until("APP_MSG")["id"] == "first-words"
    assert joiner.until("PONG")
    heard = [frame["t"] for frame in owner.fence() if frame["t"] != "QR_ROTATED"]
    assert heard == ["SYSTEM_MSG", "ROOM_STATS", "APP_MSG"]


def test_create_message_leave_create_in_one_segment(relay):
    client = relay.connect()
    client.send_together(
        client.envelope("ROOM_CREATE", {}),
        client.envelope("PING", {}),
        client.envelope("LEAVE", {"roomId": "not-this-room"}),
        client.envelope("ROOM_CREATE", {}),
        client.envelope("PING", {}),
    )
    kinds = [client.next()["t"] for _ in range(6)]
    assert kinds == ["ROOM_CREATED", "ROOM_STATS", "PONG", "ERROR", "ERROR", "PONG"]


def test_trap_03_two_joins_at_once_put_one_connection_into_one_room(relay):
    first, (_,) = relay.room()
    second, (_,) = relay.room()
    client = relay.connect()
    client.send_together(
        client.envelope("JOIN_REQUEST", {"roomId": first, "token": relay.http_token(first)}),
        client.envelope("JOIN_REQUEST", {"roomId": second, "token": relay.http_token(second)}),
    )
    assert client.expect("JOINED")["body"]["roomId"] == first
    client.expect("SYSTEM_MSG"), client.expect("ROOM_STATS")
    assert client.refused() == "ERR_ALREADY_IN_ROOM"
    other = relay.connect()
    assert other.join(second, relay.http_token(second))["participants"] == 2


def test_trap_02_joins_whose_socket_died_fill_no_room(relay, wire):
    room_id, (owner,) = relay.room()
    for _ in range(12):
        client = relay.connect()
        client.send("JOIN_REQUEST", roomId=room_id, token=relay.http_token(room_id))
        client.abort()
    late = relay.connect()

    def joined():
        late.send("JOIN_REQUEST", roomId=room_id, token=relay.http_token(room_id))
        frame = late.next()
        return frame if frame["t"] == "JOINED" else None

    wire.poll(joined, "a seat in a room of the dead")
    counts = [
        frame["body"]["participants"]
        for frame in owner.fence() + late.fence()
        if frame["t"] == "ROOM_STATS"
    ]
    assert max(counts) <= 3
    while counts[-1] != 2:
        counts.append(late.until("ROOM_STATS")["body"]["participants"])


def test_trap_08_automatic_labels_never_repeat(relay):
    room_id, _ = relay.room()
    labels = []
    for _ in range(6):
        guest = relay.connect()
        labels.append(guest.join(room_id, relay.http_token(room_id))["label"])
        guest.send("LEAVE", roomId=room_id)
        guest.until("LEFT")
    assert labels == [f"P{n}" for n in range(2, 8)]
    asked = relay.connect()
    asked.join(room_id, relay.http_token(room_id), label="P9")
    assert relay.connect().join(room_id, relay.http_token(room_id))["label"] == "P10"


def test_labels_asked_for_are_kept_and_long_ones_cut(relay):
    room = relay.connect().create(label="x" * 40)
    assert room["label"] == "x" * 32
    joined = relay.connect().join(room["roomId"], room["qrToken"], label="é😀" * 20)
    assert joined["label"] == "é😀" * 16
