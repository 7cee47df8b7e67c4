"""What the relay must know of Twisted's TLS beyond its public interfaces, for `shell/transport.py`.

Twisted keeps what is written over TLS until the reactor's next turn, since many small writes would
be many small records. The fan-out has joined them already: here they are encrypted, and sent, at
once.
"""

from __future__ import annotations

from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import (
    BufferingTLSTransport,
    TLSMemoryBIOFactory,
    TLSMemoryBIOProtocol,
)
from zope.interface import implementer

_RECORD = 2**14
"""The most bytes in one record (RFC 8446 section 5.1)."""
_AROUND = 64
"""More than a record adds to what is in it: a head, a nonce, a tag, at most 29 in all."""
_BESIDES = 1024
"""Room for what TLS itself has to say meanwhile."""


class PromptTls(TLSMemoryBIOProtocol):
    """TLS that encrypts what is written at once.

    Only the plain case is handled here: the handshake is done, nothing waits, and no end has begun.
    The rest goes Twisted's own way.
    """

    transport: Any

    def write(self, data: bytes) -> None:
        """Send at once if nothing waits, else after what waits; `ITransport.write`."""
        if (
            not self._handshakeDone
            or self._appSendBuffer
            or self.disconnecting
            or self._lostTLSConnection
            or self._aborted
            or self._producer is not None
        ):
            super().write(data)
            return
        connection, size, at = self._tlsConnection, len(data), 0
        try:
            while at < size:
                at += connection.send(data if size <= _RECORD else data[at : at + _RECORD])
        except SSL.Error:
            # It waits for the peer, or is broken: Twisted finds out which.
            if at:
                self._flush()
            super().write(data[at:])
            return
        most = size + _AROUND * (size // _RECORD + 1) + _BESIDES
        try:
            encrypted = connection.bio_read(most)
        except SSL.WantReadError:
            return
        self.transport.write(encrypted)
        if len(encrypted) == most:
            self._flush()

    def abortConnection(self) -> None:
        """End at once; Twisted's own fails where that has happened already."""
        if self._tlsConnection is not None:
            super().abortConnection()

    def _flush(self) -> None:
        while True:
            try:
                self.transport.write(self._tlsConnection.bio_read(2 * _RECORD))
            except SSL.WantReadError:
                return


def kept(wrapper: Any) -> int:
    """Bytes that a TLS transport holds and has not encrypted yet."""
    held: int = sum(map(len, wrapper._appSendBuffer))
    if isinstance(wrapper, BufferingTLSTransport):
        held += sum(map(len, getattr(wrapper._aggregator, "_buffer", ())))
    return held


def encrypt_at_once(factory: Any) -> None:
    """Let the connections of a port's factory be `PromptTls`, where TLS of Twisted's is among what
    is wrapped around the site."""
    while isinstance(factory, WrappingFactory):
        ours = type(factory) is TLSMemoryBIOFactory
        if ours and factory.protocol is BufferingTLSTransport:
            factory.protocol = PromptTls
        factory = factory.wrappedFactory


def fits_tls() -> bool:
    """Whether `PromptTls` and `kept` do with the installed Twisted what they should.

    Two of them talk to each other in memory. They need no certificate for it: an anonymous key
    exchange does.
    """
    near, far = _end(False), _end(True)
    waits = kept(near)
    near.write(b"kept")
    if (waits, kept(near)) != (0, 4):
        return False
    for _ in range(4):
        _pass_on(far, near)
        _pass_on(near, far)
    near.write(b"x" * (_RECORD + 1))
    at_once = len(near.transport.written) > _RECORD
    _pass_on(near, far)
    heard = far.wrappedProtocol.heard == b"kept" + b"x" * (_RECORD + 1)
    return at_once and heard and kept(near) == 0


class _Hearing(Protocol):
    heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


class _Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class _Anonymous:
    def __init__(self) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)
        self._context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_cipher_list(b"AECDH-AES128-SHA:@SECLEVEL=0")

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)

    serverConnectionForTLS = clientConnectionForTLS


def _end(is_client: bool) -> Any:
    inner, unused_clock = Factory.forProtocol(_Hearing), cast(Any, _Wire())
    factory: Any = TLSMemoryBIOFactory(_Anonymous(), is_client, inner, unused_clock)
    factory.protocol = PromptTls
    end = factory.buildProtocol(None)
    end.makeConnection(_Wire())
    return end


def _pass_on(one: Any, other: Any) -> None:
    data, one.transport.written = one.transport.written, b""
    if data:
        other.dataReceived(data)
