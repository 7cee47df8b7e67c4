"""Relays for the runbook's commands: one that is well, and one in the trouble of each chapter."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from real_redis import RealRedis

from tests.commands import ROOT, Command, run
from tests.system.conftest import Closed, Refused, RelayProcess, poll

#: The pages' figures: a limit that memory is measured against, a name.
_NAMED = {"INSTANCE_ID": "relay-1", "MEMORY_LIMIT_MB": "512", "LOG_HEALTH_CHECK_FAILURES": "false"}


class Stage:
    """A running relay, its Redis, and the folder that an operator is in."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.redis = RealRedis(config={"maxmemory": "256mb", "maxmemory-policy": "noeviction"})
        folder.mkdir()
        self.folder = folder
        for name in ("etc", "compose.yaml"):
            (folder / name).symlink_to(ROOT / name)
        shared = {"JOIN_TOKEN_SECRET": secrets.token_urlsafe(48), "REDIS_URL": self.redis.url}
        (folder / ".env").write_text("".join(f"{k}={v}\n" for k, v in shared.items()))
        (folder / ".env").chmod(0o600)
        self.relay = RelayProcess(folder, **_NAMED | shared | settings)
        poll(lambda: self.relay.ready, "ready")

    def paste(self, command: Command, kind: str = "text") -> None:
        """Run a command here, and compare what it prints."""
        run(command, self.folder, {"3001": self.relay.port, "6379": self.redis.port}, kind)

    def figure(self, name: str) -> float:
        """A sample of /metrics."""
        return self.relay.metrics()[name]

    def stop(self) -> None:
        """End the relay and Redis."""
        self.relay.stop()
        self.redis.stop()


def well(folder: Path) -> Stage:
    """Two people in a room who talk, one who has gone, and one who is lost."""
    # Nobody here answers pings.
    stage = Stage(folder, WS_PING_INTERVAL_MS=3_600_000)
    room_id, members = stage.relay.room(2)
    for member in members:
        member.say(room_id)
        member.fence()
    stage.relay.connect().leave_cleanly()
    stage.relay.connect().abort()
    poll(lambda: stage.figure("ws_disconnections") == 2, "the end of two connections")
    # A ping of Redis' has been measured, and the loop's first look at the clock is over.
    poll(lambda: stage.figure("redis_latency_seconds_count") >= 1, "a ping")
    poll(lambda: stage.figure("event_loop_lag_seconds_count") >= 1, "a look at the clock")
    return stage


def rejections(folder: Path) -> Stage:
    """More connections from one address than it may have."""
    stage = Stage(folder, MAX_CONNS_PER_IP=2)
    refused = 0
    for _ in range(5):
        try:
            stage.relay.connect()
        except Refused:
            refused += 1
    assert refused == 3
    return stage


def redis_gone(folder: Path) -> Stage:
    """Redis has been killed."""
    stage = Stage(folder, REDIS_COMMAND_TIMEOUT_MS=300)
    stage.redis.kill()
    poll(lambda: not stage.relay.ready, "the outage")
    poll(lambda: stage.figure("redis_reconnect_attempts") >= 1, "an attempt to reconnect")
    return stage


def memory_short(folder: Path) -> Stage:
    """A limit that any Python process is above."""
    return Stage(folder, MEMORY_LIMIT_MB=16)


def drops(folder: Path) -> Stage:
    """One who does not read, one who says too much, one who does not answer pings."""
    stage = Stage(
        folder,
        SLOW_CONSUMER_BUFFER_THRESHOLD=65536,
        WS_PING_INTERVAL_MS=1500,
        WS_PING_TIMEOUT_MS=1000,
        MAX_MSGS_PER_10S=1000,
        MAX_BYTES_PER_10S=1_000_000_000,
    )
    stage.relay.connect()  # and never reads again
    flooder = stage.relay.connect()
    with contextlib.suppress(OSError):
        flooder.send_together(*[flooder.envelope("PING", {}) for _ in range(2000)])

    def ended(reason: str) -> bool:
        return stage.figure(f'ws_disconnect_reasons_total{{reason="{reason}"}}') >= 1

    def overwhelmed() -> bool:
        # On a busy machine even the one who talks may be late with an answer: then, once more.
        with contextlib.suppress(Closed, OSError):
            talker = stage.relay.connect()
            room_id = talker.create()["roomId"]
            stalled = stage.relay.connect(receive_buffer=4096)
            stalled.join(room_id, stage.relay.http_token(room_id))
            for count in range(1, 201):
                talker.say(room_id, "A" * 60_000)
                talker.fence()
                if count % 20 == 0 and ended("slow_consumer"):
                    break
        return ended("slow_consumer")

    poll(overwhelmed, "slow_consumer")
    for reason in ("rate_limit", "ping_timeout"):
        poll(lambda reason=reason: ended(reason), reason)
    return stage


def slow(folder: Path) -> Stage:
    """The loop has stood still for a while."""
    stage = Stage(folder)
    poll(lambda: stage.figure("event_loop_lag_seconds_count") >= 1, "a look at the clock")
    before = stage.figure("event_loop_lag_seconds_count")
    stage.relay.freeze()
    # Only a clock that goes on can make the next look late.
    time.sleep(1.2)
    stage.relay.thaw()
    poll(lambda: stage.figure("event_loop_lag_seconds_count") > before, "a late look")
    return stage


def stopped(folder: Path) -> Stage:
    """Nobody listens any more."""
    stage = Stage(folder)
    stage.relay.stop()
    return stage


#: What each chapter of the runbook is about.
TROUBLE: dict[str, Callable[[Path], Stage]] = {
    "High connection rejections": rejections,
    "Redis connection failures": redis_gone,
    "High memory": memory_short,
    "Connection drops": drops,
    "Slow performance": slow,
}
#: Chapters whose commands are for such a state alone.
ONLY: dict[str, Callable[[Path], Stage]] = {"Emergency shutdown": stopped}


@contextlib.contextmanager
def on(make: Callable[[Path], Stage], folder: Path) -> Iterator[Stage]:
    """A stage for a while."""
    stage = make(folder)
    try:
        yield stage
    finally:
        stage.stop()
