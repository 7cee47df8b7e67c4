"""What the relay counts. Plain integers that the hot path bumps, turned into series on scrape.

Each series is there, at 0, from the first scrape, so that a rate over it is right from the first
event. Labels come from enumerations only: no room, no person, no address, no raw URL.

Sources: the runbook's metric names; Prometheus text format 0.0.4. A counter's canonical name ends
in ``_total``; the runbook's names do not, and are served beside it as an alias of type untyped,
which ``promtool check metrics`` accepts and ``rate()`` understands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from twisted_relay.core.errors import Code
from twisted_relay.engine.histogram import LATENCY_BOUNDS, LOOP_LAG_BOUNDS, Histogram

TEXT_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

RECEIVED_TYPES = ("ROOM_CREATE", "JOIN_REQUEST", "LEAVE", "APP_MSG", "MEDIA_MSG", "PING", "INVALID")
SENT_TYPES = (
    "HELLO",
    "ROOM_CREATED",
    "JOINED",
    "TOKEN",
    "LEFT",
    "ROOM_STATS",
    "SYSTEM_MSG",
    "APP_MSG",
    "MEDIA_MSG",
    "QR_ROTATED",
    "PONG",
    "ACK",
    "ERROR",
    "GAP",
)
REJECTIONS = ("ip_limit", "global_limit", "connect_rate", "draining", "origin")
DISCONNECTIONS = (
    "client",
    "lost",
    "protocol",
    "invalid_message",
    "rate_limit",
    "slow_consumer",
    "ping_timeout",
    "join_timeout",
    "message_timeout",
    "replaced",
    "internal_error",
    "service_restart",
    "unavailable",
)
PAGE = "page"
"""Whatever belongs to the web client's page."""
ROUTES = (
    "/ws",
    "/rooms",
    "/rooms/{id}/token",
    "/healthz",
    "/health",
    "/ready",
    "/live",
    "/metrics",
    PAGE,
)
OTHER = "other"
HTTP_STATUSES = (
    *("101", "200", "204", "304"),
    *("400", "403", "404", "405", "413", "426", "429"),
    *("500", "503", OTHER),
)
CHECKS = ("redis", "memory", "connections")

# The counters that the runbook knows without a suffix.
RUNBOOK_COUNTERS = frozenset(
    {
        "total_connections",
        "ws_connection_rejected",
        "ws_disconnections",
        "ws_messages_sent",
        "ws_messages_received",
        "unhandled_errors",
        "redis_errors",
        "redis_reconnect_attempts",
        "redis_connects",
    }
)


class Metrics(Collector):
    """The counts of one process.

    Attributes are public and bumped in place (``metrics.total_connections += 1``). The keys of
    the dicts are fixed; a key that is none of them is a bug and raises KeyError. Only
    ``unhandled_errors``, the last resort, is bumped through ``count_unhandled``.

    Args:
        started: when the process began, in the seconds of the same clock.
        seconds: the clock.
    """

    def __init__(self, started: float, *, seconds: Callable[[], float] = time.time) -> None:
        self.started = started
        self._seconds = seconds
        self.active_connections = 0
        self.total_connections = 0
        self.disconnections = 0
        self.rejected = dict.fromkeys(REJECTIONS, 0)
        self.disconnect_reasons = dict.fromkeys(DISCONNECTIONS, 0)
        self.messages_received = dict.fromkeys(RECEIVED_TYPES, 0)
        self.messages_sent = dict.fromkeys(SENT_TYPES, 0)
        self.errors_sent: dict[str, int] = dict.fromkeys((code.value for code in Code), 0)
        self.unhandled_errors = dict.fromkeys((*RECEIVED_TYPES, *ROUTES, OTHER), 0)
        self.bytes_received = 0
        self.bytes_sent = 0
        self.rooms_active = 0
        self.members_active = 0
        self.redis_errors = 0
        self.redis_reconnect_attempts = 0
        self.redis_connects = 0
        self.redis_ready = 1
        self.redis_latency = Histogram(LATENCY_BOUNDS)
        self.loop_lag = Histogram(LOOP_LAG_BOUNDS)
        self.http_requests = dict.fromkeys(
            ((route, status) for route in (*ROUTES, OTHER) for status in HTTP_STATUSES), 0
        )
        self.http_rate_limited = 0
        self.rooms_spanning = 0
        self.rooms_recovered = 0
        self.leases_reaped = 0
        self.bus_messages_published = 0
        self.bus_messages_received = 0
        self.bus_messages_refused = 0
        self.limits: dict[str, float] = {}
        """Configured limits by name, in base units, each a gauge ``limit_NAME``."""
        self.build: dict[str, str] = {}
        """Labels of ``relay_build_info``: versions, nothing else."""
        self.read_memory: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)
        """Gives the bytes of memory used and the bytes that are the limit."""
        self.read_checks: Callable[[], Mapping[str, int]] = lambda: dict.fromkeys(CHECKS, 0)
        """Gives how each check of /health stands: 0 pass, 1 warn, 2 fail."""
        self.read_expiry: Callable[[], float] | None = None
        """Gives the Unix time at which the certificate in use expires; None without TLS."""

    def count_unhandled(self, path: str) -> None:
        """Count a bug that surfaced under a message type or a route template."""
        self.unhandled_errors[path if path in self.unhandled_errors else OTHER] += 1

    def count_http(self, route: str, status: int) -> None:
        """Count an HTTP answer under its route template."""
        known = str(status) if str(status) in HTTP_STATUSES else OTHER
        self.http_requests[route if route in ROUTES else OTHER, known] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield every family; called by the registry on a scrape."""
        yield from self._gauges()
        yield from self._health()
        yield from self._counters()
        requests = CounterMetricFamily("http_requests", "HTTP answers.", labels=["route", "status"])
        for key, count in self.http_requests.items():
            requests.add_metric(key, count)
        yield requests
        for name, meaning, durations in (
            ("redis_latency_seconds", "Round trips to Redis.", self.redis_latency),
            ("event_loop_lag_seconds", "How late the event loop ran a timer.", self.loop_lag),
        ):
            histogram = HistogramMetricFamily(name, meaning)
            histogram.add_metric([], durations.buckets(), durations.total)
            yield histogram

    def _gauges(self) -> Iterator[Metric]:
        used, limit = self.read_memory()
        uptime = max(0.0, self._seconds() - self.started)
        for name, meaning, value in (
            ("active_connections", "Open WebSocket connections.", self.active_connections),
            ("rooms_active", "Rooms with members on this instance.", self.rooms_active),
            ("members_active", "Room members on this instance.", self.members_active),
            ("rooms_spanning", "Rooms here with members elsewhere too.", self.rooms_spanning),
            ("redis_ready", "1 if the room store can be used, else 0.", self.redis_ready),
            ("uptime_seconds", "Seconds since this process began.", uptime),
            ("memory_used_bytes", "Memory in use, as /health measures it.", used),
            ("memory_limit_bytes", "What /health measures memory against.", limit),
            *((f"limit_{name}", "A configured limit.", top) for name, top in self.limits.items()),
        ):
            yield GaugeMetricFamily(name, meaning, value=value)
        if self.read_expiry is not None:
            meaning = "Unix time at which the certificate in use expires."
            name = "tls_certificate_expiry_timestamp_seconds"
            yield GaugeMetricFamily(name, meaning, value=self.read_expiry())
        build = GaugeMetricFamily("relay_build_info", "What runs.", labels=list(self.build))
        build.add_metric(list(self.build.values()), 1)
        yield build

    def _health(self) -> Iterator[Metric]:
        checks = self.read_checks()
        meaning = "A check of /health: 0 pass, 1 warn, 2 fail."
        each = GaugeMetricFamily("health_check_status", meaning, labels=["check"])
        for name in CHECKS:
            each.add_metric([name], checks[name])
        yield each
        meaning = "What /health says: 0 healthy, 1 degraded, 2 unhealthy."
        yield GaugeMetricFamily("health_status", meaning, value=max(checks.values()))

    def _counters(self) -> Iterator[Metric]:
        for name, meaning, value in (
            ("total_connections", "Accepted WebSocket connections.", self.total_connections),
            ("ws_disconnections", "Ended WebSocket connections.", self.disconnections),
            ("bytes_received", "Bytes of WebSocket messages received.", self.bytes_received),
            ("bytes_sent", "Bytes of WebSocket messages sent.", self.bytes_sent),
            ("http_rate_limited", "HTTP calls over the limit.", self.http_rate_limited),
            ("redis_errors", "Failed Redis commands.", self.redis_errors),
            ("redis_reconnect_attempts", "Attempts to reach Redis.", self.redis_reconnect_attempts),
            ("redis_connects", "Connections made to Redis.", self.redis_connects),
            ("rooms_recovered", "Rooms written to the store again.", self.rooms_recovered),
            ("leases_reaped", "Times that a room lost a lapsed lease.", self.leases_reaped),
            ("bus_messages_published", "Messages sent to the bus.", self.bus_messages_published),
            ("bus_messages_received", "Messages heard on the bus.", self.bus_messages_received),
            (
                "bus_messages_refused",
                "Messages heard with a wrong MAC, version or shape.",
                self.bus_messages_refused,
            ),
        ):
            yield from _counter(name, meaning, "", {"": value})
        for name, meaning, label, values in (
            ("ws_connection_rejected", "Refused handshakes.", "reason", self.rejected),
            ("ws_disconnect_reasons", "Ends, by reason.", "reason", self.disconnect_reasons),
            ("ws_messages_received", "Frames received.", "type", self.messages_received),
            ("ws_messages_sent", "Frames sent.", "type", self.messages_sent),
            ("errors_sent", "ERROR frames and HTTP errors.", "code", self.errors_sent),
            ("unhandled_errors", "Bugs that surfaced.", "path", self.unhandled_errors),
        ):
            yield from _counter(name, meaning, label, values)


def _counter(name: str, meaning: str, label: str, values: Mapping[str, int]) -> Iterator[Metric]:
    labels = [label] if label else []
    families: list[CounterMetricFamily | UnknownMetricFamily]
    families = [CounterMetricFamily(name, meaning, labels=labels)]
    if name in RUNBOOK_COUNTERS:
        alias = UnknownMetricFamily(name, f"{meaning} Alias of {name}_total.", labels=labels)
        families.append(alias)
    for family in families:
        for key, value in values.items():
            family.add_metric([key] if label else [], value)
        yield family


def make_registry(metrics: Metrics) -> CollectorRegistry:
    """Return a registry of its own with these metrics and the process's (CPU, memory, files)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    ProcessCollector(registry=registry)
    return registry


def exposition_text(registry: CollectorRegistry) -> bytes:
    """Return Prometheus text 0.0.4, to be served as ``TEXT_CONTENT_TYPE``."""
    return generate_latest(registry)


def exposition_json(registry: CollectorRegistry, now_ms: int) -> dict[str, Any]:
    """Return ``{timestamp, metrics: {name: {type, value, timestamp}}}``, times in Unix ms.

    The runbook's counters stand under its names, with type counter; nothing stands twice.
    """
    found: dict[str, Any] = {}
    for family in registry.collect():
        if family.type == "counter" and family.name in RUNBOOK_COUNTERS:
            continue
        kind = "counter" if family.name in RUNBOOK_COUNTERS else family.type
        for sample in family.samples:
            key = sample.name + _labels(sample.labels.items())
            found[key] = {"type": kind, "value": sample.value, "timestamp": now_ms}
    return {"timestamp": now_ms, "metrics": found}


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
