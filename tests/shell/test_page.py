"""The web client's page over a real socket: which paths there are, what is said with it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
import setuptools

from tests.shell.conftest import Slice
from twisted_relay.core.settings import SettingsError, load_settings
from twisted_relay.engine.metrics import PAGE
from twisted_relay.shell import page
from twisted_relay.shell.page import is_known, read_page

ROOT = Path(__file__).parents[2]
WEB = ROOT / "twisted_relay/web"
ON = {"web_client": True}
FILES = sorted(each.name for each in WEB.iterdir() if each.name != page.INDEX)
PATHS = ("/", "/join", *(f"/{name}" for name in FILES))


@pytest_twisted.ensureDeferred
async def test_each_file_is_at_its_path_and_the_page_at_two(start_http_server: Any) -> None:
    server = await start_http_server(http=ON)
    for path in PATHS:
        reply = await server(f"GET {path}")
        name = page.INDEX if path in ("/", "/join") else path[1:]
        assert (reply.status, reply.body) == (200, (WEB / name).read_bytes()), path
        assert reply.headers["content-length"] == str(len(reply.body))
        assert (
            reply.headers["content-type"]
            == {
                ".html": "text/html; charset=utf-8",
                ".css": "text/css; charset=utf-8",
                ".js": "text/javascript; charset=utf-8",
                ".svg": "image/svg+xml",
            }[Path(name).suffix]
        )


@pytest_twisted.ensureDeferred
async def test_a_query_changes_nothing(start_http_server: Any) -> None:
    server = await start_http_server(http=ON)
    reply = await server("GET /join?roomId=abcdefgh&token=x.y")
    assert reply.body == (WEB / page.INDEX).read_bytes()
    assert "abcdefgh" not in server.log.getvalue()


@pytest_twisted.ensureDeferred
async def test_head_has_the_headers_and_no_body(start_http_server: Any) -> None:
    server = await start_http_server(http=ON)
    for path in PATHS:
        get, head = await server(f"GET {path}"), await server(f"HEAD {path}")
        assert (head.status, head.body) == (200, b"")
        for name in ("content-length", "content-type", "etag", "content-security-policy"):
            assert head.headers[name] == get.headers[name]


@pytest_twisted.ensureDeferred
async def test_other_methods_are_405(start_http_server: Any) -> None:
    server = await start_http_server(http=ON)
    for path in PATHS:
        for method in ("POST", "PUT", "DELETE", "BREW"):
            reply = await server(f"{method} {path}")
            assert reply.error == (405, "ERR_METHOD_NOT_ALLOWED")
            assert reply.headers["allow"] == "GET, HEAD"


@pytest_twisted.ensureDeferred
async def test_whoever_has_it_is_told_so(start_http_server: Any) -> None:
    server = await start_http_server(http=ON)
    tags = {}
    for path in PATHS:
        reply = await server(f"GET {path}")
        assert reply.headers["cache-control"] == "no-cache"
        tags[path] = reply.headers["etag"]
        for method in ("GET", "HEAD"):
            same = await server(f"{method} {path}", headers=(f"If-None-Match: {tags[path]}",))
            assert (same.status, same.body) == (304, b"")
            assert same.headers["etag"] == tags[path]
            assert same.headers["content-security-policy"] == page.CONTENT_SECURITY_POLICY
            assert "content-type" not in same.headers
        other = await server(f"GET {path}", headers=('If-None-Match: "another"',))
        assert other.status == 200
    assert tags.pop("/") == tags["/join"]
    assert len(set(tags.values())) == len(tags)
    assert server.metrics.http_requests[PAGE, "304"] == 2 * len(PATHS)


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b",W/"a" ', True),
        ("*", True),
        (" * ", True),
        ("", False),
        ("a", False),
        ('"A"', False),
        ('"b"', False),
        ('"b, a"', False),
        ('"a', False),
    ],
)
def test_a_tag_is_known_if_it_is_listed(header: str, known: bool) -> None:
    assert is_known(header, '"a"') is known


@pytest_twisted.ensureDeferred
async def test_several_lines_are_one_list(start_http_server: Any) -> None:
    server = await start_http_server(http=ON)
    tag = (await server("GET /")).headers["etag"]
    lines = (f"If-None-Match: {tag}", 'If-None-Match: "x"')
    assert (await server("GET /", headers=lines)).status == 304


@pytest_twisted.ensureDeferred
async def test_the_policy_is_the_pages_own_whatever_else_is_set(start_http_server: Any) -> None:
    for changed in (
        {"http": ON},
        {"http": ON | {"csp_directives": "default-src *"}},
        {"http": ON, "security_headers": False},
    ):
        server = await start_http_server(**changed)
        for path in PATHS:
            said = (await server(f"GET {path}")).headers
            rules = said["content-security-policy"].split("; ")
            assert dict(rule.split(" ", 1) for rule in rules) == {
                "default-src": "'none'",
                "script-src": "'self'",
                "style-src": "'self'",
                "img-src": "'self' blob:",
                "connect-src": "'self'",
                "base-uri": "'none'",
                "form-action": "'none'",
                "frame-ancestors": "'none'",
                "require-trusted-types-for": "'script'",
                "trusted-types": "'none'",
            }
            assert said["cross-origin-opener-policy"] == "same-origin"
            assert said["cross-origin-resource-policy"] == "same-origin"
            assert "server" not in said
            if "security_headers" not in changed:
                assert said["x-content-type-options"] == "nosniff"
                assert said["x-frame-options"] == "DENY"
                assert said["referrer-policy"] == "no-referrer"
                assert "clipboard-write" not in said["permissions-policy"], "the link is copied"
        # Whatever is not the page keeps the policy for what is not a page.
        other = (await server("GET /live")).headers
        assert other.get("content-security-policy") != page.CONTENT_SECURITY_POLICY


@pytest_twisted.ensureDeferred
async def test_there_is_nothing_but_its_files(start_http_server: Any) -> None:
    server = await start_http_server(http=ON)
    for path in (
        *("/index.html", "/join/", "/join/x", "//", "/./", "/web", "/web/", "/web/index.html"),
        *("/../setup.py", "/..%2f..%2fsetup.py", "/%2e%2e/tap.py", "/..\\tap.py", "/tap.py"),
        *("/style.css/", "/style.css/x", "/STYLE.CSS", "/style.css%00", "/style.css%2f"),
        *("/.", "/..", "/~", "/__init__.py", "/py.typed", "/%2fetc%2fpasswd"),
    ):
        assert (await server(f"GET {path}")).error == (404, "ERR_NOT_FOUND"), path


@pytest_twisted.ensureDeferred
async def test_the_calls_stay_where_they_are(start_http_server: Any) -> None:
    server = await start_http_server(http=ON)
    assert (await server("GET /live")).json["alive"] is True
    assert (await server("POST /rooms")).status == 200
    assert (await server("GET /ws")).body == b"upgraded"


@pytest_twisted.ensureDeferred
async def test_it_counts_as_one_route_and_has_no_limit(start_http_server: Any) -> None:
    few = attrs.evolve(Slice(), max_http_per_ip_per_min=1)
    server = await start_http_server(http=ON, admission=few)
    for _ in range(5):
        assert (await server("GET /")).status == 200
    for path in PATHS:
        await server(f"GET {path}")
    assert server.metrics.http_requests[PAGE, "200"] == 5 + len(PATHS)
    assert {line["route"] for line in server.lines if line["event"] == "request"} == {PAGE}
    assert (await server("POST /rooms")).status == 200, "none of them was a room call"


@pytest_twisted.ensureDeferred
async def test_it_is_off_unless_it_is_switched_on(http_server: Any) -> None:
    for path in PATHS:
        assert (await http_server(f"GET {path}")).error == (404, "ERR_NOT_FOUND")


@pytest_twisted.ensureDeferred
async def test_it_is_not_on_the_port_for_operators(start_http_server: Any) -> None:
    apart = {"http": ON, "listen": {"ops_endpoint": "tcp:1"}}
    ops, public = await start_http_server(ops=True, **apart), await start_http_server(**apart)
    for path in PATHS:
        assert (await ops(f"GET {path}")).error == (404, "ERR_NOT_FOUND")
        assert (await public(f"GET {path}")).status == 200


def test_what_is_no_file_of_a_page_is_not_read(tmp_path: Path) -> None:
    for name in ("index.html", "a.js", "b-c_2.css", "icon.svg"):
        (tmp_path / name).write_text(name)
    for name in (".a.js.swp", "a.js~", "#a.js#", "a.js.orig", ".b.js", ".env", "A B.js", "x.py"):
        (tmp_path / name).write_text("private")
    found = read_page(tmp_path)
    assert sorted(found) == ["a.js", "b-c_2.css", "icon.svg", "index.html"]
    assert found["a.js"].content == b"a.js"


def test_an_installation_without_the_page_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("")
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SettingsError, match=r"^WEB_CLIENT: the files .* are missing") as caught:
            read_page(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, "http://127.0.0.1:3001/"),
        ({"HOST": "::"}, "http://[::1]:3001/"),
        ({"HOST": "192.0.2.1"}, "http://192.0.2.1:3001/"),
        ({"HOST": "2001:db8::1"}, "http://[2001:db8::1]:3001/"),
        ({"TLS_CERT_FILE": "c.pem", "TLS_KEY_FILE": "k.pem"}, "https://127.0.0.1:3001/"),
        ({"RELAY_ENDPOINTS": "unix:/run/relay.sock"}, "/"),
    ],
)
def test_where_a_person_opens_it(env: dict[str, str], expected: str) -> None:
    assert page.address(load_settings(env).settings.listen, 3001) == expected


def test_setup_packs_what_the_folder_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    runpy.run_path(str(ROOT / "setup.py"))
    package = ROOT / "twisted_relay"
    packed = {
        path.name
        for pattern in given["package_data"]["twisted_relay"]
        for path in package.glob(pattern)
        if path.parent == WEB
    }
    assert packed == {each.name for each in WEB.iterdir()} == set(read_page(WEB))
