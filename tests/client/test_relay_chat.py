"""Two terminals and a relay, each a process of its own, as a newcomer starts them."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from twisted_relay.client import Invite

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds; for a busy machine


class Running:
    """A process whose output is read as it comes."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | environment,
        )
        self.out = self._reading(self.process.stdout)
        self.notes = self._reading(self.process.stderr)

    @staticmethod
    def _reading(stream: IO[bytes] | None) -> "queue.Queue[str]":
        lines: queue.Queue[str] = queue.Queue()

        def read() -> None:
            with stream:  # type: ignore[union-attr]
                for line in stream:  # type: ignore[union-attr]
                    lines.put(line.decode().rstrip("\n"))

        threading.Thread(target=read, daemon=True).start()
        return lines

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())
        self.process.stdin.flush()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE)

    def stop(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def next_with(lines: "queue.Queue[str]", part: str) -> str:
    """The next line that holds ``part``; what came before is passed over."""
    passed: list[str] = []
    end = time.monotonic() + PATIENCE
    while (left := end - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except queue.Empty:
            break
        if part in line:
            return line
        passed.append(line)
    pytest.fail(f"waited in vain for {part!r}; there was {passed}")


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(*arguments: str, **environment: str) -> Running:
        running.append(Running(*arguments, **environment))
        return running[-1]

    yield start
    for process in reversed(running):
        process.stop()


Start = Callable[..., Running]
CHAT = ("-m", "twisted_relay.client")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_relay(run: Start, port: int, **settings: str) -> Running:
    relay = run(
        *("-m", "twisted", "relay"), HOST="127.0.0.1", PORT=str(port), **settings
    )  # fmt: skip
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and relay.process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=5):
                return relay
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the relay does not start: {list(relay.notes.queue)} {list(relay.out.queue)}")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def relay(run: Start, port: int) -> Running:
    return start_relay(run, port)


def start_room(run: Start, port: int, *more: str) -> tuple[Running, list[str]]:
    """Who made the room, and the words with which another joins it."""
    first = run(*CHAT, f"ws://127.0.0.1:{port}/ws", *more)
    return first, next_with(first.out, "relay-chat ws://").split()[1:]


def test_two_terminals_talk_and_leave(relay: Running, run: Start, port: int) -> None:
    ann, words = start_room(run, port, "--name", "Ann")
    bob = run(*CHAT, *words, "--name", "Bob")
    next_with(bob.notes, "you are Bob, 2 of")
    next_with(ann.notes, "this person has entered the chat with the name Bob")
    ann.type("hello Bob — \x1b[2J")
    assert next_with(bob.out, "hello") == "Ann: hello Bob — \\x1b[2J"
    bob.type("//hi")
    assert next_with(ann.out, "hi") == "Bob: /hi"
    bob.type("/quit")
    next_with(ann.notes, "Bob has left the chat")
    ann.end_input()
    assert (bob.exit_code(), ann.exit_code()) == (0, 0)


def test_a_script_speaks_and_all_of_it_arrives(relay: Running, run: Start, port: int) -> None:
    ann, words = start_room(run, port)
    script = run(*CHAT, *words, "--name", "bot")
    for number in range(40):
        script.type(f"line {number}")
    script.end_input()
    for number in range(40):
        assert next_with(ann.out, "line") == f"bot: line {number}"
    assert script.exit_code() == 0


def test_an_invite_for_one_use(relay: Running, run: Start, port: int) -> None:
    ann, _ = start_room(run, port)
    ann.type("/invite once")
    words = next_with(ann.out, "relay-chat").split()[1:]
    assert Invite.parse(words[1]).token
    bob = run(*CHAT, *words)
    next_with(bob.notes, "2 of")
    late = run(*CHAT, *words)
    assert late.exit_code() == 1
    assert "ERR_TOKEN_REPLAY" in next_with(late.notes, "relay-chat:")


def test_a_wrong_key_is_said_and_shows_nothing(relay: Running, run: Start, port: int) -> None:
    ann, words = start_room(run, port)
    room = Invite.parse(words[1]).room_id
    eve = run(*CHAT, words[0], Invite(words[0], room, bytes(32)).link)
    next_with(eve.notes, "2 of")
    ann.type("for Bob only")
    next_with(eve.notes, "another room key")
    eve.type("/quit")
    assert eve.exit_code() == 0
    assert not any("Bob" in line for line in eve.out.queue)


def test_a_lost_connection_comes_back_and_what_was_typed_meanwhile_arrives(
    relay: Running, run: Start, port: int
) -> None:
    ann, words = start_room(run, port)
    relay_for_tests = Forwarder(port)
    bob = run(*CHAT, f"ws://127.0.0.1:{relay_for_tests.port}/ws", words[1], "--name", "Bob")
    next_with(bob.notes, "2 of")
    relay_for_tests.cut()
    next_with(bob.notes, "trying again")
    bob.type("still here")
    next_with(bob.notes, "back in the room")
    assert next_with(ann.out, "still") == "Bob: still here"
    relay_for_tests.close()


class Forwarder:
    """A network between client and relay that can be cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._pairs += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            return
        finally:
            for end in (one, other):
                end.close()

    def cut(self) -> None:
        pairs, self._pairs = self._pairs, []
        for end in pairs:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                end.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["http://127.0.0.1/ws"], 2, "the address of a relay looks like"),
        (["ws://127.0.0.1:1/ws", "https://half"], 2, "not a whole invite"),
        (["ws://127.0.0.1:1/ws"], 1, "connection refused"),
        (
            ["ws://127.0.0.1:1/ws", Invite("ws://127.0.0.1:1/ws", "roomroom", bytes(32)).link],
            1,
            "connection refused",
        ),
        ([], 2, "usage: relay-chat"),
    ],
)
def test_bad_use_is_one_line_and_an_exit_code(
    run: Start, arguments: list[str], code: int, said: str
) -> None:
    chat = run(*CHAT, *arguments)
    assert chat.exit_code() == code
    next_with(chat.notes, said)
    assert not any("Traceback" in line for line in chat.notes.queue)


def test_a_room_that_is_not_there(relay: Running, run: Start, port: int) -> None:
    chat = run(*CHAT, f"ws://127.0.0.1:{port}/ws", Invite("ws://a/ws", "A" * 22, bytes(32)).link)
    assert chat.exit_code() == 1
    assert "ERR_NO_ROOM" in next_with(chat.notes, "relay-chat:")


def test_an_interrupt_leaves_the_room(relay: Running, run: Start, port: int) -> None:
    ann, words = start_room(run, port)
    bob = run(*CHAT, *words, "--name", "Bob")
    next_with(bob.notes, "2 of")
    bob.process.send_signal(signal.SIGINT)
    next_with(ann.notes, "Bob has left the chat")
    bob.exit_code()
    assert not any("Traceback" in line for line in bob.notes.queue)
    assert not any("Unhandled" in line for line in bob.notes.queue)


def test_input_from_a_file(relay: Running, run: Start, port: int, tmp_path: Path) -> None:
    ann, words = start_room(run, port)
    (tmp_path / "said.txt").write_bytes(b"one\r\ntw\xffo\nthree")
    with (tmp_path / "said.txt").open() as said:
        script = subprocess.run(
            [sys.executable, *CHAT, *words, "--name", "file"],
            stdin=said,
            capture_output=True,
            cwd=ROOT,
            timeout=PATIENCE,
            check=False,
        )
    assert script.returncode == 0, script.stderr
    heard = [next_with(ann.out, "file: ") for _ in range(3)]
    assert heard == ["file: one", "file: tw\ufffdo", "file: three"]
