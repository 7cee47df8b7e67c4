"""Client addresses: the key that limits count by, and the form that may be logged."""

from __future__ import annotations

import ipaddress
from typing import Literal

DisplayMode = Literal["none", "truncated", "full"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNKNOWN = "unknown"


def parse_address(text: str) -> _Address | None:
    """Return the address in ``text``, or None if it holds none (a UNIX socket, say).

    Brackets and a zone are dropped; an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2)
    becomes the IPv4 address that it stands for, so that one peer has one form.
    """
    bare = text.strip().removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def limit_key(address: str) -> str:
    """Return what per-address limits count ``address`` under.

    An IPv4 address counts for itself. An IPv6 address counts with its /64, the smallest network
    that one subscriber is given (RFC 6177), or a limit would bind nobody. Whatever is no address
    shares the one key ``unknown``.
    """
    found = parse_address(address)
    if found is None:
        return UNKNOWN
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(_network(found, 64))


def displayed(address: str, mode: DisplayMode) -> str | None:
    """Return the form of ``address`` that the operator chose for logs.

    ``none`` gives None, ``full`` the whole address, ``truncated`` (and anything else) its /24
    or, for IPv6, its /48.
    """
    if mode == "none":
        return None
    found = parse_address(address)
    if found is None:
        return UNKNOWN
    if mode == "full":
        return str(found)
    return str(_network(found, 24 if found.version == 4 else 48))


def _network(address: _Address, prefix: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(f"{address}/{prefix}", strict=False)
