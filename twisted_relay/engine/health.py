"""What /health, /ready and /live say. Pure: values in, a status and a body out; nothing waits.

Source: the runbook's endpoints and alerts.
"""

from __future__ import annotations

from typing import Any

import attrs

from twisted_relay.engine.interfaces import StoreStatus

MEMORY_WARN, MEMORY_FAIL = 0.80, 0.95
CONNECTIONS_WARN = 0.90
LATENCY_WARN_MS = 100.0
LEVELS = ("pass", "warn", "fail")


@attrs.frozen
class Memory:
    """Memory of this process against what it may use, in bytes; ``limit`` 0 if that is unknown.

    ``source`` says whose limit it is: ``MEMORY_LIMIT_MB``, ``cgroup`` or ``machine``.
    """

    used: int
    limit: int
    source: str


@attrs.frozen
class Facts:
    """All that a probe may look at, read at one moment.

    ``max_connections`` 0 means no limit. ``now_ms`` is Unix time, ``uptime_s`` seconds.
    """

    store: StoreStatus
    memory: Memory
    connections: int
    max_connections: int
    draining: bool
    now_ms: int
    uptime_s: float
    version: str
    instance_id: str


@attrs.frozen
class Check:
    """One line of /health: ``status`` is pass, warn or fail."""

    status: str
    message: str
    value: float
    unit: str

    def body(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "status": self.status,
            "message": self.message,
            "observedValue": self.value,
            "observedUnit": self.unit,
        }


def store_check(store: StoreStatus) -> Check:
    """Fail if the store cannot be used, warn if it is slow."""
    latency = store.latency_ms or 0.0
    slow = latency > LATENCY_WARN_MS
    status = "fail" if not store.ready else "warn" if slow else "pass"
    return Check(status, store.message, round(latency, 3), "ms")


def memory_check(memory: Memory) -> Check:
    """Warn from 80 % of the limit, fail from 95 %. Without a known limit there is no fault."""
    megabytes = memory.used / 2**20
    if memory.limit <= 0:
        return Check("pass", f"{megabytes:.0f} MB in use; no limit is known", 0.0, "percent")
    share = memory.used / memory.limit
    status = "fail" if share >= MEMORY_FAIL else "warn" if share >= MEMORY_WARN else "pass"
    message = f"{megabytes:.0f} MB of {memory.limit / 2**20:.0f} MB ({memory.source})"
    return Check(status, message, round(share * 100, 2), "percent")


def connections_check(connections: int, most: int) -> Check:
    """Warn from 90 % of the most that are taken. Being full is no fault of the process."""
    full = most > 0 and connections >= most * CONNECTIONS_WARN
    message = f"{connections} of {most}" if most > 0 else f"{connections}, without a limit"
    return Check("warn" if full else "pass", message, connections, "connections")


def checks_of(facts: Facts) -> dict[str, Check]:
    """Return the checks of /health, by name."""
    return {
        "redis": store_check(facts.store),
        "memory": memory_check(facts.memory),
        "connections": connections_check(facts.connections, facts.max_connections),
    }


def levels(facts: Facts) -> dict[str, int]:
    """Return the checks as numbers for a gauge: 0 pass, 1 warn, 2 fail."""
    return {name: LEVELS.index(check.status) for name, check in checks_of(facts).items()}


def health(facts: Facts) -> tuple[int, dict[str, Any]]:
    """Return status and body of /health: 503 only for unhealthy. Draining changes nothing."""
    checks = checks_of(facts)
    found = {check.status for check in checks.values()}
    status = "unhealthy" if "fail" in found else "degraded" if "warn" in found else "healthy"
    return 503 if status == "unhealthy" else 200, {
        "status": status,
        "timestamp": facts.now_ms,
        "uptime": round(facts.uptime_s, 3),
        "checks": {name: check.body() for name, check in checks.items()},
        "version": facts.version,
        "instanceId": facts.instance_id,
    }


def ready(facts: Facts) -> tuple[int, dict[str, Any]]:
    """Return status and body of /ready: 200 if new clients are welcome, 503 while draining."""
    welcome = facts.store.ready and not facts.draining
    return 200 if welcome else 503, {
        "ready": welcome,
        "timestamp": facts.now_ms,
        # The settings were checked before the process began to listen.
        "checks": {"redis": facts.store.ready, "configLoaded": True},
    }


def live(now_ms: int) -> tuple[int, dict[str, Any]]:
    """Return status and body of /live: the process answers, so it lives."""
    return 200, {"alive": True, "timestamp": now_ms}
