"""What a session's intents bring about: messages posted, answers given, seats taken and left."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_relay.core import wire
from twisted_relay.core.bus import Message
from twisted_relay.core.errors import Close, Code, RelayError
from twisted_relay.core.port import Said
from twisted_relay.core.session import Intent, Refusal
from twisted_relay.engine.client import Client, Seated
from twisted_relay.engine.deadlines import Deadlines
from twisted_relay.engine.fanout import Fanout
from twisted_relay.engine.interfaces import StoreUnavailable
from twisted_relay.engine.membership import Membership
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.notices import Notices


@attrs.frozen
class _Speaker:
    """Who is to hear what became of a message, and of which."""

    client: Client
    frame_id: str


class Effects:
    """Carries out intents, one connection's strictly in order.

    Args:
        join_due: the deadlines of those who are in no room.
        close: ends a connection for a reason.
        broken: called with a bug of ours, whose it was, and the type of its frame.
    """

    def __init__(
        self,
        fanout: Fanout,
        notices: Notices,
        membership: Membership,
        metrics: Metrics,
        join_due: Deadlines[Client],
        close: Callable[[Client, Close], None],
        broken: Callable[[Failure, Client, str], None],
    ) -> None:
        self._fanout = fanout
        self._notices = notices
        self._membership = membership
        self._metrics = metrics
        self._join_due = join_due
        self._close = close
        self._broken = broken

    def carry_out(self, client: Client, intent: Intent) -> None:
        """Do what a session asks for; what must be awaited goes on by itself."""
        received = self._metrics.messages_received
        if isinstance(intent, wire.AppMsg):
            received["APP_MSG"] += 1
            member = client.member
            if member is not None:
                room, frame = member.room, wire.encode_app_msg(intent, member.id)
                if room.span.local:
                    self._fanout.post(room, "APP_MSG", frame)
                else:
                    self._send(member, Message("APP_MSG", "", frame), intent.id)
        elif isinstance(intent, wire.MediaMsg):
            received["MEDIA_MSG"] += 1
            self._relay_media(client, intent)
        elif isinstance(intent, wire.Ping):
            received["PING"] += 1
            self._notices.answer(client, "PONG", {}, intent.id)
        elif isinstance(intent, Refusal):
            received[intent.kind or "INVALID"] += 1
            self._refuse(client, intent.error, intent.re)
        elif isinstance(intent, Close):
            received["INVALID"] += intent is Close.INVALID_MESSAGE
            self._close(client, intent)
        else:
            kind = str(type(intent).__struct_config__.tag)
            received[kind] += 1
            Deferred.fromCoroutine(self._await_outcome(client, intent)).addErrback(
                self._broken, client, kind
            )

    def settled(self, said: Said, handed: bool) -> None:
        """A message that was under way was handed to the room, or was not."""
        speaker = said.speaker
        if not isinstance(speaker, _Speaker) or speaker.client.session.is_closed:
            return
        client = speaker.client
        if not handed:
            self._refuse(client, RelayError(Code.UNAVAILABLE), speaker.frame_id)
        elif isinstance(said.item, Message) and said.item.kind == "MEDIA_MSG":
            self._notices.answer(client, "ACK", {}, speaker.frame_id)
        if client.session.arrived():
            self._resume(client)

    def _relay_media(self, client: Client, frame: wire.MediaMsg) -> None:
        member = client.member
        if member is None:
            return
        room, encoded = member.room, wire.encode_media_msg(frame, member.id, member.label)
        if room.span.local:
            self._fanout.post(room, "MEDIA_MSG", encoded, skip=member)
            self._notices.answer(client, "ACK", {}, frame.id)
        else:
            self._send(member, Message("MEDIA_MSG", member.id, encoded), frame.id)

    def _send(self, member: Seated, message: Message, frame_id: str) -> None:
        """Pass a message on to a room that is not on this instance alone."""
        member.client.session.sent()
        member.room.span.say(Said(message, _Speaker(member.client, frame_id)))

    async def _await_outcome(
        self, client: Client, frame: wire.RoomCreate | wire.JoinRequest | wire.Leave
    ) -> None:
        try:
            if isinstance(frame, wire.Leave):
                await self._membership.leave(client, frame)
                self._join_due.add(client)
            elif isinstance(frame, wire.JoinRequest):
                await self._membership.join(client, frame)
                self._join_due.cancel(client)
            else:
                await self._membership.create(client, frame)
                self._join_due.cancel(client)
        except RelayError as error:
            self._refuse_entry(client, error, frame.id)
        except StoreUnavailable:
            self._refuse_entry(client, RelayError(Code.UNAVAILABLE), frame.id)
            if isinstance(frame, wire.JoinRequest):
                self._close(client, Close.TRY_AGAIN_LATER)
        if client.session.is_closed:
            self._join_due.cancel(client)
        else:
            self._resume(client)

    def _resume(self, client: Client) -> None:
        # An outcome that is there at once comes back to here from within the loop below; the loop
        # goes on by itself, and the stack does not grow with the number of parked frames.
        if client.resuming:
            return
        client.resuming = True
        try:
            for intent in client.session.resume():
                self.carry_out(client, intent)
        finally:
            client.resuming = False
        if not client.session.waiting:
            client.connection.resume()

    def _refuse_entry(self, client: Client, error: RelayError, re: str) -> None:
        if not client.session.is_closed:
            client.session.refused()
            self._refuse(client, error, re)

    def _refuse(self, client: Client, error: RelayError, re: str | None) -> None:
        self._metrics.errors_sent[error.code.value] += 1
        self._notices.error(client, error, re)
