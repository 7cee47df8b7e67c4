"""What Redis' answers say: whether a relay can rely on it."""

from __future__ import annotations

import re
from statistics import median

from twisted_relay.doctor.clock import judge_clock
from twisted_relay.doctor.findings import (
    REDIS,
    REDIS_CONF,
    SLOW,
    Finding,
    fail,
    milliseconds,
    ok,
    share,
    skipped,
    warn,
)
from twisted_relay.doctor.redis import RedisFacts

NORMAL_SECONDS, SLOW_SECONDS = 0.010, 0.100
MEMORY_WARN, MEMORY_FAIL = 0.80, 0.95
_PUBSUB_LEAST = 1024 * 1024

NAMES = (
    *("redis", "redis-role", "redis-version", "redis-policy", "redis-memory"),
    *("redis-persistence", "redis-buffers", "redis-latency", "redis-clock"),
)
_CURES = {
    "connect": (
        "See whether Redis runs and listens there (redis-cli -u with the URL, ping), and whether"
        " REDIS_URL is right: host, port, and rediss:// where it speaks TLS. Without it rooms go on"
        " where their members are on one instance; nobody can create or join."
    ),
    "TLS": (
        "rediss:// is for a port where Redis speaks TLS, with a certificate for the host of"
        " REDIS_URL from an authority that the system, or SSL_CERT_FILE, trusts. No password was"
        " sent."
    ),
    "WRONGPASS": "Correct user and password in REDIS_URL; @ : / ? # % in them are %-coded.",
    "NOAUTH": "Redis wants a password: put it into REDIS_URL as redis://:PASSWORD@HOST:PORT/0.",
    "NOPERM": "Give the relay's user the ACL line that the documentation has.",
    "LOADING": "Redis still loads its data; wait, and see that save and appendonly are off.",
}


def judge_redis(facts: RedisFacts) -> list[Finding]:
    """Everything about it; one failure, and the rest skipped, where it cannot be asked."""
    if facts.fault:
        return [_fault(facts), *(skipped(name, "Redis could not be asked") for name in NAMES[1:])]
    return [
        ok("redis", "Redis of REDIS_URL answers"),
        _role(facts),
        _version(facts.info),
        _policy(facts),
        _memory(facts),
        _persistence(facts),
        _buffers(facts.configured.get("client-output-buffer-limit")),
        _latency(facts.pings),
        _clock(facts),
    ]


def _fault(facts: RedisFacts) -> Finding:
    code = f" ({facts.code})" if facts.code else ""
    tls = facts.fault.startswith("TLS fails")
    place = "is not reached" if tls or facts.step == "connect" else "lets nobody in"
    key = "TLS" if tls else "connect" if facts.step == "connect" else facts.code
    cure = _CURES.get(key, _CURES["connect"])
    if facts.code == "ERR":
        cure = "See that the database number in REDIS_URL exists, and that a password is wanted."
    return fail("redis", f"Redis of REDIS_URL {place}: {facts.fault}{code}", cure, REDIS)


def _role(facts: RedisFacts) -> Finding:
    name = "redis-role"
    if facts.info.get("cluster_enabled") == "1":
        cure = "Use one server, or a master that a name or a proxy leads to."
        seen = "it is a node of a Redis Cluster, whose protocol the relay does not speak"
        return fail(name, seen, cure, REDIS_CONF)
    role = facts.role or facts.info.get("role", "")
    if not role:
        return skipped(name, "this user may not ask for its role")
    if role == "master":
        return ok(name, "it is a master")
    cure = "Let REDIS_URL lead to the master: a replica is refused, for it takes no writes."
    return fail(name, f"it is a {role[:20]}", cure, REDIS)


def _version(info: dict[str, str]) -> Finding:
    name = "redis-version"
    kind = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = info.get("valkey_version" if kind == "Valkey" else "redis_version", "")
    major = re.match(r"\d+", version)
    if major is None:
        return skipped(name, "this user may not ask for its version")
    if kind == "Redis" and int(major[0]) < 7:
        cure = "Use Redis 7 or newer, or Valkey: the relay's scripts are tested with those."
        return fail(name, f"Redis {version[:20]}", cure, REDIS_CONF)
    return ok(name, f"{kind} {version[:20]}")


def _policy(facts: RedisFacts) -> Finding:
    name = "redis-policy"
    policy = facts.configured.get("maxmemory-policy") or facts.info.get("maxmemory_policy", "")
    evicted = _number(facts.info.get("evicted_keys"))
    if not policy:
        return skipped(name, "this user may not ask for maxmemory-policy")
    if policy == "noeviction":
        return ok(name, "maxmemory-policy is noeviction")
    seen = f"maxmemory-policy is {policy[:30]}"
    seen += (
        f", and {evicted:.0f} keys were dropped for want of memory"
        if evicted
        else ": when memory is full, keys in use are dropped"
    )
    cure = (
        "maxmemory-policy noeviction. Otherwise empty rooms may go, tokens be refused as spent"
        " that are not, and an older nextToken serve once more; rooms with members are written"
        " again."
    )
    return warn(name, seen, cure, REDIS_CONF)


def _memory(facts: RedisFacts) -> Finding:
    name = "redis-memory"
    most = facts.configured.get("maxmemory") or facts.info.get("maxmemory")
    used = _number(facts.info.get("used_memory"))
    if most is None:
        return skipped(name, "this user may not ask for maxmemory")
    limit = _number(most)
    if limit == 0:
        cure = "Set maxmemory (256mb is enough for most), so that Redis cannot take the machine's."
        return warn(name, "maxmemory is 0: there is no limit", cure, REDIS_CONF)
    size = f"{limit / 2**20:.0f} MB"
    if used == 0:
        return ok(name, f"maxmemory is {size}")
    seen = f"{used / 2**20:.0f} MB in use, {share(used, limit)} of maxmemory ({size})"
    cure = "Raise maxmemory; see who else writes there: the relay's keys begin with tr1:."
    if used >= limit * MEMORY_FAIL:
        return fail(name, seen, cure, REDIS)
    if used >= limit * MEMORY_WARN:
        return warn(name, seen, cure, REDIS)
    return ok(name, seen)


def _persistence(facts: RedisFacts) -> Finding:
    name = "redis-persistence"
    save, append = facts.configured.get("save"), facts.configured.get("appendonly")
    if save is None or append is None:
        return skipped(name, "this user may not ask for save and appendonly")
    if facts.info.get("rdb_last_bgsave_status") == "err" and save:
        cure = 'Set save "": nothing of the relay has to be kept; or free the disk.'
        return fail(name, "the last save to disk failed, so that writes are refused", cure, REDIS)
    if save or append == "yes":
        return ok(name, "it writes to disk, which the relay does not need (save, appendonly)")
    return ok(name, "nothing is written to disk")


def _buffers(limits: str | None) -> Finding:
    name = "redis-buffers"
    found = re.search(r"\bpubsub (\d+) (\d+) (\d+)", limits or "")
    if found is None:
        return skipped(name, "this user may not ask for client-output-buffer-limit")
    hard, soft, seconds = map(int, found.groups())
    seen = f"client-output-buffer-limit pubsub {hard} {soft} {seconds}"
    cure = "client-output-buffer-limit pubsub 32mb 8mb 60, Redis' own default."
    if hard == 0 and soft == 0:
        return warn(name, f"{seen}: an instance that stalls fills Redis' memory", cure, REDIS_CONF)
    if min(size for size in (hard, soft) if size) < _PUBSUB_LEAST:
        seen += ": a short stall already costs an instance its connection, and members a GAP"
        return warn(name, seen, cure, REDIS_CONF)
    return ok(name, seen)


def _latency(pings: tuple[float, ...]) -> Finding:
    name = "redis-latency"
    middle = median(pings)
    seen = f"{milliseconds(middle)} for a ping, {milliseconds(max(pings))} at most of {len(pings)}"
    cure = (
        "Look at Redis' load (redis-cli --latency, slowlog get 10), at who else uses it, and at"
        " the network between."
    )
    if middle > SLOW_SECONDS:
        return fail(name, f"{seen}; under 10 ms is normal", cure, SLOW)
    if middle > NORMAL_SECONDS:
        return warn(name, f"{seen}; under 10 ms is normal", cure, SLOW)
    return ok(name, seen)


def _clock(facts: RedisFacts) -> Finding:
    if facts.ahead is None:
        return skipped("redis-clock", "this user may not ask for the time")
    return judge_clock("redis-clock", "Redis' clock", facts.ahead[0], facts.ahead[1])


def _number(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0
