"""What becomes of the rooms when an instance dies, stands still, or loses Redis, for longer than a
lease lives; and when Redis itself stood still for so long.

All of it happens at once, on two clusters, since all of it takes its time: the tests read what
came of it.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.slow

#: Seconds within which a dead instance's members have left the count.
TRUE_AGAIN = 15.0
LONGER_THAN_A_LEASE = 12.5
LEASE = 10.0
MAYBE = {"ERR_UNAVAILABLE"}


class Story:
    """Who was where, and what happened when."""

    def __init__(self, new_cluster, people):
        self.people = people
        self.cluster = new_cluster(ROOM_MAX_PARTICIPANTS=4, ROOM_EMPTY_GRACE_MS=20_000)
        self.line = self.cluster.line()
        url = self.cluster.redis.url
        self.alive, self.killed, self.frozen, self.parted = self.cluster.start(
            url, url, url, self.line.url
        )
        self.other = new_cluster(ROOM_MAX_PARTICIPANTS=4, ROOM_EMPTY_GRACE_MS=20_000)
        self.first, self.second = self.other.grow(2)
        self.other_ready = time.monotonic()
        self.began = 0.0
        self.ready = {}
        self.people_come()

    def people_come(self):
        alive, killed, frozen, parted = self.alive, self.killed, self.frozen, self.parted
        rooms = {
            "kin": (alive, killed, alive),
            "full": (alive, killed, alive, killed),
            "widowed": (killed,),
            "frozen": (alive, frozen, frozen),
            "asleep": (frozen, frozen),
            "parted": (alive, parted, parted),
            "island": (parted, parted),
            "everywhere": (alive, killed, frozen, parted),
            "still": (self.first, self.second, self.first, self.second),
            "still_local": (self.first, self.first),
        }
        self.rooms = SimpleNamespace()
        for name, relays in rooms.items():
            party = self.people.party(name)
            party.gather(*relays)
            setattr(self.rooms, name, party)
        self.gone = {
            name: [s for s in getattr(self.rooms, name).stays if s.relay is killed]
            for name in ("kin", "full", "widowed", "everywhere")
        }

    def talk(self, messages, seconds):
        for party in self.people.parties:
            party.chatter(party.here, messages, seconds)

    def run(self):
        people, rooms = self.people, self.rooms
        self.talk(20, 1.0)
        people.spend(0.5)  # in the middle of a chat
        self.began = time.monotonic()
        self.killed.kill()
        self.frozen.freeze()
        self.line.hold()
        # Whoever has had no trouble with Redis for a whole lease drops the leases of others.
        freezing = self.other_ready + LEASE + 0.5 - self.began
        people.after(freezing, self.other.redis.freeze)
        people.after(freezing + LEASE + 1.0, self.other.redis.thaw)
        people.after(freezing + 6.0, self.probe_redis_still)
        self.talk(50, 17.0)
        self.widow = rooms.widowed.join(self.alive, self.gone["widowed"][0].next_token)
        people.after(5.0, self.look)
        people.spend(self.began + LONGER_THAN_A_LEASE - time.monotonic())
        people.until(lambda: rooms.full.stays[0].count == 2, "the reaping", TRUE_AGAIN)
        self.newcomers = [rooms.full.join(self.alive) for _ in range(2)]
        self.intruder = rooms.asleep.join(self.alive, self.asleep_token)
        self.frozen.thaw()
        people.spend(0.5)
        self.line.free()
        people.until(lambda: not people.busy, "the end of the plan", 30.0)
        for relay in (self.alive, self.frozen, self.parted, self.first, self.second):
            people.until(lambda relay=relay: relay.ready, "ready again")
        self.come_back()
        self.talk(10, 1.0)
        for party in people.parties:
            party.settled(20.0)
            party.counted(len(party.here))

    def look(self):
        """What the instance that cannot reach Redis says of itself; a live one makes the token."""
        self.asleep_token = self.alive.http_token(self.rooms.asleep.room_id)
        for name in ("alive", "parted"):
            began = time.monotonic()
            ready = getattr(self, name).ready
            self.ready[name] = ready, time.monotonic() - began

    def probe_redis_still(self):
        self.metrics_while_still = self.first.metrics()

    def come_back(self):
        """Whoever was closed comes back, as clients do: to an instance that lives."""
        self.returned = []
        for party in self.people.parties:
            for stay in list(party.stays):
                if stay.ended and stay.relay is not self.killed and stay.ended[1] != "replaced":
                    self.returned.append(party.join(stay.relay, stay.next_token))


@pytest.fixture(scope="module")
def story(new_cluster, wire):
    story = Story(new_cluster, wire.People(seed=5))
    story.run()
    return story


def _when(stay, probe):
    """When a frame of which this is true was heard first."""
    return next((at for at, frame in stay.heard if probe(frame)), None)


def _left(label):
    return lambda frame: frame["body"].get("text") == f"{label} has left the chat"


def test_trap_05_the_members_of_a_killed_instance_leave_the_count_within_15_s(story):
    for name in ("kin", "full", "everywhere"):
        party = getattr(story.rooms, name)
        for dead in story.gone[name]:
            for stay in party.stays:
                if stay.relay is story.alive and stay.joined_at < story.began:
                    told = _when(stay, _left(dead.label))
                    assert told is not None, f"{name}: nobody said that {dead.label} left"
                    assert told - story.began < TRUE_AGAIN
    survivor = story.rooms.kin.stays[0]
    told = _when(
        survivor,
        lambda frame: frame["t"] == "ROOM_STATS" and frame["body"]["participants"] == 2,
    )
    counts = [
        (at, frame["body"]["participants"])
        for at, frame in survivor.heard
        if frame["t"] == "ROOM_STATS" and at > story.began
    ]
    assert told is not None
    assert [count for _, count in counts] == [2]
    assert counts[0][0] - story.began < TRUE_AGAIN
    assert survivor.count == 2


def test_each_death_is_told_once(story):
    for name in ("kin", "full", "everywhere"):
        party = getattr(story.rooms, name)
        for dead in story.gone[name]:
            for stay in party.here:
                if stay.joined_at < story.began and not stay.gaps:
                    assert stay.texts().count(f"{dead.label} has left the chat") == 1


def test_a_full_room_takes_newcomers_after_a_death(story):
    assert [stay.joined["participants"] for stay in story.newcomers] == [3, 4]
    assert len(story.rooms.full.here) == 4
    labels = [stay.label for stay in story.rooms.full.stays]
    assert len(set(labels)) == len(labels)


def test_a_member_of_a_dead_instance_is_back_in_its_seat_at_once(story):
    dead = story.gone["widowed"][0]
    assert story.widow.joined["resumed"] is True
    assert story.widow.member_id == dead.member_id
    assert story.widow.joined["participants"] == 1
    assert story.widow.joined_at - story.began < 5.0
    assert story.widow.count == 1


def test_those_who_live_on_have_neither_holes_nor_gaps_by_a_death(story):
    for name in ("kin", "full", "widowed"):
        getattr(story.rooms, name).check(refusals=MAYBE)


@pytest.mark.parametrize("name", ["frozen", "everywhere"])
def test_members_of_an_instance_that_stood_still_are_told_gap_or_closed(story, name):
    party = getattr(story.rooms, name)
    for stay in party.stays:
        if stay.relay is story.frozen and stay.joined_at < story.began:
            assert stay.gaps or stay.ended, "woken up, and nobody told them"
    party.check(gaps=True, refusals=MAYBE)


def test_a_standing_still_counts_as_gone_after_15_s_and_as_back_when_it_is(story):
    party = story.rooms.frozen
    survivor = party.stays[0]
    for stay in party.stays[1:3]:
        told = _when(survivor, _left(stay.label))
        assert told is not None
        assert told - story.began < TRUE_AGAIN
    assert survivor.count == len(party.here) == 3


def test_a_room_that_slept_with_its_instance_wakes_up_with_the_one_who_joined_meanwhile(story):
    party = story.rooms.asleep
    assert story.intruder.joined["participants"] == 1
    party.check(gaps=True, refusals=MAYBE)
    assert all(stay.count == 3 for stay in party.here)


def test_an_instance_cut_off_from_redis_is_not_ready_and_its_members_are_told(story):
    assert story.ready["alive"][0] is True
    assert story.ready["parted"][0] is False
    assert all(seconds < 0.3 for _, seconds in story.ready.values())
    for party in (story.rooms.parted, story.rooms.everywhere):
        for stay in party.stays:
            if stay.relay is story.parted and stay.joined_at < story.began:
                assert stay.gaps or stay.ended, "cut off, and nobody told them"
        party.check(gaps=True, refusals=MAYBE)


def test_a_room_on_an_instance_that_is_cut_off_goes_on_as_if_nothing_were(story):
    for party in (story.rooms.island, story.rooms.still_local):
        party.check()
        assert len(party.here) == 2
        for stay in party.here:
            assert stay.count == 2
            assert [t for t in stay.texts() if t.endswith(" has left the chat")] == []


def test_everybody_hears_everybody_when_all_is_over(story):
    """What was said in the last round, after all had been made good, was heard by all."""
    for party in story.people.parties:
        last = [set(stay.sequence()[-len(party.here) :]) for stay in party.here]
        assert all(words == last[0] for words in last), party.name


def test_nobody_is_reaped_when_redis_itself_stood_still(story):
    party = story.rooms.still
    assert [stay.ended for stay in party.stays] == [None] * 4
    for stay in party.stays:
        assert [t for t in stay.texts() if t.endswith(" has left the chat")] == []
        assert {f["body"]["participants"] for f in stay.frames("ROOM_STATS")} <= {1, 2, 3, 4}
        assert stay.count == 4
    party.check(gaps=True, refusals=MAYBE)


def test_what_was_said_while_redis_stood_still_was_never_silently_lost(story):
    party = story.rooms.still
    refused = sum(stay.errors().count("ERR_UNAVAILABLE") for stay in party.stays)
    told = sum(stay.gaps for stay in party.stays)
    assert refused + told > 0, "eleven seconds of talk, and nobody noticed"
    assert story.metrics_while_still["redis_ready"] == 0
    assert story.metrics_while_still["redis_errors"] > 0
