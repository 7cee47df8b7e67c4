"""``relay-doctor`` on real deployments: each fault is named, with its cure, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority

from twisted_relay.doctor.command import arguments
from twisted_relay.doctor.findings import CHAPTERS

#: What depends on how busy the machine is that runs the tests.
TIMED = {"ping", "room", "redis-latency", "redis-seen", "event-loop", "health-redis"}
MEMORY = {"maxmemory": "64mb", "maxmemory-policy": "noeviction"}


def url(relay: Any) -> str:
    return f"http://127.0.0.1:{relay.port}"


async def test_a_healthy_deployment(
    doctor: Any, start_relay: Any, start_redis: Any, good_secret: str, kinds: Any
) -> None:
    redis = start_redis(password="red-is-the-password-of-this-test", config=MEMORY)
    settings = {
        "HOST": "127.0.0.1",
        "REDIS_URL": redis.url,
        "JOIN_TOKEN_SECRET": good_secret,
        "MAX_TOTAL_CONNECTIONS": 100,
        "ALLOWED_ORIGINS": "https://chat.example",
    }
    relay = start_relay(**settings)
    kinds.poll(lambda: relay.ready, "ready")
    doctor.write_env(PORT=relay.port, **settings)

    found = await doctor()  # where it is, the settings tell
    assert set(found.bad()) <= TIMED, found.out
    assert found.code == (1 if found.bad() else 0)
    assert found.json["url"] == url(relay)
    told = {name: check for name, check in found.checks.items() if check["status"] != "skipped"}
    assert len(told) > 35
    assert {"room", "secret-in-use", "secret", "redis-policy", "file-descriptors"} <= set(told)
    assert "secret" in found.seen("secret-in-use").lower()

    command = doctor.start()
    text, complaints = command.communicate(timeout=60)
    assert (command.returncode, complaints) in ((0, ""), (1, ""))
    for output in (found.out, text):
        assert good_secret not in output
        assert redis.password not in output
        assert redis.url not in output
    assert "ok       websocket" in text
    assert "\x1b" not in text, "no colour where there is no terminal"
    # It left no trace: its room is gone, and both members said goodbye.
    now = relay.metrics()
    assert now["rooms_active"] == now["active_connections"] == 0
    assert now['ws_disconnect_reasons_total{reason="client"}'] == 4
    assert "untrusted_forwarded_for" not in relay.out


async def test_the_json_has_stable_keys(doctor: Any, relay: Any) -> None:
    found = await doctor(url(relay), "--no-room")
    assert sorted(found.json) == ["checks", "status", "url", "version"]
    for check in found.json["checks"]:
        assert sorted(check) == ["chapter", "cure", "name", "seen", "status"]
        assert check["status"] in ("ok", "warn", "fail", "skipped")
        assert bool(check["cure"]) is (check["status"] in ("warn", "fail"))
        assert check["chapter"] in (CHAPTERS if check["cure"] else ("",))
    names = [check["name"] for check in found.json["checks"]]
    assert len(set(names)) == len(names)
    page = (Path(__file__).parents[2] / "docs/relay-doctor.md").read_text(encoding="utf-8")
    assert sorted(names) == sorted(re.findall(r"(?m)^\| `([a-z][a-z-]*)` \|", page))
    assert found.status("room") == "skipped"


async def test_redis_is_dead(
    doctor: Any, start_relay: Any, redis_server: Any, good_secret: str, kinds: Any
) -> None:
    relay = start_relay(REDIS_URL=redis_server.url, REDIS_COMMAND_TIMEOUT_MS=300)
    kinds.poll(lambda: relay.ready, "ready")
    redis_server.kill()
    kinds.poll(lambda: not relay.ready, "not ready")
    found = await doctor(url(relay), REDIS_URL=redis_server.url, JOIN_TOKEN_SECRET=good_secret)
    assert found.code == 2
    for name in ("redis", "ready", "health-redis", "redis-seen", "room"):
        assert found.status(name) == "fail", name
        assert found.checks[name]["chapter"] == "docs/runbook.md#redis-connection-failures"
    assert "refused" in found.seen("redis")
    assert "ERR_UNAVAILABLE" in found.seen("room")
    assert found.status("websocket") == found.status("live") == "ok"


async def test_redis_hangs(doctor: Any, relay: Any, redis_server: Any, good_secret: str) -> None:
    redis_server.freeze()
    found = await doctor(
        url(relay), "--timeout=1", REDIS_URL=redis_server.url, JOIN_TOKEN_SECRET=good_secret
    )
    redis_server.thaw()
    assert found.status("redis") == "fail"
    assert "in time" in found.seen("redis")


async def test_redis_evicts_and_has_no_limit(doctor: Any, relay: Any, start_redis: Any) -> None:
    redis = start_redis(config={"maxmemory-policy": "allkeys-lru"})
    found = await doctor(url(relay), REDIS_URL=redis.url, JOIN_TOKEN_SECRET="x" * 40)
    assert found.status("redis-policy") == found.status("redis-memory") == "warn"
    assert "allkeys-lru" in found.seen("redis-policy")
    assert "noeviction" in found.checks["redis-policy"]["cure"]
    assert found.status("redis-role") == found.status("redis-version") == "ok"


async def test_redis_wants_another_password(doctor: Any, relay: Any, start_redis: Any) -> None:
    redis = start_redis(password="the-right-one-of-them")
    wrong = redis.url.replace("the-right-one-of-them", "the-wrong-one-of-them")
    found = await doctor(url(relay), REDIS_URL=wrong, JOIN_TOKEN_SECRET="x" * 40)
    assert found.status("redis") == "fail"
    assert "WRONGPASS" in found.seen("redis")
    assert "the-wrong-one-of-them" not in found.out
    without = f"redis://127.0.0.1:{redis.port}/0"
    found = await doctor(url(relay), REDIS_URL=without, JOIN_TOKEN_SECRET="x" * 40)
    assert "NOAUTH" in found.seen("redis")


async def test_redis_lets_its_user_ask_little(doctor: Any, relay: Any, start_redis: Any) -> None:
    """The user of the documentation, who may not ask for INFO."""
    redis = start_redis(config=MEMORY)
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"(?m)^user (relay on >PASSWORD .*)$", page)
    redis.command("ACL", "SETUSER", *line.split())
    address = f"redis://relay:PASSWORD@127.0.0.1:{redis.port}/0"
    found = await doctor(url(relay), REDIS_URL=address, JOIN_TOKEN_SECRET="x" * 40)
    assert found.status("redis-version") == "skipped"
    for name in ("redis", "redis-role", "redis-policy", "redis-memory", "redis-clock"):
        assert found.status(name) == "ok", found.seen(name)


async def test_a_relay_that_drains(doctor: Any, start_relay: Any, kinds: Any) -> None:
    relay = start_relay(GRACEFUL_SHUTDOWN_TIMEOUT_MS=15_000)
    client = relay.connect()
    client.create()
    client.answers_pings = False
    relay.freeze()  # so that nothing of the drain has happened before the doctor comes
    relay.terminate()
    relay.thaw()
    kinds.poll(lambda: not relay.ready, "the drain")
    found = await doctor(url(relay))
    assert found.status("ready") == "warn"
    assert "drains" in found.seen("ready")
    assert found.status("websocket") == "warn"
    assert "drains" in found.seen("websocket")
    assert found.status("room") == "skipped"


async def test_secrets_that_are_none(doctor: Any, relay: Any) -> None:
    secret = "change-me-please-this-is-an-example-0001"
    doctor.write_env(0o644, JOIN_TOKEN_SECRET=secret, JOIN_TOKEN_SECRETS_OLD=secret)
    found = await doctor(url(relay))
    assert found.code == 2
    assert found.status("secret") == "fail"
    assert "placeholder" in found.seen("secret")
    assert found.status("old-secrets") == found.status("env-file") == "warn"
    assert found.status("secret-in-use") == "warn", "the relay has another one"
    assert secret not in found.out


async def test_nobody_listens(doctor: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = await doctor(f"ws://127.0.0.1:{free.getsockname()[1]}/ws")
    assert found.code == 2
    assert found.bad() == {"live": "fail", "websocket": "fail"}
    assert "refused" in found.seen("live")


PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nServer: a-web-server\r\n"
    b"Content-Length: 13\r\n\r\n<html></html>"
)


@pytest.mark.parametrize(
    ("words", "then_close", "live", "websocket"),
    [
        (PAGE, True, "not a relay", "HTML page"),
        (b"220 mail.example ESMTP\r\n", True, "does not speak HTTP", "no HTTP"),
        (b"", True, "without an answer", "closed"),
        (b"", False, "in time", "in time"),
        (b"HTTP/1.1 301 x\r\nLocation: https://joe:hush@x.example/a?b\r\nContent-Length: 0\r\n\r\n",
         True, "redirect to https://x.example/a", "HTTP 301, to https://x.example/a"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", True, "502", "502"),
    ],
    ids=["web server", "mail server", "closes", "silent", "redirect", "gateway"],
)  # fmt: skip
async def test_what_answers_is_no_relay(
    doctor: Any, stand: Any, kinds: Any, words: bytes, then_close: bool, live: str, websocket: str
) -> None:
    other = stand(kinds.mute, words, then_close)
    limit = 5 if words or then_close else 0.5
    found = await doctor(f"http://127.0.0.1:{other.port}", f"--timeout={limit}")
    assert found.code == 2
    assert found.status("live") == found.status("websocket") == "fail"
    assert live in found.seen("live")
    assert websocket in found.seen("websocket")


def without_upgrade(head: bytes) -> bytes:
    return re.sub(rb"(?mi)^(upgrade|connection): .*\r\n", b"", head)


async def test_a_proxy_that_strips_the_upgrade(
    doctor: Any, relay: Any, stand: Any, kinds: Any
) -> None:
    proxy = stand(kinds.before, lambda head: relay.port, without_upgrade)
    found = await doctor(f"http://127.0.0.1:{proxy.port}")
    assert found.code == 2
    assert found.status("live") == "ok"
    assert found.status("websocket") == "fail"
    assert "426" in found.seen("websocket")
    assert "Upgrade $http_upgrade" in found.checks["websocket"]["cure"]


async def test_a_proxy_that_keeps_the_subprotocol(
    doctor: Any, relay: Any, stand: Any, kinds: Any
) -> None:
    proxy = stand(
        kinds.before,
        lambda head: relay.port,
        lambda head: re.sub(rb"(?mi)^sec-websocket-protocol: .*\r\n", b"", head),
    )
    found = await doctor(f"http://127.0.0.1:{proxy.port}")
    assert set(found.bad()) - TIMED == {"subprotocol"}


async def test_instances_that_do_not_know_each_other(
    doctor: Any, start_relay: Any, stand: Any, kinds: Any
) -> None:
    one, two = start_relay(), start_relay(SERVICE_VERSION="other")
    front = stand(kinds.before, lambda head: (two if b" /rooms/" in head else one).port)
    found = await doctor(f"http://127.0.0.1:{front.port}")
    assert found.status("room") == "fail"
    assert "do not know each other" in found.seen("room")
    assert "REDIS_URL" in found.checks["room"]["cure"]


@pytest.mark.parametrize(
    ("host", "hours", "known", "bad"),
    [
        ("localhost", 24 * 60, True, {}),
        ("localhost", 24 * 20, True, {"tls-expiry": "warn"}),
        ("localhost", 24 * 3, True, {"tls-expiry": "fail"}),
        ("localhost", -1, True, {"tls-expiry": "fail"}),
        ("localhost", 24 * 60, False, {"tls-trust": "fail"}),
    ],
    ids=["good", "20 days", "3 days", "expired", "unknown authority"],
)
async def test_certificates(
    doctor: Any,
    relay: Any,
    stand: Any,
    kinds: Any,
    tmp_path: Path,
    host: str,
    hours: float,
    known: bool,
    bad: dict[str, str],
) -> None:
    authority, stranger = Authority(), Authority("stranger")
    cert, key = authority.issue(host, hours).write(tmp_path)
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes((authority if known else stranger).issued.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    front = stand(kinds.before, lambda head: relay.port, context=context)
    found = await doctor(f"wss://localhost:{front.port}/ws", "--ca-file", trusted)
    # What ends TLS there tells the relay nothing of it.
    assert {name: how for name, how in found.bad().items() if name not in TIMED} == {
        "proxy-trust": "warn",
        **bad,
    }
    assert found.status("tls") == found.status("websocket") == "ok"
    assert found.status("room") != "fail", found.seen("room")


async def test_tls_of_the_relay_itself(
    doctor: Any, wire: Any, kinds: Any, tmp_path: Path, good_secret: str
) -> None:
    authority = Authority()
    cert, key = authority.issue("elsewhere.example", 24 * 60).write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.issued.pem)
    tls = {"TLS_CERT_FILE": cert, "TLS_KEY_FILE": key, "JOIN_TOKEN_SECRET": good_secret}
    relay = wire.RelayProcess(tmp_path, wait=False, **tls)
    try:
        kinds.poll(lambda: '"listening"' in relay.out, "a relay that listens")
        settings = tls | {"PORT": relay.port, "HOST": "127.0.0.1"}
        found = await doctor("--ca-file", tmp_path / "ca.pem", **settings)
        assert found.json["url"] == f"https://127.0.0.1:{relay.port}"
        assert set(found.bad()) <= TIMED
        assert found.status("tls-name") == "skipped", "by its address nobody knows its name"
        assert "elsewhere.example" in found.seen("tls-name")
        for name in ("tls-files", "secret-in-use", "proxy-trust", "tls-expiry"):
            assert found.status(name) == "ok", name
        _, other_key = authority.issue("elsewhere.example").write(tmp_path, "other-")
        found = await doctor(
            f"https://127.0.0.1:{relay.port}", TLS_CERT_FILE=cert, TLS_KEY_FILE=other_key
        )
        assert "not the key" in found.seen("tls-files")
    finally:
        relay.stop()


async def test_too_few_files(doctor: Any, start_relay: Any) -> None:
    relay = start_relay(MAX_TOTAL_CONNECTIONS=1000)
    resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, (512, 512))
    for more in ([], ["--pid", relay.process.pid]):
        found = await doctor(url(relay), "--no-room", *more)
        assert found.status("file-descriptors") == "warn"
        assert "512 files may be open" in found.seen("file-descriptors")
        assert "LimitNOFILE=1200" in found.checks["file-descriptors"]["cure"]


async def test_without_metrics_the_process_is_found(doctor: Any, start_relay: Any) -> None:
    relay = start_relay(FEATURE_METRICS_ENDPOINT="false", FEATURE_HEALTH_ENDPOINT="false")
    found = await doctor(url(relay), MAX_TOTAL_CONNECTIONS=50)
    assert found.status("file-descriptors") == "ok"
    assert f"process {relay.process.pid}" in found.seen("file-descriptors")
    for name in ("metrics", "memory", "health-memory", "instance"):
        assert found.status(name) == "skipped"
    assert "--ops-url" in found.seen("metrics")


async def test_an_endpoint_for_operators(doctor: Any, start_relay: Any) -> None:
    relay = start_relay(OPS_ENDPOINT="tcp:%OTHER%:interface=127.0.0.1", INSTANCE_ID="here-am-i")
    assert (await doctor(url(relay), "--no-room")).status("memory") == "skipped"
    by_setting = {"OPS_ENDPOINT": f"tcp:{relay.other_port}:interface=127.0.0.1"}
    for found in (
        await doctor(url(relay), "--no-room", "--ops-url", f"http://127.0.0.1:{relay.other_port}"),
        await doctor(url(relay), "--no-room", **by_setting),
    ):
        assert found.status("memory") == "ok"
        assert "here-am-i" in found.seen("instance")


async def test_memory_and_rejections(doctor: Any, start_relay: Any, wire: Any) -> None:
    relay = start_relay(MEMORY_LIMIT_MB=16, MAX_CONNS_PER_IP=1, LOG_HEALTH_CHECK_FAILURES="false")
    held = relay.connect()
    for _ in range(20):
        with pytest.raises(wire.Refused):
            relay.connect()
    found = await doctor(url(relay))
    assert found.code == 2
    assert found.status("memory") == found.status("health-memory") == "fail"
    assert found.checks["memory"]["chapter"] == "docs/runbook.md#high-memory"
    assert found.status("rejections") == found.status("websocket") == "warn"
    assert "ip_limit 2" in found.seen("rejections")
    for name in ("rejections", "websocket"):
        assert found.checks[name]["chapter"] == "docs/runbook.md#high-connection-rejections"
        assert "TRUST_PROXY" in found.checks[name]["cure"]
    held.close()


async def test_what_is_refused_now_shows_beside_all_that_was_not(
    doctor: Any, start_relay: Any, wire: Any, stand: Any, kinds: Any
) -> None:
    """Of 60 handshakes before none was refused; of those between two looks all are."""
    relay = start_relay(MAX_CONNS_PER_IP=1, MAX_CONNECTS_PER_IP_PER_MIN=1000)
    for _ in range(60):
        relay.connect().close()
        kinds.poll(lambda: relay.metrics()["active_connections"] == 0, "its end")
    held = relay.connect()
    scrapes: list[bytes] = []

    def route(head: bytes) -> int:
        if head.startswith(b"GET /metrics"):
            scrapes.append(head)
            for _ in range(4 if len(scrapes) == 2 else 0):
                with pytest.raises(wire.Refused):
                    relay.connect()
        return int(relay.port)

    front = stand(kinds.before, route)
    found = await doctor(f"http://127.0.0.1:{front.port}", "--watch=0.5")
    held.close()
    assert len(scrapes) == 2
    assert found.status("rejections") == "warn", found.seen("rejections")
    assert re.search(
        r"[45] of [45] \(100 %\) in the last 0\.\d s; [45] of 6[56] ", found.seen("rejections")
    )


async def test_counts_of_two_instances_are_not_mixed(
    doctor: Any, start_relay: Any, stand: Any, kinds: Any
) -> None:
    ports = [start_relay().port, start_relay().port]
    scrapes: list[bytes] = []

    def route(head: bytes) -> int:
        if head.startswith(b"GET /metrics"):
            scrapes.append(head)
        return int(ports[len(scrapes) % 2])

    found = await doctor(f"http://127.0.0.1:{stand(kinds.before, route).port}", "--no-room")
    assert len(scrapes) == 3, "until the first one answers again"
    assert "in the last" in found.seen("rejections")
    again: list[bytes] = []

    def never_again(head: bytes) -> int:
        if head.startswith(b"GET /metrics"):
            again.append(head)
        return int(ports[len(again) > 1])

    front = stand(kinds.before, never_again)
    found = await doctor(f"http://127.0.0.1:{front.port}", "--no-room")
    assert "another process answered" in found.seen("rejections")


async def test_a_relay_that_hangs_behind_a_proxy(
    doctor: Any, relay: Any, stand: Any, kinds: Any
) -> None:
    front = stand(kinds.before, lambda head: relay.port)
    relay.freeze()
    try:
        found = await doctor(f"http://127.0.0.1:{front.port}", "--timeout=0.5")
    finally:
        relay.thaw()
    for name in ("live", "websocket"):
        assert found.status(name) == "fail"
        assert "in time" in found.seen(name)
        for part in ("proxy", "by its own port", "restart it"):
            assert part in found.checks[name]["cure"]


async def test_room_creations_are_limited(doctor: Any, start_relay: Any) -> None:
    relay = start_relay(MAX_ROOM_CREATES_PER_IP_PER_MIN=1)
    assert (await doctor(url(relay))).status("room") != "warn"
    found = await doctor(url(relay))
    assert found.status("room") == "warn"
    assert "--no-room" in found.checks["room"]["cure"]
    assert found.code == 1


async def test_a_proxy_here_is_believed(doctor: Any, start_relay: Any) -> None:
    found = await doctor(url(start_relay(TRUST_PROXY="127.0.0.1/32")))
    assert found.status("proxy-trust") == "ok"
    assert "believed, as from a proxy" in found.seen("proxy-trust")


async def test_an_internal_network_is_no_reason_to_warn(
    doctor: Any, start_relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in compose.yaml, whose relay believes all that is on its network."""
    relay = start_relay(TRUST_PROXY="true")
    for out, status in ((False, "ok"), (True, "warn")):
        monkeypatch.setattr("twisted_relay.doctor.examination.leads_out", lambda out=out: out)
        found = await doctor(url(relay), "--no-room", HOST="0.0.0.0", TRUST_PROXY="true")  # noqa: S104
        assert found.status("trust-proxy") == status


async def test_every_bad_setting_is_named(doctor: Any, relay: Any) -> None:
    doctor.write_env(PORT="many", LOG_LEVEL="loud", REDIS_URL="mysql://user:hush-hush@host")
    found = await doctor(url(relay), JOIN_TOKEN_SECRET="short")
    assert found.code == 2
    for name in ("PORT", "LOG_LEVEL", "REDIS_URL", "JOIN_TOKEN_SECRET"):
        assert f"{name}:" in found.seen("settings")
    assert "hush-hush" not in found.out
    assert found.status("websocket") == "ok", "the rest is looked at all the same"
    assert found.status("secret") == "fail"
    assert "cannot be used" in found.seen("redis")
    gone = await doctor(url(relay), "--env-file", "no-such-file")
    assert "No such file" in gone.seen("settings")


async def test_an_idle_connection_is_held(
    doctor: Any, relay: Any, start_relay: Any, stand: Any, kinds: Any
) -> None:
    assert (await doctor(url(relay), "--idle=0.5")).status("room") != "fail"
    impatient = start_relay(WS_PING_INTERVAL_MS=400, WS_PING_TIMEOUT_MS=200)
    assert (await doctor(url(impatient), "--idle=1")).status("room") != "fail", "pings are answered"

    held: set[socket.socket] = set()

    class Ending(kinds.before):
        """Ends all other connections when one member has left: the other is silent then."""

        def passed(self, source: socket.socket, target: socket.socket, data: bytes) -> None:
            held.update((source, target))
            for other in held if b'"LEFT"' in data else ():
                if other not in (source, target):
                    with contextlib.suppress(OSError):
                        other.shutdown(socket.SHUT_RDWR)

    front = stand(Ending, lambda head: relay.port)
    found = await doctor(f"http://127.0.0.1:{front.port}", "--idle=30")
    assert found.status("room") == "fail"
    assert "silent" in found.seen("room")
    assert "timeout tunnel" in found.checks["room"]["cure"]


@pytest.mark.parametrize(
    "given",
    [
        ["ftp://host"],
        ["http://user:pass@host"],
        ["http://127.0.0.1:99999"],
        ["--timeout=never"],
        ["--timeout=0"],
        ["--pid=-3"],
        ["--nonsense"],
        ["--ca-file=/dev/null"],
        ["--ca-file=no-such-file"],
        ["--no-room", "--idle=3"],
        ["http://one", "http://two"],
        ["http://one", "http://user:pass@two/?pass"],
        ["--watch=0"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_one_line(given: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(given)
    assert ended.value.code == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"relay-doctor: .+\n", err)
    assert "pass" not in err


def test_the_command_ends_with_its_status(doctor: Any, stand: Any, kinds: Any) -> None:
    """Bad usage, a failure, an interrupt."""
    silent = stand(kinds.mute, b"", False)
    running = [
        doctor.start("nonsense"),
        doctor.start("http://127.0.0.1:1", "--json"),
        doctor.start(f"http://127.0.0.1:{silent.port}"),
    ]
    kinds.poll(lambda: silent.held, "its first connection", patience=40)
    running[2].send_signal(signal.SIGINT)
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [64, 2, 130]
    assert json.loads(said[1][0])["status"] == "fail"
    assert said[2] == ("", "")


async def test_everything_ends_in_time_whatever_hangs(
    doctor: Any, stand: Any, kinds: Any, good_secret: str
) -> None:
    silent = stand(kinds.mute, b"", False)
    began = time.monotonic()
    found = await doctor(
        f"https://127.0.0.1:{silent.port}",
        whole=0.5,
        REDIS_URL=f"redis://127.0.0.1:{silent.port}",
        JOIN_TOKEN_SECRET=good_secret,
    )
    assert time.monotonic() - began < 4
    assert found.code == 2
    for name in ("live", "websocket", "tls", "redis", "metrics"):
        assert "not done within" in found.seen(name)
    assert found.status("secret") == "ok"


NONSENSE = (
    [],
    {"alive": "yes", "ready": "no", "checks": [], "metrics": [], "instanceId": {}, "version": []},
    {"ready": False, "checks": {"redis": [], "memory": {}, "connections": {"status": {}}},
     "metrics": {"a": None, "uptime_seconds": {"value": "x"}, "redis_ready": {"value": -1},
                 "memory_limit_bytes": {"value": 1e999}, "memory_used_bytes": {"value": 3},
                 'event_loop_lag_seconds_bucket{le="x"}': {"value": 1}}},
    {"timestamp": 10**400, "metrics": {"x": {"value": 10**400}}, "checks": {"redis": 10**400}},
)  # fmt: skip


@pytest.mark.parametrize("body", NONSENSE, ids=range(len(NONSENSE)))
async def test_a_relay_that_talks_nonsense(
    doctor: Any, stand: Any, kinds: Any, body: object
) -> None:
    text = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    other = stand(kinds.mute, head % len(text) + text, True)
    found = await doctor(f"http://127.0.0.1:{other.port}")
    assert found.status("live") == found.status("websocket") == "fail"
    assert len(found.checks) > 40


async def test_a_relay_that_asks_for_a_certificate(
    doctor: Any, wire: Any, kinds: Any, tmp_path: Path
) -> None:
    authority = Authority()
    cert, key = authority.issue("localhost", 24 * 60).write(tmp_path)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.issued.pem)
    operator = authority.issue("operator")
    both = tmp_path / "operator.pem"
    both.write_bytes(operator.chain + operator.key_pem)
    relay = wire.RelayProcess(
        tmp_path, wait=False, TLS_CERT_FILE=cert, TLS_KEY_FILE=key, TLS_CLIENT_CA_FILE=ca
    )
    address = f"https://localhost:{relay.port}"
    try:
        kinds.poll(lambda: '"listening"' in relay.out, "a relay that listens")
        without = await doctor(address, "--ca-file", ca)
        assert without.status("live") == without.status("websocket") == "fail"
        assert "certificate" in without.seen("live")
        assert "--client-cert" in without.checks["live"]["cure"]
        found = await doctor(address, "--ca-file", ca, "--client-cert", both)
        assert set(found.bad()) <= TIMED
    finally:
        relay.stop()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """And the process ends, whatever threads it has."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "twisted_relay.doctor", "--json", "http://127.0.0.1:1"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 74
    assert done.stderr.startswith("relay-doctor: the report cannot be written")
    assert done.stderr.count("\n") == 1
