"""What the doctor's tests share: the command in a process, and what may stand before a relay."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet import reactor

from tests.system.conftest import (  # noqa: F401 - fixtures that tests here ask for, too
    _common,
    poll,
    relay,
    start_relay,
    wire,
)
from twisted_relay.doctor.command import arguments, order_of
from twisted_relay.doctor.deployment import read_deployment
from twisted_relay.doctor.examination import Examination
from twisted_relay.doctor.report import as_json, exit_code

ROOT = Path(__file__).resolve().parents[2]
#: Everything ends within so many seconds, whatever hangs.
PROMISED = 15.0
#: Seconds between the two looks at what is counted, where a test has none of its own.
WATCH = 0.2


class Diagnosis:
    """What the doctor said."""

    def __init__(self, code: int, out: str) -> None:
        self.code, self.out = code, out

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def checks(self) -> dict[str, dict[str, str]]:
        return {check["name"]: check for check in self.json["checks"]}

    def status(self, name: str) -> str:
        return self.checks[name]["status"]

    def seen(self, name: str) -> str:
        return self.checks[name]["seen"]

    def bad(self) -> dict[str, str]:
        """What is not well, by name."""
        return {
            name: check["status"]
            for name, check in self.checks.items()
            if check["status"] in ("warn", "fail")
        }


class Doctor:
    """``relay-doctor`` with a directory of its own; called, in this process, to save the start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    async def __call__(self, *given: object, whole: float = 0, **settings: object) -> Diagnosis:
        parsed = arguments([str(each) for each in given])
        env_file = self.folder / ".env"
        named = parsed.env_file or (str(env_file) if env_file.exists() else None)
        environ = {name: str(value) for name, value in settings.items()}
        deployment = read_deployment(environ, named)
        order = order_of(parsed, deployment)
        watch = order.watch if any("--watch" in str(each) for each in given) else WATCH
        order = attrs.evolve(order, whole=whole or order.whole, watch=watch)
        began = time.monotonic()
        findings = await Examination(reactor, order, deployment).make()
        assert time.monotonic() - began < PROMISED + 5, "the machine may be slow, but not so slow"
        return Diagnosis(exit_code(findings), as_json(order.target.url, findings))

    def start(self, *given: object) -> subprocess.Popen[str]:
        """The command, as an operator starts it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "twisted_relay.doctor", *map(str, given)],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()

    def write_env(self, mode: int = 0o600, **settings: object) -> Path:
        path = self.folder / ".env"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        path.chmod(mode)
        return path


@pytest.fixture
def doctor(tmp_path: Path) -> Iterator[Doctor]:
    folder = tmp_path / "doctor"
    folder.mkdir()
    doctor = Doctor(folder)
    yield doctor
    doctor.stop()


@pytest.fixture(scope="session")
def good_secret() -> str:
    """As the documentation says to make one."""
    return secrets.token_urlsafe(48)


Head = bytes


class Before:
    """Something in front of a relay, a thread for each connection.

    Args:
        route: the port that a connection goes on to, by the head of its request.
        edit: what becomes of that head.
        context: for TLS on the side of clients.
    """

    def __init__(
        self,
        route: Callable[[Head], int],
        edit: Callable[[Head], Head] = lambda head: head,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._route, self._edit, self._context = route, edit, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            client = stack.enter_context(plain)
            client.settimeout(10)
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
                stack.enter_context(client)
            head = b""
            while b"\r\n\r\n" not in head:
                more = client.recv(65536)
                if not more:
                    return
                head += more
            relay = socket.create_connection(("127.0.0.1", self._route(head)), 10)
            stack.enter_context(relay)
            relay.sendall(self._edit(head))
            self.pour({client: relay, relay: client})

    def passed(self, source: socket.socket, target: socket.socket, data: bytes) -> None:
        """Something has gone from one to the other; for those who do something about it."""

    def pour(self, ways: dict[socket.socket, socket.socket]) -> None:
        """Let all that comes from one go to the other, and then the end.

        In one thread: a TLS socket is not for two at a time.
        """
        while ways:
            held = [source for source in ways if getattr(source, "pending", int)()]
            for source in held or select.select(list(ways), [], [], 10)[0]:
                try:
                    source.settimeout(0)
                    data = source.recv(65536)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue  # it was of TLS, and nothing for us
                except OSError:
                    data = b""
                finally:
                    source.settimeout(10)
                if data:
                    ways[source].sendall(data)
                    self.passed(source, ways[source], data)
                else:
                    with contextlib.suppress(OSError):
                        ways.pop(source).shutdown(socket.SHUT_WR)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Mute:
    """Says this to whoever comes, and nothing more."""

    def __init__(self, words: bytes, then_close: bool) -> None:
        self._words, self._then_close = words, then_close
        self.held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.held.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # By itself: who comes and says nothing is not to keep the others waiting.
        with contextlib.suppress(OSError):
            client.sendall(self._words)
            if self._then_close:
                client.recv(65536)
                client.close()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self.held:
            client.close()


@pytest.fixture
def stand() -> Iterator[Callable[..., Any]]:
    """Puts up a `Before` or a `Mute`; they go with the test."""
    put_up: list[Any] = []

    def put(kind: type[Any], *arguments: Any, **options: Any) -> Any:
        put_up.append(kind(*arguments, **options))
        return put_up[-1]

    yield put
    for each in put_up:
        each.stop()


class Kinds:
    """The classes above, for tests: with importlib mode a test cannot import them."""

    before = Before
    mute = Mute
    poll = staticmethod(poll)


@pytest.fixture(scope="session")
def kinds() -> type[Kinds]:
    return Kinds
