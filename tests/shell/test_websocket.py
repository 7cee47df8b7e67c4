"""The WebSocket on a real port: what a connection costs and keeps, and which frames without a
message of their own are counted."""

import gc
import weakref
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet import reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from twisted_relay.core.errors import Close
from twisted_relay.core.settings import load_settings
from twisted_relay.shell import service, site, versions, websocket
from twisted_relay.shell.service import RelayService
from twisted_relay.shell.transport import PromptServer
from twisted_relay.shell.websocket import RelayProtocol

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Cookie: a-secret-of-the-browser\r\n\r\n"
)


async def _until(probe):
    for _ in range(500):
        if probe():
            return
        await deferLater(reactor, 0.01)
    raise AssertionError("it did not come about")


class Peer(Protocol):
    """Collects what comes."""

    def __init__(self):
        self.data, self.lost = b"", Deferred()

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, reason):
        self.lost.callback(None)

    async def heard(self, text):
        await _until(lambda: text in self.data)


class Relays:
    """Starts relays in this process, and stops them."""

    def __init__(self):
        self.running, self.peers = [], []

    def start(self, **settings):
        made = RelayService(load_settings({"HOST": "127.0.0.1", "PORT": "0"} | settings))
        made.startService()
        self.running.append(made)
        return made

    async def connect(self, relay):
        """A client that has been greeted; the relay's end of the connection."""
        before = set(relay.relay.clients)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", relay.port.getHost().port)
        peer = await connectProtocol(endpoint, Peer())
        self.peers.append(peer)
        peer.transport.write(HANDSHAKE)
        await peer.heard(b'"HELLO"')
        (client,) = relay.relay.clients - before
        return peer, client.connection

    async def stop(self):
        for peer in self.peers:
            peer.transport.abortConnection()
            if not peer.lost.called:
                await peer.lost
        for relay in self.running:
            await relay.stopService()


@pytest_twisted.async_yield_fixture
async def relays():
    made = Relays()
    yield made
    await made.stop()


SWITCH = pytest.mark.parametrize("fast", ["true", "false"])


@SWITCH
@pytest_twisted.ensureDeferred
async def test_the_setting_selects_the_transport_and_the_receive_path(relays, fast):
    _, connection = await relays.connect(relays.start(FAST_PATH=fast))
    assert type(connection.transport) is (PromptServer if fast == "true" else tcp.Server)
    assert connection.factory.fast_path is (fast == "true")


@SWITCH
@pytest_twisted.ensureDeferred
async def test_small_writes_do_not_wait_for_each_other(relays, fast):
    _, connection = await relays.connect(relays.start(FAST_PATH=fast))
    assert connection.transport.getTcpNoDelay()


@SWITCH
@pytest_twisted.ensureDeferred
async def test_the_limits_of_autobahn_are_in_force(relays, fast):
    relay = relays.start(FAST_PATH=fast, MAX_WS_MSG_BYTES="2000")
    _, connection = await relays.connect(relay)
    assert connection.maxMessagePayloadSize == connection.maxFramePayloadSize == 2000
    assert connection.failByDrop is False
    # Autobahn's timer takes up to a second off; the client must still be able to read the reason.
    assert connection.closeHandshakeTimeout >= 2
    # It would believe anybody; who is believed is decided before Autobahn hears of the connection.
    assert connection.trustXForwardedFor == 0
    assert connection.perMessageCompressionAccept([]) is None
    assert ("failByDrop" in vars(connection)) == (fast == "false")


@SWITCH
@pytest_twisted.ensureDeferred
async def test_messages_are_answered_and_closes_are_told(relays, fast):
    peer, _ = await relays.connect(relays.start(FAST_PATH=fast, MAX_MSGS_PER_10S="5"))
    pings = [b'{"v":1,"t":"PING","id":"a-ping-%d","body":{}}' % n for n in range(9)]
    frames = [bytes((0x81, 0x80 | len(ping))) + b"\0\0\0\0" + ping for ping in pings]
    peer.transport.write(b"".join(frames))
    await peer.heard(b"rate limit exceeded")
    assert [b'"re":"a-ping-%d"' % n in peer.data for n in range(9)] == [True] * 5 + [False] * 4


@pytest_twisted.ensureDeferred
async def test_an_upgraded_connection_keeps_nothing_of_http(relays, monkeypatch):
    relay = relays.start()
    made = []
    for kind in (site.RelayChannel, site.RelayRequest):
        build = kind.__init__

        def noted(self, *args, build=build):
            made.append(weakref.ref(self))
            build(self, *args)

        monkeypatch.setattr(kind, "__init__", noted)
    gc.disable()
    try:
        _, connection = await relays.connect(relay)
        await deferLater(reactor, 0)
        assert len(made) == 2
        assert [ref() for ref in made] == [None, None]
    finally:
        gc.enable()
    assert connection.transport.producer is None
    assert "a-secret-of-the-browser" not in str(vars(connection))


@pytest_twisted.ensureDeferred
async def test_other_versions_of_twisted_or_autobahn_get_the_plain_path(relays, monkeypatch):
    said = []
    monkeypatch.setattr(versions, "misfit", lambda: "the installed Twisted is another")
    monkeypatch.setattr(
        service.RelayService,
        "_log",
        SimpleNamespace(info=lambda *a, **k: None, warn=lambda *a, **k: said.append(k)),
    )
    relay = relays.start()
    _, connection = await relays.connect(relay)
    assert type(connection.transport) is tcp.Server
    assert connection.factory.fast_path is False
    assert said == [{"event": "plain_path", "fault": "the installed Twisted is another"}]


@pytest_twisted.ensureDeferred
async def test_a_twisted_that_does_not_show_its_buffers_still_finds_slow_clients(
    relays, monkeypatch
):
    monkeypatch.setattr(websocket, "counts_unsent", lambda: False)
    relay = relays.start(FAST_PATH="false", SLOW_CONSUMER_BUFFER_THRESHOLD="300000")
    peer, connection = await relays.connect(relay)
    # Somebody who reads is not cut, however much it is.
    for _ in range(100):
        connection.write(b"\x81\x7e\xff\xff" + b"a" * 65535)
        await deferLater(reactor, 0)
    await _until(lambda: connection.unsent_bytes() == 0)
    peer.transport.pauseProducing()
    while connection.unsent_bytes() <= 300_000:
        connection.write(b"\x81\x7e\xff\xff" + b"a" * 65535)
        await deferLater(reactor, 0)
    waiting = connection.unsent_bytes()
    connection.write(b"\x81\x02hi")
    assert connection.unsent_bytes() == waiting + 4
    peer.transport.resumeProducing()
    await peer.heard(b"\x81\x02hi")
    await _until(lambda: connection.unsent_bytes() == 0)
    (client,) = relay.relay.clients
    relay.relay.close(client, Close.SLOW_CONSUMER)
    await peer.heard(b"slow consumer")
    await peer.lost


# Frames that make up no message.


@pytest.fixture
def connection():
    """An open connection whose pings go nowhere, and the frames of it that were counted."""
    counted = []
    protocol = RelayProtocol()
    protocol.state = RelayProtocol.STATE_OPEN
    protocol.failedByMe = protocol.inside_message = False
    protocol.maxMessagePayloadSize = protocol.maxFramePayloadSize = 0
    protocol.sendPing = lambda payload=None: None
    protocol._client = object()
    protocol.factory = SimpleNamespace(
        relay=SimpleNamespace(admits_frame=lambda client: counted.append(client) or True)
    )
    return protocol, counted


def test_the_pong_that_answers_our_ping_is_free_and_any_other_is_counted(connection):
    protocol, counted = connection
    protocol.ping()
    protocol.onPong(b"")
    assert counted == []
    protocol.onPong(b"")
    assert len(counted) == 1


def test_the_first_fragment_of_a_message_is_free_and_each_further_one_is_counted(connection):
    protocol, counted = connection
    for expected in (2, 4):
        protocol.onMessageBegin(False)
        for _ in range(3):
            protocol.onMessageFrameBegin(0)
        assert len(counted) == expected
