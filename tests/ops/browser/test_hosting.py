"""Where the page is served from: the relay over TLS, a name without TLS, another server."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
from pathlib import Path

import pytest
from certificates import Authority
from playwright.sync_api import expect

from tests.ops.browser.conftest import ROOT
from tests.ops.fronts import NGINX, replaced
from tests.system.conftest import _free_port

pytestmark = pytest.mark.timeout(90)


def test_over_tls(browse, start_relay, tmp_path):
    certificate, key = Authority().issue("localhost").write(tmp_path)
    relay = start_relay(
        WEB_CLIENT="true",
        TLS_CERT_FILE=certificate,
        TLS_KEY_FILE=key,
        RELAY_ENDPOINTS="tcp:%PORT%:interface=127.0.0.1 wss:tcp:%OTHER%:interface=127.0.0.1",
    )
    people = browse(relay)
    people.watch.also(f"127.0.0.1:{relay.other_port}")
    people.base = f"https://127.0.0.1:{relay.other_port}"
    ada = people.person(ignore_https_errors=True).create("Ada")
    ben = people.person(ignore_https_errors=True).join(ada.link, "Ben")
    ada.say("sealed twice")
    ben.hears("sealed twice", "Ada")
    assert f"wss://127.0.0.1:{relay.other_port}/ws" in people.watch.asked


def test_where_a_browser_gives_no_encryption_the_page_says_so(browse):
    people = browse()
    host = f"lan.example:{people.relay.port}"
    people.watch.also(host)
    people.watch.expect("Cross-Origin-Opener-Policy header has been ignored")
    ada = people.person().open(f"http://{host}/")
    expect(ada.page.get_by_role("alert")).to_contain_text("https")
    expect(ada.page.get_by_role("button", name="Create a room")).to_be_disabled()


def test_where_the_origin_is_not_allowed_the_page_says_that_it_cannot_connect(browse):
    people = browse(ALLOWED_ORIGINS="https://chat.example")
    people.watch.expect("WebSocket connection to")
    ada = people.person().open(f"{people.base}/")
    ada.page.get_by_role("button", name="Create a room").click()
    expect(ada.page.get_by_role("alert")).to_contain_text("not connected")


def start_server(ops, start_program, folder: Path, root: Path, port: int, relay: str) -> None:
    """nginx with the server block of docs/web-client.md, but for TLS."""
    text = (ROOT / "docs/web-client.md").read_text()
    block = replaced(
        text.split("```nginx\n")[1].split("```")[0],
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("root /srv/chat;", f"root {root};"),
        ("https://relay.example wss://relay.example", f"http://{relay} ws://{relay}"),
    )
    block = "access_log off;\n" + re.sub(r"(?m)^ *ssl_.*\n", "", block)
    (folder / "twisted-relay.conf").write_text(block)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    nginx = ops.find("nginx", "Debian's nginx-light")
    program = start_program(nginx, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf")

    def serves() -> bool:
        program.check_running()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    ops.poll(serves, "nginx")


def test_a_page_that_is_hosted_apart(browse, start_relay, start_program, terminal, ops, tmp_path):
    """By the manual: a copy of the folder that names the relay, and a server for it."""
    page = tmp_path / "web"
    port = _free_port()
    origin = f"http://127.0.0.1:{port}"
    relay = start_relay(ALLOWED_ORIGINS=origin, CORS_ALLOWED_ORIGINS=origin)
    here = f"127.0.0.1:{relay.port}"
    shutil.copytree(ROOT / "twisted_relay/web", page)
    index = page / "index.html"
    meta = '<meta name="relay" content="{}">'
    before = index.read_text()
    assert meta.format("") in before
    index.write_text(before.replace(meta.format(""), meta.format(f"ws://{here}/ws")))
    start_server(ops, start_program, tmp_path, page, port, here)

    people = browse(relay)
    people.watch.also(f"127.0.0.1:{port}")
    people.base = origin
    ada = people.person().create("Ada")
    ben = people.person().join(ada.link, "Ben")
    ada.say("from afar")
    ben.hears("from afar", "Ada")
    cleo = terminal("--name", "Cleo", "--no-qr", f"ws://{here}/ws", ada.link)
    cleo.notes("you are Cleo")
    cleo.type("so am I")
    ada.hears("so am I", "Cleo")
    room = ada.link.partition("#")[2]
    old = people.person().open(f"{origin}/join?{room.split('&')[1]}#{room.split('&')[0]}")
    old.enter("Dan").inside()
    ada.counts(4)
