"""The HTTP calls, the probes, and what operators read there and in the log."""

from __future__ import annotations

import hashlib
import json
import socket
import time

import pytest


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({"Content-Type": "text/plain"}, b"anything"),
        ({"Content-Type": "application/json"}, b"{not json"),
        ({"Content-Type": "a/b"}, b"\xff"),
    ],
)
def test_post_rooms(relay, headers, body):
    answer = relay.http("POST", "/rooms", headers=headers, body=body)
    assert answer.status == 200
    room_id = answer.json["roomId"]
    assert answer.json == {
        "roomId": room_id,
        "fingerprint": hashlib.sha256(room_id.encode()).hexdigest()[:12],
    }
    client = relay.connect()
    joined = client.join(room_id, relay.http_token(room_id))
    assert (joined["participants"], joined["label"]) == (1, "P1")


def test_a_room_token_lives_a_minute(relay):
    room_id, _ = relay.room()
    answer = relay.http("GET", f"/rooms/{room_id}/token")
    assert set(answer.json) == {"roomId", "token", "expUnixMs"}
    assert answer.json["roomId"] == room_id
    assert 55_000 < answer.json["expUnixMs"] - time.time() * 1000 <= 60_000
    again = relay.http("GET", f"/rooms/{room_id}/token").json["token"]
    assert again != answer.json["token"]


@pytest.mark.parametrize("room_id", ["nowhere-at-all", "x", "x" * 500, "%00%ff", "..%2f..%2fetc"])
def test_a_token_for_no_room(relay, room_id):
    answer = relay.http("GET", f"/rooms/{room_id}/token")
    assert answer.status == 404
    assert answer.json["code"] == "ERR_NO_ROOM"
    assert answer.json["message"]


def test_healthz_and_live(relay):
    answer = relay.http("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"ok": True})
    live = relay.http("GET", "/live")
    assert live.status == 200
    assert live.json["alive"] is True
    assert abs(live.json["timestamp"] - time.time() * 1000) < 5000


def test_ready(relay):
    answer = relay.http("GET", "/ready")
    assert answer.status == 200
    assert answer.json["ready"] is True
    assert set(answer.json["checks"]) == {"redis", "configLoaded"}


def test_health(start_relay):
    relay = start_relay(INSTANCE_ID="one", SERVICE_VERSION="9.9")
    body = relay.http("GET", "/health").json
    assert (body["status"], body["version"], body["instanceId"]) == ("healthy", "9.9", "one")
    assert set(body["checks"]) == {"redis", "memory", "connections"}
    for check in body["checks"].values():
        assert check["status"] == "pass"
        assert isinstance(check["observedValue"], int | float)
        assert isinstance(check["observedUnit"], str)
    assert "embedded" in body["checks"]["redis"]["message"].lower()


def test_trap_34_memory_passes_at_idle_and_can_fail(start_relay):
    small = start_relay(MEMORY_LIMIT_MB=16).http("GET", "/health")
    assert small.status == 503
    assert small.json["status"] == "unhealthy"
    assert small.json["checks"]["memory"]["status"] == "fail"
    roomy = start_relay(MEMORY_LIMIT_MB=4096).http("GET", "/health")
    assert roomy.json["checks"]["memory"]["status"] == "pass"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/rooms/abcdefgh", 404),
        ("GET", "/rooms/abcdefgh/token/more", 404),
        ("GET", "/rooms", 405),
        ("PUT", "/rooms", 405),
        ("POST", "/rooms/abcdefgh/token", 405),
        ("POST", "/live", 405),
        ("GET", "/ws", 426),
        ("GET", "/signaling", 404),
    ],
)
def test_trap_35_a_4xx_is_one_and_no_error_of_ours(relay, method, path, status):
    before = _unhandled(relay)
    answer = relay.http(method, path)
    assert answer.status == status
    assert answer.headers["content-type"].startswith("application/json")
    assert set(answer.json) >= {"code", "message"}
    assert all(isinstance(answer.json[name], str) for name in ("code", "message"))
    assert _unhandled(relay) == before == 0
    assert "server" not in answer.headers


def _unhandled(relay):
    return sum(
        value for name, value in relay.metrics().items() if name.startswith("unhandled_errors{")
    )


def test_trap_35_what_is_no_http_gets_400(relay):
    for raw in (b"NONSENSE\r\n\r\n", b"GET /live HTTP/1.1\r\nbroken header\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", relay.port), 10) as connection:
            connection.sendall(raw)
            assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert _unhandled(relay) == 0


def test_a_bad_handshake_is_refused(relay):
    for headers in (
        {"Upgrade": "websocket"},
        {"Upgrade": "websocket", "Connection": "Upgrade"},
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "short",
            "Sec-WebSocket-Version": "13",
        },
    ):
        assert 400 <= relay.http("GET", "/ws", headers=headers).status < 500
    assert _unhandled(relay) == 0


def test_trap_33_metrics_are_there_at_zero_from_the_first_scrape(start_relay):
    relay = start_relay()
    text = relay.http("GET", "/metrics", headers={"Accept": "*/*"}).body.decode()
    lines = text.splitlines()
    for sample in (
        "active_connections 0",
        "total_connections 0",
        "ws_disconnections 0",
        'ws_connection_rejected{reason="ip_limit"} 0',
        'ws_connection_rejected{reason="global_limit"} 0',
        'ws_messages_received{type="APP_MSG"} 0',
        'ws_messages_sent{type="APP_MSG"} 0',
        'ws_messages_received{type="ROOM_CREATE"} 0',
        'ws_messages_sent{type="HELLO"} 0',
        'unhandled_errors{path="/rooms"} 0',
        "redis_errors 0",
        "redis_reconnect_attempts 0",
        "redis_connects 0",
        "redis_ready 1",
    ):
        name, value = sample.rsplit(" ", 1)
        assert any(
            line.rsplit(" ", 1)[0] == name and float(line.rsplit(" ", 1)[1]) == float(value)
            for line in lines
            if not line.startswith("#")
        ), sample
    assert any(line.startswith("uptime_seconds ") for line in lines)
    types = [line.split(" ")[2] for line in lines if line.startswith("# TYPE ")]
    assert len(types) == len(set(types)), "one TYPE line for each family"


def test_trap_33_what_happens_is_counted(start_relay, wire):
    relay = start_relay()
    room_id, (one, two) = relay.room(2)
    one.say(room_id)
    one.expect("APP_MSG"), two.expect("APP_MSG")
    one.send("NONSENSE")
    one.refused()
    relay.http("GET", "/some/raw/url?with=query")
    two.leave_cleanly()
    metrics = wire.poll(lambda: (m := relay.metrics())["ws_disconnections"] and m)
    expected = {
        "active_connections": 1,
        "total_connections": 2,
        "ws_disconnections": 1,
        'ws_messages_received{type="APP_MSG"}': 1,
        'ws_messages_sent{type="APP_MSG"}': 2,
        'ws_messages_received{type="ROOM_CREATE"}': 1,
        'ws_messages_received{type="INVALID"}': 1,
        'ws_messages_received{type="JOIN_REQUEST"}': 1,
        'ws_messages_sent{type="HELLO"}': 2,
        'ws_messages_sent{type="JOINED"}': 1,
        'ws_messages_sent{type="ERROR"}': 1,
    }
    assert {name: metrics[name] for name in expected} == expected
    text = relay.http("GET", "/metrics").body.decode()
    assert "raw/url" not in text
    assert room_id not in text


def test_trap_32_curl_gets_text_and_whoever_asks_gets_json(relay):
    text = relay.http("GET", "/metrics", headers={"Accept": "*/*"})
    assert text.headers["content-type"].startswith("text/plain")
    assert "version=0.0.4" in text.headers["content-type"]
    asked = relay.http("GET", "/metrics", headers={"Accept": "application/json"})
    assert asked.headers["content-type"].startswith("application/json")
    entry = asked.json["metrics"]["active_connections"]
    assert set(entry) == {"type", "value", "timestamp"}
    assert asked.json["metrics"]["total_connections"]["type"] == "counter"
    assert asked.json["timestamp"]


def test_trap_32_the_three_phrases_and_string_levels(start_relay, wire):
    relay = start_relay(
        MAX_CONNS_PER_IP=2,
        SLOW_CONSUMER_BUFFER_THRESHOLD=65536,
        MAX_MSGS_PER_10S=150,
        MAX_BYTES_PER_10S=100_000_000,
        LOG_LEVEL="warn",
    )
    room_id, (sender,) = relay.room(receive_buffer=None)
    stalled = relay.connect(receive_buffer=4096)
    stalled.join(room_id, relay.http_token(room_id))
    with pytest.raises(wire.Refused):
        relay.connect()
    flooder = relay.connect(source="127.0.0.2")
    for _ in range(160):
        flooder.send("PING")
    assert flooder.close_reason()[1] == "rate limit exceeded"
    for _ in range(140):
        sender.say(room_id, "A" * 60_000)
        sender.until("APP_MSG")
        if "slow consumer" in relay.out:
            break
    events = relay.events()
    for phrase in ("too many connections", "rate limit", "slow consumer"):
        assert [e["level"] for e in events if phrase in e["msg"]] == ["warn"], phrase
    assert relay.err == ""


def test_the_log_is_json_lines_with_string_levels(start_relay):
    relay = start_relay(LOG_LEVEL="debug")
    relay.room(2)
    events = relay.events()
    assert events
    for event in events:
        assert event["level"] in ("trace", "debug", "info", "warn", "error", "fatal")
        assert isinstance(event["msg"], str)


def test_request_lines_name_routes_not_urls(start_relay):
    relay = start_relay(LOG_REQUESTS="true")
    room_id, _ = relay.room()
    relay.http("GET", f"/rooms/{room_id}/token?secret=1")
    relay.http("GET", "/a-raw-url")
    assert "/rooms/{id}/token" in [e.get("route") for e in relay.events()]
    assert room_id not in relay.log
    assert "a-raw-url" not in relay.log


def test_keep_alive_serves_a_second_request(relay):
    with socket.create_connection(("127.0.0.1", relay.port), 10) as connection:
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            data = b""
            while not data.endswith(b'{"ok":true}'):
                data += connection.recv(4096)
            assert json.loads(data.split(b"\r\n\r\n")[1]) == {"ok": True}
