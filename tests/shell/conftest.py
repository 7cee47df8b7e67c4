"""A site of the relay's on a socket, with everything behind it faked, and a client in bytes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource

from twisted_relay.engine.interfaces import StoreStatus
from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell import http, logs

# The room stores of this ring are held to the contract that lies with the tests of the engine.
_TESTS = Path(__file__).parent.parent
sys.path.extend(str(_TESTS / ring) for ring in ("shell", "engine"))
pytest.register_assert_rewrite("redis_contract", "store_contract", "store_comparison")
pytest.register_assert_rewrite("store_case", "store_leases", "store_registration", "store_tokens")

from real_redis import RealRedis, server_binaries  # noqa: E402 - found by the lines above
from redis_watch import Log  # noqa: E402


@pytest.fixture
def log() -> Iterator[Log]:
    """What is logged while the test runs."""
    watch = Log()
    yield watch
    watch.close()


@pytest.fixture(params=sorted(server_binaries()))
def any_server(request: pytest.FixtureRequest, start_redis: Callable[..., RealRedis]) -> RealRedis:
    """A server of each kind that there is."""
    return start_redis(request.param)


@attrs.frozen
class Slice:
    max_total_connections: int = 100
    max_http_per_ip_per_min: int = 1000
    join_timeout_ms: int = 60000


def settings(http: dict[str, Any] | None = None, **changed: Any) -> Any:
    """Those that a site asks for; switches by their names, the rest by slices."""
    switches = {
        name: changed.pop(name, not name.startswith("detailed"))
        for name in (
            *("health_endpoint", "readiness_endpoint", "metrics_endpoint", "ip_tracking"),
            *("cors", "security_headers", "request_id", "detailed_errors"),
        )
    }
    pages = {
        "keep_alive_timeout_ms": 65000,
        "cors_allowed_origins": None,
        "cors_allow_credentials": False,
        "csp_directives": None,
        "hsts_max_age": 31_536_000,
        "hsts_include_subdomains": True,
        "hsts_preload": False,
        "web_client": False,
    } | (http or {})
    listen = {"trust_proxy": False, "ops_endpoint": None} | changed.pop("listen", {})
    runtime = {"service_version": "9.9", "instance_id": "here", "deployment_env": "test"}
    return SimpleNamespace(
        session=Slice(),
        admission=changed.pop("admission", Slice()),
        rooms=Slice(),
        runtime=SimpleNamespace(**runtime, memory_limit_mb=changed.pop("memory_limit_mb", 4096)),
        log=SimpleNamespace(requests=True, health_check_failures=True),
        features=SimpleNamespace(**switches),
        http=SimpleNamespace(**pages),
        listen=SimpleNamespace(**listen),
        **changed,
    )


class FakeRelay:
    """Answers as told; ``wait`` holds an answer back."""

    def __init__(self) -> None:
        self.draining = False
        self.fault: Exception | None = None
        self.wait: Deferred[None] | None = None
        self.asked: list[str] = []

    async def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.wait is not None:
            await self.wait
        if self.fault is not None:
            raise self.fault

    async def create_empty_room(self, address_key: str) -> str:
        await self._answer(address_key)
        return "A" * 22

    async def room_token(self, room_id: str) -> tuple[str, int]:
        await self._answer(room_id)
        return "a.token", 1234


class FakeStore:
    found = StoreStatus("embedded", True, None, "the embedded store is in use")

    def status(self) -> StoreStatus:
        return self.found


class FakeSocket(Resource):
    """Stands for /ws: takes over, leaves to twisted.web, or breaks."""

    isLeaf = True
    fault: Exception | None = None

    def render(self, request: Any) -> Any:
        if self.fault is not None:
            raise self.fault
        return b"upgraded"


class Raw(Protocol):
    """Collects what comes until the server ends the connection."""

    def __init__(self) -> None:
        self.data = b""
        self.over: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any) -> None:
        self.over.callback(self.data)


@attrs.define
class Reply:
    status: int
    phrase: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        assert set(self.json) >= {"code", "message"}
        assert self.headers["content-type"].startswith("application/json")
        return self.status, self.json["code"]


class Server:
    """A site on a socket, with a log and a client in bytes; ``ops`` takes the other site."""

    def __init__(self, ops: bool = False, **changed: Any) -> None:
        self.relay, self.store, self.ws = FakeRelay(), FakeStore(), FakeSocket()
        self.metrics = Metrics(0.0)
        self.sites = http.make_sites(
            settings(**changed), self.relay, self.store.status, self.metrics, self.ws
        )
        self.site: Any = self.sites.ops if ops else self.sites.public
        self.log = io.StringIO()
        self.observer = logs.make_observer(
            SimpleNamespace(level="trace", format="json", client_address="full"),
            self.log,
            self.log,
        )

    async def start(self) -> Server:
        globalLogPublisher.addObserver(self.observer)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        self.port = await endpoint.listen(self.site)
        return self

    async def stop(self) -> None:
        globalLogPublisher.removeObserver(self.observer)
        await self.port.stopListening()

    async def connect(self, data: bytes) -> Raw:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        raw: Raw = await connectProtocol(endpoint, Raw())
        raw.transport.write(data)
        return raw

    async def raw(self, data: bytes) -> bytes:
        connection = await self.connect(data)
        return await connection.over.addTimeout(10, reactor)

    async def __call__(self, line: str, body: bytes = b"", headers: tuple[str, ...] = ()) -> Reply:
        lines = [f"{line} HTTP/1.1", "Host: x", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        answer = await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head, _, payload = answer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        fields = dict(item.split(": ", 1) for item in rest)
        return Reply(
            int(first.split()[1]),
            first.split(" ", 2)[2],
            {name.lower(): text for name, text in fields.items()},
            payload,
        )

    @property
    def lines(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in found if "namespace" not in line]


@pytest_twisted.async_yield_fixture
async def http_server() -> AsyncIterator[Server]:
    made = await Server().start()
    yield made
    await made.stop()


@pytest_twisted.async_yield_fixture
async def start_http_server() -> AsyncIterator[Any]:
    """Starts servers with settings of the test's choice."""
    started: list[Server] = []

    async def start(**changed: Any) -> Server:
        started.append(await Server(**changed).start())
        return started[-1]

    yield start
    for server in started:
        await server.stop()


@pytest_twisted.async_yield_fixture
async def bare_http_server() -> AsyncIterator[Server]:
    """One whose optional endpoints are all switched off."""
    made = await Server(
        health_endpoint=False, readiness_endpoint=False, metrics_endpoint=False
    ).start()
    yield made
    await made.stop()


@pytest.fixture
def clocked_channel() -> tuple[Clock, Any, StringTransport]:
    """A connection to such a site in memory, and the clock that its deadlines go by."""
    clock = Clock()
    site = http.make_sites(
        settings(), FakeRelay(), FakeStore().status, Metrics(0.0), FakeSocket(), reactor=clock
    ).public
    channel = site.buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    return clock, channel, transport


@pytest_twisted.async_yield_fixture
async def redis_stores() -> AsyncIterator[Any]:
    """Makes room stores on real servers; they are stopped with the test."""
    from redis_contract import Opened

    opened = Opened()
    yield opened
    await opened.stop()
