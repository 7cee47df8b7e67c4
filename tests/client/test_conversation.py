"""A conversation against a relay in miniature: what is hard to bring about with a real one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from twisted_relay.client import (
    ClientError,
    Conversation,
    FileFailed,
    FileOffered,
    FileReceived,
    Refused,
    RoomCipher,
    Said,
    SeatLost,
    TooLarge,
    Unreadable,
    events,
    media,
    messages,
)
from twisted_relay.client.cipher import CHAT_CONTEXT

CIPHER = RoomCipher(bytes(range(32)))
Talkers = Callable[..., Any]
Until = Callable[..., Any]


def say(seat: Any, plaintext: bytes, frame_id: str = "frame-0001") -> None:
    body = {"roomId": "room-room", "memberId": "ann", "ciphertextB64": ""}
    body["ciphertextB64"] = CIPHER.seal(plaintext, CHAT_CONTEXT)
    seat.tell("APP_MSG", body, id=frame_id)


def offer(seat: Any, content: bytes, media_id: str = "file-0001") -> media.Cut:
    file = messages.FileMessage(
        media_id, 1, "Ann", media_id, "n.bin", "a/b", len(content), "0" * 64
    )
    say(seat, messages.encode(file), media_id)
    return media.Cut(len(content), 1024)


def piece(seat: Any, content: bytes, cut: media.Cut, index: int) -> None:
    part = media.file_part(CIPHER, content, cut, index, "file-0001")
    body = part.body() | {"roomId": "room-room", "memberId": "ann", "from": "Ann"}
    seat.tell("MEDIA_MSG", body, id=f"piece-{index:04}")


async def test_what_is_said_is_heard_and_ones_own_is_marked(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    ann = talkers(fake_relay.url, name="Ann")
    joined = await ann.talk.create()
    assert (ann.talk.room_id, ann.talk.label, ann.talk.member_id) == ("room-room", "P1", "me")
    assert (ann.talk.participants, joined.participants) == (1, 1)
    await ann.talk.say("hello")
    frame = fake_relay.frames("APP_MSG")[0]
    plain = json.loads(CIPHER.open(frame["body"]["ciphertextB64"], b"chat:v1"))
    assert (plain["type"], plain["from"], plain["text"]) == ("text", "P1", "hello")
    assert plain["id"] == frame["id"]
    text = messages.TextMessage("other-id", 7, "Ben", "hi")
    say(fake_relay.seats[0], messages.encode(text), "frame-0002")
    await until(lambda: len(ann.of(Said)) == 2)
    assert ann.of(Said) == [
        Said(frame["id"], "me", "P1", "hello", plain["ts"], True),
        Said("frame-0002", "ann", "Ben", "hi", 7, False),
    ]
    fake_relay.seats[0].tell("ROOM_STATS", {"roomId": "room-room", "participants": 4, "max": 9})
    await until(lambda: ann.talk.participants == 4)


async def test_what_cannot_be_read_is_said_and_never_shown(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()
    seat = fake_relay.seats[0]
    say(seat, b'{"type":"poll","text":"secret"}', "frame-0001")
    seat.tell("APP_MSG", {"memberId": "eve", "ciphertextB64": "AAAA"}, id="frame-0002")
    await until(lambda: len(ann.of(Unreadable)) == 2)
    unknown, foreign = ann.of(Unreadable)
    assert unknown == Unreadable("ann", "a message of a kind that this client does not know")
    assert (foreign.member_id, "another room key" in foreign.reason) == ("eve", True)


async def test_what_was_sealed_by_one_is_not_heard_again_from_another(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()
    seat = fake_relay.seats[0]
    await ann.talk.say("mine")
    own = fake_relay.frames("APP_MSG")[0]["body"]["ciphertextB64"]
    plain = messages.encode(messages.TextMessage("frame-0001", 7, "Ben", "yes"))
    first = CIPHER.seal(plain, CHAT_CONTEXT)
    for number, (member_id, sealed) in enumerate(
        [("ben", first), ("eve", first), ("ben", first), ("eve", own)]
    ):
        body = {"memberId": member_id, "ciphertextB64": sealed}
        seat.tell("APP_MSG", body, id=f"frame-{number:04}")
    last = messages.TextMessage("frame-last", 7, "Ben", "last")
    say(seat, messages.encode(last), "frame-last")
    await until(lambda: [said.text for said in ann.of(Said)][-1] == "last")
    assert [(said.member_id, said.text) for said in ann.of(Said)] == [
        ("me", "mine"),
        ("ben", "yes"),
        ("ann", "last"),
    ]


async def test_ones_own_is_told_even_if_another_has_sent_it_before(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()

    def stolen(seat: Any, frame: Any) -> None:
        seat.tell("APP_MSG", frame["body"] | {"memberId": "eve"}, id="frame-of-eve")
        fake_relay.usual(seat, frame)

    fake_relay.answer = stolen
    await ann.talk.say("mine")
    assert [said.own for said in ann.of(Said)] == [False, True]
    fake_relay.answer = fake_relay.usual


async def test_a_gap_is_told_and_ends_what_was_under_way(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()
    cut = offer(fake_relay.seats[0], bytes(3000))
    piece(fake_relay.seats[0], bytes(3000), cut, 0)
    fake_relay.seats[0].tell("GAP", {"roomId": "room-room"})
    piece(fake_relay.seats[0], bytes(3000), cut, 1)
    await until(lambda: ann.of(FileFailed))
    assert ann.heard[-2:] == [
        events.Gap(),
        FileFailed("file-0001", "ann", "n.bin", "a part of it may be missing"),
    ]


async def test_a_file_that_stops_is_given_up(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    clock = Clock()
    ann = talkers(fake_relay.url, clock=clock)
    await ann.talk.create()
    cut = offer(fake_relay.seats[0], bytes(3000))
    await until(lambda: ann.of(FileOffered))
    clock.advance(100)
    piece(fake_relay.seats[0], bytes(3000), cut, 0)
    await until(lambda: len(ann.heard) == 3)
    clock.advance(119)
    assert not ann.of(FileFailed)
    clock.advance(1)
    late = FileFailed("file-0001", "ann", "n.bin", "nothing came for two minutes")
    assert ann.of(FileFailed) == [late]
    offer(fake_relay.seats[0], bytes(3000), "file-0002")
    await until(lambda: len(ann.of(FileOffered)) == 2)
    await ann.talk.leave()
    assert ann.heard[-2:] == [
        FileFailed("file-0002", "ann", "n.bin", "the conversation is over"),
        events.Ended("left"),
    ]
    assert not clock.getDelayedCalls()


async def test_a_file_goes_in_pieces_one_after_the_other_and_text_between_them(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    fake_relay.limits |= {"maxWsMsgBytes": 8192}
    ann = talkers(fake_relay.url)
    await ann.talk.create()
    content, moved, said = bytes(range(256)) * 64, [], []

    def progress(sent: int, total: int) -> None:
        moved.append((sent, total))
        if len(moved) == 2:
            said.append(ann.talk.say("between"))

    await ann.talk.send_file("a.bin", content, "a/b", progress)
    await said[0]
    heard = [frame for frame in fake_relay.seats[0].heard if frame["t"] != "ROOM_CREATE"]
    kinds = [frame["t"] for frame in heard]
    assert kinds == ["APP_MSG", "MEDIA_MSG", "MEDIA_MSG", "APP_MSG", "MEDIA_MSG", "MEDIA_MSG"]
    bodies = [frame["body"] for frame in heard if frame["t"] == "MEDIA_MSG"]
    assert moved == [(4096, 16384), (8192, 16384), (12288, 16384), (16384, 16384)]
    announced = messages.decode(CIPHER.open(heard[0]["body"]["ciphertextB64"], CHAT_CONTEXT))
    assert isinstance(announced, messages.FileMessage)
    assert {body["mediaId"] for body in bodies} == {announced.media_id}
    assert not ann.of(FileOffered), "one's own announcement is no offer"
    assert [(body["part"], body["parts"]) for body in bodies] == [(n, 4) for n in range(4)]
    assert {(body["mime"], body["size"]) for body in bodies} == {
        ("application/octet-stream", 16384)
    }


async def test_files_go_one_after_the_other_and_drain_waits_for_all(
    fake_relay: Any, talkers: Talkers
) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()
    done: list[str] = []
    for name in ("one", "two"):
        sent = ann.talk.send_file(name, bytes(300_000), "a/b")
        sent.addCallback(lambda _, name=name: done.append(name))
    await ann.talk.drain()
    assert done == ["one", "two"]
    ids = [frame["body"]["mediaId"] for frame in fake_relay.frames("MEDIA_MSG")]
    assert ids == sorted(ids, key=ids.index)
    assert len(set(ids)) == 2


async def test_a_lost_connection_amid_a_file_loses_and_repeats_nothing(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    clock = Clock()
    ann = talkers(fake_relay.url, clock=clock, random=lambda: 1.0)
    await ann.talk.create()

    def deaf(seat: Any, frame: Any) -> None:
        if frame["t"] == "MEDIA_MSG" and frame["body"]["part"] == 2:
            seat.transport.abortConnection()
        else:
            fake_relay.usual(seat, frame)

    fake_relay.answer = deaf
    sent = ann.talk.send_file("a.bin", bytes(500_000), "a/b")
    await until(lambda: ann.of(events.Lost))
    said = ann.talk.say("while away")
    fake_relay.answer = fake_relay.usual
    clock.advance(0.5)
    await sent
    await said
    first, second = fake_relay.seats
    assert [f["body"]["part"] for f in first.heard if f["t"] == "MEDIA_MSG"] == [0, 1, 2]
    again = [frame for frame in second.heard if frame["t"] != "JOIN_REQUEST"]
    assert [frame["t"] for frame in again] == ["MEDIA_MSG", "APP_MSG", "MEDIA_MSG"]
    assert again[0] == first.heard[-1], "the same piece under the same id"
    assert again[2]["body"]["part"] == 3


async def test_a_repeated_media_frame_is_heard_once(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()
    part = media.picture_part(CIPHER, b"a picture", "image/png", ann.talk.limits)
    assert part is not None
    body = part.body() | {"roomId": "room-room", "memberId": "ann", "from": "Ann"}
    for frame_id in ("frame-0001", "frame-0001", "frame-0002"):
        fake_relay.seats[0].tell("MEDIA_MSG", body, id=frame_id)
    fake_relay.seats[0].tell("GAP", {})
    await until(lambda: ann.of(events.Gap))
    assert [event.content for event in ann.of(FileReceived)] == [b"a picture"] * 2


async def test_a_file_ends_with_the_seat(fake_relay: Any, talkers: Talkers, until: Until) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()
    fake_relay.answer = lambda seat, frame: None
    sent = ann.talk.send_file("a.bin", bytes(10), "a/b")
    queued = ann.talk.send_file("b.bin", bytes(10), "a/b")
    await until(lambda: fake_relay.frames("APP_MSG"))
    fake_relay.seats[0].close_with(1008, "replaced")
    for one in (sent, queued):
        with pytest.raises(SeatLost):
            await one
    assert ann.of(events.Ended) == [events.Ended("replaced")]


async def test_a_refused_piece_ends_its_file(fake_relay: Any, talkers: Talkers) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()

    def refuse(seat: Any, frame: Any) -> None:
        if frame["t"] == "MEDIA_MSG":
            seat.tell("ERROR", {"code": "ERR_MEDIA_TOO_LARGE"}, re=frame["id"])
        else:
            fake_relay.usual(seat, frame)

    fake_relay.answer = refuse
    with pytest.raises(Refused, match="ERR_MEDIA_TOO_LARGE"):
        await ann.talk.send_file("a.bin", bytes(300_000), "a/b")
    assert len(fake_relay.frames("MEDIA_MSG")) == 1
    fake_relay.answer = fake_relay.usual


async def test_a_file_that_is_cancelled_stops(
    fake_relay: Any, talkers: Talkers, until: Until
) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()

    def stop(*_: int) -> None:
        reactor.callLater(0, sent.cancel)

    sent = ann.talk.send_file("a.bin", bytes(300_000), "a/b", stop)
    with pytest.raises(CancelledError):
        await sent
    await ann.talk.send_file("b.bin", b"b", "a/b")
    parts = [frame["body"]["parts"] for frame in fake_relay.frames("MEDIA_MSG")]
    assert parts in ([3, 1], [3, 3, 1]), "at most the piece that was on its way still goes out"


async def test_what_is_too_large_fails_before_it_costs_the_connection(
    fake_relay: Any, talkers: Talkers
) -> None:
    fake_relay.limits |= {"maxAppCiphertextBytes": 1000, "maxWsMsgBytes": 2000}
    ann = talkers(fake_relay.url)
    await ann.talk.create()
    for sent in (
        ann.talk.say("x" * 1000),
        ann.talk.send_file("a", bytes(10_485_761), "a/b"),
        ann.talk.send_file("a", b"x", "a/b"),
    ):
        with pytest.raises(TooLarge):
            await sent
    for sent in (ann.talk.say("\ud800"), ann.talk.send_file("\ud800", bytes(10), "a/b")):
        with pytest.raises(ClientError, match=r"surrogate|takes no files"):
            await sent
    with pytest.raises(ClientError, match="empty"):
        await ann.talk.send_file("a", b"", "a/b")
    await ann.talk.say("short")
    assert len(fake_relay.seats) == 1


async def test_a_file_beyond_the_format_is_not_begun(fake_relay: Any, talkers: Talkers) -> None:
    ann = talkers(fake_relay.url)
    await ann.talk.create()
    with pytest.raises(TooLarge, match="10 MiB"):
        await ann.talk.send_file("a", bytes(10_485_761), "a/b")
    assert not fake_relay.frames("APP_MSG")


async def test_nothing_is_said_outside_of_a_room(fake_relay: Any, talkers: Talkers) -> None:
    ann = talkers(fake_relay.url)
    with pytest.raises(SeatLost, match="not yet"):
        await ann.talk.say("hello")
    await ann.talk.create()
    await ann.talk.leave()
    await ann.talk.leave()
    with pytest.raises(SeatLost, match="left"):
        await ann.talk.send_file("a", b"x", "a/b")
    with pytest.raises(ClientError, match="once"):
        await ann.talk.create()


async def test_a_loop_over_events_ends_with_the_conversation(fake_relay: Any) -> None:
    talk = Conversation(fake_relay.url, reactor=reactor, cipher=CIPHER)
    stream = talk.events()
    seen: list[Any] = []

    async def loop() -> None:
        async for event in stream:
            seen.append(event)
            if isinstance(event, Said):
                await talk.leave()

    looping = Deferred.fromCoroutine(loop())
    await talk.create()
    await talk.say("hello")
    await looping
    assert [type(event) for event in seen] == [events.Joined, Said, events.Ended]
    assert [event async for event in stream] == []


async def test_a_listener_that_fails_disturbs_nobody(
    fake_relay: Any, no_unseen_failures: Any
) -> None:
    def failing(event: Any) -> None:
        raise LookupError("a bug of the listener's")

    talk = Conversation(fake_relay.url, failing, reactor=reactor, cipher=CIPHER)
    stream = talk.events()
    await talk.create()
    await talk.say("hello")
    await talk.leave()
    assert len([event async for event in stream]) == 3
    assert len(no_unseen_failures) == 3
    assert all(seen["log_failure"].check(LookupError) for seen in no_unseen_failures)
    no_unseen_failures.clear()
