"""The servers under test: how each is started, and that it is gone again."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.build import PEERS, compile_program
from benchmarks.harness.loads import CORKED, FASTIFY, FLOOR, OURS, SOCKETIO, Load
from benchmarks.harness.paths import BUILD, ROOT, CannotRun

SECRET = "made-up-for-the-benchmark-and-worth-nothing"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
TITLES = {
    OURS: "twisted-relay",
    FASTIFY: "Fastify + ws",
    SOCKETIO: "socket.io",
    FLOOR: "C floor",
    CORKED: "C floor, corked",
}
_TWISTD = "from twisted.scripts.twistd import run; run()"

# Every client comes from one address and says more than a person would.
LIMITS = {
    "HOST": "127.0.0.1",
    "JOIN_TOKEN_SECRET": SECRET,
    "ROOM_MAX_PARTICIPANTS": "100",
    "MAX_MSGS_PER_10S": "1000000",
    "MAX_BYTES_PER_10S": "1073741824",
    "MAX_CONNS_PER_IP": "1000000",
    "MAX_CONNECTS_PER_IP_PER_MIN": "1000000",
    "MAX_TOTAL_CONNECTIONS": "1000000",
    "MAX_ROOM_CREATES_PER_IP_PER_MIN": "1000000",
    "MAX_HTTP_PER_IP_PER_MIN": "1000000",
}


class NotStarted(Exception):
    """A server did not come up; the text is its own last line."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM for the loads over TLS."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the servers of all runs have in common.

    Attributes:
        core: the processor that servers are bound to.
        settings: further environment variables for the relay, such as a switch to compare.
        certificate: for loads over TLS.
    """

    core: int
    settings: Mapping[str, str] = field(default_factory=dict)
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A server's process and the port of 127.0.0.1 on which it answers."""

    process: subprocess.Popen[bytes]
    port: int


def free_port() -> int:
    """A port that the system gives to no outgoing connection: asking one of those before somebody
    listens can connect to itself."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def bound_to(core: int) -> Callable[[], None]:
    """To be called in a new process before its program: one processor, first in line there."""
    autogroup = Path("/proc/self/autogroup")

    def bind() -> None:
        os.setsid()
        os.sched_setaffinity(0, {core})
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, 0, -20)
            # Where sessions share the processor evenly, niceness counts only within one (sched(7)).
            if autogroup.exists():
                autogroup.write_text("-20", encoding="ascii")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return bind


def _command(server: str, port: int) -> list[str]:
    if server == OURS:
        return [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "relay"]
    if server in (FASTIFY, SOCKETIO):
        return [shutil.which("node") or "node", str(PEERS / f"{server}.js")]
    floor = [str(compile_program("floor")), "--port", str(port)]
    return [*floor, "--cork"] if server == CORKED else floor


def _environment(server: str, port: int, load: Load, fleet: Fleet, redis: int) -> dict[str, str]:
    environment = {"PATH": os.environ.get("PATH", ""), "PORT": str(port), **LIMITS}
    if load.redis and redis:
        environment["REDIS_URL"] = f"redis://127.0.0.1:{redis}/0"
    if load.tls:
        if fleet.certificate is None:
            raise CannotRun("a load over TLS needs a certificate")
        environment["TLS_CERT_FILE"] = str(fleet.certificate.cert)
        environment["TLS_KEY_FILE"] = str(fleet.certificate.key)
    if server == OURS:
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **fleet.settings}
    elif server in (FASTIFY, SOCKETIO):
        environment["NODE_ENV"] = "production"
    return environment


def wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until the port takes connections. Raises NotStarted."""
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise NotStarted(lines[-1][:200] if lines else "it said nothing")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End one process of our own, if need be by force."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def started(command: list[str], environment: dict[str, str], port: int, core: int, name: str
            ) -> Iterator[Running]:  # fmt: skip
    """A process bound to a processor, ended on the way out. Raises NotStarted."""
    log = BUILD / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=BUILD,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=bound_to(core),
        )
    try:
        wait_for(process, port, log)
        yield Running(process, port)
    finally:
        stop(process)


@contextlib.contextmanager
def servers_for(server: str, load: Load, fleet: Fleet, redis: int) -> Iterator[list[Running]]:
    """Fresh processes for one run, as many as the load has instances. Raises NotStarted."""
    with contextlib.ExitStack() as stack:
        running = []
        for instance in range(load.instances):
            port = free_port()
            environment = _environment(server, port, load, fleet, redis)
            name = f"{server}-{instance}"
            command = _command(server, port)
            running.append(
                stack.enter_context(started(command, environment, port, fleet.core, name))
            )
        yield running
