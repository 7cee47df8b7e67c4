"""``/ws`` as an HTTP resource: refuses, or gives the connection to the WebSocket."""

from __future__ import annotations

from typing import Any, cast

import attrs
from autobahn.twisted.resource import WebSocketResource
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from twisted_relay.core import addresses
from twisted_relay.core.admission import Refusal, Refused
from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell.answers import Answer, error, not_found, send
from twisted_relay.shell.handshake import handshake_fault
from twisted_relay.shell.websocket import RelayFactory, RelayProtocol


@attrs.frozen
class _AdmittedFactory:
    """Builds one protocol that knows for which address it was admitted."""

    factory: RelayFactory
    address_key: str
    client_address: str
    headers: dict[str, str]

    def buildProtocol(self, address: IAddress) -> RelayProtocol:
        protocol: Any = self.factory.buildProtocol(address)
        protocol.address_key = self.address_key
        protocol.client_address = self.client_address
        protocol.answer_headers = self.headers
        return cast(RelayProtocol, protocol)


@implementer(IResource)
class AdmissionResource:
    """``/ws``: who is not to come in is told so here, before a handshake costs anything.

    Args:
        factory: builds the protocols.
        metrics: counts refusals by reason.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, factory: RelayFactory, metrics: Metrics) -> None:
        self._factory = factory
        self._metrics = metrics

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        raise RuntimeError("a leaf has no children")

    def putChild(self, path: bytes, child: IResource) -> None:
        raise RuntimeError("a leaf takes no children")

    def render(self, request: Any) -> Any:
        fault = not_found() if request.postpath else handshake_fault(request)
        if fault is not None:
            self._send(request, fault)
            return NOT_DONE_YET
        address = request.caller
        key = addresses.limit_key(address)
        origin = request.getHeader(b"origin")
        factory = self._factory
        refusal = factory.admission.admit(
            key,
            None if origin is None else origin.decode("latin-1"),
            factory.relay.draining,
            factory.clock.seconds(),
        )
        if refusal is not None:
            self._refuse(request, refusal, address)
            return NOT_DONE_YET
        resource = WebSocketResource(_AdmittedFactory(factory, key, address, _said(request)))
        answer = resource.render(request)
        if answer is NOT_DONE_YET:
            # The channel has given its transport away. It and the request hold each other: without
            # this they would stay until the collector finds them.
            request.channel.requests.clear()
            self._metrics.count_http("/ws", 101)
        return answer

    def _send(self, request: Any, answer: Answer) -> None:
        self._metrics.count_http("/ws", answer.status)
        send(request, answer)

    def _refuse(self, request: Any, refusal: Refusal, address: str) -> None:
        why = refusal.why
        self._metrics.rejected[why.reason] += 1
        self._log.warn(
            _REFUSED_LINES[why],
            event="connection_rejected",
            reason=why.reason,
            client_address=address,
            request_id=request.request_id,
        )
        headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
        self._send(request, error(why.status, _HTTP_CODES[why], why.message, headers))


def _said(request: Any) -> dict[str, str]:
    """The headers that every answer has, for the one that Autobahn writes."""
    found = request.responseHeaders.getAllRawHeaders()
    return {name.decode("ascii"): values[0].decode("latin-1") for name, values in found}


#: An operator greps for "too many connections".
_REFUSED_LINES = {
    Refused.ORIGIN: "connection refused: origin not allowed",
    Refused.DRAINING: "connection refused: shutting down",
    Refused.CAPACITY: "connection refused: at capacity",
    Refused.ADDRESS: "connection refused: too many connections from one address",
    Refused.RATE: "connection refused: too many connections from one address in a minute",
}
_HTTP_CODES = {
    Refused.ORIGIN: "ERR_ORIGIN",
    Refused.DRAINING: "ERR_UNAVAILABLE",
    Refused.CAPACITY: "ERR_UNAVAILABLE",
    Refused.ADDRESS: "ERR_RATE_LIMITED",
    Refused.RATE: "ERR_RATE_LIMITED",
}
