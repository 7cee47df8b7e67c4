"""A conversation in one room: the transport and a cipher put together."""

import random as _random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, fail
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .cipher import CHAT_CONTEXT, Cipher, CipherError
from .connection import RelayClient
from .errors import ClientError, Refused
from .events import Ended, Event, Gap, Joined, Media, Message, QrRotated, Stats
from .frames import new_id
from .happenings import Happening, Said, Unreadable
from .incoming import Incoming
from .limits import Limits
from .link import fetch_token
from .messages import FileMessage, TextMessage, UnknownMessage, decode, encode
from .outbox import Repeats
from .sending import FileSender, Progress
from .stream import EventStream

_TOKEN_SPENT = ("ERR_TOKEN_EXPIRED", "ERR_TOKEN_REPLAY")


class Conversation:
    """Talks in one room, once: create or join, say, send files, leave.

    Args:
        url: the relay, ``ws://`` or ``wss://``.
        listener: is called with each happening, in order. None for those who use ``events()``.
        reactor: the Twisted reactor; everything happens in its thread.
        cipher: seals and opens; all members need the same key.
        name: how others see this member; the relay cuts it to 32 characters.
        trust_root: certificate authorities other than the platform's (IOpenSSLTrustRoot).
        clock, random: drive waits only, for tests.

    ``participants`` is how many members the room has, as the relay said last.
    """

    _log = Logger()

    def __init__(
        self,
        url: str,
        listener: Callable[[Happening], None] | None = None,
        *,
        reactor: Any,
        cipher: Cipher,
        name: str | None = None,
        trust_root: Any = None,
        clock: Any = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._url, self._reactor, self._trust_root = url, reactor, trust_root
        self._cipher, self._name = cipher, name
        self._listeners: list[Callable[[Happening], None]] = [listener] if listener else []
        self._clock = clock or reactor
        self._client = RelayClient(
            url, self._on_event, reactor=reactor, clock=clock, random=random, trust_root=trust_root
        )
        self._files = FileSender(self._client, cipher, lambda: self.label, reactor)
        self._one_file = DeferredLock()
        self._incoming = Incoming(cipher)
        self._heard = Repeats()
        self._timer: Any = None
        self.participants = 0

    @property
    def label(self) -> str:
        """The name that the relay gave this member, or the one asked for."""
        return self._client.label or self._name or "somebody"  # older relays give a creator none

    @property
    def room_id(self) -> str:
        """The room; empty before there is one."""
        return self._client.room_id

    @property
    def qr(self) -> QrRotated | None:
        """The newest single-use join token for somebody else, if the relay has told one."""
        return self._client.qr

    @property
    def member_id(self) -> str:
        """What the relay calls this member; empty before there is a room."""
        return self._client.member_id

    @property
    def limits(self) -> Limits:
        """What the relay allows; the defaults before it has said so."""
        return self._client.limits

    async def create(self) -> Joined:
        """Make a room and enter it. Raises ConnectFailed or Refused."""
        return await self._client.create(self._name)

    async def join(
        self, room_id: str, token: str | None = None, *, single_use: bool = False
    ) -> Joined:
        """Enter a room. Raises ConnectFailed or Refused.

        Without a token, or when it turns out to be spent or too old, the relay is asked for one.
        ``single_use`` says that the token is one from a QR code or a link.
        """
        if token is not None:
            try:
                return await self._client.join(
                    room_id, token, label=self._name, single_use=single_use
                )
            except Refused as refusal:
                if refusal.code not in _TOKEN_SPENT:
                    raise
        fresh = await fetch_token(self._url, room_id, self._reactor, self._trust_root)
        return await self._client.join(room_id, fresh, label=self._name)

    def say(self, text: str) -> "Deferred[None]":
        """Say something to everybody; fires when the relay has handed it to the room.

        Outlives lost connections. Fails with Refused or SeatLost: give it an errback.
        """
        message = TextMessage(new_id(), int(time.time() * 1000), self.label, text)
        try:
            sealed = self._cipher.seal(encode(message), CHAT_CONTEXT)
        except ClientError as fault:
            return fail(fault)
        return self._client.say(sealed, message.id)

    def send_file(
        self, name: str, content: bytes, mime: str, on_progress: Progress | None = None
    ) -> "Deferred[None]":
        """Send a file of at most 10 MiB to all others; fires when the relay has handed it on.

        ``on_progress(sent, total)`` counts bytes that have arrived at the relay. Small pictures go
        in one piece and without ``name``. Files go one after the other at the pace that the relay
        allows, and outlive lost connections; messages go in between. Fails with TooLarge, Refused
        or SeatLost; cancelling it stops it.
        """
        return self._one_file.run(
            lambda: Deferred.fromCoroutine(self._files.send(name, content, mime, on_progress))
        )

    def drain(self) -> "Deferred[None]":
        """Fires when nothing that was said or sent waits for its acknowledgement any more."""
        return Deferred.fromCoroutine(self._drain())

    async def leave(self) -> None:
        """Give the seat up; never fails. What is not acknowledged by then is given up."""
        await self._client.leave()

    def events(self) -> AsyncIterator[Happening]:
        """Everything that happens from now on, for ``async for``; ends after ``Ended``.

        What is not taken out piles up in memory.
        """
        stream: EventStream[Happening] = EventStream(lambda event: isinstance(event, Ended))
        self._listeners.append(stream.put)
        return stream

    # Inside

    async def _drain(self) -> None:
        await self._one_file.run(lambda: None)  # it is its turn after all files before it
        await self._client.drain()
        await deferLater(self._reactor, 0)  # whoever waits for one of them hears of it first

    def _tell(self, happenings: Iterable[Happening]) -> None:
        for happening in happenings:
            for listener in self._listeners:
                try:
                    listener(happening)
                except Exception:  # the listener's own trouble is not the room's
                    self._log.failure("a listener failed")

    def _on_event(self, event: Event) -> None:
        match event:
            case Message():
                self._tell(self._opened(event))
            case Media():
                self._tell(self._incoming.take(event, self._clock.seconds()))
            case Gap():
                self._tell([event, *self._incoming.give_up("a part of it may be missing")])
            case Ended():
                self._tell([*self._incoming.give_up("the conversation is over"), event])
            case Joined(participants=participants) | Stats(participants=participants):
                self.participants = participants
                self._tell([event])
            case _:
                self._tell([event])
        self._set_timer()

    def _opened(self, sealed: Message) -> Iterable[Happening]:
        try:
            message = decode(self._cipher.open(sealed.ciphertext, CHAT_CONTEXT))
        except (CipherError, UnknownMessage) as fault:
            return [Unreadable(sealed.member_id, str(fault))]
        # Without the key one can still send again, as one's own, what another member has sealed.
        if self._heard.is_repeat("inside", message.id) and not sealed.own:
            return []
        match message:
            case TextMessage(sender=sender, text=text, ts=ts):
                return [Said(sealed.id, sealed.member_id, sender, text, ts, sealed.own)]
            case FileMessage() if not sealed.own:
                return self._incoming.announce(sealed.member_id, message, self._clock.seconds())
        return []

    def _set_timer(self) -> None:
        """Files on their way in are given up on when nothing comes any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._incoming.deadline
        if deadline is not None:
            wait = max(deadline - self._clock.seconds(), 0.0)
            self._timer = self._clock.callLater(wait, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._tell(self._incoming.expire(self._clock.seconds()))
        self._set_timer()
