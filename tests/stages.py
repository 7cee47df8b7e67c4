"""Relays for the runbook's commands: one that is well, and one in the trouble of each chapter."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from real_redis import RealRedis

from tests.commands import ROOT, Command, run
from tests.system.conftest import Closed, Refused, RelayProcess, poll

#: The pages' figures: a limit that memory is measured against, a name.
_NAMED = {"INSTANCE_ID": "relay-1", "MEMORY_LIMIT_MB": "512", "LOG_HEALTH_CHECK_FAILURES": "false"}


class Stage:
    """A running relay, its Redis, and the folder that an operator is in."""

    def __init__(self, folder: Path, **settings: object) -> None:
        folder.mkdir()
        self.folder = folder
        self.redis = RealRedis(config={"maxmemory": "256mb", "maxmemory-policy": "noeviction"})
        for name in ("etc", "compose.yaml"):
            (folder / name).symlink_to(ROOT / name)
        shared = {"JOIN_TOKEN_SECRET": secrets.token_urlsafe(48), "REDIS_URL": self.redis.url}
        (folder / ".env").write_text("".join(f"{k}={v}\n" for k, v in shared.items()))
        (folder / ".env").chmod(0o600)
        try:
            self.relay = RelayProcess(folder, **_NAMED | shared | settings)
        except BaseException:
            self.redis.stop()
            raise

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


@dataclasses.dataclass
class Scene:
    """What a relay is started with, and what then happens to it."""

    play: Callable[[Stage], None]
    settings: dict[str, object] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def on(scene: Scene, folder: Path) -> Iterator[Stage]:
    """A stage on which the scene has been played."""
    stage = Stage(folder, **scene.settings)
    try:
        poll(lambda: stage.relay.ready, "ready")
        scene.play(stage)
        yield stage
    finally:
        stage.stop()


def _well(stage: Stage) -> None:
    """Two people in a room who talk, one who has gone, and one who is lost."""
    room_id, members = stage.relay.room(2)
    for member in members:
        member.say(room_id)
        member.fence()
    stage.relay.connect().leave_cleanly()
    stage.relay.connect().abort()
    poll(lambda: stage.figure("ws_disconnections") == 2, "the end of two connections")
    poll(lambda: stage.figure("redis_latency_seconds_count") >= 1, "a ping")
    poll(lambda: stage.figure("event_loop_lag_seconds_count") >= 1, "a look at the clock")


def _rejections(stage: Stage) -> None:
    """More connections from one address than it may have."""
    for _ in range(2):
        stage.relay.connect()
    for _ in range(3):
        with pytest.raises(Refused):
            stage.relay.connect()


def _redis_gone(stage: Stage) -> None:
    """Redis has been killed."""
    stage.redis.kill()
    poll(lambda: not stage.relay.ready, "the outage")
    poll(lambda: stage.figure("redis_reconnect_attempts") >= 1, "an attempt to reconnect")


def _nothing(stage: Stage) -> None:
    """The settings are enough."""


def _drops(stage: Stage) -> None:
    """One who does not read, one who says too much, one who does not answer pings."""
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


def _slow(stage: Stage) -> None:
    """The loop has stood still for a while."""
    poll(lambda: stage.figure("event_loop_lag_seconds_count") >= 1, "a look at the clock")
    before = stage.figure("event_loop_lag_seconds_count")
    stage.relay.freeze()
    # Only a clock that goes on can make the next look late.
    time.sleep(1.2)
    stage.relay.thaw()
    poll(lambda: stage.figure("event_loop_lag_seconds_count") > before, "a late look")


def _stopped(stage: Stage) -> None:
    """Nobody listens any more."""
    stage.relay.stop()


#: Nobody here answers pings.
WELL = Scene(_well, {"WS_PING_INTERVAL_MS": 3_600_000})
#: What each chapter of the runbook is about.
TROUBLE = {
    "High connection rejections": Scene(_rejections, {"MAX_CONNS_PER_IP": 2}),
    "Redis connection failures": Scene(_redis_gone, {"REDIS_COMMAND_TIMEOUT_MS": 300}),
    # Any Python process is above that.
    "High memory": Scene(_nothing, {"MEMORY_LIMIT_MB": 16}),
    "Connection drops": Scene(
        _drops,
        {
            "SLOW_CONSUMER_BUFFER_THRESHOLD": 65536,
            "WS_PING_INTERVAL_MS": 1500,
            "WS_PING_TIMEOUT_MS": 1000,
            "MAX_MSGS_PER_10S": 1000,
            "MAX_BYTES_PER_10S": 1_000_000_000,
        },
    ),
    "Slow performance": Scene(_slow),
}
#: Chapters whose commands are for such a state alone.
ONLY = {"Emergency shutdown": Scene(_stopped)}
