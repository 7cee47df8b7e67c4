# mypy: allow-untyped-calls
# (twisted.web has no annotations for most of what is called and inherited here.)
"""The HTTP calls: rooms, the probes, the way to ``/ws``, the page; and which of them are where."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Protocol

import attrs
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
from twisted_relay.shell.edge import make_edge, make_ops_edge
from twisted_relay.shell.memory import memory_reader
from twisted_relay.shell.page import add_page, page_folder, read_page
from twisted_relay.shell.probes import Probes, Vitals, configured_limits
from twisted_relay.shell.site import RelaySite


class RoomCalls(Protocol):
    """What of the relay the HTTP calls use."""

    @property
    def draining(self) -> bool: ...
    async def create_empty_room(self, address_key: str) -> str: ...
    async def room_token(self, room_id: str) -> tuple[str, int]: ...


class Rooms(Endpoint):
    """``POST /rooms``, and the way to ``/rooms/ID/token``."""

    isLeaf = False
    route = "/rooms"
    methods = (b"POST",)
    limited = True

    def __init__(self, desk: Desk, relay: RoomCalls) -> None:
        super().__init__(desk)
        self._relay = relay

    async def answer(self, request: Any) -> Answer:
        """Create an empty room. ``fingerprint`` may be shown where the id may not."""
        if self._relay.draining:
            raise RelayError(Code.UNAVAILABLE, "This instance is about to stop; try again.")
        room_id = await self._relay.create_empty_room(limit_key(request.caller))
        fingerprint = hashlib.sha256(room_id.encode()).hexdigest()[:12]
        return as_json(200, {"roomId": room_id, "fingerprint": fingerprint})

    def getChild(self, path: bytes, request: ServerRequest) -> Resource:
        """Find ``/rooms/ID/token``; called by twisted.web."""
        if request.postpath == [b"token"] and path:
            request.postpath = []
            return RoomToken(self.desk, self._relay, path)
        return NotFound(self.desk, limited=True)


class RoomToken(Endpoint):
    """``GET /rooms/ID/token``: a join token for a room that exists."""

    route = "/rooms/{id}/token"
    limited = True

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


@attrs.frozen
class Sites:
    """The sites of a relay: ``public``, and ``ops`` where OPS_ENDPOINT asks for one."""

    public: RelaySite
    ops: RelaySite | None

    def change(self, settings: Settings) -> None:
        """Go by other settings from the next request on."""
        self.public.edge = make_edge(settings, self.public.edge)
        if self.ops is not None:
            self.ops.edge = make_ops_edge(settings)


def make_sites(
    settings: Settings,
    relay: RoomCalls,
    status: Callable[[], StoreStatus],
    metrics: Metrics,
    ws: IResource,
    *,
    now: Callable[[], float] = time.time,
    reactor: IReactorTime | None = None,
) -> Sites:
    """Return what is served, and where.

    With OPS_ENDPOINT, /metrics and /health are on that site alone; /live, /ready and /healthz,
    which load balancers and supervisors ask for, are on both.

    Args:
        settings: which endpoints are served, the limits to report, what is logged.
        relay: makes rooms and tokens.
        status: says at once how the store is.
        metrics: what /metrics shows; given its limits and build here.
        ws: the resource that ``/ws`` is.
        now: Unix time in seconds.
        reactor: for the deadlines.

    Raises:
        SettingsError: for WEB_CLIENT without a page in this installation.
    """
    vitals = _vitals(settings, relay, status, metrics, now)
    desk = Desk(metrics, settings.log.requests, now)
    keep_alive = settings.http.keep_alive_timeout_ms / 1000
    probes = Probes(desk, vitals, settings.features, settings.log.health_check_failures)
    apart = settings.listen.ops_endpoint is not None
    root = _root(settings, desk, relay, ws)
    probes.add(root, details=not apart)
    public = RelaySite(root, desk, make_edge(settings), keep_alive, reactor)
    if not apart:
        return Sites(public, None)
    ops_root = Root(desk)
    probes.add(ops_root, details=True)
    return Sites(public, RelaySite(ops_root, desk, make_ops_edge(settings), keep_alive, reactor))


def _root(settings: Settings, desk: Desk, relay: RoomCalls, ws: IResource) -> Root:
    """What everybody may ask for, the probes apart."""
    root = Root(desk)
    if settings.http.web_client:
        # First, so that no file could ever take the place of a call.
        add_page(root, desk, read_page(page_folder()))
    root.putChild(b"ws", ws)
    root.putChild(b"rooms", Rooms(desk, relay))
    return root


def _vitals(
    settings: Settings,
    relay: RoomCalls,
    status: Callable[[], StoreStatus],
    metrics: Metrics,
    now: Callable[[], float],
) -> Vitals:
    """What the probes tell of; the metrics are told what runs, and within which limits."""
    runtime = settings.runtime
    metrics.limits = configured_limits(settings.session, settings.admission, settings.rooms)
    metrics.build = {
        "version": __version__,
        "service_version": runtime.service_version,
        "deployment_env": runtime.deployment_env,
    }
    return Vitals(
        metrics=metrics,
        registry=make_registry(metrics),
        status=status,
        memory=memory_reader(runtime.memory_limit_mb),
        draining=lambda: relay.draining,
        now=now,
        version=runtime.service_version,
        instance_id=runtime.instance_id,
    )
