"""The whole relay in this process, on a real Redis: its start without one, and its end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from real_redis import RealRedis
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from waiting import PATIENCE, until

from twisted_relay.core.settings import load_settings
from twisted_relay.engine.interfaces import Entry, QrToken, Registration
from twisted_relay.shell.service import RelayService


def ask(port: int, path: str) -> tuple[int, Any]:
    """One HTTP call, blocking: for a thread."""
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


class Running:
    """A relay, and what it logged."""

    def __init__(self, url: str) -> None:
        self.events: list[dict[str, Any]] = []
        env = {
            "HOST": "127.0.0.1",
            "PORT": "0",
            "REDIS_URL": url,
            "REDIS_COMMAND_TIMEOUT_MS": "500",
        }
        secret = "a-secret-made-up-for-these-tests-0001"
        self.service = RelayService(load_settings(env | {"JOIN_TOKEN_SECRET": secret}))

    def watch(self, event: dict[str, Any]) -> None:
        if event.get("log_namespace", "").startswith("twisted_relay"):
            self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.events if "event" in event]

    @property
    def ready(self) -> bool:
        return self.service.backing.status().ready

    async def get(self, path: str) -> tuple[int, Any]:
        assert self.service.port is not None
        return await deferToThread(ask, self.service.port.getHost().port, path)


@pytest_twisted.async_yield_fixture
async def start() -> AsyncIterator[Callable[[str], Running]]:
    started: list[Running] = []
    calls = len(reactor.getDelayedCalls())

    def make(url: str) -> Running:
        running = Running(url)
        globalLogPublisher.addObserver(running.watch)
        running.service.startService()
        started.append(running)
        return running

    yield make
    for running in started:
        if running.service.running:
            await running.service.stopService()
        globalLogPublisher.removeObserver(running.watch)
    await until(lambda: len(reactor.getDelayedCalls()) <= calls)


Start = Callable[[str], Running]


@pytest_twisted.ensureDeferred
async def test_without_its_redis_the_relay_starts_and_is_not_ready(
    start: Start, redis_server: RealRedis
) -> None:
    redis_server.kill()
    running = start(redis_server.url)
    assert (await running.get("/live"))[0] == 200
    status, body = await running.get("/ready")
    assert (status, body["checks"]) == (503, {"redis": False, "configLoaded": True})
    assert (await running.get("/health"))[0] == 503
    await until(lambda: "redis_bus_lost" in running.names and "redis_lost" in running.names)
    redis_server.restart()
    await until(lambda: running.ready)
    assert (await running.get("/ready"))[0] == 200
    status, body = await running.get("/health")
    check = body["checks"]["redis"]
    assert (status, check["status"], check["observedUnit"]) == (200, "pass", "ms")
    assert check["observedValue"] > 0
    assert "listening" in running.names


@pytest_twisted.ensureDeferred
async def test_no_probe_waits_for_a_redis_that_hangs(start: Start, redis_server: RealRedis) -> None:
    running = start(redis_server.url)
    await until(lambda: running.ready)
    redis_server.freeze()
    try:
        await until(lambda: not running.ready)
        for path, expected in (("/live", 200), ("/ready", 503), ("/health", 503)):
            asked = reactor.seconds()
            assert (await running.get(path))[0] == expected
            assert reactor.seconds() - asked < 0.4, "less than a command may take"
        assert running.service.metrics.redis_ready == 0
    finally:
        redis_server.thaw()
    await until(lambda: running.ready)


@pytest_twisted.ensureDeferred
async def test_it_drains_then_hears_nobody_then_parts_from_redis(
    start: Start, redis_server: RealRedis
) -> None:
    running = start(redis_server.url)
    await until(lambda: running.ready)
    service, order = running.service, []

    def note(owner: Any, name: str, label: str) -> None:
        former = getattr(owner, name)

        def noting(*args: Any) -> Awaitable[Any]:
            order.append(label)
            return former(*args)

        setattr(owner, name, noting)

    note(service.relay, "drain", "drain")
    note(service.port, "stopListening", "port")
    note(service.relay, "stop", "relay")
    note(service.backing.bus, "stop", "bus")
    note(service.store, "stop", "store")
    await service.stopService()
    assert order == ["drain", "port", "relay", "bus", "store"]
    await until(lambda: b"clients:1\r" in redis_server.command("INFO", "clients"))
    assert running.names[-1] == "stopped"


@pytest_twisted.ensureDeferred
async def test_it_ends_while_it_tries_to_reach_redis(start: Start, redis_server: RealRedis) -> None:
    redis_server.freeze()
    running = start(redis_server.url)
    await running.service.stopService()
    assert running.names[-1] == "stopped"
    assert {event["log_level"].name for event in running.events} <= {"info", "warn"}


def documented_user() -> list[str]:
    """The ACL line of the documentation, without its password."""
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text(encoding="utf-8")
    [line] = [line for line in page.splitlines() if line.startswith("user relay on ")]
    return [rule for rule in line.split()[2:] if rule != ">PASSWORD"]


@pytest_twisted.ensureDeferred
async def test_the_documented_acl_is_enough(start: Start, redis_server: RealRedis) -> None:
    redis_server.command("ACL", "SETUSER", "relay", ">open-sesame", *documented_user())
    running = start(f"redis://relay:open-sesame@127.0.0.1:{redis_server.port}/1")
    await until(lambda: running.ready)
    store, room = running.service.store, "r" * 22
    later = running.service.relay._environment.now_ms() + 60_000
    await store.create(room, "192.0.2.1", Entry("ada", "h1", "l1"), QrToken("q1", later))
    await store.join(room, Entry("ben", "h2", "l1", "q1", later))
    await store.rotate_qr(room, QrToken("q2", later), "q1")
    members = (Entry("ada", "h1", "l2", generation=1), Entry("ben", "h2", "l2", generation=1))
    await store.register(room, Registration("l2", "l1", members, 5, spent=(("q1", later),)))
    assert (await store.renew(room, "l2")).participants == 2
    assert await store.exists(room)
    await store.leave(room, "ben", "h2", False)
    await store.join(room, Entry("ben", "h3", "l2", generation=2))
    await store.leave(room, "ada", "h1", True)
    await running.service.backing.bus.subscribe(room)
    assert running.service.backing.bus.publish(room, b"not sealed")
    running.service.backing.bus.unsubscribe(room)
    assert running.service.metrics.redis_errors == 0
    denied = redis_server.command("ACL", "LOG")
    assert denied == []
