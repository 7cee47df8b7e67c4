"""Rooms with members here are renewed, and doubted where the store has them otherwise."""

from types import SimpleNamespace

import attrs
import pytest
from stand_ins import Bench, room_limits
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_relay.core.rooms import Standing
from twisted_relay.engine.interfaces import LEASE_SECONDS, StoreUnavailable
from twisted_relay.engine.metrics import Metrics
from twisted_relay.engine.renewals import Renewals

AS_HERE = Standing(7, 2, frozenset(("me.1",)), held=2)


class Place(SimpleNamespace):
    """What of a room's place a renewal looks at."""

    __hash__ = object.__hash__


class Stage:
    """Renewals of one room, of which the test says how the store has it."""

    def __init__(self, *, bus=None, **limits):
        self.clock, self.metrics = Clock(), Metrics(0.0)
        self.answer = AS_HERE
        self.asked, self.told, self.doubts, self.failures = [], [], [], []
        self.place = Place(
            room_id="room",
            room=object(),
            members=(1, 2),
            recovering=False,
            shaken=False,
            differed_at=None,
            span=SimpleNamespace(lease="me.1", renewed=self.told.append),
        )
        around = SimpleNamespace(
            clock=self.clock, metrics=self.metrics, bus=bus, doubted=self.doubts.append
        )
        self.renewals = Renewals(
            around, room_limits(**limits), self, lambda *fault: self.failures.append(fault)
        )

    async def renew(self, room_id, lease):
        self.asked.append(self.clock.seconds())
        if isinstance(self.answer, Deferred):
            return await self.answer
        if isinstance(self.answer, type):
            raise self.answer
        return self.answer

    def pass_time(self, seconds):
        ends = self.clock.seconds() + seconds
        while self.clock.seconds() < ends:
            self.clock.advance(0.25)


def begun(**kwargs):
    stage = Stage(**kwargs)
    stage.renewals.begin(stage.place)
    return stage


def test_a_lease_is_renewed_three_times_in_its_life():
    stage = begun(bus=SimpleNamespace(up=True))
    stage.pass_time(10 * LEASE_SECONDS)
    assert len(stage.asked) >= 30
    assert stage.told == [AS_HERE] * len(stage.asked)
    assert not stage.doubts


def test_rooms_that_begin_together_do_not_stay_together():
    stage = begun()
    others = [Place(**vars(stage.place)) for _ in range(20)]
    for place in others:
        stage.renewals.begin(place)
    stage.pass_time(3600)
    stage.asked.clear()
    stage.pass_time(3600)
    most_at_once = max(stage.asked.count(when) for when in set(stage.asked))
    assert most_at_once < 5


def test_an_ended_room_is_renewed_no_more():
    stage = begun()
    stage.renewals.end(stage.place)
    stage.pass_time(10_000)
    assert stage.asked == stage.clock.getDelayedCalls() == []


def test_soon_is_earlier_than_the_next_renewal_would_be():
    stage = begun()
    stage.renewals.soon(stage.place)
    stage.pass_time(1.0)
    assert len(stage.asked) == 1
    stage.renewals.stop()
    assert stage.clock.getDelayedCalls() == []


def test_what_the_store_does_not_know_is_doubted():
    stage = begun()
    stage.answer = None
    stage.pass_time(3600)
    assert set(map(id, stage.doubts)) == {id(stage.place)}
    assert stage.told == []


def test_a_store_that_is_away_makes_no_doubt_and_is_asked_again():
    stage = begun()
    stage.answer = StoreUnavailable
    stage.pass_time(3600)
    assert len(stage.asked) > 2
    assert stage.doubts + stage.told + stage.failures == []


def test_a_bug_in_one_renewal_is_told_and_does_not_end_them():
    stage = begun()
    stage.answer = ZeroDivisionError
    stage.pass_time(3600)
    assert len(stage.failures) == len(stage.asked) > 2
    assert stage.failures[0][1] == "renewal"


def test_a_room_that_was_shaken_is_doubted_once_the_bus_is_there_again():
    bus = SimpleNamespace(up=False)
    stage = begun(bus=bus)
    stage.place.shaken = True
    stage.pass_time(LEASE_SECONDS)
    assert stage.told
    assert not stage.doubts
    bus.up = True
    stage.pass_time(LEASE_SECONDS)
    assert stage.doubts


def test_another_number_of_seats_is_doubted_only_if_it_stays_so_while_the_room_does_not_change():
    stage = begun()
    for revision in range(1, 20):
        # Somebody is under way at each look, and it is never the same one.
        stage.answer = attrs.evolve(AS_HERE, revision=revision, held=1)
        stage.renewals.soon(stage.place)
        stage.pass_time(1.0)
    assert not stage.doubts
    stage.renewals.soon(stage.place)
    stage.pass_time(1.0)
    assert stage.doubts == [stage.place]


def test_seats_that_are_in_order_again_are_forgotten():
    stage = begun()
    for held in (1, 2, 1, 2):
        stage.answer = attrs.evolve(AS_HERE, held=held)
        stage.renewals.soon(stage.place)
        stage.pass_time(1.0)
    assert len(stage.asked) == 4
    assert not stage.doubts


@pytest.mark.parametrize(
    "change",
    [{"recovering": True}, {"room": None}, {"span": SimpleNamespace(lease="me.2")}],
    ids=["recovering", "empty", "another-stay"],
)
def test_an_answer_for_what_is_no_more_says_nothing(change):
    stage = begun()
    stage.answer = late = Deferred()
    stage.renewals.soon(stage.place)
    stage.pass_time(1.0)
    vars(stage.place).update(change)
    late.callback(None)
    assert stage.told + stage.doubts + stage.failures == []


def test_a_room_that_is_being_registered_is_not_asked_about():
    stage = begun()
    stage.place.recovering = True
    stage.pass_time(3600)
    assert stage.asked == []
    stage.place.recovering = False
    stage.pass_time(3600)
    assert stage.asked


def test_what_a_renewal_reaped_is_counted():
    stage = begun()
    stage.answer = attrs.evolve(AS_HERE, reaped=True)
    stage.renewals.soon(stage.place)
    stage.pass_time(1.0)
    assert stage.metrics.leases_reaped == 1


# With all the other parts


def keep_awake(bench, *people):
    for person in people:
        person.client.heard_at = bench.clock.seconds() + 3600


def test_a_room_lives_for_as_long_as_it_has_a_member():
    bench = Bench(rooms={"key_ttl_ms": 60_000})
    owner, room = bench.room()
    for _ in range(5):
        keep_awake(bench, owner)
        bench.pass_time(60)
    assert bench.seats(room["roomId"]) == 1


def test_a_very_short_time_to_live_is_renewed_in_time():
    bench = Bench(rooms={"key_ttl_ms": 2_000})
    owner, room = bench.room()
    keep_awake(bench, owner)
    bench.pass_time(10, step=0.1)
    assert bench.seats(room["roomId"]) == 1


def test_a_phantom_renews_no_room():
    bench = Bench(rooms={"key_ttl_ms": 60_000})
    _, room = bench.room()
    bench.store.late = True
    guest = bench.person()
    guest.say("JOIN_REQUEST", roomId=room["roomId"], token=bench.token(room["roomId"]))
    guest.vanish()
    bench.store.answer()
    bench.store.late = False
    for client in tuple(bench.relay.clients):
        bench.relay.lost(client, "lost")
    bench.store.calls.clear()
    bench.pass_time(300)
    assert "renew" not in bench.store.calls
    assert len(bench.memory) == 0
