"""Reads how much memory the process uses and may use, from Linux's /proc and cgroups.

Sources: proc(5); the kernel's cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

from twisted_relay.engine.health import Memory

# Version 1 says "no limit" by a number of pages that no machine has.
_NO_LIMIT = 2**60


def memory_reader(limit_mb: int | None = None, root: Path = Path("/")) -> Callable[[], Memory]:
    """Return a function that reads this process's memory against its limit.

    The limit is looked up once: MEMORY_LIMIT_MB where given, else the cgroup's, else the
    machine's. What is used is always this process's resident memory, so that a neighbour's does
    not make this one unhealthy.
    """
    if limit_mb:
        limit, source = limit_mb * 2**20, "MEMORY_LIMIT_MB"
    else:
        machine, cgroup = _machine(root), _cgroup(root)
        within = cgroup is not None and (not machine or cgroup < machine)
        limit, source = (cgroup or 0, "cgroup") if within else (machine, "machine")

    def read() -> Memory:
        return Memory(_resident(root), limit, source)

    return read


def _resident(root: Path) -> int:
    try:
        pages = int((root / "proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        # Elsewhere than on Linux: the peak, in KiB, is the nearest there is.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def _machine(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return 0
    return 0


def _cgroup(root: Path) -> int | None:
    """Return the tightest limit of the process's cgroup and those above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    found: list[int] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found += _limits_up(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            found += _limits_up(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
    return min(found, default=None)


def _limits_up(base: Path, path: str, name: str) -> list[int]:
    # Inside a container the path may be that of the host, which is not mounted: the base itself
    # then holds the container's limit.
    place = base / path.strip("/")
    found: list[int] = []
    for folder in (place, *place.parents):
        if not folder.is_relative_to(base):
            break
        try:
            value = int((folder / name).read_text())
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
        if value < _NO_LIMIT:
            found.append(value)
    return found
