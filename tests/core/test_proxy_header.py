"""PROXY headers as proxies send them, in any pieces; and anything else, which never is one."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_relay.core.proxy_header import BadHeader, Named, proxy_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, size) + body


def addresses(source: str, destination: str, *ports: int) -> bytes:
    packed = (ipaddress.ip_address(each).packed for each in (source, destination))
    return b"".join(packed) + struct.pack("!HH", *ports)


FOUR = addresses("203.0.113.9", "198.51.100.1", 51234, 443)
SIX = addresses("2001:db8::9", "2001:db8:1::1", 51234, 443)
AS_FOUR = (("203.0.113.9", 51234), ("198.51.100.1", 443))
AS_SIX = (("2001:db8::9", 51234), ("2001:db8:1::1", 443))
NOBODY = (None, None)
TLV = b"\x03\x00\x04abcd"

GOOD = [
    (b"PROXY TCP4 203.0.113.9 198.51.100.1 51234 443\r\n", AS_FOUR),
    (b"PROXY TCP6 2001:db8::9 2001:DB8:1:0::1 51234 443\r\n", AS_SIX),
    # What HAProxy's health checks send; RFC-like text, section 2.1: the rest is to be ignored.
    (b"PROXY UNKNOWN\r\n", NOBODY),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", NOBODY),
    (version_2(0x21, 0x11, FOUR), AS_FOUR),
    (version_2(0x21, 0x11, FOUR + TLV), AS_FOUR),
    (version_2(0x21, 0x21, SIX), AS_SIX),
    (version_2(0x20, 0x00, b""), NOBODY),
    (version_2(0x20, 0x11, FOUR), NOBODY),
    (version_2(0x21, 0x00, b""), NOBODY),
    (version_2(0x21, 0x31, b"/client".ljust(108, b"\0") * 2), NOBODY),
    (version_2(0x21, 0x12, FOUR), NOBODY),
]


@pytest.mark.parametrize(("header", "named"), GOOD)
def test_a_header_is_read_in_any_pieces_and_nothing_after_it(
    header: bytes, named: tuple[object, object]
) -> None:
    for end in range(len(header)):
        assert proxy_header(header[:end]) is None
    for rest in (b"", b"GET / HTTP/1.1\r\n", b"PROXY UNKNOWN\r\n", b"\xff" * 5000):
        assert proxy_header(header + rest) == Named(*named, len(header))


@pytest.mark.parametrize(
    "data",
    [
        b"GET /live HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PROXY\r\n",
        b"PROXY  TCP4 203.0.113.9 198.51.100.1 1 2\r\n",
        b"proxy TCP4 203.0.113.9 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 1\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 1 2 3\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 a 2\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 -1 2\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 65536 2\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 1 999999\r\n",
        b"PROXY TCP4 \xff\xfe 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 garbage 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 203.0.113.9 198.51.100.1 1 2\r\n",
        b"PROXY UDP4 203.0.113.9 198.51.100.1 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY " + b"x" * 200,
        b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
        version_2(0x11, 0x11, FOUR),
        version_2(0x22, 0x11, FOUR),
        version_2(0x21, 0x11, FOUR[:-1]),
        version_2(0x21, 0x21, FOUR),
        version_2(0x21, 0x11, b""),
        version_2(0x21, 0x11, b"", 0xFFFF),
        version_2(0x20, 0x00, b"", 4081),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadHeader):
        proxy_header(data)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=120).map(lambda rest: b"PROXY " + rest),
        st.binary(max_size=60).map(lambda rest: SIGNATURE + rest),
    )
)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        found = proxy_header(data)
    except BadHeader:
        return
    if found is not None:
        assert found.size <= len(data)
        for named in (found.source, found.destination):
            if named is not None:
                ipaddress.ip_address(named[0])
    else:
        assert len(data) < 16 + 4096
