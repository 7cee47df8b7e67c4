"""``haproxy:`` before an endpoint: whoever connects says first, by a PROXY header, for whom."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from twisted_relay.core.proxies import Trust
from twisted_relay.core.proxy_header import BadHeader, Named, proxy_header

HAPROXY_PREFIX = "haproxy:"


class ProxiedProtocol(ProtocolWrapper):
    """A connection whose peer is who its PROXY header names."""

    factory: ProxiedFactory
    transport: Any
    _log = Logger()
    _header: Named | None = None
    _begun = b""

    def makeConnection(self, transport: Any) -> None:
        """Hear only who may name clients; called by Twisted."""
        super().makeConnection(transport)
        if not self.factory.trust.covers(self._proxy()):
            self._refuse("TRUST_PROXY does not cover the peer")

    def dataReceived(self, data: bytes) -> None:
        """Take the header, and hand on what follows it; called by Twisted."""
        if self._header is not None:
            self.wrappedProtocol.dataReceived(data)
            return
        if self.disconnecting:
            return
        self._begun += data
        try:
            self._header = proxy_header(self._begun)
        except BadHeader:
            self._refuse("no PROXY header")
            return
        if self._header is not None:
            rest, self._begun = self._begun[self._header.size :], b""
            if rest:
                self.wrappedProtocol.dataReceived(rest)

    def getPeer(self) -> IAddress:
        """Return the client, or the proxy where it names none."""
        named = self._header.source if self._header is not None else None
        found: IAddress = self.transport.getPeer() if named is None else _tcp(named)
        return found

    def getHost(self) -> IAddress:
        """Return where the client had connected to, or the socket where that is not told."""
        named = self._header.destination if self._header is not None else None
        found: IAddress = self.transport.getHost() if named is None else _tcp(named)
        return found

    def _proxy(self) -> str:
        return str(getattr(self.transport.getPeer(), "host", ""))

    def _refuse(self, reason: str) -> None:
        self._log.warn(
            "connection dropped: {reason}",
            event="proxy_header_refused",
            reason=reason,
            client_address=self._proxy() or "unix",
        )
        self.loseConnection()


def _tcp(named: tuple[str, int]) -> IAddress:
    kind = IPv6Address if ":" in named[0] else IPv4Address
    return kind("TCP", *named)


class ProxiedFactory(WrappingFactory):
    """Builds such connections around those of another factory."""

    protocol = ProxiedProtocol
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, trust: Trust) -> None:
        super().__init__(wrapped)
        self.trust = trust


@implementer(IStreamServerEndpoint)
@attrs.frozen
class ProxiedEndpoint:
    """Another endpoint, for proxies that speak the PROXY protocol.

    Attributes:
        inner: where they connect to.
        trust: which peers they may have; others are dropped.
    """

    inner: IStreamServerEndpoint
    trust: Trust

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; as the inner endpoint does."""
        return self.inner.listen(ProxiedFactory(factory, self.trust))
