"""The edge of a relay that runs: whom limits count, what nobody gets past, what is said of it."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import time

import pytest
from certificates import Authority

HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nX-Forwarded-For: {client}\r\n\r\n"
)
CLIENT, STRANGER = "203.0.113.9", "198.51.100.7"


def _handshake(client):
    return HANDSHAKE.format(key=base64.b64encode(os.urandom(16)).decode(), client=client).encode()


def _refused(relay, wire, **options):
    with pytest.raises(wire.Refused) as caught:
        relay.connect(**options)
    return caught.value.answer


def test_trap_18_a_forged_header_gets_nobody_past_a_limit(start_relay, wire):
    relay = start_relay(MAX_CONNS_PER_IP=2, MAX_ROOM_CREATES_PER_IP_PER_MIN=2)
    for number in range(2):
        relay.connect(headers={"X-Forwarded-For": f"203.0.113.{number}"})
        relay.http("POST", "/rooms", headers={"X-Forwarded-For": f"203.0.113.{number}"})
    forged = {"X-Forwarded-For": STRANGER, "X-Real-IP": STRANGER, "Forwarded": f"for={STRANGER}"}
    assert _refused(relay, wire, headers=forged).status == 429
    assert relay.http("POST", "/rooms", headers=forged).status == 429
    warned = [e for e in relay.events() if e.get("event") == "untrusted_forwarded_for"]
    assert len(warned) == 1
    assert warned[0]["level"] == "warn"
    assert "TRUST_PROXY" in warned[0]["msg"]
    assert STRANGER not in relay.log


def test_trap_18_behind_a_trusted_proxy_each_client_counts_for_itself(start_relay, wire):
    relay = start_relay(TRUST_PROXY="127.0.0.1", MAX_CONNS_PER_IP=2, LOG_CLIENT_ADDRESS="full")
    for client in (CLIENT, STRANGER):
        for forged in ("", "192.0.2.1, "):
            relay.connect(headers={"X-Forwarded-For": forged + client})
        answer = _refused(relay, wire, headers={"X-Forwarded-For": f"192.0.2.2, {client}"})
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")
    # Not from the proxy.
    relay.connect(source="127.0.0.2", headers={"X-Forwarded-For": CLIENT})
    refused = [e for e in relay.events() if e.get("event") == "connection_rejected"]
    assert refused[0]["client_address"] == CLIENT
    assert "192.0.2." not in relay.log


def test_10000_connections_from_one_64_do_not_get_past_their_limit(start_relay, wire):
    # The three are not read while the flood goes on: a ping would find nobody.
    relay = start_relay(TRUST_PROXY="true", MAX_CONNS_PER_IP=3, WS_PING_INTERVAL_MS=3_600_000)
    for number in range(3):
        relay.connect(headers={"X-Forwarded-For": f"2001:db8:1:2::{number + 1:x}"})
    began = time.monotonic()
    answers = 0
    with socket.create_connection(("127.0.0.1", relay.port), wire.patience) as flood:
        for batch in range(100):
            flood.sendall(
                b"".join(_handshake(f"2001:db8:1:2:{batch:x}::{n:x}") for n in range(100))
            )
            data = b""
            while data.count(b"HTTP/1.1 429 ") < 100 or not data.endswith(b"}"):
                data += flood.recv(1 << 20)
            assert data.count(b"HTTP/1.1 ") == data.count(b"Retry-After: 5\r\n") == 100
            answers += 100
    seconds = time.monotonic() - began
    metrics = relay.metrics()
    assert metrics['ws_connection_rejected{reason="ip_limit"}'] == answers == 10_000
    assert metrics["active_connections"] == metrics["total_connections"] == 3
    relay.connect(headers={"X-Forwarded-For": "2001:db8:1:3::1"})
    # The counter counts on; the log has a line a second.
    lines = [e for e in relay.events() if "too many connections" in e["msg"]]
    assert 1 <= len(lines) <= seconds + 2
    assert sum(1 + e.get("suppressed", 0) for e in lines) <= answers
    assert lines[0]["client_address"] == "2001:db8:1::/48"


def test_the_proxy_protocol_names_the_client_of_a_websocket(start_relay, wire):
    relay = start_relay(
        RELAY_ENDPOINTS="tcp:%PORT%:interface=127.0.0.1 haproxy:tcp:%OTHER%:interface=127.0.0.1",
        MAX_CONNS_PER_IP=1,
        LOG_CLIENT_ADDRESS="full",
        SLOW_CONSUMER_BUFFER_THRESHOLD=65536,
        MAX_MSGS_PER_10S=1_000_000,
        MAX_BYTES_PER_10S=1_000_000_000,
    )

    def come(client, **options):
        family = "TCP6" if ":" in client else "TCP4"
        line = f"PROXY {family} {client} {client} 1 2\r\n".encode()
        return wire.Client(relay.other_port, before=line, **options)

    with pytest.raises(wire.Closed):
        wire.Client(relay.other_port)
    one, two = come(CLIENT), come("2001:db8:1:2::1", receive_buffer=4096)
    with pytest.raises(wire.Refused) as refused:
        come("2001:db8:1:2:ffff::9")
    assert refused.value.answer.status == 429
    room_id = one.create()["roomId"]
    two.join(room_id, relay.http_token(room_id))
    one.until("ROOM_STATS")
    # What waits for a client is seen through the wrapper, too.
    for _ in range(400):
        one.say(room_id, "A" * 60_000)
        if any(frame["t"] == "SYSTEM_MSG" for frame in one.fence()):
            break
    assert two.close_reason() == (1008, "slow consumer")
    slow = next(e for e in relay.events() if e.get("event") == "slow_consumer")
    assert slow["client_address"] == "2001:db8:1:2::1"
    assert relay.metrics()['ws_connection_rejected{reason="ip_limit"}'] == 1
    one.close(), two.close()


def test_trap_16_and_17_a_flood_of_calls_leaves_the_probes_alone(start_relay):
    relay = start_relay(MAX_HTTP_PER_IP_PER_MIN=10)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    answers = [relay.http("POST", "/rooms", headers=upgrade if n % 2 else {}) for n in range(30)]
    statuses = [answer.status for answer in answers]
    assert statuses[:10] == [200] * 10
    assert set(statuses[11:]) == {429}
    assert answers[-1].json["code"] == "ERR_RATE_LIMITED"
    assert relay.http("POST", "/rooms", source="127.0.0.2").status == 200
    for path in ("/live", "/ready", "/health", "/healthz", "/metrics"):
        for _ in range(15):
            assert relay.http("GET", path, headers=upgrade).status == 200
    assert relay.connect().fence() == [], "the WebSocket has limits of its own"
    assert relay.metrics()["http_rate_limited_total"] >= 19
    assert "rate limit" in relay.out


def test_the_handshake_answers_like_any_other_call(start_relay, wire):
    relay = start_relay(MAX_CONNS_PER_IP=1)
    said = relay.connect(headers={"X-Request-Id": "id-of-mine"}).handshake
    assert said["x-request-id"] == "id-of-mine"
    assert said["x-frame-options"] == "DENY"
    assert "server" not in said
    answer = _refused(relay, wire, headers={"X-Request-Id": "id-of-another"})
    assert answer.headers["x-request-id"] == "id-of-another"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    refused = [e for e in relay.events() if e.get("event") == "connection_rejected"]
    assert refused[0]["request_id"] == "id-of-another"


def test_an_endpoint_for_operators(start_relay, wire):
    relay = start_relay(
        OPS_ENDPOINT="tcp:%OTHER%:interface=127.0.0.1", DEPLOYMENT_ENV="staging", TRUST_PROXY="true"
    )

    def ops(path):
        return wire.http(relay.other_port, "GET", path)

    relay.connect(headers={"X-Forwarded-For": CLIENT})
    for path in ("/metrics", "/health"):
        assert relay.http("GET", path).status == 404
        assert ops(path).status == 200
    for path in ("/live", "/ready", "/healthz"):
        assert relay.http("GET", path).status == ops(path).status == 200
    for path in ("/ws", "/rooms", "/rooms/abcdefgh/token"):
        assert ops(path).status == 404
    found = wire.samples(ops("/metrics").body.decode())
    assert found["total_connections"] == 1
    assert any('deployment_env="staging"' in name for name in found)
    assert json.loads(ops("/health").body)["checks"]["connections"]["observedValue"] == 1


def test_a_health_check_that_fails_is_logged_once(start_relay):
    relay = start_relay(MEMORY_LIMIT_MB=16)
    for _ in range(5):
        assert relay.http("GET", "/health").status == 503
    (line,) = (e for e in relay.events() if e.get("event") == "health_check")
    assert (line["level"], line["check"]) == ("warn", "memory")
    assert "fails" in line["msg"]
    quiet = start_relay(MEMORY_LIMIT_MB=16, LOG_HEALTH_CHECK_FAILURES="false")
    assert quiet.http("GET", "/health").status == 503
    assert [e for e in quiet.events() if e.get("event") == "health_check"] == []


def test_trap_22_credentials_for_any_origin_load_without_credentials_and_warn(start_relay):
    relay = start_relay(CORS_ALLOWED_ORIGINS="*", CORS_ALLOW_CREDENTIALS="true")
    answer = relay.http("POST", "/rooms", headers={"Origin": "https://evil.example"})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Origin"
    warned = [e for e in relay.events() if e["level"] == "warn"]
    assert [e["setting"] for e in warned] == ["CORS_ALLOW_CREDENTIALS"]


def test_hsts_goes_to_who_came_over_tls_and_to_nobody_else(start_relay, wire, tmp_path):
    certificate, key = Authority().issue("localhost").write(tmp_path)
    relay = start_relay(
        TLS_CERT_FILE=certificate,
        TLS_KEY_FILE=key,
        RELAY_ENDPOINTS="tcp:%PORT%:interface=127.0.0.1 wss:tcp:%OTHER%:interface=127.0.0.1",
    )
    forged = {"X-Forwarded-Proto": "https"}
    assert "strict-transport-security" not in relay.http("GET", "/live", headers=forged).headers
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    live = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
    for request in (live, _handshake(CLIENT), b"NONSENSE\r\n\r\n"):
        plain = socket.create_connection(("127.0.0.1", relay.other_port), wire.patience)
        with anyone.wrap_socket(plain) as over:
            over.sendall(request)
            data = b""
            while b"\r\n\r\n" not in data:
                data += over.recv(65536)
        policy = b"strict-transport-security: max-age=31536000; includesubdomains\r\n"
        assert policy in data.lower()
