"""The header of the PROXY protocol, versions 1 and 2: who the client is that a proxy speaks for.

Source: HAProxy's ``proxy-protocol.txt``, sections 2.1 and 2.2. Twisted has parsers of its own; they
refuse the short ``PROXY UNKNOWN``, which is what HAProxy's health checks send, and some bytes make
them raise what they do not mean to.
"""

from __future__ import annotations

import ipaddress
import struct

import attrs

_V1_START = b"PROXY "
_V1_LONGEST = 107
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2_LONGEST = 4096
"""More than any addresses and additions (TLVs) that a proxy sends."""
_LOCAL, _PROXY = 0x20, 0x21
#: Family and transport, and how long an address of the family is.
_V2_ADDRESSES = {0x11: 4, 0x21: 16}


class BadHeader(ValueError):
    """This is no PROXY header."""


@attrs.frozen
class Named:
    """A whole header.

    Attributes:
        source: address and port of the client, None where the proxy names none: it speaks for
            itself (health checks), or for somebody on a UNIX socket.
        destination: where the client had connected to; None with ``source``.
        size: how many bytes the header took.
    """

    source: tuple[str, int] | None
    destination: tuple[str, int] | None
    size: int


def proxy_header(data: bytes) -> Named | None:
    """Return the header that ``data`` begins with; None if more must come to tell.

    Raises:
        BadHeader: for anything else.
    """
    if data.startswith(_V2_START):
        return _version_2(data)
    if data.startswith(_V1_START):
        return _version_1(data)
    if _V2_START.startswith(data) or _V1_START.startswith(data):
        return None
    raise BadHeader


def _version_1(data: bytes) -> Named | None:
    line, end, _ = data[:_V1_LONGEST].partition(b"\r\n")
    if not end:
        if len(data) >= _V1_LONGEST:
            raise BadHeader
        return None
    size = len(line) + 2
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return Named(None, None, size)
    try:
        _, family, *rest = line.decode("ascii").split(" ")
        source, destination, source_port, destination_port = rest
        kind = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}[family]
        return Named(
            (str(kind(source)), _port(source_port)),
            (str(kind(destination)), _port(destination_port)),
            size,
        )
    except (ValueError, KeyError):
        raise BadHeader from None


def _port(text: str) -> int:
    if not (text.isdecimal() and len(text) <= 5 and int(text) < 65536):
        raise BadHeader
    return int(text)


def _version_2(data: bytes) -> Named | None:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack_from("!BBH", data, 12)
    size = 16 + length
    if command not in (_LOCAL, _PROXY) or size > _V2_LONGEST:
        raise BadHeader
    if len(data) < size:
        return None
    octets = _V2_ADDRESSES.get(family)
    if command == _LOCAL or octets is None:
        return Named(None, None, size)
    if length < 2 * octets + 4:
        raise BadHeader
    source, destination = data[16 : 16 + octets], data[16 + octets : 16 + 2 * octets]
    ports = struct.unpack_from("!HH", data, 16 + 2 * octets)
    return Named(
        (str(ipaddress.ip_address(source)), ports[0]),
        (str(ipaddress.ip_address(destination)), ports[1]),
        size,
    )
