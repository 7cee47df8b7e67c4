"""SIGTERM of one instance among several: its members are told, and are back in their seats."""

from __future__ import annotations

import contextlib
import time

import pytest


@pytest.fixture
def cluster(new_cluster):
    cluster = new_cluster(ROOM_MAX_PARTICIPANTS=6)
    cluster.grow(3)
    yield cluster
    cluster.hang_up()


def _come_back(people, stay, relay):
    """Do as clients do: come back with the newest token after a random time."""
    wait = people.random.uniform(0, 0.4)
    people.after(wait, lambda: stay.party.ask(relay, stay.next_token))


def test_trap_36_a_drain_under_load_brings_everybody_back_into_their_seats(cluster, people):
    left, drained, right = cluster.relays
    parties = [people.party() for _ in range(24)]
    for number, party in enumerate(parties):
        # One full room on all instances, and rooms on the drained one alone, or on two.
        party.gather(
            *((left, drained, right) * 2 if not number else (drained, left)[: 1 + number % 2])
        )
    mine = [stay for party in parties for stay in party.stays if stay.relay is drained]
    told = {}
    began = time.monotonic()
    for party in parties:
        party.chatter(party.here, 60 if party is parties[0] else 10, 4.0, say=4, show=1)
    people.spend(0.3)
    drained.terminate()

    def all_told():
        for stay in mine:
            if stay.ended and stay not in told:
                told[stay] = time.monotonic()
                _come_back(people, stay, people.random.choice((left, right)))
        return len(told) == len(mine)

    people.until(lambda: drained.process.poll() is not None or not drained.ready, "not ready")
    people.until(all_told, "everybody told")
    assert {stay.ended for stay in mine} == {(1012, "service restart")}
    assert max(told.values()) - min(told.values()) > 0.3, "all in the same instant"
    people.until(lambda: drained.process.poll() is not None, "the end of the process")
    assert drained.process.returncode == -15, "twistd ends by the signal that it was sent"
    for party in parties:
        people.until(
            lambda party=party: (
                len(party.here) == (6 if party is parties[0] else len(party.stays) - 1)
            ),
            "everybody back",
        )
        party.settled()
        party.counted(len(party.here))
        party.check()
    before = {stay.member_id: stay.label for stay in mine}
    after = {s.member_id: s for p in parties for s in p.here if s.member_id in before}
    assert set(after) == set(before)
    for member_id, stay in after.items():
        assert stay.label == before[member_id]
        assert stay.joined["resumed"] is True
    assert time.monotonic() - began < 20


def test_trap_05_a_drain_gives_the_seats_back_before_the_link_closes(cluster, people):
    """Nobody waits for a lease to lapse: a full room has places when the process has ended."""
    stays, drained, _ = cluster.relays
    party = people.party()
    party.gather(stays, drained, stays, drained, drained, drained)
    alone = people.party()
    alone.gather(drained)
    token = stays.http_token(alone.room_id)
    drained.terminate()
    people.until(lambda: drained.process.poll() is not None, "the end of the process")
    began = time.monotonic()
    people.until(lambda: party.stays[0].count == 2, "the count")
    assert party.join(stays).joined["participants"] == 3
    assert alone.join(stays, token).joined["participants"] == 1
    assert time.monotonic() - began < 2.0
    assert [t.split(" ")[0] for t in party.stays[0].texts() if t.endswith("left the chat")] == [
        stay.label for stay in party.stays if stay.relay is drained
    ] or len([t for t in party.stays[0].texts() if t.endswith("left the chat")]) == 4
    party.check()


def test_a_draining_instance_takes_nobody_and_still_lives(cluster, people, wire):
    draining = cluster.relays[0]
    rooms = [people.party() for _ in range(30)]
    for party in rooms:
        party.create(draining)
    draining.terminate()
    people.until(lambda: not draining.ready, "not ready")
    with pytest.raises(wire.Refused) as refused:
        draining.connect()
    assert refused.value.answer.status == 503
    assert draining.http("GET", "/live").status == 200
    people.until(lambda: all(p.stays[0].ended for p in rooms), "everybody told")
    assert {p.stays[0].ended for p in rooms} == {(1012, "service restart")}
    people.until(lambda: draining.process.poll() is not None, "the end of the process")
    with contextlib.suppress(ConnectionError):
        draining.connect()
        pytest.fail("somebody listens")
