"""Black-box harness: a relay in a process of its own, and clients that know only the wire protocol.

The WebSocket client is a raw socket on purpose: tests need malformed bytes, stalled readers and
connections that die without a word. It imports nothing of the relay.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import hashlib
import hmac
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_redis import RealRedis

from tests.system.line import Line
from tests.system.party import People

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-secret-made-up-for-the-system-tests-0001"
PATIENCE = 10.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

PROGRAMS = {
    "twistd": ["-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="],
    "twist": ["-m", "twisted"],
}
#: Limits that no test meets by accident; a test that is about a limit sets its own.
ROOMY = {
    "HOST": "127.0.0.1",
    "JOIN_TOKEN_SECRET": SECRET,
    "MAX_CONNS_PER_IP": "5000",
    "MAX_CONNECTS_PER_IP_PER_MIN": "100000",
    "MAX_ROOM_CREATES_PER_IP_PER_MIN": "100000",
    "MAX_HTTP_PER_IP_PER_MIN": "100000",
    # The whole suite holds on either path: FAST_PATH=false make test.
    "FAST_PATH": os.environ.get("FAST_PATH", "true"),
}


def poll(probe: Callable[[], Any], what: str = "the condition", patience: float = PATIENCE) -> Any:
    """Ask until the answer is true, and return it."""
    ends = time.monotonic() + patience
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < ends, f"{what} did not come about in {patience} s"
        time.sleep(0.02)


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mint(room_id: str, secret: str = SECRET, **claims: Any) -> str:
    """A join token, made as the protocol's page says."""
    fields = {
        "v": 1,
        "rid": room_id,
        "exp": int(time.time() * 1000) + 60_000,
        "jti": b64url(os.urandom(16)),
    } | claims
    return signed(json.dumps(fields).encode(), secret)


def signed(payload: bytes, secret: str = SECRET) -> str:
    mac = hmac.new(secret.encode(), payload, hashlib.sha256).digest()
    return f"{b64url(payload)}.{b64url(mac)}"


class Answer:
    """An HTTP answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):
    """The handshake was answered with something other than 101."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


class Closed(Exception):
    """The relay closed the connection; `code` is 1006 where it came without a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason

    @property
    def why(self) -> tuple[int, str]:
        return self.code, self.reason


class Client:
    """One raw WebSocket connection (RFC 6455). Pings are answered while something is read."""

    def __init__(
        self,
        port: int,
        source: str = "127.0.0.1",
        headers: dict[str, str] | None = None,
        receive_buffer: int | None = None,
        hello: bool = True,
        path: str = "/ws",
        before: bytes = b"",
    ) -> None:
        self.socket = socket.socket()
        self.address = ""
        self._bytes = b""
        self._ids = 0
        self.pings = 0
        self.answers_pings = True
        self.closed_with: tuple[int, str] | None = None
        self.ended: tuple[int, str] | None = None
        self.inbox: collections.deque[dict[str, Any]] = collections.deque()
        try:
            if receive_buffer:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.bind((source, 0))
            self.socket.settimeout(PATIENCE)
            self.socket.connect(("127.0.0.1", port))
            self.address = "{}:{}".format(*self.socket.getsockname())
            self.socket.sendall(before)
            self._shake(port, path, headers or {})
        except BaseException:
            self.socket.close()
            raise
        if hello:
            self.hello = self.expect("HELLO")

    def _shake(self, port: int, path: str, headers: dict[str, str]) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
        } | headers
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.socket.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        while b"\r\n\r\n" not in self._bytes:
            more = self.socket.recv(65536)
            if not more:
                raise Closed(1006, "")
            self._bytes += more
        raw, self._bytes = self._bytes.split(b"\r\n\r\n", 1)
        status, fields = _head(raw)
        self.handshake = fields
        if status != 101:
            size = int(fields.get("content-length", "0"))
            while len(self._bytes) < size:
                self._bytes += self.socket.recv(65536) or b" " * size
            raise Refused(Answer(status, fields, self._bytes[:size]))
        proof = base64.b64encode(
            hashlib.sha1(  # noqa: S324 - RFC 6455 section 1.3
                (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
            ).digest()
        ).decode()
        assert fields["sec-websocket-accept"] == proof
        assert "sec-websocket-extensions" not in fields

    # Sending.

    @staticmethod
    def frame(payload: bytes, opcode: int = TEXT, final: bool = True) -> bytes:
        size = len(payload)
        head = bytes([(0x80 if final else 0) | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += b"\xfe" + struct.pack("!H", size)
        else:
            head += b"\xff" + struct.pack("!Q", size)
        mask = os.urandom(4)
        run = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        return head + mask + (int.from_bytes(payload, "big") ^ run).to_bytes(size, "big")

    def envelope(self, kind: str, body: dict[str, Any], id: str | None = None) -> dict[str, Any]:
        self._ids += 1
        return {"v": 1, "t": kind, "id": id or f"client-{self._ids:06d}", "body": body}

    def send(self, kind: str, id: str | None = None, **body: Any) -> str:
        """Send one frame; returns its id."""
        envelope = self.envelope(kind, body, id)
        self.text(json.dumps(envelope))
        return str(envelope["id"])

    def send_together(self, *envelopes: dict[str, Any]) -> None:
        """Several frames in one TCP segment."""
        self.raw(b"".join(self.frame(json.dumps(e).encode()) for e in envelopes))

    def text(self, text: str | bytes) -> None:
        self.raw(self.frame(text.encode() if isinstance(text, str) else text))

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    # Receiving.

    def _read(self, size: int) -> bytes:
        while len(self._bytes) < size:
            try:
                more = self.socket.recv(262144)
            except ConnectionError:
                more = b""
            if not more:
                raise Closed(*(self.closed_with or (1006, "")))
            self._bytes += more
        data, self._bytes = self._bytes[:size], self._bytes[size:]
        return data

    def _receive(self) -> dict[str, Any]:
        """The next frame from the network. Raises Closed."""
        while (frame := self._read_one()) is None:
            pass
        return frame

    def _read_one(self) -> dict[str, Any] | None:
        """Deal with the next WebSocket frame; None where it was none of the chat's."""
        first, second = self._read(2)
        assert not second & 0x80, "a server must not mask"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        payload = self._read(size)
        opcode = first & 0x0F
        if opcode == PING:
            self.pings += 1
            if self.answers_pings:
                self.raw(self.frame(payload, PONG))
        elif opcode == CLOSE:
            code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            self.closed_with = code, payload[2:].decode()
            with contextlib.suppress(OSError):
                self.raw(self.frame(payload, CLOSE))
            raise Closed(*self.closed_with)
        elif opcode != PONG:
            assert (opcode, first & 0x70, first & 0x80) == (TEXT, 0, 0x80)
            frame: dict[str, Any] = json.loads(payload)
            assert frame["v"] == 1
            assert 8 <= len(frame["id"]) <= 256
            return frame
        return None

    def arrived(self) -> list[dict[str, Any]]:
        """What has come by now, without waiting for more. At the end of the connection `ended`
        says how it came."""
        frames: list[dict[str, Any]] = list(self.inbox)
        self.inbox.clear()
        over = self.ended is not None
        while not over:
            try:
                self.socket.settimeout(0)
                more = self.socket.recv(262144)
            except BlockingIOError:
                break
            except OSError:  # reset, or closed by the test itself
                more = b""
            over = not more
            self._bytes += more
        with contextlib.suppress(OSError):
            self.socket.settimeout(PATIENCE)
        try:
            while self._holds_a_frame():
                frame = self._read_one()
                frames += [frame] if frame else []
        except Closed as why:
            self.ended = why.why
        except OSError:
            over = True  # it could not be told PONG any more
        if over and self.ended is None:
            self.ended = self.closed_with or (1006, "")
        return frames

    def _holds_a_frame(self) -> bool:
        """Whether a whole WebSocket frame has been received."""
        held = self._bytes
        if len(held) < 2:
            return False
        size, head = held[1] & 0x7F, 2
        if size >= 126:
            head += 2 if size == 126 else 8
            size = int.from_bytes(held[2:head], "big")
        return len(held) >= head + size

    def next(self) -> dict[str, Any]:
        return self.inbox.popleft() if self.inbox else self._receive()

    def expect(self, kind: str) -> dict[str, Any]:
        """The next frame, which must be of this type."""
        frame = self.next()
        assert frame["t"] == kind, f"{kind} was due, {frame} came"
        return frame

    def until(self, kind: str) -> dict[str, Any]:
        """The next frame of this type; others before it are dropped."""
        while True:
            frame = self.next()
            if frame["t"] == kind:
                return frame

    def fence(self) -> list[dict[str, Any]]:
        """Everything that was there before the answer to a PING sent now: what else was to come
        of the past did not come."""
        id = self.send("PING")
        frames = []
        while True:
            frame = self.next()
            if frame["t"] == "PONG" and frame["re"] == id:
                return frames
            frames.append(frame)

    def kinds(self) -> list[str]:
        return [frame["t"] for frame in self.fence()]

    def refused(self, id: str | None = None) -> str:
        """The code of the ERROR that comes next."""
        frame = self.expect("ERROR")
        assert isinstance(frame["body"]["retryable"], bool)
        assert frame["body"]["message"]
        if id is not None:
            assert frame["re"] == id
        return str(frame["body"]["code"])

    def close_reason(self) -> tuple[int, str]:
        """Read to the end; how it came."""
        with pytest.raises(Closed) as caught:
            while True:
                self.next()
        return caught.value.why

    # What most tests do first.

    def create(self, **body: Any) -> dict[str, Any]:
        self.send("ROOM_CREATE", **body)
        created = self.expect("ROOM_CREATED")["body"]
        self.expect("ROOM_STATS")
        return created

    def join(self, room_id: str, token: str, **body: Any) -> dict[str, Any]:
        """Join, and read what a joiner is told."""
        self.send("JOIN_REQUEST", roomId=room_id, qrToken=token, **body)
        joined = self.expect("JOINED")["body"]
        if not joined["resumed"]:
            self.expect("SYSTEM_MSG")
        self.expect("ROOM_STATS")
        return joined

    def say(self, room_id: str, text: str = "SGVsbG8") -> str:
        return self.send("APP_MSG", roomId=room_id, ciphertextB64=text)

    # Ends.

    def leave_cleanly(self) -> None:
        """A close handshake, as a browser does it."""
        with contextlib.suppress(OSError):
            self.raw(self.frame(struct.pack("!H", 1000), CLOSE))
            with contextlib.suppress(Closed):
                while True:
                    self._receive()
        self.close()

    def abort(self) -> None:
        """Die with a TCP reset."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.socket.close()


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = raw.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), {name.lower(): value for name, value in fields.items()}


def http(
    port: int,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    source: str = "127.0.0.1",
) -> Answer:
    """One HTTP/1.1 call on a connection of its own."""
    lines = {"Host": f"127.0.0.1:{port}", "Connection": "close"}
    if body or method == "POST":
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in (lines | (headers or {})).items())
    with socket.create_connection(
        ("127.0.0.1", port), PATIENCE, source_address=(source, 0)
    ) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        data = b""
        while not _is_whole(data, method) and (more := connection.recv(262144)):
            data += more
    raw, _, rest = data.partition(b"\r\n\r\n")
    status, fields = _head(raw)
    if fields.get("transfer-encoding") == "chunked":
        rest = _unchunked(rest)
    return Answer(status, fields, rest)


def _is_whole(data: bytes, method: str) -> bool:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return False
    size = _head(head)[1].get("content-length")
    return method == "HEAD" or (size is not None and len(rest) >= int(size))


def _unchunked(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        whole, data = whole + data[:length], data[length + 2 :]
    return whole


def samples(text: str) -> dict[str, float]:
    """The samples of a Prometheus text, by name and labels as written."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


def _free_port() -> int:
    """A port that the system gives to no outgoing connection: asking one of those before somebody
    listens can connect to itself."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


class RelayProcess:
    """A relay started as an operator starts it; it is `alive` when the constructor returns."""

    def __init__(
        self, directory: Path, program: str = "twistd", wait: bool = True, **settings: object
    ) -> None:
        self.port = _free_port()
        self.other_port = _free_port()
        chosen = {name: self._text(value) for name, value in settings.items()}
        environment = (
            ROOMY
            | {
                "PORT": str(self.port),
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            | chosen
        )
        self._out, self._err = directory / "out.log", directory / "err.log"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *PROGRAMS[program], "relay"],
                cwd=directory,
                env=environment,
                stdout=out,
                stderr=err,
            )
        self._clients: list[Client] = []
        self._told = False
        if wait:
            self.wait_alive()

    def _text(self, value: object) -> str:
        """A setting as text; it may speak of ports that are only chosen here."""
        text = str(value).replace("%PORT%", str(self.port))
        return text.replace("%OTHER%", str(self.other_port))

    def wait_alive(self) -> None:
        """Wait until it answers; only needed where it was started with ``wait=False``."""
        try:
            # A process that is being started competes with all that the machine does.
            poll(self._alive, "/live", 60.0)
        except BaseException:
            self.stop()
            raise

    def _alive(self) -> bool:
        assert self.process.poll() is None, self.log
        with contextlib.suppress(ConnectionError):
            return self.http("GET", "/live").status == 200
        return False

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def log(self) -> str:
        """All that was logged, on either stream."""
        return self.out + self.err

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def connect(self, **options: Any) -> Client:
        client = Client(self.port, **options)
        self._clients.append(client)
        return client

    def http(self, method: str, path: str, **options: Any) -> Answer:
        return http(self.port, method, path, **options)

    def metrics(self) -> dict[str, float]:
        return samples(self.http("GET", "/metrics").body.decode())

    def http_token(self, room_id: str) -> str:
        answer = self.http("GET", f"/rooms/{room_id}/token")
        assert answer.status == 200
        return str(answer.json["token"])

    def room(self, size: int = 1, **options: Any) -> tuple[str, list[Client]]:
        """A room with this many members, who have nothing left to read."""
        first = self.connect(**options)
        room_id = first.create()["roomId"]
        members = [first]
        for _ in range(size - 1):
            member = self.connect(**options)
            member.join(room_id, self.http_token(room_id))
            members.append(member)
        for member in members:
            member.fence()
        return room_id, members

    def files(self) -> int:
        """Open file descriptors of the process."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def hang_up(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    @property
    def ready(self) -> bool:
        return self.http("GET", "/ready").status == 200

    def freeze(self) -> None:
        """Let it stand still (SIGSTOP)."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        if not self._told:  # a second SIGTERM while the first is heeded is an error to Twisted
            self._told = True
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        self.hang_up()
        if self.process.poll() is None:
            self.thaw()  # or SIGTERM would wait
            self.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def start_relay(tmp_path: Path) -> Iterator[Callable[..., RelayProcess]]:
    """Starts relays with settings of the test's choice."""
    started: list[RelayProcess] = []

    def start(program: str = "twistd", **settings: object) -> RelayProcess:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        relay = RelayProcess(directory, program, **settings)
        started.append(relay)
        return relay

    yield start
    for relay in started:
        relay.stop()
    for relay in started:
        assert relay.err == "", "a bug of the relay's own, met on the way"


@pytest.fixture(scope="session")
def _common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    relay = RelayProcess(tmp_path_factory.mktemp("relay"), ROOM_MAX_PARTICIPANTS=3)
    yield relay
    relay.stop()
    assert relay.err == "", "a bug of the relay's own, met on the way"


@pytest.fixture
def relay(_common: RelayProcess) -> Iterator[RelayProcess]:
    """The relay that tests share which set no limits of their own; a room holds three."""
    yield _common
    _common.hang_up()


#: For several instances: a drain that nobody waits long for, and rates that no crowd meets.
SHARED = {
    "GRACEFUL_SHUTDOWN_TIMEOUT_MS": "4000",
    "MAX_MSGS_PER_10S": "1000000",
    "MAX_BYTES_PER_10S": "1000000000",
}


class Cluster:
    """Several instances, the Redis between them, and the people who are on them."""

    def __init__(self, folder: Path, redis: RealRedis | None = None, **settings: object) -> None:
        self.redis = redis or RealRedis()
        self.relays: list[RelayProcess] = []
        self.lines: list[Line] = []
        self._folder = folder
        self._settings = SHARED | settings

    def start(self, *urls: str, ready: bool = True, **settings: object) -> list[RelayProcess]:
        """One more instance for each of these URLs of a Redis; they start side by side."""
        started = []
        for url in urls:
            directory = self._folder / f"relay-{len(self.relays)}"
            directory.mkdir()
            chosen = self._settings | {"REDIS_URL": url} | settings
            started.append(RelayProcess(directory, wait=False, **chosen))
            self.relays.append(started[-1])
        for relay in started:
            relay.wait_alive()
        for relay in started if ready else ():
            poll(lambda relay=relay: relay.ready, "ready")
        return started

    def grow(self, number: int, **settings: object) -> list[RelayProcess]:
        """So many more instances, on this cluster's Redis."""
        return self.start(*[self.redis.url] * number, **settings)

    def line(self) -> Line:
        """A line of its own to this cluster's Redis, for one instance."""
        self.lines.append(Line(self.redis.port))
        return self.lines[-1]

    def mend(self) -> None:
        """Undo what a test may have left broken."""
        for line in self.lines:
            line.free()
        try:
            self.redis.thaw()
        except AssertionError:  # it is not running
            self.redis.restart()

    def hang_up(self) -> None:
        """Everybody goes, and the instances that run have noticed it."""
        running = [relay for relay in self.relays if relay.process.poll() is None]
        for relay in running:
            relay.hang_up()
        for relay in running:
            poll(lambda relay=relay: relay.metrics()["active_connections"] == 0, "an empty relay")

    def stop(self) -> None:
        for relay in self.relays:
            relay.hang_up()
            if relay.process.poll() is None:
                relay.thaw()
                relay.terminate()
        for relay in self.relays:
            relay.stop()
        for line in self.lines:
            line.close()
        self.redis.stop()

    def check(self) -> None:
        """Nothing went wrong inside of any instance."""
        for relay in self.relays:
            assert "Traceback" not in relay.log
            assert relay.err == "", "a bug of the relay's own, met on the way"


@pytest.fixture(scope="module")
def new_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters, with settings for all their instances; they end with the module."""
    made: list[Cluster] = []

    def make(redis: RealRedis | None = None, **settings: object) -> Cluster:
        made.append(Cluster(tmp_path_factory.mktemp("cluster"), redis, **settings))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()
    for cluster in made:
        cluster.check()


@pytest.fixture
def people() -> Iterator[People]:
    """Whoever takes part in a test with several instances."""
    people = People()
    yield people
    people.hang_up()


class Wire:
    """The harness's names, for tests: with importlib mode a test cannot import them."""

    roomy = ROOMY
    Client = Client
    Closed = Closed
    Refused = Refused
    secret = SECRET
    patience = PATIENCE
    poll = staticmethod(poll)
    mint = staticmethod(mint)
    signed = staticmethod(signed)
    b64url = staticmethod(b64url)
    http = staticmethod(http)
    samples = staticmethod(samples)
    People = People
    RealRedis = RealRedis
    RelayProcess = RelayProcess
    binary, ping, pong, close = BINARY, PING, PONG, CLOSE


@pytest.fixture(scope="session")
def wire() -> type[Wire]:
    return Wire
