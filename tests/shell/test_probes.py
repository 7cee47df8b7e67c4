"""The probes over a real socket: shapes, switches, and which form /metrics takes."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest
import pytest_twisted

from twisted_relay.engine.interfaces import StoreStatus
from twisted_relay.shell.probes import configured_limits, wants_json


@pytest_twisted.ensureDeferred
async def test_the_probes_answer_in_their_shapes(http_server: Any) -> None:
    health = await http_server("GET /health")
    assert health.status == 200
    assert health.json["status"] == "healthy"
    assert set(health.json["checks"]) == {"redis", "memory", "connections"}
    assert health.json["checks"]["redis"]["message"] == "the embedded store is in use"
    assert (health.json["version"], health.json["instanceId"]) == ("9.9", "here")
    ready = await http_server("GET /ready")
    assert ready.status == 200
    assert ready.json["ready"] is True
    assert ready.json["checks"] == {"redis": True, "configLoaded": True}
    live = await http_server("GET /live")
    assert live.json["alive"] is True
    assert live.json["timestamp"] > 1.7e12
    assert (await http_server("GET /healthz")).json == {"ok": True}


@pytest_twisted.ensureDeferred
async def test_draining_changes_only_ready(http_server: Any) -> None:
    http_server.relay.draining = True
    assert (await http_server("GET /ready")).status == 503
    assert (await http_server("GET /health")).status == 200
    assert (await http_server("GET /live")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_lost_redis_leaves_the_process_alive(http_server: Any) -> None:
    http_server.store.found = StoreStatus("redis", False, None, "Redis does not answer")
    health = await http_server("GET /health")
    assert (health.status, health.json["status"]) == (503, "unhealthy")
    assert health.json["checks"]["redis"] == {
        "status": "fail",
        "message": "Redis does not answer",
        "observedValue": 0.0,
        "observedUnit": "ms",
    }
    ready = await http_server("GET /ready")
    assert (ready.status, ready.json["checks"]["redis"]) == (503, False)
    assert (await http_server("GET /live")).status == 200
    assert b"\nredis_ready 0.0\n" in (await http_server("GET /metrics")).body
    found = await http_server("GET /metrics", headers=("Accept: application/json",))
    assert found.json["metrics"]["redis_ready"]["value"] == 0


@pytest_twisted.ensureDeferred
async def test_redis_is_shown_with_its_round_trip(http_server: Any) -> None:
    http_server.store.found = StoreStatus("redis", True, 0.4321, "Redis answers")
    check = (await http_server("GET /health")).json["checks"]["redis"]
    assert (check["status"], check["observedValue"]) == ("pass", 0.432)
    assert b"\nredis_ready 1.0\n" in (await http_server("GET /metrics")).body
    http_server.store.found = StoreStatus("redis", True, 250.0, "Redis answers")
    health = await http_server("GET /health")
    assert (health.status, health.json["status"]) == (200, "degraded")
    assert health.json["checks"]["redis"]["status"] == "warn"
    assert (await http_server("GET /ready")).status == 200


@pytest_twisted.ensureDeferred
async def test_trap_32_metrics_give_curl_text_and_json_on_request(http_server: Any) -> None:
    text = await http_server("GET /metrics", headers=("Accept: */*",))
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert re.search(rb"(?m)^total_connections 0\.0$", text.body)
    assert re.search(rb"(?m)^memory_used_bytes [1-9]", text.body)
    assert b"limit_max_total_connections 100.0" in text.body
    found = await http_server("GET /metrics", headers=("Accept: application/json",))
    assert found.headers["content-type"].startswith("application/json")
    assert found.headers["vary"] == "Origin, Accept"
    assert found.json["metrics"]["total_connections"]["type"] == "counter"


@pytest_twisted.ensureDeferred
async def test_every_answer_is_counted_under_its_route(http_server: Any) -> None:
    await http_server("GET /live")
    await http_server("POST /live")
    await http_server("GET /nothing/here")
    await http_server("GET /ws")
    await http_server("GET nothing")
    http_server.store.found = StoreStatus("redis", False, None, "Redis does not answer")
    page = (await http_server("GET /metrics")).body.decode()
    for route, status in (
        ("/live", 200),
        ("/live", 405),
        ("other", 404),
        ("other", 400),
    ):
        assert f'http_requests_total{{route="{route}",status="{status}"}} 1.0' in page
    assert "\nhealth_status 2.0\n" in page


@pytest_twisted.ensureDeferred
async def test_the_probes_do_not_log(http_server: Any) -> None:
    for path in ("/health", "/ready", "/live", "/healthz", "/metrics"):
        await http_server(f"GET {path}")
    assert http_server.lines == []


@pytest_twisted.ensureDeferred
async def test_endpoints_can_be_switched_off(bare_http_server: Any) -> None:
    for path in ("/health", "/ready", "/metrics"):
        assert (await bare_http_server(f"GET {path}")).error == (404, "ERR_NOT_FOUND")
    for path in ("/live", "/healthz"):
        assert (await bare_http_server(f"GET {path}")).status == 200


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        (PROMETHEUS, False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/json, text/plain, */*", True),
        ("text/plain, application/json;q=0.5", False),
        ("application/json;q=0", False),
        ("application/json;q=oops", False),
        (",;,=", False),
    ],
)
def test_wants_json(accept: str, json: bool) -> None:
    assert wants_json(accept) is json


def test_limits_become_gauges_in_base_units() -> None:
    @attrs.frozen
    class Part:
        max_ws_msg_bytes: int = 5
        join_timeout_ms: int = 1500
        switched: bool = True
        allowed_origins: tuple[str, ...] = ()

    assert configured_limits(Part()) == {"max_ws_msg_bytes": 5, "join_timeout_seconds": 1.5}
