"""One WebSocket connection to the relay, with what was said before the handshake was done."""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred

from twisted_relay.doctor.network import (
    SILENT,
    AnyCertificate,
    Trust,
    Unreachable,
    endpoint_for,
    reason_of,
)
from twisted_relay.doctor.target import Target

SUBPROTOCOL = "relay.v1"
_LARGEST_HEAD = 65_536
_LARGEST_MESSAGE = 16 * 1024 * 1024
_PARTING_SECONDS = 1.0


@attrs.frozen
class Refusal(Exception):
    """The handshake was not done.

    Attributes:
        status: of the HTTP answer; None where there was none.
        headers: names in lower case.
        code: of the relay's JSON body, such as ``ERR_RATE_LIMITED``; empty in all others.
        message: the same body's.
        html: whether a page came, which a relay never sends.
    """

    status: int | None
    headers: dict[str, str] = attrs.Factory(dict)
    code: str = ""
    message: str = ""
    html: bool = False


@attrs.frozen
class Closed(Exception):
    """The connection is over; code and reason of the close frame, 1006 without one."""

    code: int
    reason: str

    def __str__(self) -> str:
        return f"{self.code}{self.reason and ' ' + self.reason}"


@attrs.frozen
class ErrorFrame(Exception):
    """The relay answered with ERROR."""

    code: str

    def __str__(self) -> str:
        return self.code


@attrs.frozen
class Frame:
    """What came. ``at`` is Unix time."""

    kind: str
    id: str
    re: str
    body: dict[str, Any] = attrs.field(repr=False)
    at: float


class _Protocol(WebSocketClientProtocol):
    """Autobahn's, which hands everything to the line."""

    def dataReceived(self, data: bytes) -> None:
        self.factory.line.keep(data)
        super().dataReceived(data)

    def onOpen(self) -> None:
        self.factory.line.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.line.heard(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.factory.line.ended(code or 1006, reason or "" if wasClean else "")


class Line:
    """A connection of the doctor's.

    Args:
        limit: seconds for the handshake, and for each answer.
        now: gives Unix time.

    Attributes:
        subprotocol: what the other side chose; None for nothing.
        dialled: when the handshake was sent, about; Unix time.
    """

    def __init__(self, reactor: Any, limit: float, now: Callable[[], float] = time.time) -> None:
        self._reactor, self._limit, self._now = reactor, limit, now
        self._head = bytearray()
        self._inbox: deque[Frame] = deque()
        self._waiting: Deferred[None] | None = None
        self._opened: Deferred[None] = Deferred()
        self._protocol: Any = None
        self._closed: Closed | None = None
        self._is_open = False
        self.subprotocol: str | None = None
        self.dialled = 0.0

    async def dial(self, target: Target, trust: Trust) -> None:
        """Connect. Raises `Refusal`, or `Unreachable`."""
        tls = AnyCertificate(target.host, trust) if target.secure else None
        factory: Any = WebSocketClientFactory(
            target.websocket, protocols=[SUBPROTOCOL], useragent="relay-doctor"
        )
        factory.protocol, factory.line, factory.noisy = _Protocol, self, False
        factory.setProtocolOptions(
            failByDrop=False,
            openHandshakeTimeout=0,
            maxMessagePayloadSize=_LARGEST_MESSAGE,
            maxFramePayloadSize=_LARGEST_MESSAGE,
        )
        try:
            connecting = endpoint_for(self._reactor, target, tls, self._limit).connect(factory)
            self._protocol = await connecting.addTimeout(self._limit, self._reactor)
            self.dialled = self._now()
            await self._opened.addTimeout(self._limit, self._reactor)
        except Refusal:
            raise
        except Exception as fault:  # whatever a socket or OpenSSL has to say
            await self.part()
            raise Unreachable(reason_of(fault)) from fault

    def say(self, kind: str, **body: object) -> str:
        """Send a frame; returns its id."""
        frame_id = secrets.token_urlsafe(12)
        frame = {"v": 1, "t": kind, "id": frame_id, "body": body}
        self._protocol.sendMessage(json.dumps(frame).encode())
        return frame_id

    async def hear(self, kind: str, re: str = "") -> Frame:
        """The next frame of this type, and in answer to this frame if one is named; what comes
        before it is passed over. Raises `ErrorFrame`, `Closed`, or `Unreachable`."""
        ends = self.seconds() + self._limit
        while True:
            while self._inbox:
                frame = self._inbox.popleft()
                if frame.kind == kind and re in ("", frame.re):
                    return frame
                if frame.kind == "ERROR" and re in ("", frame.re):
                    raise ErrorFrame(str(frame.body.get("code", "")))
            await self._more(ends - self.seconds())

    async def stay(self, seconds: float) -> None:
        """Listen for so long. Raises `Closed` when it ends before."""
        ends = self.seconds() + seconds
        while True:
            self._inbox.clear()
            try:
                await self._more(ends - self.seconds())
            except Unreachable:
                return

    async def ask(self, kind: str, answer: str, **body: object) -> tuple[Frame, float]:
        """Send a frame; its answer, and the seconds that it took."""
        began = self.seconds()
        frame = await self.hear(answer, self.say(kind, **body))
        return frame, self.seconds() - began

    def seconds(self) -> float:
        """The clock that durations are measured by."""
        return float(self._reactor.seconds())

    async def part(self) -> None:
        """Part in order, as far as there is anything to part from; never fails."""
        if self._protocol is None or self._closed is not None:
            return
        if not self._is_open:
            self._protocol.transport.abortConnection()
            return
        self._protocol.sendClose(1000)
        try:
            while True:
                self._inbox.clear()
                await self._more(_PARTING_SECONDS)
        except (Closed, Unreachable):
            self._protocol.transport.abortConnection()

    async def _more(self, seconds: float) -> None:
        if self._closed is not None:
            raise self._closed
        if seconds <= 0:
            raise Unreachable(SILENT)
        self._waiting = Deferred()
        try:
            await self._waiting.addTimeout(seconds, self._reactor)
        except Exception as fault:  # a timeout, and nothing else
            raise Unreachable(reason_of(fault)) from fault
        finally:
            self._waiting = None

    # What Autobahn tells.

    def keep(self, data: bytes) -> None:
        """Bytes came: those of the handshake are kept."""
        if not self._opened.called and len(self._head) < _LARGEST_HEAD:
            self._head += data

    def opened(self, protocol: Any) -> None:
        """The handshake is done."""
        self._protocol = protocol
        self._is_open = True
        self.subprotocol = protocol.websocket_protocol_in_use
        if not self._opened.called:
            self._opened.callback(None)

    def heard(self, payload: bytes) -> None:
        """A message came; one that is no frame is passed over, as a client does."""
        try:
            found = json.loads(payload)
            frame = Frame(
                str(found["t"]), str(found["id"]), str(found.get("re")), found["body"], self._now()
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        if isinstance(frame.body, dict):
            self._inbox.append(frame)
            self._wake()

    def ended(self, code: int, reason: str) -> None:
        """The connection is over, or never came to be one."""
        self._closed = Closed(code, reason)
        if not self._opened.called:
            self._opened.errback(read_refusal(bytes(self._head)))
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)


def read_refusal(head: bytes) -> Refusal:
    """What an answer to a handshake says that was not the one hoped for."""
    top, _, body = head.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if not words[0].startswith("HTTP/") or len(words) < 2 or not words[1].isdigit():
        return Refusal(None)
    headers = {
        name.strip().lower(): value.strip()
        for name, colon, value in (line.partition(":") for line in lines)
        if colon
    }
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    fields = found if isinstance(found, dict) else {}
    return Refusal(
        int(words[1]) if len(words[1]) == 3 else None,
        headers,
        str(fields.get("code", "")),
        str(fields.get("message", "")),
        "html" in headers.get("content-type", "").lower() or b"<html" in body.lower(),
    )
