"""Whether the installed Twisted and Autobahn are as the relay reads them.

Every private attribute that is used stands in `transport`, `tls_transport`, `turns` or
`autobahn_state`. Here it is tried what they do with the installed versions; where that is not what
is expected, the relay runs on the public interfaces alone.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import tcp
from twisted.internet.protocol import Protocol

from twisted_relay.shell.autobahn_state import between_messages, unmasked
from twisted_relay.shell.tls_transport import fits_tls
from twisted_relay.shell.transport import PromptServer, unsent_bytes


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
