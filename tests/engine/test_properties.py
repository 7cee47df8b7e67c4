"""Whatever people do, and however late the store is: the invariants of rooms, seats and order.

Hypothesis drives the real relay over the real embedded store. What is posted to a room, and from
where to where a seat hears it, is taken down beside the relay; what each connection was given must
be exactly that.
"""

import json

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stand_ins import Bench

from twisted_relay.core.session import State

SESSION = {
    "max_msgs_per_10s": 60,
    "slow_consumer_buffer_threshold": 5000,
    "ping_interval_ms": 4000,
    "ping_timeout_ms": 2000,
    "join_timeout_ms": 20_000,
}
ROOMS = {
    "max_participants": 3,
    "key_ttl_ms": 60_000,
    "empty_grace_ms": 5_000,
    "qr_rotation_ms": 7_000,
}
NEXT_TOKEN_TTL_MS = 20_000
#: What a room's members hear as a room.
POSTED = {"APP_MSG", "MEDIA_MSG", "SYSTEM_MSG", "ROOM_STATS", "QR_ROTATED"}
#: Timers that an idle relay keeps: the heartbeat and the store's sweep.
FIXED_TIMERS = 2
LONGEST_OUTAGE = 10.0

WHO = st.integers(0, 7)
WHICH = st.integers(0, 3)
LABELS = st.sampled_from([None, "Ann", "P2", "P7", "x" * 40])


class Log:
    """What was posted to each room, and which part of it each seat was there for."""

    def __init__(self, relay):
        self.posted = {}
        self.stays = []
        self._relay = relay
        self._post, self._enter = relay._fanout.post, relay.rooms.enter
        self._remove = relay.rooms.remove
        relay._fanout.post, relay.rooms.enter = self.post, self.enter
        relay.rooms.remove = self.remove

    def of(self, room_id):
        return self.posted.setdefault(room_id, [])

    def post(self, room, kind, frame, skip=None):
        id = json.loads(frame[frame.index(b"{") :])["id"]
        self.of(room.id).append((id, skip))
        self._post(room, kind, frame, skip)

    def enter(self, room_id, *args):
        member, ghost = self._enter(room_id, *args)
        if ghost is not None:
            self._end(ghost)
        self.stays.append([member, member.client, len(self.of(room_id)), None])
        return member, ghost

    def remove(self, member):
        removed = self._remove(member)
        if removed:
            self._end(member)
        return removed

    def _end(self, member):
        for stay in self.stays:
            if stay[0] is member:
                assert stay[3] is None, "one seat ended twice"
                stay[3] = len(self.of(member.room.id))

    def meant_for(self, client):
        return [
            id
            for member, whose, start, end in self.stays
            if whose is client
            for id, skip in self.of(member.room.id)[start:end]
            if skip is not member
        ]


class RelayMachine(RuleBasedStateMachine):
    """People, rooms and time, over a store that answers at once."""

    late = False

    @initialize(decides_late=st.booleans())
    def begin(self, decides_late):
        self.bench = Bench(
            late=self.late, session=SESSION, rooms=ROOMS, next_token_ttl_ms=NEXT_TOKEN_TTL_MS
        )
        self.bench.store.decides_late = decides_late
        self.log = Log(self.bench.relay)
        self.people, self.ended, self.rooms, self.awake = [], [], [], set()
        self.asked, self.tokens_of, self.last_tokens = {}, {}, []
        self.away_since = None
        self.sent = 0
        self.creates(0, None)
        self.bench.store.answer()
        self.learn()
        self.a_guest_comes(0, "own", 0)
        self.bench.store.answer()

    # What people do

    def someone(self, who):
        return self.people[who % len(self.people)] if self.people else self.arrive(True)

    def some_room(self, which):
        return self.rooms[which % len(self.rooms)] if self.rooms else "no-such-room"

    def say(self, person, kind, **body):
        self.sent += 1
        id = f"said-{self.sent:06}"
        self.asked.setdefault(person, []).append(id)
        person.say(kind, id=id, **body)
        return id

    @rule(awake=st.booleans())
    @precondition(lambda self: len(self.people) < 8)
    def arrives(self, awake):
        self.arrive(awake)

    def arrive(self, awake):
        person = self.bench.person()
        self.people.append(person)
        if awake:
            self.awake.add(person)
        return person

    @rule(who=WHO, label=LABELS)
    def creates(self, who, label):
        self.say(self.someone(who), "ROOM_CREATE", **({"label": label} if label else {}))

    @rule(
        who=WHO,
        which=WHICH,
        label=LABELS,
        how=st.sampled_from(["own", "qr", "next", "next", "spent", "garbage"]),
        nth=st.integers(0, 10),
    )
    def joins(self, who, which, label, how, nth):
        person, room_id = self.someone(who), self.some_room(which)
        token = self.token(room_id, how, nth)
        id = self.say(
            person,
            "JOIN_REQUEST",
            roomId=room_id,
            token=token,
            **({"label": label} if label else {}),
        )
        self.tokens_of[id] = token

    @rule(which=WHICH, how=st.sampled_from(["own", "qr"]), nth=st.integers(0, 10))
    def a_guest_comes(self, which, how, nth):
        self.arrive(True)
        self.joins(len(self.people) - 1, which, None, how, nth)

    @rule(which=WHICH, nth=st.integers(0, 10), vanishes=st.booleans())
    def a_member_comes_back_by_another_connection(self, which, nth, vanishes):
        person = self.arrive(True)
        self.joins(len(self.people) - 1, which, None, "next", nth)
        if vanishes:
            person.vanish()

    def token(self, room_id, how, nth):
        self.learn()
        known = [(kind, token) for kind, room, token in self.last_tokens if room == room_id]
        if how in ("qr", "next"):
            known = [(kind, token) for kind, token in known if kind == how]
        elif how == "spent":
            known = [("", token) for token in self.tokens_of.values()]
        if how == "garbage":
            return "not-a-token"
        if how == "own" or not known:
            return self.bench.token(room_id)
        return known[-1 - nth % len(known)][1]

    @rule(who=WHO, which=WHICH)
    def leaves(self, who, which):
        self.say(self.someone(who), "LEAVE", roomId=self.some_room(which))

    @rule(who=WHO)
    def leaves_its_own_room(self, who):
        person = self.someone(who)
        self.say(person, "LEAVE", roomId=person.client.session.room_id or "no-such-room")

    @rule(who=WHO, which=WHICH)
    def speaks(self, who, which):
        self.say(self.someone(who), "APP_MSG", roomId=self.some_room(which), ciphertextB64="QUJD")

    @rule(who=WHO, times=st.integers(1, 3))
    def speaks_in_its_own_room(self, who, times):
        person = self.someone(who)
        for _ in range(times):
            self.say(
                person,
                "APP_MSG",
                ciphertextB64="QUJD",
                roomId=person.client.session.room_id or "no-such-room",
            )

    @rule(who=WHO)
    def shows_media(self, who):
        person = self.someone(who)
        self.say(
            person,
            "MEDIA_MSG",
            roomId=person.client.session.room_id or "no-such-room",
            mime="m",
            size=1,
            chunkSize=1024,
            chunks=["QUJD"],
        )

    @rule(who=WHO, kind=st.sampled_from(["PING", "NONSENSE", "JOIN_REQUEST"]))
    def says_a_frame_for_itself_or_an_invalid_one(self, who, kind):
        self.say(self.someone(who), kind)

    @rule(
        who=WHO, payload=st.sampled_from([b"", b"[]", b"\xff", b"[" * 5000, None, "much", "slow"])
    )
    def misbehaves(self, who, payload):
        person = self.someone(who)
        if payload is None:
            self.bench.relay.received_binary(person.client)
        elif payload == "much":
            for _ in range(61):
                self.say(person, "PING")
        elif payload == "slow":
            person.connection.unsent = 5001
        else:
            person.say_raw(payload)

    @rule(who=WHO)
    def drops(self, who):
        self.someone(who).vanish()

    # What stale connections do

    @rule(who=WHO, kind=st.sampled_from(["APP_MSG", "LEAVE", "ROOM_CREATE", "JOIN_REQUEST"]))
    @precondition(lambda self: self.ended)
    def a_stale_connection_changes_nothing(self, who, kind):
        person = self.ended[who % len(self.ended)]
        before = self.state()
        room_id = person.client.session.room_id or self.some_room(who)
        body = {"roomId": room_id, "ciphertextB64": "QUJD"}
        if kind == "JOIN_REQUEST":
            body["token"] = self.bench.token(room_id)
        person.say(kind, **body)
        person.vanish()
        assert self.state() == before

    def state(self):
        bench = self.bench
        return (
            {id: dict(room.seats) for id, room in bench.memory._rooms.items()},
            {room.id: list(room.members) for room in bench.relay.rooms},
            {id: len(posted) for id, posted in self.log.posted.items()},
            len(bench.store.calls),
            bench.metrics.members_active,
        )

    # What the world does

    @rule(count=st.integers(1, 3))
    def the_store_answers(self, count):
        self.bench.store.answer(count)

    @rule()
    def the_store_answers_all(self):
        self.bench.store.answer()

    @rule(away=st.booleans())
    def the_store_goes_or_comes_back(self, away):
        self.bench.store.absent = away
        self.away_since = self.bench.clock.seconds() if away else None

    @rule()
    def the_turn_ends(self):
        self.bench.turn()

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 8.0, 21.0]))
    def time_passes(self, seconds):
        clock = self.bench.clock
        for _ in range(round(seconds / 0.25)):
            for person in self.awake:
                person.client.heard_at = clock.seconds() + 0.25
            clock.advance(0.25)
            self.end_a_long_outage()
            if clock.seconds() % 5 == 0:
                self.bench.store.answer()

    @rule(seconds=st.sampled_from([2.5, 12.0]))
    def the_clock_jumps(self, seconds):
        for person in self.awake:
            person.client.heard_at = self.bench.clock.seconds() + seconds
        self.bench.clock.advance(seconds)
        self.end_a_long_outage()
        self.bench.store.answer()

    def end_a_long_outage(self):
        # Longer, and rooms would rightly expire in the store under their members.
        since = self.away_since
        if since is not None and self.bench.clock.seconds() - since >= LONGEST_OUTAGE:
            self.the_store_goes_or_comes_back(False)

    # What must hold

    def learn(self):
        """Take from what was heard the rooms and tokens that there are."""
        self.last_tokens = []
        for person in self.people + self.ended:
            for frame in person.connection.frames:
                body = frame["body"]
                if frame["t"] == "ROOM_CREATED" and body["roomId"] not in self.rooms:
                    self.rooms.append(body["roomId"])
                for kind, field in (("qr", "qrToken"), ("next", "nextToken")):
                    if field in body:
                        self.last_tokens.append((kind, body["roomId"], body[field]))

    @invariant()
    def part_from_those_who_are_gone(self):
        if not hasattr(self, "people"):
            return
        self.learn()
        for person in list(self.people):
            if person.client.session.is_closed:
                self.people.remove(person)
                self.ended.append(person)

    @invariant()
    def the_parts_agree_on_who_is_where(self):
        if not hasattr(self, "bench"):
            return
        relay, metrics = self.bench.relay, self.bench.metrics
        seated = [member for room in relay.rooms for member in room.members.values()]
        assert metrics.members_active == len(seated)
        assert metrics.rooms_active == len(relay.rooms)
        assert metrics.active_connections == len(relay.clients)
        assert len({member.client for member in seated}) == len(seated)
        for member in seated:
            assert member.client.member is member
            assert member.client.session.state is State.IN_ROOM
            assert member.client.session.room_id == member.room.id
        for client in relay.clients:
            assert client.member is None or client.member in seated

    @invariant()
    def no_room_is_over_its_capacity(self):
        if hasattr(self, "bench"):
            for room in self.bench.memory._rooms.values():
                assert len(room.seats) <= ROOMS["max_participants"]

    @invariant()
    def a_token_serves_once(self):
        if not hasattr(self, "people"):
            return
        served = [
            self.tokens_of[frame["re"]]
            for person in self.people + self.ended
            for frame in person.connection.frames
            if frame["t"] == "JOINED" and not frame["body"]["resumed"]
        ]
        assert len(set(served)) == len(served)

    @invariant()
    def each_hears_its_room_from_its_seat_on_without_a_hole(self):
        if not hasattr(self, "people"):
            return
        for person in self.people + self.ended:
            heard = [f["id"] for f in person.connection.frames if f["t"] in POSTED]
            meant = self.log.meant_for(person.client)
            assert heard == meant[: len(heard)]
            if not (person.client.session.is_closed or person.client.cut_off):
                unsaid = len(person.client.member.room.queue) if person.client.member else 0
                assert len(heard) >= len(meant) - unsaid

    @invariant()
    def answers_come_in_the_order_of_the_frames(self):
        if not hasattr(self, "people"):
            return
        for person in self.people + self.ended:
            asked = self.asked.get(person, [])
            own = set(asked)
            answers = [
                frame.get("re") or frame["id"]
                for frame in person.connection.frames
                if frame.get("re") in own or (frame["t"] == "APP_MSG" and frame["id"] in own)
            ]
            assert answers == asked[: len(answers)]
            client = person.client
            if not (client.session.is_closed or client.cut_off) and self.is_idle():
                member = person.client.member
                assert answers == asked or (member is not None and member.room.queue)

    def is_idle(self):
        store = self.bench.store
        return not (store.waiting or store.absent or len(self.bench.relay._departures))

    @invariant()
    def once_idle_the_store_has_the_seats_of_those_who_are_there_and_the_count_told_is_true(self):
        if not hasattr(self, "bench") or not self.is_idle():
            return
        relay = self.bench.relay
        here = {room.id: {m.id: m.hold for m in room.members.values()} for room in relay.rooms}
        there = {
            id: {m: held.hold for m, held in room.seats.items()}
            for id, room in self.bench.memory._rooms.items()
            if room.seats
        }
        assert there == here
        for room in relay.rooms:
            assert room.participants == len(room.members)
            for member in room.members.values():
                told = [
                    f["body"]["participants"]
                    for f in member.client.connection.frames
                    if f["t"] == "ROOM_STATS" and f["body"]["roomId"] == room.id
                ]
                assert room.queue or member.client.cut_off or told[-1] == len(room.members)

    def teardown(self):
        if not hasattr(self, "bench"):
            return
        bench = self.bench
        bench.store.absent = False
        bench.store.answer()
        bench.turn()
        self.once_idle_the_store_has_the_seats_of_those_who_are_there_and_the_count_told_is_true()
        self.answers_come_in_the_order_of_the_frames()
        for client in tuple(bench.relay.clients):
            bench.relay.lost(client, "lost")
        for _ in range(80):
            bench.clock.advance(1)
            bench.store.answer()
        assert not bench.relay.clients
        assert len(bench.relay.rooms) == len(bench.memory) == len(bench.relay._departures) == 0
        assert bench.memory._spent == set()
        assert len(bench.clock.getDelayedCalls()) == FIXED_TIMERS


class LateRelayMachine(RelayMachine):
    """The same over a store whose answers come late, decided at the call or at the answer."""

    late = True


BOUNDED = settings(
    max_examples=250,
    print_blob=True,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

RelayMachine.TestCase.settings = BOUNDED
LateRelayMachine.TestCase.settings = BOUNDED
TestRelay = RelayMachine.TestCase
TestLateRelay = LateRelayMachine.TestCase
