"""The private attributes of Twisted that are used are still there, and mean the same."""

import socket

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from twisted_relay.shell.transport import unsent_bytes


@pytest_twisted.ensureDeferred
async def test_unsent_bytes_are_those_that_the_system_has_not_taken():
    connected = Deferred()

    class Server(Protocol):
        def connectionMade(self):
            connected.callback(self.transport)

    port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
    peer = socket.create_connection(("127.0.0.1", port.getHost().port))
    try:
        transport = await connected
        assert unsent_bytes(transport) == 0
        transport.write(b"x" * 1000)
        assert unsent_bytes(transport) == 1000
        while unsent_bytes(transport):
            await deferLater(reactor, 0.01)
        written = 1000
        # Nobody reads: at some point the system takes no more.
        for _ in range(200):
            transport.write(b"x" * 100_000)
            written += 100_000
        await deferLater(reactor, 0.1)
        waiting = unsent_bytes(transport)
        assert 0 < waiting < written
        received = 0
        peer.setblocking(False)
        while received < written:
            try:
                received += len(peer.recv(1 << 20))
            except BlockingIOError:
                await deferLater(reactor, 0.001)
        assert unsent_bytes(transport) == 0
    finally:
        peer.close()
        transport.abortConnection()
        await port.stopListening()
