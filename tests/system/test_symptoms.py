"""The runbook's troubleshooting chapters: each symptom shows where the chapter looks."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest


def figures(relay: Any) -> dict[str, float]:
    found: dict[str, float] = relay.metrics()
    return found


def test_high_connection_rejections(start_relay: Any, wire: Any) -> None:
    relay = start_relay(MAX_CONNS_PER_IP=2)
    for _ in range(2):
        relay.connect()
    for _ in range(3):
        with pytest.raises(wire.Refused):
            relay.connect()
    now = figures(relay)
    assert now['ws_connection_rejected{reason="ip_limit"}'] == 3
    assert now["limit_max_conns_per_ip"] == 2
    assert now['http_requests_total{route="/ws",status="429"}'] == 3
    assert "too many connections" in relay.out


def test_redis_connection_failures(start_relay: Any, redis_server: Any, wire: Any) -> None:
    relay = start_relay(
        REDIS_URL=redis_server.url, REDIS_COMMAND_TIMEOUT_MS=300, LOG_HEALTH_CHECK_FAILURES="false"
    )
    wire.poll(lambda: relay.ready, "ready")
    assert figures(relay)["redis_ready"] == 1
    redis_server.kill()
    wire.poll(lambda: relay.http("GET", "/health").status == 503, "unhealthy")
    health = relay.http("GET", "/health").json
    assert (health["status"], health["checks"]["redis"]["status"]) == ("unhealthy", "fail")
    now = figures(relay)
    assert now["redis_ready"] == 0
    assert now['health_check_status{check="redis"}'] == now["health_status"] == 2
    wire.poll(lambda: figures(relay)["redis_reconnect_attempts"] >= 1, "an attempt to reconnect")
    # The process survives the outage, and finds Redis again by itself.
    assert relay.http("GET", "/live").status == 200
    redis_server.restart()
    wire.poll(lambda: relay.ready, "ready again")
    assert figures(relay)["redis_ready"] == 1
    assert figures(relay)["redis_connects"] >= 2


def test_high_memory(start_relay: Any) -> None:
    """A process of this kind takes more than 16 MB, so that it is over any alarm from the start."""
    relay = start_relay(MEMORY_LIMIT_MB=16, LOG_HEALTH_CHECK_FAILURES="false")
    answer = relay.http("GET", "/health")
    memory = answer.json["checks"]["memory"]
    assert (answer.status, memory["status"]) == (503, "fail")
    assert memory["observedValue"] > 95
    now = figures(relay)
    assert now["memory_limit_bytes"] == 16 * 2**20 < now["memory_used_bytes"]
    assert now['health_check_status{check="memory"}'] == 2
    assert relay.http("GET", "/live").status == 200


def test_connection_drops(start_relay: Any, wire: Any) -> None:
    """One who does not read, and one who does not answer pings."""
    relay = start_relay(
        SLOW_CONSUMER_BUFFER_THRESHOLD=65536,
        WS_PING_INTERVAL_MS=400,
        WS_PING_TIMEOUT_MS=200,
        MAX_MSGS_PER_10S=1_000_000,
        MAX_BYTES_PER_10S=1_000_000_000,
    )
    talker = relay.connect()
    room_id = talker.create()["roomId"]
    stalled = relay.connect(receive_buffer=4096)
    stalled.join(room_id, relay.http_token(room_id))

    def dropped() -> bool:
        # The stalled one counts as heard while what it reads is on its way: keep talking.
        with contextlib.suppress(wire.Closed):
            for _ in range(20):
                talker.say(room_id, "A" * 60_000)
                talker.fence()  # who reads owes nothing
        now = figures(relay)
        return bool(
            now['ws_disconnect_reasons_total{reason="slow_consumer"}']
            + now['ws_disconnect_reasons_total{reason="ping_timeout"}']
        )

    wire.poll(dropped, "the end of the stalled connection")
    now = figures(relay)
    assert now['ws_disconnect_reasons_total{reason="slow_consumer"}'] == 1
    assert "slow consumer" in relay.out
    silent = relay.connect()
    wire.poll(
        lambda: figures(relay)['ws_disconnect_reasons_total{reason="ping_timeout"}'] >= 1,
        "the end of the silent connection",
    )
    silent.close()

    def all_ended() -> bool:
        # A reason is counted when the relay decides, the end when the connection is gone.
        now = figures(relay)
        reasons = [now[name] for name in now if name.startswith("ws_disconnect_reasons_total")]
        return now["ws_disconnections"] == sum(reasons) >= 2

    wire.poll(all_ended, "each end with its reason")


def test_connection_drops_of_one_who_says_too_much(start_relay: Any, wire: Any) -> None:
    relay = start_relay(MAX_MSGS_PER_10S=20)
    client = relay.connect()
    client.send_together(*[client.envelope("PING", {}) for _ in range(30)])
    assert client.close_reason() == (1008, "rate limit exceeded")
    assert figures(relay)['ws_disconnect_reasons_total{reason="rate_limit"}'] == 1
    assert "rate limit" in relay.out


def test_slow_performance(start_relay: Any, wire: Any) -> None:
    """A loop that stood still says so for good."""
    relay = start_relay()

    def late(bound: str) -> float:
        now = figures(relay)
        below = now[f'event_loop_lag_seconds_bucket{{le="{bound}"}}']
        return now["event_loop_lag_seconds_count"] - below

    wire.poll(lambda: figures(relay)["event_loop_lag_seconds_count"] >= 1, "a first look")
    before = late("0.25")
    relay.freeze()
    # The next look is due within half a second; only a clock that goes on can make it late.
    time.sleep(1.2)
    relay.thaw()
    wire.poll(lambda: late("0.25") > before, "a late look")
