"""The client against a relay in miniature, over real sockets; waits run on a made-up clock."""

import ast
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from tests.client.conftest import Seat
from twisted_relay.client import (
    ClientError,
    ConnectFailed,
    Limits,
    Refused,
    RelayClient,
    SeatLost,
    TooLarge,
    connection,
    events,
    fetch_token,
    link,
)
from twisted_relay.client.gathering import PATIENCE
from twisted_relay.client.part import MediaPart


class Member:
    """A client, its clock, and what it was told."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.events: list[events.Event] = []
        self.client = RelayClient(
            url, self.events.append, reactor=reactor, clock=self.clock, random=lambda: 1.0
        )

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest_twisted.async_yield_fixture
async def member(fake_relay: Any) -> AsyncIterator[Member]:
    member = Member(fake_relay.url)
    yield member
    await member.client.leave()


async def come_back(member: Member, until: Callable[..., Any], times: int = 1) -> None:
    await until(lambda: len(member.told(events.Lost)) == times, "the loss")
    member.clock.advance(member.told(events.Lost)[-1].retry_in)
    await until(lambda: len(member.told(events.Joined)) == times + 1, "the return")


async def test_create_say_hear_leave(fake_relay: Any, member: Member) -> None:
    joined = await member.client.create("Ann")
    assert (joined.room_id, joined.label, joined.max) == ("room-room", "P1", 10)
    assert fake_relay.seats[0].offered == ["relay.v1"]
    assert member.client.qr == events.QrRotated("qr.one", 9)
    await member.client.say("Y2lwaGVy", "message-1")
    assert member.told(events.Message) == [events.Message("message-1", "me", "Y2lwaGVy", True)]
    await member.client.leave()
    assert [frame["t"] for frame in fake_relay.seats[0].heard] == [
        "ROOM_CREATE",
        "APP_MSG",
        "LEAVE",
    ]
    assert member.events[-1] == events.Ended("left")
    with pytest.raises(SeatLost):
        await member.client.say("Y2lwaGVy")


async def test_join_names_the_kind_of_token(fake_relay: Any, member: Member) -> None:
    await member.client.join("room-room", "to.ken", single_use=True)
    body = fake_relay.frames("JOIN_REQUEST")[0]["body"]
    assert body == {"roomId": "room-room", "qrToken": "to.ken"}


async def test_an_error_that_answers_ours_is_a_refusal(fake_relay: Any, member: Member) -> None:
    def refuse(seat: Any, frame: Any) -> None:
        seat.tell("ERROR", {"code": "ERR_NO_ROOM", "retryable": False}, re="another-frame")
        body = {"code": "ERR_ROOM_FULL", "retryable": True, "message": "The room is full."}
        seat.tell("ERROR", body, re=frame["id"])

    fake_relay.answer = refuse
    with pytest.raises(Refused) as refused:
        await member.client.join("room-room", "to.ken")
    assert (refused.value.code, refused.value.retryable) == ("ERR_ROOM_FULL", True)
    assert str(refused.value) == "The room is full. (ERR_ROOM_FULL)"


async def test_an_older_relay_without_re_and_member_ids(fake_relay: Any, member: Member) -> None:
    def old(seat: Any, frame: Any) -> None:
        if frame["t"] == "JOIN_REQUEST":
            seat.tell("JOINED", {"roomId": "room-room", "participants": 1, "max": 9, "label": "x"})
        elif frame["t"] == "APP_MSG":
            seat.tell("APP_MSG", frame["body"], id=frame["id"])

    fake_relay.answer = old
    assert (await member.client.join("room-room", "to.ken")).label == "x"
    await member.client.say("Y2lwaGVy")
    fake_relay.answer = fake_relay.usual


async def test_comes_back_with_the_newest_next_token(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    fake_relay.seats[0].tell("TOKEN", {"roomId": "room-room", "nextToken": "next-newer"})
    fake_relay.seats[0].tell("QR_ROTATED", {"roomId": "r", "qrToken": "q.2", "qrExpUnixMs": 3})
    await until(lambda: member.client.qr == events.QrRotated("q.2", 3))
    fake_relay.seats[0].close_with(1012, "service restart")
    await come_back(member, until)
    assert fake_relay.frames("JOIN_REQUEST")[0]["body"]["token"] == "next-newer"
    assert member.told(events.Joined)[-1].resumed
    assert member.told(events.Lost) == [events.Lost("service restart", 0.5)]
    fake_relay.seats[1].transport.abortConnection()
    await come_back(member, until, times=2)
    assert fake_relay.frames("JOIN_REQUEST")[1]["body"]["token"] == "next-2"


async def test_resends_what_was_not_acknowledged_with_the_same_id_in_order(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    await member.client.say("MA", "message-0")

    def deaf(seat: Any, frame: Any) -> None:
        if len(seat.heard) == 4:
            seat.transport.abortConnection()

    fake_relay.answer = deaf
    said = [member.client.say("MQ", "message-1"), member.client.say("Mg", "message-2")]
    await until(lambda: member.told(events.Lost), "the loss")
    said.append(member.client.say("Mw", "message-3"))
    drained = member.client.drain()
    fake_relay.answer = fake_relay.usual
    await come_back(member, until)
    for one in [*said, drained]:
        await one
    ids = [frame["id"] for frame in fake_relay.seats[1].heard if frame["t"] == "APP_MSG"]
    assert ids == ["message-1", "message-2", "message-3"]


async def test_what_waits_is_said_when_as_many_are_back_as_before_the_loss(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.join("room-room", "to.ken")
    fake_relay.seats[0].tell("ROOM_STATS", {"roomId": "room-room", "participants": 3, "max": 10})
    await until(lambda: member.told(events.Stats), "the count")
    fake_relay.seats[0].close_with(1012, "service restart")
    await until(lambda: member.told(events.Lost), "the loss")
    said = member.client.say("MQ", "message-1")
    await come_back(member, until)
    seat = fake_relay.seats[1]
    seat.tell("ROOM_STATS", {"roomId": "room-room", "participants": 2, "max": 10})
    await until(lambda: len(member.told(events.Stats)) == 2, "the first who are back")
    assert [frame["t"] for frame in seat.heard] == ["JOIN_REQUEST"]
    seat.tell("ROOM_STATS", {"roomId": "room-room", "participants": 3, "max": 10})
    await said


async def test_who_does_not_come_back_is_not_waited_for_long(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.join("room-room", "to.ken")
    fake_relay.seats[0].tell("ROOM_STATS", {"roomId": "room-room", "participants": 3, "max": 10})
    await until(lambda: member.told(events.Stats), "the count")
    fake_relay.seats[0].transport.abortConnection()
    await until(lambda: member.told(events.Lost), "the loss")
    said = member.client.say("MQ", "message-1")
    await come_back(member, until)
    member.clock.advance(PATIENCE - 0.1)
    assert not said.called
    member.clock.advance(0.2)
    await said


async def test_drops_repeats_of_member_and_id(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    for member_id, frame_id in (
        ("a", "same-one"),
        ("a", "same-one"),
        ("b", "same-one"),
        ("a", "x"),
    ):
        body = {"roomId": "room-room", "ciphertextB64": "MA", "memberId": member_id}
        fake_relay.seats[0].tell("APP_MSG", body, id=frame_id)
    await until(lambda: len(member.told(events.Message)) == 3)
    heard = [(event.member_id, event.id) for event in member.told(events.Message)]
    assert heard == [("a", "same-one"), ("b", "same-one"), ("a", "x")]
    assert not any(event.own for event in member.told(events.Message))


@pytest.mark.parametrize(("code", "reason"), [(1008, "replaced"), (1003, "invalid message")])
async def test_does_not_come_back_after(
    fake_relay: Any, member: Member, until: Callable[..., Any], code: int, reason: str
) -> None:
    await member.client.create()
    fake_relay.answer = lambda seat, frame: None
    said = member.client.say("MA")
    fake_relay.seats[0].close_with(code, reason)
    await until(lambda: member.told(events.Ended))
    with pytest.raises(SeatLost, match=reason):
        await said
    assert member.told(events.Ended) == [events.Ended(reason)]
    assert not member.clock.getDelayedCalls()


async def test_a_close_frame_counts_also_when_the_relay_is_slow_to_hang_up(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    seat = fake_relay.seats[0]
    seat.transport.write(b"\x88\x0a\x03\xf0replaced")  # 1008
    seat.transport.pauseProducing()
    await until(lambda: member.told(events.Ended))
    assert member.told(events.Ended) == [events.Ended("replaced")]
    assert not member.told(events.Lost)
    assert seat.state == seat.STATE_OPEN, "it has not hung up"
    seat.transport.resumeProducing()


async def test_waits_longer_while_the_relay_cannot_take_it_back_and_ends_when_the_room_is_gone(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    codes = iter(["ERR_UNAVAILABLE", "ERR_UNAVAILABLE", "ERR_ROOM_FULL", "ERR_NO_ROOM"])
    fake_relay.answer = lambda seat, frame: seat.tell(
        "ERROR", {"code": next(codes), "retryable": True}, re=frame["id"]
    )
    fake_relay.seats[0].transport.abortConnection()
    for losses in range(1, 5):
        await until(lambda losses=losses: len(member.told(events.Lost)) == losses, "a loss")
        member.clock.advance(member.told(events.Lost)[-1].retry_in)
    await until(lambda: member.told(events.Ended))
    assert [event.retry_in for event in member.told(events.Lost)] == [0.5, 1.0, 2.0, 4.0]
    assert member.told(events.Ended) == [events.Ended("ERR_NO_ROOM")]


async def test_says_it_again_when_the_room_could_not_be_reached(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()

    def unavailable(seat: Any, frame: Any) -> None:
        fake_relay.answer = fake_relay.usual
        seat.tell("ERROR", {"code": "ERR_UNAVAILABLE", "retryable": True}, re=frame["id"])

    fake_relay.answer = unavailable
    said = member.client.say("MA", "message-1")
    await until(lambda: any(call.active() for call in member.clock.getDelayedCalls()))
    member.clock.advance(0.5)
    await said
    assert [frame["id"] for frame in fake_relay.frames("APP_MSG")] == ["message-1"] * 2


async def test_waits_as_long_as_the_relay_asks_for(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()

    def unavailable(seat: Any, frame: Any) -> None:
        fake_relay.answer = fake_relay.usual
        body = {"code": "ERR_UNAVAILABLE", "retryable": True, "retryAfterMs": 7000}
        seat.tell("ERROR", body, re=frame["id"])

    fake_relay.answer = unavailable
    said = [member.client.say("MA", "message-1")]
    await until(lambda: any(call.active() for call in member.clock.getDelayedCalls()))
    said.append(member.client.say("MQ", "message-2"))
    traffic = member.client._exchange.link.trafficStats
    member.clock.advance(6.9)
    assert traffic.outgoingWebSocketMessages == 2, "ROOM_CREATE, and message-1 once"
    member.clock.advance(0.1)
    for one in said:
        await one
    ids = [frame["id"] for frame in fake_relay.frames("APP_MSG")]
    assert ids == ["message-1", "message-1", "message-2"]
    fake_relay.answer = unavailable
    fake_relay.seats[0].transport.abortConnection()
    await until(lambda: member.told(events.Lost))
    member.clock.advance(0.5)
    await until(lambda: len(member.told(events.Lost)) == 2)
    assert member.told(events.Lost)[1].retry_in == 7.0
    member.clock.advance(7.0)
    await until(lambda: len(member.told(events.Joined)) == 2)


async def test_a_refusal_to_make_a_room_says_when_to_come_again(
    fake_relay: Any, member: Member
) -> None:
    body = {"code": "ERR_RATE_LIMITED", "retryable": True, "retryAfterMs": 2500}
    fake_relay.answer = lambda seat, frame: seat.tell("ERROR", body, re=frame["id"])
    with pytest.raises(Refused) as refused:
        await member.client.create()
    assert refused.value.retry_after == 2.5
    fake_relay.answer = fake_relay.usual
    assert (await member.client.create()).room_id == "room-room", "it may try again"
    with pytest.raises(ClientError, match="once"):
        await member.client.create()


async def test_media_is_acknowledged_by_ack(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    part = MediaPart("a/b", 3, 1024, ("AAAA",), "file-0001", 0, 1)
    fake_relay.answer = lambda seat, frame: seat.tell("ACK", {}, re="another-frame")
    sent = member.client.send_media(part, "message-1")
    await until(lambda: fake_relay.frames("MEDIA_MSG"))
    body = fake_relay.frames("MEDIA_MSG")[0]["body"]
    assert body == part.body() | {"roomId": "room-room", "chunks": ["AAAA"]}
    with pytest.raises(ClientError, match="waits"):
        await member.client.send_media(part, "message-1")
    assert not sent.called
    fake_relay.answer = fake_relay.usual
    fake_relay.seats[0].tell("ACK", {}, re="message-1")
    await sent


async def test_hears_media_of_others_once(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    part = MediaPart("a/b", 3, 1024, ("AAAA",), "file-0001", 0, 1)
    body = part.body() | {"roomId": "room-room", "memberId": "ann", "from": "Ann"}
    for frame_id in ("frame-0001", "frame-0001"):
        fake_relay.seats[0].tell("MEDIA_MSG", body, id=frame_id)
    fake_relay.seats[0].tell("MEDIA_MSG", body | {"chunks": None}, id="frame-0002")
    fake_relay.seats[0].tell("GAP", {})
    await until(lambda: member.told(events.Gap))
    assert member.told(events.Media) == [events.Media("frame-0001", "ann", "Ann", part)]


def test_the_transport_knows_no_encryption() -> None:
    package = Path(connection.__file__).parent
    seen, ahead = set(), ["connection"]
    while ahead:
        module = ahead.pop()
        seen.add(module)
        for node in ast.walk(ast.parse((package / f"{module}.py").read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module] if node.module else [alias.name for alias in node.names]
                assert "cryptography" not in names[0]
                ahead += [name for name in names if node.level and name not in seen]
    assert seen == {
        *("backoff", "connection", "delivery", "errors", "events", "exchange", "frames"),
        *("gathering", "limits", "link", "outbox", "pace", "part"),
    }


async def test_what_would_close_the_connection_is_not_sent(fake_relay: Any, member: Member) -> None:
    fake_relay.limits |= {"maxWsMsgBytes": 300, "maxAppCiphertextBytes": 250}
    await member.client.create()
    for sent in (
        member.client.say("A" * 251),
        member.client.say("A" * 249),
        member.client.send_media(MediaPart("a/b", 3, 1024, ("A" * 300,))),
    ):
        with pytest.raises(TooLarge):
            await sent
    await member.client.say("A" * 100)
    assert len(fake_relay.frames("APP_MSG") + fake_relay.frames("MEDIA_MSG")) == 1


async def test_what_is_said_while_the_connection_closes_is_sent_after_the_return(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    # As Autobahn does when a ping is not answered; the end itself comes in a later turn.
    member.client._exchange.link.dropConnection(abort=True)
    said = member.client.say("MA", "message-1")
    await come_back(member, until)
    await said
    assert [frame["id"] for frame in fake_relay.frames("APP_MSG")] == ["message-1"]


async def test_a_message_that_is_refused_fails_alone(fake_relay: Any, member: Member) -> None:
    await member.client.create()
    fake_relay.answer = lambda seat, frame: seat.tell(
        "ERROR", {"code": "ERR_CIPHERTEXT_TOO_LARGE", "retryable": False}, re=frame["id"]
    )
    with pytest.raises(Refused, match="ERR_CIPHERTEXT_TOO_LARGE"):
        await member.client.say("MA")
    fake_relay.answer = fake_relay.usual
    await member.client.say("MA")


async def test_a_relay_that_never_answers_is_a_timeout(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    fake_relay.answer = lambda seat, frame: None
    entering = Deferred.fromCoroutine(member.client.create())
    await until(lambda: fake_relay.frames("ROOM_CREATE"))
    member.clock.advance(15)
    with pytest.raises(ConnectFailed, match="timeout"):
        await entering


async def test_leaving_ends_the_wait_for_an_answer(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    fake_relay.answer = lambda seat, frame: None
    entering = Deferred.fromCoroutine(member.client.create())
    await until(lambda: fake_relay.frames("ROOM_CREATE"))
    await member.client.leave()
    with pytest.raises(ConnectFailed, match="closed"):
        await entering
    assert not member.clock.getDelayedCalls()
    assert member.events == []


async def test_nobody_there_is_one_line() -> None:
    port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    number = port.getHost().port
    await port.stopListening()
    with pytest.raises(ConnectFailed, match="connection refused"):
        await Member(f"ws://127.0.0.1:{number}/ws").client.create()


async def test_an_id_that_is_used_again_is_acknowledged_again(
    fake_relay: Any, member: Member
) -> None:
    await member.client.create()
    for _ in range(2):
        await member.client.say("MA", "message-1").addTimeout(5, reactor)
    assert len(member.told(events.Message)) == 1


async def test_who_is_thrown_out_at_once_each_time_comes_back_more_slowly(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    for losses in range(1, 4):
        fake_relay.seats[-1].close_with(1008, "slow consumer")
        await come_back(member, until, losses)
    member.clock.advance(10.0)
    fake_relay.seats[-1].close_with(1008, "slow consumer")
    await come_back(member, until, 4)
    assert [event.retry_in for event in member.told(events.Lost)] == [0.5, 1.0, 2.0, 0.5]


async def test_leaving_on_the_way_back_leaves_nothing_behind(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()

    def silent(seat: Any, frame: Any) -> None:
        if frame["t"] != "JOIN_REQUEST":
            fake_relay.usual(seat, frame)

    fake_relay.answer = silent
    fake_relay.seats[0].transport.abortConnection()
    await until(lambda: member.told(events.Lost))
    member.clock.advance(0.5)
    await until(lambda: fake_relay.frames("JOIN_REQUEST"))
    await member.client.leave()
    assert len(fake_relay.frames("LEAVE")) == 1
    assert member.told(events.Ended) == [events.Ended("left")]
    assert not member.clock.getDelayedCalls()


async def test_limits_out_of_all_reason_are_none(fake_relay: Any, member: Member) -> None:
    fake_relay.limits = dict.fromkeys(("maxMsgsPer10s", "maxBytesPer10s"), 10**400)
    await member.client.create()
    assert member.client.limits == Limits()
    fake_relay.seats[0].tell("ROOM_STATS", {"participants": 10**400, "max": 9})
    await member.client.say("MA")
    assert member.told(events.Stats) == [events.Stats(0, 9)]


async def test_an_address_without_a_path_is_that_of_the_relay(fake_relay: Any) -> None:
    asked: list[str] = []

    class Asked(Seat):
        def onConnect(self, request: Any) -> str | None:
            asked.append(request.path)
            return super().onConnect(request)

    fake_relay.protocol = Asked
    client = RelayClient(fake_relay.url.removesuffix("/ws"), print, reactor=reactor)
    await client.create()
    await client.leave()
    assert asked == ["/ws"]


async def test_a_wait_that_is_cancelled_leaves_no_connection(
    fake_relay: Any, member: Member, until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_TIMEOUT", 300.0)
    fake_relay.setProtocolOptions(openHandshakeTimeout=0)
    held: Deferred[str] = Deferred()

    class Slow(Seat):
        def onConnect(self, request: Any) -> Any:
            super().onConnect(request)
            fake_relay.seats.append(self)
            return held

        def onOpen(self) -> None:
            pytest.fail("the handshake went on")

    fake_relay.protocol = Slow
    entering = Deferred.fromCoroutine(member.client.create())
    await until(lambda: fake_relay.seats)
    entering.cancel()
    with pytest.raises(CancelledError):
        await entering
    await until(lambda: fake_relay.seats[0].state == Seat.STATE_CLOSED, "the end")


async def test_leaving_closes_the_connection(
    fake_relay: Any, member: Member, until: Callable[..., Any]
) -> None:
    await member.client.create()
    await member.client.leave()
    seat = fake_relay.seats[0]
    await until(lambda: seat.state == Seat.STATE_CLOSED, "the end")
    assert seat.remoteCloseCode == 1000


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    class Endless(Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"{" * 200_000)

    port = reactor.listenTCP(0, Factory.forProtocol(Endless), interface="127.0.0.1")
    try:
        with pytest.raises(ConnectFailed, match="too long"):
            await fetch_token(f"ws://127.0.0.1:{port.getHost().port}/ws", "r" * 22, reactor)
    finally:
        await port.stopListening()
