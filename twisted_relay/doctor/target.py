"""The address of a relay, out of the URL by which clients know it."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import attrs

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
_UNREADABLE = "an address that cannot be read"


class TargetError(ValueError):
    """The text is no such URL. Its one line never holds a part of it."""


@attrs.frozen
class Target:
    """Where a relay is.

    Attributes:
        secure: whether TLS is spoken there.
        host: a name or an address, without brackets.
        prefix: what a proxy puts before the relay's paths; empty, or ``/like/this``.
    """

    secure: bool
    host: str
    port: int
    prefix: str = ""

    @property
    def netloc(self) -> str:
        """Host and port as they stand in a URL; a scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base of the HTTP calls, without a slash at its end."""
        return f"{'https' if self.secure else 'http'}://{self.netloc}{self.prefix}"

    @property
    def websocket(self) -> str:
        """Where clients connect."""
        return f"{'wss' if self.secure else 'ws'}://{self.netloc}{self.prefix}/ws"

    @property
    def near(self) -> bool:
        """Whether the host is this machine or on a private network, as far as its text tells."""
        address = self.address
        if address is None:
            return self.host == "localhost" or self.host.endswith(".localhost")
        return address.is_private or address.is_link_local

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        address = self.address
        if address is None:
            return self.host == "localhost" or self.host.endswith(".localhost")
        return address.is_loopback

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host where it is an address; None for a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def parse_target(text: str) -> Target:
    """Return where a URL like ``https://chat.example`` or ``wss://chat.example/ws`` leads.

    Raises `TargetError`.
    """
    try:
        parts = urlsplit(text)
        secure, host, port = _SECURE.get(parts.scheme), parts.hostname, parts.port
        if host and ":" not in host:
            host = host.encode("idna").decode("ascii")
    except ValueError:
        secure, host, port = None, None, None
    if secure is None or not host or port == 0 or re.search(r"[\x00-\x20\x7f]", text):
        raise TargetError("the URL of a relay looks like https://chat.example or ws://host:3001/ws")
    if parts.username is not None or parts.query or parts.fragment:
        raise TargetError("the URL of a relay holds no user, query or fragment")
    if not parts.path.isascii():
        raise TargetError("the path in the URL of a relay is plain ASCII")
    prefix = parts.path.rstrip("/").removesuffix("/ws")
    return Target(secure, host, port or (443 if secure else 80), prefix)


def shown_url(text: str) -> str:
    """A URL of somebody else's, fit to be shown: without user, password, query and fragment."""
    try:
        parts = urlsplit(text)
        _port = parts.port
    except ValueError:
        return _UNREADABLE
    place = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("", *_SECURE) or (parts.scheme and not place):
        return _UNREADABLE
    # An @ here may stand behind a password with a slash in it.
    path = "/..." if "@" in parts.path else parts.path.partition(";")[0]
    return f"{parts.scheme and parts.scheme + ':'}{place and '//' + place}{path}"[:120]
