"""The private attributes of Twisted and Autobahn that are used are still there, and mean the same;
what is written goes out at once where it can, and in order always."""

import contextlib
import socket
import sys

import pytest
import pytest_twisted
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet import abstract, reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactor
from twisted.internet.threads import deferToThread
from twisted.python import log

from twisted_relay.shell import transport
from twisted_relay.shell.transport import (
    PromptServer,
    PromptUnixServer,
    Turns,
    counts_unsent,
    misfit,
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


# What the versions must have.


def test_the_installed_versions_are_as_expected():
    assert misfit() is None
    assert counts_unsent()


@pytest.mark.parametrize("name", ["_tempDataBuffer", "_tempDataLen", "dataBuffer", "offset"])
def test_a_twisted_without_its_buffers_is_not_as_expected(monkeypatch, name):
    made = abstract.FileDescriptor.__init__

    def without(self, reactor=None):
        made(self, reactor)
        self.__dict__.pop(name, None)

    monkeypatch.setattr(abstract.FileDescriptor, "__init__", without)
    monkeypatch.delattr(abstract.FileDescriptor, name, raising=False)
    assert "Twisted" in misfit()
    assert not counts_unsent()


@pytest.mark.parametrize(
    "name", ["disconnecting", "_aborting", "TLS", "_writeDisconnecting", "producer"]
)
def test_a_twisted_without_one_of_its_states_is_not_as_expected(monkeypatch, name):
    for kind in tcp.Server.__mro__:
        if name in vars(kind):
            monkeypatch.delattr(kind, name)
    assert "Twisted" in misfit()


def test_a_twisted_that_sends_otherwise_is_not_as_expected(monkeypatch):
    monkeypatch.setattr(abstract.FileDescriptor, "write", lambda self, data: None)
    assert "Twisted" in misfit()


def test_an_autobahn_that_keeps_its_state_otherwise_is_not_as_expected(monkeypatch):
    received = WebSocketProtocol._dataReceived

    def renamed(self, data):
        received(self, data)
        if hasattr(self, "inside_message"):
            self.is_inside = self.inside_message
            self.inside_message = False

    monkeypatch.setattr(WebSocketProtocol, "_dataReceived", renamed)
    assert "Autobahn" in misfit()


def test_an_autobahn_without_its_mask_is_not_as_expected(monkeypatch):
    monkeypatch.delattr(transport.xormasker, "create_xor_masker")
    assert "Autobahn" in misfit()


# Unsent bytes.


@pytest.mark.parametrize("prompt", [True, False])
@pytest_twisted.ensureDeferred
async def test_unsent_bytes_are_those_that_the_system_has_not_taken(prompt):
    async with connection(prompt) as (made, _, peer):
        assert unsent_bytes(made) == 0
        made.write(b"x" * 1000)
        assert unsent_bytes(made) == (0 if prompt else 1000)
        assert await read(peer, 1000) == b"x" * 1000
        assert unsent_bytes(made) == 0
        # Nobody reads: at some point the system takes no more.
        written = await stuff(made)
        before = unsent_bytes(made)
        made.write(b"last")
        assert unsent_bytes(made) == before + 4
        assert await read(peer, len(written) + 4) == written + b"last"
        assert unsent_bytes(made) == 0


# At once.


@pytest_twisted.ensureDeferred
async def test_what_is_written_is_with_the_peer_before_the_reactor_turns():
    async with connection() as (made, _, peer):
        made.write(b"one")
        made.write(b"two")
        peer.setblocking(True)
        peer.settimeout(5)
        assert peer.recv(3) + peer.recv(3) == b"onetwo"
        assert made not in reactor.getWriters()


@pytest_twisted.ensureDeferred
async def test_what_the_socket_does_not_take_follows_in_order():
    async with connection() as (made, _, peer):
        written = await stuff(made)
        made.writeSequence([b"in ", b"sequence"])
        made.write(b", and last")
        written += b"in sequence, and last"
        assert await read(peer, len(written)) == written


@pytest_twisted.ensureDeferred
async def test_on_a_unix_socket_as_well(tmp_path):
    async with connection(path=str(tmp_path / "socket")) as (made, protocol, peer):
        made.write(b"at once")
        assert peer.recv(9) == b"at once"
        written = await stuff(made)
        made.write(b"last")
        made.loseConnection()
        assert await read(peer, len(written) + 4) == written + b"last"
        await protocol.lost


@pytest_twisted.ensureDeferred
async def test_what_is_written_in_sequence_is_not_overtaken():
    async with connection() as (made, _, peer):
        made.writeSequence([b"one", b"two"])
        made.write(b"three")
        assert await read(peer, 11) == b"onetwothree"


@pytest_twisted.ensureDeferred
async def test_a_close_waits_for_what_was_written_before_it_and_for_what_comes_after():
    async with connection() as (made, protocol, peer):
        written = await stuff(made)
        made.loseConnection()
        made.write(b"after")
        assert await read(peer, len(written) + 6) == written + b"after"
        await protocol.lost


@pytest_twisted.ensureDeferred
async def test_half_a_close_waits_for_what_was_written_before_it():
    async with connection() as (made, _, peer):
        made.write(b"one")
        made.loseWriteConnection()
        made.write(b"two")
        assert await read(peer, 7) == b"onetwo"
        made.write(b"void")


@pytest_twisted.ensureDeferred
async def test_nothing_is_sent_on_a_connection_that_was_aborted_or_is_lost():
    async with connection() as (made, protocol, peer):
        made.abortConnection()
        made.write(b"void")
        await protocol.lost
        made.write(b"void")
        with contextlib.suppress(ConnectionResetError):
            assert await read(peer, 1) == b""


@pytest_twisted.ensureDeferred
async def test_a_peer_that_is_gone_is_found_out_in_the_reactors_turn():
    async with connection() as (made, protocol, peer):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.close()
        for _ in range(3):
            made.write(b"void")
            assert not protocol.lost.called
        await protocol.lost


@pytest.mark.parametrize("streaming", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_producer_is_paused_and_told_to_go_on_as_ever(streaming):
    class Producer:
        """Writes a piece whenever it is told to go on, until there are no more."""

        def __init__(self, consumer):
            self.consumer, self.left, self.pauses = consumer, pieces(200), 0

        def resumeProducing(self):
            if self.left:
                self.consumer.write(self.left.pop(0))

        def pauseProducing(self):
            self.pauses += 1

        def stopProducing(self):
            self.left = []

    async with connection() as (made, _, peer):
        producer = Producer(made)
        made.registerProducer(producer, streaming)
        producer.resumeProducing()
        expected = b"".join(pieces(200))
        assert await read(peer, len(expected)) == expected
        assert (producer.pauses > 0) == streaming
        made.unregisterProducer()


def test_a_port_of_another_kind_stays_as_it_is():
    port = MemoryReactor().listenTCP(0, Factory())
    assert not send_at_once(port)
    other = tcp.Port(0, Factory(), reactor=Clock())
    other.transport = type("Special", (tcp.Server,), {})
    assert not send_at_once(other)


# The reactor's turn.


@pytest_twisted.async_yield_fixture
async def quick():
    turns = Turns(reactor)
    turns.start()
    # The turn in which this fixture is made is not one of them.
    await deferLater(reactor, 0)
    assert reactor.doIteration is vars(reactor)["doIteration"]
    yield turns
    turns.stop()
    assert "doIteration" not in vars(reactor)


@pytest_twisted.ensureDeferred
async def test_events_timers_and_threads_go_on_in_quick_turns(quick):
    async with connection() as (made, protocol, peer):
        heard = Deferred()
        protocol.dataReceived = heard.callback
        peer.send(b"text")
        assert await heard == b"text"
        assert await deferToThread(lambda: 7) == 7
        written = await stuff(made)
        assert await read(peer, len(written)) == written
        peer.close()
        assert await protocol.lost is ConnectionDone


@pytest_twisted.ensureDeferred
async def test_a_bug_met_in_a_quick_turn_ends_its_connection_and_is_logged(quick, monkeypatch):
    logged = []
    monkeypatch.setattr(log, "err", lambda: logged.append(sys.exc_info()[0]))
    async with connection() as (made, protocol, peer), connection() as (_, other, other_peer):
        heard = Deferred()
        other.dataReceived = heard.callback
        protocol.dataReceived = lambda data: 1 / 0
        peer.send(b"text")
        other_peer.send(b"text")
        assert await heard == b"text"
        assert await protocol.lost is ZeroDivisionError
        assert logged == [ZeroDivisionError]


@pytest_twisted.ensureDeferred
async def test_whom_an_earlier_event_of_the_turn_took_out_gets_none(quick):
    async with connection() as (one, first, peer), connection() as (two, second, other_peer):
        heard = []

        def hear_alone(mine, others):
            def data_received(data):
                heard.append(mine)
                others.stopReading()

            return data_received

        first.dataReceived, second.dataReceived = hear_alone(one, two), hear_alone(two, one)
        one.stopReading()
        two.stopReading()
        peer.send(b"text")
        other_peer.send(b"text")
        await deferLater(reactor, 0.02)
        # Both are ready in one turn.
        one.startReading()
        two.startReading()
        await deferLater(reactor, 0.02)
        assert len(heard) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_to_come_soon_comes_after_the_events_of_the_turn_and_before_the_next(quick):
    async with connection() as (one, first, peer), connection() as (two, second, other_peer):
        heard, done = [], Deferred()

        def data_received(data):
            heard.append("event")
            quick.soon(lambda: heard.append("soon"))
            quick.soon(lambda: quick.soon(lambda: heard.append("sooner than the next turn")))
            reactor.callLater(0, done.callback, None) if not done.called else None
            first.dataReceived = second.dataReceived = lambda data: heard.append("event")

        first.dataReceived = second.dataReceived = data_received
        one.stopReading()
        two.stopReading()
        peer.send(b"text")
        other_peer.send(b"text")
        await deferLater(reactor, 0.02)
        one.startReading()
        two.startReading()
        await done
        assert heard == ["event", "event", "soon", "sooner than the next turn"]


@pytest_twisted.ensureDeferred
async def test_what_a_timer_wants_soon_does_not_wait_for_an_event(quick):
    done = Deferred()
    reactor.callLater(0, quick.soon, lambda: done.callback("done"))
    assert await done == "done"


@pytest_twisted.ensureDeferred
async def test_a_timer_that_is_set_at_the_end_of_a_turn_is_in_time(quick):
    done = Deferred()
    late = reactor.callLater(5, done.callback, "late")
    reactor.callLater(0, quick.soon, lambda: reactor.callLater(0.01, done.callback, "in time"))
    assert await done == "in time"
    late.cancel()


@pytest_twisted.ensureDeferred
async def test_a_bug_in_what_comes_soon_is_logged_and_the_rest_comes(quick, no_unseen_failures):
    done = Deferred()
    quick.soon(lambda: 1 / 0)
    quick.soon(lambda: done.callback("done"))
    assert await done == "done"
    assert [event["log_failure"].type for event in no_unseen_failures] == [ZeroDivisionError]
    no_unseen_failures.clear()


@pytest_twisted.ensureDeferred
async def test_before_the_start_and_after_the_end_what_is_to_come_soon_comes_on_a_timer():
    turns, done = Turns(reactor), [Deferred() for _ in range(3)]
    turns.soon(lambda: done[0].callback(0))
    assert await done[0] == 0
    turns.start()
    await deferLater(reactor, 0)
    turns.soon(lambda: done[1].callback(1))
    turns.stop()
    turns.soon(lambda: done[2].callback(2))
    assert [await each for each in done[1:]] == [1, 2]


def test_a_reactor_of_another_kind_or_changed_by_others_stays_as_it_is(quick):
    turn = reactor.doIteration
    another = Turns(reactor)
    another.start()
    another.stop()
    assert reactor.doIteration is turn
    for other in (Clock(), MemoryReactor()):
        before = dict(vars(other))
        Turns(other).start()
        assert vars(other) == before
