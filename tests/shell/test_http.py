"""The HTTP calls over a real socket: answers, errors, and what must not be said."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.shell import site

ROOM = "AAAAAAAAAAAAAAAAAAAAAA"


@pytest_twisted.ensureDeferred
async def test_a_room_is_made_for_any_content_type_and_body(http_server: Any) -> None:
    for body, headers in (
        (b"", ()),
        (b"{]", ("Content-Type: application/json",)),
        (b"a=b", ("Content-Type: application/x-www-form-urlencoded",)),
        (b"no parts", ("Content-Type: multipart/form-data; boundary=x",)),
    ):
        reply = await http_server("POST /rooms", body, headers)
        assert reply.status == 200
        fingerprint = hashlib.sha256(ROOM.encode()).hexdigest()[:12]
        assert reply.json == {"roomId": ROOM, "fingerprint": fingerprint}
    assert http_server.relay.asked == ["127.0.0.1"] * 4


@pytest_twisted.ensureDeferred
async def test_a_token_for_a_room(http_server: Any) -> None:
    reply = await http_server(f"GET /rooms/{ROOM}/token")
    assert reply.status == 200
    assert reply.json == {"roomId": ROOM, "token": "a.token", "expUnixMs": 1234}


@pytest.mark.parametrize("room", ["short", "x" * 129, "%FF" * 10])
@pytest_twisted.ensureDeferred
async def test_a_room_id_that_cannot_be_is_not_asked_for(http_server: Any, room: str) -> None:
    assert (await http_server(f"GET /rooms/{room}/token")).error == (404, "ERR_NO_ROOM")
    assert http_server.relay.asked == []


@pytest_twisted.ensureDeferred
async def test_trap_15_the_create_limit_is_told_over_http(http_server: Any) -> None:
    http_server.relay.fault = RelayError(Code.RATE_LIMITED, retry_after_ms=1500)
    reply = await http_server("POST /rooms")
    assert reply.error == (429, "ERR_RATE_LIMITED")
    assert reply.phrase == "Too Many Requests"
    assert reply.headers["retry-after"] == "2"
    assert reply.json["retryAfterMs"] == 1500
    assert http_server.metrics.errors_sent["ERR_RATE_LIMITED"] == 1


@pytest_twisted.ensureDeferred
async def test_unavailable_and_draining_are_503(http_server: Any) -> None:
    http_server.relay.fault = RelayError(Code.UNAVAILABLE)
    assert (await http_server("POST /rooms")).error == (503, "ERR_UNAVAILABLE")
    assert (await http_server(f"GET /rooms/{ROOM}/token")).error == (503, "ERR_UNAVAILABLE")
    http_server.relay.draining, http_server.relay.fault = True, None
    reply = await http_server("POST /rooms")
    assert reply.error == (503, "ERR_UNAVAILABLE")
    assert "retry-after" in reply.headers


@pytest_twisted.ensureDeferred
async def test_trap_35_no_4xx_is_an_unhandled_error(http_server: Any) -> None:
    http_server.relay.fault = RelayError(Code.NO_ROOM)
    assert (await http_server(f"GET /rooms/{ROOM}/token")).error == (404, "ERR_NO_ROOM")
    for path in ("/", "/nothing", "/rooms/", "/rooms/x", f"/rooms/{ROOM}/token/x", "/live/x"):
        assert (await http_server(f"GET {path}")).error == (404, "ERR_NOT_FOUND")
    assert (await http_server("GET *")).error == (400, "ERR_BAD_REQUEST")
    for line, allow in (
        ("GET /rooms", "POST"),
        ("OPTIONS /rooms", "POST"),
        (f"POST /rooms/{ROOM}/token", "GET, HEAD"),
        ("BREW /live", "GET, HEAD"),
    ):
        reply = await http_server(line)
        assert reply.error == (405, "ERR_METHOD_NOT_ALLOWED")
        assert reply.headers["allow"] == allow
    assert sum(http_server.metrics.unhandled_errors.values()) == 0


@pytest_twisted.ensureDeferred
async def test_a_bug_is_500_without_a_word_and_counted_once(
    http_server: Any, no_unseen_failures: list[Any]
) -> None:
    http_server.relay.fault = KeyError("s3cret")
    assert (await http_server("POST /rooms")).error == (500, "ERR_INTERNAL")
    assert http_server.metrics.unhandled_errors["/rooms"] == 1
    reply = await http_server(f"GET /rooms/{ROOM}/token")
    assert reply.error == (500, "ERR_INTERNAL")
    assert b"s3cret" not in reply.body
    assert http_server.metrics.unhandled_errors["/rooms/{id}/token"] == 1
    http_server.ws.fault = ValueError("s3cret")
    assert (await http_server("GET /ws")).error == (500, "ERR_INTERNAL")
    assert http_server.metrics.unhandled_errors["/ws"] == 1
    assert sum(http_server.metrics.unhandled_errors.values()) == 3
    errors = [line for line in http_server.lines if line["level"] == "error"]
    assert [line["type"] for line in errors] == ["KeyError", "KeyError", "ValueError"]
    assert len(no_unseen_failures) == 3
    no_unseen_failures.clear()


@pytest_twisted.ensureDeferred
async def test_trap_25_logs_hold_route_templates_and_no_room(
    http_server: Any, no_unseen_failures: list[Any]
) -> None:
    await http_server(f"GET /rooms/{ROOM}/token?key=s3cret")
    await http_server(f"GET /nowhere/{ROOM}")
    http_server.relay.fault = KeyError(ROOM)
    await http_server(f"GET /rooms/{ROOM}/token")
    no_unseen_failures.clear()
    await http_server.raw(f"GET /rooms/{ROOM}/token BROKEN\r\n\r\n".encode())
    await http_server("GET /live")
    seen = http_server.log.getvalue()
    assert ROOM not in seen
    assert "s3cret" not in seen
    assert [line["msg"] for line in http_server.lines if line.get("event") == "request"] == [
        "GET /rooms/{id}/token 200",
        "GET other 404",
        "GET /rooms/{id}/token 500",
    ]


@pytest_twisted.ensureDeferred
async def test_every_answer_says_little(http_server: Any) -> None:
    http_server.relay.fault = RelayError(Code.NO_ROOM)
    for line in ("GET /live", "GET /nothing", "PUT /live", f"GET /rooms/{ROOM}/token", "GET /ws"):
        headers = (await http_server(line)).headers
        assert "server" not in headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


@pytest_twisted.ensureDeferred
async def test_head_has_the_headers_and_no_body(http_server: Any) -> None:
    get, head = await http_server("GET /healthz"), await http_server("HEAD /healthz")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))
    assert (await http_server("HEAD /nothing")).body == b""


@pytest_twisted.ensureDeferred
async def test_ws_is_the_resource_given(http_server: Any) -> None:
    assert (await http_server("GET /ws")).body == b"upgraded"


@pytest_twisted.ensureDeferred
async def test_a_long_body_is_refused_and_never_kept(http_server: Any) -> None:
    fits, long = b"x" * site.MAX_BODY_BYTES, b"x" * (site.MAX_BODY_BYTES + 1)
    assert (await http_server("POST /rooms", fits)).status == 200
    assert (await http_server("POST /rooms", long)).error == (413, "ERR_BODY_TOO_LARGE")
    announced = await http_server("POST /rooms", headers=("Content-Length: 99999999999",))
    assert announced.error == (413, "ERR_BODY_TOO_LARGE")
    assert len(http_server.relay.asked) == 1


@pytest_twisted.ensureDeferred
async def test_an_endless_body_ends_the_connection(http_server: Any) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"POST /rooms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = await http_server.connect(head + chunk * 20)
    await connection.over.addTimeout(10, reactor)
    assert http_server.relay.asked == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01 nonsense\r\n\r\n",
        b"GET /live HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /live HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
        b"GET /live HTTP/1.1\r\n" + b"A: b\r\n" * 600 + b"\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_request_is_400(http_server: Any, request_bytes: bytes) -> None:
    answer = await http_server.raw(request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"ERR_BAD_REQUEST"' in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert (await http_server("GET /live")).status == 200
    assert sum(http_server.metrics.unhandled_errors.values()) == 0


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_breaks_nothing(http_server: Any) -> None:
    http_server.relay.wait = Deferred()
    connection = await http_server.connect(b"POST /rooms HTTP/1.1\r\nHost: x\r\n\r\n")
    while not http_server.relay.asked:
        await sleep()
    connection.transport.abortConnection()
    await connection.over
    while any(isinstance(reader, site.RelayChannel) for reader in channels()):
        await sleep()
    http_server.relay.wait.callback(None)
    http_server.relay.wait = None
    assert (await http_server("POST /rooms")).status == 200
    assert sum(http_server.metrics.unhandled_errors.values()) == 0


@pytest_twisted.ensureDeferred
async def test_one_connection_carries_several_calls(http_server: Any) -> None:
    call = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert (await http_server.raw(call + call + last)).count(b'{"ok":true}') == 3


def sleep() -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(0.005, done.callback, None)
    return done


def channels() -> list[Any]:
    return [getattr(reader, "protocol", None) for reader in reactor.getReaders()]


def test_a_request_has_ten_seconds_however_it_trickles(clocked_channel: Any) -> None:
    clock, channel, transport = clocked_channel
    for byte in b"GET /live":
        channel.dataReceived(bytes([byte]))
        clock.advance(1)
    assert not transport.disconnecting
    channel.dataReceived(b" ")
    clock.advance(1.1)
    assert transport.disconnecting


def test_between_calls_the_keep_alive_time_holds(clocked_channel: Any) -> None:
    clock, channel, transport = clocked_channel
    call = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
    channel.dataReceived(call)
    clock.advance(64)
    channel.dataReceived(call)
    clock.advance(64)
    assert not transport.disconnecting
    channel.dataReceived(b"G")
    clock.advance(10.1)
    assert transport.disconnecting
    assert transport.value().count(b'"alive":true') == 2


@pytest.mark.parametrize("request_bytes", [b"GET /live HTTP/1.0\r\n\r\n", b"NONSENSE\r\n\r\n"])
def test_who_does_not_take_the_last_answer_is_cut_off(
    clocked_channel: Any, request_bytes: bytes
) -> None:
    clock, channel, transport = clocked_channel
    aborted: list[float] = []
    transport.abortConnection = lambda: aborted.append(clock.seconds())
    channel.dataReceived(request_bytes)
    assert transport.disconnecting
    clock.pump([1] * 60)
    assert len(aborted) == 1
    assert aborted[0] <= site.REQUEST_SECONDS + channel.abortTimeout + 1
    channel.connectionLost(None)
    assert clock.getDelayedCalls() == []


def test_the_site_leaves_no_timer_behind(clocked_channel: Any) -> None:
    clock, channel, _ = clocked_channel
    site = channel.site
    site.doStart()
    site.doStop()
    channel.connectionLost(None)
    assert clock.getDelayedCalls() == []
