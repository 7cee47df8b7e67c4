"""What stands between the port and the calls: who asks, how often, and what every answer says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.web.http import Request

from twisted_relay.core.addresses import limit_key
from twisted_relay.core.limits import AddressBuckets
from twisted_relay.core.proxies import Trust
from twisted_relay.core.settings import Settings
from twisted_relay.shell.callers import Callers
from twisted_relay.shell.cors import Cors
from twisted_relay.shell.headers import request_id, security_headers, strict_transport


@attrs.define
class Edge:
    """The rules of one port; a site can be given new ones at any time.

    Attributes:
        callers: tells who asks.
        calls: how often one address may make room calls; None for no limit.
        plain: headers of every answer.
        over_tls: headers of every answer to who came over TLS.
        cors: None answers no page of another origin.
        request_ids: whether requests have ids.
        detailed_errors: whether errors say when they happened, and to which request.
    """

    callers: Callers
    calls: AddressBuckets | None = None
    plain: Mapping[str, str] = attrs.Factory(dict)
    over_tls: Mapping[str, str] = attrs.Factory(dict)
    cors: Cors | None = None
    request_ids: bool = True
    detailed_errors: bool = False

    def headers(self, secure: bool) -> dict[str, str]:
        """Return what an answer says whatever was asked."""
        return {"Cache-Control": "no-store", **self.plain, **(self.over_tls if secure else {})}

    def begin(self, request: Any, now: float) -> None:
        """Find out who makes a `site.RelayRequest`, and set the headers of its answer."""
        request.caller = self.callers.address_of(request, now)
        for name, value in self.headers(self.callers.over_tls(request)).items():
            request.setHeader(name, value)
        if self.request_ids:
            request.request_id = request_id(request.getHeader(b"x-request-id"))
            request.setHeader("X-Request-Id", request.request_id)
        if self.cors is not None:
            for name, value in self.cors.headers(_origin(request)).items():
                request.setHeader(name, value)

    def preflight(self, request: Request, methods: str) -> dict[str, str] | None:
        """Return the headers that answer a preflight; None if ``request`` is none, or CORS off."""
        origin = _origin(request)
        asked = request.getHeader(b"access-control-request-method")
        if self.cors is None or request.method != b"OPTIONS" or origin is None or asked is None:
            return None
        return self.cors.preflight(origin, methods)

    def wait_seconds(self, caller: str, now: float) -> int | None:
        """Count a room call; None if it may be made, else in how many seconds one may."""
        wait = None if self.calls is None else self.calls.spend(limit_key(caller), now)
        return None if wait is None else max(1, math.ceil(wait))


def make_edge(settings: Settings, before: Edge | None = None) -> Edge:
    """Return the rules of the public port; what was counted by those ``before`` counts on."""
    features, http = settings.features, settings.http
    most = settings.admission.max_http_per_ip_per_min
    calls = AddressBuckets(most) if features.ip_tracking else None
    if before is not None and before.calls is not None and calls is not None:
        calls = before.calls
        calls.change(most)
    return Edge(
        Callers(Trust(settings.listen.trust_proxy)),
        calls,
        security_headers(http) if features.security_headers else {},
        strict_transport(http) if features.security_headers else {},
        Cors(http.cors_allowed_origins, http.cors_allow_credentials) if features.cors else None,
        features.request_id,
        features.detailed_errors,
    )


def make_ops_edge(settings: Settings) -> Edge:
    """Return the rules of the port for operators: as the public ones, for no page and no room."""
    return attrs.evolve(make_edge(settings), cors=None, calls=None)


def _origin(request: Request) -> str | None:
    found = request.getHeader(b"origin")
    return None if found is None else str(found.decode("latin-1"))
