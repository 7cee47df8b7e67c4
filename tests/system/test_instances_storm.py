"""A storm: people come, talk, go and come back on three instances, while links are cut and held,
and Redis hangs, forgets and dies. What is promised is promised all the time."""

from __future__ import annotations

import os
import time

import pytest

pytestmark = pytest.mark.slow

MAYBE = {"ERR_UNAVAILABLE"}
#: Another storm each: `STORM_SEEDS=7,8,9` looks for trouble where this one found none.
SEEDS = [int(seed) for seed in os.environ.get("STORM_SEEDS", "1").split(",")]
SECONDS = 12.0


class Storm:
    """What happens at random, the same for the same seed but for the machine's own timing."""

    def __init__(self, cluster, people, wire):
        self.cluster = cluster
        self.wire = wire
        self.stalled = set()
        self.people = people
        self.random = people.random
        self.parties = []
        for relays in ((0, 1, 2), (0, 0), (1, 2), (2, 2, 0)):
            party = people.party()
            party.gather(*(cluster.relays[number] for number in relays))
            self.parties.append(party)

    def plan(self, seconds):
        for party in self.parties:
            for _ in range(int(seconds * 60)):
                self.people.after(self.random.uniform(0, seconds), self._talker(party))
            for _ in range(int(seconds * 2)):
                self.people.after(self.random.uniform(0, seconds), self._mover(party))
        for _ in range(int(seconds / 1.5)):
            self.people.after(self.random.uniform(0, seconds * 0.9), self._trouble())

    def _talker(self, party):
        def talk():
            if able := self._able(party):
                stay = self.random.choice(able)
                getattr(stay, self.random.choices(("say", "show", "ping"), (6, 2, 1))[0])()

        return talk

    def _mover(self, party):
        act = self.random.choice((self._come, self._come, self._go, self._lose, self._return))
        return lambda: act(party)

    def _relay(self):
        """One that lets people in: nobody here may wait for one that stands still."""
        return self.random.choice([r for r in self.cluster.relays if r not in self.stalled])

    def _come(self, party):
        if len(party.here) < 6:
            party.ask(self._relay(), self.wire.mint(party.room_id))

    def _go(self, party):
        if len(able := self._able(party)) > 1:
            self.random.choice(able).leave()

    def _lose(self, party):
        if len(able := self._able(party)) > 1:
            stay = self.random.choice(able)
            self.random.choice((stay.client.close, stay.client.abort))()

    @staticmethod
    def _able(party):
        return [stay for stay in party.here if not stay.leaving]

    def _return(self, party):
        """Somebody takes a seat back, lost or still held, anywhere."""
        able = [stay for stay in party.stays if stay.joined and not stay.leaving]
        stay = self.random.choice(able)
        latest = [s for s in able if s.member_id == stay.member_id][-1]
        party.ask(self._relay(), latest.next_token)

    def _trouble(self):
        line = self.random.choice(self.cluster.lines)
        purpose = self.random.choice(("subscriber", "publisher", "commands", ""))
        length = self.random.uniform(0.1, 1.5)
        kind = self.random.choice(
            ("cut", "cut", "hold", "hold", "unanswered", "freeze", "flush", "stall", "restart")
        )
        redis = self.cluster.redis

        def strike():
            print(f"{time.monotonic():.3f} {kind} {purpose!r} of {line.port} for {length:.2f} s")
            if kind == "cut":
                line.cut(purpose)
            elif kind in ("hold", "unanswered"):
                line.hold(purpose, answers_only=kind == "unanswered")
                self.people.after(length, line.free)
            elif kind == "freeze":
                redis.freeze()
                self.people.after(length, redis.thaw)
            elif kind == "flush":
                redis.thaw()
                redis.command("FLUSHALL")
            elif kind == "stall":
                self._stall(self._relay(), min(length, 0.8))
            else:
                redis.restart()

        return strike

    def _stall(self, relay, seconds):
        if not self.stalled:
            self.stalled.add(relay)
            relay.freeze()
            self.people.after(seconds, lambda: (relay.thaw(), self.stalled.discard(relay)))

    def calm(self):
        for line in self.cluster.lines:
            line.free()
        self.cluster.redis.thaw()
        for relay in self.cluster.relays:
            self.people.until(lambda relay=relay: relay.ready, "ready again")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_storm_makes_no_silent_hole_no_second_order_and_no_phantom(new_cluster, wire, seed):
    cluster = new_cluster(ROOM_MAX_PARTICIPANTS=8, REDIS_COMMAND_TIMEOUT_MS=500)
    cluster.start(*(cluster.line().url for _ in range(3)))
    people = wire.People(seed)
    storm = Storm(cluster, people, wire)
    storm.plan(SECONDS)
    people.until(lambda: not people.busy, "the end of the storm", SECONDS * 4)
    storm.calm()
    for party in storm.parties:
        people.until(
            lambda party=party: all(s.joined or s.refused or s.ended for s in party.stays),
            "an answer to everybody",
        )
        party.counted(patience=20.0)
    for party in storm.parties:
        party.whole(20.0)
        party.check(gaps=True, refusals=MAYBE)
        members = [stay.member_id for stay in party.here]
        assert len(set(members)) == len(members), "two in one seat"
    people.hang_up()
    cluster.hang_up()
    for relay in cluster.relays:
        wire.poll(lambda relay=relay: relay.metrics()["members_active"] == 0, "no phantoms")
        relay.terminate()
