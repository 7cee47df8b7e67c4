"""The link to a real Redis: what it asks, what it knows, and every way in which Redis goes away."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from certificates import certificate_for
from real_redis import RealRedis
from redis_watch import Log, parts
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.portforward import ProxyFactory
from waiting import later, until

from twisted_relay.core.redis_url import parse_redis_url
from twisted_relay.core.settings import RedisSettings
from twisted_relay.engine.interfaces import StoreUnavailable
from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell.redis_connection import Connection, Server, reason_of
from twisted_relay.shell.redis_link import RedisLink, Script

ROOT = Path(__file__).parents[2]


@pytest_twisted.async_yield_fixture
async def start_link() -> AsyncIterator[Callable[..., Any]]:
    """Starts links, with the arguments of `parts`; they are stopped with the test."""
    links: list[Any] = []

    def start(url: str, **options: int) -> Any:
        links.append(parts(RedisLink, url, **options))
        links[-1].start()
        return links[-1]

    yield start
    for link in links:
        await link.stop()
    # Sockets that were parted from are closed in the reactor's next turn.
    await later(0.01)


async def test_commands_and_their_replies(
    any_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(any_server.url)
    await until(lambda: link.ready)
    assert await link.command("SET", "k", b"\x00\r\n\xff") == b"OK"
    assert await link.command("GET", b"k") == b"\x00\r\n\xff"
    assert await link.command("GET", "none") is None
    assert await link.command("SET", "n", 7) == b"OK"
    assert await link.command("GET", "n") == b"7"
    assert await link.command("SET", "d", "00123") == b"OK"
    assert await link.command("GET", "d") == b"00123"
    assert await link.command("INCR", "n") == 8
    assert await link.command("MGET", "n", "none", "d") == [b"8", None, b"00123"]
    assert await link.command("LRANGE", "none", 0, -1) == []
    assert await link.command("PING") == b"PONG"


async def test_commands_are_carried_out_in_their_order(
    redis_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(redis_server.url)
    await until(lambda: link.ready)
    asked = [Deferred.fromCoroutine(link.command("RPUSH", "list", number)) for number in range(500)]
    assert await gatherResults(asked) == list(range(1, 501))
    assert await link.command("LRANGE", "list", 0, -1) == [b"%d" % n for n in range(500)]


async def test_what_a_beat_tells(redis_server: RealRedis, start_link: Callable[..., Any]) -> None:
    before = time.time() * 1000
    link = start_link(redis_server.url)
    assert not link.ready
    assert link.unbroken_for == 0
    assert link.server_ms() == 0
    assert link.metrics.redis_ready == 0
    assert link.message == "Redis was not reached yet"
    await until(lambda: link.unbroken_for > 1.5)
    assert link.ready
    assert link.message == "Redis answers"
    assert link.metrics.redis_ready == 1
    assert link.metrics.redis_connects == 1
    assert link.metrics.redis_reconnect_attempts == 0
    assert 0 < link.latency_ms < 1000
    assert link.metrics.redis_latency.buckets()[-1][1] >= 3
    said = link.server_ms()
    seconds, micros = map(int, redis_server.command("TIME"))
    assert before < said <= seconds * 1000 + micros / 1000 + 1
    assert said > seconds * 1000 + micros / 1000 - 1000


async def test_a_script_is_sent_again_when_redis_forgot_it(
    any_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(any_server.url)
    await until(lambda: link.ready)
    script = Script("redis.call('INCR', KEYS[1]) return {KEYS[1], ARGV[1], ARGV[2]}")
    for _ in range(2):
        assert await link.script(script, ["k"], [b"\xff", 5]) == [b"k", b"\xff", b"5"]
        assert any_server.command("SCRIPT", "EXISTS", script.sha) == [1]
    any_server.command("SCRIPT", "FLUSH")
    assert await link.script(script, ["k"], ["a", "b"]) == [b"k", b"a", b"b"]
    assert any_server.command("GET", "k") == b"3"
    assert link.metrics.redis_errors == 0


async def test_a_refusal_is_told_by_its_code_alone(
    redis_server: RealRedis, start_link: Callable[..., Any], log: Log
) -> None:
    link = start_link(redis_server.url)
    await until(lambda: link.ready)
    await link.command("SET", "secret-key", "secret-value")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"^Redis refused: wrongtype$"):
            await link.command("LPUSH", "secret-key", "secret-value")
    with pytest.raises(StoreUnavailable, match=r"^Redis refused: err$"):
        await link.script(Script("return redis.call('secret-thing')"), ["secret-key"], [])
    assert link.metrics.redis_errors == 4
    assert [line["code"] for line in log.lines("redis_refused")] == ["WRONGTYPE", "ERR"]
    assert link.ready
    log.assert_quiet("secret")


async def test_redis_is_not_there_at_the_start(
    redis_server: RealRedis, start_link: Callable[..., Any], log: Log
) -> None:
    redis_server.kill()
    link = start_link(redis_server.url)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await link.command("PING")
    assert time.monotonic() - began < 0.5
    await until(lambda: link.metrics.redis_reconnect_attempts >= 3)
    assert link.message == "Redis is not there: refused"
    redis_server.restart()
    await until(lambda: link.ready)
    assert await link.command("PING") == b"PONG"
    await until(lambda: log.lines("redis_back"))
    assert [line["reason"] for line in log.lines("redis_lost")] == ["refused"]
    assert len(log.lines("redis_back")) == 1
    log.assert_quiet(str(redis_server.port))


async def test_redis_dies_and_comes_back(
    any_server: RealRedis, start_link: Callable[..., Any], log: Log
) -> None:
    link = start_link(any_server.url)
    for outage in (1, 2):
        await until(lambda: link.ready and link.unbroken_for > 0)
        waiting = Deferred.fromCoroutine(link.command("BLPOP", "nothing", 0))
        any_server.kill()
        with pytest.raises(StoreUnavailable):
            await waiting
        assert not link.ready
        assert link.unbroken_for == 0
        assert link.metrics.redis_ready == 0
        attempts = link.metrics.redis_reconnect_attempts
        await until(lambda at=attempts: link.metrics.redis_reconnect_attempts > at)
        with pytest.raises(StoreUnavailable):
            await link.command("PING")
        any_server.restart()
        await until(lambda: link.ready)
        assert link.unbroken_for < 1
        assert link.metrics.redis_connects == 1 + outage
        await until(lambda o=outage: len(log.lines("redis_back")) == o)
        assert len(log.lines("redis_lost")) == outage
    assert all(line["level"] == "warn" for line in log.lines("redis_lost"))
    assert all(line["level"] == "info" for line in log.lines("redis_back"))
    log.assert_quiet(str(any_server.port))


async def test_redis_hangs(any_server: RealRedis, start_link: Callable[..., Any], log: Log) -> None:
    link = start_link(any_server.url, command_timeout_ms=400)
    await until(lambda: link.ready)
    any_server.freeze()
    began = time.monotonic()
    asked = [Deferred.fromCoroutine(link.command("GET", "k")) for _ in range(100)]
    for one in asked:
        with pytest.raises(StoreUnavailable, match="timeout"):
            await one
    assert 0.3 < time.monotonic() - began < 2
    assert not link.ready
    # It still takes connections, and answers nothing on them.
    attempts = link.metrics.redis_reconnect_attempts
    await until(lambda: link.metrics.redis_reconnect_attempts >= attempts + 3)
    assert not link.ready
    assert link.metrics.redis_connects == 1
    any_server.thaw()
    await until(lambda: link.ready)
    assert await link.command("PING") == b"PONG"
    await until(lambda: log.lines("redis_back"))
    assert [line["reason"] for line in log.lines("redis_lost")] == ["timeout"]
    assert log.lines("redis_back")[0]["duration_ms"] > 500
    log.assert_quiet()


async def test_a_beat_notices_that_redis_hangs(
    redis_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(redis_server.url, command_timeout_ms=300)
    await until(lambda: link.ready)
    redis_server.freeze()
    await until(lambda: not link.ready, 3)
    redis_server.thaw()
    await until(lambda: link.ready)


async def test_not_ready_without_answers_though_the_time_limit_is_long(
    redis_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(redis_server.url, command_timeout_ms=60_000)
    await until(lambda: link.unbroken_for > 0)
    redis_server.freeze()
    await until(lambda: not link.ready, 4)
    assert link.unbroken_for == 0
    assert link.message == "Redis does not answer"
    redis_server.thaw()
    await until(lambda: link.ready)
    assert link.unbroken_for < 2
    assert link.metrics.redis_connects == 1


async def test_a_wrong_password_until_it_is_right(
    start_redis: Callable[..., RealRedis], start_link: Callable[..., Any], log: Log
) -> None:
    server = start_redis(password="right-word")
    link = start_link(server.url.replace("right-word", "wrong-word"))
    await until(lambda: link.metrics.redis_reconnect_attempts >= 3)
    assert link.message == "Redis is not there: wrongpass"
    server.command("CONFIG", "SET", "requirepass", "wrong-word")
    await until(lambda: link.ready)
    assert [line["reason"] for line in log.lines("redis_lost")] == ["wrongpass"]
    assert link.metrics.redis_errors >= 3
    log.assert_quiet("wrong-word", "right-word")


async def test_a_clock_of_redis_that_is_set_breaks_what_was_unbroken(
    redis_server: RealRedis, start_link: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    link = start_link(redis_server.url)
    await until(lambda: link.ready and link.unbroken_for > 0)
    ask, ahead = Connection.ask, 0

    def set_ahead(connection: Connection, *parts: Any) -> Deferred[Any]:
        answer = ask(connection, *parts)
        if parts == ("TIME",):
            answer.addCallback(lambda time: [b"%d" % (int(time[0]) + ahead), time[1]])
        return answer

    monkeypatch.setattr(Connection, "ask", set_ahead)
    before = link.unbroken_for
    await until(lambda: link.unbroken_for > before)
    ahead = 20
    await until(lambda: link.unbroken_for == 0)
    assert link.ready
    await until(lambda: link.unbroken_for > 0)


async def test_no_password_where_one_is_wanted(
    start_redis: Callable[..., RealRedis], start_link: Callable[..., Any]
) -> None:
    server = start_redis(password="word")
    link = start_link(f"redis://127.0.0.1:{server.port}")
    await until(lambda: link.message == "Redis is not there: noauth")
    assert link.metrics.redis_connects == 0


async def test_a_user_who_may_do_little(
    start_redis: Callable[..., RealRedis], start_link: Callable[..., Any], log: Log
) -> None:
    server = start_redis(config={"maxmemory-policy": "allkeys-lru"})
    server.command(
        "ACL", "SETUSER", "ann", "on", ">p@ss:/?", "~*", "&*", "+@all", "-config", "-role"
    )
    link = start_link(f"redis://ann:p%40ss%3A%2F%3F@127.0.0.1:{server.port}/0")
    await until(lambda: link.ready)
    assert await link.command("ACL", "WHOAMI") == b"ann"
    assert link.metrics.redis_errors == 0
    # It was not allowed to ask.
    assert not log.lines("redis_evicts")
    log.assert_quiet("p@ss")


async def test_a_redis_that_takes_no_writes_breaks_what_was_unbroken(
    redis_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(redis_server.url)
    await until(lambda: link.unbroken_for > 0)
    redis_server.command("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(StoreUnavailable):
        await link.command("SET", "k", "v")
    assert link.unbroken_for == 0
    assert link.ready
    await until(lambda: link.unbroken_for > 0)


async def test_a_policy_that_drops_rooms_is_warned_of_once(
    start_redis: Callable[..., RealRedis], start_link: Callable[..., Any], log: Log
) -> None:
    server = start_redis(config={"maxmemory-policy": "volatile-lru"})
    link = start_link(server.url)
    await until(lambda: link.ready)
    server.restart()
    await until(lambda: link.ready and link.metrics.redis_connects == 2)
    assert [line["policy"] for line in log.lines("redis_evicts")] == ["volatile-lru"]
    assert log.lines("redis_evicts")[0]["level"] == "warn"


async def test_a_policy_that_drops_nothing(
    redis_server: RealRedis, start_link: Callable[..., Any], log: Log
) -> None:
    link = start_link(redis_server.url)
    await until(lambda: link.ready)
    assert not log.lines("redis_evicts")


async def test_a_replica_is_not_taken(
    start_redis: Callable[..., RealRedis], start_link: Callable[..., Any], log: Log
) -> None:
    master, server = start_redis(), start_redis()
    link = start_link(server.url)
    await until(lambda: link.ready)
    server.command("REPLICAOF", "127.0.0.1", master.port)
    with pytest.raises(StoreUnavailable, match="readonly"):
        await link.command("SET", "k", "v")
    assert not link.ready
    await until(lambda: link.metrics.redis_reconnect_attempts >= 3)
    assert link.message in ("Redis is not there: replica", "Redis is not there: loading")
    server.command("REPLICAOF", "NO", "ONE")
    await until(lambda: link.ready)
    assert await link.command("SET", "k", "v") == b"OK"


async def test_a_unix_socket_and_a_database(
    redis_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(f"unix://{redis_server.socket_path}?db=3")
    await until(lambda: link.ready)
    await link.command("SET", "k", "v")
    assert redis_server.command("GET", "k", database=3) == b"v"
    assert redis_server.command("GET", "k") is None


async def test_a_database_that_is_not_there(
    redis_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(f"redis://127.0.0.1:{redis_server.port}/999")
    await until(lambda: link.metrics.redis_reconnect_attempts >= 2)
    assert not link.ready
    assert link.message == "Redis is not there: err"


class Web(Protocol):
    """Answers as a web server does."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def test_something_else_than_redis(start_link: Callable[..., Any], log: Log) -> None:
    port = reactor.listenTCP(0, Factory.forProtocol(Web), interface="127.0.0.1")
    link = start_link(f"redis://127.0.0.1:{port.getHost().port}", command_timeout_ms=200)
    await until(lambda: link.metrics.redis_reconnect_attempts >= 2)
    assert not link.ready
    # txredisapi's own parser takes no notice of it, and the time limit does.
    assert log.lines("redis_lost")[0]["reason"] in ("protocol", "timeout")
    log.assert_quiet("400")
    await link.stop()
    await port.stopListening()


async def test_an_outage_leaves_nothing_behind(
    redis_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(redis_server.url)
    await until(lambda: link.ready)
    redis_server.kill()
    await until(lambda: not link.ready)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(5000):
        with pytest.raises(StoreUnavailable):
            await link.command("SET", "k", "v")
    await until(lambda: link.metrics.redis_reconnect_attempts > 4)
    gc.collect()
    assert len(gc.get_objects()) - before < 1000
    assert link.metrics.redis_errors >= 5000


async def test_after_a_stop_nothing_goes_on(
    redis_server: RealRedis, start_link: Callable[..., Any], log: Log
) -> None:
    link = start_link(redis_server.url)
    await until(lambda: link.ready)
    waiting = Deferred.fromCoroutine(link.command("BLPOP", "nothing", 0))
    await link.stop()
    with pytest.raises(StoreUnavailable):
        await waiting
    with pytest.raises(StoreUnavailable):
        await link.command("PING")
    assert not link.ready
    idle = start_link("redis://127.0.0.1:1")
    await until(lambda: idle.metrics.redis_reconnect_attempts >= 1)
    await idle.stop()
    attempts = idle.metrics.redis_reconnect_attempts
    await later(0.5)
    assert idle.metrics.redis_reconnect_attempts == attempts
    assert link.metrics.redis_connects == 1
    assert not log.lines("redis_back")


@pytest.fixture
def tls_front(
    redis_server: RealRedis, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, Path]]:
    """TLS in front of the server, for the parametrized host: its URL, and its authority's file."""
    certificate = certificate_for(request.param)
    authority = tmp_path / "authority.pem"
    authority.write_bytes(Certificate(certificate.original).dumpPEM())
    front = ProxyFactory("127.0.0.1", redis_server.port)
    front.noisy = False
    port = reactor.listenSSL(0, front, certificate.options(), interface="127.0.0.1")
    yield f"rediss://localhost:{port.getHost().port}", authority
    port.stopListening()


# Twisted's own use of pyOpenSSL, on the side of the server.
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest.mark.parametrize(
    ("tls_front", "known", "message"),
    [
        ("localhost", True, "Redis answers"),
        ("localhost", False, "Redis is not there: certificate"),
        ("elsewhere.example", True, "Redis is not there: certificate"),
    ],
    indirect=["tls_front"],
)
async def test_tls_checks_who_is_there(
    tls_front: tuple[str, Path],
    known: bool,
    message: str,
    start_link: Callable[..., Any],
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, authority = tls_front
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    link = start_link(url)
    await until(lambda: link.message != "Redis was not reached yet")
    assert link.message == message
    if link.ready:
        assert await link.command("PING") == b"PONG"
    log.assert_quiet("elsewhere")
    await link.stop()
    await later(0.05)


def test_connecting_has_a_time_limit() -> None:
    clock = MemoryReactorClock()
    address = parse_redis_url("unix:///run/redis.sock")
    server = Server(clock, address, RedisSettings(None, 2000, 700), Metrics(0.0))
    failed: list[Any] = []
    Deferred.fromCoroutine(server.connect(Connection)).addErrback(failed.append)
    clock.advance(0.6)
    assert not failed
    clock.advance(0.2)
    assert reason_of(failed[0].value) == "timeout"


async def test_a_process_that_stood_still_reads_before_it_judges(
    redis_server: RealRedis, start_link: Callable[..., Any]
) -> None:
    link = start_link(redis_server.url, command_timeout_ms=300)
    await until(lambda: link.ready)
    asked = Deferred.fromCoroutine(link.command("BLPOP", "nothing", "0.1"))
    await later(0.05)
    # The answer comes, and the time limit passes, while nobody looks.
    time.sleep(0.6)
    assert await asked is None
    assert link.metrics.redis_connects == 1


@pytest.mark.slow
def test_without_hiredis_too() -> None:
    """txredisapi's own parser, which is in use where hiredis cannot be installed."""
    chosen = "(replies or order or forgot or redis_hangs or size or anew) and not [redis]"
    files = [str(Path(__file__).with_name(f"test_redis_{name}.py")) for name in ("link", "bus")]
    run = "import sys; sys.modules['hiredis'] = None; import pytest; sys.exit(pytest.main())"
    done = subprocess.run(
        [sys.executable, "-c", run, "-q", "-p", "no:cacheprovider", "-k", chosen, *files],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout
