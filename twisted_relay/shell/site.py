# mypy: allow-untyped-calls
# (twisted.web has no annotations for most of what is called and inherited here.)
"""The site of the port: HTTP that says little, takes little, and does not wait for ever.

twisted.web would answer in HTML, name itself and its version, and log request lines; the request
and channel here do not.
"""

from __future__ import annotations

import io
import re
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.server import Request as ServerRequest
from zope.interface import implementer_only

from twisted_relay.engine.metrics import OTHER
from twisted_relay.shell.answers import Answer, Desk, error, internal_error, send
from twisted_relay.shell.edge import Edge

REQUEST_SECONDS = 10.0
"""A request must have arrived whole within this time."""
MAX_BODY_BYTES = 64 * 1024
"""No call needs a body; a longer one is answered 413."""
MAX_SWALLOWED_BYTES = 1024 * 1024
"""Past this, the connection is ended instead of read on."""

#: The part of an absolute-form target that is not the path (RFC 9112 section 3.2.2).
_ABSOLUTE = re.compile(rb"^https?://[^/]+", re.IGNORECASE)


class RelayRequest(ServerRequest):
    """A request whose body is counted and dropped, and whose errors are JSON."""

    site: RelaySite
    channel: RelayChannel
    received = 0
    refused = False
    caller = ""
    """The client's address, as far as proxies are believed."""
    request_id: str | None = None

    def gotLength(self, length: int | None) -> None:
        """Take no file for the body, however long; called by twisted.web."""
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Count a piece of the body, and end a connection that brings far too much."""
        self.received += len(data)
        if self.received > MAX_SWALLOWED_BYTES and not self.refused:
            self.refused = True
            self.channel.refuse(_too_large())

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Process, unless the channel has answered in our place; called by twisted.web."""
        if not self.refused:
            super().requestReceived(command, path, version)

    def process(self) -> None:
        """Find the resource and let it answer; called by twisted.web.

        In place of the inherited method, which names server and version in each answer.
        """
        self.site = self.channel.site
        self.setHeader(b"Date", datetimeToString())
        self.site.edge.begin(self, self.site.desk.seconds())
        path = _ABSOLUTE.sub(b"", self.path)
        if not path.startswith(b"/"):
            self._reply(error(400, "ERR_BAD_REQUEST", "The path must begin with a slash."))
            return
        self.prepath = []
        self.postpath = [unquote_to_bytes(part) for part in path[1:].split(b"/")]
        if self.received > MAX_BODY_BYTES:
            self._reply(_too_large())
            return
        try:
            body = self.site.getResourceFor(self).render(self)
            if body is not NOT_DONE_YET:
                # Only a resource that is not ours returns its body.
                self.setHeader(b"Content-Length", str(len(body)))
                self.write(body)
                self.finish()
        except Exception:
            self.processingFailed(Failure())

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer 500 without a word about the bug; called by twisted.web."""
        self.site.desk.bug("/ws" if self.path == b"/ws" else OTHER, reason, self)
        # A resource that took the transport over has also taken the answer over.
        if not self.finished and getattr(self.channel, "transport", None) is not None:
            self._reply(internal_error())
        return reason

    def _reply(self, answer: Answer) -> None:
        """Answer in place of any resource."""
        self.site.desk.metrics.count_http(OTHER, answer.status)
        send(self, answer)


class RelayChannel(HTTPChannel):
    """One HTTP connection: a deadline for each whole request, another for idling between them."""

    site: RelaySite
    _idle = False
    _ending = False

    def resetTimeout(self) -> None:
        """Called for each piece of data: which does not prolong the deadline of a request."""
        if self._idle:
            self._idle = False
            self.setTimeout(REQUEST_SECONDS)

    def requestDone(self, request: BaseRequest) -> None:
        """Wait for another request; called by twisted.web."""
        self._savedTimeOut = self.site.keep_alive_seconds
        self._idle = True
        super().requestDone(request)

    def allHeadersReceived(self) -> None:
        """Refuse a body that is announced to be far too long before it is sent."""
        if (self.length or 0) > MAX_SWALLOWED_BYTES:
            self.requests[-1].refused = True
            self.refuse(_too_large())
        else:
            super().allHeadersReceived()

    def loseConnection(self) -> None:
        """End, when what was written is taken; who does not take it in time is cut off."""
        if not self._ending:
            self._ending = True
            self.setTimeout(REQUEST_SECONDS)
            super().loseConnection()

    def refuse(self, answer: Answer) -> None:
        """Answer outside of any request, and end the connection."""
        if self.transport is None:
            return
        self.site.desk.metrics.count_http(OTHER, answer.status)
        head = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            *(
                f"{name}: {value}"
                for name, value in self.site.edge.headers(self.isSecure()).items()
            ),
            "Connection: close",
        ]
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + answer.body)
        self.loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's own hook for a request that is no HTTP; its answer has no body.
        self.refuse(error(400, "ERR_BAD_REQUEST", "This is no HTTP request."))


# It negotiates no protocol of its own: what TLS offers, `shell/certificates.py` says. Earlier
# Twisteds would set it anew for each connection, on a context that is in use.
@implementer_only(IProtocolFactory)
class RelaySite(Site):
    """The site: no access log, no sessions, no tracebacks."""

    noisy = False
    displayTracebacks = False
    protocol = RelayChannel  # type: ignore[assignment] # the channel itself, without HTTP/2

    def __init__(
        self,
        root: Resource,
        desk: Desk,
        edge: Edge,
        keep_alive_seconds: float,
        reactor: IReactorTime | None,
    ) -> None:
        super().__init__(
            root, requestFactory=RelayRequest, timeout=REQUEST_SECONDS, reactor=reactor
        )
        self.desk = desk
        self.edge = edge
        self.keep_alive_seconds = keep_alive_seconds

    def startFactory(self) -> None:
        """Start no clock: it would only serve the access log."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: BaseRequest) -> None:
        """Write no access log: it would hold addresses and room ids."""


def _too_large() -> Answer:
    message = f"No call takes a body of more than {MAX_BODY_BYTES} bytes."
    return error(413, "ERR_BODY_TOO_LARGE", message)
