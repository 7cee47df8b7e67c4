"""A member of one room: enter, talk, come back after a loss, leave."""

import random as _random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from . import events, frames
from .backoff import Backoff
from .delivery import Delivery
from .errors import ClientError, ConnectFailed, Refused, SeatLost, TooLarge, milliseconds
from .exchange import Exchange
from .frames import Frame, FrameError
from .gathering import Gathering
from .limits import Limits
from .link import Link, open_link
from .outbox import Repeats
from .part import MediaPart

LEAVE_TIMEOUT = 3.0
_SETTLED = 10.0  # seconds in the room after which the next loss is a new trouble, not the old one
_OUR_FAULT = (1003, 1007, 1009)  # the same again would end the same way
_COME_AGAIN = ("ERR_UNAVAILABLE", "ERR_ROOM_FULL", "ERR_RATE_LIMITED")


class RelayClient:
    """Speaks the wire protocol; what it carries is opaque to it. One client enters one room, once.

    ``listener`` is called with each of ``events.Event``, in order, in the reactor's thread.
    ``trust_root`` (IOpenSSLTrustRoot) replaces the platform's certificate authorities. ``clock``
    (IReactorTime) and ``random`` drive waits only; sockets are the ``reactor``'s. ``opener`` opens
    a link.
    """

    _log = Logger()

    def __init__(
        self,
        url: str,
        listener: Callable[[events.Event], None],
        *,
        reactor: Any,
        clock: Any = None,
        random: Callable[[], float] = _random.random,
        trust_root: Any = None,
        opener: Callable[..., Any] = open_link,
    ) -> None:
        self._url, self._listener = url, listener
        self._reactor, self._clock, self._trust_root = reactor, clock or reactor, trust_root
        self._opener = opener
        self._backoff = Backoff(random)
        self._delivery = Delivery(self._clock, random)
        self._exchange = Exchange(self._clock)
        self._coming_back: Any = None
        self._repeats = Repeats()
        self._gathering = Gathering()
        self._next_token = ""
        self._entering = self._seated = self._over = False
        self._seated_at = 0.0
        self.room_id = self.member_id = self.label = ""
        self.limits = Limits()
        self.qr: events.QrRotated | None = None

    # What an owner does

    async def create(self, label: str | None = None) -> events.Joined:
        """Make a room and enter it. Raises ConnectFailed or Refused."""
        return await self._enter_first("ROOM_CREATE", {"label": label})

    async def join(
        self, room_id: str, token: str, *, label: str | None = None, single_use: bool = False
    ) -> events.Joined:
        """Enter a room with a join token; ``single_use`` for one from a QR code.

        Raises ConnectFailed or Refused; after that, it may be tried again.
        """
        body: dict[str, object] = {"roomId": room_id, "label": label}
        body["qrToken" if single_use else "token"] = token
        return await self._enter_first("JOIN_REQUEST", body)

    def say(self, ciphertext: str, message_id: str | None = None) -> "Deferred[None]":
        """Send base64 text to everybody in the room; fires when the relay handed it to the room.

        Survives a lost connection: it is sent again with the same id. Fails with Refused, with
        TooLarge, or with SeatLost when the client ends before the acknowledgement: give it an
        errback. Cancelling it takes back what has not left yet.
        """
        if len(ciphertext) > self.limits.max_app_ciphertext_bytes:
            return fail(TooLarge("the message is longer than this relay takes"))
        return self._send("APP_MSG", {"ciphertextB64": ciphertext}, message_id)

    def send_media(self, part: MediaPart, message_id: str | None = None) -> "Deferred[None]":
        """Send a part of a file to all others; as ``say``, fires at the relay's ACK."""
        return self._send("MEDIA_MSG", part.body(), message_id)

    def drain(self) -> "Deferred[None]":
        """Fires when nothing is waiting for its acknowledgement any more."""
        return self._delivery.drain()

    async def leave(self) -> None:
        """Give the seat up and close; never fails. What is unacknowledged then is given up."""
        if self._exchange.link is not None and self._seated and not self._over:
            self._over = True
            try:
                await self._exchange.ask("LEAVE", {"roomId": self.room_id}, LEAVE_TIMEOUT)
            except ClientError:
                self._log.debug("the relay did not confirm that we left")
        self._end("left")

    def _send(self, kind: str, body: dict[str, object], message_id: str | None) -> "Deferred[None]":
        if self._over or not self._seated:
            return fail(SeatLost("left" if self._over else "not yet in one"))
        frame_id = message_id or frames.new_id()
        frame = frames.build(kind, {"roomId": self.room_id} | body, frame_id)
        if len(frame) > self.limits.max_ws_msg_bytes:  # it would close the connection
            return fail(TooLarge("the message is larger than this relay takes"))
        return self._delivery.send(frame_id, frame)

    # Entering

    async def _enter_first(self, kind: str, body: dict[str, object]) -> events.Joined:
        if self._entering or self._seated or self._over:
            raise ClientError("a client enters one room, once")
        self._entering = True
        try:
            await self._connect()
            return self._sit(await self._exchange.ask(kind, body))
        except ClientError:
            self._exchange.close()
            raise
        finally:
            self._entering = False

    async def _connect(self) -> None:
        link = await self._opener(self._url, self, self._reactor, self._trust_root)
        if self._over:
            link.abort()
            raise SeatLost("left")
        await self._exchange.begin(link)

    def _sit(self, frame: Frame) -> events.Joined:
        joined = events.Joined.of(frame)
        self.room_id, self.member_id = joined.room_id, joined.member_id
        self.label = joined.label or self.label
        self._next_token = frame.text_or("nextToken")
        self._seated = True
        if frame.t == "ROOM_CREATED":
            self.qr = events.QrRotated.of(frame)
        self._seated_at = self._clock.seconds()
        self._tell(joined)
        link = self._exchange.link
        if link is not None:  # else the listener left at once
            self._delivery.start(link.send, self._gathering.patience(joined.participants))
        return joined

    # Coming back

    def lost(self, link: Link, code: int, reason: str) -> None:
        """The link is gone (called by it)."""
        if link is not self._exchange.link:
            return
        fault = ConnectFailed(f"the relay closed the connection ({code}{reason and ' ' + reason})")
        if self._exchange.lost(fault) or self._over or not self._seated:
            return
        if (code == 1008 and reason == "replaced") or code in _OUR_FAULT or not self._next_token:
            self._end(reason or f"the connection was closed ({code})")
        else:
            if self._clock.seconds() - self._seated_at >= _SETTLED:
                self._backoff.reset()
            self._plan_return(reason or "connection lost")

    def _plan_return(self, reason: str, at_least: float = 0.0) -> None:
        self._delivery.stop()
        self._gathering.lost()
        wait = max(self._backoff.next(), at_least)
        self._coming_back = self._clock.callLater(wait, self._start_return)
        self._tell(events.Lost(reason, wait))

    def _start_return(self) -> None:
        self._coming_back = None
        Deferred.fromCoroutine(self._return()).addErrback(
            lambda failure: self._log.failure("coming back failed", failure)
        )

    async def _return(self) -> None:
        body: dict[str, object] = {"roomId": self.room_id, "token": self._next_token}
        try:
            await self._connect()
            self._sit(await self._exchange.ask("JOIN_REQUEST", body))
        except Refused as refusal:
            if refusal.code in _COME_AGAIN:
                self._retry(refusal)
            else:
                self._end(str(refusal))
        except ClientError as fault:
            self._retry(fault)

    def _retry(self, fault: ClientError) -> None:
        if not self._over:  # else whoever ended it closes the link
            self._exchange.close()
            self._plan_return(str(fault), fault.retry_after or 0.0)

    # What the relay says

    def received(self, link: Link, payload: bytes) -> None:
        """A frame came (called by the link)."""
        if link is not self._exchange.link:
            return
        try:
            frame = frames.parse(payload)
            react = _REACTIONS.get(frame.t)
            if react is not None:  # newer relays may say what we do not know
                react(self, frame)
        except FrameError as fault:
            self._log.debug("ignored a frame: {fault}", fault=fault)

    def _tell(self, event: events.Event) -> None:
        try:
            self._listener(event)
        except Exception:  # the listener's own trouble is not the connection's
            self._log.failure("a listener failed")

    def _on_hello(self, frame: Frame) -> None:
        self.limits = Limits.of(frame)
        self._delivery.allow(self.limits)
        self._exchange.greeted()

    def _on_answer(self, frame: Frame) -> None:
        self._exchange.answered(frame)

    def _on_error(self, frame: Frame) -> None:
        refusal = Refused(
            frame.text_or("code", "ERR"),
            frame.text_or("message"),
            retryable=frame.body.get("retryable") is True,
            retry_after=milliseconds(frame.body.get("retryAfterMs")),
        )
        if not self._exchange.answered(frame, refusal) and frame.re is not None:
            self._delivery.refused(frame.re, refusal)

    def _on_app_msg(self, frame: Frame) -> None:
        member_id, ciphertext = frame.text_or("memberId"), frame.text("ciphertextB64")
        # Older relays do not say who spoke: there the id alone tells our own.
        ours = member_id in ("", self.member_id)
        own = ours and (bool(member_id) or frame.id in self._delivery)
        if not self._repeats.is_repeat(member_id, frame.id):
            self._tell(events.Message(frame.id, member_id, ciphertext, own))
        if own:  # also if it repeats: an owner may use an id again
            self._delivery.acknowledged(frame.id)

    def _on_media(self, frame: Frame) -> None:
        media = events.Media.of(frame)
        if not self._repeats.is_repeat(media.member_id, frame.id):
            self._tell(media)

    def _on_stats(self, frame: Frame) -> None:
        stats = events.Stats.of(frame)
        self._tell(stats)
        if self._gathering.complete(stats.participants):
            self._delivery.release()

    def _on_token(self, frame: Frame) -> None:
        self._next_token = frame.text("nextToken")

    def _on_qr(self, frame: Frame) -> None:
        self.qr = events.QrRotated.of(frame)
        self._tell(self.qr)

    # The end

    def _end(self, reason: str) -> None:
        self._over = True
        timer, self._coming_back = self._coming_back, None
        if timer is not None and timer.active():
            timer.cancel()
        self._exchange.close()
        if self._seated:
            self._seated = False
            self._tell(events.Ended(reason))
        self._delivery.end(reason)


_REACTIONS: dict[str, Callable[[RelayClient, Frame], object]] = {
    "HELLO": RelayClient._on_hello,
    "ROOM_CREATED": RelayClient._on_answer,
    "JOINED": RelayClient._on_answer,
    "LEFT": RelayClient._on_answer,
    "ERROR": RelayClient._on_error,
    "ACK": lambda client, frame: client._delivery.acknowledged(frame.re or ""),
    "APP_MSG": RelayClient._on_app_msg,
    "MEDIA_MSG": RelayClient._on_media,
    "TOKEN": RelayClient._on_token,
    "QR_ROTATED": RelayClient._on_qr,
    "SYSTEM_MSG": lambda client, frame: client._tell(events.Notice.of(frame)),
    "ROOM_STATS": RelayClient._on_stats,
    "GAP": lambda client, _frame: client._tell(events.Gap()),
}
