"""A connection of the reactor's on one side, a plain socket on the other."""

import contextlib
import socket

from twisted.internet import reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from twisted_relay.shell.transport import (
    PromptServer,
    PromptUnixServer,
    send_at_once,
    unsent_bytes,
)


class Server(Protocol):
    """Keeps the reason for which it was lost."""

    def __init__(self):
        self.connected_, self.lost = Deferred(), Deferred()

    def connectionMade(self):
        self.connected_.callback(self.transport)

    def connectionLost(self, reason):
        self.lost.callback(reason.type)


@contextlib.asynccontextmanager
async def connection(prompt=True, path=None):
    """A transport of the port's, its protocol, and a socket at the other end."""
    protocol = Server()
    factory = Factory()
    factory.buildProtocol = lambda address: protocol
    if path is None:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        peer = socket.create_connection(("127.0.0.1", port.getHost().port))
        kind = PromptServer if prompt else tcp.Server
    else:
        port = reactor.listenUNIX(path, factory)
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(path)
        kind = PromptUnixServer
    if prompt:
        assert send_at_once(port)
    peer.setblocking(False)
    try:
        made = await protocol.connected_
        assert type(made) is kind
        yield made, protocol, peer
        made.abortConnection()
        if not protocol.lost.called:
            await protocol.lost
    finally:
        peer.close()
        await port.stopListening()


async def read(peer, size):
    """That many bytes, or all until the end."""
    data = b""
    while len(data) < size:
        try:
            more = peer.recv(1 << 20)
        except BlockingIOError:
            await deferLater(reactor, 0.001)
            continue
        if not more:
            break
        data += more
    return data


def pieces(count, size=100_000):
    return [bytes([n % 251]) * size for n in range(count)]


async def stuff(made, count=200):
    """Write until the system takes no more; all that was written."""
    written = pieces(count)
    for piece in written:
        made.write(piece)
    await deferLater(reactor, 0.1)
    assert 0 < unsent_bytes(made) < sum(map(len, written))
    return b"".join(written)
