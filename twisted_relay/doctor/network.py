"""Reaching a relay over HTTP, and over TLS whatever its certificate: that is judged by itself."""

from __future__ import annotations

import functools
import ipaddress
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import attrs
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from twisted_relay.doctor.target import Target

_LARGEST_ANSWER = 4 * 1024 * 1024

SILENT = "no answer in time"
"""What is said where there is a connection, and nothing comes on it."""
_UNCONNECTED = "no connection in time"

REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (error.DNSLookupError, "there is no such host"),
    (error.ConnectionRefusedError, "nobody listens there (connection refused)"),
    (error.ConnectingCancelledError, _UNCONNECTED),
    (error.TimeoutError, _UNCONNECTED),
    (DeferredTimeoutError, SILENT),
    (CancelledError, SILENT),
    (SSL.Error, "TLS fails"),
    (VerificationError, "TLS fails (the certificate is for another name)"),
    (error.ConnectionClosed, "the connection was closed without an answer"),
    (error.ConnectError, "it cannot be reached"),
    (OSError, "it cannot be reached"),
    (UnicodeError, "there is no such host"),
)

_KINDS = tuple(kind for kind, _reason in REASONS)


class Unreachable(Exception):
    """There is no answer; ``str`` is the reason, fit to be shown."""


def reason_of(fault: BaseException) -> str:
    """A few words for what went wrong on the network."""
    if isinstance(fault, ResponseFailed):
        inner = [reason.value for reason in fault.reasons if isinstance(reason, Failure)]
        known = [one for one in inner if isinstance(one, _KINDS)]
        return reason_of(known[0]) if known else "what answers there does not speak HTTP"
    for kind, reason in REASONS:
        if isinstance(fault, kind):
            return f"{reason}{_said_by_openssl(fault)}"
    return f"it cannot be asked ({type(fault).__name__})"


def _said_by_openssl(fault: BaseException) -> str:
    if not isinstance(fault, SSL.Error) or not fault.args or not isinstance(fault.args[0], list):
        return ""
    return f" ({', '.join(str(entry[-1]) for entry in fault.args[0])})" if fault.args[0] else ""


@attrs.frozen
class Trust:
    """What TLS goes by: a file of authorities (None: the system's), and perhaps a certificate of
    our own, with its key, in one file."""

    ca_file: Path | None = None
    client_cert: Path | None = None

    def context(self) -> SSL.Context:
        """Raises SSL.Error or OSError where a file cannot be used."""
        context = SSL.Context(SSL.TLS_METHOD)
        if self.ca_file is None:
            context.set_default_verify_paths()
        else:
            context.load_verify_locations(str(self.ca_file))
        if self.client_cert is not None:
            context.use_certificate_chain_file(str(self.client_cert))
            context.use_privatekey_file(str(self.client_cert))
        return context


#: Where each connection's are noted: a context, and so its callback, serves many connections.
_OBJECTIONS: WeakKeyDictionary[SSL.Connection, set[int]] = WeakKeyDictionary()


@functools.cache
def _noting(trust: Trust) -> SSL.Context:
    # The system's authorities are many: they are read once.
    context = trust.context()
    context.set_verify(SSL.VERIFY_PEER, _note)
    return context


def _note(connection: Any, _cert: Any, fault: int, _depth: int, fine: int) -> bool:
    if not fine:
        _OBJECTIONS[connection].add(fault)
    return True


@implementer(IOpenSSLClientConnectionCreator)
class AnyCertificate:
    """Takes every certificate, and notes OpenSSL's objections in ``objections`` (X509_V_ERR_...).

    Nothing that is sent to such a relay is worth protecting; and where only the certificate is
    wrong, the other checks are still to be made.
    """

    def __init__(self, host: str, trust: Trust) -> None:
        self.objections: set[int] = set()
        self._name = None if _is_address(host) else host.encode("ascii")
        self._context = _noting(trust)

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        _OBJECTIONS[connection] = self.objections
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@implementer(IPolicyForHTTPS)
class _AnyPolicy:
    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def creatorForNetloc(self, hostname: bytes, port: int) -> AnyCertificate:  # noqa: N802 - Twisted's
        return AnyCertificate(hostname.decode("ascii"), self._trust)


def endpoint_for(reactor: Any, target: Target, tls: AnyCertificate | None, limit: float) -> Any:
    """The way to the relay: TCP, with TLS on it where the URL says so."""
    endpoint: Any = HostnameEndpoint(reactor, target.host, target.port, timeout=limit)
    return endpoint if tls is None else wrapClientTLS(tls, endpoint)


@attrs.frozen
class Answer:
    """An HTTP answer. ``sent`` and ``came`` are Unix times; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    sent: float
    came: float

    @property
    def fields(self) -> dict[str, Any]:
        """The body's members, if it is a JSON object; else nothing."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class Web:
    """Asks over HTTP.

    Args:
        limit: seconds that one call may take.
        now: gives Unix time.
    """

    def __init__(
        self, reactor: Any, trust: Trust, limit: float, now: Callable[[], float] = time.time
    ) -> None:
        self._reactor, self._limit, self._now = reactor, limit, now
        pool = HTTPConnectionPool(reactor, persistent=False)
        self._agent = Agent(reactor, _AnyPolicy(trust), connectTimeout=limit, pool=pool)

    async def get(self, target: Target, path: str, **headers: str) -> Answer:
        """Call, following nothing. Raises `Unreachable`."""
        try:
            asked = Deferred.fromCoroutine(self._ask(f"{target.url}{path}", headers))
            return await asked.addTimeout(self._limit, self._reactor)
        except Unreachable:
            raise
        except Exception as fault:  # Agent's failures are many and share no root
            raise Unreachable(reason_of(fault)) from fault

    async def _ask(self, url: str, headers: dict[str, str]) -> Answer:
        lines = {name.replace("_", "-"): [value] for name, value in headers.items()}
        sent = self._now()
        response: Any = await self._agent.request(
            b"GET", url.encode("ascii"), Headers({"User-Agent": ["relay-doctor"], **lines})
        )
        came = self._now()
        whole: Deferred[bytes] = Deferred()
        response.deliverBody(_Body(whole))
        names = {
            name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.code, names, await whole, sent, came)


class _Body(Protocol):
    """Keeps a body, unless it is longer than any that a relay has."""

    def __init__(self, whole: Deferred[bytes]) -> None:
        self._whole, self._kept = whole, bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > _LARGEST_ANSWER and not self._whole.called:
            self._whole.errback(Unreachable("the answer is too long"))
            transport: Any = self.transport
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self._whole.callback(bytes(self._kept))
        else:
            self._whole.errback(reason)
