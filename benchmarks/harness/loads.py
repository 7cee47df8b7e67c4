"""What is asked of the servers, and of which of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Mode = Literal["closed", "rate", "join", "idle"]

OURS, FASTIFY, SOCKETIO, FLOOR, CORKED = "ours", "fastify", "socketio", "floor", "floor-corked"
ALL = (OURS, FASTIFY, SOCKETIO, FLOOR, CORKED)


@dataclass(frozen=True, slots=True)
class Load:
    """One load.

    Attributes:
        rooms, members: how many rooms there are, and how many members each has.
        size: bytes in a message before base64.
        outstanding: messages under way in each room (closed loop).
        rate: deliveries a second (fixed rate).
        warm, seconds: before and in the measurement.
        redis: whether a Redis server is there, for servers that use one.
        instances, split: processes of the server, and whether each room is on all of them.
    """

    key: str
    title: str
    mode: Mode
    rooms: int
    members: int
    servers: tuple[str, ...]
    size: int = 256
    outstanding: int = 1
    rate: int = 0
    warm: float = 2.0
    seconds: float = 4.0
    redis: bool = False
    instances: int = 1
    split: bool = False
    tls: bool = False

    @property
    def nominal_seconds(self) -> float:
        """About how long a run takes, for the progress bar."""
        connecting = self.rooms * self.members / 1500
        measured = 0.0 if self.mode == "join" else self.warm + self.seconds
        return 0.4 + self.instances * 0.5 + connecting + measured


def _closed(members: int, size: int, outstanding: int, servers: tuple[str, ...] = ALL) -> Load:
    shown = f"{size // 1024} KB" if size >= 1024 else f"{size} B"
    return Load(
        key=f"r{members}-{size}-w{outstanding}",
        title=f"R={members}, {shown}, W={outstanding}",
        mode="closed",
        rooms=1000 // members,
        members=members,
        servers=servers,
        size=size,
        outstanding=outstanding,
    )


RATE = Load("rate", "20,000 deliveries/s", "rate", 100, 10, ALL, rate=20_000, warm=5.0, seconds=8.0)
JOIN = Load("join", "connect and join", "join", 500, 10, (OURS, FASTIFY, SOCKETIO), redis=True)
IDLE = Load(
    "idle", "10,000 idle connections", "idle", 1000, 10, (OURS, FASTIFY, SOCKETIO, FLOOR),
    warm=0.0, seconds=3.0,
)  # fmt: skip
TWO_LOCAL = replace(
    RATE, key="two-local", title="two instances, each room on one", servers=(OURS,), redis=True,
    instances=2,
)  # fmt: skip
TWO_SPLIT = replace(
    TWO_LOCAL, key="two-split", title="two instances, each room on both", split=True
)

FULL = (
    _closed(10, 256, 1),
    _closed(10, 256, 4),
    _closed(10, 4096, 1),
    _closed(10, 4096, 4),
    _closed(2, 256, 4),
    _closed(50, 256, 8),
    RATE,
    JOIN,
    IDLE,
    TWO_LOCAL,
    TWO_SPLIT,
)

TLS = tuple(
    replace(load, key=f"{load.key}-tls", title=f"{load.title}, wss", tls=True)
    for load in (
        _closed(10, 256, 1, (OURS, FASTIFY, SOCKETIO)),
        _closed(10, 256, 4, (OURS, FASTIFY, SOCKETIO)),
    )
)
"""Asked for with --tls; the floor has no TLS."""


def _brief(load: Load) -> Load:
    return replace(load, warm=1.0, seconds=2.0)


QUICK = (
    _brief(_closed(10, 256, 1)),
    _brief(_closed(10, 256, 4)),
    _brief(_closed(10, 4096, 4, (OURS, FASTIFY, CORKED))),
    _brief(_closed(50, 256, 8, (OURS, FASTIFY, CORKED))),
    replace(RATE, servers=(OURS, FASTIFY, FLOOR), warm=2.0, seconds=4.0),
    replace(JOIN, rooms=100, servers=(OURS, FASTIFY)),
)
