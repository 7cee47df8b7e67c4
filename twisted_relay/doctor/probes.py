"""What /live, /ready and /health say, and who says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted_relay.doctor.findings import (
    DROPS,
    INSTANCES,
    MEMORY,
    REDIS,
    REJECTIONS,
    Finding,
    fail,
    milliseconds,
    ok,
    skipped,
    warn,
)
from twisted_relay.doctor.network import SILENT, Answer, Unreachable
from twisted_relay.doctor.target import shown_url

Reply = Answer | Unreachable
"""What came of an HTTP call."""

_RUNNING = (
    "See whether the relay runs and listens there (systemctl status, pm2 list, docker compose ps),"
    " and whether URL, port and firewall are right; its last log line tells why it ended."
)
_NOT_A_RELAY = (
    "Something else answers there: correct the URL, or let the proxy pass this path on to the"
    " relay, unchanged."
)


_CERTIFICATE = (
    "The relay asks clients for a certificate (TLS_CLIENT_CA_FILE): give one by --client-cert."
)


_HANGS = (
    "Ask each instance by its own port: curl -m 5 http://127.0.0.1:3001/live. One that says nothing"
    " hangs or is stopped: restart it (SIGKILL, if it takes no SIGTERM)."
)
_SILENT = (
    "Something there takes connections and says nothing: a relay that hangs, or a proxy that waits"
    f" for one. {_HANGS} Where all of them answer, it is the proxy: look into its log, and at the"
    " address and port that it sends to."
)
_GATEWAY = (
    "The proxy's part: whether it sends to the instances' addresses and ports, and for how long it"
    f" waits; its log tells. The instance's part: {_HANGS[0].lower()}{_HANGS[1:]}"
)
GATEWAY_CURES = {
    502: _GATEWAY,
    503: "The proxy reaches no relay that is ready: look at its servers, then at their /ready.",
    504: _GATEWAY,
}
"""By the status that a proxy answers with where it gets nothing from the relay."""


def unreached(name: str, path: str, fault: Unreachable) -> Finding:
    """Nothing answers there."""
    cure = _SILENT if str(fault) == SILENT else _RUNNING
    if "certificate required" in str(fault):
        cure = _CERTIFICATE
    return fail(name, f"{path}: {fault}", cure, DROPS)


def judge_live(reply: Reply) -> Finding:
    """Whether a relay answers at all."""
    name = "live"
    if isinstance(reply, Unreachable):
        return unreached(name, "/live", reply)
    if reply.status == 200 and reply.fields.get("alive") is True:
        return ok(name, f"/live answers in {milliseconds(reply.came - reply.sent)}")
    if 300 <= reply.status < 400:
        cure = "Run this again with the URL that it leads to; clients follow no redirects either."
        leads = shown_url(reply.headers.get("location", ""))
        return fail(name, f"/live: HTTP {reply.status}, a redirect to {leads}", cure, DROPS)
    if reply.status in GATEWAY_CURES:
        seen = f"/live: HTTP {reply.status} from a proxy"
        return fail(name, seen, GATEWAY_CURES[reply.status], DROPS)
    return fail(name, f"/live: HTTP {reply.status}, and not a relay's answer", _NOT_A_RELAY, DROPS)


def judge_ready(reply: Reply) -> Finding:
    """Whether new clients are welcome."""
    name = "ready"
    if isinstance(reply, Unreachable):
        return skipped(name, f"/ready: {reply}")
    fields = reply.fields
    checks = fields.get("checks")
    if not isinstance(fields.get("ready"), bool) or not isinstance(checks, dict):
        if reply.status in (403, 404):
            return skipped(name, f"/ready: HTTP {reply.status}, it is not served here")
        cure = GATEWAY_CURES.get(reply.status, _NOT_A_RELAY)
        return fail(name, f"/ready: HTTP {reply.status}, and not a relay's answer", cure, DROPS)
    if fields["ready"]:
        return ok(name, "new clients are welcome")
    if checks.get("redis") is False:
        cure = "Find out why the relay does not reach Redis: its address, its state, its password."
        return fail(name, "not ready: the relay cannot use Redis", cure, REDIS)
    cure = "Wait for the end of the drain. If nobody restarts it, look into its log for SIGTERM."
    return warn(
        name, "not ready: this instance drains and sends its clients elsewhere", cure, DROPS
    )


_CURES = {
    "redis": (
        "Under 10 ms is normal. See whether Redis runs and can be reached: redis-cli ping.",
        REDIS,
    ),
    "memory": (
        "Restart the instance, or give it more memory, before the system ends it; compare with"
        " active_connections, with which it should grow and fall.",
        MEMORY,
    ),
    "connections": (
        "Start another instance, or raise MAX_TOTAL_CONNECTIONS if memory and files allow.",
        REJECTIONS,
    ),
}
NAMES = tuple(f"health-{check}" for check in _CURES)


def judge_health(reply: Reply) -> list[Finding]:
    """The checks that the relay makes of itself."""
    if isinstance(reply, Unreachable):
        return [skipped(name, f"/health: {reply}") for name in NAMES]
    checks = reply.fields.get("checks")
    if not isinstance(checks, dict):
        return [skipped(name, _not_served(reply)) for name in NAMES]
    return [_check(check, checks.get(check)) for check in _CURES]


def _not_served(reply: Answer) -> str:
    if reply.status in (401, 403, 404):
        return f"/health: HTTP {reply.status}, it is not served here: give --ops-url"
    return f"/health: HTTP {reply.status}, and not a relay's answer"


def _check(check: str, said: Any) -> Finding:
    name = f"health-{check}"
    if not isinstance(said, dict):
        return skipped(name, "/health does not speak of it")
    cure, chapter = _CURES[check]
    value, unit = said.get("observedValue"), str(said.get("observedUnit", ""))
    shown = f" ({value} {unit})" if value and unit in ("ms", "percent") else ""
    seen = f"{str(said.get('message', ''))[:200]}{shown}"
    if said.get("status") == "fail":
        return fail(name, seen, cure, chapter)
    if said.get("status") == "warn":
        return warn(name, seen, cure, chapter)
    return ok(name, seen)


def judge_instances(replies: Sequence[Reply]) -> Finding:
    """Who answered, in several calls."""
    name = "instance"
    told = [
        (str(reply.fields["instanceId"])[:60], str(reply.fields.get("version"))[:60])
        for reply in replies
        if isinstance(reply, Answer) and "instanceId" in reply.fields
    ]
    if not told:
        first = replies[0]
        return skipped(
            name, f"/health: {first}" if isinstance(first, Unreachable) else _not_served(first)
        )
    names, versions = sorted({who for who, _ in told}), sorted({what for _, what in told})
    if len(versions) > 1:
        cure = "Finish the rollout: instances of different versions are meant for minutes only."
        return warn(name, f"versions {', '.join(versions)} answer side by side", cure, INSTANCES)
    return ok(name, f"{', '.join(names)}, version {versions[0]}")
