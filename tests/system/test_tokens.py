"""Join tokens: made and checked as the protocol's page says, in its order."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest


def _answer(client, room_id, token, name="qrToken"):
    """JOINED, or the error's code."""
    client.send("JOIN_REQUEST", roomId=room_id, **{name: token})
    frame = client.next()
    return "JOINED" if frame["t"] == "JOINED" else frame["body"]["code"]


def test_a_token_is_what_the_page_says(relay, wire):
    room = relay.connect().create()
    head, tail = room["qrToken"].split(".")
    payload = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    claims = json.loads(payload)
    assert list(claims) == ["v", "rid", "exp", "jti"]
    assert (claims["v"], claims["rid"], claims["exp"]) == (1, room["roomId"], room["qrExpUnixMs"])
    assert len(base64.urlsafe_b64decode(claims["jti"] + "==")) == 16
    assert tail == wire.b64url(hmac.new(wire.secret.encode(), payload, hashlib.sha256).digest())
    head = room["nextToken"].split(".")[0]
    comeback = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    assert comeback["mid"] == room["memberId"]
    assert comeback["gen"] >= 1


def test_a_token_of_the_same_making_is_good(relay, wire):
    room_id, _ = relay.room()
    assert _answer(relay.connect(), room_id, wire.mint(room_id)) == "JOINED"


def test_both_names_serve_and_qr_token_wins(relay, wire):
    room_id, _ = relay.room()
    assert _answer(relay.connect(), room_id, wire.mint(room_id), "token") == "JOINED"
    client = relay.connect()
    client.send("JOIN_REQUEST", roomId=room_id, qrToken="x" * 20, token=wire.mint(room_id))
    assert client.refused() == "ERR_TOKEN_FORMAT"
    client.send("JOIN_REQUEST", roomId=room_id, qrToken=wire.mint(room_id), token="x" * 20)
    client.expect("JOINED")


def test_trap_26_one_spelling_for_one_token(relay, wire):
    room_id, _ = relay.room()
    tokens = (wire.mint(room_id, pad="x" * size) for size in range(3))
    # The last character of this one has spare bits.
    token = next(token for token in tokens if token.index(".") % 4)
    head, tail = token.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = tail[:-1] + last[last.index(tail[-1]) ^ 1]
    head_twin = head[:-1] + last[last.index(head[-1]) ^ 1]
    client = relay.connect()
    for spelling in (
        f"{head}.{tail}=",
        f"{head}=.{tail}",
        f"{head}==.{tail}=",
        f" {token}",
        f"{token}\n",
        f"{head}.{twin}",
        f"{head_twin}.{tail}",
        f"{head}..{tail}",
        f"{head}.{tail}.",
        head + tail,
        f".{tail}",
        f"{head}.",
        f"{head[:4]}\n{head[4:]}.{tail}",
        f"{head[:4]}+{head[4:]}.{tail}",
        f"{head[:4]}é{head[4:]}.{tail}",
    ):
        assert _answer(client, room_id, spelling) == "ERR_TOKEN_FORMAT", spelling
    assert _answer(client, room_id, token) == "JOINED"


def test_a_signed_payload_that_is_no_token(relay, wire):
    room_id, _ = relay.room()
    client = relay.connect()
    for payload in (b"nonsense", b"[]", b"{}", b"\xff\xff", b"[" * 700):
        assert _answer(client, room_id, wire.signed(payload)) == "ERR_TOKEN_FORMAT"
    for change in (
        {"v": 2},
        {"exp": "soon"},
        {"exp": -1},
        {"jti": ""},
        {"rid": 5},
        {"gen": -1},
        {"mid": 7},
    ):
        assert _answer(client, room_id, wire.mint(room_id, **change)) == "ERR_TOKEN_FORMAT"


def test_another_signature(relay, wire):
    room_id, _ = relay.room()
    client = relay.connect()
    assert _answer(client, room_id, wire.mint(room_id, "another secret")) == "ERR_TOKEN_MAC"
    head, tail = wire.mint(room_id).split(".")
    other = wire.mint(room_id).split(".")[1]
    assert other != tail
    assert _answer(client, room_id, f"{head}.{other}") == "ERR_TOKEN_MAC"


def test_room_expiry_and_replay(relay, wire):
    room_id, _ = relay.room()
    client = relay.connect()
    past = int(time.time() * 1000) - 1
    assert _answer(client, room_id, wire.mint("another-room")) == "ERR_TOKEN_ROOM_MISMATCH"
    assert _answer(client, room_id, wire.mint(room_id, exp=past)) == "ERR_TOKEN_EXPIRED"
    token = wire.mint(room_id)
    assert _answer(client, room_id, token) == "JOINED"
    assert _answer(relay.connect(), room_id, token) == "ERR_TOKEN_REPLAY"


def test_the_order_of_the_checks(relay, wire):
    full, _ = relay.room(2)
    spent = wire.mint(full)
    last = relay.connect()
    assert _answer(last, full, spent) == "JOINED"
    client = relay.connect()
    past = int(time.time() * 1000) - 1
    for token, code in (
        (wire.mint("another-room", "another secret", exp=past), "ERR_TOKEN_MAC"),
        (wire.mint("another-room", exp=past), "ERR_TOKEN_ROOM_MISMATCH"),
        (wire.mint(full, exp=past), "ERR_TOKEN_EXPIRED"),
        (spent, "ERR_TOKEN_REPLAY"),
        (wire.mint(full), "ERR_ROOM_FULL"),
    ):
        assert _answer(client, full, token) == code


def test_trap_24_a_full_room_does_not_burn_the_token(relay):
    room_id, members = relay.room(3)
    token = relay.http_token(room_id)
    client = relay.connect()
    for _ in range(2):
        assert _answer(client, room_id, token) == "ERR_ROOM_FULL"
    members[2].send("LEAVE", roomId=room_id)
    members[2].until("LEFT")
    assert _answer(client, room_id, token) == "JOINED"


def test_a_missing_room_does_not_burn_the_token(relay, wire):
    client = relay.connect()
    token = wire.mint("nowhere-at-all")
    for _ in range(2):
        assert _answer(client, "nowhere-at-all", token) == "ERR_NO_ROOM"


def test_trap_27_an_old_secret_verifies_and_no_longer_signs(start_relay, wire):
    old, older = "the-old-secret-of-32-characters-1", "the-old-secret-of-32-characters-2"
    relay = start_relay(JOIN_TOKEN_SECRETS_OLD=f"{old},{older}", ROOM_MAX_PARTICIPANTS=9)
    room = relay.connect().create()
    room_id = room["roomId"]
    for secret in (wire.secret, old, older):
        assert _answer(relay.connect(), room_id, wire.mint(room_id, secret)) == "JOINED"
    assert (
        _answer(relay.connect(), room_id, wire.mint(room_id, "never-a-secret")) == "ERR_TOKEN_MAC"
    )
    head, tail = room["qrToken"].split(".")
    payload = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    assert wire.signed(payload).split(".")[1] == tail


def test_without_a_secret_there_is_a_random_one_and_one_word_of_it(start_relay, wire):
    relay = start_relay(JOIN_TOKEN_SECRET="")
    owner, client = relay.connect(), relay.connect()
    room = owner.create()
    assert _answer(client, room["roomId"], wire.mint(room["roomId"])) == "ERR_TOKEN_MAC"
    assert _answer(client, room["roomId"], room["qrToken"]) == "JOINED"
    assert (
        len([event for event in relay.events() if event.get("event") == "random_token_secret"]) == 1
    )


def test_a_spent_qr_token_is_replaced_for_every_member(relay):
    owner, joiner = relay.connect(), relay.connect()
    room = owner.create()
    joiner.join(room["roomId"], room["qrToken"])
    shown = [client.until("QR_ROTATED")["body"] for client in (owner, joiner)]
    assert shown[0] == shown[1]
    assert shown[0]["qrToken"] != room["qrToken"]
    assert shown[0]["qrExpUnixMs"] > time.time() * 1000
    assert _answer(relay.connect(), room["roomId"], room["qrToken"]) == "ERR_TOKEN_REPLAY"
    assert _answer(relay.connect(), room["roomId"], shown[0]["qrToken"]) == "JOINED"


def test_a_token_over_http_leaves_the_qr_token_alone(relay):
    owner = relay.connect()
    room = owner.create()
    guest = relay.connect()
    guest.join(room["roomId"], relay.http_token(room["roomId"]))
    assert "QR_ROTATED" not in owner.kinds()
    assert _answer(relay.connect(), room["roomId"], room["qrToken"]) == "JOINED"


def test_qr_rotates_on_time_and_the_old_one_expires(start_relay):
    relay = start_relay(QR_ROTATION_MS=1000)
    owner, guest = relay.connect(), relay.connect()
    room = owner.create()
    guest.join(room["roomId"], relay.http_token(room["roomId"]))
    tokens = [room["qrToken"]]
    for _ in range(2):
        shown = [client.until("QR_ROTATED")["body"] for client in (owner, guest)]
        assert shown[0] == shown[1]
        tokens.append(shown[0]["qrToken"])
    assert len(set(tokens)) == 3
    assert _answer(relay.connect(), room["roomId"], tokens[0]) == "ERR_TOKEN_EXPIRED"
    assert _answer(relay.connect(), room["roomId"], tokens[2]) == "JOINED"


def test_the_room_that_nobody_made_by_socket_shows_a_qr_token_to_its_first(relay):
    room_id = relay.http("POST", "/rooms").json["roomId"]
    first = relay.connect()
    first.join(room_id, relay.http_token(room_id))
    token = first.until("QR_ROTATED")["body"]["qrToken"]
    assert _answer(relay.connect(), room_id, token) == "JOINED"


@pytest.mark.parametrize("name", ["qrToken", "token"])
def test_null_is_no_token(relay, name):
    client = relay.connect()
    client.send("JOIN_REQUEST", roomId="some-room-id", **{name: None})
    assert client.refused() == "ERR_INVALID_MESSAGE"
