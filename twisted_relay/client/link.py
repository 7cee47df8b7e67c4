"""One WebSocket connection to a relay, and the one HTTP question a client asks it."""

import json
import re
from typing import Any
from typing import Protocol as Interface
from urllib.parse import quote, urlsplit, urlunsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, ResponseDone
from twisted.web.http import PotentialDataLoss

from .errors import ClientError, ConnectFailed, Refused, milliseconds

SUBPROTOCOL = "relay.v1"
CONNECT_TIMEOUT = 15.0
CLOSE_TIMEOUT = 5.0  # for the relay to hang up after its close frame
PING_INTERVAL, PING_TIMEOUT = 20.0, 20.0
_LARGEST_MESSAGE = 16 * 1024 * 1024  # what a relay may send at most; media frames are the largest
_LARGEST_ANSWER = 65536
_AS_IT_IS = "/%:@!$&'()*+,;=?~"  # RFC 3986: what a path or a query may hold beside letters


class Receiver(Interface):
    """Who hears what happens on a link."""

    def received(self, link: "Link", payload: bytes) -> None:
        """A text frame came."""

    def lost(self, link: "Link", code: int, reason: str) -> None:
        """The link is gone. Called once, and only for a link that was opened."""


class UrlError(ClientError):
    """The address is not one of a relay."""


def check_url(url: str) -> str:
    """``url`` without fragment, if it is ws:// or wss:// with a host. Raises UrlError."""
    try:
        parts = urlsplit(url)
        # Of another script than Latin it is written as DNS has it; nor may a label be empty.
        host = (parts.hostname or "").encode("idna").decode("ascii")
        good = parts.scheme in ("ws", "wss") and bool(host) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None or re.search(r"[\x00-\x20\x7f]", url):
        raise UrlError("the address of a relay looks like ws://host:port/ws or wss://host/ws")
    netloc = f"[{host}]" if ":" in host else host
    netloc += f":{parts.port}" if parts.port is not None else ""
    path, query = (quote(part, safe=_AS_IT_IS) for part in (parts.path or "/ws", parts.query))
    return urlunsplit((parts.scheme, netloc, path, query, ""))


class Link(WebSocketClientProtocol):
    """Autobahn's protocol with an owner instead of overridden methods."""

    _untrusted = _told = False
    _hang_up: Any = None

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Keep what is lost further on: that TLS, not the network, ended it."""
        self._untrusted = isinstance(reason.value, SSL.Error | VerificationError)
        if self._hang_up is not None and self._hang_up.active():
            self._hang_up.cancel()
        super().connectionLost(reason)

    def onOpen(self) -> None:
        """The handshake is done."""
        self.factory.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Hand a text frame on; the relay sends no binary ones."""
        if not isBinary:
            self.factory.receiver.received(self, payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Tell the owner once, in whichever phase the connection died."""
        opened = self.factory.opened
        if not opened.called:
            opened.errback(self._refusal())
            return
        self._tell_lost(1006, "")

    def onCloseFrame(self, code: Any, reason: Any) -> Any:
        """The relay says good-bye: this counts at once, also if it is slow to hang up."""
        answer = super().onCloseFrame(code, reason)
        if self.factory.opened.called and self.remoteCloseCode is not None:
            self._tell_lost(self.remoteCloseCode, self.remoteCloseReason or "")
        self._hang_up = self.factory.reactor.callLater(CLOSE_TIMEOUT, self.abort)
        return answer

    def _tell_lost(self, code: int, reason: str) -> None:
        if not self._told:
            self._told = True
            self.factory.receiver.lost(self, code, reason)

    def _refusal(self) -> ConnectFailed:
        if self._untrusted:
            return ConnectFailed(_UNTRUSTED)
        status = getattr(self, "http_status_line", "").split(None, 2)[1:]
        if not status or status[0] == "101":
            return ConnectFailed("the relay closed the connection during the handshake")
        wait = _seconds(self.http_headers.get("retry-after"))
        shown = re.sub(r"[^ -~]", "?", " ".join(status))[:100]
        return ConnectFailed(f"the relay refused the connection: {shown}", retry_after=wait)

    def send(self, payload: bytes) -> None:
        """Send one text frame; nothing goes out on a link that is closing."""
        if self.state == self.STATE_OPEN:
            self.sendMessage(payload)

    def close(self) -> None:
        """Close in order."""
        self.sendClose(1000)

    def abort(self) -> None:
        """Let go at once, for a peer that does not answer."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()


_UNTRUSTED = "the relay's certificate is not for this host or not from a known authority"


def _seconds(text: str | None) -> float | None:
    """A Retry-After that is a number of seconds, as relays send it."""
    return float(text) if text is not None and re.fullmatch(r"[0-9]{1,6}", text) else None


class _Factory(WebSocketClientFactory):
    protocol = Link
    noisy = False

    def __init__(self, url: str, receiver: Receiver, reactor: Any) -> None:
        super().__init__(url, protocols=[SUBPROTOCOL], reactor=reactor)
        self.receiver = receiver
        self.opened: Deferred[Link] = Deferred()
        self.setProtocolOptions(
            failByDrop=False,
            openHandshakeTimeout=CONNECT_TIMEOUT,
            autoPingInterval=PING_INTERVAL,
            autoPingTimeout=PING_TIMEOUT,
            maxMessagePayloadSize=_LARGEST_MESSAGE,
            maxFramePayloadSize=_LARGEST_MESSAGE,
        )


async def open_link(url: str, receiver: Receiver, reactor: Any, trust_root: Any = None) -> Link:
    """Connect to ``url``; with wss:// the certificate must be for its host. Raises ConnectFailed.

    ``trust_root`` (IOpenSSLTrustRoot) replaces the platform's certificate authorities.
    """
    url = check_url(url)
    parts = urlsplit(url)
    secure, host = parts.scheme == "wss", parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    endpoint: Any = HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
    if secure:
        endpoint = wrapClientTLS(optionsForClientTLS(host, trustRoot=trust_root), endpoint)
    factory = _Factory(url, receiver, reactor)
    try:
        link: Link = await endpoint.connect(factory)
    except (error.ConnectError, error.DNSLookupError, OSError, ValueError) as fault:
        raise ConnectFailed(_why(fault)) from fault
    try:
        return await factory.opened
    except CancelledError:  # nobody would ever close it
        link.abort()
        raise


def _why(fault: BaseException) -> str:
    reasons = getattr(fault, "reasons", None)  # as twisted.web wraps what befell a connection
    if reasons and any(reason.check(SSL.Error, VerificationError) for reason in reasons):
        return _UNTRUSTED
    if isinstance(fault, error.DNSLookupError):
        return "there is no such host"
    if isinstance(fault, error.ConnectionRefusedError):
        return "nobody listens there (connection refused)"
    if isinstance(fault, error.TimeoutError):
        return "the relay does not answer (timeout)"
    return "the relay cannot be reached"


async def fetch_token(url: str, room_id: str, reactor: Any, trust_root: Any = None) -> str:
    """Ask the relay at the WebSocket address ``url`` for a join token of the room.

    Raises Refused(ERR_NO_ROOM...) and ConnectFailed.
    """
    parts = urlsplit(check_url(url))
    base = parts.path.removesuffix("/").rpartition("/")[0]
    path = f"{base}/rooms/{quote(room_id, safe='')}/token"
    target = parts._replace(scheme=parts.scheme.replace("ws", "http"), path=path, query="")
    agent = Agent(reactor, BrowserLikePolicyForHTTPS(trust_root), connectTimeout=CONNECT_TIMEOUT)
    asked = Deferred.fromCoroutine(_ask(agent, target.geturl().encode("ascii")))
    try:
        status, answer = await asked.addTimeout(CONNECT_TIMEOUT, reactor)
    except ClientError:
        raise
    except Exception as fault:  # Agent's failures are many and share no root
        raise ConnectFailed(_why(fault)) from fault
    token = answer.get("token")
    if status == 200 and isinstance(token, str):
        return token
    code, message = answer.get("code"), answer.get("message")
    raise Refused(
        code if isinstance(code, str) else f"HTTP {status}",
        message if isinstance(message, str) else "",
        retryable=status in (429, 503),
        retry_after=milliseconds(answer.get("retryAfterMs")),
    )


class _Body(Protocol):
    """Reads an answer, up to a bound."""

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred()
        self._read = b""

    def dataReceived(self, data: bytes) -> None:
        self._read += data
        if len(self._read) > _LARGEST_ANSWER and self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if len(self._read) > _LARGEST_ANSWER:
            self.whole.errback(ConnectFailed("this is not a relay: the answer is too long"))
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(self._read)
        else:
            self.whole.errback(reason)


async def _ask(agent: Agent, target: bytes) -> tuple[int, dict[str, object]]:
    response: Any = await agent.request(b"GET", target)
    reader = _Body()
    response.deliverBody(reader)
    body = await reader.whole
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    return response.code, answer if isinstance(answer, dict) else {}
