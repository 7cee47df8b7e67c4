"""What the relay must know of Twisted and Autobahn beyond their public interfaces.

Every private attribute that is used stands in this module, or in `tls_transport` for TLS, and
`misfit` says at the start whether the installed versions have them as they are read here; where
they have not, the relay runs on the public interfaces alone. `tests/shell/test_transport.py` fails
on such a version.
"""

from __future__ import annotations

import collections
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket import xormasker
from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort, ITransport
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.reflect import qual

from twisted_relay.shell.tls_transport import encrypt_at_once, fits_tls, kept

_EPOLL = "twisted.internet.epollreactor.EPollReactor"
#: What `Turns` needs of it.
_OF_EPOLL = ("_poller", "_selectables", "_doReadOrWrite", "doIteration")
_MOST_EVENTS = 1024


def unsent_bytes(transport: ITransport) -> int:
    """Bytes that were written and that the operating system has not yet taken.

    Twisted keeps them in two buffers: ``dataBuffer``, sent from ``offset`` on, and
    ``_tempDataBuffer``, whose length is ``_tempDataLen`` (`twisted.internet.abstract`). Over TLS
    they hold what is encrypted, and there is what is not yet.
    """
    inside: Any = transport
    before: int = 0
    while isinstance(inside, ProtocolWrapper):
        if isinstance(inside, TLSMemoryBIOProtocol):
            before += kept(inside)
        inside = inside.transport
    unsent: int = len(inside.dataBuffer) - inside.offset + inside._tempDataLen
    return before + unsent


class PromptServer(tcp.Server):
    """A connection that tries the socket before it waits for the reactor.

    Twisted keeps what is written, asks the reactor to say when the socket takes it, and sends it
    then: three system calls and a turn of the loop, where mostly one call would do. Only the
    plain case is handled here. Whatever the socket does not take, and whatever is written while
    something waits or the connection is in any special state, goes Twisted's own way, in order.
    """

    def write(self, data: bytes) -> None:
        """Send at once if nothing waits, else after what waits; `ITransport.write`."""
        if (
            self._tempDataBuffer
            or self.dataBuffer
            or self.disconnecting
            or not self.connected
            # A producer is told when the buffers are empty, which only the reactor's way does.
            or self.producer is not None
            or self.TLS
            or self._aborting
            or self._writeDisconnecting
        ):
            super().write(data)
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            # Full, or broken: Twisted finds out which, in the reactor's turn and not in ours.
            sent = 0
        if sent < len(data):
            super().write(data[sent:])


class PromptUnixServer(PromptServer, unix.Server):
    """The same on a UNIX socket, on which the relay passes no descriptors."""


_PROMPT = {tcp.Server: PromptServer, unix.Server: PromptUnixServer}


def send_at_once(port: IListeningPort) -> bool:
    """Let the connections that a port accepts from now on be `PromptServer`; False if it cannot.

    Works on listening TCP and UNIX ports. TLS over them, which writes to the same transport,
    encrypts at once from then on.
    """
    if not isinstance(port, tcp.Port) or port.transport not in _PROMPT:
        return False
    port.transport = _PROMPT[port.transport]
    encrypt_at_once(port.factory)
    return True


class Turns:
    """The reactor's turns; `start` takes the epoll reactor's into our own hands.

    Its own loop makes a logging context for each event, so that log lines of the old kind can name
    a "system", which ours do not: 2.7 of the 25 microseconds that a message costs. It makes room
    for as many events as there are connections, in each turn. And it has no end of a turn but a
    timer, which is 2 more. Any other reactor stays as it is, and so does one that somebody else
    has changed.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._due: collections.deque[Callable[[], object]] = collections.deque()
        self._ours = False

    def start(self) -> None:
        """From now on, if this is a reactor that we know."""
        reactor = self._reactor
        known = qual(type(reactor)) == _EPOLL and "doIteration" not in vars(reactor)
        if known and all(hasattr(reactor, name) for name in _OF_EPOLL):
            self._ours = True
            reactor.doIteration = self._turn()

    def stop(self) -> None:
        """The reactor is as it was."""
        if self._ours:
            self._ours = False
            del self._reactor.doIteration
            while self._due:
                self.soon(self._due.popleft())

    def soon(self, call: Callable[[], object]) -> None:
        """Call a function when the events of this turn have been dealt with."""
        if self._ours:
            self._due.append(call)
        else:
            self._reactor.callLater(0, call)

    def _turn(self) -> Callable[[float | None], None]:
        reactor, due = self._reactor, self._due
        poll, selectables, act = (
            reactor._poller.poll,
            reactor._selectables,
            reactor._doReadOrWrite,
        )

        def turn(timeout: float | None) -> None:
            while due:  # a timer's doing, or a thread's
                timeout = 0  # what is called may set timers itself
                due.popleft()()
            try:
                # Those left out come first in the next turn; timers are heard in between.
                events = poll(-1 if timeout is None else timeout, _MOST_EVENTS)
            except InterruptedError:
                return
            for number, event in events:
                # What came before may have closed this one.
                selectable = selectables.get(number)
                if selectable is not None:
                    act(selectable, number, event)
            while due:
                due.popleft()()

        return turn


def between_messages(protocol: Any) -> bool:
    """Whether an Autobahn protocol is open, with no frame or message begun and no bytes kept.

    ``current_frame`` and ``inside_message`` exist from the handshake on, which is also when the
    state becomes open.
    """
    return bool(
        protocol.state == WebSocketServerProtocol.STATE_OPEN
        and not protocol.data
        and protocol.current_frame is None
        and not protocol.inside_message
    )


def unmasked(mask: bytes, data: bytes) -> bytes:
    """`data` without its mask (RFC 6455 section 5.3); Autobahn has compiled code for it."""
    return cast(bytes, xormasker.create_xor_masker(mask, len(data)).process(data))  # type: ignore[attr-defined]


#: What Autobahn keeps of an opening handshake, though it has no more use for it.
_OF_THE_HANDSHAKE = (
    "http_headers",
    "http_request_data",
    "http_request_host",
    "http_request_params",
    "http_request_path",
    "http_request_uri",
    "http_response_data",
    "http_status_line",
    "_wskey",
)


def forget_handshake(protocol: Any) -> None:
    """Keep nothing of the opening handshake of a WebSocket that is open.

    A browser's headers are a kilobyte or two, which Autobahn would hold twice for as long as the
    connection lives.
    """
    kept = vars(protocol)
    for name in _OF_THE_HANDSHAKE:
        if name in kept:
            kept[name] = None


def forget_connection(protocol: Any) -> None:
    """Keep nothing of a WebSocket that is gone.

    Its Deferred ``is_closed`` has it as its result, so that it holds itself until the collector
    finds it, and a timer for the closing handshake holds it for seconds; and with it whatever of a
    large message had come. A flood of such connections would take hundreds of megabytes.
    """
    protocol.is_closed = None
    protocol.data = b""
    protocol.frame_data, protocol.message_data = [], []


# Whether the installed versions are what is read above.


def misfit() -> str | None:
    """Why the fast path is not for the installed Twisted and Autobahn; None if it is.

    Tries it, on a pair of sockets and without a reactor: that takes a millisecond.
    """
    for name, fits in (
        ("Twisted", _fits_twisted),
        ("Twisted", fits_tls),
        ("Autobahn", _fits_autobahn),
    ):
        try:
            if not fits():
                return f"the installed {name} does not keep its buffers as expected"
        except Exception as fault:
            return f"the installed {name} is not as expected: {type(fault).__name__}"
    return None


def counts_unsent() -> bool:
    """Whether `unsent_bytes` is right with the installed Twisted."""
    with _pair(tcp.Server, Protocol()) as (plain, far):
        try:
            plain.write(b"kept")
            kept = unsent_bytes(plain) == 4 and plain._tempDataBuffer == [b"kept"]
            plain.doWrite()
            sent = unsent_bytes(plain) == 0 and not plain._tempDataBuffer and not plain.dataBuffer
        except (AttributeError, TypeError):
            return False
        return bool(kept and sent) and far.recv(9) == b"kept"


class _Unwatched:
    """A reactor that watches nothing, whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


_UNWATCHED: Any = _Unwatched()
_NO_PORT: Any = None


@contextmanager
def _pair(kind: type[tcp.Server], protocol: Any) -> Iterator[tuple[Any, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        far.settimeout(1)
        yield kind(near, protocol, ("127.0.0.1", 0), _NO_PORT, 0, _UNWATCHED), far


def _fits_twisted() -> bool:
    with _pair(PromptServer, Protocol()) as (prompt, far):
        prompt.write(b"sent")
        return counts_unsent() and unsent_bytes(prompt) == 0 and far.recv(9) == b"sent"


def _fits_autobahn() -> bool:
    factory: Any = WebSocketServerFactory(reactor=_UNWATCHED)
    factory.protocol = WebSocketServerProtocol
    factory.setProtocolOptions(openHandshakeTimeout=0)
    protocol: Any = factory.buildProtocol(None)
    heard: list[bytes] = []
    protocol.onMessage = lambda payload, isBinary: heard.append(payload)
    with _pair(tcp.Server, protocol) as (transport, _):
        protocol.makeConnection(transport)
        protocol.dataReceived(_HANDSHAKE)
        told = [between_messages(protocol)]
        # A head in two pieces, its text, and the first fragment of a message.
        for piece in (b"\x81", b"\x81mask", bytes((ord("m") ^ ord("x"),)), b"\x01\x80mask"):
            protocol.dataReceived(piece)
            told.append(between_messages(protocol))
    text = unmasked(b"mask", bytes(b ^ m for b, m in zip(b"texttext", b"maskmask", strict=True)))
    return heard == [b"x"] and told == [True, False, False, True, False] and text == b"texttext"


_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
