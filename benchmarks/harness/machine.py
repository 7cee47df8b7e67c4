"""What the figures were measured on, and with."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.harness.build import PEERS, compiler
from benchmarks.harness.paths import ROOT, CannotRun
from benchmarks.harness.redis import redis_program
from twisted_relay import __version__

OUR_PACKAGES = ("Twisted", "autobahn", "msgspec", "hiredis", "txredisapi")
PEER_PACKAGES = ("fastify", "@fastify/websocket", "ws", "ioredis", "socket.io")


@dataclass(frozen=True, slots=True)
class Cores:
    """The processors that the servers, and the generator with Redis, are bound to."""

    server: int
    generator: int


def choose_cores() -> Cores:
    """The first two that this process may use. Raises CannotRun where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise CannotRun("two processors are needed: one for the server, one for the generator")
    return Cores(usable[0], usable[1])


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else ""


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _peer(name: str) -> str:
    described = PEERS / "node_modules" / name / "package.json"
    if not described.exists():
        return "absent"
    return str(json.loads(described.read_text(encoding="utf-8"))["version"])


def describe(cores: Cores) -> dict[str, str]:
    """What a reader needs to judge the figures, by name. No host name and no path."""
    memory = int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1024 / 1024
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    commit = _first_line("git", "rev-parse", "--short=12", "HEAD")
    redis = redis_program()
    nice = "niceness -20" if os.geteuid() == 0 else "usual priority (not root)"
    return {
        "processor": f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} of them visible",
        "memory": f"{memory:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load average before": load,
        "binding": f"servers on processor {cores.server}, generator and Redis on "
        f"{cores.generator}; {nice}",
        "relay": f"{__version__}{f' at {commit}' if commit else ''}",
        "Python": f"{platform.python_version()} with "
        + ", ".join(f"{name} {_package(name)}" for name in OUR_PACKAGES),
        "Node.js": f"{_first_line('node', '--version') or 'absent'} with "
        + ", ".join(f"{name} {_peer(name)}" for name in PEER_PACKAGES),
        "C compiler": _first_line(compiler(), "--version"),
        "Redis": " ".join(_first_line(str(redis), "--version").split()[:3]) if redis else "absent",
    }
