"""Over TLS, too, what is written goes out at once and in order, and what waits is counted."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from certificates import Authority
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.protocols import tls
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory

from twisted_relay.shell.certificates import TlsFiles
from twisted_relay.shell.tls import ServerTls
from twisted_relay.shell.tls_transport import PromptTls, encrypt_at_once, fits_tls
from twisted_relay.shell.transport import send_at_once, unsent_bytes
from twisted_relay.shell.versions import misfit

PATIENCE = 10.0


class Server(Protocol):
    """Keeps the reason for which it was lost."""

    def __init__(self) -> None:
        self.connected_: Deferred[Any] = Deferred()
        self.lost: Deferred[Any] = Deferred()
        self.heard = b""

    def connectionMade(self) -> None:
        self.connected_.callback(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(reason.type)


class Pair:
    """A transport of a port's, and a client's socket, in TLS once `shake` was called."""

    def __init__(self, transport: Any, protocol: Server, plain: socket.socket, trust: bytes):
        self.transport, self.protocol = transport, protocol
        self._plain, self._trust = plain, trust
        self.peer: Any = None

    async def shake(self) -> None:
        context = ssl.create_default_context(cadata=self._trust.decode())
        self.peer = await deferToThread(
            context.wrap_socket, self._plain, server_hostname="localhost"
        )
        # Said after the handshake: the server has seen its end by then.
        await deferToThread(self.peer.sendall, b"here")
        while self.protocol.heard != b"here":
            await deferLater(reactor, 0.002)

    async def read(self, size: int) -> bytes:
        """That many bytes, or all until the end."""

        def read() -> bytes:
            data = bytearray()
            while len(data) < size and (more := self.peer.recv(1 << 20)):
                data += more
            return bytes(data)

        return await deferToThread(read)

    async def stuff(self, count: int = 200) -> bytes:
        """Write until the system takes no more; all that was written."""
        pieces = [bytes([n % 251]) * 100_000 for n in range(count)]
        for piece in pieces:
            self.transport.write(piece)
        await deferLater(reactor, 0.05)
        return b"".join(pieces)


@contextlib.asynccontextmanager
async def connection(folder: Path, prompt: bool = True) -> AsyncIterator[Pair]:
    authority, protocol = Authority(), Server()
    files = TlsFiles(*authority.issue("localhost").write(folder))
    inner: Any = Factory()
    inner.buildProtocol = lambda address: protocol
    factory = TLSMemoryBIOFactory(ServerTls(files, reactor), False, inner, reactor)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    if prompt:
        assert send_at_once(port)
    plain = socket.create_connection(("127.0.0.1", port.getHost().port), PATIENCE)
    pair = Pair(None, protocol, plain, authority.issued.pem)
    try:
        pair.transport = await protocol.connected_
        assert type(pair.transport) is (PromptTls if prompt else BufferingTLSTransport)
        yield pair
        if not protocol.lost.called:
            pair.transport.abortConnection()
            await protocol.lost
    finally:
        (pair.peer or plain).close()
        plain.close()
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_what_is_written_is_with_the_peer_before_the_reactor_turns(tmp_path: Path) -> None:
    async with connection(tmp_path) as pair:
        await pair.shake()
        pair.transport.write(b"one")
        pair.transport.writeSequence([b"two", b"three"])
        pair.transport.write(b"")
        # Here, in the reactor's own thread.
        heard = b""
        while len(heard) < 11:
            heard += pair.peer.recv(100)
        assert heard == b"onetwothree"


@pytest.mark.parametrize("prompt", [True, False])
@pytest_twisted.ensureDeferred
async def test_unsent_bytes_are_those_that_the_system_has_not_taken(
    tmp_path: Path, prompt: bool
) -> None:
    async with connection(tmp_path, prompt) as pair:
        made = pair.transport
        assert unsent_bytes(made) == 0
        made.write(b"x" * 1000)
        assert unsent_bytes(made) == 1000, "before the handshake nothing can go out"
        await pair.shake()
        assert unsent_bytes(made) == 0
        made.write(b"y" * 1000)
        assert unsent_bytes(made) == (0 if prompt else 1000)
        assert await pair.read(2000) == b"x" * 1000 + b"y" * 1000
        assert unsent_bytes(made) == 0
        # Nobody reads: at some point the system takes no more.
        written = await pair.stuff()
        waiting = unsent_bytes(made)
        assert 1_000_000 < waiting < len(written) * 1.01
        made.write(b"last")
        assert waiting + 4 <= unsent_bytes(made) < waiting + 100
        assert await pair.read(len(written) + 4) == written + b"last"
        assert unsent_bytes(made) == 0


@pytest_twisted.ensureDeferred
async def test_a_close_waits_for_what_was_written_before_it(tmp_path: Path) -> None:
    async with connection(tmp_path) as pair:
        await pair.shake()
        written = await pair.stuff()
        pair.transport.loseConnection()
        pair.transport.write(b"void")
        assert await pair.read(len(written) + 1) == written
        pair.peer.close()
        await pair.protocol.lost


@pytest_twisted.ensureDeferred
async def test_what_was_written_before_the_handshake_is_not_overtaken(tmp_path: Path) -> None:
    async with connection(tmp_path) as pair:
        pair.transport.write(b"one")
        await pair.shake()
        pair.transport.write(b"two")
        assert await pair.read(6) == b"onetwo"


@pytest_twisted.ensureDeferred
async def test_nothing_is_sent_on_a_connection_that_is_gone(tmp_path: Path) -> None:
    async with connection(tmp_path) as pair:
        await pair.shake()
        pair.transport.abortConnection()
        pair.transport.write(b"void")
        await pair.protocol.lost
        pair.transport.write(b"void")
        pair.transport.loseConnection()
        pair.transport.abortConnection()
        with contextlib.suppress(OSError):
            assert await pair.read(1) == b""


@pytest_twisted.ensureDeferred
async def test_a_peer_that_speaks_no_tls_any_more_is_found_out_later(tmp_path: Path) -> None:
    async with connection(tmp_path) as pair:
        await pair.shake()
        raw = socket.socket(fileno=pair.peer.detach())
        raw.sendall(b"no record at all, and long enough to be taken for one")
        await pair.protocol.lost
        for _ in range(3):
            pair.transport.write(b"void")
        raw.close()


@pytest_twisted.ensureDeferred
async def test_a_producer_is_paused_and_told_to_go_on_as_ever(tmp_path: Path) -> None:
    class Producer:
        def __init__(self, consumer: Any) -> None:
            self.consumer, self.left, self.pauses = consumer, 100, 0

        def resumeProducing(self) -> None:
            while self.left:
                self.left -= 1
                self.consumer.write(b"p" * 100_000)
                if self.pauses:
                    return

        def pauseProducing(self) -> None:
            self.pauses += 1

        def stopProducing(self) -> None:
            self.left = 0

    async with connection(tmp_path) as pair:
        await pair.shake()
        producer = Producer(pair.transport)
        pair.transport.registerProducer(producer, True)
        producer.resumeProducing()
        assert await pair.read(10_000_000) == b"p" * 10_000_000
        assert producer.pauses > 0
        pair.transport.unregisterProducer()


# What the versions must have.


def test_the_installed_version_is_as_expected() -> None:
    assert fits_tls()


@pytest.mark.parametrize("name", ["_handshakeDone", "_lostTLSConnection", "_aborted", "_producer"])
def test_a_twisted_without_one_of_its_states_is_not_as_expected(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(tls.TLSMemoryBIOProtocol, name)
    assert "Twisted" in str(misfit())


def test_a_twisted_that_keeps_what_is_written_elsewhere_is_not_as_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls.TLSMemoryBIOProtocol, "_bufferedWrite", lambda self, octets: None)
    assert "Twisted" in str(misfit())


def test_other_kinds_of_tls_stay_as_they_are(tmp_path: Path) -> None:
    class Theirs(BufferingTLSTransport):
        pass

    files = TlsFiles(*Authority().issue("localhost").write(tmp_path))
    factory: Any = TLSMemoryBIOFactory(ServerTls(files, reactor), False, Factory(), reactor)
    factory.protocol = Theirs
    encrypt_at_once(factory)
    assert factory.protocol is Theirs
    factory.protocol = BufferingTLSTransport
    encrypt_at_once(WrappingFactory(factory))
    assert factory.protocol is PromptTls
