"""How many files the relay's process may open: each connection is one."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import attrs

from twisted_relay.doctor.counts import Series
from twisted_relay.doctor.findings import MACHINE, Finding, fail, ok, skipped, warn

NAME = "file-descriptors"
RESERVE = 200
"""Beside connections: listeners, Redis, logs, HTTP calls."""
OPEN_WARN = 0.90


@attrs.frozen
class OpenFiles:
    """``limit`` is infinite where there is none; ``open`` is None where it may not be seen."""

    limit: float
    open: int | None
    source: str


def of_series(series: Series | str) -> OpenFiles | None:
    """As the relay says it of itself."""
    if isinstance(series, str):
        return None
    limit, used = series.get("process_max_fds"), series.get("process_open_fds")
    if limit is None or math.isnan(limit):
        return None
    known = used is not None and not math.isnan(used)
    return OpenFiles(limit, int(used) if known and used is not None else None, "/metrics")


def of_process(pid: int, root: Path = Path("/")) -> OpenFiles | str:
    """As Linux says it (proc(5)); or why it does not."""
    folder = root / "proc" / str(pid)
    try:
        text = (folder / "limits").read_text()
    except OSError as error:
        return f"process {pid}: {error.strerror or type(error).__name__}"
    found = re.search(r"^Max open files\s+(\S+)", text, re.MULTILINE)
    if found is None:
        return f"process {pid}: its limits cannot be read"
    limit = math.inf if found[1] == "unlimited" else float(found[1])
    try:
        used = len(os.listdir(folder / "fd"))
    except OSError:
        used = None
    return OpenFiles(limit, used, f"process {pid}")


def find_listener(port: int, root: Path = Path("/")) -> int | None:
    """The process that listens on a TCP port of this machine, where we may see it."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (root / "proc/net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A" and fields[1].endswith(f":{port:04X}"):
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for folder in sorted((root / "proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            if any(os.readlink(link) in inodes for link in (folder / "fd").iterdir()):
                return int(folder.name)
        except OSError:
            continue
    return None


def judge_files(files: OpenFiles | str | None, connections: float) -> Finding:
    """Whether they are enough for MAX_TOTAL_CONNECTIONS ``connections``."""
    if files is None:
        return skipped(NAME, "the relay does not tell, and no process of it is seen: --pid")
    if isinstance(files, str):
        return skipped(NAME, files)
    needed = connections + RESERVE
    limit = "unlimited" if math.isinf(files.limit) else f"{files.limit:.0f}"
    seen = f"{limit} files may be open ({files.source})"
    if files.open is not None:
        seen += f", {files.open} are"
    cure = (
        f"LimitNOFILE={needed:.0f} or more in the systemd unit, ulimit -n, or nofile in compose;"
        " or lower MAX_TOTAL_CONNECTIONS."
    )
    if files.open is not None and files.open >= files.limit * OPEN_WARN:
        return fail(NAME, f"{seen}: the next connections will fail", cure, MACHINE)
    if files.limit < needed:
        seen += f"; MAX_TOTAL_CONNECTIONS {connections:.0f} and {RESERVE} more are needed"
        return warn(NAME, seen, cure, MACHINE)
    return ok(NAME, seen)
