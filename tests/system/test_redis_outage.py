"""Redis frozen, killed, emptied, absent, hung; or one link of one instance lost: who sees what."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.slow

MAYBE = {"ERR_UNAVAILABLE"}
TIME_LIMIT = 0.7
#: Seconds within which rooms are whole again once Redis is.
HEALED = 10.0


@pytest.fixture(scope="module")
def shared(new_cluster):
    """Two instances: one on Redis itself, one through a line that a test may hold or cut."""
    cluster = new_cluster(ROOM_MAX_PARTICIPANTS=6, REDIS_COMMAND_TIMEOUT_MS=int(TIME_LIMIT * 1000))
    cluster.start(cluster.redis.url, cluster.line().url)
    return cluster


@pytest.fixture
def cluster(shared, wire):
    for relay in shared.relays[:2]:
        wire.poll(lambda relay=relay: relay.ready, "ready")
    yield shared
    shared.mend()
    shared.hang_up()


class Rooms:
    """A room on one instance, one on both, and one that both instances have members in."""

    def __init__(self, cluster, people):
        self.people = people
        self.near, self.far = cluster.relays[:2]
        self.local, self.spanning, self.wide = (people.party() for _ in range(3))
        self.local.gather(self.near, self.near)
        self.spanning.gather(self.near, self.far)
        self.wide.gather(self.near, self.far, self.near, self.far)
        self.parties = (self.local, self.spanning, self.wide)
        self.spent = self.near.http_token(self.wide.room_id)
        self.wide.join(self.far, self.spent)
        self.wide.counted(5)

    def talk(self, messages, seconds):
        for party in self.parties:
            party.chatter(party.here, messages, seconds, say=5, show=1)

    def come_back(self, patience):
        for party in self.parties:
            for stay in list(party.stays):
                returned = {s.member_id for s in party.here}
                if stay.ended and stay.joined and stay.member_id not in returned:
                    _joined_within(self.people, party, stay.relay, patience, stay.next_token)

    def whole(self, patience=HEALED):
        """Everybody is there, on both instances, and hears everybody; and new people can come."""
        for relay in (self.near, self.far):
            self.people.until(lambda relay=relay: relay.ready, "ready", patience)
        self.come_back(patience)
        for party in self.parties:
            party.settled(patience)
            for relay in (self.far, self.near):
                guest = _joined_within(self.people, party, relay, patience)
                party.whole(patience)
                guest.leave()
                self.people.until(lambda guest=guest: not guest.here, "LEFT")
                party.counted(len(party.here), patience)
                gone = f"{guest.label} has left the chat"
                assert all(stay.texts()[-1] == gone for stay in party.here)

    def check(self):
        # A room of one instance loses nothing; it may be told GAP where nobody can say any more
        # whether somebody was elsewhere for a moment.
        self.local.check(gaps=True)
        words = [stay.sequence() for stay in self.local.here]
        assert words[0] == words[1]
        assert not any(stay.unanswered() for stay in self.local.here)
        for party in self.parties[1:]:
            party.check(gaps=True, refusals=MAYBE)
        for party, size in zip(self.parties, (2, 2, 5), strict=True):
            assert len(party.here) == size
            assert len({stay.member_id for stay in party.here}) == size


def _joined_within(people, party, relay, patience, next_token=""):
    """Somebody who comes, or comes back, as soon as it is possible."""
    asked = []

    def came():
        if not asked or asked[-1].refused or asked[-1].ended:
            if next_token:
                asked.append(party.ask(relay, next_token))
            else:
                answer = relay.http("GET", f"/rooms/{party.room_id}/token")
                if answer.status == 200:
                    asked.append(party.ask(relay, answer.json["token"]))
        return asked and asked[-1].joined and asked[-1].count

    people.until(came, "a join", patience)
    return asked[-1]


def _code(relay, room_id, token):
    client = relay.connect()
    client.send("JOIN_REQUEST", roomId=room_id, token=token)
    frame = client.next()
    return "JOINED" if frame["t"] == "JOINED" else frame["body"]["code"]


def _probed(relay):
    """The status of each probe; each answers without waiting."""
    found = {}
    for path in ("/live", "/ready", "/health", "/metrics", "/healthz"):
        began = time.monotonic()
        found[path] = relay.http("GET", path).status
        assert time.monotonic() - began < 0.3, f"{path} waited"
    return found


def _is_out(cluster, people):
    """Both instances say that Redis is away, and do so at once."""
    for relay in cluster.relays[:2]:
        people.until(lambda relay=relay: _probed(relay)["/ready"] == 503, "not ready")
        assert _probed(relay) == {
            "/live": 200,
            "/ready": 503,
            "/health": 503,
            "/metrics": 200,
            "/healthz": 200,
        }
        assert relay.http("GET", "/ready").json["checks"]["redis"] is False
        assert relay.metrics()["redis_ready"] == 0


def _cannot_come_in(relay, room_id, wire):
    """Create and join are refused within the command's time limit, and an older client is sent
    away after a join, to come back."""
    token = wire.mint(room_id)
    client = relay.connect()
    for send in (lambda: client.send("ROOM_CREATE"), lambda: client.send("ROOM_CREATE")):
        began = time.monotonic()
        send()
        assert client.refused() == "ERR_UNAVAILABLE"
        assert time.monotonic() - began < TIME_LIMIT + 0.5
    client.fence()  # the connection stays
    began = time.monotonic()
    client.send("JOIN_REQUEST", roomId=room_id, token=token)
    assert client.refused() == "ERR_UNAVAILABLE"
    assert time.monotonic() - began < TIME_LIMIT + 0.5
    assert client.close_reason() == (1013, "try again later")
    for method, path in (("POST", "/rooms"), ("GET", f"/rooms/{room_id}/token")):
        answer = relay.http(method, path)
        assert (answer.status, answer.json["code"]) == (503, "ERR_UNAVAILABLE")
    return token


def _errors(relay):
    return relay.metrics()["redis_errors"]


def test_trap_13_trap_14_redis_hangs_in_the_middle_of_a_chat(cluster, people, wire):
    rooms = Rooms(cluster, people)
    errors = [_errors(relay) for relay in cluster.relays[:2]]
    rooms.talk(20, 1.0)
    people.spend(0.4)
    cluster.redis.freeze()
    rooms.talk(40, 2.0)
    _is_out(cluster, people)
    token = _cannot_come_in(rooms.near, rooms.wide.room_id, wire)
    _cannot_come_in(rooms.far, rooms.local.room_id, wire)
    began = time.monotonic()
    rooms.local.settled()
    rooms.local.here[0].say()
    rooms.local.settled()
    assert time.monotonic() - began < 3.0, "a room on one instance goes on without Redis"
    rooms.local.check()
    people.until(lambda: not people.busy, "all said")
    people.until(
        lambda: not any(s.unanswered() for p in rooms.parties for s in p.here),
        "an answer to everything said into a room that cannot be reached",
    )
    rooms.spanning.check(gaps=True, refusals=MAYBE)
    rooms.wide.check(gaps=True, refusals=MAYBE)
    assert all(_errors(r) > e for r, e in zip(cluster.relays, errors, strict=False))
    cluster.redis.thaw()
    rooms.whole()
    rooms.check()
    assert _code(rooms.far, rooms.wide.room_id, rooms.spent) == "ERR_TOKEN_REPLAY"
    # A join that was given up may have happened, and the seat was given back.
    assert _code(rooms.far, rooms.wide.room_id, token) in ("JOINED", "ERR_TOKEN_REPLAY")


def test_trap_09_redis_dies_and_comes_back_empty(cluster, people, wire):
    rooms = Rooms(cluster, people)
    attempts = [relay.metrics()["redis_reconnect_attempts"] for relay in cluster.relays[:2]]
    errors = [_errors(relay) for relay in cluster.relays[:2]]
    rooms.talk(20, 1.0)
    people.spend(0.4)
    cluster.redis.kill()
    rooms.talk(30, 1.5)
    _is_out(cluster, people)
    for relay in (rooms.near, rooms.far):
        _cannot_come_in(relay, rooms.wide.room_id, wire)
    gone = rooms.wide.here[-1]
    gone.client.abort()  # somebody is lost meanwhile, and comes back
    people.until(lambda: not people.busy, "all said")
    rooms.local.settled()
    assert all(
        relay.metrics()["redis_reconnect_attempts"] > before
        for relay, before in zip(cluster.relays, attempts, strict=False)
    )
    assert all(_errors(r) > e for r, e in zip(cluster.relays, errors, strict=False))
    assert all(relay.process.poll() is None for relay in cluster.relays[:2])
    cluster.redis.restart()
    began = time.monotonic()
    rooms.whole()
    assert time.monotonic() - began < 2 * HEALED
    rooms.check()
    for relay in (rooms.near, rooms.far):
        assert _code(relay, rooms.wide.room_id, rooms.spent) == "ERR_TOKEN_REPLAY"
    labels = [stay.label for stay in rooms.wide.here]
    assert len(set(labels)) == 5


def test_trap_09_everything_in_redis_is_forgotten_under_live_rooms(cluster, people):
    rooms = Rooms(cluster, people)
    first = rooms.wide.stays[0].next_token
    rooms.wide.join(rooms.far, first)  # the generation that was used is to be known afterwards
    rooms.wide.join(rooms.near, rooms.wide.here[-1].next_token)
    rooms.talk(40, 2.0)
    people.spend(0.5)
    cluster.redis.command("FLUSHALL")
    people.until(lambda: not people.busy, "all said")
    rooms.whole()
    rooms.check()
    for relay in (rooms.near, rooms.far):
        assert _code(relay, rooms.wide.room_id, rooms.spent) == "ERR_TOKEN_REPLAY"
        assert _code(relay, rooms.wide.room_id, first) == "ERR_TOKEN_REPLAY"
    assert [s.ended for p in rooms.parties for s in p.here] == [None] * 9


def test_scripts_forgotten_by_redis_are_told_again(cluster, people):
    cluster.redis.command("SCRIPT", "FLUSH")
    party = people.party()
    party.gather(*cluster.relays[:2])
    party.here[0].say()
    party.settled()
    party.check()


@pytest.mark.parametrize("purpose", ["subscriber", "publisher", "commands"])
@pytest.mark.parametrize("fault", ["cut", "held", "unanswered"])
def test_one_link_of_one_instance_is_lost(cluster, people, purpose, fault):
    line = cluster.lines[0]
    rooms = Rooms(cluster, people)
    rooms.talk(15, 0.8)
    people.until(lambda: purpose in line.purposes(), f"the {purpose}'s connection")
    people.spend(0.3)
    if fault == "cut":
        assert line.cut(purpose) == 1
    else:
        line.hold(purpose, answers_only=fault == "unanswered")
        people.spend(TIME_LIMIT * 2)
        line.free()
    rooms.talk(5, 0.3)
    people.until(lambda: not people.busy, "all said")
    rooms.whole()
    rooms.check()


def test_redis_absent_or_hung_at_the_start(cluster, people, wire):
    absent, hung = cluster.line(), cluster.line()
    absent.cut(refuse=True)
    hung.hold()
    late = cluster.start(absent.url, hung.url, ready=False)
    for relay in late:
        assert _probed(relay)["/live"] == 200
        assert _probed(relay)["/ready"] == 503
        assert relay.metrics()["redis_ready"] == 0
        client = relay.connect()
        began = time.monotonic()
        client.send("ROOM_CREATE")
        assert client.refused() == "ERR_UNAVAILABLE"
        assert time.monotonic() - began < TIME_LIMIT + 0.5
    absent.free()
    hung.free()
    for relay in late:
        wire.poll(lambda relay=relay: relay.ready, "ready")
        assert relay.metrics()["redis_connects"] >= 1
    party = people.party()
    party.gather(*late, cluster.relays[0])
    party.chatter(party.here, 10, 0.3)
    party.settled()
    party.check()
    for relay in late:
        relay.stop()


def test_a_password_that_is_set_right_later(new_cluster, wire):
    cluster = new_cluster(wire.RealRedis(password="not-this-one"))
    (relay,) = cluster.start(
        f"redis://:the-right-one@127.0.0.1:{cluster.redis.port}/0", ready=False
    )
    wire.poll(lambda: relay.metrics()["redis_reconnect_attempts"] > 1, "more than one attempt")
    assert relay.metrics()["redis_errors"] > 0, "a refused AUTH is an error"
    assert not relay.ready
    cluster.redis.command("CONFIG", "SET", "requirepass", "the-right-one")
    wire.poll(lambda: relay.ready, "ready")
    relay.connect().create()
    for secret in ("the-right-one", "not-this-one"):
        assert secret not in relay.log


def test_a_drain_without_redis_ends_in_its_time(cluster, people):
    line = cluster.line()
    (relay,) = cluster.start(line.url)
    party = people.party()
    party.gather(relay, cluster.relays[0])
    line.hold()
    began = time.monotonic()
    relay.terminate()
    people.until(lambda: party.stays[0].ended, "the end of the connection")
    assert party.stays[0].ended == (1012, "service restart")
    people.until(lambda: relay.process.poll() is not None, "the end of the process", 8.0)
    assert relay.process.returncode == -15, "twistd ends by the signal that it was sent"
    assert time.monotonic() - began < 7.0


def test_an_outage_makes_no_memory_grow(cluster, people):
    party = people.party()
    near, _ = party.gather(*cluster.relays[:2])
    cluster.redis.freeze()
    people.until(lambda: not near.relay.ready, "not ready")

    def flood():
        for _ in range(200):
            near.say("A" * 60_000)
            people.pump(0)
        people.until(lambda: not near.unanswered() or near.ended, "answers")

    flood()  # what the process needs at the most
    before = _resident(near.relay)
    for _ in range(4):
        flood()
    grown = _resident(near.relay) - before
    cluster.redis.thaw()
    assert grown < 8_000_000, f"{grown} bytes after 48 million"
    people.until(lambda: near.relay.ready, "ready")
    party.check(gaps=True, refusals=MAYBE)


def _resident(relay):
    """Bytes of memory in use."""
    with open(f"/proc/{relay.process.pid}/statm") as numbers:
        return int(numbers.read().split()[1]) * 4096
