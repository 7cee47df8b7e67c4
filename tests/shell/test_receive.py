"""Whole text frames taken past Autobahn: the same happens as if Autobahn had had them."""

import itertools
import os
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from twisted_relay.core.errors import Close
from twisted_relay.shell.receive import text_message
from twisted_relay.shell.unfinished import MESSAGE_SECONDS
from twisted_relay.shell.websocket import RelayFactory

MOST = 3000
MASK = b"\x9a\x00\xff\x31"
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def masked(payload, mask=MASK):
    return bytes(byte ^ key for byte, key in zip(payload, itertools.cycle(mask), strict=False))


def frame(payload, first=0x81, mask=MASK, wide=0):
    """A frame; ``wide`` (126 or 127) spells its length longer than it must be."""
    size = len(payload)
    kind = max(wide, 0 if size < 126 else 126 if size < 65536 else 127)
    length = {0: b"", 126: (size % 65536).to_bytes(2, "big"), 127: size.to_bytes(8, "big")}[kind]
    head = bytes((first, (0x80 if mask else 0) | (kind or size))) + length
    return head + mask + (masked(payload, mask) if mask else payload)


# What is taken, and what is left.


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1023, 1024, 1025, 4001, 65535])
def test_a_whole_text_frame_is_taken_whatever_its_size(size):
    text = os.urandom(size).hex().encode()[:size]
    data = b"before" + frame(text) + b"after"
    assert text_message(data, 6, 65535) == (text, len(data) - 5)


@pytest.mark.parametrize("size", [40, 1500])
def test_text_beyond_ascii_is_taken_if_it_is_utf8(size):
    text = ("\N{GRINNING FACE}" * size).encode()[: size * 4]
    assert text_message(frame(text), 0, 10_000) == (text, len(frame(text)))
    assert text_message(frame(text[:-1]), 0, 10_000) is None
    assert text_message(frame(b"\xed\xa0\x80" * size), 0, 10_000) is None


@pytest.mark.parametrize(
    "data",
    {
        "nothing": b"",
        "half a head": frame(b"text")[:5],
        "half a text": frame(b"text")[:-1],
        "half a wide head": frame(b"a" * 200)[:7],
        "the first fragment": frame(b"text", first=0x01),
        "a later fragment": frame(b"text", first=0x80),
        "a binary": frame(b"text", first=0x82),
        "a ping": frame(b"text", first=0x89),
        "a close": frame(b"\x03\xe8", first=0x88),
        "a reserved bit": frame(b"text", first=0xC1),
        "no mask": frame(b"text", mask=b""),
        "no mask, wide": frame(b"a" * 200, mask=b""),
        "a length not minimal": frame(b"text", wide=126),
        "a length of 64 bits": frame(b"text", wide=127),
        "over the limit": frame(b"a" * (MOST + 1)),
    }.items(),
    ids=lambda item: item[0],
)
def test_anything_else_is_left_to_autobahn(data):
    assert text_message(data[1], 0, MOST) is None


# The same as Autobahn's own path.


class Transport(StringTransport):
    """Takes down what is written, and what else the connection asks for."""

    aborted = paused = False

    def pauseProducing(self):
        self.paused = True

    def resumeProducing(self):
        self.paused = False

    def abortConnection(self):
        self.aborted = True

    def setTcpNoDelay(self, enabled):
        pass

    def unregisterProducer(self):
        pass


class FakeRelay:
    """Takes down what it hears; some texts make it pause, resume, or close the connection."""

    draining = False

    def __init__(self, pings_allowed):
        self.heard = []
        self.pings_left = pings_allowed

    def opened(self, connection):
        self.connection = connection
        return SimpleNamespace(heard_at=0.0)

    def received(self, client, payload):
        assert type(payload) is bytes
        self.heard.append((client.heard_at, payload))
        if payload.startswith(b"close"):
            self.connection.close(Close.RATE_LIMIT)
        elif payload.startswith(b"pause"):
            self.connection.pause()
        elif payload.startswith(b"resume"):
            self.connection.resume()
        elif payload.startswith(b"say"):
            self.connection.write(b"\x81\x02hi")

    def received_binary(self, client):
        self.heard.append((client.heard_at, "binary"))
        self.connection.close(Close.INVALID_MESSAGE)

    def admits_frame(self, client):
        self.pings_left -= 1
        self.heard.append((client.heard_at, "counted"))
        if self.pings_left < 0:
            self.connection.close(Close.RATE_LIMIT)
        return self.pings_left >= 0

    def close(self, client, why):
        self.heard.append((client.heard_at, why.reason))
        self.connection.close(why)

    def lost(self, client, why):
        self.heard.append((client.heard_at, why))


def account(chunks, fast_path, pings_allowed=3):
    """All that a connection does when these chunks come: what the relay hears, what is written,
    and how it ends."""
    clock, relay, transport = Clock(), FakeRelay(pings_allowed), Transport()
    admission = SimpleNamespace(release=lambda key: None)
    factory = RelayFactory(relay, admission, clock, MOST, fast_path)
    protocol = factory.buildProtocol(None)
    # No timers on the real reactor.
    protocol.openHandshakeTimeout = protocol.closeHandshakeTimeout = 0
    protocol.makeConnection(transport)
    protocol.dataReceived(HANDSHAKE)
    assert protocol.state == protocol.STATE_OPEN
    for chunk in chunks:
        if transport.disconnecting or transport.aborted:
            break
        clock.advance(1)
        protocol.dataReceived(chunk)
    ended = {
        name: getattr(protocol, name)
        for name in ("state", "localCloseCode", "localCloseReason", "remoteCloseCode", "failedByMe")
    }
    ended |= {"dropped": transport.disconnecting, "aborted": transport.aborted}
    ended["paused"] = transport.paused
    kept = protocol.data, protocol.inside_message, protocol.current_frame is None
    protocol.connectionLost(SimpleNamespace(value=None))
    return relay.heard, transport.value(), ended, kept


texts = st.one_of(
    st.sampled_from([b"close", b"pause", b"resume", b"say", b"", b'{"v":1}']),
    st.text(max_size=40).map(str.encode),
    st.sampled_from([125, 126, 127, 1023, 1024, 1500, MOST, MOST + 1]).map(lambda n: b"a" * n),
    st.sampled_from([300, 700]).map(lambda n: "\N{EURO SIGN}".encode() * n),
)
masks = st.one_of(st.just(MASK), st.binary(min_size=4, max_size=4))
# Mostly what clients send, so that the fast path is met; then anything that a frame can be.
good = st.builds(frame, texts, mask=masks)
controls = st.builds(
    frame,
    st.binary(max_size=125),
    first=st.sampled_from([0x89, 0x8A, 0x88]),
    mask=masks,
)
odd = st.builds(
    frame,
    st.one_of(texts, st.binary(max_size=200)),
    first=st.sampled_from([0x81, 0x81, 0x01, 0x80, 0x00, 0x82, 0xC1, 0xF1, 0x83, 0x8B, 0x09]),
    mask=st.one_of(masks, st.just(b"")),
    wide=st.sampled_from([0, 0, 126, 127]),
)
streams = st.lists(
    st.one_of(good, good, good, controls, odd, st.binary(max_size=20)), max_size=12
).map(b"".join)


@st.composite
def chunkings(draw):
    data = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    ends = [0, *cuts, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(ends) if a < b]


@settings(max_examples=500)
@given(chunkings(), st.integers(0, 4))
def test_any_bytes_in_any_chunks_do_what_they_do_on_autobahns_path(chunks, pings_allowed):
    assert account(chunks, True, pings_allowed) == account(chunks, False, pings_allowed)


@given(streams)
def test_any_bytes_one_by_one_do_what_they_do_on_autobahns_path(data):
    chunks = [data[i : i + 1] for i in range(len(data))]
    assert account(chunks, True) == account(chunks, False)


def both(*chunks):
    fast, plain = account(chunks, True), account(chunks, False)
    assert fast == plain
    return fast


def test_several_messages_in_one_chunk_are_heard_in_order():
    heard, _, _, _ = both(b"".join(frame(str(n).encode()) for n in range(50)))
    assert heard == [(1.0, str(n).encode()) for n in range(50)] + [(1.0, "lost")]


def test_the_end_of_a_chunk_that_is_no_whole_frame_waits_for_the_rest():
    one, two = frame(b"one"), frame(b"two")
    heard, _, _, kept = both(one + two[:3], two[3:] + one)
    assert [text for _, text in heard[:-1]] == [b"one", b"two", b"one"]
    assert kept == (b"", False, True)


def test_a_message_in_fragments_with_whole_frames_around_it():
    parts = frame(b"a", first=0x01), frame(b"b", first=0x00), frame(b"c", first=0x80)
    heard, _, _, _ = both(frame(b"before") + b"".join(parts) + frame(b"after"))
    assert [text for _, text in heard] == [
        b"before",
        "counted",
        "counted",
        b"abc",
        b"after",
        "lost",
    ]


def test_nothing_is_answered_after_a_close_in_the_middle_of_a_chunk():
    chunk = frame(b"say") + frame(b"close") + frame(b"say") + frame(b"", first=0x89)
    _, written, ended, _ = both(chunk)
    assert written.count(b"\x81\x02hi") == 1
    assert b"\x8a" not in written
    assert (ended["localCloseCode"], ended["dropped"]) == (1008, False)


def test_the_answer_to_our_close_is_heard_though_it_came_in_the_same_chunk():
    _, _, ended, _ = both(frame(b"close") + frame(b"\x03\xf0rate", first=0x88))
    assert (ended["remoteCloseCode"], ended["aborted"]) == (1008, True)


def test_what_came_together_with_a_pause_is_heard_all_the_same():
    heard, _, ended, _ = both(frame(b"pause") + frame(b"next"))
    assert [text for _, text in heard] == [b"pause", b"next", "lost"]
    assert ended["paused"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(b"a" * (MOST + 1)), 1009),
        (frame(b"\xff\xfe"), 1007),
        (frame(b"text", mask=b""), 1002),
        (frame(b"text", first=0xC1), 1002),
        (frame(b"text", wide=126), 1002),
    ],
)
def test_what_breaks_the_protocol_after_good_messages_closes_as_ever(wrong, code):
    heard, _, ended, _ = both(frame(b"good") + wrong)
    assert heard[0][1] == b"good"
    assert ended["localCloseCode"] == code


def test_whole_messages_do_not_pass_through_autobahn():
    # Else all of the above would compare Autobahn with itself.
    clock, relay = Clock(), FakeRelay(1)
    factory = RelayFactory(relay, SimpleNamespace(release=lambda key: None), clock, MOST)
    protocol = factory.buildProtocol(None)
    protocol.openHandshakeTimeout = 0
    protocol.makeConnection(Transport())
    protocol.dataReceived(HANDSHAKE)
    passed = []
    protocol._dataReceived = passed.append
    protocol.dataReceived(frame(b"one") + frame(b"two") + frame(b"", first=0x89))
    assert [text for _, text in relay.heard] == [b"one", b"two"]
    assert passed == [frame(b"", first=0x89)]


# What has begun to come, and must be whole in time.

LONG = frame(b"x" * 3000)
PING = frame(b"", first=0x89)
PIECE = frame(b"", first=0x00)


def trickle(chunks, seconds, fast_path):
    """What is heard where so many seconds pass before each chunk; and when it was over."""
    clock, relay, transport = Clock(), FakeRelay(10**6), Transport()
    admission = SimpleNamespace(release=lambda key: None)
    protocol = RelayFactory(relay, admission, clock, MOST, fast_path).buildProtocol(None)
    protocol.openHandshakeTimeout = protocol.closeHandshakeTimeout = 0
    protocol.makeConnection(transport)
    protocol.dataReceived(HANDSHAKE)
    for chunk in chunks:
        clock.advance(seconds)
        if protocol.state != protocol.STATE_OPEN:
            break
        protocol.dataReceived(chunk)
    heard = [what for _, what in relay.heard if what != "counted"]
    over = clock.seconds()
    protocol.connectionLost(SimpleNamespace(value=None))
    clock.advance(1000)
    assert len(protocol.factory.unfinished._since) == 0
    assert clock.getDelayedCalls() == []
    return heard, over


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize(
    "chunks",
    [
        [LONG[i : i + 1] for i in range(200)],
        # The head alone, byte by byte, with all that goes before it.
        [frame(b"first") + LONG[:1], *[LONG[i : i + 1] for i in range(1, 200)]],
        # Fragments, with pings between: neither prolongs the time of their message.
        [frame(b"a", first=0x01), *[PIECE, PING] * 100],
        [frame(b"a", first=0x01), *[PIECE + PING[:2], PING[2:]] * 100],
        # A ping that does not come to its end.
        [frame(b"x" * 120, first=0x89)[i : i + 1] for i in range(120)],
    ],
)
def test_what_dribbles_in_is_cut_off_in_time(chunks, fast_path):
    heard, over = trickle(chunks, 1.0, fast_path)
    assert heard[-1] == "message timeout"
    assert MESSAGE_SECONDS <= over <= MESSAGE_SECONDS + 2


@pytest.mark.parametrize("fast_path", [True, False])
def test_nobody_is_cut_off_who_only_has_much_to_say(fast_path):
    stream = LONG * 40
    # Each chunk ends within a frame, each message takes 3 s.
    chunks = [stream[i : i + 1001] for i in range(0, len(stream), 1001)]
    heard, _ = trickle(chunks, 1.0, fast_path)
    assert heard == [b"x" * 3000] * 40
    pings = PING * 500 + frame(b"y")
    heard, _ = trickle([pings[i : i + 5] for i in range(0, len(pings), 5)], 1.0, fast_path)
    assert heard == [b"y"]
    slow = [LONG[i : i + 60] for i in range(0, len(LONG), 60)]
    heard, _ = trickle([*slow, frame(b"z")], 1.0, fast_path)
    assert heard == [b"x" * 3000, b"z"]


@pytest.mark.parametrize("fast_path", [True, False])
def test_between_messages_there_is_no_deadline(fast_path):
    heard, _ = trickle([LONG[:100], LONG[100:], PING, frame(b"a")], 59.0, fast_path)
    assert heard == [b"x" * 3000, b"a"]
