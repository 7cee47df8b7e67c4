"""People in a room, each with a relay-chat of their own, and a relay: all of them processes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chat.processes import CHAT, PATIENCE, ROOT, Running, Start, environment
from tests.system.conftest import RelayProcess, poll
from twisted_relay.client import Invite, RoomCipher
from twisted_relay.client.cipher import CHAT_CONTEXT
from twisted_relay.client.messages import FileMessage, encode


def url(relay: RelayProcess) -> str:
    return f"ws://127.0.0.1:{relay.port}/ws"


def make_room(run: Start, relay: RelayProcess, *more: str) -> tuple[Running, str]:
    """Who made the room, and the link that others join by."""
    first = run(url(relay), *more)
    return first, first.out.link()


def test_two_people_talk_and_leave(relay: RelayProcess, run: Start) -> None:
    ann, link = make_room(run, relay, "--name", "Ann")
    bob = run(link, "--name", "Bob")
    bob.notes.next("you are Bob, 2 of 3 in the room")
    ann.notes.next("this person has entered the chat with the name Bob")
    ann.type("hello Bob — \x1b[2J\u202e")
    bob.out.next(r"^Ann: hello Bob — \\x1b\[2J\\u202e\n")
    bob.type("//hi")
    ann.out.next(r"\nBob: /hi\n")

    for person in (ann, bob):
        person.type("/words")
        person.type("/who")
    words = {person.notes.next(r"safety words:( [a-z]{4,7}){8}\n") for person in (ann, bob)}
    assert len(words) == 1
    ann.notes.next(r"2 of 3 in the room: you, Bob\n")
    bob.notes.next(r"2 of 3 in the room: you, Ann\n")
    bob.type("/nonsense")
    bob.notes.next("there is no /nonsense; /help")
    bob.type("/help")
    bob.notes.next(r"/send PATH +send a file")

    bob.type("/quit")
    ann.notes.next("Bob has left the chat")
    ann.end_input()
    assert (bob.exit_code(), ann.exit_code()) == (0, 0)
    assert str(bob.out) == "Ann: hello Bob — \\x1b[2J\\u202e\n"
    assert "entered the chat with the name Bob" not in str(bob.notes)


def test_a_file_arrives_as_it_was_sent(relay: RelayProcess, run: Start, tmp_path: Path) -> None:
    content = random.Random(7).randbytes(300_000)
    source = tmp_path / "a report.bin"
    source.write_bytes(content)
    kept = tmp_path / "kept"
    ann, link = make_room(run, relay, "--name", "Ann", "--downloads", str(kept))
    bob = run(link, "--name", "Bob")
    bob.notes.next("you are Bob")
    kept.joinpath("a report.bin").write_bytes(b"was here before")
    for words in (f"'{source}'", str(tmp_path), "/no/such/file", "/dev/null"):
        bob.type(f"/send {words}")
    for said in ("cannot read .*: is a directory", "cannot read /no/such/file", "/dev/null is"):
        bob.notes.next(said)
    bob.notes.next("sending a report.bin: .* of 300 KB")
    bob.notes.next("sent a report.bin")
    ann.notes.next(r"Bob sends a report.bin \(300 KB\)\n")
    ann.notes.next("receiving a report.bin: .* % of 300 KB")
    path = Path(ann.notes.next(r"saved .*\n").removeprefix("saved ").strip())
    assert path == kept / "a report (2).bin"
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept.joinpath("a report.bin").read_bytes() == b"was here before"

    ann.type(f"/send {source}")  # a name with spaces, without quotes
    bob.notes.next(r"Ann sends a report.bin \(300 KB\); it is not kept: --downloads DIR or /down")
    ann.notes.next("sent a report.bin")
    bob.end_input()
    assert bob.exit_code() == 1, "three files were asked for and not delivered"
    assert sorted(os.listdir(kept)) == ["a report (2).bin", "a report.bin"]


def test_files_of_strangers_stay_in_the_folder(
    relay: RelayProcess, run: Start, tmp_path: Path
) -> None:
    kept = tmp_path / "a/kept"
    ann, link = make_room(run, relay, "--downloads", str(kept))
    invite = Invite.parse(link)
    cipher = RoomCipher(invite.key)
    eve = relay.connect()
    eve.join(invite.room_id, relay.http_token(invite.room_id))

    def send(name: str, content: bytes, size: int = 0, sha256: str = "") -> None:
        media_id = f"media-of-{os.urandom(8).hex()}"
        size, sha256 = size or len(content), sha256 or hashlib.sha256(content).hexdigest()
        offer = FileMessage(media_id, 1, "Eve", media_id, name, "text/plain", size, sha256)
        sealed = cipher.seal(encode(offer), CHAT_CONTEXT)
        eve.send("APP_MSG", roomId=invite.room_id, ciphertextB64=sealed)
        chunk = cipher.seal(content, f"media:v1|0|{len(content)}".encode())
        eve.send(
            "MEDIA_MSG",
            roomId=invite.room_id,
            mime="application/octet-stream",
            size=size,
            chunkSize=131072,
            mediaId=media_id,
            part=0,
            parts=1,
            chunks=[chunk],
        )

    names = ("../../outside", "/etc/passwd", ".profile", "x\x1b[2Jy\n* z", "-rf", "passwd", "..")
    for name in names:
        send(name, name.encode())
    saved = [Path(ann.notes.next(r"(?<=saved ).*")) for _ in names]
    assert [path.parent for path in saved] == [kept] * len(names)
    assert sorted(os.listdir(kept)) == sorted(path.name for path in saved)
    expected = ["outside", "passwd", "profile", "x[2Jy* z", "rf", "passwd (2)", "file.txt"]
    assert [path.name for path in saved] == expected
    assert [path.read_bytes() for path in saved] == [name.encode() for name in names]
    send("huge.bin", b"x", size=10_485_761)
    ann.notes.next("huge.bin did not arrive: it is larger than 10 MiB")
    send("false.bin", b"x", sha256="0" * 64)
    ann.notes.next("false.bin did not arrive: ")
    ann.end_input()
    assert ann.exit_code() == 0
    assert len(os.listdir(kept)) == len(names)
    assert os.listdir(tmp_path / "a") == ["kept"]


def test_a_script_speaks_and_sends_and_all_of_it_arrives(
    relay: RelayProcess, run: Start, tmp_path: Path
) -> None:
    ann, link = make_room(run, relay, "--downloads", str(tmp_path / "kept"))
    (tmp_path / "log.txt").write_bytes(b"x" * 200_000)
    lines = [f"line {number}" for number in range(40)]
    said = "\r\n".join([f"/send {tmp_path / 'log.txt'}", *lines, "tw\ufffdo"])
    script = subprocess.run(
        [*CHAT, link, "--name", "bot"],
        input=said.encode().replace("\ufffd".encode(), b"\xff"),
        capture_output=True,
        env=environment(),
        cwd=ROOT,
        timeout=PATIENCE,
        check=False,
    )
    assert (script.returncode, script.stdout) == (0, b"")
    ann.notes.next(r"saved .*log\.txt\n")
    heard = ann.out.next(r"bot: line 0\n(bot: .*\n){40}").splitlines()
    assert heard == [f"bot: {line}" for line in [*lines, "tw\ufffdo"]]


def test_another_key_shows_nothing_and_has_other_words(relay: RelayProcess, run: Start) -> None:
    ann, link = make_room(run, relay)
    invite = Invite.parse(link)
    eve = run(Invite(invite.relay_url, invite.room_id, bytes(32)).link)
    eve.notes.next("2 of 3")
    ann.type("for Bob only")
    ann.type("and more")
    eve.notes.next("not shown: .*another room key.*compare /words")
    for person in (ann, eve):
        person.type("/words")
    words = [person.notes.next("safety words: .*") for person in (ann, eve)]
    assert words[0] != words[1]
    eve.type("so there")
    ann.notes.next("another room key")
    eve.type("/quit")
    assert eve.exit_code() == 0
    assert str(eve.out) == ""
    assert str(eve.notes).count("not shown") == 1, "not a line for each of them"


def test_an_invite_whose_token_is_spent_serves_and_signals_leave_in_order(
    relay: RelayProcess, run: Start
) -> None:
    ann, link = make_room(run, relay, "--once")
    assert Invite.parse(link).token
    ann.notes.next("serves once")
    bob = run(link, "--name", "Bob")
    bob.notes.next("2 of 3")
    cleo = run(url(relay), link, "--name", "Cleo")  # asks the relay for another one
    cleo.notes.next("3 of 3")
    bob.process.send_signal(signal.SIGINT)
    ann.notes.next("Bob has left the chat")
    cleo.process.send_signal(signal.SIGTERM)
    ann.notes.next("Cleo has left the chat")
    assert (bob.exit_code(), cleo.exit_code()) == (0, 0)
    ann.type("/invite")
    assert Invite.parse(ann.out.link()).token is None
    ann.type("/invite once")
    assert Invite.parse(ann.out.link()).token not in (None, Invite.parse(link).token)


def test_a_relay_that_restarts_is_come_back_to(
    start_relay: Callable[..., RelayProcess], redis_server: Any, run: Start, tmp_path: Path
) -> None:
    settings = {"REDIS_URL": redis_server.url, "GRACEFUL_SHUTDOWN_TIMEOUT_MS": "1000"}
    first = start_relay(**settings)
    ann, link = make_room(run, first, "--name", "Ann")
    bob = run(link, "--name", "Bob")
    bob.notes.next("2 of 10")
    first.stop()
    bob.notes.next("connection lost.*trying again in")
    bob.type("still here")
    bob.process.send_signal(signal.SIGSTOP)  # who comes back after a message has missed it
    again = start_relay(wait=False, PORT=first.port, **settings)
    again.port = first.port
    again.wait_alive()
    ann.notes.next("back in the room")
    bob.process.send_signal(signal.SIGCONT)
    bob.notes.next("back in the room")
    ann.out.next(r"Bob: still here\n")
    for person in (ann, bob):
        person.end_input()
    assert (ann.exit_code(), bob.exit_code()) == (0, 0)
    poll(lambda: again.metrics()["active_connections"] == 0)
