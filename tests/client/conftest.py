"""A relay in miniature: says what the protocol says, and what a test wants said."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.system.conftest import _common, relay, start_relay  # noqa: F401
from twisted_relay.client import Conversation, RoomCipher

KEY = bytes(range(32))


class Seat(WebSocketServerProtocol):
    """One connection to the miniature."""

    def onConnect(self, request: Any) -> str | None:
        self.offered = request.protocols
        return "relay.v1" if "relay.v1" in request.protocols else None

    def onOpen(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.factory.seats.append(self)
        self.tell("HELLO", {"serverTimeUnixMs": 1, "limits": self.factory.limits})

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        frame = json.loads(payload)
        self.heard.append(frame)
        self.factory.answer(self, frame)

    def tell(self, kind: str, body: dict[str, Any], **envelope: Any) -> None:
        frame = {"v": 1, "t": kind, "id": "server-frame", "body": body, **envelope}
        self.sendMessage(json.dumps(frame).encode())

    def close_with(self, code: int, reason: str) -> None:
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode(), isReply=False)


class FakeRelay(WebSocketServerFactory):
    """``answer`` may be replaced by a test; ``frames(t)`` is what clients sent, over all seats."""

    protocol = Seat

    def __init__(self) -> None:
        super().__init__()
        self.setProtocolOptions(failByDrop=False)
        self.seats: list[Seat] = []
        self.answer: Callable[[Seat, dict[str, Any]], None] = self.usual
        self.url = ""
        self.limits: dict[str, int] = {"maxMsgsPer10s": 1000, "maxBytesPer10s": 100_000_000}

    def usual(self, seat: Seat, frame: dict[str, Any]) -> None:
        body, re = frame["body"], frame["id"]
        common = {"roomId": "room-room", "memberId": "me", "label": "P1"}
        common["nextToken"] = f"next-{len(self.seats)}"
        if frame["t"] == "ROOM_CREATE":
            more = {"qrToken": "qr.one", "qrExpUnixMs": 9, "maxParticipants": 10}
            seat.tell("ROOM_CREATED", common | more, re=re)
        elif frame["t"] == "JOIN_REQUEST":
            resumed = body.get("token", "").startswith("next-")
            more = {"participants": 2, "max": 10, "resumed": resumed}
            seat.tell("JOINED", common | more, re=re)
        elif frame["t"] == "APP_MSG":
            self.echo(seat, frame)
        elif frame["t"] == "MEDIA_MSG":
            seat.tell("ACK", {}, re=frame["id"])
        elif frame["t"] == "LEAVE":
            seat.tell("LEFT", {"roomId": "room-room"}, re=re)

    def echo(self, seat: Seat, frame: dict[str, Any]) -> None:
        """The sender's own copy."""
        seat.tell("APP_MSG", frame["body"] | {"memberId": "me"}, id=frame["id"])

    def frames(self, kind: str) -> list[dict[str, Any]]:
        return [frame for seat in self.seats for frame in seat.heard if frame["t"] == kind]


async def until(condition: Callable[[], Any], what: str = "the expected state") -> None:
    """Poll, for at most twenty seconds: the machine may be busy."""
    for _ in range(2000):
        if condition():
            return
        await deferLater(reactor, 0.01, lambda: None)
    pytest.fail(f"waited in vain for {what}")


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest_twisted.async_yield_fixture
async def fake_relay() -> AsyncIterator[FakeRelay]:
    factory = FakeRelay()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    factory.url = f"ws://127.0.0.1:{port.getHost().port}/ws"
    yield factory
    closed: Deferred[None] | None = port.stopListening()
    if closed is not None:
        await closed
    for seat in factory.seats:
        if seat.state != seat.STATE_CLOSED:
            seat.transport.abortConnection()
            await seat.is_closed


class Talker:
    """A conversation and what it was told."""

    def __init__(self, url: str, key: bytes = KEY, **options: Any) -> None:
        self.heard: list[Any] = []
        self.talk = Conversation(
            url, self.heard.append, reactor=reactor, cipher=RoomCipher(key), **options
        )

    def of(self, kind: Any) -> list[Any]:
        """What was told of these kinds, in order."""
        return [event for event in self.heard if isinstance(event, kind)]


@pytest_twisted.async_yield_fixture
async def talkers() -> AsyncIterator[Callable[..., Talker]]:
    """Makes conversations, with the arguments of `Talker`; they leave with the test."""
    made: list[Talker] = []

    def make(url: str, *args: Any, **options: Any) -> Talker:
        made.append(Talker(url, *args, **options))
        return made[-1]

    yield make
    for talker in made:
        await talker.talk.leave()
