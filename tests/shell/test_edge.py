"""What every answer says, which pages may read it, request ids, and limits that nothing escapes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint, connectProtocol
from twisted.logger import capturedLogs
from twisted.web.http_headers import Headers

from tests.shell.conftest import Raw, Server, Slice, settings
from twisted_relay.core.errors import Code, RelayError
from twisted_relay.core.proxies import Trust
from twisted_relay.shell.callers import Callers
from twisted_relay.shell.cors import Cors
from twisted_relay.shell.headers import request_id

ROOM = "A" * 22
LISTED = {"cors_allowed_origins": ("https://chat.example", "null"), "cors_allow_credentials": True}
PAGE, EVIL = "Origin: https://chat.example", "Origin: https://evil.example"
ASKS = "Access-Control-Request-Method: POST"
LINES = (
    *("GET /live", "GET /health", "GET /metrics", "GET /ready", "GET /nothing", "PUT /live"),
    *("POST /rooms", f"GET /rooms/{ROOM}/token", "GET /rooms/x", "GET /ws", "GET *"),
)


@pytest_twisted.ensureDeferred
async def test_every_answer_has_the_security_headers(http_server: Any) -> None:
    http_server.relay.fault = RelayError(Code.NO_ROOM)
    for line in LINES:
        said = (await http_server(line)).headers
        assert said["content-security-policy"].startswith("default-src 'none';")
        assert said["x-frame-options"] == "DENY"
        assert said["x-content-type-options"] == "nosniff"
        assert said["referrer-policy"] == "no-referrer"
        assert "camera=()" in said["permissions-policy"]
        assert said["cache-control"] == "no-store"
        assert "strict-transport-security" not in said, "this is no TLS"
        assert "server" not in said


@pytest_twisted.ensureDeferred
async def test_what_is_no_request_is_answered_with_them_too(http_server: Any) -> None:
    answer = await http_server.raw(b"NONSENSE\r\n\r\n")
    assert b"X-Frame-Options: DENY\r\n" in answer


@pytest_twisted.ensureDeferred
async def test_the_policy_can_be_another_and_the_headers_can_be_off(start_http_server: Any) -> None:
    own = await start_http_server(http={"csp_directives": "default-src 'self'"})
    headers = (await own("GET /live")).headers
    assert headers["content-security-policy"] == "default-src 'self'"
    off = await start_http_server(security_headers=False)
    headers = (await off("GET /live")).headers
    assert not {"content-security-policy", "x-frame-options", "referrer-policy"} & set(headers)


@pytest_twisted.ensureDeferred
async def test_hsts_only_where_a_trusted_proxy_says_https(start_http_server: Any) -> None:
    trusting = await start_http_server(listen={"trust_proxy": True})
    for said, sent in (
        ("https", True),
        ("HTTPS", True),
        ("https, http", True),
        ("http", False),
        ("http, https", False),
        ("httpsx", False),
    ):
        headers = (await trusting("GET /live", headers=(f"X-Forwarded-Proto: {said}",))).headers
        assert ("strict-transport-security" in headers) is sent
        if sent:
            policy = headers["strict-transport-security"]
            assert policy == "max-age=31536000; includeSubDomains"
    for trust in (False, ("192.0.2.0/24",)):
        server = await start_http_server(listen={"trust_proxy": trust})
        headers = (await server("GET /live", headers=("X-Forwarded-Proto: https",))).headers
        assert "strict-transport-security" not in headers
    other = await start_http_server(
        listen={"trust_proxy": True},
        http={"hsts_max_age": 60, "hsts_include_subdomains": False, "hsts_preload": True},
    )
    headers = (await other("GET /live", headers=("X-Forwarded-Proto: https",))).headers
    assert headers["strict-transport-security"] == "max-age=60; preload"


# CORS.


def cors_of(headers: dict[str, str]) -> dict[str, str]:
    return {n.rpartition("-control-")[2]: v for n, v in headers.items() if "-control-" in n}


@pytest_twisted.ensureDeferred
async def test_trap_22_only_origins_on_the_list_are_allowed(start_http_server: Any) -> None:
    server = await start_http_server(http=LISTED)
    for line in ("POST /rooms", "GET /live", "GET /nothing", "GET /rooms"):
        mine = (await server(line, headers=(PAGE,))).headers
        assert cors_of(mine) == {
            "allow-origin": "https://chat.example",
            "allow-credentials": "true",
            "expose-headers": "X-Request-Id, Retry-After",
        }
        for other in (
            EVIL,
            "Origin: http://chat.example",
            "Origin: https://chat.example.evil.example",
            "Origin: https://chat.example:8443",
            "Origin: ",
            "X-Other: x",
        ):
            headers = (await server(line, headers=(other,))).headers
            assert cors_of(headers) == {}
            assert headers["vary"] == "Origin", "or a cache would mix the two up"


@pytest_twisted.ensureDeferred
async def test_trap_22_no_origin_is_reflected_where_all_are_allowed(http_server: Any) -> None:
    for origin in (PAGE, EVIL, "Origin: null"):
        found = cors_of((await http_server("POST /rooms", headers=(origin,))).headers)
        assert found["allow-origin"] == "*"
        assert "allow-credentials" not in found


def test_trap_22_what_any_sandboxed_page_calls_itself_gets_no_credentials() -> None:
    found = Cors(("null",), credentials=True).headers("null")
    assert found["Access-Control-Allow-Origin"] == "null"
    assert "Access-Control-Allow-Credentials" not in found
    assert "Access-Control-Allow-Credentials" not in Cors(None, credentials=True).headers("x")


@pytest_twisted.ensureDeferred
async def test_a_preflight_is_answered(start_http_server: Any) -> None:
    server = await start_http_server(http=LISTED)
    for path, methods in (("/rooms", "POST"), (f"/rooms/{ROOM}/token", "GET, HEAD")):
        reply = await server(f"OPTIONS {path}", headers=(PAGE, ASKS))
        assert (reply.status, reply.body) == (204, b"")
        found = cors_of(reply.headers)
        assert found["allow-origin"] == "https://chat.example"
        assert found["allow-methods"] == methods
        assert "Content-Type" in found["allow-headers"]
        assert found["max-age"] == "600"
        assert reply.headers["vary"].startswith("Origin, Access-Control-Request-Method")
    refused = await server("OPTIONS /rooms", headers=(EVIL, ASKS))
    assert cors_of(refused.headers) == {}
    # Without the header it is no preflight, but a method that is none of this call's.
    assert (await server("OPTIONS /rooms", headers=(PAGE,))).status == 405
    assert server.relay.asked == []


@pytest_twisted.ensureDeferred
async def test_cors_can_be_off(start_http_server: Any) -> None:
    server = await start_http_server(cors=False)
    reply = await server("POST /rooms", headers=(PAGE,))
    assert (reply.status, cors_of(reply.headers)) == (200, {})
    assert (await server("OPTIONS /rooms", headers=(PAGE, ASKS))).status == 405


# Request ids.


@pytest_twisted.ensureDeferred
async def test_a_request_id_goes_in_out_and_into_the_log(
    http_server: Any, no_unseen_failures: list[Any]
) -> None:
    given = "X-Request-Id: 5f0c-A.b_c"
    reply = await http_server("POST /rooms", headers=(given,))
    assert reply.headers["x-request-id"] == "5f0c-A.b_c"
    http_server.relay.fault = KeyError("x")
    assert (await http_server("POST /rooms", headers=(given,))).status == 500
    no_unseen_failures.clear()
    found = {line["event"]: line["request_id"] for line in http_server.lines}
    assert found == {"request": "5f0c-A.b_c", "unhandled_error": "5f0c-A.b_c"}


@pytest_twisted.ensureDeferred
async def test_without_an_id_a_request_gets_one_of_its_own(http_server: Any) -> None:
    ids = {(await http_server("GET /live")).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize(
    "given",
    [b"", b"x" * 65, b"a b", b'"', b"a\x1b[2J", b"\xe4", b"a\n", b"a,b", b"<script>", b"${jndi}"],
)
def test_an_id_that_could_be_taken_for_something_else_is_replaced(given: bytes) -> None:
    made = request_id(given)
    assert made.encode() != given
    assert request_id(made.encode()) == made


@pytest_twisted.ensureDeferred
async def test_request_ids_can_be_off(start_http_server: Any) -> None:
    server = await start_http_server(request_id=False)
    assert "x-request-id" not in (await server("GET /live", headers=("X-Request-Id: a",))).headers
    await server("POST /rooms", headers=("X-Request-Id: a",))
    assert [line for line in server.lines if "request_id" in line] == []


@pytest_twisted.ensureDeferred
async def test_detailed_errors_say_when_and_which_and_nothing_of_the_inside(
    start_http_server: Any, no_unseen_failures: list[Any]
) -> None:
    server = await start_http_server(detailed_errors=True)
    server.relay.fault = KeyError("s3cret")
    for line, status in (("POST /rooms", 500), ("GET /nothing", 404), ("PUT /live", 405)):
        reply = await server(line)
        assert set(reply.json) == {"code", "message", "status", "timestamp", "requestId"}
        assert reply.json["status"] == reply.status == status
        assert reply.json["requestId"] == reply.headers["x-request-id"]
        assert b"s3cret" not in reply.body
        assert int(reply.headers["content-length"]) == len(reply.body)
    no_unseen_failures.clear()
    server.relay.draining = True
    assert "requestId" not in (await server("GET /ready")).json


# Limits.


@pytest_twisted.ensureDeferred
async def test_trap_16_no_header_escapes_the_limit_on_room_calls(start_http_server: Any) -> None:
    server = await start_http_server(admission=attrs.evolve(Slice(), max_http_per_ip_per_min=5))
    for _ in range(5):
        assert (await server("POST /rooms")).status == 200
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "A" * 22)
    for line in (
        "POST /rooms",
        "POST /rooms?x",
        "POST /%72ooms",
        "POST http://elsewhere/rooms",
        "GET /rooms",
        "OPTIONS /rooms",
        f"GET /rooms/{ROOM}/token",
        f"HEAD /rooms/{ROOM}/token",
        "GET /rooms/",
        f"GET /rooms/{ROOM}/token/x",
    ):
        for headers in (
            (),
            upgrade,
            ("X-Forwarded-For: 198.51.100.7",),
            ("X-Real-IP: 198.51.100.7", "Forwarded: for=198.51.100.7"),
            (PAGE, ASKS),
            ("X-Request-Id: live", "User-Agent: kube-probe/1.30"),
        ):
            reply = await server(line, headers=headers)
            assert reply.status == 429, (line, headers)
            assert 1 <= int(reply.headers["retry-after"]) <= 12
    reply = await server("POST /rooms", headers=upgrade)
    assert reply.error == (429, "ERR_RATE_LIMITED")
    assert len(server.relay.asked) == 5
    assert server.metrics.http_rate_limited == 61
    lines = [line for line in server.lines if line["event"] == "http_rate_limit"]
    assert 1 <= len(lines) < 20, "throttled, while the counter counts on"
    assert "rate limit" in lines[0]["msg"]


@pytest_twisted.ensureDeferred
async def test_trap_17_the_probes_know_no_limit(start_http_server: Any) -> None:
    server = await start_http_server(admission=attrs.evolve(Slice(), max_http_per_ip_per_min=1))
    for _ in range(2):
        last = await server("POST /rooms")
    assert last.status == 429
    for path in ("/health", "/ready", "/live", "/healthz", "/metrics"):
        for headers in ((), ("Upgrade: websocket",), ("X-Forwarded-For: 198.51.100.7",)):
            assert (await server(f"GET {path}", headers=headers)).status == 200


@pytest_twisted.ensureDeferred
async def test_the_limit_goes_with_the_counting_of_addresses(start_http_server: Any) -> None:
    few = attrs.evolve(Slice(), max_http_per_ip_per_min=1)
    server = await start_http_server(admission=few, ip_tracking=False)
    for _ in range(3):
        assert (await server("POST /rooms")).status == 200


@pytest_twisted.ensureDeferred
async def test_trap_18_calls_count_for_the_client_behind_a_trusted_proxy(
    start_http_server: Any,
) -> None:
    few = attrs.evolve(Slice(), max_http_per_ip_per_min=1)
    server = await start_http_server(admission=few, listen={"trust_proxy": True})
    for client in ("198.51.100.7", "198.51.100.8", "2001:db8:1:2::7"):
        for forged in ("", "203.0.113.1, ", "203.0.113.2, 127.0.0.1, "):
            reply = await server("POST /rooms", headers=(f"X-Forwarded-For: {forged}{client}",))
            assert (reply.status == 200) is (forged == "")
    # The same /64; two headers are one list.
    same = ("X-Forwarded-For: 203.0.113.3", "X-Forwarded-For: 2001:db8:1:2:ffff::1")
    assert (await server("POST /rooms", headers=same)).status == 429
    assert server.relay.asked == ["198.51.100.7", "198.51.100.8", "2001:db8:1:2::/64"]


@pytest_twisted.ensureDeferred
async def test_over_a_unix_socket_the_proxy_is_trusted_if_any_is(tmp_path: Path) -> None:
    call = "POST /rooms HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: {}\r\n\r\n"
    for trust, key in ((("192.0.2.0/24",), "203.0.113.9"), (False, "unknown")):
        server = Server(listen={"trust_proxy": trust})
        path = str(tmp_path / key)
        port = await UNIXServerEndpoint(reactor, path).listen(server.site)
        raw = await connectProtocol(UNIXClientEndpoint(reactor, path), Raw())
        raw.transport.write(call.format("203.0.113.9").encode())
        assert (await raw.over).startswith(b"HTTP/1.1 200 ")
        assert server.relay.asked == [key]
        await port.stopListening()


# A header from somebody who is not trusted.


def request_of(host: str) -> Any:
    """A request that came from an address and speaks of another."""
    return SimpleNamespace(
        getClientAddress=lambda: SimpleNamespace(host=host),
        requestHeaders=Headers({b"X-Forwarded-For": [b"203.0.113.9"]}),
    )


@pytest_twisted.ensureDeferred
async def test_a_forwarded_for_from_an_uncovered_peer_is_warned_of_once(http_server: Any) -> None:
    for _ in range(20):
        await http_server("GET /live", headers=("X-Forwarded-For: 203.0.113.9",))
    (line,) = (line for line in http_server.lines if line["level"] == "warn")
    assert line["event"] == "untrusted_forwarded_for"
    assert "TRUST_PROXY" in line["msg"]
    assert line["client_address"] == "127.0.0.1"
    assert "203.0.113.9" not in http_server.log.getvalue()


def test_it_is_warned_of_again_after_a_while() -> None:
    callers = Callers(Trust(("192.0.2.0/24",)))
    with capturedLogs() as events:
        for now in (0.0, 1.0, 599.0, 600.0, 700.0):
            assert callers.address_of(request_of("10.0.0.1"), now) == "10.0.0.1"
            assert callers.address_of(request_of("192.0.2.1"), now) == "203.0.113.9"
    assert [event["suppressed"] for event in events] == [None, 2]


# The endpoint for operators.


@pytest_twisted.ensureDeferred
async def test_with_an_ops_endpoint_details_are_there_alone(start_http_server: Any) -> None:
    chosen = {"listen": {"ops_endpoint": "tcp:0"}}
    public = await start_http_server(**chosen)
    ops = await start_http_server(ops=True, **chosen)
    for path in ("/metrics", "/health"):
        assert (await public(f"GET {path}")).status == 404
        assert (await ops(f"GET {path}")).status == 200
    for path in ("/live", "/ready", "/healthz"):
        assert (await public(f"GET {path}")).status == (await ops(f"GET {path}")).status == 200
    for line in ("POST /rooms", f"GET /rooms/{ROOM}/token", "GET /ws"):
        assert (await public(line)).status == 200
        assert (await ops(line)).status == 404
    headers = (await ops("GET /metrics", headers=(PAGE,))).headers
    assert headers["x-frame-options"] == "DENY"
    assert cors_of(headers) == {}, "what operators see is for no page"


def test_a_site_goes_by_new_settings_and_counts_on() -> None:
    few = attrs.evolve(Slice(), max_http_per_ip_per_min=2)
    sites = Server(admission=few).sites
    edge = sites.public.edge
    assert [edge.wait_seconds("192.0.2.1", 0.0) for _ in range(2)] == [None, None]
    sites.change(settings(admission=few, http=LISTED))
    assert sites.public.edge.wait_seconds("192.0.2.1", 0.0) is not None
    assert sites.public.edge.cors == Cors(LISTED["cors_allowed_origins"], credentials=True)
