"""``haproxy:`` endpoints over real sockets: who is counted, who is dropped, and what is logged."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.logger import globalLogPublisher

from tests.shell.conftest import Raw, Server, Slice
from twisted_relay.core.proxies import Trust
from twisted_relay.shell.endpoints import door_of

CALL = b"POST /rooms HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"


class Proxied(Server):
    """A site behind a ``haproxy:`` endpoint of ours."""

    async def start(self, trust: Any = True) -> Proxied:
        globalLogPublisher.addObserver(self.observer)
        text = "haproxy:tcp:0:interface=127.0.0.1"
        door = door_of(text, "RELAY_ENDPOINTS", reactor, None, Trust(trust))
        self.port = await door.endpoint.listen(self.site)
        return self

    async def say(self, *pieces: bytes) -> bytes:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        raw: Raw = await connectProtocol(endpoint, Raw())
        raw.transport.setTcpNoDelay(True)
        for piece in pieces:
            raw.transport.write(piece)
        return await raw.over.addTimeout(10, reactor)


@pytest_twisted.async_yield_fixture
async def start_proxied() -> AsyncIterator[Any]:
    started: list[Proxied] = []

    async def start(trust: Any = True, **changed: Any) -> Proxied:
        started.append(await Proxied(**changed).start(trust))
        return started[-1]

    yield start
    for server in started:
        await server.stop()


def version_2(packed: bytes, family: int) -> bytes:
    body = packed * 2 + struct.pack("!HH", 5, 6)
    return V2 + struct.pack("!BBH", 0x21, family, len(body)) + body


@pytest_twisted.ensureDeferred
async def test_the_client_that_the_header_names_is_counted_and_logged(start_proxied: Any) -> None:
    server = await start_proxied(admission=attrs.evolve(Slice(), max_http_per_ip_per_min=1))
    for header, key in (
        (b"PROXY TCP4 203.0.113.9 127.0.0.1 5 6\r\n", "203.0.113.9"),
        (b"PROXY TCP6 2001:db8:1:2::9 ::1 5 6\r\n", "2001:db8:1:2::/64"),
        (version_2(bytes((203, 0, 113, 10)), 0x11), "203.0.113.10"),
        (version_2(b"\x20\x01\x0d\xb8" + b"\0" * 12, 0x21), "2001:db8::/64"),
        # Whoever names nobody speaks for itself.
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ):
        assert (await server.say(header + CALL)).startswith(b"HTTP/1.1 200 ")
        assert server.relay.asked[-1] == key
        # As it comes over a network: in pieces.
        assert (await server.say(header[:3], header[3:], CALL)).startswith(b"HTTP/1.1 429 ")
    same = b"PROXY TCP6 2001:db8:1:2:ffff::1 ::1 5 6\r\n"
    assert (await server.say(same + CALL)).startswith(b"HTTP/1.1 429 ")
    limited = [line for line in server.lines if line["event"] == "http_rate_limit"]
    assert limited[0]["client_address"] == "203.0.113.9"


@pytest_twisted.ensureDeferred
async def test_a_header_in_the_header_changes_nothing(start_proxied: Any) -> None:
    server = await start_proxied(listen={"trust_proxy": False})
    forged = CALL.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n")
    twice = b"PROXY TCP4 203.0.113.9 127.0.0.1 5 6\r\n"
    await server.say(twice + forged)
    assert server.relay.asked == ["203.0.113.9"]
    assert b"HTTP/1.1 400 " in await server.say(
        twice + b"PROXY TCP4 1.1.1.1 1.1.1.1 5 6\r\n" + CALL
    )


@pytest.mark.parametrize(
    "data",
    [
        CALL,
        b"PROXY TCP4 \xff\xfe 127.0.0.1 5 6\r\n" + CALL,
        b"PROXY TCP4 nobody 127.0.0.1 5 6\r\n" + CALL,
        b"PROXY TCP4 203.0.113.9 127.0.0.1 five six\r\n" + CALL,
        V2 + b"\xff" * 100,
        b"\x16\x03\x01\x02\x00",
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_brings_no_header_is_dropped_without_an_answer(
    start_proxied: Any, data: bytes
) -> None:
    server = await start_proxied()
    assert await server.say(data) == b""
    assert server.relay.asked == []
    (line,) = server.lines
    assert (line["event"], line["reason"]) == ("proxy_header_refused", "no PROXY header")
    assert "203.0.113.9" not in server.log.getvalue()


@pytest_twisted.ensureDeferred
async def test_a_header_from_a_peer_that_is_no_proxy_gets_nobody_in(start_proxied: Any) -> None:
    server = await start_proxied(trust=("192.0.2.0/24",))
    assert await server.say(b"PROXY TCP4 203.0.113.9 127.0.0.1 5 6\r\n" + CALL) == b""
    assert server.relay.asked == []
    (line,) = server.lines
    assert line["reason"] == "TRUST_PROXY does not cover the peer"
    assert line["client_address"] == "127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_a_header_where_none_is_due_is_no_request(http_server: Any) -> None:
    answer = await http_server.raw(b"PROXY TCP4 203.0.113.9 127.0.0.1 5 6\r\n" + CALL)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert http_server.relay.asked == []
