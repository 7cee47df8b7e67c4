"""What the Redis store leaves in Redis: for how long, where, and what can be read in it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import re
import time
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest
from real_redis import RealRedis, server_binaries
from redis_contract import COMPARISON, ComparisonOnRedis, contents, poll

from twisted_relay.core.errors import RelayError
from twisted_relay.engine.interfaces import Entry, QrToken, Registration
from twisted_relay.shell.redis_store import RedisStore

ROOM, ADDRESS = "room-id-that-opens-it", "203.0.113.77"
KEY = f"tr1:{{{hashlib.sha256(ROOM.encode()).hexdigest()}}}"
#: The keys that would never expire, and those that would not within a day.
UNENDING = """
    local found = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local left = redis.call('PTTL', key)
        if left < 0 or left > 86400000 then found[#found + 1] = key end
    end
    return found
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def one_of_each(store: RedisStore) -> None:
    """Every step that leaves something behind, and every key that there is."""
    qr = QrToken("qr-id", now_ms() + 60_000)
    await store.create(ROOM, ADDRESS, Entry("member-1", "hold-1", "lease-1", label_number=7), qr)
    await store.join(ROOM, Entry("member-2", "hold-2", "lease-2", "qr-id", qr.expires_ms))
    await store.join(ROOM, Entry("member-2", "hold-3", "lease-2", generation=4))
    await store.leave(ROOM, "member-2", "hold-3", False)
    await store.rotate_qr(ROOM, QrToken("qr-2", now_ms() + 60_000), "")
    await store.renew(ROOM, "lease-1")
    members = (Entry("member-1", "hold-1", "lease-1"), Entry("member-3", "hold-4", "lease-1"))
    spent = (("spent-elsewhere", now_ms() + 60_000),)
    await store.register(ROOM, Registration("lease-3", "lease-1", members, 9, spent=spent))
    assert await store.exists(ROOM)


class Crowd:
    """Steps at random on a few rooms, by which all of them are made, emptied, lapsed and lost."""

    def __init__(self, store: RedisStore, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)
        self._serial = 0

    def _entry(self, **over: Any) -> Entry:
        self._serial += 1
        choose = self._random.randrange
        return Entry(f"m{choose(6)}", f"h{choose(3)}", f"l{choose(3)}", **over)

    async def step(self) -> None:
        store, choose, room = (
            self._store,
            self._random.randrange,
            f"room-{self._random.randrange(4)}",
        )
        token = {"token_id": f"t{self._serial}", "token_expires_ms": now_ms() + choose(-5000, 2000)}
        entry = self._entry()
        steps: list[Callable[[], Any]] = [
            lambda: store.create(room, f"a{choose(3)}", entry if choose(2) else None, None),
            *[lambda: store.join(room, self._entry(**token))] * 3,
            *[lambda: store.join(room, self._entry(generation=choose(5)))] * 3,
            *[lambda: store.leave(room, entry.member_id, entry.hold, choose(3) == 0)] * 6,
            lambda: store.renew(room, entry.lease),
            lambda: store.exists(room),
            lambda: store.rotate_qr(room, QrToken("q", now_ms() + 1000), ""),
            lambda: store.register(
                room,
                Registration(
                    f"l{choose(3)}",
                    f"l{choose(3)}",
                    tuple(self._entry(generation=choose(5)) for _ in range(choose(3))),
                    choose(50),
                    spent=(("s", now_ms() + choose(-6000, 2000)),) * choose(2),
                ),
            ),
        ]
        with contextlib.suppress(RelayError):
            await self._random.choice(steps)()


@pytest.mark.parametrize("seed", range(4))
async def test_every_key_has_a_time_to_live_at_every_instant(
    redis_server: RealRedis, redis_stores: Any, seed: int
) -> None:
    # Each step is atomic: the instants are those between two of them.
    store = await redis_stores.store(
        redis_server, lease_ms=40, empty_grace_ms=(0, 30)[seed % 2], max_participants=4
    )
    crowd, seen = Crowd(store, seed), set()
    for step in range(400):
        if step % 50 == 49:
            lost = redis_server.command("RANDOMKEY")
            redis_server.command("DEL", lost or "none")
        await crowd.step()
        assert redis_server.command("EVAL", UNENDING, 0) == []
        seen |= {key.partition(b"}")[2] for key in redis_server.command("KEYS", "*")}
    assert seen == {b"", b":spent", b":gen"}


async def test_a_mark_lives_until_its_token_cannot_be_used(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    await store.create(ROOM, ADDRESS, None, None)
    now = now_ms()
    for number, expires in enumerate((now - 4_500, now + 90_000, now + 20_000)):
        await store.join(ROOM, Entry(f"m{number}", "h", "l", f"t{number}", expires))
    assert 94_000 < redis_server.command("PTTL", f"{KEY}:spent") <= 95_000
    await poll(lambda: now_ms() > now + 600)
    await store.join(ROOM, Entry("m", "h", "l", "t", now + 1000))
    marks = redis_server.command("ZRANGE", f"{KEY}:spent", 0, -1)
    assert marks == [b"t", b"t2", b"t1"]


async def test_marks_outlive_the_room_and_generations_do_not(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    await one_of_each(store)
    assert len(contents(redis_server)) == 3
    await store.leave(ROOM, "member-1", "hold-1", True)
    await store.leave(ROOM, "member-3", "hold-4", True)
    assert set(contents(redis_server)) == {f"{KEY}:spent".encode()}


async def test_generations_live_as_long_as_a_token_that_could_be_stale(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server, next_token_ttl_ms=50_000, key_ttl_ms=90_000)
    await one_of_each(store)
    assert 49_000 < redis_server.command("PTTL", f"{KEY}:gen") <= 50_000
    assert 89_000 < redis_server.command("PTTL", KEY) <= 90_000
    # Nobody comes back into a room that is gone.
    await store.leave(ROOM, "member-1", "hold-1", False)
    await store.leave(ROOM, "member-3", "hold-4", False)
    for key in (KEY, f"{KEY}:gen"):
        assert 29_000 < redis_server.command("PTTL", key) <= 30_000
    await store.join(ROOM, Entry("member-1", "hold-5", "lease-5", generation=1))
    assert 49_000 < redis_server.command("PTTL", f"{KEY}:gen") <= 50_000


async def test_of_too_many_members_who_are_away_the_oldest_are_forgotten(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    await store.create(ROOM, ADDRESS, Entry("member-1", "hold-1", "lease-1"), None)
    away = [part for age in range(4096) for part in (f"away-{age}", f"3|{age}")]
    redis_server.command("HSET", f"{KEY}:gen", *away)
    await store.join(ROOM, Entry("member-2", "hold-2", "lease-1", generation=3))
    await store.leave(ROOM, "member-2", "hold-2", False)
    remembered = redis_server.command("HKEYS", f"{KEY}:gen")
    assert 3500 < len(remembered) <= 4096
    assert {b"member-2", b"away-4095", b"away-1000"} <= set(remembered)
    assert b"away-0" not in remembered


async def test_a_member_who_never_used_a_token_to_come_back_leaves_nothing_behind(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    await store.create(ROOM, ADDRESS, Entry("member-1", "hold-1", "lease-1"), None)
    for number in range(2, 30):
        await store.join(ROOM, Entry(f"member-{number}", "hold", "lease-1", "t", now_ms() + number))
        await store.leave(ROOM, f"member-{number}", "hold", False)
        redis_server.command("DEL", f"{KEY}:spent")
    assert list(contents(redis_server)) == [KEY.encode()]
    assert len(redis_server.command("HKEYS", KEY)) < 8


async def test_a_bucket_lives_no_longer_than_it_takes_to_fill(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server, max_creates_per_ip_per_min=10)
    for number in range(10):
        await store.create(f"room-{number}", ADDRESS, None, None)
        (bucket,) = redis_server.command("KEYS", "tr1:{a:*")
        left = redis_server.command("PTTL", bucket)
        assert 6_000 * number < left <= 6_000 * (number + 1)


@pytest.mark.parametrize("kind", server_binaries())
async def test_nothing_that_opens_a_room_or_names_anybody_is_stored(
    start_redis: Callable[..., RealRedis], redis_stores: Any, kind: str
) -> None:
    server = start_redis(kind)
    await one_of_each(await redis_stores.store(server, max_creates_per_ip_per_min=1))
    (bucket,) = server.command("KEYS", "tr1:{a:*")
    rooms = contents(server)
    assert len(rooms) == 3
    stored = repr((rooms, bucket, server.command("GET", bucket))).encode()
    assert server.command("DBSIZE") == 4
    for secret in (ROOM, ADDRESS):
        plain = secret.encode()
        assert plain not in stored
        assert plain.hex().encode() not in stored
        assert base64.b64encode(plain)[:-3] not in stored
    for hashed in (hashlib.sha256, hashlib.blake2b, hashlib.sha1, hashlib.md5):
        # Anybody can try all addresses there are.
        assert hashed(ADDRESS.encode()).hexdigest()[:16].encode() not in stored


async def test_the_keys_of_each_script_have_one_hash_tag_each(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    await one_of_each(await redis_stores.store(redis_server))
    asked = redis_stores.links[0].asked
    assert len(asked) == 9
    for keys in asked:
        tags = {re.fullmatch(r"tr1:\{([^{}]+)\}(:spent|:gen)?", key)[1] for key in keys}
        assert len(tags) == 1


def test_scripts_touch_no_key_but_those_that_are_declared() -> None:
    folder = resources.files("twisted_relay.shell") / "lua"
    sources = "".join(file.read_text() for file in folder.iterdir() if file.name.endswith(".lua"))
    calls = re.findall(r"redis\.p?call\(\s*'(\w+)'\s*(?:,\s*([\w\[\]]+))?", sources)
    assert len(calls) > 20
    keyed = {key for command, key in calls if command != "TIME"}
    assert keyed == {"ROOM", "SPENT", "AWAY", "KEYS[1]"}
    assert "local ROOM, SPENT, AWAY = KEYS[1], KEYS[2], KEYS[3]" in sources


@pytest.mark.parametrize("kind", server_binaries())
async def test_a_cluster_keeps_a_room_in_one_place(
    start_redis: Callable[..., RealRedis], kind: str
) -> None:
    server = start_redis(kind, config={"cluster-enabled": "yes"})
    server.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    await poll(lambda: b"cluster_state:ok" in server.command("CLUSTER", "INFO"))
    await ComparisonOnRedis(server).run(COMPARISON)
    assert server.command("DBSIZE") > 0
