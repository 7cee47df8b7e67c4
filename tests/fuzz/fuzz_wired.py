"""What must hold whatever comes over a socket: from clients, from proxies, from Redis.

Each run has a relay of its own, on a clock that stands unless it is turned, with randomness that
is the same in each run; its connections end in memory.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from fuzz_input import Input
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from twisted_relay.core.addresses import limit_key
from twisted_relay.core.proxies import Trust
from twisted_relay.core.settings import load_settings
from twisted_relay.shell import service, versions, wiring
from twisted_relay.shell.proxy_protocol import ProxiedEndpoint
from twisted_relay.shell.redis_bus import Ear
from twisted_relay.shell.redis_connection import Connection, RedisFault

PEER = IPv4Address("TCP", "192.0.2.7", 4711)
MASK = b"\x9a\x00\xff\x31"
MOST_WRITTEN = 1 << 20


class Line(StringTransport):
    """A connection in memory, as far as the relay asks anything of one."""

    def __init__(self) -> None:
        super().__init__(peerAddress=PEER)
        self.aborted = False
        self.protocol: Any = None
        # What Twisted's own transports have, and the relay reads (`shell.transport`).
        self.dataBuffer = b""
        self.offset = self._tempDataLen = 0

    def abortConnection(self) -> None:
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP here."""

    def pauseProducing(self) -> None:
        """Nothing is held back: what has come is heard."""

    def resumeProducing(self) -> None:
        """Nothing was held back."""

    def unregisterProducer(self) -> None:
        self.producer = None

    def hear(self, data: bytes) -> bool:
        """Bytes come, unless the connection has ended."""
        if self.disconnecting or self.aborted:
            return False
        self.protocol.dataReceived(data)
        return True

    def lose(self, why: Exception) -> None:
        self.protocol.connectionLost(Failure(why))


#: What takes most of the time of a start, and comes out the same each time.
_misfit = functools.cache(versions.misfit)


class House:
    """A relay that nobody else sees, and the watch over it."""

    def __init__(self, fast_path: bool = True) -> None:
        numbers = itertools.count(1)
        self.clock = Clock()
        settings = load_settings({"FAST_PATH": str(fast_path), "MAX_WS_MSG_BYTES": "4096"})
        with (
            patch.object(wiring, "_now_ms", lambda: int(self.clock.seconds() * 1000)),
            patch.object(versions, "misfit", _misfit),
        ):
            self.service = service.RelayService(
                settings, self.clock, lambda size: next(numbers).to_bytes(size, "little")
            )
        self.lines: list[Line] = []

    def connect(self) -> Line:
        line = Line()
        line.protocol = self.service.site.buildProtocol(PEER)
        line.protocol.makeConnection(line)
        self.lines.append(line)
        return line

    def end(self) -> None:
        """Everybody goes; nothing may have gone wrong, and nothing of them is left."""
        for line in self.lines:
            line.lose(ConnectionResetError())
        self.clock.advance(0)
        metrics = self.service.metrics
        assert not any(metrics.unhandled_errors.values()), metrics.unhandled_errors
        assert metrics.active_connections == 0
        assert self.service.wiring.admission.total == 0
        assert all(len(line.value()) < MOST_WRITTEN for line in self.lines)
        self.service.relay.stop()


def watched(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """A target that also fails if a failure is logged."""

    def run(data: bytes) -> None:
        failures: list[LogEvent] = []

        def watch(event: LogEvent) -> None:
            if "log_failure" in event:
                failures.append(event)

        globalLogPublisher.addObserver(watch)
        try:
            target(data)
        finally:
            globalLogPublisher.removeObserver(watch)
        assert not failures, failures[0]["log_failure"].getTraceback()

    return run


@watched
def http(data: bytes) -> None:
    """Whatever comes to the port is answered in HTTP, or with the end of the connection."""
    house, source = House(), Input(data)
    line = house.connect()
    while source:
        if source.number(8) == 7:
            house.clock.advance(source.number(16))
        elif not line.hear(source.piece()):
            break
    house.clock.advance(100)
    assert line.disconnecting or line.aborted or line.protocol is not None
    assert not line.value() or line.value().startswith((b"HTTP/1.0 ", b"HTTP/1.1 "))
    house.end()


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@watched
def websocket(data: bytes) -> None:
    """Two clients say anything in any pieces: the same happens on the fast path and the plain."""
    assert _conversation(data, True) == _conversation(data, False)


def _conversation(data: bytes, fast_path: bool) -> list[object]:
    house, source = House(fast_path), Input(data)
    lines = [house.connect(), house.connect()]
    for line in lines:
        assert line.hear(HANDSHAKE)
        assert b" 101 " in line.value()
    while source:
        line, step = lines[source.number(2)], source.number(8)
        if step == 7:
            house.clock.advance(source.number(64))
        elif step == 6:
            line.hear(source.piece())
        elif step == 5:
            line.hear(_frame(source.number(256), source.piece()))
        else:
            line.hear(_frame(0x81, _known(source.piece(), lines)))
        house.clock.advance(0)
    assert house.service.wiring.factory.fast_path is fast_path
    told: list[object] = [
        # What follows the handshake's answer, which holds an id by chance.
        (line.value().partition(b"\r\n\r\n")[2], line.disconnecting, line.aborted)
        for line in lines
    ]
    told += [line.protocol.state for line in lines]
    house.end()
    return told


def _known(text: bytes, lines: list[Line]) -> bytes:
    """The text with what only the relay knows in the places that are left for it."""
    for line in lines:
        told = line.value()
        for name, field in ((b"ROOM", b'"roomId":"'), (b"TOKEN", b'"qrToken":"')):
            if name in text and field in told:
                text = text.replace(name, told.split(field)[1].partition(b'"')[0])
    return text


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE))
    masked = bytes(byte ^ key for byte, key in zip(payload, itertools.cycle(MASK), strict=False))
    return head + (b"" if size < 126 else size.to_bytes(2, "big")) + MASK + masked


class _Catch:
    """An endpoint that only keeps what it is to listen with."""

    factory: Any = None

    def listen(self, factory: Any) -> Deferred[None]:
        self.factory = factory
        return succeed(None)


class _Hearer(Protocol):
    """What is behind the header."""

    heard = b""
    peer = ""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        self.peer = self.transport.getPeer().host


@watched
def proxy_protocol(data: bytes) -> None:
    """A PROXY line of any bytes, from a proxy: the address is one, or the connection ends."""
    source, catch = Input(data), _Catch()
    ProxiedEndpoint(catch, Trust(("192.0.2.0/24",))).listen(Factory.forProtocol(_Hearer))
    line = Line()
    line.protocol = catch.factory.buildProtocol(PEER)
    line.protocol.makeConnection(line)
    hearer, came = line.protocol.wrappedProtocol, b""
    while source:
        piece = source.piece()
        if not line.hear(piece):
            break
        came += piece
    line.lose(ConnectionResetError())
    if hearer.heard:
        assert not line.disconnecting
        assert came.endswith(hearer.heard)
        assert limit_key(hearer.peer) != "unknown"


@watched
def redis(data: bytes) -> None:
    """Whatever comes from Redis: answers, refusals, or the end of the connection."""
    for kind in (Connection, Ear):
        _answers(kind, data)


def _answers(kind: type[Connection], data: bytes) -> None:
    clock, source, line = Clock(), Input(data), Line()
    connection = kind(clock, 2.0, clock.seconds)
    line.protocol = connection
    outcomes: list[object] = []
    if isinstance(connection, Ear):
        connection.hears = lambda channel, text: outcomes.append((channel, text))
    connection.makeConnection(line)
    for _ in range(source.number(4)):
        connection.ask("PING").addBoth(outcomes.append)
    while source:
        if source.number(8) == 7:
            clock.advance(source.number(4))
        elif not line.hear(source.piece()):
            break
    connection.abort("over")
    line.lose(ConnectionResetError())
    assert connection.over is not None
    for outcome in outcomes:
        assert not isinstance(outcome, Failure) or outcome.check(RedisFault)
    assert not clock.getDelayedCalls()


TARGETS = {
    "http": http,
    "websocket": websocket,
    "proxy_protocol": proxy_protocol,
    "redis": redis,
}
