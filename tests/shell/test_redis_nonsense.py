"""What lies in Redis and makes no sense ends no process, and is no client's fault."""

from __future__ import annotations

from typing import Any

import pytest
from real_redis import RealRedis
from redis_contract import FIRST, KEY, ROOM, contents, newcomer

from twisted_relay.core.errors import Code, RelayError
from twisted_relay.engine.interfaces import (
    Entry,
    QrToken,
    Registered,
    Registration,
    Seat,
    Standing,
    StoreUnavailable,
)
from twisted_relay.shell import redis_replies
from twisted_relay.shell.redis_replies import Senseless

NONSENSE: list[tuple[str | int, ...]] = [
    *(("HSET", KEY, "revision", text) for text in ("", "-1", "1.5", "x", "9" * 16, "1e9", "nan")),
    *(("HSET", KEY, fact, "many") for fact in ("number", "spent_until", "unknown_until")),
    *(("HSET", KEY, "s:member-9", text) for text in ("", "h", "h|l|1", "h|l|x|0", "h|gone|0|0")),
    *(("HSET", KEY, "l:lease-9", text) for text in ("", "soon", "1")),
    *(("HSET", KEY, "qr", text) for text in ("", "|", "x|y", "1|")),
    *(("HSET", KEY, name, "1") for name in ("", "seats", "count", "writes", "revision ", "\0")),
    ("HSET", KEY, "s:member-1", "hold-1|lease-1|0|0\n"),
    ("HDEL", KEY, "revision"),
    ("HDEL", KEY, "l:lease-1"),
    ("HDEL", KEY, "s:member-1"),
    ("SET", KEY, "text", "PX", 60_000),
]  # fmt: skip


async def test_a_room_that_makes_no_sense_is_as_good_as_out_of_reach(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store, link = await redis_stores.store(redis_server), redis_stores.links[0]
    for garble in NONSENSE:
        redis_server.command("FLUSHALL")
        await store.create(ROOM, "address", FIRST, QrToken("qr", 2**49))
        redis_server.command(*garble)
        before, link.metrics.redis_errors = contents(redis_server), 0
        for count, asked in enumerate(
            (
                store.join(ROOM, newcomer(2)),
                store.leave(ROOM, "member-1", "hold-1", True),
                store.renew(ROOM, "lease-1"),
                store.exists(ROOM),
                store.rotate_qr(ROOM, QrToken("fresh", 1), ""),
                store.register(ROOM, Registration("lease-2", "lease-1", (FIRST,), 9)),
            ),
            start=1,
        ):
            with pytest.raises(StoreUnavailable):
                await asked
            assert link.metrics.redis_errors == count, garble
        assert contents(redis_server) == before, garble


@pytest.mark.parametrize("key", [f"{KEY}:spent", f"{KEY}:gen"])
async def test_a_key_of_another_type_changes_nothing(
    redis_server: RealRedis, redis_stores: Any, key: str
) -> None:
    store = await redis_stores.store(redis_server)
    await store.create(ROOM, "address", Entry("member-1", "hold-1", "lease-1"), None)
    await store.join(ROOM, Entry("member-1", "hold-1", "lease-1", generation=1))
    await store.join(ROOM, Entry("member-3", "hold-3", "lease-1", generation=1))
    redis_server.command("SET", key, "text", "PX", 60_000)
    before = contents(redis_server)
    with pytest.raises(StoreUnavailable):
        await store.join(ROOM, newcomer(2))
    spent = (("token", 2**50),)
    with pytest.raises(StoreUnavailable):
        await store.register(ROOM, Registration("l", "lease-1", (newcomer(2),), 1, spent=spent))
    if key.endswith("gen"):
        with pytest.raises(StoreUnavailable):
            await store.leave(ROOM, "member-1", "hold-1", False)
    assert contents(redis_server) == before


async def test_a_lease_that_is_no_text_makes_no_sense(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server)
    await store.create(ROOM, "address", FIRST, None)
    redis_server.command("HSET", KEY, b"s:m", b"h|\xff|0|0", b"l:\xff", b"9999999999999")
    with pytest.raises(StoreUnavailable):
        await store.renew(ROOM, "lease-1")


async def test_a_bucket_that_makes_no_sense_lets_nobody_create(
    redis_server: RealRedis, redis_stores: Any
) -> None:
    store = await redis_stores.store(redis_server, max_creates_per_ip_per_min=1)
    await store.create(ROOM, "address", None, None)
    (bucket,) = redis_server.command("KEYS", "tr1:{a:*")
    for text in ("", "1|2", "x|1", "-1.0|1"):
        redis_server.command("SET", bucket, text, "PX", 60_000)
        with pytest.raises(StoreUnavailable):
            await store.create("another", "address", None, None)
    assert not await store.exists("another")


async def test_a_room_id_may_be_any_text(redis_server: RealRedis, redis_stores: Any) -> None:
    store = await redis_stores.store(redis_server)
    for room_id in ("", "}", "\ud800", "x" * 10_000, "\0{a}"):
        assert not await store.exists(room_id)
        await store.create(room_id, "\ud800", None, None)
        assert await store.exists(room_id)


# Replies, whatever gave them

LEASES = (b"l1", b"l2")
GOOD: list[tuple[Any, list[object], object]] = [
    (redis_replies.read_creation, [b"allowed"], None),
    (redis_replies.read_empty, [b"empty"], None),
    (redis_replies.read_exists, [b"yes"], True),
    (redis_replies.read_exists, [b"no"], False),
    (redis_replies.read_qr, [b"qr", b"id", 5], QrToken("id", 5)),
    (redis_replies.read_renewed, [b"none"], None),
    (
        redis_replies.read_renewed,
        [b"renewed", 1, 4, 3, 1, *LEASES],
        Standing(4, 3, frozenset({"l1", "l2"}), True, held=1),
    ),
    (redis_replies.read_standing, [b"none"], None),
    (redis_replies.read_standing, [b"standing", 4, 0, 0], Standing(4, 0, frozenset())),
    (
        redis_replies.read_seat,
        [b"seat", 7, 1, 0, b"l2", 4, 3, 0, b"l1"],
        Seat(7, Standing(4, 3, frozenset({"l1"})), True, False, "l2"),
    ),
    (
        redis_replies.read_registered,
        [b"registered", 1, 1, 2, b"a", b"b", b"c", 4, 3, 0, b"l1"],
        Registered(
            Standing(4, 3, frozenset({"l1"})), frozenset({"a"}), frozenset({"b", "c"}), True
        ),
    ),
]


@pytest.mark.parametrize(("read", "reply", "value"), GOOD)
def test_a_reply_is_taken_for_what_it_says(read: Any, reply: list[object], value: object) -> None:
    assert read(reply) == value


@pytest.mark.parametrize(("read", "reply", "value"), GOOD)
def test_a_reply_that_is_not_whole_makes_no_sense(
    read: Any, reply: list[object], value: object
) -> None:
    with pytest.raises(Senseless):
        read([*reply, [b"more"]])
    for wrong in (None, b"text", 7, [], [None], [b"what"], [[b"yes"]], [b"\xff"]):
        with pytest.raises(Senseless):
            read(wrong)
    mandatory = [part for part in reply if part not in LEASES]
    for count in range(len(mandatory)):
        with pytest.raises(Senseless):
            read(mandatory[:count])
    for place in range(1, len(reply)):
        for wrong in (None, [], 1.5, -1, 2**53 + 1, b"\xff"):
            with pytest.raises(Senseless):
                read([*reply[:place], wrong, *reply[place + 1 :]])


@pytest.mark.parametrize("name", ["TOKEN_EXPIRED", "TOKEN_REPLAY", "NO_ROOM", "ROOM_FULL"])
def test_a_refusal_has_its_code(name: str) -> None:
    with pytest.raises(RelayError) as caught:
        redis_replies.read_seat([name.encode()])
    assert caught.value.code is Code[name]


def test_a_step_that_came_too_late_is_told_apart() -> None:
    with pytest.raises(Senseless) as caught:
        redis_replies.read_seat([b"late"])
    assert caught.value.reason == "late"


def test_who_creates_too_much_is_told_for_how_long_to_wait() -> None:
    with pytest.raises(RelayError) as caught:
        redis_replies.read_creation([b"wait", 250])
    assert caught.value.code is Code.RATE_LIMITED
    assert caught.value.retry_after_ms == 251
