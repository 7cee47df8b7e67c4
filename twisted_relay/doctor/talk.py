"""A dialogue as clients have it: the handshake, a ping, a room of two, a message."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import attrs
from twisted.internet.defer import Deferred, DeferredList

from twisted_relay.doctor.line import Closed, ErrorFrame, Line, Refusal
from twisted_relay.doctor.network import Answer, Trust, Unreachable, Web
from twisted_relay.doctor.target import Target


@attrs.frozen
class Greeting:
    """What the first connection met.

    Attributes:
        fault: why there is no connection, or no HELLO on it; None if there is.
        subprotocol: what was chosen of what was offered.
        server: the relay's name and version, by HELLO.
        server_ms: its clock, Unix ms; 0 if it does not say.
        sent: when the handshake was sent, and ``came``: when HELLO came; Unix seconds.
        ping_seconds: from PING to PONG; None if there was none.
    """

    fault: Refusal | Closed | ErrorFrame | Unreachable | None = None
    subprotocol: str | None = None
    server: str = ""
    server_ms: int = 0
    sent: float = 0.0
    came: float = 0.0
    ping_seconds: float | None = None


@attrs.frozen
class RoomTalk:
    """What two members met.

    Attributes:
        step: the one that failed (``create``, ``token``, ``connect``, ``join``, ``message``,
            ``leave``, ``idle``); empty if none did.
        fault: how.
        seconds: from sending the message to its arrival.
        token: the join token, to see who signed it.
        room_id: what it is for.
        idle: for how many seconds a member then stayed silent.
    """

    step: str = ""
    fault: Refusal | Closed | ErrorFrame | Unreachable | Answer | None = None
    seconds: float = 0.0
    token: str = attrs.field(default="", repr=False)
    room_id: str = attrs.field(default="", repr=False)
    idle: float = 0.0


class Talk:
    """Two members who know each other well.

    Args:
        limit: seconds for each answer.
        idle: how long to stay silent in the room.
    """

    def __init__(
        self, reactor: Any, target: Target, trust: Trust, limit: float, web: Web, idle: float = 0
    ) -> None:
        self._target, self._trust, self._web, self._idle = target, trust, web, idle
        self._new: Callable[[], Line] = lambda: Line(reactor, limit)
        self._lines: list[Line] = []
        self._first: Line | None = None

    async def greet(self) -> Greeting:
        """Connect, hear HELLO, ping."""
        try:
            line = self._first = await self._dial()
            hello = await line.hear("HELLO")
        except (Refusal, Closed, ErrorFrame, Unreachable) as fault:
            self._first = None
            return Greeting(fault)
        ms = hello.body.get("serverTimeUnixMs")
        greeting = Greeting(
            subprotocol=line.subprotocol,
            server=str(hello.body.get("server", ""))[:60],
            server_ms=ms if isinstance(ms, int) else 0,
            sent=line.dialled,
            came=hello.at,
        )
        try:
            _pong, seconds = await line.ask("PING", "PONG")
        except (Closed, ErrorFrame, Unreachable):
            return greeting
        return attrs.evolve(greeting, ping_seconds=seconds)

    async def meet(self) -> RoomTalk:
        """Make a room on the connection that greeted, and let another member in."""
        talk = RoomTalk(step="create")
        first = self._first
        if first is None:
            return attrs.evolve(talk, fault=Unreachable("there is no connection"))
        try:
            created, _ = await first.ask("ROOM_CREATE", "ROOM_CREATED")
            room_id = str(created.body["roomId"])
            talk = attrs.evolve(talk, room_id=room_id, step="token")
            answer = await self._web.get(self._target, f"/rooms/{quote(room_id, safe='')}/token")
            token = answer.fields.get("token")
            if answer.status != 200 or not isinstance(token, str):
                return attrs.evolve(talk, fault=answer)
            talk = attrs.evolve(talk, token=token, step="connect")
            second = await self._dial()
            await second.hear("HELLO")
            talk = attrs.evolve(talk, step="join")
            await second.ask("JOIN_REQUEST", "JOINED", roomId=room_id, token=token)
            talk = attrs.evolve(
                talk, step="message", seconds=await _message(first, second, room_id)
            )
            talk = attrs.evolve(talk, step="leave")
            await second.ask("LEAVE", "LEFT", roomId=room_id)
            if self._idle:
                talk = attrs.evolve(talk, step="idle", idle=self._idle)
                await first.stay(self._idle)
            await first.ask("LEAVE", "LEFT", roomId=room_id)
        except (Refusal, Closed, ErrorFrame, Unreachable) as fault:
            return attrs.evolve(talk, fault=fault)
        return attrs.evolve(talk, step="")

    async def part(self) -> None:
        """Part from the relay."""
        await DeferredList([Deferred.fromCoroutine(line.part()) for line in self._lines])

    async def _dial(self) -> Line:
        line = self._new()
        self._lines.append(line)
        await line.dial(self._target, self._trust)
        return line


async def _message(sender: Line, receiver: Line, room_id: str) -> float:
    """Let random bytes go from one to the other, and back as the acknowledgement; the seconds
    until they came. Raises what `Line.hear` does."""
    text = secrets.token_urlsafe(48)
    sent = sender.say("APP_MSG", roomId=room_id, ciphertextB64=text)
    began = sender.seconds()
    frame = await receiver.hear("APP_MSG")
    seconds = sender.seconds() - began
    if frame.id != sent or frame.body.get("ciphertextB64") != text:
        raise Unreachable("what came is not what was sent")
    await sender.hear("APP_MSG")
    return seconds
