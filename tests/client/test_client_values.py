"""Frames, limits, waits and the outbox: what of the transport needs no socket."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from twisted_relay.client import frames
from twisted_relay.client.backoff import Backoff
from twisted_relay.client.frames import Frame, FrameError
from twisted_relay.client.limits import Limits
from twisted_relay.client.link import UrlError, check_url
from twisted_relay.client.outbox import Outbox, Outgoing, Repeats
from twisted_relay.client.pace import Pace
from twisted_relay.client.part import MediaPart
from twisted_relay.core.limits import Bucket

URL_SAFE = st.text("abcXYZ019-_", min_size=8, max_size=128)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.text("ABC_", min_size=1), URL_SAFE, st.dictionaries(TEXTS, TEXTS | st.integers(0, 9)))
def test_frames_round_trip(kind: str, frame_id: str, body: dict[str, object]) -> None:
    frame = frames.parse(frames.build(kind, body, frame_id))
    assert (frame.t, frame.id, frame.body, frame.re) == (kind, frame_id, body, None)


@given(st.binary())
def test_parsing_anything_gives_a_frame_or_a_frame_error(payload: bytes) -> None:
    with contextlib.suppress(FrameError):
        frames.parse(payload)


def test_a_frame_leaves_out_what_is_none_and_ignores_what_it_does_not_know() -> None:
    built = json.loads(frames.build("JOIN_REQUEST", {"label": None, "roomId": "r"}, "12345678"))
    assert built == {"v": 1, "t": "JOIN_REQUEST", "id": "12345678", "body": {"roomId": "r"}}
    frame = frames.parse(b'{"v":1,"t":"X","id":"i","body":{"n":1},"re":"r","new":[1]}')
    assert (frame.re, frame.number("n"), frame.number("m", 7)) == ("r", 1, 7)
    with pytest.raises(FrameError, match="roomId"):
        frame.text("roomId")


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b'{"t":1}', b'{"v":2,"t":"X"}', b"[" * 100_000, b'{"t":"\xff"}']
)
def test_what_is_no_frame_is_one_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        frames.parse(payload)


@pytest.mark.parametrize(
    "part",
    [
        MediaPart("image/png", 5, 1024, ("AAAA",)),
        MediaPart("application/octet-stream", 2000, 1024, ("AAAA",), "media-id", 0, 2),
    ],
)
def test_a_media_part_goes_over_the_wire_and_back(part: MediaPart) -> None:
    frame = frames.parse(frames.build("MEDIA_MSG", part.body(), "12345678"))
    assert MediaPart.of(frame) == part
    assert ("part" in frame.body) == (part.part is not None)


@pytest.mark.parametrize(
    "wrong", [{"chunks": "AA"}, {"chunks": [1]}, {"size": "-1"}, {"chunkSize": None}, {"mime": 1}]
)
def test_half_a_media_frame_is_one_error_and_digits_are_numbers(wrong: dict[str, object]) -> None:
    body: dict[str, object] = {"mime": "a/b", "size": "5", "chunkSize": "1024", "chunks": ["AA"]}
    assert MediaPart.of(Frame("MEDIA_MSG", body=body)) == MediaPart("a/b", 5, 1024, ("AA",))
    with pytest.raises(FrameError):
        MediaPart.of(Frame("MEDIA_MSG", body=body | wrong))


def test_limits_are_what_hello_says_and_else_the_usual_ones() -> None:
    told = {"maxWsMsgBytes": 9, "maxMsgsPer10s": True, "maxBytesPer10s": 0, "maxNews": 3}
    assert Limits.of(Frame("HELLO", body={"limits": told})) == Limits(max_ws_msg_bytes=9)
    assert Limits.of(Frame("HELLO", body={"limits": []})) == Limits()


def test_waits_double_up_to_the_longest_and_jitter_stays_in_the_upper_half() -> None:
    for drawn, share in ((0.0, 0.5), (1.0, 1.0)):
        backoff = Backoff(lambda drawn=drawn: drawn, first=1.0, longest=8.0)
        assert [backoff.next() for _ in range(5)] == [share * n for n in (1, 2, 4, 8, 8)]
        backoff.reset()
        assert backoff.next() == share


def outgoing(number: int, size: int = 1) -> Outgoing:
    return Outgoing(str(number), b"f" * size, Deferred())


def test_the_outbox_keeps_order_rate_and_what_is_not_acknowledged() -> None:
    box = Outbox()
    box.allow(Limits(max_msgs_per_10s=5))  # four at once, then one in 2.5 s
    for number in range(6):
        box.add(outgoing(number))
    sent, again = box.due(100.0)
    assert [message.id for message in sent] == ["0", "1", "2", "3"]
    assert again == pytest.approx(2.501)
    box.take_out("1")
    box.again()
    sent, _ = box.due(105.0)
    assert [message.id for message in sent] == ["0", "2"]
    assert [message.id for message in box.due(200.0)[0]] == ["3", "4", "5"]
    assert box.take_out("1") is None
    assert [message.id for message in box.clear()] == ["0", "2", "3", "4", "5"]


def test_bytes_are_paced_too_and_what_comes_later_does_not_overtake() -> None:
    box = Outbox()
    box.allow(Limits(max_bytes_per_10s=10_000))  # 8000 at once, 800 a second
    for number, size in enumerate((6000, 6000, 10)):
        box.add(outgoing(number, size))
    sent, again = box.due(0.0)
    assert [message.id for message in sent] == ["0"]
    assert again == pytest.approx(5.001)
    assert [message.id for message in box.due(5.0)[0]] == ["1"]
    assert [message.id for message in box.due(5.1)[0]] == ["2"]


def test_a_frame_larger_than_the_bucket_leaves_once_it_is_full() -> None:
    pace = Pace()
    pace.allow(Limits(max_bytes_per_10s=1000))
    assert pace.take(2000, 0.0) == 0.0
    assert pace.take(1, 0.0) == pytest.approx((1 + 1200) / 80 + 0.001)


@given(
    st.integers(5, 300),
    st.integers(1000, 100_000),
    st.lists(st.tuples(st.integers(1, 20_000), st.floats(0, 3)), max_size=60),
)
def test_a_relay_with_these_limits_never_minds(
    messages: int, size: int, sayings: list[tuple[int, float]]
) -> None:
    limits = Limits(max_msgs_per_10s=messages, max_bytes_per_10s=size)
    pace, now = Pace(), 0.0
    pace.allow(limits)
    counts = Bucket(messages, messages / 10, now)
    volume = Bucket(max(size, 20_000), size / 10, now)
    for length, pause in sayings:
        now += pause
        while wait := pace.take(length, now):
            now += wait
        assert counts.spend(1, now)
        assert volume.spend(length, now)


@pytest.mark.parametrize(
    "url",
    [
        *("", "http://a/ws", "ws:///ws", "ws://a:0/", "ws://a:x/", "ws://a\x1b/", "ws://u:p@a/"),
        *("ws://a..b/", "ws://" + "a" * 64 + ".example/", "ws://\ud800/"),
    ],
)
def test_a_bad_address_is_one_line(url: str) -> None:
    with pytest.raises(UrlError, match="looks like"):
        check_url(url)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://a", "ws://a/ws"),
        ("WSS://A.example:8443/p/ws?q=1#f", "wss://a.example:8443/p/ws?q=1"),
        ("ws://[::1]:3001/ws", "ws://[::1]:3001/ws"),
        ("wss://bücher.example/ä/ws?ö=%20", "wss://xn--bcher-kva.example/%C3%A4/ws?%C3%B6=%20"),
    ],
)
def test_an_address_is_as_it_goes_over_the_wire(url: str, address: str) -> None:
    assert check_url(url) == address
    assert check_url(address) == address


def test_repeats_are_known_by_sender_and_id_among_the_last_ones() -> None:
    repeats = Repeats(remembered=2)
    heard = [repeats.is_repeat(*key) for key in ("aa", "aa", "ba", "ca", "ba", "aa")]
    assert heard == [False, True, False, False, True, False]
    assert not any(repeats.is_repeat("", "a") for _ in range(2))
