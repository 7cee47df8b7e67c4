"""A TCP line between one instance and Redis, which the test can cut or hold up."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Any

#: What a connection is for, by the first of these commands that is seen on it.
PURPOSES = {b"SUBSCRIBE": "subscriber", b"PUBLISH": "publisher", b"EVAL": "commands"}


class _Pair:
    """One connection through the line: the instance's side and Redis' side."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.purpose = ""
        #: What is still to be written, to the key's side.
        self.waiting = {near: b"", far: b""}

    def across(self, side: socket.socket) -> socket.socket:
        return self.far if side is self.near else self.near

    def learn(self, data: bytes) -> None:
        """See what this connection is for."""
        if not self.purpose:
            upper = data.upper()
            found = [name for word, name in PURPOSES.items() if b"\r\n" + word in upper]
            self.purpose = found[0] if found else ""


class Line:
    """Forwards to a Redis on this machine until it is told otherwise.

    `cut` ends connections; `hold` keeps all that is under way to itself (the line is a black hole,
    with nobody told), until `free` lets it go on. Each can be about one purpose alone:
    ``subscriber``, ``publisher`` or ``commands``.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._pairs: list[_Pair] = []
        self._held: set[str] = set()
        self._answers_held: set[str] = set()
        self._refusing = False
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._waker, self._awake = socket.socketpair()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._awake, selectors.EVENT_READ)
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def purposes(self) -> list[str]:
        """What the connections that are there are for; "" where it was not seen yet."""
        with self._lock:
            return sorted(pair.purpose for pair in self._pairs)

    def cut(self, purpose: str = "", refuse: bool = False) -> int:
        """End the connections, of one purpose or all; returns how many. `refuse`: and let nobody
        connect until `free`."""
        with self._lock:
            self._refusing = self._refusing or refuse
            ended = [p for p in self._pairs if purpose in ("", p.purpose)]
            for pair in ended:
                self._end(pair)
        return len(ended)

    def hold(self, purpose: str = "", answers_only: bool = False) -> None:
        """Let nothing pass, or no answers; of one purpose, or of all and of new connections."""
        with self._lock:
            (self._answers_held if answers_only else self._held).add(purpose)

    def free(self) -> None:
        """Let everything pass again, what was held first."""
        with self._lock:
            self._held.clear()
            self._answers_held.clear()
            self._refusing = False
            for pair in list(self._pairs):
                for side in (pair.near, pair.far):
                    self._write(pair, side)

    def close(self) -> None:
        self._ending = True
        self._waker.send(b"x")
        self._thread.join(5)
        with self._lock:
            for pair in list(self._pairs):
                self._end(pair)
        self._selector.close()
        for side in (self._listening, self._waker, self._awake):
            side.close()

    # In the thread.

    def _run(self) -> None:
        while not self._ending:
            for key, _ in self._selector.select(1):
                with self._lock:
                    if key.fileobj is self._listening:
                        self._accept()
                    elif isinstance(key.data, _Pair) and key.data in self._pairs:
                        self._read(key.data, key.fileobj)

    def _accept(self) -> None:
        near, _ = self._listening.accept()
        if self._refusing:
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            near.close()
            return
        pair = _Pair(near, far)
        self._pairs.append(pair)
        for side in (near, far):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(side, selectors.EVENT_READ, pair)

    def _read(self, pair: _Pair, side: Any) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = side.recv(262_144)
        if not data:
            self._end(pair)
            return
        if side is pair.near:
            pair.learn(data)
        to = pair.across(side)
        pair.waiting[to] += data
        self._write(pair, to)

    def _write(self, pair: _Pair, side: socket.socket) -> None:
        about = {"", pair.purpose}
        if about & self._held or (side is pair.near and about & self._answers_held):
            return
        data, pair.waiting[side] = pair.waiting[side], b""
        try:
            side.sendall(data)
        except OSError:
            self._end(pair)

    def _end(self, pair: _Pair) -> None:
        if pair not in self._pairs:
            return
        self._pairs.remove(pair)
        for side in (pair.near, pair.far):
            self._selector.unregister(side)
            side.close()
