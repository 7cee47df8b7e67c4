"""Where the relay listens: endpoints out of settings, and all of them open, or none."""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from twisted_relay.core.listening import TLS_PREFIX, ListenSettings
from twisted_relay.core.proxies import Trust
from twisted_relay.core.settings import SettingsError
from twisted_relay.core.settings_values import ENDPOINTS
from twisted_relay.shell.certificates import Identity, TlsFiles
from twisted_relay.shell.proxy_protocol import HAPROXY_PREFIX, ProxiedEndpoint
from twisted_relay.shell.tls import ServerTls

BACKLOG = 1024


class CannotListen(Exception):
    """An endpoint does not open.

    Attributes:
        door: which.
        fault: why, in one line.
    """

    def __init__(self, door: Door, fault: str) -> None:
        super().__init__(f"{door.text}: {fault}")
        self.door = door
        self.fault = fault


@implementer(IStreamServerEndpoint)
@attrs.frozen
class TlsEndpoint:
    """Another endpoint, with TLS for whoever comes in by it."""

    tls: ServerTls
    inner: IStreamServerEndpoint
    reactor: Any

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; as the inner endpoint does."""
        behind = TLSMemoryBIOFactory(self.tls, False, factory, self.reactor)
        listening: Deferred[IListeningPort] = self.inner.listen(behind)
        return listening


@attrs.frozen
class Door:
    """One way in.

    Attributes:
        setting: the variable that it is from.
        text: how the operator named it.
        endpoint: where to listen.
    """

    setting: str
    text: str
    endpoint: IStreamServerEndpoint


def doors_of(listen: ListenSettings, reactor: Any, tls: ServerTls | None) -> list[Door]:
    """Where to listen by these settings: RELAY_ENDPOINTS, or else HOST and PORT.

    Raises:
        SettingsError: for an endpoint that cannot be understood.
    """
    if listen.relay_endpoints:
        named = ("RELAY_ENDPOINTS", reactor, tls, proxies_of(listen))
        return [door_of(text, *named) for text in listen.relay_endpoints]
    kind = TCP6ServerEndpoint if ":" in listen.host else TCP4ServerEndpoint
    endpoint = kind(reactor, listen.port, backlog=BACKLOG, interface=listen.host)
    return [Door("PORT", f"{listen.host}:{listen.port}", _behind(tls, endpoint, reactor))]


def ops_door(listen: ListenSettings, reactor: Any, tls: ServerTls | None) -> Door:
    """Where to listen for operators, by OPS_ENDPOINT, which is set.

    Raises:
        SettingsError: if it cannot be understood.
    """
    text = listen.ops_endpoint or ""
    return door_of(text, "OPS_ENDPOINT", reactor, tls, proxies_of(listen))


def proxies_of(listen: ListenSettings) -> Trust:
    """Who may connect to a ``haproxy:`` endpoint: those of TRUST_PROXY, and without any there,
    those on loopback and private networks."""
    return Trust(listen.trust_proxy or True)


def door_of(text: str, setting: str, reactor: Any, tls: ServerTls | None, proxies: Trust) -> Door:
    """The endpoint of a string in Twisted's language, with or without ``wss:`` before it.

    ``haproxy:`` is ours and not Twisted's (`proxy_protocol`), and believes ``proxies`` alone.
    Nothing is opened, though what a kind of endpoint needs is read, such as the files of ``ssl:``.

    Raises:
        SettingsError: in one line, whatever went wrong in whichever parser.
    """
    with_tls, inner = text.startswith(TLS_PREFIX), text.removeprefix(TLS_PREFIX)
    if with_tls and tls is None:
        raise SettingsError(setting, f"{text!a}: there is no TLS for it", ENDPOINTS.allowed)
    endpoint = _parsed(setting, inner.removeprefix(HAPROXY_PREFIX), reactor)
    if inner.startswith(HAPROXY_PREFIX):
        endpoint = ProxiedEndpoint(endpoint, proxies)
    return Door(setting, text, _behind(tls if with_tls else None, endpoint, reactor))


def _parsed(setting: str, text: str, reactor: Any) -> IStreamServerEndpoint:
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as fault:  # the parsers of plugins raise what they like
        raise SettingsError(setting, f"{text!a}: {_why(text, fault)}", ENDPOINTS.allowed) from None
    return endpoint


def _behind(
    tls: ServerTls | None, endpoint: IStreamServerEndpoint, reactor: Any
) -> IStreamServerEndpoint:
    return endpoint if tls is None else TlsEndpoint(tls, endpoint, reactor)


def _why(text: str, fault: Exception) -> str:
    if isinstance(fault, LookupError) and "systemd" in text:
        return "systemd has handed over no such socket (LISTEN_FDS, LISTEN_FDNAMES)"
    if isinstance(fault, OSError):
        return f"{fault.strerror}: {fault.filename!a}"
    if isinstance(fault, LookupError | TypeError | AttributeError):
        # Their text speaks of Python; the endpoint has a part too many, or too few.
        return "its parts are not those of an endpoint of this kind"
    return re.sub(r"\s+", " ", str(fault))[:100] or type(fault).__name__


def check(listen: ListenSettings, reactor: Any) -> None:
    """Read what these settings name, and open nothing.

    Raises:
        SettingsError: for the first that cannot be used.
    """
    files = TlsFiles.of(listen)
    if files is not None:
        Identity.read(files).context()
    for text in listen.relay_endpoints:
        _parsed("RELAY_ENDPOINTS", _bare(text), reactor)
    if listen.ops_endpoint is not None:
        _parsed("OPS_ENDPOINT", _bare(listen.ops_endpoint), reactor)


def _bare(text: str) -> str:
    return text.removeprefix(TLS_PREFIX).removeprefix(HAPROXY_PREFIX)


def close_before_the_end(reactor: Any) -> None:
    """Let ports that are about to close do so, in a process that ends before the reactor has run:
    a UNIX socket would leave its file behind."""
    if not getattr(reactor, "running", True):
        reactor.iterate()


def end_with_failure(reactor: Any) -> None:
    """End the process with status 1, though the reactor has begun to run.

    Neither twistd nor twist knows a way for that: what they would do at their end is done before.
    """
    atexit.register(os._exit, 1)
    reactor.callWhenRunning(reactor.stop)


class Doors:
    """Several ways in, which are all open, or none is.

    Args:
        doors: each with the factory for those who come in by it.
        opened: called with each port before anybody can have come in by it.
    """

    def __init__(
        self,
        doors: Sequence[tuple[Door, IProtocolFactory]],
        opened: Callable[[IListeningPort], object],
    ) -> None:
        self._pairs = doors
        self._opened = opened
        self._opening: Deferred[IListeningPort] | None = None
        self.closed = False
        self.doors = tuple(door for door, _ in doors)
        self.ports: list[IListeningPort] = []

    async def open(self) -> None:
        """Open one after the other.

        Where every endpoint answers at once, as Twisted's own do, so does this.

        Raises:
            CannotListen: for the first that does not open; the others are closed, or about to be.
        """
        for door, factory in self._pairs:
            try:
                self._opening = maybeDeferred(door.endpoint.listen, factory)
                port = await self._opening
            except Exception as fault:
                # Not awaited: the answer would no longer come at once.
                self._close_all()
                raise CannotListen(door, _cause(fault)) from fault
            finally:
                self._opening = None
            self.ports.append(port)
            self._opened(port)

    async def close(self) -> None:
        """Close all that are open, and open no more. Connections stay."""
        self.closed = True
        if self._opening is not None:
            self._opening.cancel()
        await self._close_all()

    def _close_all(self) -> Deferred[Any]:
        ports, self.ports = self.ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])


def _cause(fault: Exception) -> str:
    return re.sub(r"\s+", " ", str(getattr(fault, "socketError", fault))) or type(fault).__name__
