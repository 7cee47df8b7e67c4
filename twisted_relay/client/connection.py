"""A member of one room: enter, talk, come back after a loss, leave."""

import random as _random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from . import events, frames
from .backoff import Backoff
from .errors import ClientError, ConnectFailed, Refused, SeatLost
from .exchange import Exchange
from .frames import Frame, FrameError
from .link import Link, open_link
from .outbox import Outbox, Outgoing, Repeats

LEAVE_TIMEOUT = 3.0
_OUR_FAULT = (1003, 1007, 1009)  # the same again would end the same way
_COME_AGAIN = ("ERR_UNAVAILABLE", "ERR_ROOM_FULL", "ERR_RATE_LIMITED")


class RelayClient:
    """Speaks the wire protocol; what it carries is opaque to it.

    ``listener`` is called with each of ``events.Event``, in order. ``clock`` (IReactorTime) and
    ``random`` drive waits only; sockets are the ``reactor``'s. ``opener`` opens a link.
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
        self._outbox = Outbox()
        self._exchange = Exchange(self._clock)
        self._timers: dict[str, Any] = {}
        self._drained: list[Deferred[None]] = []
        self._repeats = Repeats()
        self._next_token = ""
        self._returning = self._seated = self._over = False
        self.room_id = self.member_id = self.label = ""
        self.qr: events.QrRotated | None = None

    # What an owner does

    async def create(self, label: str | None = None) -> events.Joined:
        """Make a room and enter it. Raises ConnectFailed or Refused."""
        return await self._enter_first("ROOM_CREATE", {"label": label})

    async def join(
        self, room_id: str, token: str, *, label: str | None = None, single_use: bool = False
    ) -> events.Joined:
        """Enter a room with a join token; ``single_use`` for one from a QR code."""
        body: dict[str, object] = {"roomId": room_id, "label": label}
        body["qrToken" if single_use else "token"] = token
        return await self._enter_first("JOIN_REQUEST", body)

    def say(self, ciphertext: str, message_id: str | None = None) -> "Deferred[None]":
        """Send to everybody in the room; fires when the relay has handed it to the room.

        Survives a lost connection: it is sent again with the same id. Fails with Refused, or
        with SeatLost when the client ends before the acknowledgement: give it an errback.
        """
        if self._over:
            return fail(SeatLost("left"))
        done: Deferred[None] = Deferred()
        self._outbox.add(Outgoing(message_id or frames.new_id(), ciphertext, done))
        self._pump()
        return done

    def drain(self) -> "Deferred[None]":
        """Fires when nothing is waiting for its acknowledgement any more."""
        if not len(self._outbox):
            return succeed(None)
        self._drained.append(Deferred())
        return self._drained[-1]

    async def leave(self) -> None:
        """Give the seat up and close; never fails. What is unacknowledged then is given up."""
        if self._exchange.link is not None and self._seated and not self._over:
            self._over = True
            try:
                await self._exchange.ask("LEAVE", {"roomId": self.room_id}, LEAVE_TIMEOUT)
            except ClientError:
                self._log.debug("the relay did not confirm that we left")
        self._end("left")

    # Entering

    async def _enter_first(self, kind: str, body: dict[str, object]) -> events.Joined:
        try:
            await self._connect()
            return self._sit(await self._exchange.ask(kind, body))
        except ClientError:
            self._exchange.close()
            raise

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
        self._seated, self._returning = True, False
        if frame.t == "ROOM_CREATED":
            self.qr = events.QrRotated.of(frame)
        self._backoff.reset()
        self._outbox.again()
        self._listener(joined)
        self._pump()
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
            self._plan_return(reason or "connection lost")

    def _plan_return(self, reason: str) -> None:
        self._returning = True
        self._stop_timer("pump")
        wait = self._backoff.next()
        self._later("return", wait, self._start_return)
        self._listener(events.Lost(reason, wait))

    def _start_return(self) -> None:
        Deferred.fromCoroutine(self._return()).addErrback(
            lambda failure: self._log.failure("coming back failed", failure)
        )

    async def _return(self) -> None:
        body: dict[str, object] = {"roomId": self.room_id, "token": self._next_token}
        try:
            await self._connect()
            frame = await self._exchange.ask("JOIN_REQUEST", body)
            self._sit(frame)
        except Refused as refusal:
            if refusal.code in _COME_AGAIN:
                self._retry(refusal)
            else:
                self._end(str(refusal))
        except ClientError as fault:
            self._retry(fault)

    def _retry(self, fault: ClientError) -> None:
        self._exchange.close()
        if not self._over:
            self._plan_return(str(fault))

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

    def _on_hello(self, frame: Frame) -> None:
        limits = frame.body.get("limits")
        allowed = limits.get("maxMsgsPer10s") if isinstance(limits, dict) else None
        if isinstance(allowed, int) and allowed > 0:
            self._outbox.allow(allowed)
        self._exchange.greeted()

    def _on_answer(self, frame: Frame) -> None:
        self._exchange.answered(frame)

    def _on_error(self, frame: Frame) -> None:
        refusal = Refused(
            frame.text_or("code", "ERR"),
            frame.text_or("message"),
            retryable=frame.body.get("retryable") is True,
        )
        if self._exchange.answered(frame, refusal):
            return
        if frame.re is not None and frame.re in self._outbox:
            if refusal.code == "ERR_UNAVAILABLE":
                self._outbox.repeat(frame.re)
                self._later("pump", self._backoff.next(), self._pump)
            else:
                self._settle(frame.re, refusal)

    def _on_app_msg(self, frame: Frame) -> None:
        member_id = frame.text_or("memberId")
        if member_id and self._repeats.is_repeat(member_id, frame.id):
            return
        ciphertext = frame.text("ciphertextB64")
        acknowledges = frame.id in self._outbox and member_id in ("", self.member_id)
        own = acknowledges or bool(member_id and member_id == self.member_id)
        self._listener(events.Message(frame.id, member_id, ciphertext, own))
        if acknowledges:
            self._settle(frame.id, None)

    def _on_token(self, frame: Frame) -> None:
        self._next_token = frame.text("nextToken")

    def _on_qr(self, frame: Frame) -> None:
        self.qr = events.QrRotated.of(frame)
        self._listener(self.qr)

    def _on_system(self, frame: Frame) -> None:
        self._listener(events.Notice.of(frame))

    def _on_stats(self, frame: Frame) -> None:
        self._listener(events.Stats.of(frame))

    def _on_gap(self, _frame: Frame) -> None:
        self._listener(events.Gap())

    # Sending and ending

    def _pump(self) -> None:
        self._stop_timer("pump")
        link = self._exchange.link
        if link is None or not self._seated or self._returning or self._over:
            return
        due, again = self._outbox.due(self._clock.seconds())
        for message in due:
            body = {"roomId": self.room_id, "ciphertextB64": message.ciphertext}
            link.send(frames.build("APP_MSG", body, message.id))
        if again is not None:
            self._later("pump", again, self._pump)

    def _settle(self, message_id: str, fault: ClientError | None) -> None:
        message = self._outbox.acknowledge(message_id)
        if message is None:
            return
        if fault is None:
            self._backoff.reset()
            message.done.callback(None)
        else:
            message.done.errback(fault)
        if not len(self._outbox):
            self._fire_drained()

    def _fire_drained(self) -> None:
        drained, self._drained = self._drained, []
        for waiting in drained:
            waiting.callback(None)

    def _end(self, reason: str) -> None:
        self._over = True
        for name in list(self._timers):
            self._stop_timer(name)
        self._exchange.close()
        if self._seated:
            self._seated = False
            self._listener(events.Ended(reason))
        for message in self._outbox.clear():
            message.done.errback(SeatLost(reason))
        self._fire_drained()

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._stop_timer(name)
        self._timers[name] = self._clock.callLater(seconds, call)

    def _stop_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()


_REACTIONS: dict[str, Callable[[RelayClient, Frame], None]] = {
    "HELLO": RelayClient._on_hello,
    "ROOM_CREATED": RelayClient._on_answer,
    "JOINED": RelayClient._on_answer,
    "LEFT": RelayClient._on_answer,
    "ERROR": RelayClient._on_error,
    "APP_MSG": RelayClient._on_app_msg,
    "TOKEN": RelayClient._on_token,
    "QR_ROTATED": RelayClient._on_qr,
    "SYSTEM_MSG": RelayClient._on_system,
    "ROOM_STATS": RelayClient._on_stats,
    "GAP": RelayClient._on_gap,
}
