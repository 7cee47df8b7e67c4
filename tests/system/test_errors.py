"""Every error that leaves the connection open, and every close, with its code and reason text."""

from __future__ import annotations

import json
import random
import signal
import struct
import time

import pytest

MEDIA = {"mime": "image/png", "size": 5000, "chunkSize": 1024, "chunks": ["QUJD"]}


def _still_talks(client):
    assert client.fence() == []


def test_in_no_room(relay):
    room_id, _ = relay.room()
    client = relay.connect()
    for kind, body in (("APP_MSG", {"ciphertextB64": "QQ"}), ("MEDIA_MSG", MEDIA), ("LEAVE", {})):
        id = client.send(kind, roomId=room_id, **body)
        assert client.refused(id) == "ERR_NOT_IN_ROOM"
    _still_talks(client)


def test_trap_11_leave_of_a_room_one_is_not_in(relay):
    other, (hearer,) = relay.room()
    mine, (client,) = relay.room()
    id = client.send("LEAVE", roomId=other)
    assert client.refused(id) == "ERR_NOT_IN_ROOM"
    client.say(mine)
    client.expect("APP_MSG")
    assert hearer.fence() == []


def test_messages_to_a_room_one_is_not_in(relay):
    other, (hearer,) = relay.room()
    _, (client,) = relay.room()
    client.say(other)
    assert client.refused() == "ERR_NOT_IN_ROOM"
    client.send("MEDIA_MSG", roomId=other, **MEDIA)
    assert client.refused() == "ERR_NOT_IN_ROOM"
    assert hearer.fence() == []


def test_already_in_a_room(relay):
    room_id, (client,) = relay.room()
    id = client.send("ROOM_CREATE")
    assert client.refused(id) == "ERR_ALREADY_IN_ROOM"
    id = client.send("JOIN_REQUEST", roomId=room_id, token=relay.http_token(room_id))
    assert client.refused(id) == "ERR_ALREADY_IN_ROOM"
    _still_talks(client)


def test_no_such_room(relay, wire):
    client = relay.connect()
    id = client.send("JOIN_REQUEST", roomId="nowhere-at-all", token=wire.mint("nowhere-at-all"))
    assert client.refused(id) == "ERR_NO_ROOM"


def test_full_room(relay):
    room_id, _ = relay.room(3)
    client = relay.connect()
    client.send("JOIN_REQUEST", roomId=room_id, token=relay.http_token(room_id))
    frame = client.expect("ERROR")
    assert frame["body"]["code"] == "ERR_ROOM_FULL"
    assert frame["body"]["retryable"] is True


def test_what_is_worth_a_retry(relay, wire):
    room_id, (member,) = relay.room()
    client = relay.connect()
    client.send("JOIN_REQUEST", roomId=room_id, token="x" * 20)
    assert client.expect("ERROR")["body"]["retryable"] is True
    client.send("JOIN_REQUEST", roomId=room_id, token=wire.mint("another-room"))
    assert client.expect("ERROR")["body"]["retryable"] is False
    client.say(room_id)
    assert client.expect("ERROR")["body"]["retryable"] is False
    member.send("NONSENSE")
    assert member.expect("ERROR")["body"]["retryable"] is False


def test_too_large(relay):
    room_id, (client,) = relay.room()
    id = client.say(room_id, "A" * 65537)
    assert client.refused(id) == "ERR_CIPHERTEXT_TOO_LARGE"
    for change in ({"size": 10_485_761}, {"size": "10485761"}, {"chunks": ["QQ"] * 129}):
        id = client.send("MEDIA_MSG", roomId=room_id, **(MEDIA | change))
        assert client.refused(id) == "ERR_MEDIA_TOO_LARGE"
    client.send(
        "MEDIA_MSG", roomId=room_id, **(MEDIA | {"size": 10_485_760, "chunks": ["QQ"] * 128})
    )
    client.expect("ACK")


ROOM = "some-room-id"
INVALID = {
    "wrong v": ({"v": 2, "t": "PING", "id": "long-enough", "body": {}}, "v"),
    "v is a string": ({"v": "1", "t": "PING", "id": "long-enough", "body": {}}, "v"),
    "no v": ({"t": "PING", "id": "long-enough", "body": {}}, "v"),
    "unknown t": ({"v": 1, "t": "NOPE", "id": "long-enough", "body": {}}, "t"),
    "a server's t": ({"v": 1, "t": "JOINED", "id": "long-enough", "body": {}}, "t"),
    "no t": ({"v": 1, "id": "long-enough", "body": {}}, "t"),
    "short id": ({"v": 1, "t": "PING", "id": "1234567", "body": {}}, "id"),
    "long id": ({"v": 1, "t": "PING", "id": "x" * 257, "body": {}}, "id"),
    "id is a number": ({"v": 1, "t": "PING", "id": 123456789, "body": {}}, "id"),
    "no body": ({"v": 1, "t": "PING", "id": "long-enough"}, "body"),
    "body is a list": ({"v": 1, "t": "PING", "id": "long-enough", "body": []}, "body"),
    "empty object": ({}, ""),
    "no roomId": ({"v": 1, "t": "LEAVE", "id": "long-enough", "body": {}}, "roomId"),
    "short roomId": (
        {"v": 1, "t": "LEAVE", "id": "long-enough", "body": {"roomId": "1234567"}},
        "roomId",
    ),
    "long roomId": (
        {"v": 1, "t": "LEAVE", "id": "long-enough", "body": {"roomId": "x" * 129}},
        "roomId",
    ),
    "no token": (
        {"v": 1, "t": "JOIN_REQUEST", "id": "long-enough", "body": {"roomId": ROOM}},
        "oken",
    ),
    "short token": (
        {
            "v": 1,
            "t": "JOIN_REQUEST",
            "id": "long-enough",
            "body": {"roomId": ROOM, "token": "1234567"},
        },
        "token",
    ),
    "long token": (
        {
            "v": 1,
            "t": "JOIN_REQUEST",
            "id": "long-enough",
            "body": {"roomId": ROOM, "qrToken": "x" * 2049},
        },
        "qrToken",
    ),
    "label is a number": (
        {"v": 1, "t": "ROOM_CREATE", "id": "long-enough", "body": {"label": 5}},
        "label",
    ),
    "no ciphertext": (
        {"v": 1, "t": "APP_MSG", "id": "long-enough", "body": {"roomId": ROOM}},
        "ciphertextB64",
    ),
    "empty ciphertext": (
        {
            "v": 1,
            "t": "APP_MSG",
            "id": "long-enough",
            "body": {"roomId": ROOM, "ciphertextB64": ""},
        },
        "ciphertextB64",
    ),
    "no base64": (
        {
            "v": 1,
            "t": "APP_MSG",
            "id": "long-enough",
            "body": {"roomId": ROOM, "ciphertextB64": "a b"},
        },
        "ciphertextB64",
    ),
    "no ascii": (
        {
            "v": 1,
            "t": "APP_MSG",
            "id": "long-enough",
            "body": {"roomId": ROOM, "ciphertextB64": "äöü"},
        },
        "ciphertextB64",
    ),
}
for _name, _change, _field in (
    ("mime too long", {"mime": "x" * 129}, "mime"),
    ("size 0", {"size": 0}, "size"),
    ("size is words", {"size": "many"}, "size"),
    ("size is negative", {"size": "-5"}, "size"),
    ("size is a fraction", {"size": 1.5}, "size"),
    ("small chunks", {"chunkSize": 1023}, "chunkSize"),
    ("no chunks", {"chunks": []}, "chunks"),
    ("chunks are numbers", {"chunks": [1]}, "chunks"),
    ("chunks are no base64", {"chunks": ["<>"]}, "chunks"),
    ("empty chunk", {"chunks": [""]}, "chunks"),
):
    INVALID[_name] = (
        {
            "v": 1,
            "t": "MEDIA_MSG",
            "id": "long-enough",
            "body": {"roomId": ROOM, **MEDIA, **_change},
        },
        _field,
    )


@pytest.mark.parametrize("case", INVALID)
def test_trap_28_what_is_no_valid_frame_is_answered_and_the_connection_stays(relay, case):
    envelope, field = INVALID[case]
    client = relay.connect()
    client.text(json.dumps(envelope))
    frame = client.expect("ERROR")
    assert frame["body"]["code"] == "ERR_INVALID_MESSAGE"
    assert frame["body"]["retryable"] is False
    assert field in frame["body"]["message"]
    if envelope.get("id") == "long-enough":
        assert frame["re"] == "long-enough"
    _still_talks(client)


def test_trap_28_a_label_of_33_characters_is_cut(relay):
    room = relay.connect().create(label="y" * 33)
    assert room["label"] == "y" * 32
    assert (
        relay.connect().join(room["roomId"], room["qrToken"], label="z" * 500)["label"] == "z" * 32
    )


def test_json_with_surprises_is_taken_or_refused_but_never_a_bug(relay):
    client = relay.connect()
    for text in (
        '{"v":1,"t":"PING","id":"long-enough","id":"long-enough2","body":{}}',
        ' \n{"v":1,"t":"PING","id":"\\u0000\\u0000aaaaaaaa","body":{}}\t',
        '{"v":1,"t":"PING","id":"\\ud800aaaaaaaa","body":{}}',
    ):
        client.text(text)
    try:
        client.fence()
    except Exception as ended:
        assert getattr(ended, "code", None) == 1003
    assert relay.metrics()['unhandled_errors{path="PING"}'] == 0


ODDITIES = (
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "x" * 3000,
    "1" * 5000,
    "\x00",
    "\u2028é😀",
    [],
    {},
    [[]],
    {"a": {"b": []}},
    "ROOM_CREATE",
    "1e5",
    "0x10",
    " 5",
    "\u0663",
)


def _spoilt(chance, room_id):
    """A good frame with one field turned odd, dropped or cut into."""
    kind, body = chance.choice(
        (
            ("PING", {}),
            ("ROOM_CREATE", {"label": "x"}),
            ("LEAVE", {"roomId": room_id}),
            ("JOIN_REQUEST", {"roomId": room_id, "token": "x" * 20, "qrToken": "y" * 20}),
            ("APP_MSG", {"roomId": room_id, "ciphertextB64": "QQ"}),
            ("MEDIA_MSG", {"roomId": room_id, **MEDIA, "mediaId": "m", "part": 0, "parts": 1}),
        )
    )
    envelope = {"v": 1, "t": kind, "id": "long-enough", "body": body}
    target = body if body and chance.random() < 0.7 else envelope
    field = chance.choice(list(target))
    if chance.random() < 0.2:
        del target[field]
    else:
        target[field] = chance.choice(ODDITIES)
    text = json.dumps(envelope, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.1:
        cut = chance.randrange(len(text))
        text = text[:cut] + chance.choice(("", "\x00", "}", '"', ",", "\\u12")) + text[cut + 1 :]
    return text


@pytest.mark.parametrize("seed", range(4))
def test_spoilt_frames_get_a_documented_answer_and_are_no_bug_of_ours(start_relay, wire, seed):
    relay = start_relay(MAX_MSGS_PER_10S=1_000_000)
    chance = random.Random(seed)
    room_id, (witness,) = relay.room()
    client, ends = relay.connect(), set()
    for _ in range(300):
        text = _spoilt(chance, room_id)
        try:
            client.text(text)
            for frame in client.fence():
                assert frame["t"] in ("ERROR", "PONG", "ROOM_CREATED", "ROOM_STATS", "LEFT"), text
        except wire.Closed as closed:
            ends.add(closed.why)
            client.close()
            client = relay.connect()
    assert ends <= {(1003, "invalid message")}
    assert witness.fence() == []
    assert relay.err == ""
    assert not any(
        value for name, value in relay.metrics().items() if name.startswith("unhandled_errors{")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "1",
        "null",
        '"PING"',
        '{"v":1',
        "{'v':1}",
        "[" * 100_000,
        '{"v":1,"t":"PING","id":"long-enough","body":' + '{"a":' * 20_000,
        '{"v":1,"t":"PING","id":"long-enough","body":{}} trailing',
        "NaN",
    ],
    ids=lambda t: t[:12],
)
def test_a_text_that_is_no_json_object_closes_with_1003(relay, text):
    client = relay.connect()
    client.text(text)
    assert client.close_reason() == (1003, "invalid message")


def test_deep_nesting_within_json_rules_touches_nobody_else(relay):
    _, (other,) = relay.room()
    client = relay.connect()
    deep = '{"a":' * 30_000 + "1" + "}" * 30_000
    client.text('{"v":1,"t":"PING","id":"long-enough","body":{},"x":' + deep + "}")
    with pytest.raises(Exception) as ended:
        assert client.next()["t"] in ("PONG", "ERROR")
        client.leave_cleanly()
        raise EOFError
    assert getattr(ended.value, "code", 1003) == 1003
    assert other.fence() == []


def test_trap_31_a_binary_frame_closes_with_1003(relay, wire):
    client = relay.connect()
    client.raw(client.frame(b'{"v":1,"t":"PING","id":"long-enough","body":{}}', wire.binary))
    assert client.close_reason() == (1003, "invalid message")


@pytest.mark.parametrize("payload", [b"\xff\xfe", b'{"v":"\xc3\x28"}', b"\xed\xa0\x80"])
def test_invalid_utf8_closes_with_1007(relay, payload):
    client = relay.connect()
    client.text(payload)
    assert client.close_reason()[0] == 1007


def test_oversize_closes_with_1009(relay):
    client = relay.connect()
    client.text("x" * 262145)
    assert client.close_reason()[0] == 1009


def test_oversize_in_fragments_closes_with_1009(relay):
    client = relay.connect()
    client.raw(client.frame(b" " * 200_000, final=False))
    client.raw(client.frame(b" " * 62_145, opcode=0))
    assert client.close_reason()[0] == 1009


def test_an_announced_oversize_is_refused_before_it_comes(relay):
    client = relay.connect()
    client.raw(b"\x81\xff" + struct.pack("!Q", 2**40) + b"mask")
    assert client.close_reason()[0] == 1009


def test_a_message_in_fragments_is_one_message(relay, wire):
    client = relay.connect()
    whole = json.dumps(client.envelope("PING", {}, "fragmented")).encode()
    client.raw(client.frame(whole[:10], final=False))
    client.raw(client.frame(b"between", wire.ping))
    client.raw(client.frame(whole[10:20], opcode=0, final=False))
    client.raw(client.frame(whole[20:], opcode=0))
    assert client.expect("PONG")["re"] == "fragmented"


@pytest.mark.parametrize(
    "raw",
    [
        b"\x81\x02hi",  # not masked
        b"\xc1\x80mask",  # a reserved bit
        b"\x83\x80mask",  # a reserved opcode
        b"\x80\x80mask",  # a continuation of nothing
        b"\x09\x80mask",  # a fragmented ping
        b"\x89\xfe\x00\x7emask" + b"x" * 126,  # a ping of more than 125 bytes
    ],
    ids=["unmasked", "rsv", "opcode", "continuation", "fragmented ping", "long ping"],
)
def test_a_protocol_error_closes_with_1002(relay, raw):
    client = relay.connect()
    client.raw(raw)
    assert client.close_reason()[0] == 1002


def test_the_clients_own_close_is_answered(relay, wire):
    client = relay.connect()
    client.raw(client.frame(struct.pack("!H", 1000) + b"bye", wire.close))
    assert client.close_reason()[0] == 1000


def test_a_close_of_one_member_touches_no_other(relay):
    room_id, (owner, member) = relay.room(2)
    member.text("nonsense")
    assert member.close_reason() == (1003, "invalid message")
    assert owner.expect("SYSTEM_MSG")["body"]["text"] == "P2 has left the chat"
    owner.until("ROOM_STATS")
    owner.say(room_id)
    owner.expect("APP_MSG")


def test_trap_21_a_socket_that_never_joins_is_closed(start_relay):
    relay = start_relay(JOIN_TIMEOUT_MS=400)
    began = time.monotonic()
    idle, member = relay.connect(), relay.connect()
    room_id = member.create()["roomId"]
    assert idle.close_reason() == (1008, "join timeout")
    assert 0.3 < time.monotonic() - began < 5
    assert member.fence() == [], "a member has all the time"
    member.send("LEAVE", roomId=room_id)
    member.expect("LEFT")
    assert member.close_reason() == (1008, "join timeout")


def test_a_refused_join_buys_no_time(start_relay):
    relay = start_relay(JOIN_TIMEOUT_MS=600)
    client = relay.connect()
    began = time.monotonic()
    client.send("JOIN_REQUEST", roomId="nowhere-at-all", token="x" * 20)
    assert client.refused() == "ERR_TOKEN_FORMAT"
    assert client.close_reason() == (1008, "join timeout")
    assert time.monotonic() - began < 5


def test_trap_37_a_dead_peer_is_gone_after_interval_and_timeout(start_relay):
    relay = start_relay(WS_PING_INTERVAL_MS=1000, WS_PING_TIMEOUT_MS=300)
    dead, live = relay.connect(), relay.connect()
    room_id = live.create()["roomId"]
    dead.join(room_id, relay.http_token(room_id))
    live.fence()
    dead.answers_pings = False
    began = time.monotonic()
    assert dead.close_reason() == (1008, "ping timeout")
    assert dead.pings == 1
    assert time.monotonic() - began < 1.3 + 1.2, "not first at the next tick of the interval"
    assert live.expect("SYSTEM_MSG")["body"]["text"] == "P2 has left the chat"


def test_anything_heard_counts_as_an_answer_to_a_ping(start_relay):
    relay = start_relay(
        WS_PING_INTERVAL_MS=500,
        WS_PING_TIMEOUT_MS=200,
        MAX_MSGS_PER_10S=1_000_000,
        MAX_BYTES_PER_10S=1_000_000_000,
    )
    client = relay.connect()
    client.create()
    client.answers_pings = False
    while client.pings < 3:
        assert set(client.kinds()) <= {"QR_ROTATED"}


def test_trap_37_pings_are_spread_over_the_interval(start_relay):
    relay = start_relay(
        WS_PING_INTERVAL_MS=2000,
        WS_PING_TIMEOUT_MS=1500,
        MAX_MSGS_PER_10S=1_000_000,
        MAX_BYTES_PER_10S=1_000_000_000,
    )
    clients = [relay.connect() for _ in range(16)]
    came = []
    ends = time.monotonic() + 8
    while any(not client.pings for client in clients):
        assert time.monotonic() < ends
        for client in clients:
            before = client.pings
            client.fence()
            if client.pings and not before:
                came.append(time.monotonic())
    assert came[-1] - came[0] > 0.8, "all pings went out in one burst"


def test_trap_36_a_drain_tells_everybody_and_the_port_is_free(start_relay, wire):
    relay = start_relay()
    room_id, members = relay.room(3)
    idle = relay.connect()
    relay.terminate()
    for client in (idle, *members):
        assert client.close_reason() == (1012, "service restart")
    assert relay.process.wait(wire.patience) == -signal.SIGTERM
    with pytest.raises(ConnectionRefusedError):
        relay.connect()
    assert room_id not in relay.log
    assert relay.err == ""


def test_a_drain_waits_for_nobody_who_does_not_answer(start_relay, wire):
    relay = start_relay(GRACEFUL_SHUTDOWN_TIMEOUT_MS=1500)
    relay.room(3)
    relay.terminate()
    relay.process.wait(wire.patience)


def test_it_runs_under_twist_as_well(start_relay, wire):
    relay = start_relay("twist")
    relay.room(2)
    assert all(isinstance(event["level"], str) for event in relay.events())
    relay.terminate()
    relay.process.wait(wire.patience)
    assert relay.err == ""
