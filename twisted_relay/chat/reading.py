"""Reads standard input, which may be a terminal, a pipe, a file or nothing, beside the reactor."""

import codecs
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

_CHUNK = 65536  # bytes of one read, and the longest line, in characters, that is kept waiting


class InputReader:
    """Reads a file descriptor in a thread of its own, since a file or a pipe is not selectable.

    ``on_bytes`` is called in the reactor; when it returns a Deferred, the next read waits for it.
    ``on_end`` follows the last bytes.
    """

    def __init__(
        self,
        reactor: Any,
        fd: int,
        on_bytes: Callable[[bytes], "Deferred[None] | None"],
        on_end: Callable[[], None],
    ) -> None:
        self._reactor, self._fd = reactor, fd
        self._on_bytes, self._on_end = on_bytes, on_end

    def start(self) -> None:
        """Begin to read. The thread dies with the process, also while it waits for input."""
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        while chunk := self._chunk():
            blockingCallFromThread(self._reactor, self._on_bytes, chunk)
        self._reactor.callFromThread(self._on_end)

    def _chunk(self) -> bytes:
        try:
            return os.read(self._fd, _CHUNK)
        except OSError:
            return b""


class Lines:
    """Cuts what comes from a pipe or a file into lines; one without an end is cut as well."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, chunk: bytes) -> Iterator[str | None]:
        """Each line that ``chunk`` ends."""
        *lines, self._rest = (self._rest + self._decoder.decode(chunk)).split("\n")
        for line in lines:
            yield line.removesuffix("\r")
        if len(self._rest) > _CHUNK:
            yield self.last()

    def last(self) -> str:
        """What came after the last end of a line."""
        rest, self._rest = self._rest, ""
        return rest


def first_line(fd: int) -> str:
    """The first line of ``fd``, and not a byte more: the rest is for somebody else. Waits."""
    line = b""
    while len(line) < _CHUNK and (byte := os.read(fd, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode("utf-8", "replace")
