# mypy: allow-untyped-calls
# (twisted.web has no annotations for most of what is called and inherited here.)
"""The HTTP side of the port: rooms and probes, the way to ``/ws``, and a site that says little.

twisted.web would answer in HTML, name itself and its version, and log request lines; the request
and channel here do not.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.server import Request as ServerRequest

from twisted_relay import __version__
from twisted_relay.core.addresses import limit_key
from twisted_relay.core.errors import Code, RelayError
from twisted_relay.engine.interfaces import IRoomStore
from twisted_relay.engine.metrics import Metrics, make_registry
from twisted_relay.shell.answers import (
    Answer,
    Desk,
    Endpoint,
    NotFound,
    as_json,
    error,
    internal_error,
    send,
)
from twisted_relay.shell.memory import memory_reader
from twisted_relay.shell.probes import Vitals, add_probes, configured_limits

if TYPE_CHECKING:
    from twisted_relay.core.settings import Settings

REQUEST_SECONDS = 10.0
"""A request must have arrived whole within this time."""
MAX_BODY_BYTES = 64 * 1024
"""No call needs a body; a longer one is answered 413."""
MAX_SWALLOWED_BYTES = 1024 * 1024
"""Past this, the connection is ended instead of read on."""

_HEADERS = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))


class RoomCalls(Protocol):
    """What of the relay the HTTP calls use."""

    @property
    def draining(self) -> bool: ...
    async def create_empty_room(self, address_key: str) -> str: ...
    async def room_token(self, room_id: str) -> tuple[str, int]: ...


def client_host(request: BaseRequest) -> str:
    """Return the host of the peer, or what stands for it on a socket without addresses."""
    return str(getattr(request.getClientAddress(), "host", ""))


class Rooms(Endpoint):
    """``POST /rooms``, and the way to ``/rooms/ID/token``."""

    isLeaf = False
    route = "/rooms"
    methods = (b"POST",)

    def __init__(
        self, desk: Desk, relay: RoomCalls, address_of: Callable[[BaseRequest], str]
    ) -> None:
        super().__init__(desk)
        self._relay = relay
        self._address_of = address_of

    async def answer(self, request: BaseRequest) -> Answer:
        """Create an empty room. ``fingerprint`` may be shown where the id may not."""
        if self._relay.draining:
            raise RelayError(Code.UNAVAILABLE, "This instance is about to stop; try again.")
        room_id = await self._relay.create_empty_room(limit_key(self._address_of(request)))
        fingerprint = hashlib.sha256(room_id.encode()).hexdigest()[:12]
        return as_json(200, {"roomId": room_id, "fingerprint": fingerprint})

    def getChild(self, path: bytes, request: ServerRequest) -> Resource:
        """Find ``/rooms/ID/token``; called by twisted.web."""
        if request.postpath == [b"token"] and path:
            request.postpath = []
            return RoomToken(self.desk, self._relay, path)
        return NotFound(self.desk)


class RoomToken(Endpoint):
    """``GET /rooms/ID/token``: a join token for a room that exists."""

    route = "/rooms/{id}/token"

    def __init__(self, desk: Desk, relay: RoomCalls, room_id: bytes) -> None:
        super().__init__(desk)
        self._relay = relay
        self._room_id = room_id

    async def answer(self, request: BaseRequest) -> Answer:
        """Return the token, or 404 for what no room can be called."""
        if not (8 <= len(self._room_id) <= 128 and self._room_id.isascii()):
            raise RelayError(Code.NO_ROOM)
        room_id = self._room_id.decode("ascii")
        token, expires_ms = await self._relay.room_token(room_id)
        return as_json(200, {"roomId": room_id, "token": token, "expUnixMs": expires_ms})


class RelayRequest(ServerRequest):
    """A request whose body is counted and dropped, and whose errors are JSON."""

    site: RelaySite
    channel: RelayChannel
    received = 0
    refused = False

    def gotLength(self, length: int | None) -> None:
        """Take no file for the body, however long; called by twisted.web."""
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Count a piece of the body, and end a connection that brings far too much."""
        self.received += len(data)
        if self.received > MAX_SWALLOWED_BYTES and not self.refused:
            self.refused = True
            self.channel.refuse(_too_large())

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Process, unless the channel has answered in our place; called by twisted.web."""
        if not self.refused:
            super().requestReceived(command, path, version)

    def process(self) -> None:
        """Find the resource and let it answer; called by twisted.web.

        In place of the inherited method, which names server and version in each answer.
        """
        self.site = self.channel.site
        self.setHeader(b"Date", datetimeToString())
        for name, value in _HEADERS:
            self.setHeader(name, value)
        self.prepath = []
        self.postpath = [unquote_to_bytes(part) for part in self.path[1:].split(b"/")]
        if self.received > MAX_BODY_BYTES:
            send(self, _too_large())
            return
        try:
            body = self.site.getResourceFor(self).render(self)
            if body is not NOT_DONE_YET:
                # Only a resource that is not ours returns its body.
                self.setHeader(b"Content-Length", str(len(body)))
                self.write(body)
                self.finish()
        except Exception:
            self.processingFailed(Failure())

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer 500 without a word about the bug; called by twisted.web."""
        self.site.desk.bug("/ws" if self.path == b"/ws" else "other", reason)
        # A resource that took the transport over has also taken the answer over.
        if not self.finished and getattr(self.channel, "transport", None) is not None:
            send(self, internal_error())
        return reason


class RelayChannel(HTTPChannel):
    """One HTTP connection: a deadline for each whole request, another for idling between them."""

    site: RelaySite
    _idle = False

    def resetTimeout(self) -> None:
        """Called for each piece of data: which does not prolong the deadline of a request."""
        if self._idle:
            self._idle = False
            self.setTimeout(REQUEST_SECONDS)

    def requestDone(self, request: BaseRequest) -> None:
        """Wait for another request; called by twisted.web."""
        self._savedTimeOut = self.site.keep_alive_seconds
        self._idle = True
        super().requestDone(request)

    def allHeadersReceived(self) -> None:
        """Refuse a body that is announced to be far too long before it is sent."""
        if (self.length or 0) > MAX_SWALLOWED_BYTES:
            self.requests[-1].refused = True
            self.refuse(_too_large())
        else:
            super().allHeadersReceived()

    def refuse(self, answer: Answer) -> None:
        """Answer outside of any request, and end the connection."""
        if self.transport is None:
            return
        head = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in _HEADERS),
            "Connection: close",
        ]
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + answer.body)
        self.loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's own hook for a request that is no HTTP; its answer has no body.
        self.refuse(error(400, "ERR_BAD_REQUEST", "This is no HTTP request."))


class RelaySite(Site):
    """The site: no access log, no sessions, no tracebacks."""

    noisy = False
    displayTracebacks = False
    protocol = RelayChannel  # type: ignore[assignment] # the channel itself, without HTTP/2

    def __init__(
        self, root: Resource, desk: Desk, keep_alive_seconds: float, reactor: IReactorTime | None
    ) -> None:
        super().__init__(
            root, requestFactory=RelayRequest, timeout=REQUEST_SECONDS, reactor=reactor
        )
        self.desk = desk
        self.keep_alive_seconds = keep_alive_seconds

    def startFactory(self) -> None:
        """Start no clock: it would only serve the access log."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: BaseRequest) -> None:
        """Write no access log: it would hold addresses and room ids."""

    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 alone: a WebSocket needs it (RFC 6455)."""
        return [b"http/1.1"]


class Root(Resource):
    """``/`` itself, and whatever is not there, is 404."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def getChild(self, path: bytes, request: BaseRequest) -> Resource:
        """Return 404; called by twisted.web where there is no child."""
        return NotFound(self._desk)


def make_site(
    settings: Settings,
    relay: RoomCalls,
    store: IRoomStore,
    metrics: Metrics,
    ws: IResource,
    *,
    address_of: Callable[[BaseRequest], str] = client_host,
    now: Callable[[], float] = time.time,
    reactor: IReactorTime | None = None,
) -> RelaySite:
    """Return the site for the relay's port.

    Args:
        settings: which endpoints are served, the limits to report, what is logged.
        relay: makes rooms and tokens.
        store: says how it is.
        metrics: what /metrics shows; given its limits and build here.
        ws: the resource that ``/ws`` is.
        address_of: gives the client's address, which limits count by.
        now: Unix time in seconds.
        reactor: for the deadlines.
    """
    metrics.limits = configured_limits(settings.session, settings.admission, settings.rooms)
    metrics.build = {"version": __version__, "service_version": settings.runtime.service_version}
    vitals = Vitals(
        metrics=metrics,
        registry=make_registry(metrics),
        status=store.status,
        memory=memory_reader(settings.runtime.memory_limit_mb),
        draining=lambda: relay.draining,
        now=now,
        max_connections=settings.admission.max_total_connections,
        version=settings.runtime.service_version,
        instance_id=settings.runtime.instance_id,
    )
    desk = Desk(metrics, settings.log.requests, now)
    root = Root(desk)
    root.putChild(b"ws", ws)
    root.putChild(b"rooms", Rooms(desk, relay, address_of))
    add_probes(root, desk, vitals, settings.features)
    return RelaySite(root, desk, settings.http.keep_alive_timeout_ms / 1000, reactor)


def _too_large() -> Answer:
    message = f"No call takes a body of more than {MAX_BODY_BYTES} bytes."
    return error(413, "ERR_BODY_TOO_LARGE", message)
