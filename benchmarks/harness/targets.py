"""What the relay set out to reach. Told, never asserted: a busy machine must not fail a build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.harness.loads import CORKED, FASTIFY, FLOOR, OURS
from benchmarks.harness.summary import Summary

Measure = Callable[[Summary], float | None]


@dataclass(frozen=True, slots=True)
class Target:
    """`measure` is to be at most `limit`, or at least, when `at_least`."""

    text: str
    measure: Measure
    limit: float
    unit: str = "×"
    at_least: bool = False

    def verdict(self, summary: Summary) -> tuple[float, bool] | None:
        """The value and whether it holds; None where it was not measured."""
        value = self.measure(summary)
        if value is None:
            return None
        return value, value >= self.limit if self.at_least else value <= self.limit


def ratio(load: str, other: str, name: str = "cpu_per_million") -> Measure:
    """Ours by theirs."""

    def measure(summary: Summary) -> float | None:
        ours, theirs = summary.value(load, OURS, name), summary.value(load, other, name)
        return ours / theirs if ours is not None and theirs else None

    return measure


def over_tls(load: str) -> Measure:
    """Ours over TLS by ours without, in CPU."""

    def measure(summary: Summary) -> float | None:
        secure = summary.value(f"{load}-tls", OURS, "cpu_per_million")
        plain = summary.value(load, OURS, "cpu_per_million")
        return secure / plain if secure is not None and plain else None

    return measure


def own(load: str, name: str) -> Measure:
    return lambda summary: summary.value(load, OURS, name)


def extra_us_per_message(summary: Summary) -> float | None:
    """Processor time of both instances for a message between them, beyond that of one within."""
    local = summary.value("two-local", OURS, "cpu_us_per_message")
    split = summary.value("two-split", OURS, "cpu_us_per_message")
    return split - local if local is not None and split is not None else None


TARGETS = (
    Target("R=10, 256 B, W=4: CPU, to the Fastify peer", ratio("r10-256-w4", FASTIFY), 1 / 5),
    Target("R=10, 256 B, W=4: CPU, to the corked floor", ratio("r10-256-w4", CORKED), 1.8),
    Target("R=10, 256 B, W=1: CPU, to the Fastify peer", ratio("r10-256-w1", FASTIFY), 1 / 1.7),
    Target("R=10, 256 B, W=1: CPU, to the floor", ratio("r10-256-w1", FLOOR), 1.4),
    Target("R=10, 4 KB, W=4: CPU, to the Fastify peer", ratio("r10-4096-w4", FASTIFY), 1 / 5),
    Target("R=10, 4 KB, W=4: CPU, to the corked floor", ratio("r10-4096-w4", CORKED), 1.6),
    Target("R=50, 256 B, W=8: CPU, to the Fastify peer", ratio("r50-256-w8", FASTIFY), 1 / 8),
    Target("20,000 deliveries/s: CPU, to the Fastify peer", ratio("rate", FASTIFY), 0.85),
    Target("20,000 deliveries/s: p99, to the Fastify peer", ratio("rate", FASTIFY, "p99_ms"), 0.25),
    Target("20,000 deliveries/s: p99", own("rate", "p99_ms"), 3.0, "ms"),
    Target("20,000 deliveries/s: CPU, to the floor", ratio("rate", FLOOR), 2.2),
    Target(
        "connect and join, with Redis: joins per CPU second, to the Fastify peer",
        ratio("join", FASTIFY, "joins_per_cpu_second"),
        1.5,
        at_least=True,
    ),
    Target("idle: memory for each connection", own("idle", "kib_per_connection"), 13.0, "KiB"),
    Target(
        "two instances, room split: extra CPU for each message, both together",
        extra_us_per_message,
        150.0,
        "µs",
    ),
    Target("R=10, 256 B, W=4: CPU over TLS, to that without", over_tls("r10-256-w4"), 2.4),
)
