"""Who calls, and how, as far as the proxies in front may be believed."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.web.http import Request

from twisted_relay.core.proxies import Trust
from twisted_relay.shell.logs import Throttle

_WARNING_SECONDS = 600.0
_FORWARDED_FOR = b"x-forwarded-for"


def peer_host(request: Request) -> str:
    """Return the host of the peer; empty on a socket without addresses.

    Behind a ``haproxy:`` endpoint the peer is who the PROXY header names, or the proxy itself where
    it names nobody (UNKNOWN, LOCAL: its own health checks).
    """
    return str(getattr(request.getClientAddress(), "host", ""))


class Callers:
    """Tells the address and the scheme of the client behind a request.

    Args:
        trust: whose headers count.
    """

    _log = Logger()

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._throttle = Throttle(_WARNING_SECONDS)

    def address_of(self, request: Request, now: float) -> str:
        """Return the address that limits count by and logs are about.

        ``now`` is in seconds: a header from a peer that TRUST_PROXY does not cover is warned of
        once, and then once in ten minutes.
        """
        peer = peer_host(request)
        lines = request.requestHeaders.getRawHeaders(_FORWARDED_FOR)
        if not lines:
            return peer
        if not self._trust.covers(peer):
            self._warn(peer, now)
            return peer
        return self._trust.client(peer, b",".join(lines).decode("latin-1"))

    def over_tls(self, request: Request) -> bool:
        """Tell whether the client came over TLS: to us, or to a trusted proxy that says so."""
        if request.isSecure():
            return True
        said = request.requestHeaders.getRawHeaders(b"x-forwarded-proto")
        if not said or not self._trust.covers(peer_host(request)):
            return False
        # In a list the first is what the client spoke.
        return bool(said[0].partition(b",")[0].strip().lower() == b"https")

    def _warn(self, peer: str, now: float) -> None:
        suppressed = self._throttle.admit("", now)
        if suppressed is not None:
            self._log.warn(
                "X-Forwarded-For from {client_address}, which TRUST_PROXY does not cover: it is"
                " ignored, and whoever comes from there counts as one address",
                event="untrusted_forwarded_for",
                setting="TRUST_PROXY",
                client_address=peer or "unix",
                suppressed=suppressed or None,
            )
