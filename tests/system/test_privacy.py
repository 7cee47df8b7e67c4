"""Nothing that people say, are called or show at the door is in the log or the metrics."""

from __future__ import annotations

import base64
import contextlib
import json
import socket

import pytest

ADDRESS = "127.77.66.55"
LABEL = "Persephone Quux"
PAYLOAD = base64.urlsafe_b64encode(b"a very distinctive secret").decode().rstrip("=")
CHUNK = base64.urlsafe_b64encode(b"another distinctive secret").decode().rstrip("=")
MIME = "application/x-distinctive-mime"
FORGED = "distinctive-forged-token"
NOWHERE = "distinctive-room-id"
FRAME_ID = "distinctive-frame-id"
WORD = "distinctive-word"
EVERYTHING = {ADDRESS, LABEL, PAYLOAD, CHUNK, MIME, FORGED, NOWHERE, FRAME_ID, WORD, "distinctive"}


def _chat(relay, said):
    """An ordinary chat, with a comeback, a ghost, and a leave."""
    owner, guest = relay.connect(source=ADDRESS), relay.connect(source=ADDRESS)
    room = owner.create(label=LABEL)
    room_id = room["roomId"]
    joined = guest.join(room_id, room["qrToken"], label=LABEL + " II")
    said |= {
        room_id,
        room["qrToken"],
        room["nextToken"],
        room["memberId"],
        joined["nextToken"],
        joined["memberId"],
    }
    owner.send("APP_MSG", FRAME_ID, roomId=room_id, ciphertextB64=PAYLOAD)
    owner.send(
        "MEDIA_MSG",
        FRAME_ID,
        roomId=room_id,
        mime=MIME,
        size=5,
        chunkSize=1024,
        chunks=[CHUNK],
        mediaId=WORD,
    )
    guest.until("MEDIA_MSG")
    back = relay.connect(source=ADDRESS)
    said.add(back.join(room_id, joined["nextToken"])["nextToken"])
    assert guest.close_reason() == (1008, "replaced")
    back.abort()
    owner.until("SYSTEM_MSG")
    token = relay.http("GET", f"/rooms/{room_id}/token?{WORD}", source=ADDRESS).json["token"]
    empty = relay.http("POST", "/rooms", source=ADDRESS, body=WORD.encode()).json["roomId"]
    said |= {token, empty, owner.address, guest.address, back.address}
    owner.send("LEAVE", roomId=room_id)
    owner.until("LEFT")
    return room_id, token


def _errors(relay, wire, room_id, token):
    """Whatever a client may do wrong, with words that would be seen."""
    client = relay.connect(source=ADDRESS)
    for body in (
        {"token": FORGED},
        {"token": wire.mint(NOWHERE)},
        {"qrToken": token},
        {"qrToken": wire.mint(room_id, WORD * 3)},
        {WORD: WORD},
        {"token": [WORD]},
    ):
        client.send("JOIN_REQUEST", FRAME_ID, roomId=room_id, label=LABEL, **body)
        client.refused()
    client.send("JOIN_REQUEST", roomId=NOWHERE, token=wire.mint(NOWHERE))
    client.refused()
    client.say(NOWHERE, PAYLOAD)
    client.refused()
    for wrong in ({"t": WORD}, {"v": WORD}, {"id": [WORD]}, {"body": WORD}, {WORD: WORD, "v": 3}):
        client.text(json.dumps(client.envelope("PING", {}) | wrong))
        client.refused()
    client.say(room_id, PAYLOAD + " ")
    client.refused()
    client.leave_cleanly()
    for raw in (
        client.frame(WORD.encode()),
        client.frame(WORD.encode(), wire.binary),
        client.frame(WORD.encode() + b"\xff"),
        client.frame(WORD.encode() * 20_000),
        b"\x81\x7e" + WORD.encode() * 100,
        client.frame(WORD.encode(), opcode=0),
        client.frame(b"\x03\xe8" + WORD.encode(), wire.close),
        client.frame(b"\x00\x01" + WORD.encode(), wire.close),
        client.frame(WORD.encode(), wire.ping) * 3 + client.frame(b"{}") * 300,
    ):
        broken = relay.connect(source=ADDRESS)
        with contextlib.suppress(ConnectionError):
            broken.raw(raw)
        broken.close_reason()
    headers = {
        "Origin": f"https://{WORD}.example",
        "User-Agent": WORD,
        "X-Forwarded-For": WORD,
        "X-Request-Id": f"{WORD}!",
        "Cookie": WORD,
        "Sec-WebSocket-Protocol": WORD,
    }
    for wrong in ({}, {"Sec-WebSocket-Version": "99"}, {"Sec-WebSocket-Key": WORD}):
        with pytest.raises(wire.Refused):
            relay.connect(source=ADDRESS, headers=headers | wrong)
    with pytest.raises(wire.Refused):
        relay.connect(source=ADDRESS, path=f"/{WORD}")
    for method, path in (
        ("GET", f"/{WORD}"),
        ("GET", f"/rooms/{NOWHERE}/token"),
        (WORD.upper(), "/rooms"),
        ("GET", f"/ws?{WORD}"),
        ("GET", f"/%00{WORD}"),
        ("GET", f"http://{WORD}/"),
    ):
        relay.http(method, path, source=ADDRESS, headers=headers)
    for raw in (
        f"{WORD}\r\n\r\n",
        f"GET / HTTP/1.1\r\n{WORD}\r\n\r\n",
        f"GET / {WORD}\r\n\r\n",
        f"GET / HTTP/1.1\r\nContent-Length: {WORD}\r\n\r\n",
    ):
        with socket.create_connection(
            ("127.0.0.1", relay.port), 10, source_address=(ADDRESS, 0)
        ) as connection:
            connection.sendall(raw.encode())
            connection.recv(4096)


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_trap_25_nothing_private_in_log_or_metrics(start_relay, wire, form):
    relay = start_relay(
        LOG_LEVEL="trace",
        LOG_FORMAT=form,
        LOG_REQUESTS="true",
        MAX_WS_MSG_BYTES=70_000,
        ALLOWED_ORIGINS="https://good.example",
    )
    said = set(EVERYTHING)
    room_id, token = _chat(relay, said)
    _errors(relay, wire, room_id, token)
    metrics = relay.http("GET", "/metrics").body.decode()
    as_json = relay.http("GET", "/metrics", headers={"Accept": "application/json"}).body.decode()
    health = relay.http("GET", "/health").body.decode()
    relay.hang_up()
    relay.terminate()
    relay.process.wait(wire.patience)
    log = relay.log
    assert "127.77.66.0/24" in log, "the cut address is what the operator chose"
    said |= {part for secret in tuple(said) for part in secret.split(".") if len(part) > 12}
    for secret in said:
        for place in (log, metrics, as_json, health):
            assert secret.lower() not in place.lower(), secret
    unhandled = [
        line
        for line in metrics.splitlines()
        if line.startswith("unhandled_errors{") and not line.endswith((" 0", " 0.0"))
    ]
    assert unhandled == []
    assert relay.err == "", "no error of ours was met on the way"
    assert "Traceback" not in log


def test_the_operator_may_choose_to_see_no_address_or_all_of_it(start_relay, wire):
    for mode, shown in (("none", False), ("full", True)):
        relay = start_relay(LOG_CLIENT_ADDRESS=mode, MAX_CONNECTS_PER_IP_PER_MIN=1)
        relay.connect(source=ADDRESS)
        with pytest.raises(wire.Refused):
            relay.connect(source=ADDRESS)
        assert (ADDRESS in relay.log) is shown
        assert ("127.77." in relay.log) is shown
