"""The WebSocket shell: Autobahn's protocol on one side, the relay on the other."""

from __future__ import annotations

from typing import Any, cast

import attrs
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from twisted_relay.core import addresses
from twisted_relay.core.admission import Admission, Refusal, Refused
from twisted_relay.core.errors import Close
from twisted_relay.engine.client import Client
from twisted_relay.engine.interfaces import IConnection
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.relay import Relay
from twisted_relay.shell.answers import error, not_found, send
from twisted_relay.shell.handshake import handshake_fault
from twisted_relay.shell.http import client_host
from twisted_relay.shell.transport import unsent_bytes

SUBPROTOCOL = "relay.v1"
#: Close codes that Autobahn chooses when the peer breaks the protocol (RFC 6455 section 7.4.1).
_PROTOCOL_CLOSES = frozenset((1002, 1007, 1009))


@implementer(IConnection)
class RelayProtocol(WebSocketServerProtocol):
    """One client's WebSocket. Knows Autobahn and the relay, and decides nothing itself."""

    factory: RelayFactory
    transport: Any
    localCloseCode: Any
    address_key = ""
    client_address = ""
    _client: Client | None = None
    _fragments = 0
    _pong_due = False
    _released = False

    def onConnect(self, request: Any) -> str | None:
        # Nothing here may raise: Autobahn would tell the client the exception's text.
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        # Twisted's HTTP channel is still registered as the producer of a connection that it has
        # given away; a connection with a producer would never finish closing.
        self.transport.unregisterProducer()
        self._client = self.factory.relay.opened(self)

    def dataReceived(self, data: bytes) -> None:
        if self._client is not None:
            self._client.heard_at = self.factory.clock.seconds()
        super().dataReceived(data)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        # Autobahn ignores what this returns, so it is no coroutine: one would never run.
        if self._client is None:
            return
        if isBinary:
            self.factory.relay.received_binary(self._client)
        else:
            self.factory.relay.received(self._client, payload)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        # Autobahn's reason quotes the client, and would stand in the status line.
        super().failHandshake("Bad Request", code, responseHeaders)

    def onPing(self, payload: bytes) -> None:
        if self._admits_frame():
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        # The answer to our own ping is free; whoever sends at its full rate must not fall by it.
        if self._pong_due:
            self._pong_due = False
        else:
            self._admits_frame()

    def onMessageBegin(self, isBinary: bool) -> None:
        self._fragments = 0
        super().onMessageBegin(isBinary)

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self._fragments += 1
        if self._fragments > 1:
            self._admits_frame()

    def _admits_frame(self) -> bool:
        # Frames that make up no message reach no bucket of the session by themselves.
        return self._client is not None and self.factory.relay.admits_frame(self._client)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._client is not None:
            # The client keeps nothing of a connection that is gone.
            client, self._client = self._client, None
            if self.localCloseCode in _PROTOCOL_CLOSES:
                why = "protocol"
            else:
                why = "client" if wasClean else "lost"
            self.factory.relay.lost(client, why)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        if not self._released:
            self._released = True
            self.factory.admission.release(self.address_key)

    # IConnection

    def write(self, data: bytes) -> None:
        if self.state == self.STATE_OPEN:
            self.transport.write(data)

    def ping(self) -> None:
        if self.state == self.STATE_OPEN:
            self._pong_due = True
            self.sendPing()

    def unsent_bytes(self) -> int:
        return unsent_bytes(self.transport)

    def pause(self) -> None:
        self.transport.pauseProducing()

    def resume(self) -> None:
        self.transport.resumeProducing()

    def close(self, why: Close) -> None:
        # sendClose() takes only 1000 and 3000 to 4999. A paused client could not answer the close.
        self.transport.resumeProducing()
        self.sendCloseFrame(code=why.code, reasonUtf8=why.reason.encode("ascii"), isReply=False)


class RelayFactory(WebSocketServerFactory):
    """Builds `RelayProtocol`, with the options that the wire protocol asks for.

    Args:
        relay: what the clients talk to.
        admission: what counts them; each protocol releases its place once.
        clock: the reactor.
        max_message_bytes: MAX_WS_MSG_BYTES.
    """

    protocol: Any
    noisy = False

    def __init__(
        self, relay: Relay, admission: Admission, clock: IReactorTime, max_message_bytes: int
    ) -> None:
        # No server name: the answer to a handshake says no more of us than any other answer.
        super().__init__(reactor=clock, server="")
        self.protocol = RelayProtocol
        self.relay = relay
        self.admission = admission
        self.clock = clock
        self.setProtocolOptions(
            # False: a close frame with the right code instead of a reset connection.
            failByDrop=False,
            webStatus=False,
            maxMessagePayloadSize=max_message_bytes,
            maxFramePayloadSize=max_message_bytes,
            # Origins are checked at admission; Autobahn's own default would refuse "null".
            allowedOrigins=["*"],
            allowNullOrigin=True,
            tcpNoDelay=True,
        )


@attrs.frozen
class _AdmittedFactory:
    """Builds one protocol that knows for which address it was admitted."""

    factory: RelayFactory
    address_key: str
    client_address: str

    def buildProtocol(self, address: IAddress) -> RelayProtocol:
        protocol: Any = self.factory.buildProtocol(address)
        protocol.address_key = self.address_key
        protocol.client_address = self.client_address
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
            send(request, fault)
            return NOT_DONE_YET
        address = client_host(request)
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
        return WebSocketResource(_AdmittedFactory(factory, key, address)).render(request)

    def _refuse(self, request: Any, refusal: Refusal, address: str) -> None:
        why = refusal.why
        self._metrics.rejected[why.reason] += 1
        self._log.warn(
            _REFUSED_LINES[why],
            event="connection_rejected",
            reason=why.reason,
            client_address=address,
        )
        headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
        send(request, error(why.status, _HTTP_CODES[why], why.message, headers))


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
