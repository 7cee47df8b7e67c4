"""How the text of one setting becomes a value, or a fault that says what is allowed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import attrs

from twisted_relay.core.listening import split_endpoints
from twisted_relay.core.redis_url import parse_redis_url

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


class Fault(ValueError):
    """What is wrong with a value. Its text never holds the value of a secret."""


@attrs.frozen
class Kind:
    """A type of value.

    Attributes:
        allowed: what may be written, for error lines and for the documentation.
        parse: text, stripped and not empty, to value; raises Fault.
    """

    allowed: str
    parse: Callable[[str], Any]


def _shown(text: str) -> str:
    # One line, whatever was pasted into the variable.
    cut = text if len(text) <= 40 else text[:37] + "..."
    return ascii(cut)


def integer(low: int, high: int) -> Kind:
    """A whole number in decimal from `low` to `high`."""

    def parse(text: str) -> int:
        if _INTEGER.fullmatch(text) is None:
            raise Fault(f"{_shown(text)} is not a whole number")
        value = int(text)
        if not low <= value <= high:
            raise Fault(f"{value} is out of range")
        return value

    return Kind(f"a whole number from {low} to {high}", parse)


def _parse_switch(text: str) -> bool:
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Fault(f"{_shown(text)} is neither yes nor no")


SWITCH = Kind("true, 1, yes, on, false, 0, no or off", _parse_switch)
TEXT = Kind("any text", str)
FILE = Kind("the path of a file", str)


def _parse_header(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise Fault(f"{_shown(text)} cannot stand in a header")
    return text


HEADER = Kind("printable ASCII", _parse_header)


def choice(*words: str) -> Kind:
    """One of `words`, in any case."""

    def parse(text: str) -> str:
        word = text.lower()
        if word not in words:
            raise Fault(f"{_shown(text)} is not among the choices")
        return word

    return Kind(", ".join(words[:-1]) + " or " + words[-1], parse)


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in re.split(r"[,\s]", text) if item.strip())


def _parse_origins(text: str) -> tuple[str, ...] | None:
    origins = []
    for item in _items(text):
        if item == "*":
            return None
        if item != "null":
            try:
                parts = urlsplit(item)
                _ = parts.port
            except ValueError:
                raise Fault(f"{_shown(item)} is not an origin") from None
            if not parts.scheme or not parts.hostname or "@" in parts.netloc:
                raise Fault(f"{_shown(item)} is not an origin")
            if parts.path not in ("", "/") or parts.query or parts.fragment:
                raise Fault(f"{_shown(item)} is more than an origin")
        # A browser writes an origin in lower case and without a slash (RFC 6454 section 6.2).
        origins.append(item.lower().removesuffix("/"))
    if not origins:
        raise Fault("no origin is named")
    return tuple(origins)


ORIGINS = Kind("* or a comma-separated list of origins like https://chat.example", _parse_origins)


def _parse_proxies(text: str) -> bool | tuple[str, ...]:
    if text.lower() in _TRUE | _FALSE:
        return _parse_switch(text)
    networks = []
    for item in _items(text):
        try:
            networks.append(str(ipaddress.ip_network(item, strict=False)))
        except ValueError:
            raise Fault(f"{_shown(item)} is no network") from None
    if not networks:
        raise Fault("no network is named")
    return tuple(networks)


PROXIES = Kind("true, false or a comma-separated list of networks like 10.0.0.0/8", _parse_proxies)

SECRET_LEAST = 32


def _parse_secret(text: str) -> bytes:
    if len(text) < SECRET_LEAST:
        raise Fault(f"the secret has {len(text)} characters")
    return text.encode("utf-8", "surrogateescape")


def _parse_secrets(text: str) -> tuple[bytes, ...]:
    secrets = [item.strip() for item in re.split(r"[,\n]|\\n", text) if item.strip()]
    if not secrets:
        raise Fault("no secret is named")
    return tuple(_parse_secret(secret) for secret in secrets)


SECRET = Kind(f"{SECRET_LEAST} characters or more", _parse_secret)
SECRETS = Kind(
    f"secrets of {SECRET_LEAST} characters or more, comma-separated or one a line", _parse_secrets
)


_PLACEHOLDERS = ("change-me", "changeme", "change_me", "replace-me", "replaceme", "replace_me")
_PLACEHOLDER_STARTS = (b"your-", b"your_", b"example", b"secret", b"dev-secret")


def is_placeholder(secret: bytes | None) -> bool:
    """Whether a secret looks like one that was copied from a published example."""
    if secret is None:
        return False
    lowered = secret.lower()
    if any(word.encode() in lowered for word in _PLACEHOLDERS):
        return True
    return lowered.startswith(_PLACEHOLDER_STARTS) or len(set(lowered)) < 6


def _parse_redis_url(text: str) -> str:
    try:
        parse_redis_url(text)
    except ValueError as error:
        # Its text, which never holds the URL: that may have a password in it.
        raise Fault(str(error)) from None
    return text


REDIS_URL = Kind(
    "a URL like redis://host:6379/0, rediss://host:6379/0 or unix:///path", _parse_redis_url
)


def _parse_host(text: str) -> str:
    # A listening socket is bound to an address; a name would be looked up while nobody waits.
    if text.lower() == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise Fault(f"{_shown(text)} is no address") from None


HOST = Kind("an IPv4 or IPv6 address, or localhost", _parse_host)


def _parse_endpoints(text: str) -> tuple[str, ...]:
    endpoints = split_endpoints(text)
    for endpoint in endpoints:
        if re.match(r"[A-Za-z][A-Za-z0-9_+.-]*:", endpoint) is None:
            raise Fault(f"{_shown(endpoint)} is no endpoint")
    return endpoints


def _parse_endpoint(text: str) -> str:
    endpoints = _parse_endpoints(text)
    if len(endpoints) != 1:
        raise Fault(f"{_shown(text)} is not one endpoint")
    return endpoints[0]


ENDPOINT = Kind("a Twisted endpoint like tcp:9090:interface=127.0.0.1", _parse_endpoint)
ENDPOINTS = Kind(
    "Twisted endpoints like tcp:3001 or unix:/run/relay.sock, separated by blanks", _parse_endpoints
)
