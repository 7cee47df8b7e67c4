"""The bus between instances, on Redis' publish and subscribe: one channel for each room.

Two connections, one that publishes and one that hears; each is worth nothing without the other,
so they come and go together. That both end at the same server is proven before they count.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_relay.core.redis_url import RedisAddress
from twisted_relay.core.settings import RedisSettings
from twisted_relay.engine.interfaces import IBus, IBusOwner, StoreUnavailable
from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell.redis_connection import (
    Connection,
    RedisFault,
    Server,
    encode,
    reason_of,
    refuse_replica,
)
from twisted_relay.shell.redis_link import BEAT
from twisted_relay.shell.redis_reconnect import Reconnect

#: Bytes published and not confirmed, past which Redis is taken to hang.
_MOST_UNANSWERED = 16 * 1024 * 1024


def channel_of(room_id: str) -> bytes:
    """The name of a room's channel; the room's id cannot be read from it."""
    return b"tr1:{%b}" % hashlib.sha256(room_id.encode()).hexdigest().encode()


class Ear(Connection):
    """The connection that hears. In between the replies come the messages."""

    hears: Callable[[bytes, bytes], None]

    def replyReceived(self, reply: Any) -> None:
        if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":
            if self.over is None:
                self.hears(reply[1], reply[2])
        else:
            super().replyReceived(reply)


@implementer(IBus)
class RedisBus:
    """`IBus` on Redis.

    A message that Redis had received and not yet passed on when a connection broke may still be
    passed on later: messages must say themselves to which time they belong.

    Attributes:
        up: whether both connections are there.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, address: RedisAddress, settings: RedisSettings, metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._server = Server(reactor, address, settings, metrics)
        self._reconnect = Reconnect(
            reactor, self._attempt, metrics, "redis_bus", "The bus between instances (Redis)"
        )
        self._beats = LoopingCall(self._beat)
        self._beats.clock = reactor
        self._owner: IBusOwner | None = None
        self._stopped = False
        self._mouth: Connection | None = None
        self._ear: Ear | None = None
        # By channel: the subscription that is wanted, and the room that is heard.
        self._wanted: dict[bytes, object] = {}
        self._heard: dict[bytes, str] = {}
        self.up = False

    def attach(self, owner: IBusOwner) -> None:
        """Who is to be told; once, before `start`."""
        self._owner = owner

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._reconnect.start()

    async def stop(self) -> None:
        """Part when Redis has what was published; nobody is told of anything any more."""
        self._stopped = True
        if self._mouth is not None:
            with contextlib.suppress(RedisFault):
                await self._mouth.ask("PING")
        self._reconnect.stop()

    async def subscribe(self, room_id: str) -> None:
        """Hear a room from when Redis has confirmed it. Raises `StoreUnavailable`."""
        ear = self._ear
        if ear is None:
            raise StoreUnavailable("the bus is not connected")
        channel = channel_of(room_id)
        wanted = self._wanted.setdefault(channel, object())
        answer = ear.ask("SUBSCRIBE", channel)
        # Not after the await: the first message may be in one piece with the confirmation.
        answer.addCallback(self._confirmed, channel, wanted, room_id)
        try:
            await answer
        except RedisFault as fault:
            self._metrics.redis_errors += 1
            if self._wanted.get(channel) is wanted:
                self.unsubscribe(room_id)
            raise StoreUnavailable(f"the bus: {fault.reason}") from None

    def unsubscribe(self, room_id: str) -> None:
        """Hear a room no more, from now on."""
        channel = channel_of(room_id)
        self._heard.pop(channel, None)
        if self._wanted.pop(channel, None) is not None and self._ear is not None:
            self._ear.send(encode("UNSUBSCRIBE", channel))

    def publish(self, room_id: str, data: bytes) -> bool:
        """Send to all who hear the room; False, and nothing was sent, while the bus is not up."""
        if self._mouth is not None and self._mouth.unanswered_bytes > _MOST_UNANSWERED:
            # A Redis that hangs, and is not yet known to: memory must not pay for it.
            self._mouth.abort("behind")
        if self._mouth is None:
            return False
        self._mouth.send(encode(b"PUBLISH", channel_of(room_id), data))
        return True

    def _confirmed(self, reply: Any, channel: bytes, wanted: object, room_id: str) -> None:
        # What comes before the confirmation belongs to an earlier subscription that was given up.
        if self._wanted.get(channel) is wanted:
            self._heard[channel] = room_id

    def _hears(self, channel: bytes, data: bytes) -> None:
        room_id, ear = self._heard.get(channel), self._ear
        if room_id is None or ear is None or self._owner is None or self._stopped:
            return
        try:
            self._owner.heard(room_id, data)
        except Exception:
            # A message that was lost to a bug was lost: the owner has to know.
            self._log.failure("a message from the bus met a bug", event="redis_failed")
            ear.abort("bug")

    async def _attempt(self) -> None:
        mouth = await self._server.connect(Connection)
        try:
            ear = await self._server.connect(Ear)
            ear.hears = self._hears
            try:
                await self._prove(mouth, ear)
                await self._hold(mouth, ear)
            finally:
                ear.abort("parted")
        finally:
            mouth.abort("parted")

    async def _prove(self, mouth: Connection, ear: Ear) -> None:
        """Make sure that what the one says is heard on the other: a name may stand for several
        servers, and not everybody may use every channel."""
        channel = b"tr1:{%b}" % secrets.token_hex(32).encode()
        await ear.ask("SUBSCRIBE", channel)
        if await mouth.ask("PUBLISH", channel, b"") != 1:
            raise RedisFault("apart")
        await ear.ask("UNSUBSCRIBE", channel)

    async def _hold(self, mouth: Connection, ear: Ear) -> None:
        """The bus is up until one of the two is over; ends by raising why."""
        first_over: Deferred[str] = Deferred()
        for connection in (mouth, ear):
            connection.until_over().addCallback(
                lambda reason: None if first_over.called else first_over.callback(reason)
            )
        if first_over.called:
            raise RedisFault(await first_over)
        self._mouth, self._ear, self.up = mouth, ear, True
        self._reconnect.succeeded()
        try:
            self._beats.start(BEAT, now=False).addErrback(self._beat_failed)
            if self._owner is not None:
                self._owner.bus_restored()
            raise RedisFault(await first_over)
        finally:
            self._lost()

    def _lost(self) -> None:
        self._mouth, self._ear, self.up = None, None, False
        self._wanted.clear()
        self._heard.clear()
        if self._beats.running:
            self._beats.stop()
        if self._owner is not None and not self._stopped:
            self._owner.bus_lost()

    def _beat(self) -> None:
        """Ask on both, so that one that does not answer is noticed though nobody says anything."""
        mouth, ear = self._mouth, self._ear
        if mouth is None or ear is None:
            return
        if mouth.tells_role:
            mouth.ask("ROLE").addCallback(refuse_replica).addErrback(self._parts, mouth)
        else:
            mouth.send(encode("PING"))
        pong = ear.ask("PING").addCallback(lambda _pong: self._reconnect.steady())
        pong.addErrback(self._parts, ear)

    def _parts(self, failure: Failure, connection: Connection) -> None:
        connection.abort(reason_of(failure.value) or "bug")

    def _beat_failed(self, failure: Failure) -> None:
        """A looping call ends with the first exception: new connections bring a new one."""
        self._log.failure("a beat of the bus failed", failure, event="redis_failed")
        if self._ear is not None:
            self._ear.abort("bug")
