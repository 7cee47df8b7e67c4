"""What goes wrong is one line and an exit code, whichever part of the way it is on."""

from __future__ import annotations

import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from twisted.internet.threads import deferToThread

from tests.chat.processes import Running, Start
from tests.system.conftest import RelayProcess, poll
from twisted_relay.chat.main import main
from twisted_relay.client import Invite

KEY = bytes(range(32))


def link(port: int, room: str = "A" * 22, scheme: str = "ws") -> str:
    return Invite(f"{scheme}://127.0.0.1:{port}/ws", room, KEY).link


def said(chat: Running, code: int = 1) -> str:
    """The one line of a relay-chat that did not get in."""
    assert chat.exit_code() == code
    (line,) = str(chat.notes).splitlines()
    assert str(chat.out) == ""
    return line


@pytest.fixture
def no_relay() -> Iterator[int]:
    """The port of a web server of another kind."""

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of somebody who accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_who_cannot_get_in_is_told_why(
    relay: RelayProcess, run: Start, no_relay: int, mute: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    waiting = run(f"ws://127.0.0.1:{mute}/ws")

    trials = {
        "nobody listens there (connection refused)": run(f"ws://127.0.0.1:{nobody}/ws"),
        "there is no relay at this address (HTTP 404)": run(f"ws://127.0.0.1:{no_relay}/ws"),
        "there is no relay at this address (HTTP 404) ": run(link(no_relay)),
        "there is no such room, or no longer (ERR_NO_ROOM)": run(link(relay.port)),
    }
    for words, chat in trials.items():
        assert said(chat) == f"relay-chat: {words.strip()}"
    waiting.process.send_signal(signal.SIGINT)
    assert waiting.exit_code() == 1
    room, _ = relay.room(3)
    full = "the room is full; try again when somebody has left (ERR_ROOM_FULL)"
    assert said(run(link(relay.port, room))) == f"relay-chat: {full}"


def test_a_certificate_is_trusted_when_its_authority_is(
    start_relay: Callable[..., RelayProcess], run: Start, tmp_path: Path
) -> None:
    authority = Authority()
    chain, key = authority.issue("localhost").write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(b"an authority\n" + authority.issued.pem)
    relay = start_relay(wait=False, TLS_CERT_FILE=chain, TLS_KEY_FILE=key)
    address = f"wss://localhost:{relay.port}/ws"
    wait_for_port(relay.port)
    ann = run("--ca-file", str(tmp_path / "ca.pem"), address)
    bob = run("--ca-file", str(tmp_path / "ca.pem"), ann.out.link())
    bob.notes.next("you are P2, 2 of 10")
    stranger = run(str(ann.out).strip())
    assert "certificate is not for this host or not from a known" in said(stranger)


def wait_for_port(port: int) -> None:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    poll(listens, "a listening relay")


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1008, "replaced", "another client has taken your seat"),
        (1012, "service restart", "there is no such room, or no longer (ERR_NO_ROOM)"),
    ],
)
async def test_a_seat_that_is_lost_for_good(
    fake_relay: Any, until: Callable[..., Any], run: Start, code: int, reason: str, words: str
) -> None:
    chat = run(fake_relay.url)
    await until(lambda: fake_relay.frames("ROOM_CREATE"))
    await deferToThread(chat.out.link)

    def gone(seat: Any, frame: Any) -> None:
        seat.tell("ERROR", {"code": "ERR_NO_ROOM", "retryable": False}, re=frame["id"])

    fake_relay.answer = gone
    fake_relay.seats[0].close_with(code, reason)
    assert await deferToThread(chat.exit_code) == 1
    assert str(chat.notes).endswith(f"* the conversation is over for you: {words}\n")


async def test_what_was_not_delivered_is_said_and_the_exit_code_is_one(
    fake_relay: Any, until: Callable[..., Any], run: Start
) -> None:
    chat = run(fake_relay.url)
    await deferToThread(chat.out.link)
    fake_relay.answer = lambda seat, frame: seat.tell(
        "ERROR", {"code": "ERR_CIPHERTEXT_TOO_LARGE", "retryable": False}, re=frame["id"]
    )
    chat.type("long")
    await deferToThread(chat.notes.next, r"not sent: too long for this relay \(ERR_CIPHER")
    fake_relay.answer = lambda seat, frame: frame["t"] == "LEAVE" and fake_relay.usual(seat, frame)
    chat.type("hello?")
    await until(lambda: len(fake_relay.frames("APP_MSG")) == 2)
    chat.end_input()
    await deferToThread(chat.notes.next, "waiting until everything is delivered; Ctrl-C leaves")
    chat.process.send_signal(signal.SIGINT)
    assert await deferToThread(chat.exit_code) == 1
    assert "some of the last messages or files may not have arrived" in str(chat.notes)
    assert len(fake_relay.frames("LEAVE")) == 1


BAD_USE: list[tuple[list[str], str]] = [
    ([], "required"),
    (["ws://a", "--colour"], "unrecognized arguments"),
    (["example.org"], "the address of a relay looks like ws://"),
    (["http://127.0.0.1:3001/"], "not a whole invite: it looks like https://host/#k="),
    (["https://a/#k=AAAA&roomId=AAAAAAAA"], "the key in this invite is damaged"),
    (["ws://a", "https://a/#k=" + "A" * 43], "not a whole invite"),
    (["#k=" + "A" * 43 + "&roomId=AAAAAAAA"], "names no host: give the relay's address"),
    (["ws://a", "--ca-file", "/no/such"], "cannot read /no/such: no such file or directory"),
    (["ws://a", "--ca-file", "{none}"], "there is no certificate in"),
    (["ws://a", "--ca-file", "{damaged}"], "a certificate in .* is damaged"),
    (["ws://a", "--downloads", "/dev/null"], "/dev/null is not a folder"),
    (["ws://a", "--downloads", "/proc/x"], "cannot make the folder /proc/x: "),
]


def test_bad_use_is_one_line_and_two(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    places = {f"{{{name}}}": tmp_path / name for name in ("damaged", "none")}
    places["{none}"].write_text("no certificate\n")
    places["{damaged}"].write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for arguments, words in BAD_USE:
        with pytest.raises(SystemExit) as ended:
            main([str(places.get(word, word)) for word in arguments])
        lines = capsys.readouterr().err.strip().splitlines()
        assert ended.value.code == 2
        assert re.search(words, lines[-1])
        assert lines[-1].startswith("relay-chat: ")
        assert len(lines) <= 2, "a line of usage at most"


def test_ctrl_c_before_anything_has_begun_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("twisted_relay.chat.program.start", interrupted)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 1
    assert capsys.readouterr().err == ""
