"""The web client's page as a relay serves it that runs, and what stays as it was without it."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from certificates import Authority

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "twisted_relay/web"
NAMES = sorted(each.name for each in WEB.iterdir())
PATHS = ["/", "/join", *(f"/{name}" for name in NAMES if name != "index.html")]


def test_the_page_is_served_to_a_browser(start_relay):
    relay = start_relay(WEB_CLIENT="true")
    for path in PATHS:
        answer = relay.http("GET", path)
        name = "index.html" if path in ("/", "/join") else path[1:]
        assert (answer.status, answer.body) == (200, (WEB / name).read_bytes())
        kind = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
        assert answer.headers["content-type"].startswith(kind.get(name.split(".")[1], "image/svg"))
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-cache"
        head = relay.http("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(answer.body))
        known = relay.http("GET", path, headers={"If-None-Match": answer.headers["etag"]})
        assert (known.status, known.body) == (304, b"")
        assert relay.http("POST", path).status == 405
    found = relay.metrics()
    assert found['http_requests_total{route="page",status="200"}'] == 2 * len(PATHS)
    assert found['http_requests_total{route="page",status="304"}'] == len(PATHS)
    assert not any("style.css" in name for name in found), "no label is a client's"


def test_no_path_leads_out_of_the_folder(start_relay):
    relay = start_relay(WEB_CLIENT="true")
    for path in (
        *("/../setup.py", "/../tap.py", "/%2e%2e/tap.py", "/..%2ftap.py", "/..%5ctap.py"),
        *("/../../../../../etc/passwd", "//etc/passwd", "/%2fetc%2fpasswd"),
        *("/style.css/../../tap.py", "/style.css/", "/style.css%00.js"),
        *("/index.html", "/web/index.html", "/STYLE.CSS"),
    ):
        answer = relay.http("GET", path)
        assert (answer.status, answer.json["code"]) == (404, "ERR_NOT_FOUND"), path


def test_it_is_off_by_default(relay):
    for path in PATHS:
        answer = relay.http("GET", path)
        assert (answer.status, answer.json["code"]) == (404, "ERR_NOT_FOUND")
    assert "web client" not in relay.log


def test_it_is_on_the_public_port_alone(start_relay, wire):
    relay = start_relay(WEB_CLIENT="true", OPS_ENDPOINT="tcp:%OTHER%:interface=127.0.0.1")
    for path in PATHS:
        assert relay.http("GET", path).status == 200
        assert wire.http(relay.other_port, "GET", path).status == 404


def test_the_log_says_where_to_open_it(start_relay, tmp_path):
    relay = start_relay(WEB_CLIENT="true")
    (line,) = (e for e in relay.events() if e.get("event") == "web_client")
    assert line["endpoint"] == f"http://127.0.0.1:{relay.port}/"
    assert line["endpoint"] in line["msg"]
    pretty = start_relay(WEB_CLIENT="true", LOG_FORMAT="pretty")
    assert f" INFO  web client: open http://127.0.0.1:{pretty.port}/ in a browser" in pretty.out


@pytest.mark.parametrize("header", ["Origin", "origin"])
def test_a_page_that_is_of_the_same_host_is_no_exception_to_allowed_origins(
    start_relay, wire, header
):
    """By "DNS rebinding" any page in the world can have the relay's address for its own."""
    relay = start_relay(WEB_CLIENT="true", ALLOWED_ORIGINS="https://chat.example")
    for host in (f"127.0.0.1:{relay.port}", f"evil.example:{relay.port}"):
        with pytest.raises(wire.Refused) as refused:
            relay.connect(headers={"Host": host, header: f"http://{host}"})
        assert refused.value.answer.status == 403
    relay.connect(headers={header: "https://chat.example"})
    (line,) = (e for e in relay.events() if e.get("setting") == "WEB_CLIENT")
    assert "ALLOWED_ORIGINS" in line["msg"]


def test_named_its_own_origin_may_connect(start_relay):
    relay = start_relay(WEB_CLIENT="true", ALLOWED_ORIGINS="http://127.0.0.1:%PORT%")
    relay.connect(headers={"Origin": f"http://127.0.0.1:{relay.port}"})


def test_over_tls(start_relay, wire, tmp_path):
    certificate, key = Authority().issue("localhost").write(tmp_path)
    relay = start_relay(
        WEB_CLIENT="true",
        TLS_CERT_FILE=certificate,
        TLS_KEY_FILE=key,
        RELAY_ENDPOINTS="tcp:%PORT%:interface=127.0.0.1 wss:tcp:%OTHER%:interface=127.0.0.1",
    )
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", relay.other_port), wire.patience)
    with anyone.wrap_socket(plain) as over:
        over.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while more := over.recv(65536):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"strict-transport-security: max-age=31536000" in head.lower()
    assert body == (WEB / "index.html").read_bytes()
