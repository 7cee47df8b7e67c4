"""The Redis store passes what every store must, on each server there is; and what is its alone:
what it does late, and when Redis lost something."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from real_redis import RealRedis, server_binaries
from redis_contract import FIRST, KEY, ROOM, contents, hold_to_contract, newcomer, poll
from twisted.internet import reactor
from twisted.internet.task import deferLater

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.engine.interfaces import Entry, QrToken, Registration, StoreUnavailable


async def refusal(awaitable: Any) -> Code:
    with pytest.raises(RelayError) as caught:
        await awaitable
    return caught.value.code


@pytest.mark.parametrize("kind", server_binaries())
async def test_the_contract_of_room_stores(
    start_redis: Callable[..., RealRedis], kind: str
) -> None:
    await hold_to_contract(start_redis(kind))


async def test_the_contract_on_a_server_that_may_evict(
    start_redis: Callable[..., RealRedis],
) -> None:
    full = {"maxmemory": "256mb", "maxmemory-policy": "allkeys-lru"}
    await hold_to_contract(start_redis(config=full))


# Several instances


async def test_instances_see_one_room_and_one_count_of_creations(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    one = await redis_stores.store(redis_server, max_creates_per_ip_per_min=2)
    other = await redis_stores.store(redis_server, max_creates_per_ip_per_min=2)
    await one.create(ROOM, "address", FIRST, None)
    seat = await other.join(ROOM, newcomer(2, "lease-2"))
    assert seat.standing.leases == {"lease-1", "lease-2"}
    assert await refusal(one.join(ROOM, newcomer(3, token="jti-2"))) is Code.TOKEN_REPLAY
    await other.create("second", "address", None, None)
    assert await refusal(one.create("third", "address", None, None)) is Code.RATE_LIMITED


async def test_the_creations_of_an_address_refill_smoothly(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server, max_creates_per_ip_per_min=60)
    for number in range(60):
        await store.create(f"room-{number}", "address", None, None)
    with pytest.raises(RelayError) as caught:
        while True:
            await store.create("room", "address", None, None)
    assert 0 < caught.value.retry_after_ms <= 1001
    await deferLater(reactor, caught.value.retry_after_ms / 1000)
    await store.create("room", "address", None, None)
    assert await refusal(store.create("room", "address", None, None)) is Code.RATE_LIMITED


async def test_what_is_switched_off_limits_nothing(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(
        redis_server, max_creates_per_ip_per_min=1, limit_creations=False, refuse_replays=False
    )
    for _ in range(3):
        await store.create(ROOM, "address", FIRST, None)
    await store.join(ROOM, newcomer(2, token="same"))
    await store.join(ROOM, newcomer(3, token="same"))
    await store.join(ROOM, Entry("member-2", "hold", "lease-1", generation=2))
    seat = await store.join(ROOM, Entry("member-2", "hold", "lease-1", generation=1))
    assert seat.standing.participants == 3


async def test_one_who_did_not_hear_from_redis_for_a_whole_lease_drops_nobody(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server, lease_ms=10_000)
    await store.create(ROOM, "address", FIRST, None)
    redis_server.command("HSET", KEY, "l:lease-1", "1")
    redis_stores.links[0].unbroken = 9.9
    assert (await store.join(ROOM, newcomer(2, "lease-2"))).standing.participants == 2
    redis_stores.links[0].unbroken = 10.0
    standing = await store.renew(ROOM, "lease-2")
    assert (standing.participants, standing.reaped) == (1, True)


# Too late


async def test_what_comes_after_its_deadline_changes_nothing(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store, link = await redis_stores.store(redis_server), redis_stores.links[0]
    await store.create(ROOM, "address", FIRST, QrToken("qr", 1))
    before = contents(redis_server)
    link.behind = 2100
    errors = link.metrics.redis_errors
    for late in (
        store.create("another", "address", FIRST, None),
        store.join(ROOM, newcomer(2)),
        store.register(ROOM, Registration("lease-2", "lease-1", (FIRST,), 9)),
    ):
        with pytest.raises(StoreUnavailable):
            await late
    assert contents(redis_server) == before
    assert link.metrics.redis_errors == errors + 3
    # These are about what the asker holds, and nobody else can hold it.
    assert (await store.renew(ROOM, "lease-1")).participants == 1
    assert (await store.leave(ROOM, "member-1", "hold-1", False)).participants == 0


async def test_a_join_given_up_while_redis_stood_still_does_not_happen_later(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server, timeout_ms=300)
    await store.create(ROOM, "address", FIRST, None)
    redis_server.freeze()
    asked = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await store.join(ROOM, newcomer(2))
    assert time.monotonic() - asked < 1.0
    await deferLater(reactor, store.settles_after)
    redis_server.thaw()
    await poll(lambda: store.status().ready)
    assert (await store.renew(ROOM, "lease-1")).participants == 1
    assert store.settles_after > 0.3


async def test_without_redis_everything_is_refused_at_once_and_the_status_says_so(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    assert (store.status().kind, store.status().ready) == ("redis", True)
    assert store.status().latency_ms >= 0
    redis_server.kill()
    await poll(lambda: not store.status().ready)
    for asked in (
        store.create(ROOM, "address", FIRST, None),
        store.join(ROOM, newcomer(2)),
        store.leave(ROOM, "member-1", "hold-1", True),
        store.renew(ROOM, "lease-1"),
        store.exists(ROOM),
        store.rotate_qr(ROOM, QrToken("qr", 1), ""),
        store.register(ROOM, Registration("lease-2", "lease-1", (FIRST,), 9)),
    ):
        with pytest.raises(StoreUnavailable):
            await asked
    assert store.status().message


# What Redis lost


async def test_an_evicted_room_is_made_anew_by_those_who_are_in_it(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    await store.create(ROOM, "address", FIRST, None)
    seat = await store.join(ROOM, newcomer(2, token="spent"))
    back = Entry("member-3", "hold-3", "lease-1", generation=5)
    await store.join(ROOM, back)
    await store.leave(ROOM, "member-3", "hold-3", False)
    redis_server.command("DEL", KEY)
    assert await store.renew(ROOM, "lease-1") is None
    assert not await store.exists(ROOM)
    members = (FIRST, Entry("member-2", "hold-2", "lease-1"))
    registered = await store.register(ROOM, Registration("lease-2", "lease-1", members, 7))
    assert registered.made_anew
    assert registered.standing.revision > max(7, seat.standing.revision)
    assert registered.standing.participants == 2
    # What was not evicted is known still.
    assert await refusal(store.join(ROOM, newcomer(4, token="spent"))) is Code.TOKEN_REPLAY
    stale = Entry("member-3", "hold", "lease-2", generation=4)
    assert await refusal(store.join(ROOM, stale)) is Code.TOKEN_REPLAY
    # And so is, to the room made anew, until when there were tokens to be remembered.
    redis_server.command("DEL", f"{KEY}:spent")
    assert await refusal(store.join(ROOM, newcomer(4, token="spent", ttl_ms=50_000))) is (
        Code.TOKEN_REPLAY
    )


@pytest.mark.parametrize("kind", server_binaries())
async def test_rooms_that_a_full_server_evicts_are_there_again(
    start_redis: Callable[..., RealRedis], redis_stores: Any, kind: str
) -> None:
    server = start_redis(kind, config={"maxmemory-policy": "allkeys-lru"})
    store = await redis_stores.store(server, limit_creations=False)
    for number in range(100):
        await store.create(f"room-{number}", "address", FIRST, None)
    used = re.search(rb"used_memory:(\d+)", server.command("INFO", "memory"))[1]
    server.command("CONFIG", "SET", "maxmemory", int(used) + 200_000)
    flood = (
        "for i = 1, 40 do redis.call('SET', KEYS[1] .. i, string.rep('x', 1000), 'PX', 60000) end"
    )
    lost = 0
    for number in range(100):
        server.command("EVAL", flood, 1, f"flood-{number}-")
        if await store.renew(f"room-{number}", "lease-1") is None:
            lost += 1
            again = Registration("lease-1", "lease-1", (FIRST,), 1)
            registered = await store.register(f"room-{number}", again)
            assert registered.standing.participants == 1
    assert lost > 0


async def test_tokens_whose_marks_were_evicted_are_refused_and_later_ones_are_not(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    await store.create(ROOM, "address", FIRST, None)
    await store.join(ROOM, newcomer(2, token="spent", ttl_ms=50_000))
    redis_server.command("DEL", f"{KEY}:spent")
    for token in ("spent", "never-seen"):
        refused = await refusal(store.join(ROOM, newcomer(3, token=token, ttl_ms=40_000)))
        assert refused is Code.TOKEN_REPLAY
    await store.join(ROOM, newcomer(3, ttl_ms=60_000))
    # Neither does one that was spent since make the others known again.
    assert await refusal(store.join(ROOM, newcomer(4, token="spent", ttl_ms=49_000))) is (
        Code.TOKEN_REPLAY
    )
    # Who comes back is not concerned.
    await store.join(ROOM, Entry("member-2", "hold", "lease-1", generation=1))


async def test_a_room_shows_no_qr_token_that_may_have_been_spent_unseen(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    await store.create(ROOM, "address", FIRST, None)
    token = newcomer(2)
    await store.join(ROOM, token)
    redis_server.command("DEL", f"{KEY}:spent")
    shown = QrToken("qr", token.token_expires_ms - 1)
    await store.register(ROOM, Registration("lease-1", "lease-1", (FIRST,), 0, qr=shown))
    fresh = QrToken("fresh", token.token_expires_ms + 1)
    assert await store.rotate_qr(ROOM, fresh, "") == fresh


async def test_scripts_that_redis_forgot_are_sent_again(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    await store.create(ROOM, "address", FIRST, None)
    redis_server.command("SCRIPT", "FLUSH")
    assert (await store.renew(ROOM, "lease-1")).participants == 1


@pytest.mark.parametrize("kind", server_binaries())
async def test_where_memory_is_full_nobody_comes_and_everybody_may_stay_and_leave(
    start_redis: Callable[..., RealRedis], redis_stores: Any, kind: str
) -> None:
    server = start_redis(kind)
    store = await redis_stores.store(server)
    await store.create(ROOM, "address", FIRST, None)
    await store.join(ROOM, newcomer(2))
    server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailable):
        await store.join(ROOM, newcomer(3))
    assert (await store.renew(ROOM, "lease-1")).participants == 2
    assert (await store.leave(ROOM, "member-2", "hold-2", False)).participants == 1
