"""The limit that memory is measured against, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_relay.shell.memory import memory_reader


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal:  2048 kB\n", "proc/self/statm": "900 100 5\n"}
CASES = [
    ({}, 2048 * 1024, "machine"),
    (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000\n"},
        1000000,
        "cgroup",
    ),
    (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"},
        2048 * 1024,
        "machine",
    ),
    (
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/memory.max": "500000\n",
            "sys/fs/cgroup/a/b/memory.max": "900000\n",
        },
        500000,
        "cgroup",
    ),
    (
        {
            "proc/self/cgroup": "5:cpu,memory:/docker/x\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "700000\n",
        },
        700000,
        "cgroup",
    ),
    (
        {
            "proc/self/cgroup": "5:memory:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
        2048 * 1024,
        "machine",
    ),
]


@pytest.mark.parametrize(("files", "limit", "source"), CASES)
def test_limit(tmp_path: Path, files: dict[str, str], limit: int, source: str) -> None:
    found = memory_reader(None, tree(tmp_path, MACHINE | files))()
    assert (found.limit, found.source) == (limit, source)
    assert found.used > 0


def test_memory_limit_mb_wins(tmp_path: Path) -> None:
    found = memory_reader(3, tree(tmp_path, MACHINE))()
    assert (found.limit, found.source) == (3 * 2**20, "MEMORY_LIMIT_MB")


def test_elsewhere_than_on_linux(tmp_path: Path) -> None:
    found = memory_reader(None, tmp_path)()
    assert found.limit == 0
    assert found.used > 0


def test_here() -> None:
    found = memory_reader()()
    assert found.used > 2**20
