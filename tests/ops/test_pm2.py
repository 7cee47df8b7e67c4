"""The runbook's PM2 commands, with the real PM2 and the shipped ecosystem file."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import SECRET, Answer, _free_port, http, samples

NAME = "e2ee-chat-server"


class Pm2:
    """A PM2 of its own, with a folder that looks like /opt/relay."""

    def __init__(self, ops: Any, folder: Path, redis_url: str) -> None:
        self._program = ops.find("pm2", "npm's pm2")
        self._file = ops.etc / "pm2/ecosystem.config.cjs"
        self.home = folder / "relay"
        (self.home / "bin").mkdir(parents=True)
        (self.home / "bin/twistd").symlink_to(ops.find("twistd", "this project's requirements"))
        self.port, self.own_port = _free_port(), _free_port()
        self._redis_url = redis_url
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PM2_HOME": str(folder / "pm2"),
            "PM2_DISCRETE_MODE": "true",
            "PYTHONPATH": str(ops.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RELAY_HOME": str(self.home),
            "RELAY_PORT": str(self.port),
            "RELAY_OWN_PORT": str(self.own_port),
        }
        self.configure()

    def configure(self, **settings: object) -> None:
        """Write the relay's .env, as an operator edits it."""
        chosen = {"REDIS_URL": self._redis_url, "JOIN_TOKEN_SECRET": SECRET} | settings
        lines = "".join(f"{name}={value}\n" for name, value in chosen.items())
        (self.home / ".env").write_text(lines)

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._program, *arguments],
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
            timeout=90,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        self("start", str(self._file))

    def instances(self) -> list[dict[str, Any]]:
        return [app for app in json.loads(self("jlist")) if app["name"] == NAME]

    def pids(self, status: str = "online") -> list[int]:
        return [app["pid"] for app in self.instances() if app["pm2_env"]["status"] == status]

    def http(self, path: str, port: int | None = None) -> Answer:
        return http(port or self.port, "GET", path)

    def figures(self, instance: int) -> dict[str, float]:
        return samples(self.http("/metrics", self.own_port + instance).body.decode())

    def listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@pytest.fixture
def pm2(ops: Any, tmp_path: Path, redis_server: Any) -> Iterator[Pm2]:
    made = Pm2(ops, tmp_path, redis_server.url)
    yield made
    made("kill")


class Visitors:
    """Ask again and again, each time on a new connection, until they are told to stop."""

    def __init__(self, pm2: Pm2) -> None:
        self.answered = self.refused = 0
        self._pm2 = pm2
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(0.02):
            try:
                assert self._pm2.http("/live").status == 200
                self.answered += 1
            except (OSError, IndexError):  # refused, or ended without an answer
                self.refused += 1

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(10)


def test_the_runbooks_commands(pm2: Pm2, ops: Any) -> None:
    pm2.start()
    first = pm2.pids()
    assert len(first) == 2
    # They share the port, and each has figures of its own.
    assert pm2.http("/health").json["status"] == "healthy"
    assert pm2.figures(0)["limit_max_conns_per_ip"] == 50
    assert pm2.figures(1)["uptime_seconds"] > 0

    logs = pm2("logs", NAME, "--nostream", "--lines", "100")
    assert logs.count('"event":"listening"') == 4  # each on the shared port and on its own
    assert "listening" not in pm2("logs", NAME, "--err", "--nostream")
    assert "listening" in pm2("logs", NAME, "--nostream")
    raw = pm2("logs", NAME, "--nostream", "--raw", "--lines", "10000").splitlines()
    lines = [json.loads(line) for line in raw if line.startswith("{")]
    assert [line["event"] for line in lines].count("listening") == 4
    assert NAME in pm2("show", NAME)
    assert NAME in pm2("list")

    # Edit .env, tell the processes: nobody is disconnected, and the new values hold.
    pm2.configure(MAX_CONNS_PER_IP=66)
    pm2("sendSignal", "SIGHUP", NAME)
    ops.poll(
        lambda: [pm2.figures(i)["limit_max_conns_per_ip"] for i in (0, 1)] == [66, 66],
        "the new limit",
    )
    assert pm2.pids() == first

    # Edit .env, reload: no downtime, and the new values hold.
    pm2.configure(MAX_CONNS_PER_IP=77)
    visitors = Visitors(pm2)
    pm2("reload", NAME)
    visitors.stop()
    assert visitors.answered > 20
    # What is queued at a listener that closes is lost, if rarely: SO_REUSEPORT's own limit.
    assert visitors.refused <= 1
    second = pm2.pids()
    assert len(second) == 2
    assert not set(first) & set(second)
    assert [pm2.figures(i)["limit_max_conns_per_ip"] for i in (0, 1)] == [77, 77]
    pm2("reload", NAME, "--update-env")

    pm2("scale", NAME, "3")
    ops.poll(lambda: len(pm2.pids()) == 3, "three instances", 20)
    assert pm2.figures(2)["uptime_seconds"] > 0
    pm2("scale", NAME, "2")
    ops.poll(lambda: len(pm2.pids()) == 2, "two instances", 20)
    most = os.cpu_count() or 1
    if most != 2:  # PM2 calls it an error to be asked for what is so already
        pm2("scale", NAME, "max")
        ops.poll(lambda: len(pm2.pids()) == most, "an instance for each processor", 60)

    before = pm2.pids()
    pm2("restart", NAME)
    pm2("restart", "all")
    after = pm2.pids()
    assert len(after) == len(before)
    assert not set(before) & set(after)
    ops.poll(lambda: pm2.listens() and pm2.http("/ready").status == 200, "readiness", 20)

    # After an emergency stop nobody listens.
    pm2("stop", NAME)
    assert pm2.pids() == []
    assert not pm2.listens()
    for pid in after:
        assert not Path(f"/proc/{pid}").exists()

    # And nothing of it is left for PM2 to start again.
    pm2("delete", NAME)
    pm2("save")
    assert pm2.instances() == []
