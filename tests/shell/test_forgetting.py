"""What is left of a WebSocket that is gone: nothing, at once, and without the collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_relay.shell.websocket import RelayFactory

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASK = b"\0\0\0\0"


class Line(StringTransport):
    def setTcpNoDelay(self, enabled: bool) -> None: ...
    def abortConnection(self) -> None: ...
    def unregisterProducer(self) -> None: ...


class Deaf:
    """A relay that hears nothing."""

    draining = False

    def opened(self, connection: Any) -> Any:
        return SimpleNamespace(heard_at=0.0)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: True


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81\x82" + MASK + b"{}",
        b"\x81\xfe\xff\xff" + MASK + b"x" * 60_000,
        b"\x01\xfe\xff\xff" + MASK + b"x" * 65_535 + b"\x00\xfe\xff\xff" + MASK + b"x" * 60_000,
    ],
    ids=["nothing said", "a message", "half a frame", "half a message"],
)
@pytest.mark.parametrize("fast_path", [True, False], ids=["fast path", "plain path"])
def test_a_connection_that_is_gone_does_not_hold_itself(
    no_collector: None, fast_path: bool, data: bytes
) -> None:
    admission = SimpleNamespace(release=lambda key: None)
    factory = RelayFactory(Deaf(), admission, Clock(), 262_144, fast_path)  # type: ignore[arg-type]
    protocol = factory.buildProtocol(None)
    protocol.openHandshakeTimeout = 0  # no timer on the real reactor
    protocol.makeConnection(Line())
    protocol.dataReceived(HANDSHAKE)
    assert protocol.state == protocol.STATE_OPEN
    protocol.dataReceived(data)
    protocol.connectionLost(Failure(ConnectionDone()))
    gone = weakref.ref(protocol)
    del protocol
    assert gone() is None


def test_what_a_timer_holds_for_a_while_is_small() -> None:
    admission = SimpleNamespace(release=lambda key: None)
    factory = RelayFactory(Deaf(), admission, Clock(), 262_144)  # type: ignore[arg-type]
    protocol = factory.buildProtocol(None)
    protocol.openHandshakeTimeout = protocol.closeHandshakeTimeout = 0
    protocol.makeConnection(Line())
    protocol.dataReceived(HANDSHAKE + b"\x01\xfe\xff\xff" + MASK + b"x" * 65_535)
    protocol.dataReceived(b"\x00\xff" + (1 << 30).to_bytes(8, "big") + MASK)
    assert protocol.localCloseCode == 1009
    protocol.connectionLost(Failure(ConnectionDone()))
    held = [value for value in vars(protocol).values() if isinstance(value, bytes | list)]
    assert sum(len(value) for value in held) < 1000
