# mypy: allow-untyped-calls
# (twisted.web has no annotations for most of what is called and inherited here.)
"""The HTTP calls of the port: rooms, the probes, and the way to ``/ws``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request as ServerRequest

from twisted_relay import __version__
from twisted_relay.core.addresses import limit_key
from twisted_relay.core.errors import Code, RelayError
from twisted_relay.core.settings import Settings
from twisted_relay.engine.interfaces import StoreStatus
from twisted_relay.engine.metrics import Metrics, make_registry
from twisted_relay.shell.answers import (
    Answer,
    Desk,
    Endpoint,
    NotFound,
    as_json,
)
from twisted_relay.shell.memory import memory_reader
from twisted_relay.shell.probes import Vitals, add_probes, configured_limits
from twisted_relay.shell.site import RelaySite


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
    status: Callable[[], StoreStatus],
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
        status: says at once how the store is.
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
        status=status,
        memory=memory_reader(settings.runtime.memory_limit_mb),
        draining=lambda: relay.draining,
        now=now,
        version=settings.runtime.service_version,
        instance_id=settings.runtime.instance_id,
    )
    desk = Desk(metrics, settings.log.requests, now)
    root = Root(desk)
    root.putChild(b"ws", ws)
    root.putChild(b"rooms", Rooms(desk, relay, address_of))
    add_probes(root, desk, vitals, settings.features)
    return RelaySite(root, desk, settings.http.keep_alive_timeout_ms / 1000, reactor)
