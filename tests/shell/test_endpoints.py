"""Where the relay listens: every kind of endpoint, several at once, all of them or none."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from certificates import Authority
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThread

from twisted_relay.core.settings import SettingsError, load_settings
from twisted_relay.shell.endpoints import CannotListen, Door, Doors, doors_of
from twisted_relay.shell.service import RelayService
from twisted_relay.shell.transport import PromptServer, PromptUnixServer

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LOCAL = "interface=127.0.0.1"
# Twisted's own use of pyOpenSSL, for ssl: endpoints.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


def read_all(connection: socket.socket, said: bytes = LIVE) -> bytes:
    connection.settimeout(PATIENCE)
    connection.sendall(said)
    heard = b""
    while more := connection.recv(65536):
        heard += more
    return heard


def asked(address: Any, said: bytes = LIVE) -> bytes:
    """The status line that somebody who connects gets; blocking."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    if family is socket.AF_INET and ":" in address[0]:
        family = socket.AF_INET6
    with socket.socket(family) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(address)
        return read_all(connection, said).partition(b"\r\n")[0]


def listening(**settings: str) -> Any:
    return load_settings(settings).settings.listen


@pytest_twisted.async_yield_fixture
async def start() -> AsyncIterator[Callable[..., RelayService]]:
    started: list[RelayService] = []

    def make(*endpoints: str, **settings: str) -> RelayService:
        loaded = load_settings({"RELAY_ENDPOINTS": " ".join(endpoints)} | settings)
        service = RelayService(loaded)
        service.startService()
        started.append(service)
        return service

    yield make
    for service in started:
        if service.running:
            await service.stopService()


Start = Callable[..., RelayService]


# What an operator may write.


@pytest.mark.parametrize(
    "text",
    [
        "nothing:3001",
        "tcp:",
        "tcp:http",
        "tcp:1:2:3:4:5",
        "tcp:3001:colour=red",
        "reuseport:x",
        "reuseport:1:port=2",
        "ssl:443",
        "ssl:443:privateKey=/nowhere/key.pem",
        "systemd:domain=INET:index=0",
        "systemd:domain=INET:name=relay",
        "systemd:domain=NONE:index=0",
        "haproxy:nothing:1",
        "haproxy:",
    ],
)
def test_an_endpoint_that_cannot_be_understood_is_one_line(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        doors_of(listening(RELAY_ENDPOINTS=text), reactor, None)
    assert str(caught.value).startswith("RELAY_ENDPOINTS: '")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("program", ["twistd", "twist"])
def test_a_bad_endpoint_stops_the_start(run: Run, program: str) -> None:
    done = run(program, "-e", "tcp:0", "--endpoint", "nothing:1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("RELAY_ENDPOINTS: 'nothing:1': Unknown endpoint type: 'nothing'")
    assert done.stderr.count("\n") == 1


def test_check_names_the_endpoints(run: Run) -> None:
    done = run("twistd", "--check", "-e", "tcp:3002", "-e", "unix:relay.sock")
    assert done.returncode == 0
    assert "endpoint: tcp:3002\nendpoint: unix:relay.sock\n" in done.stdout


# Each kind, and several at once.


@pytest_twisted.ensureDeferred
async def test_several_are_open_at_once_and_closed_together(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "relay.sock")
    service = start(
        f"tcp:0:{LOCAL}",
        r"tcp6:0:interface=\:\:1",
        f"reuseport:0:{LOCAL}",
        r"reuseport:0:interface=\:\:1",
        f"unix:{path}",
    )
    hosts = [port.getHost() for port in service.ports]
    addresses = [path if i == 4 else (host.host, host.port) for i, host in enumerate(hosts)]
    assert ["::1" in address for address in addresses] == [False, True, False, True, False]
    for address in addresses:
        assert await deferToThread(asked, address) == b"HTTP/1.1 200 OK"
    await service.stopService()
    assert not os.path.exists(path)
    for address in addresses:
        with pytest.raises(OSError, match=r"refused|No such file"):
            await deferToThread(asked, address)


@pytest_twisted.ensureDeferred
async def test_every_tcp_port_is_prompt(start: Start, tmp_path: Path) -> None:
    key = Authority().issue("localhost").write(tmp_path)[1]
    key.write_bytes(key.with_name("cert.pem").read_bytes() + key.read_bytes())
    service = start(
        f"tcp:0:{LOCAL}",
        f"reuseport:0:{LOCAL}",
        f"haproxy:tcp:0:{LOCAL}",
        f"ssl:0:privateKey={key}:{LOCAL}",
        f"unix:{tmp_path / 'socket'}",
    )
    kinds = [port.transport for port in service.ports]
    assert kinds == [PromptServer] * 4 + [PromptUnixServer]


@pytest.mark.parametrize("kind", ["ssl", "wss:tcp", "wss:reuseport", "wss:haproxy:tcp"])
@pytest_twisted.ensureDeferred
async def test_tls_by_endpoint(start: Start, tmp_path: Path, kind: str) -> None:
    authority = Authority()
    cert, key = authority.issue("localhost").write(tmp_path)
    if kind == "ssl":
        service = start(f"ssl:0:privateKey={key}:certKey={cert}:{LOCAL}")
    else:
        service = start(f"{kind}:0:{LOCAL}", TLS_CERT_FILE=str(cert), TLS_KEY_FILE=str(key))
    context = ssl.create_default_context(cadata=authority.issued.pem.decode())
    address = ("127.0.0.1", service.ports[0].getHost().port)

    def ask() -> bytes:
        with socket.create_connection(address, PATIENCE) as plain:
            if "haproxy" in kind:
                plain.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                return read_all(connection)

    assert b"200 OK" in await deferToThread(ask)


V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\0\1\0\2"


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"HTTP/1.1 200 OK"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", b"HTTP/1.1 200 OK"),
        (b"PROXY UNKNOWN\r\n", b"HTTP/1.1 200 OK"),
        (V2, b"HTTP/1.1 200 OK"),
        (b"", b""),
    ],
)
@pytest_twisted.ensureDeferred
async def test_haproxy(start: Start, header: bytes, answer: bytes) -> None:
    port = start(f"haproxy:tcp:0:{LOCAL}").ports[0].getHost().port
    assert await deferToThread(asked, ("127.0.0.1", port), header + LIVE) == answer


# All or none.


class Late:
    """An endpoint that answers when the test says so."""

    def __init__(self) -> None:
        self.answer: Deferred[Any] = Deferred(lambda _: None)

    def listen(self, factory: object) -> Deferred[Any]:
        return self.answer


class Open:
    """An endpoint that listens at once; and its port."""

    closed = False

    def listen(self, factory: object) -> Deferred[Any]:
        return succeed(self)

    def stopListening(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        self.closed = True
        return succeed(None)


class Taken:
    """An endpoint that fails at once."""

    def listen(self, factory: object) -> Deferred[Any]:
        return fail(CannotListenError("", 1, OSError(98, "Address already in use")))


class Broken:
    """An endpoint with a bug."""

    def listen(self, factory: object) -> Deferred[Any]:
        raise RuntimeError("a bug\nof two lines")


def doors(*endpoints: Any) -> tuple[Doors, list[Any]]:
    opened: list[Any] = []
    factory: Any = object()
    pairs = [(Door("X", f"door {i}", each), factory) for i, each in enumerate(endpoints)]
    return Doors(pairs, opened.append), opened


@pytest.mark.parametrize(
    ("third", "fault"), [(Taken(), "[Errno 98] Address already in use"), (Broken(), "a bug of two")]
)
def test_if_one_fails_those_before_it_are_closed_at_once(third: Any, fault: str) -> None:
    first, second, never = Open(), Open(), Open()
    made, opened = doors(first, second, third, never)
    outcome: list[Any] = []
    Deferred.fromCoroutine(made.open()).addErrback(outcome.append)
    error = outcome[0].value
    assert isinstance(error, CannotListen)
    assert error.door.text == "door 2"
    assert error.fault.startswith(fault)
    assert (first.closed, second.closed, never.closed) == (True, True, False)
    assert (opened, made.ports) == ([first, second], [])


def test_an_endpoint_may_take_its_time() -> None:
    late, second = Late(), Open()
    made, opened = doors(late, second)
    outcome: list[Any] = []
    Deferred.fromCoroutine(made.open()).addCallback(outcome.append)
    assert (outcome, opened) == ([], [])
    port = Open()
    late.answer.callback(port)
    assert (outcome, opened, made.ports) == ([None], [port, second], [port, second])


def test_closing_ends_an_endpoint_that_takes_its_time() -> None:
    first, late, never = Open(), Late(), Open()
    made, _ = doors(first, late, never)
    outcome: list[Any] = []
    Deferred.fromCoroutine(made.open()).addErrback(outcome.append)
    Deferred.fromCoroutine(made.close())
    assert outcome[0].check(CannotListen)
    assert made.closed
    assert (first.closed, never.closed) == (True, False)


# From outside.


class Process:
    """`twistd relay` with these options, and its output."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*PROGRAMS["twistd"], *options],
                cwd=folder,
                env=clean_environment() | environment,
                stdout=out,
                stderr=out,
            )

    def listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return '"event":"listening"' in self.log.read_text()

    def wait(self) -> Process:
        ends = time.monotonic() + PATIENCE
        while not self.listens():
            assert time.monotonic() < ends
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)


PROGRAMS = {
    "twistd": [
        sys.executable,
        *("-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "relay"),
    ],
    "twist": [sys.executable, "-m", "twisted", "relay"],
}


def clean_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program to its end."""

    def call(program: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAMS[program], *options],
            cwd=tmp_path,
            env=clean_environment() | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return call


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(*options: str, **environment: str) -> Process:
        started.append(Process(tmp_path, *options, **environment))
        return started[-1]

    yield make
    for each in started:
        each.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
        return number


def instance(port: int) -> str:
    request = LIVE.replace(b"/live", b"/health")
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        body = read_all(connection, request).partition(b"\r\n\r\n")[2]
    found: str = json.loads(body)["instanceId"]
    return found


def test_two_processes_share_a_port(process: Callable[..., Process]) -> None:
    port = free_port()
    options = ("-e", f"reuseport:{port}:{LOCAL}")
    one, two = (process(*options, INSTANCE_ID=name) for name in ("one", "two"))
    one.wait()
    two.wait()
    seen: set[str] = set()
    ends = time.monotonic() + PATIENCE
    while len(seen) < 2:
        assert time.monotonic() < ends
        seen.add(instance(port))
    one.stop()
    assert {instance(port) for _ in range(20)} == {"two"}


def test_a_socket_of_systemds(process: Callable[..., Process], tmp_path: Path) -> None:
    """As systemd starts a service: descriptor 3 listens, and the environment says so."""
    with socket.create_server(("127.0.0.1", 0)) as handed:
        port = handed.getsockname()[1]
        command = " ".join(f"'{part}'" for part in PROGRAMS["twistd"])
        script = f"exec 3<&{handed.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec {command}"
        with (tmp_path / "log").open("wb") as log:
            started = subprocess.Popen(
                ["bash", "-c", script],
                cwd=tmp_path,
                env=clean_environment()
                | {"LISTEN_FDNAMES": "ws", "RELAY_ENDPOINTS": "systemd:domain=INET:name=ws"},
                pass_fds=[handed.fileno()],
                stdout=log,
                stderr=log,
            )
    try:
        # It listens already: whoever comes before the relay is up waits.
        assert asked(("127.0.0.1", port)) == b"HTTP/1.1 200 OK"
    finally:
        started.terminate()
        started.wait(PATIENCE)


@pytest.mark.parametrize("program", ["twistd", "twist"])
def test_one_that_is_taken_among_several_stops_the_start(
    run: Run, program: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = f"tcp:{taken.getsockname()[1]}:{LOCAL}"
        done = run(program, "-e", f"tcp:0:{LOCAL}", "-e", "unix:relay.sock", "-e", text)
    assert not list(tmp_path.glob("relay.sock*"))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    # twist has not begun its log by then.
    message = json.loads(line)["msg"] if program == "twistd" else line
    assert message.startswith(f"RELAY_ENDPOINTS: cannot listen on {text}: ")
    assert "Traceback" not in done.stdout


LATE_PLUGIN = """
from twisted.internet import defer, error, task
from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer

@implementer(IStreamServerEndpoint)
class Endpoint:
    def __init__(self, reactor):
        self.reactor = reactor
    def listen(self, factory):
        def fails():
            raise error.CannotListenError("", 1, OSError(5, "the wire broke"))
        return task.deferLater(self.reactor, 0.2, fails)

@implementer(IPlugin, IStreamServerEndpointStringParser)
class Parser:
    prefix = "late"
    def parseStreamServer(self, reactor, nothing):
        return Endpoint(reactor)

late = Parser()
"""


@pytest.mark.parametrize("program", ["twistd", "twist"])
def test_one_that_fails_late_ends_the_process_with_status_1(
    run: Run, program: str, tmp_path: Path
) -> None:
    plugins = tmp_path / "twisted/plugins"
    plugins.mkdir(parents=True)
    (plugins / "late.py").write_text(LATE_PLUGIN)
    done = run(program, "-e", f"tcp:0:{LOCAL}", "-e", "late:", PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "RELAY_ENDPOINTS: cannot listen on late:: [Errno 5] the wire broke" in line
    assert "Traceback" not in done.stdout
    assert '"event":"stopped"' in done.stdout


def test_the_files_of_tls_are_checked_before_the_start(run: Run, tmp_path: Path) -> None:
    cert, key = Authority().issue("localhost").write(tmp_path)
    key.write_bytes(b"no key")
    done = run("twistd", TLS_CERT_FILE="cert.pem", TLS_KEY_FILE="key.pem")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("TLS_KEY_FILE: ")
    assert done.stderr.count("\n") == 1
    assert str(cert.parent) in done.stderr
