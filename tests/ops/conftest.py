"""What tests with the real programs share: proxies, supervisors, Prometheus, containers.

Nothing here skips. A program that is missing fails the test with a line that names its package;
``make test-ops`` installs them all, as root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import (  # noqa: F401 - fixtures that tests here ask for, too
    new_cluster,
    people,
    poll,
    start_relay,
    wire,
)

ROOT = Path(__file__).resolve().parents[2]
ETC = ROOT / "etc"
#: Where ``make test-ops`` puts what does not come from the system's packages.
TOOLS = ROOT / "build/ops"
PLACES = os.pathsep.join(
    (
        str(Path(sys.executable).parent),
        str(TOOLS / "node_modules/.bin"),
        os.environ["PATH"],
        "/usr/sbin",
    )
)


def find_program(name: str, source: str) -> str:
    """The program's path. Fails the test where it is missing."""
    found = shutil.which(name, path=PLACES)
    if found is None:
        pytest.fail(f"{name} is missing: it comes with {source}; `make test-ops` installs it")
    return found


class Program:
    """A program in a process group of its own, with its output in a file."""

    def __init__(self, output: Path, *command: object, **options: Any) -> None:
        self._output = output
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                **options,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def check_running(self) -> None:
        assert self.process.poll() is None, self.output

    def stop(self) -> None:
        """End it and what it started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs, which end with the test."""
    started: list[Program] = []

    def start(*command: object, **options: Any) -> Program:
        started.append(Program(tmp_path / f"output-{len(started)}", *command, **options))
        return started[-1]

    yield start
    for program in reversed(started):
        program.stop()


class Ops:
    """The names above, for tests: with importlib mode a test cannot import them."""

    root, etc, tools, places = ROOT, ETC, TOOLS, PLACES
    find = staticmethod(find_program)
    poll = staticmethod(poll)


@pytest.fixture(scope="session")
def ops() -> type[Ops]:
    return Ops
