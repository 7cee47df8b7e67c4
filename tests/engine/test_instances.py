"""What each failure looks like to those in a room, one story at a time. (`test_many_instances`
plays thousands of them at random.)"""

import pytest
import verdicts
from plays import ROOMS, SESSION
from simulated import World


@pytest.fixture
def world():
    return World(1, session=SESSION, rooms=ROOMS)


def settle(world, seconds=1.0):
    world.pass_time(seconds)


def a_room(world, *where):
    """A room with a member on each of these instances."""
    people = []
    for n in where:
        person = world.person(world.instances[n])
        if people:
            person.join(people[0].room_id, world.token(people[0].room_id), person.name)
        else:
            person.create(person.name)
        settle(world)
        people.append(person)
    return people


def heard(person, kind):
    return [frame["body"] for _, frame in person.transcript.heard if frame["t"] == kind]


def count(person):
    return heard(person, "ROOM_STATS")[-1]["participants"]


def errors(person):
    return [body["code"] for body in heard(person, "ERROR")]


def test_a_room_on_one_instance_goes_on_while_store_and_bus_are_away(world):
    ann, bob = a_room(world, 0, 0)
    world.restart_store(60.0)
    for _ in range(3):
        settle(world, 15.0)
        ann.tell()
        settle(world, 0.0)
    settle(world, 30.0)
    assert len(heard(ann, "APP_MSG")) == len(heard(bob, "APP_MSG")) == 3
    assert not heard(bob, "GAP")
    assert ann.is_member
    assert bob.is_member


def test_who_would_come_in_while_the_store_is_away_is_told_so_within_the_time_limit(world):
    (ann,) = a_room(world, 0)
    world.hang_store(20.0)
    bob = world.person(world.instances[1])
    bob.join(ann.room_id, world.token(ann.room_id))
    settle(world, 2.5)
    assert errors(bob) == ["ERR_UNAVAILABLE"]
    assert bob.transcript.why == "try again later"


def test_what_must_cross_is_refused_while_the_bus_is_away_and_the_others_hear_of_a_gap(world):
    ann, bob = a_room(world, 0, 1)
    world.instances[0].bus.keep_away(5.0)
    settle(world)
    ann.tell()
    bob.tell()
    settle(world)
    assert errors(ann) == ["ERR_UNAVAILABLE"]
    assert len(heard(bob, "APP_MSG")) == 1
    settle(world, 10.0)
    assert heard(ann, "GAP")
    ann.tell()
    settle(world)
    assert len(heard(bob, "APP_MSG")) == 2


def test_the_members_of_a_killed_instance_leave_the_count_within_fifteen_seconds(world):
    ann, bob = a_room(world, 0, 1)
    settle(world, 12.0)
    world.instances[1].die()
    settle(world, 15.0)
    assert count(ann) == 1
    assert f"{bob.name} has left the chat" in [body["text"] for body in heard(ann, "SYSTEM_MSG")]


def test_one_that_stood_still_past_its_lease_is_back_and_both_sides_know_of_the_gap(world):
    ann, bob = a_room(world, 0, 1)
    settle(world, 12.0)
    world.instances[1].stall(20.0)
    settle(world, 18.0)
    assert count(ann) == 1
    ann.tell()
    bob.tell()
    settle(world, 10.0)
    assert count(ann) == count(bob) == 2
    assert heard(bob, "GAP")
    assert not verdicts.no_silent_hole(world.transcripts, world.healthy, 20.0, world.now)
    before = len(heard(bob, "APP_MSG"))
    ann.tell()
    settle(world)
    assert len(heard(bob, "APP_MSG")) == before + 1


def test_a_store_that_forgot_everything_is_told_again_and_nobody_hears_that_the_room_is_gone(world):
    ann, bob = a_room(world, 0, 1)
    world.forget_everything()
    cyd = world.person(world.instances[0])
    cyd.join(ann.room_id, world.token(ann.room_id))
    settle(world)
    assert cyd.is_member
    settle(world, 10.0)
    assert count(ann) == count(bob) == count(cyd) == 3


def test_a_spent_token_stays_spent_where_an_instance_still_knows_it(world):
    (ann,) = a_room(world, 0)
    token = world.token(ann.room_id)
    for instance, codes in ((0, []), (1, ["ERR_TOKEN_REPLAY"])):
        bob = world.person(world.instances[instance])
        bob.join(ann.room_id, token)
        settle(world)
        assert errors(bob) == codes
        world.forget_everything()
        settle(world, 5.0)


def test_from_one_instance_to_several_and_back_nothing_is_lost_or_comes_twice(world):
    ann, bob = a_room(world, 0, 0)
    for _ in range(20):
        guest = world.person(world.instances[1])
        guest.join(ann.room_id, world.token(ann.room_id))
        for _ in range(20):
            ann.tell()
            bob.tell()
            settle(world, 0.0007)
        if guest.is_member:
            guest.tell()
            guest.leave()
        else:
            guest.vanish()
    settle(world, 5.0)
    told = [sent.id for who in (ann, bob) for sent in who.transcript.sent if sent.kind == "APP_MSG"]
    for who in (ann, bob):
        of_us = [
            frame["id"]
            for _, frame in who.transcript.heard
            if frame["t"] == "APP_MSG" and frame["id"] in told
        ]
        assert sorted(of_us) == sorted(told)
    assert not verdicts.one_order(world.transcripts)
    assert not verdicts.own_order_kept(world.transcripts)
    assert not verdicts.no_trouble_told(world.transcripts)
    assert not verdicts.no_silent_hole(world.transcripts, world.healthy, 2.0, world.now)
