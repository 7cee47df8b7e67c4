"""The transport that tries the socket first, and what a transport has still to send.

Uses private attributes of Twisted, which `versions` tries at the start.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort, ITransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol

from twisted_relay.shell.tls_transport import encrypt_at_once, kept


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
