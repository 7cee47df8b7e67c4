"""What is written goes out at once where it can, and in order always."""

import contextlib
import socket

import pytest
import pytest_twisted
from connections import connection, pieces, read, stuff
from twisted.internet import reactor, tcp
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor

from twisted_relay.shell.transport import send_at_once, unsent_bytes

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
