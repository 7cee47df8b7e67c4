"""Conversations over a real relay in a process of its own."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.system.conftest import RelayProcess, mint, poll
from tests.system.line import Line
from twisted_relay.client import (
    ConnectFailed,
    FileFailed,
    FileOffered,
    FileProgress,
    FileReceived,
    Refused,
    RelayClient,
    Said,
    Unreadable,
    events,
)

Start = Callable[..., Any]
Talkers = Callable[..., Any]
Until = Callable[..., Any]
QUICK = {"MAX_BYTES_PER_10S": 1_000_000_000, "MAX_MSGS_PER_10S": 100_000}
# A receiver that shares this process's reactor with the sender is slow now and then.
QUICK |= {"SLOW_CONSUMER_BUFFER_THRESHOLD": 50_000_000}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One relay for all tests that need nothing but a relay, with limits that let a file pass."""
    relay = RelayProcess(tmp_path_factory.mktemp("quick"), **QUICK)
    yield relay
    relay.stop()
    assert relay.err == "", "a bug of the relay's own, met on the way"


def url(relay: Any, port: int = 0) -> str:
    return f"ws://127.0.0.1:{port or relay.port}/ws"


async def pair(relay: Any, talkers: Talkers, **options: Any) -> tuple[Any, Any]:
    ann, ben = talkers(url(relay), name="Ann"), talkers(url(relay), name="Ben", **options)
    await ann.talk.create()
    await ben.talk.join(ann.talk.room_id)
    return ann, ben


async def test_create_join_say_leave(quick: RelayProcess, talkers: Talkers, until: Until) -> None:
    ann, ben = await pair(quick, talkers)
    assert (ann.talk.label, ben.talk.label) == ("Ann", "Ben")
    assert ann.talk.limits.max_ws_msg_bytes == 262_144
    await ann.talk.say("hello")
    await until(lambda: ben.of(Said))
    said = ben.of(Said)[0]
    assert (said.text, said.sender, said.own) == ("hello", "Ann", False)
    assert said.member_id == ann.talk.member_id
    assert ann.talk.participants == 2
    await ben.talk.leave()
    await until(lambda: ann.talk.participants == 1)
    assert ben.of(events.Ended) == [events.Ended("left")]
    assert "Ben has left the chat" in [notice.text for notice in ann.of(events.Notice)]


@pytest.mark.parametrize("size", [10, 131_072, 131_073, 3 * 1024 * 1024])
async def test_a_file_arrives_whole_either_way(
    quick: RelayProcess, talkers: Talkers, until: Until, size: int
) -> None:
    ann, ben = await pair(quick, talkers)
    content = random.Random(size).randbytes(size)
    for sender, receiver in ((ann, ben), (ben, ann)):
        moved: list[tuple[int, int]] = []
        await sender.talk.send_file(
            "../data.bin", content, "a/b", lambda *now, moved=moved: moved.append(now)
        )
        await until(lambda receiver=receiver: receiver.of(FileReceived), "the file")
        (got,) = receiver.of(FileReceived)
        assert hashlib.sha256(got.content).digest() == hashlib.sha256(content).digest()
        assert (got.name, got.mime, got.sender) == ("data.bin", "a/b", sender.talk.label)
        assert got.member_id == sender.talk.member_id
        assert [offer.size for offer in receiver.of(FileOffered)] == [size]
        assert [(p.received, p.size) for p in receiver.of(FileProgress)] == moved
        assert moved[-1] == (size, size)
        assert len(moved) == -(-size // 131_072)
    assert len(ann.of(FileReceived)) == 1, "one's own file does not come back"


async def test_a_picture_goes_as_the_old_client_sends_it(
    quick: RelayProcess, talkers: Talkers, until: Until
) -> None:
    ann, ben = await pair(quick, talkers)
    old = quick.connect()
    old.join(ann.talk.room_id, quick.http_token(ann.talk.room_id), label="Old")
    picture = random.Random(1).randbytes(150_000)
    await ann.talk.send_file("me.png", picture, "image/png")
    await until(lambda: ben.of(FileReceived))
    (got,) = ben.of(FileReceived)
    assert (got.name, got.mime, got.sender) == ("picture.png", "image/png", "Ann")
    assert got.content == picture
    assert not ben.of(FileOffered)
    body = old.until("MEDIA_MSG")["body"]
    assert (body["mime"], body["size"], body["chunkSize"]) == ("image/png", 150_000, 131_072)
    # As the old client sends it: no mediaId, and chunkSize as digits.
    body = {key: body[key] for key in ("roomId", "mime", "size", "chunkSize", "chunks")}
    old.send("MEDIA_MSG", **body | {"chunkSize": "131072"})
    await until(lambda: len(ben.of(FileReceived)) == 2)
    assert (ben.of(FileReceived)[1].sender, ben.of(FileReceived)[1].content) == ("Old", picture)


async def test_another_key_reads_nothing(
    quick: RelayProcess, talkers: Talkers, until: Until
) -> None:
    ann, eve = await pair(quick, talkers, key=bytes(32))
    await ann.talk.say("for Ben only")
    await ann.talk.send_file("secret.txt", b"secret", "text/plain")
    await ann.talk.send_file("secret.png", b"secret", "image/png")
    await until(lambda: len(eve.of(Unreadable)) == 3)
    assert all("another room key" in event.reason for event in eve.of(Unreadable))
    assert not eve.of((Said, FileOffered, FileFailed, FileReceived))


async def test_a_lost_line_amid_a_file_loses_nothing_and_brings_nothing_twice(
    quick: RelayProcess, talkers: Talkers, until: Until
) -> None:
    line = Line(quick.port)
    ann, ben = talkers(url(quick, line.port), random=lambda: 0.0), talkers(url(quick))
    await ben.talk.create()
    await ann.talk.join(ben.talk.room_id)
    content = random.Random(2).randbytes(2_000_000)
    said: list[Any] = []

    def progress(sent: int, _: int) -> None:
        said.append(ann.talk.say(f"at {sent}"))
        if len(said) in (3, 8):
            line.cut()

    await ann.talk.send_file("data.bin", content, "a/b", progress)
    for one in said:
        await one
    await until(lambda: ben.of(FileReceived) and len(ben.of(Said)) == len(said))
    assert [got.content == content for got in ben.of(FileReceived)] == [True]
    assert [event.text for event in ben.of(Said)] == [
        f"at {min(131_072 * number, 2_000_000)}" for number in range(1, 17)
    ]
    assert not ben.of(FileFailed)
    assert len(ann.of(events.Lost)) == 2
    line.close()


async def test_a_relay_that_starts_anew_over_redis_gives_everybody_their_seat(
    redis_server: Any, start_relay: Start, talkers: Talkers, until: Until
) -> None:
    shared = {"REDIS_URL": redis_server.url, **QUICK}
    relay = start_relay(**shared)
    poll(lambda: relay.ready, "its link to Redis")
    ann, ben = await pair(relay, talkers, random=lambda: 0.0)
    members = [ann.talk.member_id, ben.talk.member_id]
    await ann.talk.say("before")
    relay.terminate()
    await until(lambda: ann.of(events.Lost) and ben.of(events.Lost), "the losses")
    said = ann.talk.say("meanwhile")
    again = start_relay(**shared, wait=False, PORT=relay.port)
    again.port = relay.port
    await until(lambda: len(ben.of(events.Joined)) == 2, "the return of Ben")
    await said
    await ann.talk.say("after")
    assert [ann.talk.member_id, ben.talk.member_id] == members
    assert ann.of(events.Joined)[-1].resumed
    await until(lambda: ben.of(Said)[-1].text == "after")
    assert [event.text for event in ann.of(Said)] == ["before", "meanwhile", "after"]
    assert ben.of(events.Lost)[0].reason == "service restart"


async def test_whoever_comes_back_elsewhere_replaces_this_one(
    quick: RelayProcess, talkers: Talkers, until: Until
) -> None:
    ann = talkers(url(quick))
    await ann.talk.create()
    token = ann.talk._client._next_token
    twin = RelayClient(url(quick), lambda event: None, reactor=reactor)
    joined = await twin.join(ann.talk.room_id, token)
    assert (joined.resumed, joined.member_id) == (True, ann.talk.member_id)
    await until(lambda: ann.of(events.Ended))
    assert ann.of(events.Ended) == [events.Ended("replaced")]
    assert not ann.of(events.Lost)
    await twin.leave()


async def test_a_full_room_and_no_room(relay: Any, talkers: Talkers) -> None:
    ann, _ben = await pair(relay, talkers)
    await talkers(url(relay)).talk.join(ann.talk.room_id)
    late = talkers(url(relay))
    with pytest.raises(Refused) as full:
        await late.talk.join(ann.talk.room_id)
    assert (full.value.code, full.value.retryable) == ("ERR_ROOM_FULL", True)
    with pytest.raises(Refused, match="ERR_NO_ROOM"):
        await late.talk.join("A" * 22)


async def test_a_refused_handshake_says_so_and_when_to_come_again(
    start_relay: Start, talkers: Talkers
) -> None:
    relay = start_relay(MAX_CONNS_PER_IP=1, MAX_HTTP_PER_IP_PER_MIN=1)
    ann, ben = talkers(url(relay)), talkers(url(relay))
    await ann.talk.create()
    with pytest.raises(ConnectFailed, match="refused the connection: 429") as refused:
        await ben.talk.create()
    assert (refused.value.retry_after or 0) >= 1
    with pytest.raises(ConnectFailed):
        await ben.talk.join(ann.talk.room_id)
    with pytest.raises(Refused, match="ERR_RATE_LIMITED") as limited:
        await ben.talk.join(ann.talk.room_id)
    assert limited.value.retryable
    assert (limited.value.retry_after or 0) >= 1


async def test_a_spent_or_old_token_of_a_link_is_replaced_by_a_fresh_one(
    quick: RelayProcess, talkers: Talkers
) -> None:
    ann = talkers(url(quick))
    await ann.talk.create()
    qr = ann.talk.qr.token
    first, second, third = talkers(url(quick)), talkers(url(quick)), talkers(url(quick))
    await first.talk.join(ann.talk.room_id, qr, single_use=True)
    await second.talk.join(ann.talk.room_id, qr, single_use=True)
    await third.talk.join(ann.talk.room_id, mint(ann.talk.room_id, exp=1), single_use=True)
    assert third.talk.participants == 4
    other = talkers(url(quick))
    with pytest.raises(Refused, match="ERR_TOKEN_MAC"):
        await other.talk.join(ann.talk.room_id, mint(ann.talk.room_id, "another-secret"))


async def test_the_pace_keeps_a_client_under_the_relays_limits(
    start_relay: Start, talkers: Talkers, until: Until
) -> None:
    relay = start_relay(MAX_BYTES_PER_10S=1_000_000, MAX_MSGS_PER_10S=30)
    ann, ben = await pair(relay, talkers)
    for number in range(28):
        ann.talk.say(f"line {number}")
    await ann.talk.send_file("data.bin", bytes(800_000), "a/b")
    await until(lambda: ben.of(FileReceived))
    assert [event.text for event in ben.of(Said)] == [f"line {number}" for number in range(28)]
    assert not ann.of(events.Lost)


async def test_a_large_file_costs_the_reactor_no_long_turn(
    quick: RelayProcess, talkers: Talkers, until: Until
) -> None:
    ann, ben = await pair(quick, talkers)
    turns: list[float] = []

    async def watch() -> None:
        while not ben.of(FileReceived):
            began = time.thread_time()  # what others use of the machine does not count
            await deferLater(reactor, 0)
            turns.append(time.thread_time() - began)

    watching = Deferred.fromCoroutine(watch())
    await ann.talk.send_file("data.bin", bytes(10_485_760), "a/b")
    await watching
    assert max(turns) < 0.1, "a piece takes milliseconds; all of them at once, half a second"
