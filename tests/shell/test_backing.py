"""What the settings put behind the rooms, when it is ready, and in which order it ends."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.testing import MemoryReactorClock as Clock
from zope.interface.verify import verifyObject

from twisted_relay.core.keys import bus_keys
from twisted_relay.core.settings import load_settings
from twisted_relay.engine.interfaces import IBus, IRoomStore, StoreStatus
from twisted_relay.engine.memory_store import MemoryStore
from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell.backing import Backing, make_backing
from twisted_relay.shell.redis_bus import RedisBus
from twisted_relay.shell.redis_store import RedisStore

SECRET = "a-secret-made-up-for-these-tests-0001"
FORMER = "a-secret-made-up-for-these-tests-0002"
REDIS = {
    "REDIS_URL": "redis://:hunter2@127.0.0.1:1/0",
    "JOIN_TOKEN_SECRET": SECRET,
    "JOIN_TOKEN_SECRETS_OLD": FORMER,
}


def backing_of(clock: Clock, **env: str) -> Backing:
    return make_backing(load_settings(env).settings, clock, lambda: 0, Metrics(0.0))


class Part:
    """A store or a bus that notes what is asked of it."""

    def __init__(self, name: str, asked: list[str]) -> None:
        self.name, self.asked, self.up = name, asked, True
        self.found = StoreStatus("redis", True, 0.5, "Redis answers")

    def status(self) -> StoreStatus:
        return self.found

    def start(self) -> None:
        self.asked.append(f"start {self.name}")

    async def stop(self) -> None:
        self.asked.append(f"stop {self.name}")


@pytest.fixture
def parts() -> tuple[Any, Any, Backing]:
    asked: list[str] = []
    store, bus = Part("store", asked), Part("bus", asked)
    return store, bus, Backing(store, bus, (b"k" * 32,))  # type: ignore[arg-type]


def test_without_redis_the_rooms_are_in_this_process() -> None:
    backing = backing_of(Clock())
    assert isinstance(backing.store, MemoryStore)
    assert (backing.bus, backing.bus_keys) == (None, ())
    assert backing.status().ready


def test_with_redis_there_is_a_bus_with_keys_of_its_own() -> None:
    backing = backing_of(Clock(), **REDIS)
    assert isinstance(backing.store, RedisStore)
    assert isinstance(backing.bus, RedisBus)
    assert verifyObject(IRoomStore, backing.store)
    assert verifyObject(IBus, backing.bus)
    assert backing.bus_keys == bus_keys(SECRET.encode(), (FORMER.encode(),))
    assert not {SECRET.encode(), FORMER.encode()} & set(backing.bus_keys)


def test_nothing_is_connected_before_the_start_and_no_key_is_in_the_repr() -> None:
    clock = Clock()
    backing = backing_of(clock, **REDIS)
    assert clock.getDelayedCalls() == []
    assert clock.tcpClients == []
    status = backing.status()
    assert (status.kind, status.ready) == ("redis", False)
    assert repr(backing.bus_keys[0]) not in repr(backing)


def test_redis_without_a_secret_is_refused_here_too() -> None:
    settings = load_settings(REDIS).settings
    settings = attrs.evolve(settings, tokens=attrs.evolve(settings.tokens, secret=None))
    with pytest.raises(ValueError, match="JOIN_TOKEN_SECRET"):
        make_backing(settings, Clock(), lambda: 0, Metrics(0.0))


def test_rooms_are_to_be_had_only_with_store_and_bus(parts: tuple[Any, Any, Backing]) -> None:
    store, bus, backing = parts
    assert backing.status() is store.found
    bus.up = False
    status = backing.status()
    assert (status.kind, status.ready, status.latency_ms) == ("redis", False, 0.5)
    assert status.message == "Redis answers, and the bus between instances is not connected"
    store.found = StoreStatus("redis", False, None, "Redis is not there: refused")
    assert backing.status() is store.found


@pytest_twisted.ensureDeferred
async def test_the_bus_ends_before_the_store(parts: tuple[Any, Any, Backing]) -> None:
    store, _bus, backing = parts
    backing.start()
    await backing.stop()
    assert store.asked == ["start store", "start bus", "stop bus", "stop store"]
