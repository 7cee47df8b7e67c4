"""Mixed abuse from one machine, while two people chat: they lose nothing, and the relay is well."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: ABUSE_SECONDS=30 for longer.
SECONDS = float(os.environ.get("ABUSE_SECONDS", "8"))
MOST_MEMORY_MB = 150
MASK = b"\0\0\0\0"
SHAKE = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n"
)


def _masked(text: bytes) -> bytes:
    size = len(text)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return b"\x81" + length + MASK + text


def _until(one: socket.socket, word: bytes) -> bytes:
    told = b""
    while word not in told:
        more = one.recv(4096)
        if not more:
            raise ConnectionResetError
        told += more
    return told


class Abuser(threading.Thread):
    """Comes from an address of its own again and again, each time to do other harm."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.done: Counter[str] = Counter()
        self.faults: list[Exception] = []
        self._port = port
        self._random = random.Random(number)
        self._address = f"127.0.1.{number}"
        self._kept: list[socket.socket] = []
        self._made: list[socket.socket] = []

    def run(self) -> None:
        try:
            # All of them, in an order of its own.
            for harm in itertools.cycle(self._random.sample(HARMS, len(HARMS))):
                if self.over.is_set():
                    return
                # However the relay ends such a connection, it is none of ours to judge here.
                with contextlib.suppress(OSError):
                    harm(self)
                self.done[harm.__name__] += 1
                self._close_all_but(self._kept)
        except Exception as fault:
            self.faults.append(fault)
        finally:
            self._kept.clear()
            self._close_all_but(self._kept)

    def _close_all_but(self, kept: list[socket.socket]) -> None:
        for one in self._made:
            if one not in kept:
                one.close()
        self._made = list(kept)

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        made = socket.socket()
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._made.append(made)
        made.settimeout(0.5)
        made.bind((self._address, 0))
        made.connect(("127.0.0.1", self._port))
        return made

    def open(self) -> socket.socket:
        """A WebSocket, if the limits let it in."""
        made = self.connect()
        made.sendall(SHAKE.format(base64.b64encode(os.urandom(16)).decode()).encode())
        made.recv(4096)
        return made

    def keep(self, one: socket.socket) -> None:
        """Hold it, and let the oldest go without a word."""
        self._kept.append(one)
        if len(self._kept) > 12:
            self._kept.pop(0)

    # The harm.

    def garbage(self) -> None:
        with self.connect() as one:
            one.sendall(self._random.randbytes(self._random.randrange(5000)))
            one.recv(4096)

    def garbage_frames(self) -> None:
        with self.open() as one:
            one.sendall(self._random.randbytes(self._random.randrange(5000)))
            one.recv(4096)

    def half_a_request(self) -> None:
        one = self.connect()
        one.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr"[: self._random.randrange(33)])
        self.keep(one)

    def half_a_frame(self) -> None:
        one = self.open()
        one.sendall(b"\x81\xff" + struct.pack("!Q", 200_000) + MASK + b"x" * 100_000)
        self.keep(one)

    def silence(self) -> None:
        self.keep(self.open())

    def large_frame(self) -> None:
        with self.open() as one:
            one.sendall(b"\x81\xff" + struct.pack("!Q", 1 << 40) + MASK)
            for _ in range(10):
                one.sendall(b"x" * 65536)

    def large_message_in_pieces(self) -> None:
        with self.open() as one:
            one.sendall(b"\x01\xfe\xff\xff" + MASK + b"x" * 65535)
            for _ in range(10):
                one.sendall(b"\x00\xfe\xff\xff" + MASK + b"x" * 65535)

    def flood_of_pings(self) -> None:
        with self.open() as one:
            one.sendall((b"\x89\x80" + MASK) * 5000)

    def flood_of_messages(self) -> None:
        text = b'{"v":1,"t":"PING","id":"a-flood-of-it","body":{}}'
        with self.open() as one:
            one.sendall(_masked(text) * 3000)

    def stalled_reader(self) -> None:
        one = self.connect(receive_buffer=4096)
        one.settimeout(5)  # little comes at a time
        one.sendall(SHAKE.format(base64.b64encode(os.urandom(16)).decode()).encode())
        _until(one, b'"HELLO"')
        one.sendall(_masked(b'{"v":1,"t":"ROOM_CREATE","id":"a-stalled-one","body":{}}'))
        room = _until(one, b'"memberId"').partition(b'"roomId":"')[2][:22]
        body = b'{"roomId":"%b","ciphertextB64":"%b"}' % (room, b"x" * 60_000)
        self.keep(one)
        for _ in range(100):
            one.sendall(_masked(b'{"v":1,"t":"APP_MSG","id":"a-long-message","body":%b}' % body))

    def flood_of_calls(self) -> None:
        with self.connect() as one:
            one.sendall(b"POST /rooms HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n" * 40)
            one.recv(4096)

    def endless_body(self) -> None:
        with self.connect() as one:
            one.sendall(b"POST /rooms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(200):
                one.sendall(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")

    def endless_header(self) -> None:
        with self.connect() as one:
            one.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\nX: ")
            for _ in range(50):
                one.sendall(b"x" * 65536)

    def vanish(self) -> None:
        one = self.open()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()


HARMS: tuple[Callable[[Abuser], None], ...] = tuple(
    found
    for name, found in vars(Abuser).items()
    if not name.startswith("_") and name not in ("run", "connect", "open", "keep")
)


def _memory_mb(pid: int) -> dict[str, float]:
    """The memory in use now, and the most that ever was."""
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_chat_goes_on_through_all_kinds_of_abuse_at_once(start_relay: Any) -> None:
    relay = start_relay(
        MAX_CONNS_PER_IP="",
        MAX_CONNECTS_PER_IP_PER_MIN="3000",
        MAX_ROOM_CREATES_PER_IP_PER_MIN="1000",
        MAX_HTTP_PER_IP_PER_MIN="",
        MAX_MSGS_PER_10S="1000",
        MAX_BYTES_PER_10S=str(8 << 20),
    )
    room, (ada, ben) = relay.room(2)
    abusers = [Abuser(relay.port, number) for number in range(1, 5)]
    for abuser in abusers:
        abuser.start()
    said = 0
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        for speaker in (ada, ben):
            said += 1
            speaker.say(room, f"bWVzc2FnZQ{said:06}")
            time.sleep(0.02)
        assert relay.http("GET", "/live").status == 200
    for abuser in abusers:
        abuser.over.set()
    for listener in (ada, ben):
        heard = [frame for frame in listener.fence() if frame["t"] == "APP_MSG"]
        texts = [frame["body"]["ciphertextB64"] for frame in heard]
        assert sorted(texts) == [f"bWVzc2FnZQ{number:06}" for number in range(1, said + 1)]
        assert listener.closed_with is None
    for abuser in abusers:
        abuser.join(20)
        assert abuser.faults == []
    done = sum((abuser.done for abuser in abusers), Counter())
    assert {harm.__name__ for harm in HARMS} == set(done), "some harm was never done"
    memory = _memory_mb(relay.process.pid)
    assert memory["VmHWM"] < MOST_MEMORY_MB, (memory, done)
    metrics = relay.metrics()
    assert not any(n for name, n in metrics.items() if name.startswith("unhandled_errors"))
    assert "Traceback" not in relay.log
    for reason in ("rate_limit", "slow_consumer", "protocol", "lost"):
        assert any(n for name, n in metrics.items() if f'reason="{reason}"' in name), reason
    assert metrics["active_connections"] <= 2 + 12 * len(abusers)
