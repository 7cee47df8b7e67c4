"""``reuseport:3001``: an endpoint for a port that several processes share.

Each process listens for itself (SO_REUSEPORT), and the kernel spreads new connections over them.
Twisted's plugin file imports this module at every ``twistd --help``, so it imports little, and the
reactor not at all.
"""

from __future__ import annotations

import socket
from typing import Any

import attrs
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

BACKLOG = 1024


@implementer(IStreamServerEndpoint)
@attrs.frozen
class ReusePortEndpoint:
    """Listens on a TCP port that others, of the same user, may listen on too.

    Attributes:
        reactor: an `IReactorSocket`.
        port: 0 for one that is free.
        interface: an address; with a colon in it, of IPv6.
        backlog: connections that may wait to be accepted.
    """

    reactor: Any
    port: int
    interface: str = ""
    backlog: int = BACKLOG

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; fails with CannotListenError."""
        return execute(self._listen, factory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        family = socket.AF_INET6 if ":" in self.interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                own.bind((self.interface, self.port))
                own.listen(self.backlog)
            except OSError as fault:
                raise CannotListenError(self.interface, self.port, fault) from None
            own.setblocking(False)
            # It makes a descriptor of its own.
            port: IListeningPort = self.reactor.adoptStreamPort(own.fileno(), family, factory)
            return port


@implementer(IPlugin, IStreamServerEndpointStringParser)
class ReusePortParser:
    """Understands ``reuseport:PORT[:interface=ADDRESS][:backlog=NUMBER]``."""

    prefix = "reuseport"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> ReusePortEndpoint:
        """The endpoint; called by Twisted with the parts of the string."""
        return self._endpoint(reactor, *args, **kwargs)

    def _endpoint(
        self, reactor: Any, port: str, interface: str = "", backlog: str = str(BACKLOG)
    ) -> ReusePortEndpoint:
        return ReusePortEndpoint(reactor, int(port), interface, int(backlog))
