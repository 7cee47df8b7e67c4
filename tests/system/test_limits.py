"""Who may come in, how often, how much, and what becomes of those who want more."""

from __future__ import annotations

import json
import select
import socket
import time

import pytest


def _refusal(relay, wire, **options):
    with pytest.raises(wire.Refused) as caught:
        relay.connect(**options)
    answer = caught.value.answer
    assert answer.headers["content-type"].startswith("application/json")
    assert set(answer.json) >= {"code", "message"}
    return answer


def test_connections_at_once_from_one_address(start_relay, wire):
    relay = start_relay(MAX_CONNS_PER_IP=3)
    held = [relay.connect() for _ in range(3)]
    answer = _refusal(relay, wire)
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    relay.connect(source="127.0.0.2")
    held[0].leave_cleanly()

    def free():
        try:
            return relay.connect()
        except wire.Refused:
            return None

    wire.poll(free, "the place of one who left")
    assert _refusal(relay, wire).status == 429
    metrics = relay.metrics()
    assert metrics['ws_connection_rejected{reason="ip_limit"}'] >= 2
    assert metrics["active_connections"] == 4
    assert "too many connections" in relay.out


def test_trap_19_reconnecting_is_limited(start_relay, wire):
    relay = start_relay(MAX_CONNECTS_PER_IP_PER_MIN=5)
    for _ in range(5):
        relay.connect().leave_cleanly()
    answer = _refusal(relay, wire)
    assert answer.status == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 12
    relay.connect(source="127.0.0.2")
    assert relay.metrics()['ws_connection_rejected{reason="connect_rate"}'] == 1


def test_capacity(start_relay, wire):
    relay = start_relay(MAX_TOTAL_CONNECTIONS=2)
    relay.connect(), relay.connect(source="127.0.0.2")
    answer = _refusal(relay, wire, source="127.0.0.3")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert relay.metrics()['ws_connection_rejected{reason="global_limit"}'] == 1
    assert relay.http("GET", "/health").json["checks"]["connections"]["status"] == "warn"


def test_origins(start_relay, wire):
    relay = start_relay(ALLOWED_ORIGINS="https://chat.example,https://other.example:8443")
    for good in ("https://chat.example", "https://other.example:8443"):
        relay.connect(headers={"Origin": good})
    relay.connect()
    for bad in (
        "https://evil.example",
        "null",
        "https://chat.example.evil.example",
        "http://chat.example",
        "",
    ):
        assert _refusal(relay, wire, headers={"Origin": bad}).status == 403
    assert relay.metrics()['ws_connection_rejected{reason="origin"}'] == 5


def test_any_origin_by_default(relay):
    for origin in (
        "https://anything.example",
        "null",
        "file://",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
        "http://[::1]:8080",
    ):
        relay.connect(headers={"Origin": origin})


def test_draining_refuses_with_503_and_the_process_is_still_live(start_relay, wire):
    relay = start_relay(GRACEFUL_SHUTDOWN_TIMEOUT_MS=5000)
    relay.room(1)  # it does not answer its close, so the drain waits a second for it
    idle = relay.connect()
    relay.terminate()
    assert idle.close_reason() == (1012, "service restart")
    answer = _refusal(relay, wire)
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    created = relay.http("POST", "/rooms")
    assert (created.status, created.json["code"]) == (503, "ERR_UNAVAILABLE")
    ready = relay.http("GET", "/ready")
    assert (ready.status, ready.json["ready"]) == (503, False)
    assert relay.http("GET", "/live").status == relay.http("GET", "/health").status == 200


def test_a_handshake_that_fails_keeps_no_place(start_relay, wire):
    relay = start_relay(MAX_CONNS_PER_IP=2)
    for wrong in (
        {"Sec-WebSocket-Version": "7"},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": ""},
        {"Connection": "close"},
        {"Host": ""},
        {"Host": "a b:c"},
        {"Sec-WebSocket-Protocol": ",,,"},
        {"Sec-WebSocket-Extensions": "\x00;=="},
        {"Origin": "no origin"},
    ) * 2:
        try:
            relay.connect(headers=wrong, hello=False).leave_cleanly()
        except wire.Refused as refused:
            assert 400 <= refused.answer.status < 500
        except wire.Closed:
            pass
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    for method in ("POST", "PUT", "HEAD", "OPTIONS"):
        assert 400 <= relay.http(method, "/ws", headers=upgrade).status < 500

    def two():
        try:
            return relay.connect(), relay.connect()
        except wire.Refused:
            relay.hang_up()
            return None

    wire.poll(two, "two places")
    assert relay.err == ""
    assert not any(
        value for name, value in relay.metrics().items() if name.startswith("unhandled_errors{")
    )


def test_trap_15_room_creation_is_limited_over_socket_and_http_together(start_relay):
    relay = start_relay(MAX_ROOM_CREATES_PER_IP_PER_MIN=4)
    client = relay.connect()
    for _ in range(2):
        room = client.create()
        client.send("LEAVE", roomId=room["roomId"])
        client.expect("LEFT")
        assert relay.http("POST", "/rooms").status == 200
    id = client.send("ROOM_CREATE")
    frame = client.expect("ERROR")
    assert (frame["re"], frame["body"]["code"], frame["body"]["retryable"]) == (
        id,
        "ERR_RATE_LIMITED",
        True,
    )
    assert 0 < frame["body"]["retryAfterMs"] <= 15_001
    answer = relay.http("POST", "/rooms")
    assert (answer.status, answer.json["code"]) == (429, "ERR_RATE_LIMITED")
    assert 1 <= int(answer.headers["retry-after"]) <= 16
    assert relay.connect(source="127.0.0.2").create()
    assert relay.http("POST", "/rooms", source="127.0.0.3").status == 200
    assert client.fence() == []


def test_too_many_messages(start_relay):
    relay = start_relay(MAX_MSGS_PER_10S=20)
    client, other = relay.connect(), relay.connect()
    for _ in range(40):
        client.send("PING")
    pongs = 0
    with pytest.raises(Exception) as ended:
        while True:
            client.expect("PONG")
            pongs += 1
    assert ended.value.why == (1008, "rate limit exceeded")
    assert 20 <= pongs < 25
    assert other.fence() == []
    assert "rate limit" in relay.out


def test_invalid_messages_count_as_well(start_relay):
    relay = start_relay(MAX_MSGS_PER_10S=10)
    client = relay.connect()
    for _ in range(30):
        client.text("{}")
    assert client.close_reason() == (1008, "rate limit exceeded")


def test_too_many_bytes(start_relay):
    relay = start_relay(MAX_BYTES_PER_10S=20_000, MAX_WS_MSG_BYTES=50_000)
    client = relay.connect()
    whole = json.dumps(client.envelope("PING", {}))
    client.text(whole[:-1] + " " * (50_000 - len(whole)) + "}")
    client.expect("PONG")  # one frame of the greatest size always passes
    client.text(whole[:-1] + " " * 20_000 + "}")
    assert client.close_reason() == (1008, "rate limit exceeded")


def test_trap_19_the_budget_refills_smoothly(start_relay, wire):
    relay = start_relay(MAX_MSGS_PER_10S=100)
    client = relay.connect()
    began = time.monotonic()
    for _ in range(100):
        client.send("PING")
    for _ in range(100):
        client.expect("PONG")
    sent = 100
    while time.monotonic() - began < 1.5:  # at less than a second brings, a pong included
        wire.poll(lambda due=sent: due + 3 < 100 + 8 * (time.monotonic() - began))
        client.fence()
        sent += 1
    with pytest.raises(wire.Closed):
        while True:
            client.fence()
            sent += 1
    assert client.closed_with == (1008, "rate limit exceeded")
    assert sent <= 100 + 10 * (time.monotonic() - began) + 1, "no second burst at a boundary"


def test_trap_20_a_stalled_reader_is_cut_at_the_configured_bound(start_relay, wire):
    relay = start_relay(
        SLOW_CONSUMER_BUFFER_THRESHOLD=65536,
        MAX_MSGS_PER_10S=1_000_000,
        MAX_BYTES_PER_10S=1_000_000_000,
    )
    room_id, (sender,) = relay.room()
    stalled = relay.connect(receive_buffer=4096)
    stalled.join(room_id, relay.http_token(room_id))
    sender.fence()
    sent, gone = 0, False
    while not gone:
        assert sent < 16 * 2**20, "the bound is not the configured one"
        sender.say(room_id, "A" * 60_000)
        sent += 60_000
        gone = any(frame["t"] == "SYSTEM_MSG" for frame in sender.fence())
    assert stalled.close_reason() == (1008, "slow consumer")
    assert "slow consumer" in relay.out
    assert relay.metrics()['ws_disconnect_reasons_total{reason="slow_consumer"}'] == 1
    sender.say(room_id)
    sender.until("APP_MSG")


def test_trap_20_pongs_that_nobody_reads_are_bounded_as_well(start_relay, wire):
    relay = start_relay(
        SLOW_CONSUMER_BUFFER_THRESHOLD=65536,
        MAX_MSGS_PER_10S=1_000_000,
        MAX_BYTES_PER_10S=1_000_000_000,
    )
    client = relay.connect(receive_buffer=4096)
    pings = client.frame(b"x" * 125, wire.ping) * 500
    ends = time.monotonic() + wire.patience
    with pytest.raises(ConnectionError):
        # For a moment after its close frame the relay still listens, and answers nothing.
        while time.monotonic() < ends:
            client.raw(pings)
        pytest.fail("pongs pile up without bound")
    assert "slow consumer" in relay.out


def test_a_reader_that_keeps_up_is_left_alone(start_relay):
    relay = start_relay(
        SLOW_CONSUMER_BUFFER_THRESHOLD=65536,
        MAX_MSGS_PER_10S=1_000_000,
        MAX_BYTES_PER_10S=1_000_000_000,
    )
    room_id, (sender, reader) = relay.room(2)
    for _ in range(100):
        sender.say(room_id, "A" * 60_000)
        sender.expect("APP_MSG")
        reader.expect("APP_MSG")


def test_half_open_sockets_cost_nobody_anything(relay, wire):
    pieces = [socket.create_connection(("127.0.0.1", relay.port)) for _ in range(20)]
    try:
        for piece in pieces[:10]:
            piece.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr")
        half = relay.connect()
        half.raw(b"\x81\xfe\x10")  # the beginning of a frame
        assert relay.connect().fence() == []
        readable, _, _ = select.select(pieces, [], [], 0)
        assert readable == []
    finally:
        for piece in pieces:
            piece.close()
