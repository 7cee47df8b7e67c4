"""After two thousand clients have come, joined, talked and gone, nothing of theirs is left."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import socket
import threading

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher

from twisted_relay.core.settings import load_settings
from twisted_relay.shell.service import RelayService

CLIENTS = 2000
CROWDS = 6
#: Objects that live as long as a client's connection or a room.
OF_A_CLIENT = {
    "Client",
    "Session",
    "RelayProtocol",
    "Room",
    "_Room",
    "Member",
    "RelayChannel",
    "RelayRequest",
}


class Crowd:
    """Clients of one thread, who behave at random but in a way that can be repeated."""

    def __init__(self, wire, port: int, seed: int, most: int) -> None:
        self.wire = wire
        self.port = port
        self.random = random.Random(seed)
        self.left = most
        self.here: list = []
        self.rooms: list[str] = []
        self.next_tokens: list[tuple[str, str]] = []

    def run(self) -> None:
        """Blocking: the whole life of the crowd."""
        try:
            while self.left:
                self._one()
            for client in self.here:
                self.random.choice((client.leave_cleanly, client.abort, client.close))()
        finally:
            for client in self.here:
                client.close()

    def _one(self) -> None:
        act = self.random.choices(
            (self.come, self.talk, self.go, self.come_back, self.half), (5, 4, 4, 1, 1)
        )[0]
        # A client may have been replaced or cut meanwhile, which it learns here.
        with contextlib.suppress(self.wire.Closed, ConnectionError):
            act()

    def come(self) -> None:
        self.left -= 1
        client = self.wire.Client(self.port)
        self.here.append(client)
        way = self.random.random()
        if way < 0.35 or not self.rooms:
            self._seated(client, client.create())
        elif way < 0.9:
            room_id = self.random.choice(self.rooms)
            token = self.wire.mint(room_id)
            client.send("JOIN_REQUEST", roomId=room_id, token=token)
            if way < 0.5:
                self.here.remove(client)
                client.abort()
            elif (frame := client.next())["t"] == "JOINED":
                self._seated(client, frame["body"])

    def _seated(self, client, body) -> None:
        client.room_id = body["roomId"]
        self.rooms = [*self.rooms[-8:], body["roomId"]]
        self.next_tokens = [*self.next_tokens[-8:], (body["roomId"], body["nextToken"])]

    def come_back(self) -> None:
        if self.next_tokens:
            self.left -= 1
            room_id, token = self.random.choice(self.next_tokens)
            client = self.wire.Client(self.port)
            self.here.append(client)
            client.send("JOIN_REQUEST", roomId=room_id, token=token)
            frame = client.next()
            if frame["t"] == "JOINED":
                self._seated(client, frame["body"])

    def half(self) -> None:
        """Half a handshake, half a frame, half a request."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as half:
            half.sendall(
                self.random.choice(
                    (
                        b"GET /ws HTTP/1.1\r\nUpgrade: webso",
                        b"GET /li",
                        b"POST /rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
                        b"",
                    )
                )
            )

    def talk(self) -> None:
        if self.here:
            client = self.random.choice(self.here)
            for _ in range(self.random.randrange(4)):
                client.say(getattr(client, "room_id", "no-room-at-all"))
            client.fence()

    def go(self) -> None:
        if not self.here:
            return
        client = self.here.pop(self.random.randrange(len(self.here)))
        try:
            self._end(client)
        finally:
            client.close()

    def _end(self, client) -> None:
        way = self.random.randrange(7)
        if way == 0:
            client.send("LEAVE", roomId=getattr(client, "room_id", "no-room-at-all"))
            client.leave_cleanly()
        elif way == 1:
            client.leave_cleanly()
        elif way == 2:
            client.abort()
        elif way == 3:
            client.text("no json")
            client.close_reason()
        elif way == 4:
            client.raw(b"\x81\x05naked")
            client.close_reason()
        elif way == 5:
            client.raw(client.frame(b"{}", self.wire.binary) * 2)
        else:
            client.say(getattr(client, "room_id", "no-room-at-all"), "A" * 9000)


async def _until(probe, what):
    for _ in range(400):
        if probe():
            return
        await deferLater(reactor, 0.05)
    pytest.fail(f"{what}: {probe!r}")


def _alive() -> dict[str, int]:
    gc.collect()
    found: dict[str, int] = {}
    for thing in gc.get_objects():
        name = type(thing).__name__
        if name in OF_A_CLIENT and type(thing).__module__.startswith("twisted_relay"):
            found[name] = found.get(name, 0) + 1
    return found


def _files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest_twisted.ensureDeferred
async def test_after_2000_clients_nothing_of_theirs_is_left(wire):
    failures: list = []

    def watch(event):
        if "log_failure" in event:
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(watch)
    calls_before = set(map(id, reactor.getDelayedCalls()))
    alive_before = _alive()
    service = RelayService(
        load_settings(
            wire.roomy
            | {
                "PORT": "0",
                "ROOM_EMPTY_GRACE_MS": "200",
                "ROOM_MAX_PARTICIPANTS": "4",
                "ROOM_KEY_TTL_MS": "5000",
                "QR_ROTATION_MS": "5000",
            }
        )
    )
    service.startService()
    try:
        await _until(lambda: service.port is not None, "the port")
        port = service.port.getHost().port
        first = await deferToThread(wire.Client, port)
        assert _alive() != alive_before, "the count below sees such objects"
        await deferToThread(first.leave_cleanly)
        await _until(lambda: not service.relay.clients, "the first client's end")
        files, calls = _files(), len(reactor.getDelayedCalls())
        crowds = [Crowd(wire, port, seed, CLIENTS // CROWDS + 1) for seed in range(CROWDS)]
        await gatherResults([deferToThread(crowd.run) for crowd in crowds], consumeErrors=True)
        await _until(lambda: not service.relay.clients, "clients")
        await _until(lambda: not len(service.relay.rooms), "rooms with members")
        await _until(lambda: not len(service.store), "rooms in the store")
        await _until(lambda: _files() <= files, "files")
        await _until(lambda: len(reactor.getDelayedCalls()) <= calls, "timers")
        metrics = service.metrics
        assert metrics.total_connections >= CLIENTS
        assert metrics.messages_sent["APP_MSG"] > CLIENTS / 2, "there was some talk"
        assert metrics.disconnections == metrics.total_connections
        assert sum(metrics.disconnect_reasons.values()) == metrics.disconnections
        assert (metrics.active_connections, metrics.rooms_active, metrics.members_active) == (
            0,
            0,
            0,
        )
        assert set(metrics.unhandled_errors.values()) == {0}
        page = await deferToThread(wire.http, port, "GET", "/metrics")
        gauges = wire.samples(page.body.decode())
        assert [
            gauges[name] for name in ("active_connections", "rooms_active", "members_active")
        ] == [0, 0, 0]
        # At most as before: what earlier tests left uncollected may have gone in the meantime.
        await _until(
            lambda: all(n <= alive_before.get(name, 0) for name, n in _alive().items()),
            "objects of clients",
        )
    finally:
        await service.stopService()
        globalLogPublisher.removeObserver(watch)
    left = [call for call in reactor.getDelayedCalls() if id(call) not in calls_before]
    assert left == []
    assert failures == []
    assert threading.active_count() < 20


def test_a_reader_stalled_for_ever_does_not_keep_its_socket(start_relay, wire):
    relay = start_relay(
        SLOW_CONSUMER_BUFFER_THRESHOLD=65536,
        MAX_MSGS_PER_10S=1_000_000,
        MAX_BYTES_PER_10S=1_000_000_000,
    )
    room_id, (sender,) = relay.room()
    before = relay.files()
    stalled = relay.connect(receive_buffer=4096)
    stalled.join(room_id, relay.http_token(room_id))
    sender.fence()
    while "SYSTEM_MSG" not in sender.kinds():
        sender.say(room_id, "A" * 60_000)
    wire.poll(lambda: relay.files() <= before, "the stalled reader's socket")
    assert relay.metrics()["active_connections"] == 1


def test_a_process_gives_back_every_file_descriptor(start_relay, wire):
    relay = start_relay(ROOM_EMPTY_GRACE_MS=0)
    relay.connect().leave_cleanly()
    wire.poll(lambda: relay.metrics()["active_connections"] == 0)
    before = relay.files()
    Crowd(wire, relay.port, 99, 150).run()
    wire.poll(lambda: relay.metrics()["active_connections"] == 0)
    wire.poll(lambda: relay.files() <= before + 1, "the process's files")
    metrics = relay.metrics()
    assert (metrics["rooms_active"], metrics["members_active"]) == (0, 0)
    assert relay.err == ""
