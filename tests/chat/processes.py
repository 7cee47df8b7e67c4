"""relay-chat in processes of its own: on pipes as a script starts it, on a terminal as a person."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHAT = (sys.executable, "-m", "twisted_relay.chat")
PATIENCE = 60.0  # seconds; a busy machine needs many for what takes one
LINK = re.compile(r"https?://\S+#k=\S+")


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TERM": "xterm"} | more


class Text:
    """What a stream has said so far; read in a thread of its own."""

    def __init__(self, fd: int | None) -> None:
        self.raw = b""
        self._enough = False
        self._seen = 0  # characters that were waited for already
        self._thread = threading.Thread(target=self._read, args=(fd,), daemon=True)
        self._thread.start()

    def _read(self, fd: int | None) -> None:
        if fd is None:  # it goes elsewhere
            return
        with suppress(OSError):  # a pseudo-terminal ends with EIO
            while not self._enough:
                if select.select([fd], [], [], 0.05)[0]:
                    chunk = os.read(fd, 65536)
                    if not chunk:
                        return
                    self.raw += chunk

    def read_no_more(self) -> None:
        """Let go of the stream; nobody can close what is being read from."""
        self._enough = True
        self._thread.join(PATIENCE)

    def __str__(self) -> str:
        return self.raw.decode("utf-8", "replace")

    def whole(self) -> str:
        """All of it, when the stream has ended."""
        self._thread.join(PATIENCE)
        return str(self)

    def next(self, pattern: str) -> str:
        """The next place that matches, after the last one that was waited for."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            if found := re.compile(pattern).search(str(self), self._seen):
                self._seen = found.end()
                return found[0]
            time.sleep(0.01)
        pytest.fail(f"waited in vain for {pattern!r} in {str(self)[self._seen :]!r}")

    def link(self) -> str:
        """The next invite, from its own line."""
        return self.next(LINK.pattern + r"(?=\r?\n)")


class Running:
    """A relay-chat with pipes."""

    def __init__(
        self,
        *arguments: str,
        stdin: int = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        **more: str,
    ) -> None:
        self.process = subprocess.Popen(
            [*CHAT, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment(**more),
        )
        self.out, self.notes = (
            Text(stream.fileno() if stream is not None else None)
            for stream in (self.process.stdout, self.process.stderr)
        )

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())
        self.process.stdin.flush()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def exit_code(self) -> int:
        """How it ended, when it has; there was never a traceback."""
        code = self.process.wait(PATIENCE)
        assert "Traceback" not in self.notes.whole()
        assert "Unhandled" not in str(self.notes)
        return code

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for text in (self.out, self.notes):
            text.read_no_more()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


class OnTerminal:
    """A relay-chat on a pseudo-terminal of its own, where a person sits."""

    def __init__(self, *arguments: str, size: tuple[int, int] = (100, 50), **more: str) -> None:
        command = [*CHAT, *arguments]
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(command[0], command, environment(**more))  # noqa: S606
        self.resize(*size)
        self.screen = Text(self._fd)
        self._code: int | None = None

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def type(self, text: str) -> None:
        self.press(f"{text}\r")

    def echoes(self) -> bool:
        """Whether the terminal is as it was before: the kernel shows what is typed."""
        return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def restore(self) -> None:
        """Do what a shell does when its job is stopped."""
        attributes = termios.tcgetattr(self._fd)
        attributes[3] |= termios.ECHO | termios.ICANON
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def hang_up(self) -> None:
        """Close the window."""
        self.screen.read_no_more()
        os.close(self._fd)
        self._fd = -1
        self.exit_code()

    def exit_code(self) -> int:
        ends = time.monotonic() + PATIENCE
        while self._code is None and time.monotonic() < ends:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.01)
        assert self._code is not None, str(self.screen)
        assert "Traceback" not in str(self.screen)
        return self._code

    def stop(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self._fd >= 0:
            self.screen.read_no_more()
            os.close(self._fd)


Start = Callable[..., Running]
StartOnTerminal = Callable[..., OnTerminal]


@pytest.fixture
def run() -> Iterator[Start]:
    running: list[Running] = []

    def start(*arguments: str, **more: object) -> Running:
        running.append(Running(*arguments, **more))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for process in reversed(running):
        process.stop()


@pytest.fixture
def sit_down() -> Iterator[StartOnTerminal]:
    sitting: list[OnTerminal] = []

    def start(*arguments: str, **more: object) -> OnTerminal:
        sitting.append(OnTerminal(*arguments, **more))  # type: ignore[arg-type]
        return sitting[-1]

    yield start
    for person in reversed(sitting):
        person.stop()
