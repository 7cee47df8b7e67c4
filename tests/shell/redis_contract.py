"""The contract of room stores, held by the Redis store on a real server.

Time cannot be turned there, it can only be waited for. So all tests of the contract run side by
side, each with a store and names of its own, and take together as long as the longest of them.
"""

from __future__ import annotations

import hashlib
import time
from types import SimpleNamespace
from typing import Any

from store_contract import StoreContract
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from twisted_relay.core.redis_url import parse_redis_url
from twisted_relay.core.settings import RedisSettings, RoomLimits
from twisted_relay.engine.interfaces import Entry, QrToken
from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell.redis_link import RedisLink
from twisted_relay.shell.redis_store import RedisStore

DAY = 86_400_000
ADDRESS_KEY = b"a" * 32

#: A room for a test, its key, and its first member.
ROOM = "room-of-the-test"
KEY = f"tr1:{{{hashlib.sha256(ROOM.encode()).hexdigest()}}}"
FIRST = Entry("member-1", "hold-1", "lease-1")


def newcomer(number: int, lease: str = "lease-1", ttl_ms: int = 60_000, token: str = "") -> Entry:
    return Entry(
        f"member-{number}",
        f"hold-{number}",
        lease,
        token or f"jti-{number}",
        time.time_ns() // 1_000_000 + ttl_ms,
    )


class TestLink(RedisLink):
    """A link of which a test says for how long it was unbroken, and notes what it was asked.

    Attributes:
        unbroken: seconds.
        asked: the keys of each script.
        behind: milliseconds by which its idea of Redis' time is late.
    """

    __test__ = False

    def __init__(self, server: Any, timeout_ms: int = 2000) -> None:
        self.metrics = Metrics(0.0)
        super().__init__(
            reactor,
            parse_redis_url(server.url),
            RedisSettings(server.url, timeout_ms, 5000),
            self.metrics,
        )
        self.unbroken = 3600.0
        self.asked: list[tuple[str, ...]] = []
        self.behind = 0

    @property
    def unbroken_for(self) -> float:
        return self.unbroken

    def server_ms(self) -> int:
        return super().server_ms() - self.behind

    async def script(self, script: Any, keys: Any, args: Any = ()) -> Any:
        self.asked.append(tuple(keys))
        return await super().script(script, keys, args)


async def poll(condition: Any, patience: float = 10.0) -> None:
    """Wait until something is so; the test fails when it never is."""
    ends = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < ends, "it never came to be"
        await deferLater(reactor, 0.01)


async def connected(store: RedisStore) -> RedisStore:
    """The store, started and ready."""
    store.start()
    await poll(lambda: store.status().ready)
    return store


def contents(server: Any) -> dict[bytes, Any]:
    """All that a server holds of rooms, but for when it expires."""
    read: dict[bytes, tuple[str | int, ...]] = {
        b"hash": ("HGETALL",),
        b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
        b"string": ("GET",),
    }
    found = {}
    for key in server.command("KEYS", "*"):
        kind = server.command("TYPE", key)
        # The buckets of creations come and go on their own; others may have expired just now.
        if kind in read and not key.startswith(b"tr1:{a:"):
            command, *rest = read[kind]
            found[key] = server.command(command, key, *rest)
    return found


def room_limits(**over: int) -> RoomLimits:
    """The limits of a deployment, or others."""
    limits = {
        "max_participants": 10,
        "key_ttl_ms": 600_000,
        "empty_grace_ms": 30_000,
        "qr_rotation_ms": 60_000,
        "max_creates_per_ip_per_min": 1000,
    }
    return RoomLimits(**(limits | over))


class Opened:
    """Makes started stores on a server, and stops them."""

    def __init__(self) -> None:
        self._stores: list[RedisStore] = []
        self.links: list[TestLink] = []

    async def store(self, server: Any, timeout_ms: int = 2000, **over: Any) -> RedisStore:
        """One more instance's; its link is the last of `links`."""
        options = {
            name: over.pop(name)
            for name in ("refuse_replays", "limit_creations", "lease_ms", "next_token_ttl_ms")
            if name in over
        }
        self.links.append(TestLink(server, timeout_ms))
        options = {"next_token_ttl_ms": DAY} | options
        store = RedisStore(self.links[-1], room_limits(**over), ADDRESS_KEY, **options)
        self._stores.append(store)
        return await connected(store)

    async def stop(self) -> None:
        for store in self._stores:
            await store.stop()


class ContractOnRedis(StoreContract):
    """One test's stores."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._stores: list[tuple[RedisStore, TestLink]] = []
        self._may_reap = True

    async def make_store(self, limits: Any, lease_ms: int) -> RedisStore:
        link = TestLink(self._server)
        store = RedisStore(link, limits, ADDRESS_KEY, DAY, lease_ms=lease_ms)
        self._stores.append((store, link))
        self.let_reap(self._may_reap)
        return await connected(store)

    async def pass_time(self, seconds: float) -> None:
        await deferLater(reactor, seconds)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def let_reap(self, allowed: bool) -> None:
        self._may_reap = allowed
        for _, link in self._stores:
            link.unbroken = 3600.0 if allowed else 0.0

    async def run(self, test: str) -> None:
        try:
            await getattr(self, test)()
        finally:
            for store, _ in self._stores:
                await store.stop()


class ComparisonOnRedis(ContractOnRedis):
    """For the test that compares answers: there a lease must not lapse between the two answers.

    So time stands still, but for `pass_time`, which makes older what is stored. All times of the
    store are so long that the time that the test really takes is nothing.
    """

    _SCALE = 1000

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self._now_ms = super().now_ms()

    async def make_store(self, limits: Any, lease_ms: int) -> RedisStore:
        times = {
            "key_ttl_ms": limits.key_ttl_ms * self._SCALE,
            "empty_grace_ms": limits.empty_grace_ms * self._SCALE,
        }
        longer = SimpleNamespace(**(vars(limits) | times))
        return await super().make_store(longer, lease_ms * self._SCALE)

    async def pass_time(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)
        for key in contents(self._server):
            self._server.command("EVAL", OLDER, 1, key, round(seconds * 1000) * self._SCALE)

    def now_ms(self) -> int:
        return self._now_ms

    def qr(self, ttl_ms: int = 60_000) -> QrToken:
        return super().qr(ttl_ms * self._SCALE)


#: Lets all leases of a room lapse so many milliseconds earlier.
OLDER = """
    if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return end
    local fields = redis.call('HGETALL', KEYS[1])
    for i = 1, #fields, 2 do
        if string.sub(fields[i], 1, 2) == 'l:' then
            local lapses = string.format('%.0f', fields[i + 1] - ARGV[1])
            redis.call('HSET', KEYS[1], fields[i], lapses)
        end
    end
"""

#: The tests of the contract, by name; one of them compares answers.
CONTRACT = sorted(name for name in dir(StoreContract) if name.startswith("test_"))
COMPARISON = "test_any_steps_are_answered_as_the_embedded_store_answers_them"


async def hold_to_contract(server: Any) -> None:
    """Run the whole contract on this server. Raises an ExceptionGroup of all that failed."""
    side_by_side = [name for name in CONTRACT if name != COMPARISON]
    running = [Deferred.fromCoroutine(ContractOnRedis(server).run(name)) for name in side_by_side]
    outcomes = await DeferredList(running, consumeErrors=True)
    # This one makes everything older that is stored.
    alone = Deferred.fromCoroutine(ComparisonOnRedis(server).run(COMPARISON))
    outcomes += await DeferredList([alone], consumeErrors=True)
    failed = []
    for name, (succeeded, outcome) in zip((*side_by_side, COMPARISON), outcomes, strict=True):
        if not succeeded:
            outcome.value.add_note(f"in {name}")
            failed.append(outcome.value.with_traceback(outcome.getTracebackObject()))
    if failed:
        raise ExceptionGroup("the contract of room stores", failed)
