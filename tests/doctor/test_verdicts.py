"""What is judged of values alone: thresholds, words, and that nothing secret is repeated."""

from __future__ import annotations

import datetime
import json
import math
import os
import secrets
from pathlib import Path
from typing import Any

import attrs
import pytest
from certificates import Authority
from OpenSSL import SSL
from service_identity import VerificationError

from twisted_relay.core.settings import load_settings
from twisted_relay.core.tokens import Claims, TokenSigner
from twisted_relay.doctor import files, load, probes, proxies, redis_verdicts, talk_verdicts, tls
from twisted_relay.doctor.clock import judge_clock, judge_relay_clock
from twisted_relay.doctor.command import wants_colour
from twisted_relay.doctor.counts import Counts, between, read_series
from twisted_relay.doctor.deployment import read_deployment, tcp_address
from twisted_relay.doctor.findings import CHAPTERS, Finding, fail, ok, skipped, warn
from twisted_relay.doctor.line import Closed, ErrorFrame, Refusal, read_refusal
from twisted_relay.doctor.network import SILENT, Answer, Unreachable, reason_of
from twisted_relay.doctor.proxies import Asked
from twisted_relay.doctor.redis import RedisFacts, parse_info
from twisted_relay.doctor.report import as_json, as_text, exit_code
from twisted_relay.doctor.routes import leads_out
from twisted_relay.doctor.secrecy import (
    guessable,
    judge_env_file,
    judge_old_secrets,
    judge_secret,
)
from twisted_relay.doctor.talk import Greeting, RoomTalk
from twisted_relay.doctor.target import TargetError, parse_target, shown_url

ROOT = Path(__file__).parents[2]
NEAR, FAR = parse_target("http://10.0.0.7:3001"), parse_target("http://chat.example")
SECURE = parse_target("https://chat.example")


def answer(status: int = 200, body: object = None, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, names, json.dumps(body).encode(), 100.0, 100.1)


def named(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


# Addresses.


@pytest.mark.parametrize(
    ("text", "url", "websocket"),
    [
        ("http://chat.example", "http://chat.example", "ws://chat.example/ws"),
        ("wss://chat.example/ws", "https://chat.example", "wss://chat.example/ws"),
        ("https://chat.example:444/", "https://chat.example:444", "wss://chat.example:444/ws"),
        ("https://x.example/chat", "https://x.example/chat", "wss://x.example/chat/ws"),
        ("https://x.example/chat/ws/", "https://x.example/chat", "wss://x.example/chat/ws"),
        ("ws://[::1]:3001/ws", "http://[::1]:3001", "ws://[::1]:3001/ws"),
        ("https://bücher.example", "https://xn--bcher-kva.example", "wss://xn--bcher-kva.example/ws"),
    ],
)  # fmt: skip
def test_urls_as_clients_know_them(text: str, url: str, websocket: str) -> None:
    target = parse_target(text)
    assert (target.url, target.websocket) == (url, websocket)


@pytest.mark.parametrize(
    "text",
    ["", "chat.example", "ftp://a", "http://", "http://a:0", "http://a:x", "http://a b",
     "https://u:p@a", "https://a/#k=1", "https://a/?x", "https://a/ä", "https://[::1", "https://a..b"],
)  # fmt: skip
def test_what_is_no_url_of_a_relay(text: str) -> None:
    with pytest.raises(TargetError):
        parse_target(text)


@pytest.mark.parametrize(
    ("host", "near", "loopback"),
    [("127.0.0.1", True, True), ("localhost", True, True), ("10.1.2.3", True, False),
     ("[fe80::1]", True, False), ("203.0.114.1", False, False), ("chat.example", False, False)],
)  # fmt: skip
def test_near_and_far(host: str, near: bool, loopback: bool) -> None:
    target = parse_target(f"http://{host}")
    assert (target.near, target.loopback) == (near, loopback)


@pytest.mark.parametrize(
    ("endpoint", "where"),
    [
        ("tcp:3001", ("", 3001)),
        ("wss:tcp:443:interface=203.0.113.5", ("203.0.113.5", 443)),
        ("haproxy:tcp:port=81", ("", 81)),
        (r"tcp6:80", None),
        (r"tcp:80:interface=\:\:1", ("::1", 80)),
        ("unix:/run/relay.sock", None),
    ],
)
def test_where_an_endpoint_listens(endpoint: str, where: object) -> None:
    assert tcp_address(endpoint) == where


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:3001"),
        ({"HOST": "::1", "PORT": "5"}, "http://[::1]:5"),
        ({"RELAY_ENDPOINTS": "unix:/a tcp:81:interface=127.0.0.3"}, "http://127.0.0.3:81"),
        (
            {"RELAY_ENDPOINTS": "wss:tcp:443", "TLS_CERT_FILE": "c", "TLS_KEY_FILE": "k"},
            "https://localhost",
        ),
    ],
)
def test_the_default_url_is_by_the_settings(settings: dict[str, str], url: str) -> None:
    assert read_deployment(settings, "/dev/null").default_target().url == url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://joe:hush@chat.example:444/a?b#c", "https://chat.example:444/a"),
        ("//joe:hush@chat.example/a", "//chat.example/a"),
        ("https://joe:hu@sh@chat.example/", "https://chat.example/"),
        ("https://" + "joe" * 50 + ":hush@chat.example/", "https://chat.example/"),
        ("/login;hush?hush", "/login"),
        ("https:joe:hush@chat.example", "an address that cannot be read"),
        ("joe:hush@chat.example", "an address that cannot be read"),
        ("https://joe:hu/sh@chat.example", "an address that cannot be read"),
        ("https://[::1", "an address that cannot be read"),
        ("joe/hush@chat.example", "/..."),
        ("", ""),
    ],
)
def test_no_url_is_shown_with_what_may_be_secret(text: str, shown: str) -> None:
    assert shown_url(text) == shown
    if text:
        redirect = f"HTTP/1.1 302 x\r\nLocation: {text}\r\n\r\n".encode()
        found = talk_verdicts.judge_websocket(Greeting(read_refusal(redirect)))
        live = probes.judge_live(answer(302, location=text))
        for seen in (found.seen, live.seen):
            assert shown in seen
            assert "hu" not in seen.replace("HTTP", "")


# Settings and secrets.


def test_all_faults_are_found_and_the_rest_is_kept() -> None:
    found = read_deployment(
        {"PORT": "0x5", "TLS_KEY_FILE": "k", "QR_ROTATION_MS": "-1", "MAX_CONNS_PER_IP": "7"},
        "/dev/null",
    )
    assert {fault.split(":")[0] for fault in found.faults} == {
        "PORT",
        "QR_ROTATION_MS",
        "TLS_CERT_FILE",
    }
    assert found.settings.admission.max_conns_per_ip == 7
    assert found.settings.listen.port == 3001


def test_redis_is_known_where_only_the_secret_is_missing() -> None:
    found = read_deployment({"REDIS_URL": "redis://x"}, "/dev/null")
    assert len(found.faults) == 1
    assert found.settings.redis.url == "redis://x"
    assert judge_secret(found.values).status == "fail"


def test_what_cannot_be_used_or_read_is_not_called_unset(tmp_path: Path) -> None:
    nothing = read_deployment({}, "/dev/null")
    assert nothing.absent("REDIS_URL") == "REDIS_URL is not set here"
    bad = read_deployment({"REDIS_URL": "redis://u:p@h:1/x", "TLS_CERT_FILE": "c"}, "/dev/null")
    for name in ("REDIS_URL", "TLS_CERT_FILE"):
        assert "cannot be used" in bad.absent(name)
    path = tmp_path / "relay.env"
    path.write_text("a word\nREDIS_URL=redis://x\n")
    unread = read_deployment({}, str(path))
    for name in ("REDIS_URL", "TLS_CERT_FILE"):
        assert "cannot be read" in unread.absent(name)
    assert "cannot be read" in judge_secret(unread.values, unread.unread).seen
    assert "is not set here" in judge_secret(nothing.values, nothing.unread).seen


def test_chance_is_not_taken_for_a_word() -> None:
    for _ in range(100):
        for secret in (
            secrets.token_urlsafe(48),
            secrets.token_urlsafe(24),
            secrets.token_hex(32),
            secrets.token_hex(16),
        ):
            assert guessable(secret) is None, secret


@pytest.mark.parametrize(
    "secret",
    [
        "a" * 40,
        "your-256-bit-secret-goes-in-here-now",
        "0123456789abcdef0123456789abcdef",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "Kx7!Kx7!Kx7!Kx7!Kx7!Kx7!Kx7!Kx7!",
        "correct horse battery staple and more",
        "aB1aB1aB2aB1aB1aB3aB1aB1aB1aB1aB1aB1",
    ],
)
def test_what_could_be_guessed(secret: str) -> None:
    finding = judge_secret({"JOIN_TOKEN_SECRET": secret})
    assert finding.status in ("warn", "fail")
    assert secret not in finding.seen + finding.cure


def test_old_secrets() -> None:
    new, old = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
    values = {"JOIN_TOKEN_SECRET": new}
    assert judge_old_secrets(values, ()).status == "ok"
    assert judge_old_secrets(values, (old.encode(),)).status == "ok"
    assert judge_old_secrets(values, (old.encode(), new.encode())).status == "warn"
    assert judge_old_secrets(values, (b"change-me-" * 4,)).status == "warn"


@pytest.mark.parametrize(
    ("mode", "status"), [(0o600, "ok"), (0o640, "ok"), (0o644, "warn"), (0o666, "fail")]
)
def test_who_may_read_the_file(tmp_path: Path, mode: int, status: str) -> None:
    path = tmp_path / ".env"
    path.touch()
    path.chmod(mode)
    assert judge_env_file(path).status == status
    assert judge_env_file(None).status == "skipped"


# TLS.


def test_a_certificate_for_another_name() -> None:
    certificate = Authority().issue("other.example", 24 * 90).certificate
    shown = tls.Shown(certificate, frozenset(), "TLSv1.3")
    now = datetime.datetime.now(datetime.UTC)
    found = named(tls.judge_tls(shown, SECURE, now))
    assert found["tls-name"].status == "fail"
    assert "other.example" in found["tls-name"].seen
    assert {found[name].status for name in ("tls", "tls-expiry", "tls-trust")} == {"ok"}
    by_address = tls.judge_tls(shown, parse_target("https://203.0.114.7"), now)
    assert named(by_address)["tls-name"].status == "fail"


def test_dates_versions_and_objections() -> None:
    certificate = Authority().issue("chat.example", 24 * 90).certificate
    now = datetime.datetime.now(datetime.UTC)
    early = now - datetime.timedelta(days=2)
    shown = tls.Shown(certificate, frozenset({9, 10}), "TLSv1.1")
    found = named(tls.judge_tls(shown, SECURE, early))
    assert "not yet" in found["tls-expiry"].seen
    assert found["tls-trust"].status == "ok", "dates are no matter of trust"
    assert found["tls"].status == "fail"
    for day, status in ((59, "ok"), (61, "warn"), (84, "fail"), (91, "fail")):
        then = now + datetime.timedelta(days=day)
        assert named(tls.judge_tls(shown, SECURE, then))["tls-expiry"].status == status
    unknown = attrs.evolve(shown, objections=frozenset({20}))
    assert named(tls.judge_tls(unknown, SECURE, now))["tls-trust"].status == "fail"


def test_tls_files(tmp_path: Path) -> None:
    cert, key = Authority().issue("a.example", 24 * 90).write(tmp_path)
    listen = load_settings({"TLS_CERT_FILE": str(cert), "TLS_KEY_FILE": str(key)}).settings.listen
    assert tls.judge_files(listen).status == "ok"
    key.write_bytes(b"nonsense")
    assert tls.judge_files(listen).status == "fail"
    key.unlink()
    assert "No such file" in tls.judge_files(listen).seen


# Probes and proxies.


def test_ready_and_health() -> None:
    draining = {"ready": False, "timestamp": 1, "checks": {"redis": True, "configLoaded": True}}
    assert probes.judge_ready(answer(503, draining)).status == "warn"
    without = draining | {"checks": {"redis": False}}
    assert probes.judge_ready(answer(503, without)).status == "fail"
    assert probes.judge_ready(answer(404)).status == "skipped"
    assert probes.judge_ready(answer(200, ["odd"])).status == "fail"
    one = {"instanceId": "a", "version": "1", "checks": {"redis": {"status": "warn"}, "memory": 3}}
    found = named(probes.judge_health(answer(200, one)))
    assert found["health-redis"].status == "warn"
    assert found["health-memory"].status == found["health-connections"].status == "skipped"
    other = one | {"instanceId": "b"}
    assert probes.judge_instances([answer(200, one), answer(200, other)]).status == "ok"
    rolling = probes.judge_instances([answer(200, one), answer(200, one | {"version": "2"})])
    assert rolling.status == "warn"


SECURITY = {"x_content_type_options": "nosniff"}
HSTS = SECURITY | {"strict_transport_security": "max-age=1"}


@pytest.mark.parametrize(
    ("target", "plain", "spoofed", "status"),
    [
        (FAR, SECURITY, SECURITY, "ok"),
        (FAR, SECURITY, HSTS, "fail"),
        (NEAR, SECURITY, HSTS, "ok"),
        (FAR, HSTS, HSTS, "skipped"),
        (FAR, {}, {}, "skipped"),
        (SECURE, HSTS, HSTS, "ok"),
        (SECURE, SECURITY, SECURITY, "warn"),
    ],
)
def test_who_is_believed(target: Any, plain: Any, spoofed: Any, status: str) -> None:
    asked = Asked(answer(**plain), answer(**spoofed))
    assert proxies.judge_belief(asked, target).status == status
    if target is SECURE and status == "ok":
        assert "cannot be told apart" in proxies.judge_belief(asked, target).seen
    gone = Asked(Unreachable("gone"), answer(**spoofed))
    assert proxies.judge_belief(gone, target).status == "skipped"


@pytest.mark.parametrize(
    ("settings", "out", "status"),
    [
        ({"PORT": "3001"}, True, "ok"),
        ({"TRUST_PROXY": "true"}, True, "warn"),
        ({"TRUST_PROXY": "true"}, None, "warn"),
        ({"TRUST_PROXY": "true", "HOST": "0.0.0.0"}, False, "ok"),  # noqa: S104
        ({"TRUST_PROXY": "true", "HOST": "127.0.0.1"}, True, "ok"),
        ({"TRUST_PROXY": "10.0.0.5/32"}, True, "ok"),
        ({"TRUST_PROXY": "10.0.0.0/8"}, True, "ok"),
        ({"TRUST_PROXY": "0.0.0.0/0"}, False, "fail"),
        ({"TRUST_PROXY": "127.0.0.1,::/0"}, True, "fail"),
        ({}, True, "skipped"),
    ],
)
def test_the_setting_of_proxies(settings: dict[str, str], out: bool | None, status: str) -> None:
    found = proxies.judge_trust_setting(read_deployment(settings, "/dev/null"), out)
    assert found.status == status
    assert ("nobody but the proxy" in found.seen) is (out is False and status == "ok")


ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
INSIDE = "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
NOWHERE = "0" * 32
REFUSED_6 = f"{NOWHERE} 00 {NOWHERE} 00 {NOWHERE} ffffffff 00000001 00000000 00200200       lo\n"


@pytest.mark.parametrize(
    ("four", "six", "out"),
    [
        (ROUTES + INSIDE, REFUSED_6, False),
        (ROUTES + INSIDE, None, False),
        (ROUTES, "", False),
        (
            ROUTES + INSIDE + "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
            "",
            True,
        ),
        (ROUTES + "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n", "", True),
        (
            ROUTES + INSIDE,
            f"{NOWHERE} 00 {NOWHERE} 00 fd{'0' * 29}1 00000400 00000003 00000000 00000003 eth0\n",
            True,
        ),
        (ROUTES + "eth0\t0000A8C0\t010012AC\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n", "", True),
        ("nonsense\nnonsense\n", "", None),
        (None, None, None),
    ],
    ids=[
        "internal",
        "no IPv6",
        "none",
        "gateway",
        "tunnel",
        "IPv6",
        "further",
        "nonsense",
        "not told",
    ],
)
def test_whether_a_route_leads_out(
    tmp_path: Path, four: str | None, six: str | None, out: bool | None
) -> None:
    folder = tmp_path / "proc/net"
    folder.mkdir(parents=True)
    for name, text in (("route", four), ("ipv6_route", six)):
        if text is not None:
            (folder / name).write_text(text)
    assert leads_out(tmp_path) is out


@pytest.mark.parametrize(
    ("settings", "target", "origins", "cors"),
    [
        ({"PORT": "3001"}, FAR, "warn", "ok"),
        ({"PORT": "3001"}, NEAR, "ok", "ok"),
        ({"ALLOWED_ORIGINS": "https://a.example"}, FAR, "ok", "ok"),
        ({"CORS_ALLOW_CREDENTIALS": "yes"}, NEAR, "ok", "warn"),
        (
            {"CORS_ALLOW_CREDENTIALS": "yes", "CORS_ALLOWED_ORIGINS": "https://a.example"},
            NEAR,
            "ok",
            "ok",
        ),
        ({}, FAR, "skipped", "skipped"),
    ],
)
def test_origins(settings: dict[str, str], target: Any, origins: str, cors: str) -> None:
    found = proxies.judge_origins(read_deployment(settings, "/dev/null"), target)
    assert [finding.status for finding in found] == [origins, cors]


# The dialogue.


@pytest.mark.parametrize(
    ("head", "status", "seen"),
    [
        (b"HTTP/1.1 426 Upgrade Required\r\n\r\n", "fail", "upgrade does not get"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "fail", "upgrade does not get"),
        (b'HTTP/1.1 429 x\r\n\r\n{"code":"ERR_RATE_LIMITED"}', "warn", "ERR_RATE_LIMITED"),
        (
            b'HTTP/1.1 503 x\r\n\r\n{"code":"ERR_UNAVAILABLE","message":'
            b'"This instance is shutting down."}',
            "warn",
            "drains",
        ),
        (b'HTTP/1.1 503 x\r\n\r\n{"code":"ERR_UNAVAILABLE"}', "fail", "at capacity"),
        (b"HTTP/1.0 503 x\r\nServer: p\r\n\r\n<html>", "fail", "HTML page"),
        (b"HTTP/1.1 302 x\r\nLocation: https://a/b?secret\r\n\r\n", "fail", "to https://a/b"),
        (b"HTTP/1.1 403 x\r\n\r\n", "fail", "HTTP 403"),
        (b"HTTP/1.1 404 x\r\n\r\n", "fail", "HTTP 404"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "fail", "HTTP 200"),
        (b"SSH-2.0-x\r\n", "fail", "no HTTP"),
        (b"", "fail", "no HTTP"),
        (b"HTTP/1.1 99999 x\r\n\r\n[[[", "fail", "no HTTP"),
    ],
)
def test_refused_handshakes(head: bytes, status: str, seen: str) -> None:
    found = talk_verdicts.judge_websocket(Greeting(read_refusal(head)))
    assert found.status == status
    assert seen in found.seen
    assert "?secret" not in found.seen


@pytest.mark.parametrize(
    ("step", "fault", "status", "word"),
    [
        ("create", ErrorFrame("ERR_RATE_LIMITED"), "warn", "--no-room"),
        ("create", ErrorFrame("ERR_UNAVAILABLE"), "fail", "Redis"),
        ("create", Closed(1012, "service restart"), "fail", "log"),
        ("token", answer(429), "warn", "TRUST_PROXY"),
        ("token", answer(404, {"code": "ERR_NO_ROOM"}), "fail", "same REDIS_URL"),
        ("token", answer(404, "<html>"), "fail", "/rooms"),
        ("connect", Refusal(429), "warn", "TRUST_PROXY"),
        ("join", ErrorFrame("ERR_NO_ROOM"), "fail", "same REDIS_URL"),
        ("join", ErrorFrame("ERR_TOKEN_MAC"), "fail", "same JOIN_TOKEN_SECRET"),
        ("message", Unreachable("no answer in time"), "fail", "log"),
        ("idle", Closed(1006, ""), "fail", "timeout tunnel"),
    ],
)
def test_a_room_that_fails(step: str, fault: Any, status: str, word: str) -> None:
    found = talk_verdicts.judge_room(RoomTalk(step=step, fault=fault))
    assert found.status == status
    assert word in found.cure
    assert found.chapter in CHAPTERS


def test_a_relay_that_hangs_behind_a_proxy() -> None:
    """It may be either of them, whether the proxy gives up or the doctor does."""
    silent = Unreachable(SILENT)
    for found in (
        probes.judge_live(silent),
        probes.judge_live(answer(504)),
        probes.judge_ready(answer(504)),
        talk_verdicts.judge_websocket(Greeting(silent)),
        talk_verdicts.judge_websocket(Greeting(Refusal(502))),
        talk_verdicts.judge_room(RoomTalk(step="token", fault=answer(504))),
    ):
        assert found.status == "fail"
        assert "proxy" in found.cure
        assert "its log" in found.cure
        assert "each instance by its own port" in found.cure
        assert "hangs" in found.cure


def test_slow_answers() -> None:
    assert talk_verdicts.judge_ping(Greeting(ping_seconds=0.3)).status == "warn"
    assert talk_verdicts.judge_ping(Greeting()).status == "fail"
    assert talk_verdicts.judge_room(RoomTalk(seconds=0.3)).status == "warn"
    assert talk_verdicts.judge_room(RoomTalk(seconds=0.1)).status == "ok"


def test_who_signed_the_token() -> None:
    mine, other = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
    tokens = load_settings({"JOIN_TOKEN_SECRET": mine}).settings.tokens

    def judged(secret: str) -> Finding:
        token = TokenSigner(secret.encode(), (), os.urandom).sign(Claims("room", 1000, "jti"))
        talk = RoomTalk(token=token, room_id="room")
        found = talk_verdicts.judge_signature(talk, tokens, os.urandom, 2000)
        assert token not in found.seen
        return found

    assert judged(mine).status == "ok", "its time is over by this clock, its signature is good"
    assert judged(other).status == "warn"
    assert talk_verdicts.judge_signature(RoomTalk(), tokens, os.urandom, 1).status == "skipped"


# Redis.

INFO = parse_info(
    "# Server\r\nredis_version:7.2.5\r\nused_memory:1000\r\nmaxmemory:10000\r\n"
    "maxmemory_policy:noeviction\r\nevicted_keys:0\r\n"
)
FACTS = RedisFacts(
    role="master",
    info=INFO,
    configured={
        "save": "",
        "appendonly": "no",
        "client-output-buffer-limit": "normal 0 0 0 slave 1 1 60 pubsub 33554432 8388608 60",
    },
    pings=(0.001,) * 9 + (0.5,),
    ahead=(0.1, 0.001),
)


def test_a_redis_as_it_should_be() -> None:
    found = redis_verdicts.judge_redis(FACTS)
    assert [finding.name for finding in found] == list(redis_verdicts.NAMES)
    assert {finding.status for finding in found} == {"ok"}


@pytest.mark.parametrize(
    ("change", "name", "status"),
    [
        ({"role": "slave"}, "redis-role", "fail"),
        ({"info": INFO | {"cluster_enabled": "1"}}, "redis-role", "fail"),
        ({"info": INFO | {"redis_version": "6.2.14"}}, "redis-version", "fail"),
        (
            {"info": INFO | {"server_name": "valkey", "valkey_version": "8.0.1"}},
            "redis-version",
            "ok",
        ),
        ({"info": INFO | {"maxmemory_policy": "allkeys-lru"}}, "redis-policy", "warn"),
        ({"info": INFO | {"maxmemory": "0"}}, "redis-memory", "warn"),
        ({"info": INFO | {"used_memory": "8100"}}, "redis-memory", "warn"),
        ({"info": INFO | {"used_memory": "9600"}}, "redis-memory", "fail"),
        (
            {
                "info": INFO | {"rdb_last_bgsave_status": "err"},
                "configured": {"save": "60 1", "appendonly": "no"},
            },
            "redis-persistence",
            "fail",
        ),
        (
            {"configured": {"client-output-buffer-limit": "pubsub 0 0 0"}},
            "redis-buffers",
            "warn",
        ),
        (
            {"configured": {"client-output-buffer-limit": "pubsub 65536 0 0"}},
            "redis-buffers",
            "warn",
        ),
        ({"pings": (0.02,) * 10}, "redis-latency", "warn"),
        ({"pings": (0.2,) * 10}, "redis-latency", "fail"),
        ({"ahead": (-3.0, 0.1)}, "redis-clock", "warn"),
        ({"ahead": (9.0, 0.1)}, "redis-clock", "fail"),
        ({"info": {}}, "redis-memory", "skipped"),
        ({"configured": {}}, "redis-buffers", "skipped"),
    ],
)
def test_a_redis_as_it_should_not_be(change: Any, name: str, status: str) -> None:
    found = named(redis_verdicts.judge_redis(attrs.evolve(FACTS, **change)))
    assert found[name].status == status, found[name].seen


@pytest.mark.parametrize(
    "fault",
    [
        SSL.Error([("SSL routines", "", "certificate verify failed")]),
        VerificationError(errors=[]),
    ],
)
def test_a_redis_whose_certificate_is_not_good(fault: Exception) -> None:
    """Not its state is what is to be looked at."""
    facts = RedisFacts(fault=reason_of(fault), step="enter")
    found = redis_verdicts.judge_redis(facts)[0]
    assert found.status == "fail"
    assert "is not reached: TLS fails (" in found.seen
    assert "SSL_CERT_FILE" in found.cure


# Metrics, files, clocks.

SERIES = {
    "uptime_seconds": 7300.0,
    "memory_used_bytes": 100.0,
    "memory_limit_bytes": 1000.0,
    "active_connections": 10.0,
    "limit_max_total_connections": 100.0,
    "total_connections": 1000.0,
    'ws_connection_rejected{reason="ip_limit"}': 0.0,
    'unhandled_errors{path="/ws"}': 0.0,
    'errors_sent_total{code="ERR_UNAVAILABLE"}': 0.0,
    'ws_messages_received{type="PING"}': 1000.0,
    'ws_disconnect_reasons_total{reason="slow_consumer"}': 0.0,
    'ws_disconnect_reasons_total{reason="rate_limit"}': 0.0,
    'ws_disconnect_reasons_total{reason="client"}': 900.0,
    'event_loop_lag_seconds_bucket{le="0.01"}': 995.0,
    'event_loop_lag_seconds_bucket{le="0.5"}': 1000.0,
    'event_loop_lag_seconds_bucket{le="+Inf"}': 1000.0,
    "event_loop_lag_seconds_count": 1000.0,
    "redis_ready": 1.0,
    "redis_connects": 2.0,
    "redis_errors": 0.0,
    'redis_latency_seconds_bucket{le="0.001"}': 100.0,
    'redis_latency_seconds_bucket{le="+Inf"}': 100.0,
    "redis_latency_seconds_count": 100.0,
    "bus_messages_refused_total": 0.0,
}


def test_a_scrape_as_it_should_be() -> None:
    found = load.judge_load(Counts(SERIES))
    assert [finding.name for finding in found] == list(load.NAMES)
    assert {finding.status for finding in found} == {"ok"}
    assert "2 hours" in found[0].seen


@pytest.mark.parametrize(
    ("series", "value", "name", "status"),
    [
        ("memory_used_bytes", 810, "memory", "warn"),
        ("memory_used_bytes", 960, "memory", "fail"),
        ("memory_limit_bytes", 0, "memory", "skipped"),
        ("active_connections", 91, "connections", "warn"),
        ('ws_connection_rejected{reason="ip_limit"}', 90, "rejections", "ok"),
        ('ws_connection_rejected{reason="ip_limit"}', 130, "rejections", "warn"),
        ('unhandled_errors{path="/ws"}', 1, "unhandled-errors", "warn"),
        ('errors_sent_total{code="ERR_UNAVAILABLE"}', 20, "errors", "warn"),
        ('errors_sent_total{code="ERR_UNAVAILABLE"}', 60, "errors", "fail"),
        ('ws_disconnect_reasons_total{reason="slow_consumer"}', 60, "slow-consumers", "warn"),
        ('ws_disconnect_reasons_total{reason="rate_limit"}', 60, "rate-limits", "warn"),
        ('event_loop_lag_seconds_bucket{le="0.01"}', 900, "event-loop", "warn"),
        ('event_loop_lag_seconds_bucket{le="+Inf"}', 9000, "event-loop", "fail"),
        ("event_loop_lag_seconds_count", 3, "event-loop", "skipped"),
        ("redis_ready", 0, "redis-seen", "fail"),
        ('redis_latency_seconds_bucket{le="0.001"}', 90, "redis-seen", "warn"),
        ("redis_connects", 0, "redis-seen", "skipped"),
        ("bus_messages_refused_total", 1, "bus", "warn"),
        ("total_connections", math.nan, "rejections", "skipped"),
    ],
)
def test_a_scrape_as_it_should_not_be(series: str, value: float, name: str, status: str) -> None:
    found = named(load.judge_load(Counts(SERIES | {series: float(value)})))
    assert found[name].status == status, found[name].seen


def test_of_few_events_no_share_is_taken() -> None:
    few = SERIES | {"total_connections": 3.0, 'ws_connection_rejected{reason="ip_limit"}': 3.0}
    assert named(load.judge_load(Counts(few)))["rejections"].status == "ok"


REJECTED = 'ws_connection_rejected{reason="ip_limit"}'
UNAVAILABLE = 'errors_sent_total{code="ERR_UNAVAILABLE"}'
SLOW = 'ws_disconnect_reasons_total{reason="slow_consumer"}'


def later(was: dict[str, float], seconds: float = 2.0, **grown: float) -> Counts | None:
    """What two looks at /metrics give."""
    now = was | {"uptime_seconds": was["uptime_seconds"] + seconds}
    now |= {key: now.get(key, 0.0) + more for key, more in grown.items()}
    one, two = (
        answer(200, {"metrics": {key: {"value": value} for key, value in series.items()}})
        for series in (was, now)
    )
    return between(one, attrs.evolve(two, sent=one.sent + 2.0, came=one.came + 2.0))


OLD_TROUBLE = SERIES | {
    REJECTED: 900.0,
    UNAVAILABLE: 500.0,
    SLOW: 500.0,
    "bus_messages_refused_total": 7.0,
    'event_loop_lag_seconds_bucket{le="0.01"}': 10.0,
    'redis_latency_seconds_bucket{le="0.001"}': 1.0,
}
CALM = {
    "total_connections": 30.0,
    'ws_messages_received{type="PING"}': 100.0,
    'event_loop_lag_seconds_bucket{le="0.01"}': 4.0,
    'event_loop_lag_seconds_bucket{le="0.5"}': 4.0,
    'event_loop_lag_seconds_bucket{le="+Inf"}': 4.0,
    "event_loop_lag_seconds_count": 4.0,
    'redis_latency_seconds_bucket{le="0.001"}': 2.0,
    'redis_latency_seconds_bucket{le="+Inf"}': 2.0,
    "redis_latency_seconds_count": 2.0,
}


@pytest.mark.parametrize("grown", [CALM, {}], ids=["calm", "nothing"])
def test_old_trouble_is_a_remark(grown: dict[str, float]) -> None:
    counts = later(OLD_TROUBLE, **grown)
    assert counts is not None
    found = named(load.judge_load(counts))
    judged = ["rejections", "errors", "slow-consumers", "bus"]
    judged += ["event-loop", "redis-seen"] if grown else []
    for name in judged:
        assert found[name].status == "ok", found[name].seen
        assert "since the start, 2 hours ago" in found[name].seen
    assert "none of" in found["rejections"].seen.split("in the last 2 s")[0]


@pytest.mark.parametrize(
    ("grown", "name", "status", "seen"),
    [
        ({REJECTED: 48.0, "total_connections": 2.0}, "rejections", "warn", "48 of 50 (96 %) in"),
        ({'ws_connection_rejected{reason="new"}': 3.0}, "rejections", "warn", "new 3"),
        ({REJECTED: 2.0}, "rejections", "ok", "2 of 2"),
        ({UNAVAILABLE: 3.0, 'ws_messages_received{type="PING"}': 100.0}, "errors", "warn", "3 of"),
        ({UNAVAILABLE: 9.0, 'ws_messages_received{type="PING"}': 100.0}, "errors", "fail", "9 of"),
        ({SLOW: 4.0}, "slow-consumers", "warn", "4 of 4"),
        ({UNAVAILABLE: 4.0}, "errors", "fail", "4 of 0 in"),
        ({"bus_messages_refused_total": 1.0}, "bus", "warn", "1 in the last 2 s"),
        ({'unhandled_errors{path="/ws"}': 2.0}, "unhandled-errors", "warn", "2 of them in the"),
        (
            CALM | {'event_loop_lag_seconds_bucket{le="0.01"}': 1.0},
            "event-loop", "warn", "500 ms at most for 50 % in the last 2 s",
        ),
        (
            CALM | {'redis_latency_seconds_bucket{le="0.001"}': 0.0},
            "redis-seen", "warn", "for 50 % in the last 2 s",
        ),
    ],
)  # fmt: skip
def test_what_happens_now_is_judged(
    grown: dict[str, float], name: str, status: str, seen: str
) -> None:
    """However well the process did before."""
    was = SERIES | {"total_connections": 1e6, 'ws_messages_received{type="PING"}': 1e6}
    counts = later(was, **grown)
    assert counts is not None
    found = named(load.judge_load(counts))[name]
    assert found.status == status, found.seen
    assert seen in found.seen


def test_a_young_process_is_judged_by_all_it_did() -> None:
    counts = later(OLD_TROUBLE | {"uptime_seconds": 60.0})
    assert counts is not None
    found = named(load.judge_load(counts))
    for name in ("rejections", "slow-consumers", "bus", "event-loop", "redis-seen"):
        assert found[name].status in ("warn", "fail"), found[name].seen
    assert found["rejections"].seen.endswith("none of 0 in the last 2 s: ip_limit 900")


@pytest.mark.parametrize(
    "change",
    [
        {"total_seen_total": -1.0},
        {"uptime_seconds": -7000.0},
        {"uptime_seconds": 60.0},
        {"process_start_time_seconds": 0.01},
    ],
    ids=["fell", "restarted", "older", "began at another time"],
)
def test_only_one_process_is_compared_with_itself(change: dict[str, float]) -> None:
    was = SERIES | {"total_seen_total": 5.0, "process_start_time_seconds": 1e9}
    assert later(was) is not None
    assert later(was, **change) is None


def test_metrics_that_make_no_sense() -> None:
    odd = {"a": {"value": "x"}, "b": 3, "memory_used_bytes": {"value": 1}}
    series = read_series(answer(200, {"metrics": odd}))
    assert isinstance(series, dict)
    assert {finding.status for finding in load.judge_load(Counts(series))} <= {"ok", "skipped"}
    for reply in (answer(403), answer(200, []), Unreachable("gone")):
        assert isinstance(read_series(reply), str)


def test_open_files(tmp_path: Path) -> None:
    folder = tmp_path / "proc/77"
    folder.mkdir(parents=True)
    (folder / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units\n"
        "Max open files            1024                 524288               files\n"
    )
    found = files.of_process(77, tmp_path)
    assert found == files.OpenFiles(1024, None, "process 77"), "who may not see them cannot count"
    assert files.judge_files(found, 10_000).status == "warn"
    assert files.judge_files(found, 800).status == "ok"
    assert files.judge_files(files.OpenFiles(1024, 1000, "x"), 800).status == "fail"
    assert files.judge_files(files.OpenFiles(math.inf, 1000, "x"), 1e7).status == "ok"
    assert files.judge_files(files.of_process(78, tmp_path), 1).status == "skipped"
    assert files.judge_files(None, 1).status == "skipped"


@pytest.mark.parametrize(
    ("ahead", "error", "status"),
    [(0.0, 0.1, "ok"), (-2.5, 0.1, "warn"), (2.5, 1.0, "ok"), (5.2, 0.1, "fail"), (6, 2, "warn")],
)
def test_clocks(ahead: float, error: float, status: str) -> None:
    assert judge_clock("clock", "its clock", ahead, error).status == status


def test_the_relays_clock_by_what_there_is() -> None:
    greeting = Greeting(server_ms=100_000, sent=109.9, came=110.1)
    assert judge_relay_clock(greeting, None).status == "fail"
    nothing = Greeting(Unreachable("gone"))
    assert judge_relay_clock(nothing, answer(200, {"timestamp": 97_050})).status == "warn"
    dated = answer(200, {}, date="Thu, 01 Jan 1970 00:01:40 GMT")
    assert judge_relay_clock(nothing, dated).status == "ok"
    assert judge_relay_clock(nothing, answer(200, {}, date="soon")).status == "skipped"
    assert judge_relay_clock(nothing, None).status == "skipped"


# The report.

SEVERAL = [
    ok("one", "all is well"),
    skipped("two", "no reason"),
    skipped("three", "no reason"),
    warn("four", "it is \x1b[2Jslow " + "and slow " * 30, "Make it fast.", CHAPTERS[0]),
]


def test_the_exit_code() -> None:
    assert exit_code(SEVERAL[:3]) == 0
    assert exit_code(SEVERAL) == 1
    assert exit_code([*SEVERAL, fail("five", "a", "b", CHAPTERS[0])]) == 2


def test_the_text() -> None:
    text = as_text("http://x", SEVERAL, colour=False)
    assert "skipped  two ... three  no reason" in text
    assert "\x1b" not in text, "what came over the network moves no cursor"
    assert max(map(len, text.splitlines())) <= 100
    assert "cure  Make it fast." in text
    assert "1 ok, 1 to be looked at, 0 failed, 2 skipped" in text
    coloured = as_text("http://x", SEVERAL, colour=True)
    assert "\x1b[33mWARN" in coloured
    assert json.loads(as_json("http://x", SEVERAL))["status"] == "warn"


def test_colour_is_for_terminals() -> None:
    class Terminal:
        def __init__(self, yes: bool) -> None:
            self.isatty = lambda: yes

    yes, no = Terminal(True), Terminal(False)
    assert wants_colour(yes, {})  # type: ignore[arg-type]
    assert not wants_colour(no, {})  # type: ignore[arg-type]
    assert not wants_colour(yes, {"NO_COLOR": "1"})  # type: ignore[arg-type]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_chapter_is_there(chapter: str) -> None:
    path, _, anchor = chapter.partition("#")
    text = (ROOT / path).read_text(encoding="utf-8")
    titles = [line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#")]
    anchors = {
        "".join(sign for sign in title.lower() if sign.isalnum() or sign in " -_").replace(" ", "-")
        for title in titles
    }
    assert not anchor or anchor in anchors
