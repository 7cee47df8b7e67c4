"""What /metrics says: how near the edge the relay is, and what goes wrong."""

from __future__ import annotations

import math

from twisted_relay.doctor.counts import Counts, Series, known, labelled, span
from twisted_relay.doctor.findings import (
    DROPS,
    INSTANCES,
    MEMORY,
    REDIS,
    REJECTIONS,
    SLOW,
    Finding,
    fail,
    ok,
    share,
    skipped,
    warn,
)

MEMORY_WARN, MEMORY_FAIL = 0.80, 0.95
CONNECTIONS_WARN = 0.90
REJECTED_WARN = 0.10
ERRORS_WARN, ERRORS_FAIL = 0.01, 0.05
CUT_WARN = 0.05
LAG_WARN, LAG_FAIL = 0.1, 1.0

NAMES = (
    *("metrics", "memory", "connections", "rejections", "errors", "unhandled-errors"),
    *("slow-consumers", "rate-limits", "event-loop", "redis-seen", "bus"),
)
_NOT_COUNTED = "the relay does not count them"


def judge_load(counts: Counts | str) -> list[Finding]:
    """All that /metrics tells; or why it tells nothing."""
    if isinstance(counts, str):
        return [skipped(name, counts) for name in NAMES]
    series = counts.latest
    since = span(series.get("uptime_seconds", math.nan))
    asked = f"what happens {counts.lately} is judged" if counts.recent is not None else counts.why
    return [
        ok("metrics", f"{len(series)} series; the process has run for {since}; {asked}"),
        _memory(series),
        _connections(series),
        _rejections(counts),
        _errors(counts),
        _unhandled(counts),
        _cut(counts, "slow-consumers", "slow_consumer"),
        _cut(counts, "rate-limits", "rate_limit"),
        _lag(counts),
        _redis(counts),
        _bus(counts),
    ]


def _memory(series: Series) -> Finding:
    name = "memory"
    used = series.get("memory_used_bytes", math.nan)
    limit = series.get("memory_limit_bytes", math.nan)
    if not known(used, limit) or limit <= 0:
        return skipped(name, "the relay knows of no limit for its memory")
    seen = f"{used / 2**20:.0f} MB of {limit / 2**20:.0f} MB, {share(used, limit)}"
    cure = (
        "Compare with active_connections, with which it should grow and fall. Start another"
        " instance, give this one more memory, or lower SLOW_CONSUMER_BUFFER_THRESHOLD."
    )
    if used >= limit * MEMORY_FAIL:
        return fail(name, seen, cure, MEMORY)
    if used >= limit * MEMORY_WARN:
        return warn(name, seen, cure, MEMORY)
    return ok(name, seen)


def _connections(series: Series) -> Finding:
    name = "connections"
    active = series.get("active_connections", math.nan)
    limit = series.get("limit_max_total_connections", math.nan)
    if not known(active, limit) or limit <= 0:
        return skipped(name, "the relay does not tell its limit")
    seen = f"{active:.0f} of MAX_TOTAL_CONNECTIONS {limit:.0f}, {share(active, limit)}"
    cure = "Start another instance, or raise MAX_TOTAL_CONNECTIONS if memory and files allow."
    return (
        warn(name, seen, cure, REJECTIONS) if active >= limit * CONNECTIONS_WARN else ok(name, seen)
    )


_REASONS = {
    "ip_limit": "MAX_CONNS_PER_IP: behind a proxy check TRUST_PROXY, then raise it",
    "connect_rate": "MAX_CONNECTS_PER_IP_PER_MIN: behind a proxy check TRUST_PROXY, then raise it",
    "global_limit": "MAX_TOTAL_CONNECTIONS: start another instance, or raise it",
    "origin": "ALLOWED_ORIGINS: add the page's origin, if it is yours",
    "draining": "a load balancer that goes by /ready sends nobody to an instance that drains",
}


def _rejections(counts: Counts) -> Finding:
    name = "rejections"
    judged = counts.share(_rejected)
    if judged is None:
        return skipped(name, _NOT_COUNTED)
    by_reason = labelled(judged.series, "ws_connection_rejected")
    reasons = sorted((count, why) for why, count in by_reason.items() if count)
    told = ", ".join(f"{why} {count:.0f}" for count, why in reversed(reasons))
    seen = f"handshakes refused: {judged.seen}"
    if judged.value <= REJECTED_WARN:
        return ok(name, seen)
    cure = f"{_REASONS.get(reasons[-1][1], 'Look into the log')}."
    return warn(name, f"{seen}: {told}", cure, REJECTIONS)


def _rejected(series: Series) -> tuple[float, float]:
    rejected = sum(labelled(series, "ws_connection_rejected").values())
    return rejected, rejected + series.get("total_connections", math.nan)


def _errors(counts: Counts) -> Finding:
    """By the definition of the alerts: what the relay is to blame for, of what clients asked."""
    name = "errors"
    judged = counts.share(_wrong)
    if judged is None:
        return skipped(name, _NOT_COUNTED)
    seen = f"requests that failed: {judged.seen}"
    if judged.value <= ERRORS_WARN:
        return ok(name, seen)
    cure = (
        "ERR_UNAVAILABLE comes of Redis: see the checks redis and redis-seen. For the rest search"
        " the log for level error."
    )
    if judged.value > ERRORS_FAIL:
        return fail(name, seen, cure, REDIS)
    return warn(name, seen, cure, REDIS)


def _wrong(series: Series) -> tuple[float, float]:
    unhandled = sum(labelled(series, "unhandled_errors").values())
    unavailable = labelled(series, "errors_sent_total").get("ERR_UNAVAILABLE", 0.0)
    asked = sum(labelled(series, "ws_messages_received").values()) + sum(
        value
        for key, value in series.items()
        if key.startswith(('http_requests_total{route="/ws"', 'http_requests_total{route="/rooms'))
    )
    return unhandled + unavailable, asked


def _unhandled(counts: Counts) -> Finding:
    """Of the whole time: a bug that was met stays one, however seldom it shows."""
    name = "unhandled-errors"
    found = {
        path: count for path, count in labelled(counts.latest, "unhandled_errors").items() if count
    }
    if not found:
        return ok(name, f"none {counts.since}")
    told = ", ".join(f"{path} {count:.0f}" for path, count in found.items())
    if counts.recent is not None:
        lately = sum(labelled(counts.recent, "unhandled_errors").values())
        told += f"; {lately:.0f} of them {counts.lately}"
    cure = "Each is a bug: search the log for level error, and report it (SECURITY.md says how)."
    return warn(name, f"{counts.since}: {told}", cure, SLOW)


_CUT = {
    "slow-consumers": (
        "Clients on bad lines, or a proxy that buffers: let it not. Otherwise raise"
        " SLOW_CONSUMER_BUFFER_THRESHOLD, if memory allows."
    ),
    "rate-limits": (
        "A client that floods, or limits too low for yours: raise MAX_MSGS_PER_10S and"
        " MAX_BYTES_PER_10S."
    ),
}


def _cut(counts: Counts, name: str, reason: str) -> Finding:
    def tally(series: Series) -> tuple[float, float]:
        ends = labelled(series, "ws_disconnect_reasons_total")
        return ends.get(reason, math.nan), sum(ends.values())

    judged = counts.share(tally)
    if judged is None:
        return skipped(name, _NOT_COUNTED)
    seen = f"ended connections that were closed for that: {judged.seen}"
    return warn(name, seen, _CUT[name], DROPS) if judged.value > CUT_WARN else ok(name, seen)


def _lag(counts: Counts) -> Finding:
    name = "event-loop"
    late = counts.slowness("event_loop_lag_seconds", 0.99)
    if late is None:
        return skipped(name, "not enough was measured yet: run it again in a minute")
    seen = f"turns came late by {late.seen}"
    cure = (
        "The process has too much to do, or too little of its processor: compare with"
        " process_cpu_seconds_total; start another instance."
    )
    if late.value > LAG_FAIL:
        return fail(name, seen, cure, SLOW)
    if late.value > LAG_WARN:
        return warn(name, seen, cure, SLOW)
    return ok(name, seen)


def _redis(counts: Counts) -> Finding:
    """Redis as the relay sees it, which may be by another way than ours."""
    name, series = "redis-seen", counts.latest
    ready = series.get("redis_ready", math.nan)
    if series.get("redis_connects", 0.0) == 0 and ready == 1:
        return skipped(name, "the relay uses no Redis")
    if not known(ready):
        return skipped(name, "the relay does not tell")
    errors, tries = series.get("redis_errors", 0.0), series.get("redis_reconnect_attempts", 0.0)
    seen = f"{errors:.0f} errors and {tries:.0f} attempts to reconnect {counts.since}"
    late = counts.slowness("redis_latency_seconds", 0.95)
    if late is not None:
        seen += f"; round trips took {late.seen}"
    cure = "See whether Redis runs and can be reached from the relay's machine: redis-cli ping."
    if ready != 1:
        return fail(name, f"the relay cannot use Redis; {seen}", cure, REDIS)
    if late is not None and late.value > LAG_WARN:
        cure = "Look at Redis' load, and at the network between; under 10 ms is normal."
        return warn(name, seen, cure, SLOW)
    return ok(name, seen)


def _bus(counts: Counts) -> Finding:
    name = "bus"
    judged = counts.some(lambda series: series.get("bus_messages_refused_total", math.nan))
    if judged is None:
        return skipped(name, _NOT_COUNTED)
    seen = f"messages of other instances that were refused: {judged.seen}"
    if not judged.value:
        return ok(name, seen)
    cure = (
        "It is to stay 0 but while JOIN_TOKEN_SECRET changes: give all instances the same one, and"
        " relays that have nothing to do with each other two databases."
    )
    return warn(name, seen, cure, INSTANCES)
