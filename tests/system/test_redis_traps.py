"""What lies in Redis, and what an operator may see of it: how long, under which keys, and nothing
of what people say, are called, show at the door, or where they are."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import socket
import threading
import time

import pytest

ADDRESS = "127.77.66.55"
LABEL = "Persephone Quux"
PAYLOAD = base64.urlsafe_b64encode(b"a very distinctive secret").decode().rstrip("=")
READ = {
    b"hash": ("HGETALL",),
    b"string": ("GET",),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"list": ("LRANGE", 0, -1),
}


class Watch:
    """Sees every command that Redis is given (MONITOR), and looks at all keys all the time."""

    def __init__(self, redis):
        self.redis = redis
        self.lines: list[str] = []
        self.keys: set[str] = set()
        self.immortal: set[str] = set()
        self.looks = 0
        self._over = threading.Event()
        self._connection = socket.create_connection(("127.0.0.1", redis.port), 10)
        self._connection.sendall(b"*1\r\n$7\r\nMONITOR\r\n")
        self._connection.settimeout(None)
        self._threads = [threading.Thread(target=run) for run in (self._listen, self._look)]
        for thread in self._threads:
            thread.start()

    def _listen(self):
        with self._connection.makefile("rb") as stream:
            for line in stream:
                self.lines.append(line.decode("latin-1").rstrip("\r\n"))

    def _look(self):
        while not self._over.wait(0.02):
            for key in self.redis.command("KEYS", "*"):
                name = key.decode("latin-1")
                self.keys.add(name)
                if self.redis.command("PTTL", key) == -1:
                    self.immortal.add(name)
            self.looks += 1

    def contents(self):
        """All that is in Redis now, as one text."""
        found = []
        for key in self.redis.command("KEYS", "*"):
            kind = self.redis.command("TYPE", key)
            if kind in READ:
                name, *rest = READ[kind]
                found.append(f"{key!r} {self.redis.command(name, key, *rest)!r}")
        return "\n".join(found)

    def stop(self):
        self._over.set()
        self._connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._connection.close()


def _words(line):
    """The words of one line of MONITOR: after the time and the place, each in quotes."""
    return re.findall(r'"((?:[^"\\]|\\.)*)"', line)


@pytest.fixture(scope="module")
def busy(new_cluster, wire):
    """Everything that can happen to rooms, seen from Redis' side."""
    cluster = new_cluster(
        LOG_LEVEL="trace",
        LOG_REQUESTS="true",
        ROOM_MAX_PARTICIPANTS=5,
        QR_ROTATION_MS=800,
        ROOM_EMPTY_GRACE_MS=700,
        REDIS_COMMAND_TIMEOUT_MS=700,
        MAX_ROOM_CREATES_PER_IP_PER_MIN=30,
    )
    cluster.watch = watch = Watch(cluster.redis)
    cluster.said = said = {ADDRESS, LABEL, PAYLOAD}
    cluster.texts = []
    try:
        _live(cluster, wire.People(seed=9), wire, said)
    finally:
        cluster.hang_up()
        watch.stop()
    for relay in cluster.relays:
        relay.terminate()
    for relay in cluster.relays:
        relay.process.wait(wire.patience)
    return cluster


def _live(cluster, people, wire, said):
    one, two, three = cluster.grow(3)
    for relay in (one, two, three):
        relay.connect = functools.partial(relay.connect, source=ADDRESS)
    parties = [people.party() for _ in range(3)]
    for party, relays in zip(
        parties, ((one, two, three, one), (two, three), (one, one)), strict=True
    ):
        party.create(relays[0], label=LABEL)
        for relay in relays[1:]:
            party.join(relay, label=LABEL)
        party.counted(len(relays))
        party.chatter(party.here, 20, 1.0, say=3, show=2, ping=1)
        for stay in party.here:
            people.after(0.5, lambda stay=stay: stay.say(PAYLOAD))
    wide = parties[0]
    wide.join(three, wide.stays[1].next_token)
    token = one.http_token(wide.room_id)
    said.add(token)
    for _ in range(2):
        wide.ask(two, token)
    wide.ask(three, wire.mint(wide.room_id, "some other secret " * 3))
    cluster.texts.append(cluster.watch.contents())
    people.spend(1.0)
    for _ in range(40):
        one.http("POST", "/rooms", source=ADDRESS)
    wide.stays[3].client.abort()
    wide.stays[0].leave()
    people.spend(0.3)
    cluster.texts.append(cluster.watch.contents())
    cluster.redis.command("FLUSHALL")
    people.spend(4.0)
    cluster.texts.append(cluster.watch.contents())
    cluster.redis.freeze()
    parties[0].chatter(parties[0].here, 5, 0.5)
    people.spend(1.5)
    cluster.redis.thaw()
    for relay in (one, two, three):
        people.until(lambda relay=relay: relay.ready, "ready")
    for party in parties:
        party.settled()
    three.kill()
    people.spend(0.5)
    for party in parties:
        for stay in party.stays:
            if stay.joined:
                said |= {party.room_id, stay.next_token, stay.client.address}
                said |= {f["body"]["qrToken"] for f in stay.frames("QR_ROTATED")}
                said |= {words.text for words in stay.said.values() if words.text}
    cluster.members = {s.member_id for p in parties for s in p.stays if s.joined}
    for party in parties:
        for stay in party.stays:
            stay.client.close()
    people.spend(1.0)
    cluster.texts.append(cluster.watch.contents())


def _secrets(said):
    """All that was said, and its parts, and the forms in which an address might be hidden badly."""
    parts = {part for secret in said for part in secret.split(".") if len(part) > 12}
    plain = hashlib.sha256(ADDRESS.encode())
    hidden = {plain.hexdigest(), base64.urlsafe_b64encode(plain.digest()).decode().rstrip("=")}
    return {secret.lower() for secret in said | parts | hidden}


def _kept(line):
    """Whether this command may leave something in Redis: messages only pass through it."""
    words = _words(line)
    return bool(words) and words[0].upper() != "PUBLISH"


def test_nothing_private_is_ever_given_to_redis_to_keep(busy):
    kept = "\n".join(line for line in busy.watch.lines if _kept(line)).lower()
    keys = "\n".join(busy.watch.keys).lower()
    contents = "\n".join(busy.texts).lower()
    assert "evalsha" in kept
    assert "hgetall" in kept or contents
    for secret in _secrets(busy.said):
        for place in (kept, keys, contents):
            assert secret not in place, secret


def test_messages_pass_through_channels_and_touch_no_key(busy):
    channels = {
        _words(line)[1]
        for line in busy.watch.lines
        if (_words(line) or [""])[0].upper() == "PUBLISH"
    }
    assert channels
    for channel in channels:
        for secret in _secrets(busy.said):
            assert secret not in channel.lower()


def test_trap_25_nothing_private_is_in_any_log_or_metric_at_trace(busy):
    for relay in busy.relays:
        log = relay.log.lower()
        assert log
        assert "traceback" not in log
        for secret in _secrets(busy.said | busy.members):
            assert secret not in log, secret


def test_every_key_has_a_time_to_live_at_every_look(busy):
    assert busy.watch.looks > 50
    assert len(busy.watch.keys) > 5
    assert busy.watch.immortal == set()


def test_trap_12_scripts_touch_only_declared_keys_which_share_one_hash_tag(busy):
    declared: set[str] = set()
    scripts = touched = 0
    for line in busy.watch.lines:
        words = _words(line)
        if not words:
            continue
        command = words[0].upper()
        if command in ("EVALSHA", "EVAL"):
            count = int(words[2])
            declared = set(words[3 : 3 + count])
            tags = {re.search(r"\{(.+?)\}", key)[1] for key in declared}
            assert count, line
            assert len(tags) == 1, "one hash tag for all keys of a script"
            assert all(re.match(r"[a-z]+\d+:", key) for key in declared), "keys carry a version"
            scripts += 1
        elif " lua]" in line and command not in ("TIME", "PUBLISH"):
            assert words[1] in declared, line
            touched += 1
    assert scripts > 20
    assert touched > 20


def test_trap_12_rooms_live_in_a_redis_cluster(new_cluster, people, wire):
    """A server in cluster mode refuses whatever would not work on a cluster of many."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    redis = wire.RealRedis(config={"cluster-enabled": "yes", "cluster-port": str(port)})
    redis.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    wire.poll(lambda: b"cluster_state:ok" in redis.command("CLUSTER", "INFO"), "a cluster")
    cluster = new_cluster(redis, QR_ROTATION_MS=500, ROOM_EMPTY_GRACE_MS=0)
    two = cluster.grow(2)
    for _ in range(5):
        party = people.party()
        owner, guest = party.gather(*two)
        party.chatter(party.here, 10, 0.2)
        party.settled()
        back = party.join(two[0], guest.next_token)
        people.until(lambda owner=owner: owner.frames("QR_ROTATED"), "a rotation")
        back.leave()
        party.counted(1)
        party.check()
    assert two[0].http("POST", "/rooms").status == 200
    before = sum(relay.metrics()["redis_errors"] for relay in two)
    assert before == 0


def test_nothing_is_left_in_redis_when_all_is_over(new_cluster, people, wire):
    cluster = new_cluster(ROOM_EMPTY_GRACE_MS=100)
    two = cluster.grow(2)
    began = time.monotonic()
    for _ in range(10):
        party = people.party()
        party.gather(*two)
        for stay in party.here:
            stay.leave()
        people.until(lambda party=party: not party.here, "LEFT")
    cluster.hang_up()
    left = [k.decode() for k in cluster.redis.command("KEYS", "*")]
    # What may outlive a room is bounded: spent tokens until they expire, counts for a minute.
    for key in left:
        assert 0 < cluster.redis.command("PTTL", key) <= 90_000, key
    assert time.monotonic() - began < 15
