"""SIGHUP, from outside: what a relay takes up from its `.env`, and what it says of the rest."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from cryptography import x509

ROOT = Path(__file__).resolve().parents[2]
NEW_SECRET = "another-secret-made-up-for-these-tests-0002"
SHARED_SECRET = "a-secret-made-up-for-the-system-tests-0001"
#: Empty in the environment, so that the file has its say.
LEFT_TO_THE_FILE = (
    "JOIN_TOKEN_SECRET",
    "MAX_CONNS_PER_IP",
    "MAX_CONNECTS_PER_IP_PER_MIN",
    "MAX_HTTP_PER_IP_PER_MIN",
    "MAX_ROOM_CREATES_PER_IP_PER_MIN",
)


class Reloading:
    """A relay whose settings stand in a file, and what it says when it reads that again."""

    def __init__(self, wire: Any, folder: Path, program: str, **settings: object) -> None:
        self._poll = wire.poll
        self.file = folder / ".env"
        self.write(JOIN_TOKEN_SECRET=SHARED_SECRET, **settings)
        self.relay = wire.RelayProcess(folder, program, **dict.fromkeys(LEFT_TO_THE_FILE, ""))

    def write(self, **settings: object) -> None:
        self.file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def said(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.relay.log.splitlines()]
        return [line for line in lines if line.get("event") in ("reloaded", "reload_refused")]

    def __call__(self, **settings: object) -> dict[str, Any]:
        """Write the file, hang up, and return the line that follows."""
        before = len(self.said())
        self.write(**settings)
        self.relay.process.send_signal(signal.SIGHUP)
        self._poll(lambda: len(self.said()) > before, "a line about the reload")
        return self.said()[-1]


@pytest.fixture
def reloading(wire: Any, tmp_path: Path) -> Iterator[Callable[..., Reloading]]:
    made: list[Reloading] = []

    def make(program: str = "twistd", **settings: object) -> Reloading:
        made.append(Reloading(wire, tmp_path, program, **settings))
        return made[-1]

    yield make
    for each in made:
        each.relay.stop()
        assert "Traceback" not in each.relay.log
        assert all("refused" in line for line in each.relay.err.splitlines())


@pytest.mark.parametrize("program", ["twistd", "twist"])
def test_limits_level_and_origins_change_and_nobody_is_disconnected(
    reloading: Any, wire: Any, program: str
) -> None:
    reload = reloading(program)
    room, (ada, ben) = reload.relay.room(2)
    said = reload(
        JOIN_TOKEN_SECRET=SHARED_SECRET,
        MAX_CONNS_PER_IP=3,
        MAX_MSGS_PER_10S=5,
        ROOM_MAX_PARTICIPANTS=2,
        MAX_ROOM_CREATES_PER_IP_PER_MIN=1,
        ALLOWED_ORIGINS="https://chat.example",
        LOG_LEVEL="debug",
    )
    assert said["event"] == "reloaded"
    assert said["setting"] == (
        "LOG_LEVEL, MAX_MSGS_PER_10S, MAX_CONNS_PER_IP, ALLOWED_ORIGINS, "
        "ROOM_MAX_PARTICIPANTS, MAX_ROOM_CREATES_PER_IP_PER_MIN"
    )
    # Who is here keeps the rates that held when it came, and its seat.
    for _ in range(20):
        ada.say(room)
    assert ada.kinds().count("APP_MSG") + ben.kinds().count("APP_MSG") >= 20
    with pytest.raises(wire.Refused) as refused:
        reload.relay.connect(headers={"Origin": "https://evil.example"})
    assert refused.value.answer.status == 403
    cat = reload.relay.connect(headers={"Origin": "https://chat.example"})
    hello = cat.hello["body"]["limits"]
    assert (hello["maxMsgsPer10s"], hello["maxParticipants"]) == (5, 2)
    assert cat.send("JOIN_REQUEST", roomId=room, token=reload.relay.http_token(room))
    assert cat.refused() == "ERR_ROOM_FULL"
    with pytest.raises(wire.Refused) as refused:
        reload.relay.connect()
    assert refused.value.answer.status == 429
    cat.raw(cat.frame(b'{"v":1,"t":"PING","id":"a-quick-one","body":{}}') * 6)
    assert cat.close_reason() == (1008, "rate limit exceeded")
    metrics = reload.relay.metrics()
    assert [value for name, value in metrics.items() if "max_conns_per_ip" in name] == [3]


def test_a_bad_value_changes_nothing_and_is_named(reloading: Any, wire: Any) -> None:
    reload = reloading(MAX_CONNS_PER_IP=2)
    said = reload(JOIN_TOKEN_SECRET=SHARED_SECRET, MAX_CONNS_PER_IP=1, MAX_MSGS_PER_10S="many")
    assert said["event"] == "reload_refused"
    assert said["level"] == "error"
    assert said["setting"] == "MAX_MSGS_PER_10S"
    assert (
        "everything stays as it was: MAX_MSGS_PER_10S: 'many' is not a whole number" in said["msg"]
    )
    assert reload.relay.connect()
    assert reload.relay.connect()
    with pytest.raises(wire.Refused):
        reload.relay.connect()
    reload.file.unlink()
    before = len(reload.said())
    reload.relay.process.send_signal(signal.SIGHUP)
    wire.poll(lambda: len(reload.said()) > before, "a line about the missing file")
    assert "--env-file: '.env': No such file" in reload.said()[-1]["msg"]


def test_what_needs_a_restart_is_named_in_one_line(reloading: Any) -> None:
    reload = reloading()
    port = reload.relay.port
    said = reload(JOIN_TOKEN_SECRET=SHARED_SECRET, WS_PING_INTERVAL_MS=20000, QR_ROTATION_MS=5000)
    assert said["setting"] == "nothing new"
    [line] = [e for e in reload.relay.events() if e.get("event") == "restart_needed"]
    assert line["level"] == "warn"
    assert line["setting"] == "WS_PING_INTERVAL_MS, QR_ROTATION_MS"
    assert reload.relay.connect().hello["body"]["pingIntervalMs"] == 30000
    assert reload.relay.port == port


def test_a_secret_is_changed_without_a_restart(reloading: Any, wire: Any) -> None:
    reload = reloading()
    room, [ada] = reload.relay.room()
    old = reload.relay.http_token(room)
    said = reload(JOIN_TOKEN_SECRET=NEW_SECRET, JOIN_TOKEN_SECRETS_OLD=SHARED_SECRET)
    assert said["setting"] == "JOIN_TOKEN_SECRET, JOIN_TOKEN_SECRETS_OLD"
    assert NEW_SECRET not in reload.relay.log
    assert SHARED_SECRET not in reload.relay.log
    ben = reload.relay.connect()
    ben.join(room, old)
    cat = reload.relay.connect()
    cat.join(room, wire.mint(room, NEW_SECRET))
    leftover = reload.relay.http_token(room)
    reload(JOIN_TOKEN_SECRET=NEW_SECRET)
    dan = reload.relay.connect()
    dan.send("JOIN_REQUEST", roomId=room, token=wire.mint(room, SHARED_SECRET))
    assert dan.refused() == "ERR_TOKEN_MAC"
    dan.join(room, leftover)
    ada.say(room)


def test_a_daemon_finds_its_file_again_and_lives_on(wire: Any, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_CONNS_PER_IP=9\n")
    (tmp_path / "elsewhere").mkdir()
    run = "from twisted.scripts.twistd import run; run()"
    pid_file, log = tmp_path / "relay.pid", tmp_path / "relay.log"
    options = [f"--pidfile={pid_file}", f"--logfile={log}", "--rundir=elsewhere"]
    subprocess.run(
        [sys.executable, "-c", run, *options, "relay", "--host", "127.0.0.1", "--port", "0"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=60,
    )
    wire.poll(lambda: pid_file.exists() and "listening" in log.read_text(), "the daemon")
    pid = int(pid_file.read_text())
    try:
        (tmp_path / ".env").write_text("MAX_CONNS_PER_IP=8\n")
        os.kill(pid, signal.SIGHUP)
        wire.poll(lambda: "reloaded; taken up: MAX_CONNS_PER_IP" in log.read_text(), "a reload")
        [port] = re.findall(r'"port":(\d+)', log.read_text())
        assert wire.http(int(port), "GET", "/live").status == 200
    finally:
        os.kill(pid, signal.SIGTERM)
    wire.poll(lambda: not pid_file.exists(), "the daemon's end")


def test_instances_change_their_secret_one_after_another_and_nobody_notices(
    wire: Any, redis_server: Any, tmp_path: Path
) -> None:
    relays, files = [], []
    for name in ("left", "right"):
        files.append(tmp_path / name / ".env")
        files[-1].parent.mkdir()
        files[-1].write_text(f"JOIN_TOKEN_SECRET={SHARED_SECRET}\n")
        relays.append(
            wire.RelayProcess(tmp_path / name, JOIN_TOKEN_SECRET="", REDIS_URL=redis_server.url)
        )
    left, right = relays
    try:
        for relay in relays:
            wire.poll(lambda relay=relay: relay.ready, "ready")
        room, [ada] = left.room()
        first = left.http_token(room)
        ben = right.connect()
        ben.join(room, first)
        steps = (
            f"JOIN_TOKEN_SECRET={SHARED_SECRET}\nJOIN_TOKEN_SECRETS_OLD={NEW_SECRET}\n",
            f"JOIN_TOKEN_SECRET={NEW_SECRET}\nJOIN_TOKEN_SECRETS_OLD={SHARED_SECRET}\n",
        )
        said = 0
        for step, text in enumerate(steps, 1):
            for relay, file in zip(relays, files, strict=True):
                file.write_text(text)
                relay.process.send_signal(signal.SIGHUP)
                wire.poll(lambda relay=relay, n=step: relay.out.count('"reloaded"') == n, "reload")
                # Between any two of these both sides hear each other.
                for speaker, listener in ((ada, ben), (ben, ada)):
                    said += 1
                    text_said = f"bWVzc2FnZQ{said:04}"
                    speaker.say(room, text_said)
                    while listener.until("APP_MSG")["body"]["ciphertextB64"] != text_said:
                        pass
        cat = left.connect()
        cat.join(room, right.http_token(room))
        for relay in relays:
            assert relay.metrics()["bus_messages_refused_total"] == 0
    finally:
        for relay in relays:
            relay.stop()
    assert left.err == right.err == ""


def test_rules_for_http_change_from_the_next_call_on(reloading: Any) -> None:
    reload = reloading(CORS_ALLOWED_ORIGINS="https://old.example", MAX_HTTP_PER_IP_PER_MIN=50)
    relay = reload.relay
    page = {"Origin": "https://new.example"}
    assert "access-control-allow-origin" not in relay.http("POST", "/rooms", headers=page).headers
    said = reload(
        JOIN_TOKEN_SECRET=SHARED_SECRET,
        CORS_ALLOWED_ORIGINS="https://new.example",
        MAX_HTTP_PER_IP_PER_MIN=3,
    )
    assert said["setting"] == "MAX_HTTP_PER_IP_PER_MIN, CORS_ALLOWED_ORIGINS"
    answers = [relay.http("POST", "/rooms", headers=page) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["access-control-allow-origin"] == "https://new.example"
    assert relay.http("GET", "/live").status == 200


def _served(port: int, authority: Authority) -> tuple[ssl.SSLSocket, int]:
    """A connection, and the serial number of the certificate that is served on it."""
    context = ssl.create_default_context(cadata=authority.issued.pem.decode())
    connection = context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), 10), server_hostname="relay.example"
    )
    served = connection.getpeercert(binary_form=True)
    assert served is not None
    return connection, x509.load_der_x509_certificate(served).serial_number


def test_certificates_are_renewed_with_the_settings_or_neither(wire: Any, tmp_path: Path) -> None:
    authority = Authority()
    first, second = authority.issue("relay.example"), authority.issue("relay.example")
    cert, key = first.write(tmp_path)
    env = tmp_path / ".env"
    env.write_text("MAX_CONNS_PER_IP=7\n")
    left = {"MAX_CONNS_PER_IP": "", "TLS_CERT_FILE": cert, "TLS_KEY_FILE": key}
    relay = wire.RelayProcess(tmp_path, wait=False, **left)
    try:
        wire.poll(lambda: '"listening"' in relay.out, "listening")
        kept, serial = _served(relay.port, authority)
        assert serial == first.certificate.serial_number
        cert.write_bytes(b"no certificate")
        env.write_text("MAX_CONNS_PER_IP=8\n")
        relay.process.send_signal(signal.SIGHUP)
        wire.poll(lambda: "reload_refused" in relay.err, "a refusal")
        assert "everything stays as it was: TLS_CERT_FILE" in relay.err
        second.write(tmp_path)
        relay.process.send_signal(signal.SIGHUP)
        wire.poll(lambda: '"reloaded"' in relay.out, "a reload")
        assert "reloaded; taken up: MAX_CONNS_PER_IP" in relay.out
        new, serial = _served(relay.port, authority)
        assert serial == second.certificate.serial_number
        for connection in (kept, new):
            connection.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(99).startswith(b"HTTP/1.1 200 ")
            connection.close()
    finally:
        relay.stop()
    assert "Traceback" not in relay.log
