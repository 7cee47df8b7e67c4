"""The WebSocket shell: Autobahn's protocol on one side, the relay on the other."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from twisted_relay.core.admission import Admission
from twisted_relay.core.errors import Close
from twisted_relay.engine.client import Client
from twisted_relay.engine.interfaces import IConnection
from twisted_relay.engine.relay import Relay
from twisted_relay.shell.autobahn_state import (
    between_messages,
    forget_connection,
    forget_handshake,
    with_options_of,
)
from twisted_relay.shell.receive import text_message
from twisted_relay.shell.transport import unsent_bytes
from twisted_relay.shell.unfinished import MESSAGE_SECONDS, Unfinished
from twisted_relay.shell.versions import counts_unsent

SUBPROTOCOL = "relay.v1"
CLOSE_SECONDS = 2.0
"""How long a client has at most to answer a close; a second less at least."""
#: Close codes that Autobahn chooses when the peer breaks the protocol (RFC 6455 section 7.4.1).
_PROTOCOL_CLOSES = frozenset((1002, 1007, 1009))


@implementer(IConnection)
class RelayProtocol(WebSocketServerProtocol):
    """One client's WebSocket. Knows Autobahn and the relay, and decides nothing itself."""

    factory: RelayFactory
    transport: Any
    localCloseCode: Any
    maxMessagePayloadSize: int
    address_key = ""
    client_address = ""
    answer_headers: dict[str, str] | None = None
    """What the answer to the handshake says besides the handshake; forgotten after it."""
    _client: Client | None = None
    _fragments = 0
    _ended = False
    """Whether a message, or a control frame between messages, came to its end since `_watch`."""
    _pong_due = False
    _released = False

    def onConnect(self, request: Any) -> tuple[str | None, dict[str, str]]:
        # Nothing here may raise: Autobahn would tell the client the exception's text.
        headers, self.answer_headers = self.answer_headers, None
        return (SUBPROTOCOL if SUBPROTOCOL in request.protocols else None), headers or {}

    def onOpen(self) -> None:
        # Twisted's HTTP channel is still registered as the producer of a connection that it has
        # given away; a connection with a producer would never finish closing.
        self.transport.unregisterProducer()
        if self.factory.fast_path:
            forget_handshake(self)
        self._client = self.factory.relay.opened(self)

    def dataReceived(self, data: bytes) -> None:
        if self._client is not None:
            self._client.heard_at = self.factory.clock.seconds()
            if self.factory.fast_path and between_messages(self):
                data = self._take_messages(data)
                if not data:
                    return
        super().dataReceived(data)
        if self._client is not None:
            self._watch()

    def _watch(self) -> None:
        """Give what has begun to come its time; nothing but its own end stops that.

        Whatever comes by the short way is whole, and begins between two messages. So this is for
        the rest only.
        """
        ended, self._ended = self._ended, False
        unfinished = self.factory.unfinished
        if between_messages(self):
            unfinished.ended(self)
        elif ended or self not in unfinished:
            unfinished.began(self)

    def _take_messages(self, data: bytes) -> bytes:
        """Hear the whole messages at the head of `data`; returns the rest, for Autobahn.

        After each message the state is looked at: what follows a close is Autobahn's. A pause
        holds nothing back, here as there; what came with the message is heard, and parked.
        """
        at = 0
        most = self.maxMessagePayloadSize
        while found := text_message(data, at, most):
            text, at = found
            self.onMessage(text, False)
            if self.state != self.STATE_OPEN:
                break
        return data[at:] if at else data

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
        self._ended = not self.inside_message
        if self._admits_frame():
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        self._ended = not self.inside_message
        # The answer to our own ping is free; whoever sends at its full rate must not fall by it.
        if self._pong_due:
            self._pong_due = False
        else:
            self._admits_frame()

    def onMessageBegin(self, isBinary: bool) -> None:
        self._fragments = 0
        super().onMessageBegin(isBinary)

    def onMessageEnd(self) -> None:
        self._ended = True
        super().onMessageEnd()

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self._fragments += 1
        if self._fragments > 1:
            self._admits_frame()

    def overdue(self) -> None:
        """What has begun to come is not whole in time."""
        if self._client is not None:
            self.factory.relay.close(self._client, Close.MESSAGE_TIMEOUT)

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
        self.factory.unfinished.ended(self)
        forget_connection(self)
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


@implementer(IPushProducer)
class CountingProtocol(RelayProtocol):
    """For a Twisted whose buffers cannot be looked into: counts by what it tells a producer.

    Twisted pauses a producer when more than a buffer's size waits, and resumes it when nothing
    does. So what is told here is 0 up to that size; beyond, it is all that was written since, which
    is more than what waits.
    """

    _waiting = 0

    def onOpen(self) -> None:
        super().onOpen()
        self.transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self._waiting = self._waiting or self.transport.bufferSize

    def resumeProducing(self) -> None:
        self._waiting = 0

    def stopProducing(self) -> None:
        """Nothing is produced here that could stop."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if self._waiting:
            self._waiting += len(data)

    def unsent_bytes(self) -> int:
        return self._waiting


class RelayFactory(WebSocketServerFactory):
    """Builds `RelayProtocol`, with the options that the wire protocol asks for.

    Args:
        relay: what the clients talk to.
        admission: what counts them; each protocol releases its place once.
        clock: the reactor.
        max_message_bytes: MAX_WS_MSG_BYTES.
        fast_path: whether whole text frames are taken past Autobahn, and options kept in one
            place for all; False leaves everything to Autobahn.
    """

    protocol: Any
    noisy = False

    def __init__(
        self,
        relay: Relay,
        admission: Admission,
        clock: IReactorTime,
        max_message_bytes: int,
        fast_path: bool = True,
    ) -> None:
        # No server name: the answer to a handshake says no more of us than any other answer.
        super().__init__(reactor=clock, server="")
        self._kind = RelayProtocol if counts_unsent() else CountingProtocol
        self.relay = relay
        self.admission = admission
        self.clock = clock
        self.fast_path = fast_path
        self.unfinished: Unfinished[RelayProtocol] = Unfinished(
            clock, MESSAGE_SECONDS, lambda protocol: protocol.overdue()
        )
        self.setProtocolOptions(
            # False: a close frame with the right code instead of a reset connection.
            failByDrop=False,
            webStatus=False,
            # For the answer to our close; then the connection is reset. Autobahn's timer rounds
            # down to whole seconds, so that its own 1 would often be nothing at all.
            closeHandshakeTimeout=CLOSE_SECONDS,
            # Origins are checked at admission.
            allowedOrigins=["*"],
            tcpNoDelay=True,
        )
        self.change(max_message_bytes)

    def stop(self) -> None:
        """End whatever goes on by itself."""
        self.unfinished.stop()

    def change(self, max_message_bytes: int) -> None:
        """Build protocols with another MAX_WS_MSG_BYTES from now on."""
        self.setProtocolOptions(
            maxMessagePayloadSize=max_message_bytes,
            maxFramePayloadSize=max_message_bytes,
            # The one option that each call sets back to its default, which would refuse "null".
            allowNullOrigin=True,
        )
        self.protocol = with_options_of(self, self._kind) if self.fast_path else self._kind
