"""Lines in, lines out: what a terminal must be protected from, and how standard input is read."""

import os
import threading
import unicodedata
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

PIECE = 4000  # characters of one message; a longer line becomes several
_LONGEST_LABEL = 64


def harmless(text: str) -> str:
    """``text`` as one line that cannot command a terminal nor pretend to be another line.

    Control, format (among them those that reverse the direction of writing), surrogate and
    line-separating characters are shown as escapes; joiners that words and emoji need stay.
    """
    return "".join(
        char if char in "\u200c\u200d" or unicodedata.category(char) not in _ESCAPED
        else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )  # fmt: skip


_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def name_of(sender: str) -> str:
    """A sender's name for display: harmless and not endless."""
    return harmless(sender[:_LONGEST_LABEL]) or "?"


def pieces(line: str) -> list[str]:
    """A line cut into messages."""
    return [line[at : at + PIECE] for at in range(0, len(line), PIECE)]


class InputLines:
    """Reads a file descriptor in a thread of its own, since a file or a pipe is not selectable.

    ``on_line`` is called in the reactor with each line; when it returns a Deferred, the next line
    waits for it. ``on_end`` follows the last line.
    """

    def __init__(
        self,
        reactor: Any,
        fd: int,
        on_line: Callable[[str], "Deferred[None] | None"],
        on_end: Callable[[], None],
    ) -> None:
        self._reactor, self._fd = reactor, fd
        self._on_line, self._on_end = on_line, on_end

    def start(self) -> None:
        """Begin to read. The thread dies with the process, also while it waits for input."""
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        rest = b""
        while chunk := self._chunk():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._hand(line)
        if rest:
            self._hand(rest)
        self._reactor.callFromThread(self._on_end)

    def _chunk(self) -> bytes:
        try:
            return os.read(self._fd, 65536)
        except OSError:
            return b""

    def _hand(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        blockingCallFromThread(self._reactor, self._on_line, text)
