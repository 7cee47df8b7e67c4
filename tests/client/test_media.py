"""Files in pieces, without a network: cut, sealed, put together, and refused."""

import hashlib
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.client import (
    FileFailed,
    FileOffered,
    FileProgress,
    FileReceived,
    RoomCipher,
    TooLarge,
    Unreadable,
    frames,
)
from twisted_relay.client.events import Media
from twisted_relay.client.incoming import PATIENCE, Incoming
from twisted_relay.client.limits import Limits
from twisted_relay.client.media import (
    Assembly,
    Cut,
    MediaError,
    context,
    file_part,
    open_picture,
    picture_part,
    piece_bytes,
)
from twisted_relay.client.messages import FileMessage
from twisted_relay.client.part import MediaPart

CIPHER = RoomCipher(bytes(range(32)))
CONTENT = bytes(range(256)) * 12  # three pieces of 1024 bytes
CUT = Cut(len(CONTENT), 1024)


def announcement(content: bytes = CONTENT, media_id: str = "file-1", **other: Any) -> FileMessage:
    known: dict[str, Any] = {
        "id": "announce-1",
        "ts": 5,
        "sender": "Ann",
        "media_id": media_id,
        "name": "numbers.bin",
        "mime": "application/x-numbers",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return FileMessage(**known | other)


def parts(content: bytes = CONTENT, media_id: str = "file-1", piece: int = 1024) -> list[MediaPart]:
    cut = Cut(len(content), piece)
    return [file_part(CIPHER, content, cut, index, media_id) for index in range(cut.count)]


def heard(part: MediaPart, member_id: str = "ann", frame_id: str = "frame-id") -> Media:
    return Media(frame_id, member_id, "Ann", part)


@given(st.binary(min_size=1, max_size=6000), st.integers(1, 3000), st.randoms())
def test_what_was_cut_comes_together_in_any_order(content: bytes, piece: int, random: Any) -> None:
    pieces = parts(content, piece=piece)
    assert len(pieces) == -(-len(content) // piece)
    shuffled = [*pieces, *random.sample(pieces, len(pieces) // 2)]
    random.shuffle(shuffled)
    assembly = Assembly(announcement(content))
    new = sum(assembly.take(CIPHER, part) for part in shuffled)
    assert new == len(pieces)
    assert assembly.whole
    assert assembly.content() == content


@given(st.integers(4000, 400_000), st.integers(1, 400_000))
def test_every_frame_fits_the_relays_limit(largest: int, size: int) -> None:
    limits = Limits(max_ws_msg_bytes=largest)
    piece, content = piece_bytes(limits), bytes(size)
    assert piece % 1024 == 0
    assert 1024 <= piece <= 131_072
    part = file_part(CIPHER, content, Cut(size, piece), 0, "m" * 22)
    picture = picture_part(CIPHER, content, "image/png", limits)
    for sent in (part, picture):
        if sent is not None:
            body = {"roomId": "r" * 22} | sent.body()
            assert len(frames.build("MEDIA_MSG", body, "i" * 22)) <= largest
    if size <= piece:
        assert picture is not None


def test_a_relay_that_takes_hardly_anything_takes_no_files() -> None:
    with pytest.raises(TooLarge):
        piece_bytes(Limits(max_ws_msg_bytes=3000))


def test_a_picture_is_one_frame_with_its_type_and_anything_else_hides_it() -> None:
    part = picture_part(CIPHER, CONTENT, "image/png", Limits())
    assert part is not None
    assert (part.mime, part.size, len(part.chunks), part.parts) == ("image/png", 3072, 1, None)
    assert CIPHER.open(part.chunks[0], b"media:v1|0|3072") == CONTENT
    assert open_picture(CIPHER, part) == CONTENT
    two = picture_part(CIPHER, bytes(150_000), "image/gif", Limits())
    assert two is not None
    assert (len(two.chunks), open_picture(CIPHER, two)) == (2, bytes(150_000))
    assert picture_part(CIPHER, CONTENT, "image/svg+xml", Limits()) is None
    assert picture_part(CIPHER, bytes(200_000), "image/png", Limits()) is None
    assert picture_part(CIPHER, bytes(150_000), "image/png", Limits(max_media_chunks=1)) is None
    hidden = parts()[0]
    assert (hidden.mime, hidden.part, hidden.parts) == ("application/octet-stream", 0, 3)


def test_a_file_arrives_with_its_name_made_safe() -> None:
    incoming = Incoming(CIPHER)
    told = incoming.announce("ann", announcement(name="../../.ssh/a\x1bb\u202ec.bin"), 0.0)
    assert told == [
        FileOffered("file-1", "ann", "Ann", "abc.bin", "application/x-numbers", len(CONTENT))
    ]
    assert incoming.announce("ann", announcement(), 0.0) == []
    told = [event for part in parts() for event in incoming.take(heard(part), 1.0)]
    assert told == [
        FileProgress("file-1", "ann", 1024, 3072),
        FileProgress("file-1", "ann", 2048, 3072),
        FileProgress("file-1", "ann", 3072, 3072),
        FileReceived("file-1", "ann", "Ann", "abc.bin", "application/x-numbers", CONTENT),
    ]
    assert incoming.deadline is None


def test_repeated_pieces_count_once_and_those_of_others_not_at_all() -> None:
    incoming = Incoming(CIPHER)
    incoming.announce("ann", announcement(), 0.0)
    first, second, third = parts()
    told = incoming.take(heard(first), 1.0)
    assert incoming.take(heard(first, frame_id="another"), 1.0) == []
    assert incoming.take(heard(second, "eve"), 1.0) == []
    assert incoming.take(heard(parts(media_id="unknown")[0]), 1.0) == []
    told += incoming.take(heard(third), 1.0) + incoming.take(heard(second), 1.0)
    assert [event.received for event in told if isinstance(event, FileProgress)] == [
        1024,
        2048,
        3072,
    ]
    assert told[-1].content == CONTENT  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chunks": ("A" * 100,)}, "damaged"),
        ({"chunks": (CUT.seal(RoomCipher(bytes(32)), CONTENT, 0),)}, "another key"),
        ({"chunks": (CUT.seal(CIPHER, CONTENT, 1),)}, "damaged"),
        ({"chunks": (CIPHER.seal(CONTENT[:1023], context(0, 1024)),)}, "another length"),
        ({"chunks": ("A", "A")}, "contradict"),
        ({"size": 3073}, "contradict"),
        ({"parts": 4}, "contradict"),
        ({"chunk_size": 0}, "contradict"),
        ({"chunk_size": 1025}, "damaged"),
        ({"part": 3}, "outside"),
    ],
)
def test_a_piece_that_is_not_of_the_file_ends_it(fields: dict[str, Any], reason: str) -> None:
    incoming = Incoming(CIPHER)
    incoming.announce("ann", announcement(), 0.0)
    first, second, _ = parts()
    (failed,) = incoming.take(heard(attrs.evolve(first, **fields)), 1.0)
    assert isinstance(failed, FileFailed)
    assert reason in failed.reason
    assert (failed.media_id, failed.name) == ("file-1", "numbers.bin")
    assert incoming.take(heard(second), 1.0) == []
    assert incoming.deadline is None


def test_a_piece_of_another_size_than_the_first_ends_it() -> None:
    incoming = Incoming(CIPHER)
    incoming.announce("ann", announcement(), 0.0)
    incoming.take(heard(parts()[0]), 1.0)
    (failed,) = incoming.take(heard(parts(piece=1025)[1]), 1.0)
    assert isinstance(failed, FileFailed)


def test_another_content_than_announced_is_not_handed_on() -> None:
    incoming = Incoming(CIPHER)
    incoming.announce("ann", announcement(sha256="0" * 64), 0.0)
    told = [event for part in parts() for event in incoming.take(heard(part), 1.0)]
    assert told[-1] == FileFailed(
        "file-1", "ann", "numbers.bin", "the content is not what was announced"
    )
    assert not any(isinstance(event, FileReceived) for event in told)


def test_what_is_too_large_empty_or_too_much_at_once_is_not_taken() -> None:
    incoming = Incoming(CIPHER)
    for size, reason in ((10_485_761, "larger"), (0, "empty"), (-1, "empty")):
        (failed,) = incoming.announce("ann", announcement(size=size), 0.0)
        assert isinstance(failed, FileFailed)
        assert reason in failed.reason
    for number in range(4):
        file = announcement(media_id=f"file-{number}", size=10_485_760)
        assert isinstance(incoming.announce(f"member-{number}", file, 0.0)[0], FileOffered)
    (failed,) = incoming.announce("ann", announcement(media_id="file-5"), 0.0)
    assert failed == FileFailed("file-5", "ann", "numbers.bin", "too many files are under way")


def test_patience_counts_from_the_last_piece() -> None:
    incoming = Incoming(CIPHER)
    incoming.announce("ann", announcement(), 10.0)
    incoming.announce("ben", announcement(), 50.0)
    incoming.take(heard(parts()[0]), 100.0)
    assert incoming.deadline == 50.0 + PATIENCE
    assert incoming.expire(169.0) == []
    late = [FileFailed("file-1", "ben", "numbers.bin", "nothing came for two minutes")]
    assert incoming.expire(170.0) == late
    assert incoming.deadline == 220.0
    assert [event.reason for event in incoming.give_up("why")] == ["why"]  # type: ignore[union-attr]
    assert incoming.deadline is None


def test_pictures_come_without_an_announcement_and_nothing_else_does() -> None:
    incoming = Incoming(CIPHER)
    part = picture_part(CIPHER, CONTENT, "image/webp", Limits())
    assert part is not None
    (told,) = incoming.take(heard(attrs.evolve(part, media_id=None)), 0.0)
    assert told == FileReceived("frame-id", "ann", "Ann", "picture.webp", "image/webp", CONTENT)
    for mime in ("image/svg+xml", "text/html", "application/octet-stream"):
        assert incoming.take(heard(attrs.evolve(part, mime=mime)), 0.0) == []
    assert incoming.take(heard(attrs.evolve(part, part=0, parts=2)), 0.0) == []


@pytest.mark.parametrize(
    "fields", [{"chunks": ("A" * 100,)}, {"size": 1}, {"chunk_size": 0}, {"size": 10_485_761}]
)
def test_a_damaged_picture_is_unreadable(fields: dict[str, Any]) -> None:
    part = picture_part(CIPHER, CONTENT, "image/webp", Limits())
    assert part is not None
    (told,) = Incoming(CIPHER).take(heard(attrs.evolve(part, **fields)), 0.0)
    assert isinstance(told, Unreadable)
    assert told.reason.startswith("a picture: ")


SMALL = st.integers(0, 3)
PARTS = st.builds(
    MediaPart,
    mime=st.sampled_from(["image/png", "application/octet-stream"]),
    size=st.sampled_from([0, 1, len(CONTENT), 10**30]),
    chunk_size=st.sampled_from([0, 1, 1024, 10**30]),
    chunks=st.lists(
        st.sampled_from(["", "AAAA", "é", CUT.seal(CIPHER, CONTENT, 0)]), max_size=3
    ).map(tuple),
    media_id=st.sampled_from([None, "file-1"]),
    part=st.none() | SMALL | st.just(10**30),
    parts=st.none() | SMALL,
)


@given(st.lists(PARTS, max_size=6))
def test_no_media_frame_of_a_member_does_any_harm(sent: list[MediaPart]) -> None:
    incoming = Incoming(CIPHER)
    incoming.announce("ann", announcement(), 0.0)
    for part in sent:
        told = incoming.take(heard(part), 1.0)
        assert not any(isinstance(event, FileReceived) for event in told)


def test_half_a_file_has_no_content() -> None:
    assembly = Assembly(announcement())
    assembly.take(CIPHER, parts()[1])
    assert not assembly.whole
    with pytest.raises(MediaError):
        assembly.content()
