"""The bus on a real Redis: one order for all, nothing silent when it breaks, and back by itself."""

from __future__ import annotations

import collections
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from real_redis import RealRedis
from redis_watch import Log, parts
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent
from waiting import later, until
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_relay.engine.interfaces import IBus, IBusOwner, StoreUnavailable
from twisted_relay.shell.redis_bus import RedisBus, channel_of

ROOM, OTHER = "A" * 22, "B" * 22


@implementer(IBusOwner)
class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.events: list[str] = []
        self.fault: Exception | None = None

    def heard(self, room_id: str, data: bytes) -> None:
        if self.fault is not None:
            raise self.fault
        self.messages.append((room_id, data))

    def bus_lost(self) -> None:
        self.events.append("lost")

    def bus_restored(self) -> None:
        self.events.append("restored")


@pytest_twisted.async_yield_fixture
async def start_bus() -> AsyncIterator[Callable[..., Any]]:
    """Starts buses, with the arguments of `parts` and an ``owner``; they end with the test."""
    buses: list[Any] = []

    def start(url: str, **options: int) -> Any:
        bus = parts(RedisBus, url, **options)
        bus.owner = Owner()
        bus.attach(bus.owner)
        bus.start()
        buses.append(bus)
        return bus

    yield start
    for bus in buses:
        await bus.stop()
    # Sockets that were parted from are closed in the reactor's next turn.
    await later(0.01)


def test_the_interface() -> None:
    verifyObject(IBus, parts(RedisBus, "redis://127.0.0.1:1"))


def test_a_channel_does_not_tell_the_room() -> None:
    assert channel_of(ROOM).startswith(b"tr1:{")
    assert len(channel_of(ROOM)) == 70
    assert ROOM.encode() not in channel_of(ROOM)
    assert channel_of(ROOM) != channel_of(OTHER)


async def test_all_hear_one_order(any_server: RealRedis, start_bus: Callable[..., Any]) -> None:
    one, two = start_bus(any_server.url), start_bus(any_server.url)
    await until(lambda: one.up and two.up)
    for bus in (one, two):
        await bus.subscribe(ROOM)
    for number in range(1000):
        data = b"%d \x00\r\n\xff$5\r\n" % number
        assert (one, two)[number % 3 % 2].publish(ROOM, data)
        if number % 50 == 0:
            await later(0)
    await until(lambda: len(one.owner.messages) == len(two.owner.messages) == 1000)
    assert one.owner.messages == two.owner.messages
    assert all(room == ROOM for room, _data in one.owner.messages)
    for turn in (0, 1):
        own = [int(data.split()[0]) for _room, data in one.owner.messages]
        own = [number for number in own if number % 3 % 2 == turn]
        assert own == sorted(own)
        assert len(own) == len(set(own)) == (1000 - 333 if turn == 0 else 333)


async def test_messages_of_any_size(redis_server: RealRedis, start_bus: Callable[..., Any]) -> None:
    bus = start_bus(redis_server.url)
    await until(lambda: bus.up)
    await bus.subscribe(ROOM)
    sent = [bytes(range(256)) * (size // 256) for size in (0, 256, 16_384, 65_536, 1_048_576)]
    for data in sent:
        bus.publish(ROOM, data)
    await until(lambda: len(bus.owner.messages) == len(sent))
    assert [data for _room, data in bus.owner.messages] == sent


async def test_subscribed_means_that_it_is_heard(
    redis_server: RealRedis, start_bus: Callable[..., Any]
) -> None:
    bus = start_bus(redis_server.url)
    await until(lambda: bus.up)
    for number in range(20):
        room = f"room-{number}"
        await bus.subscribe(room)
        assert redis_server.command("PUBLISH", channel_of(room), "now") == 1
        await until(lambda n=number: len(bus.owner.messages) == n + 1)
        assert bus.owner.messages[-1] == (room, b"now")


async def test_an_unsubscribed_room_is_not_heard(
    redis_server: RealRedis, start_bus: Callable[..., Any]
) -> None:
    bus = start_bus(redis_server.url)
    await until(lambda: bus.up)
    await bus.subscribe(ROOM)
    await bus.subscribe(OTHER)
    bus.publish(ROOM, b"too late")
    bus.unsubscribe(ROOM)
    bus.publish(ROOM, b"later still")
    bus.publish(OTHER, b"heard")
    await until(lambda: bus.owner.messages)
    bus.publish(ROOM, b"and later")
    bus.publish(OTHER, b"again")
    await until(lambda: len(bus.owner.messages) == 2)
    assert bus.owner.messages == [(OTHER, b"heard"), (OTHER, b"again")]
    await until(lambda: redis_server.command("PUBSUB", "NUMSUB", channel_of(ROOM))[1] == 0)
    bus.unsubscribe(ROOM)
    assert bus.up


async def test_subscribed_anew_hears_nothing_of_before(
    redis_server: RealRedis, start_bus: Callable[..., Any]
) -> None:
    bus, other = start_bus(redis_server.url), start_bus(redis_server.url)
    await until(lambda: bus.up and other.up)
    for number in range(30):
        await bus.subscribe(ROOM)
        other.publish(ROOM, b"before")
        # What is heard while the other bus's message is under way belongs to either time.
        redis_server.command("PING")
        bus.unsubscribe(ROOM)
        anew = Deferred.fromCoroutine(bus.subscribe(ROOM))
        bus.owner.messages.clear()
        # It is heard only once the new subscription is confirmed.
        anew.addCallback(lambda _done: bus.owner.messages.append("confirmed"))
        await anew
        other.publish(ROOM, b"after %d" % number)
        await until(lambda n=number: (ROOM, b"after %d" % n) in bus.owner.messages)
        assert bus.owner.messages[0] == "confirmed"
        bus.unsubscribe(ROOM)


async def test_given_up_before_it_was_confirmed(
    redis_server: RealRedis, start_bus: Callable[..., Any]
) -> None:
    bus = start_bus(redis_server.url)
    await until(lambda: bus.up)
    first = Deferred.fromCoroutine(bus.subscribe(ROOM))
    bus.unsubscribe(ROOM)
    await first
    assert await _receivers(redis_server, 0)
    twice = [Deferred.fromCoroutine(bus.subscribe(ROOM)) for _ in range(2)]
    for one in twice:
        await one
    assert await _receivers(redis_server, 1)
    bus.publish(ROOM, b"once")
    bus.publish(ROOM, b"more")
    await until(lambda: len(bus.owner.messages) >= 2)
    assert bus.owner.messages == [(ROOM, b"once"), (ROOM, b"more")]


async def _receivers(server: RealRedis, count: int) -> bool:
    await until(lambda: server.command("PUBSUB", "NUMSUB", channel_of(ROOM))[1] == count)
    return True


async def test_redis_dies_and_comes_back(
    any_server: RealRedis, start_bus: Callable[..., Any], log: Log
) -> None:
    bus = start_bus(any_server.url)
    await until(lambda: bus.up)
    for outage in (1, 2):
        await bus.subscribe(ROOM)
        any_server.kill()
        await until(lambda: not bus.up)
        assert bus.owner.events == ["restored", "lost"] * outage
        assert bus.publish(ROOM, b"nowhere") is False
        with pytest.raises(StoreUnavailable):
            await bus.subscribe(ROOM)
        bus.unsubscribe(ROOM)
        attempts = bus.metrics.redis_reconnect_attempts
        await until(lambda at=attempts: bus.metrics.redis_reconnect_attempts > at)
        any_server.restart()
        await until(lambda: bus.up)
        assert bus.owner.events == ["restored", "lost"] * outage + ["restored"]
        assert bus.publish(ROOM, b"to nobody")
        await bus.subscribe(ROOM)
        assert bus.publish(ROOM, b"outage %d" % outage)
        await until(lambda o=outage: (ROOM, b"outage %d" % o) in bus.owner.messages)
        await until(lambda o=outage: len(log.lines("redis_bus_back")) == o)
        bus.unsubscribe(ROOM)
    # It went by another connection than the subscription, which may have overtaken it.
    heard = [message for message in bus.owner.messages if message[1] != b"to nobody"]
    assert heard == [(ROOM, b"outage 1"), (ROOM, b"outage 2")]
    assert len(log.lines("redis_bus_lost")) == 2
    log.assert_quiet(ROOM, str(any_server.port))


async def test_redis_hangs(any_server: RealRedis, start_bus: Callable[..., Any], log: Log) -> None:
    bus = start_bus(any_server.url, command_timeout_ms=300)
    await until(lambda: bus.up)
    await bus.subscribe(ROOM)
    any_server.freeze()
    began = time.monotonic()
    pending = Deferred.fromCoroutine(bus.subscribe(OTHER))
    assert bus.publish(ROOM, b"perhaps")
    with pytest.raises(StoreUnavailable):
        await pending
    # It is told first, so that nobody asks a bus that is not there.
    assert not bus.up
    assert bus.owner.events == ["restored", "lost"]
    assert time.monotonic() - began < 2
    attempts = bus.metrics.redis_reconnect_attempts
    await until(lambda: bus.metrics.redis_reconnect_attempts >= attempts + 2)
    any_server.thaw()
    await until(lambda: bus.up)
    assert bus.owner.events == ["restored", "lost", "restored"]
    await bus.subscribe(ROOM)
    bus.publish(ROOM, b"surely")
    await until(lambda: (ROOM, b"surely") in bus.owner.messages)
    assert [line["reason"] for line in log.lines("redis_bus_lost")] == ["timeout"]
    log.assert_quiet()


async def test_a_redis_that_hangs_costs_a_bound_of_memory(
    redis_server: RealRedis, start_bus: Callable[..., Any]
) -> None:
    bus = start_bus(redis_server.url, command_timeout_ms=5000)
    await until(lambda: bus.up)
    redis_server.freeze()
    try:
        published = 0
        while bus.publish(ROOM, b"x" * 1_000_000):
            published += 1
            assert published < 100
        assert published >= 8
        assert not bus.up
        await until(lambda: bus.owner.events == ["restored", "lost"])
    finally:
        redis_server.thaw()


async def test_a_beat_notices_that_redis_hangs(
    redis_server: RealRedis, start_bus: Callable[..., Any]
) -> None:
    bus = start_bus(redis_server.url, command_timeout_ms=300)
    await until(lambda: bus.up)
    redis_server.freeze()
    await until(lambda: bus.owner.events == ["restored", "lost"], 3)
    redis_server.thaw()
    await until(lambda: bus.up)


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
async def test_one_connection_takes_the_other_along(
    redis_server: RealRedis, start_bus: Callable[..., Any], kind: str
) -> None:
    bus = start_bus(redis_server.url)
    await until(lambda: bus.up)
    await bus.subscribe(ROOM)
    before = _clients(redis_server)
    assert len(before) == 2
    assert redis_server.command("CLIENT", "KILL", "TYPE", kind) >= 1
    await until(lambda: len(bus.owner.events) == 3)
    assert bus.owner.events == ["restored", "lost", "restored"]
    await until(lambda: len(_clients(redis_server)) == 2)
    assert not before & _clients(redis_server)
    # No subscription outlives its connection.
    assert redis_server.command("PUBSUB", "NUMSUB", channel_of(ROOM))[1] == 0


def _clients(server: RealRedis) -> set[bytes]:
    """The ids of the server's clients without the one that asks."""
    lines = server.command("CLIENT", "LIST").splitlines()
    return {line.split()[0] for line in lines if b"cmd=client" not in line}


async def test_a_refused_message_is_a_loss(
    redis_server: RealRedis, start_bus: Callable[..., Any], log: Log
) -> None:
    redis_server.command("ACL", "SETUSER", "ann", "on", ">word", "&tr1:*", "+@all", "-role")
    bus = start_bus(f"redis://ann:word@127.0.0.1:{redis_server.port}")
    await until(lambda: bus.up)
    await bus.subscribe(ROOM)
    # A right that is taken away takes effect at the next command.
    redis_server.command("ACL", "SETUSER", "ann", "-publish")
    assert bus.publish(ROOM, b"refused")
    await until(lambda: not bus.up)
    assert bus.owner.events == ["restored", "lost"]
    # It does not come up while it could not publish.
    await until(lambda: bus.metrics.redis_reconnect_attempts >= 3)
    assert bus.owner.events == ["restored", "lost"]
    redis_server.command("ACL", "SETUSER", "ann", "+publish")
    await until(lambda: bus.up)
    assert [line["reason"] for line in log.lines("redis_bus_lost")] == ["noperm"]
    assert bus.owner.messages == []
    log.assert_quiet("ann", "word")


async def test_a_refused_subscription_is_unavailable(
    redis_server: RealRedis, start_bus: Callable[..., Any]
) -> None:
    bus = start_bus(redis_server.url)
    await until(lambda: bus.up)
    redis_server.command("ACL", "SETUSER", "default", "-subscribe")
    with pytest.raises(StoreUnavailable, match="noperm"):
        await bus.subscribe(ROOM)
    assert bus.metrics.redis_errors == 1
    redis_server.command("ACL", "SETUSER", "default", "+subscribe")
    if bus.up:
        await bus.subscribe(ROOM)


async def test_a_server_that_becomes_a_replica_is_left(
    start_redis: Callable[..., RealRedis], start_bus: Callable[..., Any]
) -> None:
    master, server = start_redis(), start_redis()
    bus = start_bus(server.url)
    await until(lambda: bus.up)
    server.command("REPLICAOF", "127.0.0.1", master.port)
    await until(lambda: not bus.up)
    assert bus.owner.events == ["restored", "lost"]
    server.command("REPLICAOF", "NO", "ONE")
    await until(lambda: bus.up)


async def test_a_wrong_password_until_it_is_right(
    start_redis: Callable[..., RealRedis], start_bus: Callable[..., Any]
) -> None:
    server = start_redis(password="right-word")
    bus = start_bus(server.url.replace("right-word", "wrong-word"))
    await until(lambda: bus.metrics.redis_reconnect_attempts >= 2)
    assert bus.owner.events == []
    server.command("CONFIG", "SET", "requirepass", "wrong-word")
    await until(lambda: bus.up)


async def test_a_failing_owner_loses_the_bus_and_not_a_message(
    redis_server: RealRedis, start_bus: Callable[..., Any], no_unseen_failures: list[LogEvent]
) -> None:
    bus = start_bus(redis_server.url)
    await until(lambda: bus.up)
    await bus.subscribe(ROOM)
    bus.owner.fault = ValueError("a bug")
    bus.publish(ROOM, b"unheard")
    await until(lambda: "lost" in bus.owner.events)
    bus.owner.fault = None
    await until(lambda: bus.up)
    assert [event["log_failure"].type for event in no_unseen_failures] == [ValueError]
    no_unseen_failures.clear()


async def test_a_stop_says_everything_and_tells_nobody(
    redis_server: RealRedis, start_bus: Callable[..., Any]
) -> None:
    bus, other = start_bus(redis_server.url), start_bus(redis_server.url)
    await until(lambda: bus.up and other.up)
    for one in (bus, other):
        await one.subscribe(ROOM)
    for number in range(100):
        bus.publish(ROOM, b"%d" % number * 10_000)
    await bus.stop()
    await until(lambda: len(other.owner.messages) == 100)
    assert not bus.up
    assert bus.publish(ROOM, b"more") is False
    assert bus.owner.events == ["restored"]
    heard = len(bus.owner.messages)
    other.publish(ROOM, b"and more")
    await until(lambda: len(other.owner.messages) == 101)
    assert len(bus.owner.messages) == heard
    await until(lambda: len(_clients(redis_server)) == 2)
    assert bus.metrics.redis_connects == 2


async def test_a_stop_does_not_wait_for_a_redis_that_hangs(
    redis_server: RealRedis, start_bus: Callable[..., Any]
) -> None:
    bus = start_bus(redis_server.url, command_timeout_ms=200)
    await until(lambda: bus.up)
    redis_server.freeze()
    began = time.monotonic()
    await bus.stop()
    assert time.monotonic() - began < 1
    assert not bus.up


class Follower(Owner):
    """Subscribes whenever it may; notes for each message in which of its own times it came."""

    def __init__(self, bus: Any) -> None:
        super().__init__()
        self.bus = bus
        self.times = 0
        self.by_time: dict[tuple[int, bytes], list[int]] = collections.defaultdict(list)

    def heard(self, room_id: str, data: bytes) -> None:
        epoch, number = data.split()
        self.by_time[self.times, epoch].append(int(number))

    def bus_restored(self) -> None:
        self.times += 1
        subscribed = Deferred.fromCoroutine(self.bus.subscribe(ROOM))
        subscribed.addErrback(lambda failure: failure.trap(StoreUnavailable))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_hole_is_silent(
    redis_server: RealRedis, start_bus: Callable[..., Any], seed: int
) -> None:
    chance = random.Random(seed)
    speaker = start_bus(redis_server.url, command_timeout_ms=250)
    listener = start_bus(redis_server.url, command_timeout_ms=250)
    follower = listener.owner = Follower(listener)
    listener.attach(follower)
    said = 0

    async def speak(seconds: float) -> None:
        nonlocal said
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for _ in range(chance.randrange(20)):
                epoch = len(speaker.owner.events)
                said += speaker.publish(ROOM, b"%d %d" % (epoch, said))
            await later(0.002)

    for _ in range(20):
        await speak(chance.uniform(0.05, 0.4))
        trouble = chance.randrange(4)
        if trouble == 0:
            redis_server.freeze()
            await speak(chance.uniform(0.05, 0.6))
            redis_server.thaw()
        elif trouble == 1:
            redis_server.kill()
            await speak(chance.uniform(0, 0.2))
            redis_server.restart()
        else:
            redis_server.command("CLIENT", "KILL", "TYPE", ("normal", "pubsub")[trouble % 2])
    await until(lambda: speaker.up and listener.up)
    await speak(0.3)
    # Within one time of the speaker's bus and one of the listener's, each message is there, once.
    assert len(follower.by_time) > 2
    for numbers in follower.by_time.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert follower.events.count("lost") > 3
