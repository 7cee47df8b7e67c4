"""The probes' answers, in the runbook's shapes."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from twisted_relay.engine import health as h
from twisted_relay.engine.interfaces import StoreStatus

EMBEDDED = StoreStatus("embedded", True, None, "the embedded store is in use")
FINE = h.Facts(EMBEDDED, h.Memory(10, 100, "machine"), 5, 100, False, 1234, 5.5, "1.0", "here")


def facts(**changes: Any) -> h.Facts:
    return attrs.evolve(FINE, **changes)


def test_health_has_the_runbooks_shape() -> None:
    status, body = h.health(FINE)
    assert status == 200
    assert json.loads(json.dumps(body)) == {
        "status": "healthy",
        "timestamp": 1234,
        "uptime": 5.5,
        "checks": {
            "redis": {
                "status": "pass",
                "message": "the embedded store is in use",
                "observedValue": 0.0,
                "observedUnit": "ms",
            },
            "memory": {
                "status": "pass",
                "message": "0 MB of 0 MB (machine)",
                "observedValue": 10.0,
                "observedUnit": "percent",
            },
            "connections": {
                "status": "pass",
                "message": "5 of 100",
                "observedValue": 5,
                "observedUnit": "connections",
            },
        },
        "version": "1.0",
        "instanceId": "here",
    }


@pytest.mark.parametrize(
    ("used", "verdict", "overall", "status"),
    [
        (79, "pass", "healthy", 200),
        (80, "warn", "degraded", 200),
        (94, "warn", "degraded", 200),
        (95, "fail", "unhealthy", 503),
        (200, "fail", "unhealthy", 503),
    ],
)
def test_trap_34_memory_warns_and_can_fail(
    used: int, verdict: str, overall: str, status: int
) -> None:
    code, body = h.health(facts(memory=h.Memory(used, 100, "cgroup")))
    assert (code, body["status"]) == (status, overall)
    assert body["checks"]["memory"]["status"] == verdict


def test_without_a_known_limit_memory_passes() -> None:
    assert h.memory_check(h.Memory(2**30, 0, "machine")).status == "pass"


@pytest.mark.parametrize(
    ("connections", "most", "verdict"),
    [(89, 100, "pass"), (90, 100, "warn"), (100, 100, "warn"), (5, 0, "pass")],
)
def test_connections_warn_at_90_percent(connections: int, most: int, verdict: str) -> None:
    assert h.connections_check(connections, most).status == verdict


def test_a_lost_store_is_unhealthy_and_not_ready_but_alive() -> None:
    lost = facts(store=StoreStatus("redis", False, None, "no connection"))
    assert h.health(lost)[0] == 503
    assert h.ready(lost) == (
        503,
        {"ready": False, "timestamp": 1234, "checks": {"redis": False, "configLoaded": True}},
    )
    assert h.live(1234) == (200, {"alive": True, "timestamp": 1234})


def test_a_slow_store_warns() -> None:
    assert h.store_check(StoreStatus("redis", True, 100.5, "slow")).status == "warn"
    assert h.store_check(StoreStatus("redis", True, 9.0, "fine")).status == "pass"


def test_the_checks_as_numbers() -> None:
    poor = facts(
        store=StoreStatus("redis", False, None, "no connection"),
        memory=h.Memory(81, 100, "cgroup"),
    )
    assert h.levels(poor) == {"redis": 2, "memory": 1, "connections": 0}


def test_draining_changes_only_ready() -> None:
    draining = facts(draining=True)
    assert h.health(draining)[0] == 200
    assert h.ready(draining)[0] == 503
    assert h.ready(FINE)[0] == 200
