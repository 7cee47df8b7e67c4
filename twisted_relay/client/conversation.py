"""A conversation in one room: the transport and a cipher put together."""

import random as _random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.internet.defer import Deferred

from .cipher import CHAT_CONTEXT, Cipher, CipherError
from .connection import RelayClient
from .errors import Refused
from .events import Ended, Event, Joined, Message, QrRotated
from .frames import new_id
from .happenings import Happening, Said, Unreadable
from .link import fetch_token
from .messages import FileMessage, TextMessage, UnknownMessage, decode, encode
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
    """

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
        self._client = RelayClient(
            url, self._on_event, reactor=reactor, clock=clock, random=random, trust_root=trust_root
        )

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
        return self._client.say(self._cipher.seal(encode(message), CHAT_CONTEXT), message.id)

    def drain(self) -> "Deferred[None]":
        """Fires when nothing that was said waits for its acknowledgement any more."""
        return self._client.drain()

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

    def _tell(self, happening: Happening) -> None:
        for listener in self._listeners:
            listener(happening)

    def _on_event(self, event: Event) -> None:
        match event:
            case Message():
                self._on_message(event)
            case _:
                self._tell(event)

    def _on_message(self, sealed: Message) -> None:
        try:
            message = decode(self._cipher.open(sealed.ciphertext, CHAT_CONTEXT))
        except (CipherError, UnknownMessage) as fault:
            self._tell(Unreadable(sealed.member_id, str(fault)))
            return
        match message:
            case TextMessage(sender=sender, text=text, ts=ts):
                said = Said(sealed.id, sealed.member_id, sender, text, ts, sealed.own)
                self._tell(said)
            case FileMessage():
                pass
