"""What /metrics says: how near the edge the relay is, and what went wrong since its start."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from twisted_relay.doctor.findings import (
    DROPS,
    INSTANCES,
    MEMORY,
    REDIS,
    REJECTIONS,
    SLOW,
    Finding,
    fail,
    milliseconds,
    ok,
    share,
    skipped,
    warn,
)
from twisted_relay.doctor.network import Answer, Unreachable

MEMORY_WARN, MEMORY_FAIL = 0.80, 0.95
CONNECTIONS_WARN = 0.90
REJECTED_WARN = 0.10
ERRORS_WARN, ERRORS_FAIL = 0.01, 0.05
CUT_WARN = 0.05
LAG_WARN, LAG_FAIL = 0.1, 1.0
FEW = 20
"""Of fewer events no share is taken."""

NAMES = (
    *("metrics", "memory", "connections", "rejections", "errors", "unhandled-errors"),
    *("slow-consumers", "rate-limits", "event-loop", "redis-seen", "bus"),
)
Series = Mapping[str, float]
_LABEL = re.compile(r'"([^"]*)"')


def read_series(reply: Answer | Unreachable) -> Series | str:
    """The series of /metrics in JSON, by name with labels; or why there are none."""
    if isinstance(reply, Unreachable):
        return f"/metrics: {reply}"
    found = reply.fields.get("metrics")
    if not isinstance(found, dict):
        if reply.status in (401, 403, 404):
            return f"/metrics: HTTP {reply.status}, it is not served here: give --ops-url"
        return f"/metrics: HTTP {reply.status}, and not a relay's answer"
    return {name: _value(each) for name, each in found.items()}


def _value(each: Any) -> float:
    value = each.get("value") if isinstance(each, dict) else None
    return float(value) if isinstance(value, int | float) else math.nan


def judge_load(series: Series | str) -> list[Finding]:
    """All that can be told of one scrape. Counters are since the start of the process."""
    if isinstance(series, str):
        return [skipped(name, series) for name in NAMES]
    since = _span(series.get("uptime_seconds", math.nan))
    return [
        ok("metrics", f"{len(series)} series; the process has run for {since}"),
        _memory(series),
        _connections(series),
        _rejections(series, since),
        _errors(series, since),
        _unhandled(series, since),
        _cut(series, since, "slow-consumers", "slow_consumer"),
        _cut(series, since, "rate-limits", "rate_limit"),
        _lag(series),
        _redis(series, since),
        _bus(series, since),
    ]


def labelled(series: Series, name: str) -> dict[str, float]:
    """The values of a series with one label, by that label."""
    found = {}
    for key, value in series.items():
        if key.startswith(f"{name}{{"):
            label = _LABEL.search(key)
            found[label[1] if label else ""] = value
    return found


def _span(seconds: float) -> str:
    if math.isnan(seconds):
        return "an unknown time"
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _known(*values: float) -> bool:
    return not any(math.isnan(value) for value in values)


def _memory(series: Series) -> Finding:
    name = "memory"
    used = series.get("memory_used_bytes", math.nan)
    limit = series.get("memory_limit_bytes", math.nan)
    if not _known(used, limit) or limit <= 0:
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
    if not _known(active, limit) or limit <= 0:
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


def _rejections(series: Series, since: str) -> Finding:
    name, by_reason = "rejections", labelled(series, "ws_connection_rejected")
    rejected, accepted = sum(by_reason.values()), series.get("total_connections", math.nan)
    if not _known(rejected, accepted):
        return skipped(name, "the relay does not count them")
    tried = rejected + accepted
    if rejected == 0:
        return ok(name, f"none of {tried:.0f} connections in {since}")
    reasons = sorted((count, why) for why, count in by_reason.items() if count)
    told = ", ".join(f"{why} {count:.0f}" for count, why in reversed(reasons))
    seen = f"{rejected:.0f} of {tried:.0f} ({share(rejected, tried)}) in {since}: {told}"
    if tried < FEW or rejected / tried <= REJECTED_WARN:
        return ok(name, seen)
    return warn(name, seen, f"{_REASONS.get(reasons[-1][1], 'Look into the log')}.", REJECTIONS)


def _errors(series: Series, since: str) -> Finding:
    """By the definition of the alerts: what the relay is to blame for, of what clients asked."""
    name = "errors"
    unhandled = sum(labelled(series, "unhandled_errors").values())
    unavailable = labelled(series, "errors_sent_total").get("ERR_UNAVAILABLE", 0.0)
    asked = sum(labelled(series, "ws_messages_received").values()) + sum(
        value
        for key, value in series.items()
        if key.startswith(('http_requests_total{route="/ws"', 'http_requests_total{route="/rooms'))
    )
    wrong = unhandled + unavailable
    if not _known(wrong, asked):
        return skipped(name, "the relay does not count them")
    seen = f"{wrong:.0f} of {asked:.0f} requests in {since}"
    if asked < FEW or wrong / asked <= ERRORS_WARN:
        return ok(name, seen)
    cure = (
        "ERR_UNAVAILABLE comes of Redis: see the checks redis and redis-seen. For the rest search"
        " the log for level error."
    )
    if wrong / asked > ERRORS_FAIL:
        return fail(name, seen, cure, REDIS)
    return warn(name, seen, cure, REDIS)


def _unhandled(series: Series, since: str) -> Finding:
    name = "unhandled-errors"
    found = {path: count for path, count in labelled(series, "unhandled_errors").items() if count}
    if not found:
        return ok(name, f"none in {since}")
    told = ", ".join(f"{path} {count:.0f}" for path, count in found.items())
    cure = "Each is a bug: search the log for level error, and report it (SECURITY.md says how)."
    return warn(name, f"in {since}: {told}", cure, SLOW)


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


def _cut(series: Series, since: str, name: str, reason: str) -> Finding:
    ends = labelled(series, "ws_disconnect_reasons_total")
    cut, whole = ends.get(reason, math.nan), sum(ends.values())
    if not _known(cut, whole):
        return skipped(name, "the relay does not count them")
    seen = f"{cut:.0f} of {whole:.0f} ended connections in {since} were closed for that"
    if whole < FEW or cut / whole <= CUT_WARN:
        return ok(name, seen)
    return warn(name, seen, _CUT[name], DROPS)


def quantile(series: Series, name: str, part: float) -> float:
    """The bound of a histogram under which this part of its events lies; NaN without events."""
    buckets = sorted(
        (float(bound.replace("+Inf", "inf")), count)
        for bound, count in labelled(series, f"{name}_bucket").items()
    )
    if not buckets or not buckets[-1][1] > 0:
        return math.nan
    return next(bound for bound, count in buckets if count >= buckets[-1][1] * part)


def _bound(seconds: float) -> str:
    return "more than was measured" if math.isinf(seconds) else f"{milliseconds(seconds)} at most"


def _lag(series: Series) -> Finding:
    name = "event-loop"
    late = quantile(series, "event_loop_lag_seconds", 0.99)
    if math.isnan(late) or series.get("event_loop_lag_seconds_count", 0.0) < FEW:
        return skipped(name, "not enough was measured yet: run it again in a minute")
    seen = f"99 % of turns came {_bound(late)} late"
    cure = (
        "The process has too much to do, or too little of its processor: compare with"
        " process_cpu_seconds_total; start another instance."
    )
    if late > LAG_FAIL:
        return fail(name, seen, cure, SLOW)
    if late > LAG_WARN:
        return warn(name, seen, cure, SLOW)
    return ok(name, seen)


def _redis(series: Series, since: str) -> Finding:
    """Redis as the relay sees it, which may be by another way than ours."""
    name = "redis-seen"
    ready = series.get("redis_ready", math.nan)
    if series.get("redis_connects", 0.0) == 0 and ready == 1:
        return skipped(name, "the relay uses no Redis")
    if not _known(ready):
        return skipped(name, "the relay does not tell")
    errors, tries = series.get("redis_errors", 0.0), series.get("redis_reconnect_attempts", 0.0)
    late = quantile(series, "redis_latency_seconds", 0.95)
    seen = f"{errors:.0f} errors and {tries:.0f} attempts to reconnect in {since}"
    if not math.isnan(late):
        seen += f"; 95 % of round trips took {_bound(late)}"
    cure = "See whether Redis runs and can be reached from the relay's machine: redis-cli ping."
    if ready != 1:
        return fail(name, f"the relay cannot use Redis; {seen}", cure, REDIS)
    if late > LAG_WARN and series.get("redis_latency_seconds_count", 0.0) >= FEW:
        cure = "Look at Redis' load, and at the network between; under 10 ms is normal."
        return warn(name, seen, cure, SLOW)
    return ok(name, seen)


def _bus(series: Series, since: str) -> Finding:
    name = "bus"
    refused = series.get("bus_messages_refused_total", math.nan)
    if not _known(refused):
        return skipped(name, "the relay does not count them")
    if refused == 0:
        return ok(name, f"no message of another instance was refused in {since}")
    seen = f"{refused:.0f} messages of other instances were refused in {since}"
    cure = (
        "It is to stay 0 but while JOIN_TOKEN_SECRET changes: give all instances the same one, and"
        " relays that have nothing to do with each other two databases."
    )
    return warn(name, seen, cure, INSTANCES)
