"""What a check found: a status, what was seen, the cure, and where the runbook tells more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

Status = Literal["ok", "warn", "fail", "skipped"]

_RUNBOOK = "docs/runbook.md"
REJECTIONS = f"{_RUNBOOK}#high-connection-rejections"
REDIS = f"{_RUNBOOK}#redis-connection-failures"
MEMORY = f"{_RUNBOOK}#high-memory"
DROPS = f"{_RUNBOOK}#connection-drops"
SLOW = f"{_RUNBOOK}#slow-performance"
_CONFIGURATION = "docs/configuration.md"
SETTINGS = _CONFIGURATION
TLS = f"{_CONFIGURATION}#tls"
PROXY = f"{_CONFIGURATION}#behind-a-proxy"
OPERATORS = f"{_CONFIGURATION}#an-endpoint-for-operators"
INSTANCES = f"{_CONFIGURATION}#several-instances-on-one-redis"
REDIS_CONF = f"{_CONFIGURATION}#in-redisconf"
SECRET = f"{_CONFIGURATION}#changing-the-secret"
INTERNET = "docs/open-internet.md#must"
MACHINE = "docs/open-internet.md#fit-to-your-machine"

CHAPTERS = (
    *(REJECTIONS, REDIS, MEMORY, DROPS, SLOW, SETTINGS, TLS, PROXY, OPERATORS, INSTANCES),
    *(REDIS_CONF, SECRET, INTERNET, MACHINE),
)
"""All that a finding may lead to: paths from the root of the project, with an anchor."""


@attrs.frozen
class Finding:
    """What one check found.

    Attributes:
        name: the check's, which stays the same from version to version.
        status: ``skipped`` is a check that could not be made, or has no object here.
        seen: what was seen, or why the check was skipped. Never a secret.
        cure: what to do; empty where nothing is to be done.
        chapter: one of `CHAPTERS`; empty with an empty cure.
    """

    name: str
    status: Status
    seen: str
    cure: str = ""
    chapter: str = ""


def ok(name: str, seen: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", seen)


def warn(name: str, seen: str, cure: str, chapter: str) -> Finding:
    """It works, and should be better."""
    return Finding(name, "warn", seen, cure, chapter)


def fail(name: str, seen: str, cure: str, chapter: str) -> Finding:
    """It does not work, or will not for long."""
    return Finding(name, "fail", seen, cure, chapter)


def skipped(name: str, why: str) -> Finding:
    """Nothing is known."""
    return Finding(name, "skipped", why)


def worst(findings: Iterable[Finding]) -> Status:
    """The status of the whole: ``fail`` before ``warn`` before ``ok``."""
    found = {finding.status for finding in findings}
    return "fail" if "fail" in found else "warn" if "warn" in found else "ok"


def share(part: float, whole: float) -> str:
    """A part of a whole, in percent."""
    return f"{part / whole * 100:.0f} %"


def milliseconds(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
