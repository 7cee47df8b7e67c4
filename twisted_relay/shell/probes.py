"""/live, /ready, /health, /healthz and /metrics. Each reads values; none waits.

None logs a request; of a check that fails the log is told when that begins and ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from prometheus_client.registry import CollectorRegistry
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import Resource

from twisted_relay.engine import health
from twisted_relay.engine.health import Memory
from twisted_relay.engine.interfaces import StoreStatus
from twisted_relay.engine.metrics import (
    TEXT_CONTENT_TYPE,
    Metrics,
    exposition_json,
    exposition_text,
)
from twisted_relay.shell.answers import Answer, Desk, Endpoint, as_json
from twisted_relay.shell.logs import Throttle


@attrs.frozen
class Vitals:
    """Where the probes look.

    ``now`` gives Unix seconds; ``status``, ``memory`` and ``draining`` answer at once.
    """

    metrics: Metrics
    registry: CollectorRegistry
    status: Callable[[], StoreStatus]
    memory: Callable[[], Memory]
    draining: Callable[[], bool]
    now: Callable[[], float]
    version: str
    instance_id: str

    def facts(self) -> health.Facts:
        """Read everything, at one moment."""
        now = self.now()
        return health.Facts(
            store=self.status(),
            memory=self.memory(),
            connections=self.metrics.active_connections,
            max_connections=int(self.metrics.limits["max_total_connections"]),
            draining=self.draining(),
            now_ms=int(now * 1000),
            uptime_s=max(0.0, now - self.metrics.started),
            version=self.version,
            instance_id=self.instance_id,
        )

    def connect_metrics(self) -> None:
        """Let a scrape read memory, the store's state and the checks from here."""

        def read() -> tuple[float, float]:
            found = self.memory()
            self.metrics.redis_ready = int(self.status().ready)
            return found.used, found.limit

        self.metrics.read_memory = read
        self.metrics.read_checks = lambda: health.levels(self.facts())


class Probe(Endpoint):
    """An endpoint that looks at the vitals."""

    def __init__(self, desk: Desk, vitals: Vitals) -> None:
        super().__init__(attrs.evolve(desk, log_requests=False))
        self.vitals = vitals


class FailureLog:
    """Says which checks of /health fail: when one begins to, each minute of it, when it ends.

    Probes come every few seconds, from several sides; a line for each would drown the log.
    """

    _log = Logger()

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failing: set[str] = set()
        self._throttle = Throttle(60.0)

    def heard(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        """Take note of the checks as /health shows them."""
        for name, check in checks.items():
            fails = check["status"] == "fail"
            if not fails and name in self._failing:
                self._failing.discard(name)
                self._log.info(
                    "the health check of {check} passes again", event="health_check", check=name
                )
            elif fails and self._is_due(name):
                self._log.warn(
                    "the health check of {check} fails: {reason}",
                    event="health_check",
                    check=name,
                    reason=check["message"],
                )

    def _is_due(self, name: str) -> bool:
        if name not in self._failing:
            self._failing.add(name)
            self._throttle = Throttle(60.0)
        return self._throttle.admit(name, self._now()) is not None


class Health(Probe):
    """The detailed state, for people and alerts."""

    route = "/health"

    def __init__(self, desk: Desk, vitals: Vitals, failures: FailureLog | None = None) -> None:
        super().__init__(desk, vitals)
        self._failures = failures

    async def answer(self, request: Request) -> Answer:
        """Return 200, or 503 if unhealthy."""
        status, body = health.health(self.vitals.facts())
        if self._failures is not None:
            self._failures.heard(body["checks"])
        return as_json(status, body)


class Ready(Probe):
    """Whether a load balancer should send new clients."""

    route = "/ready"

    async def answer(self, request: Request) -> Answer:
        """Return 200, or 503 without a store or while draining."""
        return as_json(*health.ready(self.vitals.facts()))


class Live(Probe):
    """Whether the process answers; for what would restart it."""

    route = "/live"

    async def answer(self, request: Request) -> Answer:
        """Return 200."""
        return as_json(*health.live(int(self.vitals.now() * 1000)))


class Healthz(Probe):
    """The old service's shortest probe."""

    route = "/healthz"

    async def answer(self, request: Request) -> Answer:
        """Return 200."""
        return as_json(200, {"ok": True})


class MetricsPage(Probe):
    """Prometheus text, or JSON for whoever asks for JSON by name."""

    route = "/metrics"

    async def answer(self, request: Request) -> Answer:
        """Return the series."""
        vary = {"Vary": "Accept"}
        if wants_json((request.getHeader(b"accept") or b"").decode("latin-1")):
            now_ms = int(self.vitals.now() * 1000)
            return as_json(200, exposition_json(self.vitals.registry, now_ms), vary)
        return Answer(200, exposition_text(self.vitals.registry), TEXT_CONTENT_TYPE, vary)


def wants_json(accept: str) -> bool:
    """Tell whether ``accept`` (RFC 9110 section 12.5.1) names JSON, no less than plain text."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        weights[kind] = max(weight, weights.get(kind, 0.0))
    wanted = weights.get("application/json", 0.0)
    return wanted > 0 and wanted >= weights.get("text/plain", 0.0)


def configured_limits(*slices: attrs.AttrsInstance) -> dict[str, float]:
    """Return the numbers among the settings' ``slices`` as gauges: ``_ms`` becomes seconds."""
    found: dict[str, float] = {}
    for part in slices:
        for name, value in attrs.asdict(part, recurse=False).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if name.endswith("_ms"):
                found[name.removesuffix("_ms") + "_seconds"] = value / 1000
            else:
                found[name] = value
    return found


class ProbeSwitches(Protocol):
    """Which of the probes are served; /live and /healthz always are."""

    @property
    def health_endpoint(self) -> bool: ...
    @property
    def readiness_endpoint(self) -> bool: ...
    @property
    def metrics_endpoint(self) -> bool: ...


class Probes:
    """The probes that are switched on, for any number of sites."""

    def __init__(
        self, desk: Desk, vitals: Vitals, switches: ProbeSwitches, log_failures: bool
    ) -> None:
        self._desk = desk
        self._vitals = vitals
        self._switches = switches
        self._failures = FailureLog(vitals.now) if log_failures else None
        vitals.connect_metrics()

    def add(self, root: Resource, details: bool) -> None:
        """Put them under ``root``; /health and /metrics only with ``details``."""
        desk, vitals, switches = self._desk, self._vitals, self._switches
        root.putChild(b"live", Live(desk, vitals))
        root.putChild(b"healthz", Healthz(desk, vitals))
        if switches.readiness_endpoint:
            root.putChild(b"ready", Ready(desk, vitals))
        if details and switches.health_endpoint:
            root.putChild(b"health", Health(desk, vitals, self._failures))
        if details and switches.metrics_endpoint:
            root.putChild(b"metrics", MetricsPage(desk, vitals))
