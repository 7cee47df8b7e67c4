"""Leaves reach the store in order, and again and again while it is away."""

from stand_ins import LateStore, result_of, room_limits
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_relay.engine.departures import Departures
from twisted_relay.engine.interfaces import Entry, StoreUnavailable
from twisted_relay.engine.memory_store import MemoryStore


def make(late=False, members=3):
    clock = Clock()
    memory = MemoryStore(clock, lambda: 0, room_limits())
    store = LateStore(memory, late)
    result_of(memory.create("room", "", None, None))
    epochs = [
        result_of(memory.join("room", Entry(f"m{n}", f"jti{n}"))).epoch for n in range(members)
    ]
    return clock, memory, store, Departures(clock, store), epochs


def nobody(room_id, left):
    raise AssertionError("nothing was late")


def outcomes_of(departures, epochs, late=None):
    outcomes = []
    for number, epoch in enumerate(epochs):
        departures.add("room", f"m{number}", epoch, False, late or nobody).addBoth(
            lambda result, number=number: outcomes.append((number, result))
        )
    return outcomes


def test_a_leave_comes_back_with_what_the_store_said():
    _, _, _, departures, epochs = make()
    assert outcomes_of(departures, epochs) == [(0, 2), (1, 1), (2, 0)]
    assert len(departures) == 0


def test_leaves_are_written_one_after_the_other_in_the_order_in_which_they_arose():
    _, _, store, departures, epochs = make(late=True)
    outcomes = outcomes_of(departures, epochs)
    assert store.calls == ["leave"]
    store.answer(1)
    assert (outcomes, len(store.calls)) == ([(0, 2)], 2)
    store.answer()
    assert outcomes == [(0, 2), (1, 1), (2, 0)]


def test_while_the_store_is_away_the_asker_is_told_so_at_once():
    _, _, store, departures, epochs = make()
    store.absent = True
    outcomes = outcomes_of(departures, epochs)
    assert [number for number, _ in outcomes] == [0, 1, 2]
    for _, failure in outcomes:
        failure.trap(StoreUnavailable)


def test_those_who_waited_behind_a_vain_attempt_are_told_at_once_too():
    _, _, store, departures, epochs = make(late=True)
    outcomes = outcomes_of(departures, epochs)
    store.fail(StoreUnavailable())
    assert [number for number, _ in outcomes] == [0, 1, 2]


def test_a_leave_that_is_written_late_says_how_many_are_left():
    clock, _, store, departures, epochs = make()
    store.absent, late = True, []
    outcomes_of(departures, epochs, lambda *told: late.append(told))
    assert late == []
    store.absent = False
    clock.advance(1)
    assert late == [("room", 2), ("room", 1), ("room", 0)]


def test_leaves_are_tried_again_until_the_store_is_back_and_then_all_are_written():
    clock, memory, store, departures, epochs = make()
    store.absent = True
    outcomes_of(departures, epochs, lambda *_: None)
    clock.pump([1.0] * 30)
    assert len(departures) == 3
    store.absent = False
    clock.pump([1.0] * 2)
    assert len(departures) == 0
    assert memory._rooms["room"].seats == {}
    assert clock.getDelayedCalls() == []


def test_a_store_that_is_away_is_not_asked_in_a_frenzy():
    clock, _, store, departures, epochs = make()
    store.absent = True
    outcomes_of(departures, epochs)
    clock.pump([0.1] * 100)
    assert len(store.calls) <= 11


def test_a_leave_that_fails_by_a_bug_holds_up_no_other():
    _, _, store, departures, epochs = make(late=True)
    outcomes = outcomes_of(departures, epochs)
    store.fail(ValueError("a bug"))
    store.answer()
    outcomes[0][1].trap(ValueError)
    assert outcomes[1:] == [(1, 1), (2, 0)]


def test_a_stopped_queue_tries_no_more_and_keeps_no_timer():
    clock, _, store, departures, epochs = make()
    store.absent = True
    outcomes_of(departures, epochs)
    departures.stop()
    asked = len(store.calls)
    clock.pump([1.0] * 10)
    assert len(store.calls) == asked
    assert clock.getDelayedCalls() == []


def test_a_queue_stopped_while_the_store_is_asked_keeps_no_timer():
    clock, _, store, departures, epochs = make(late=True)
    outcomes_of(departures, epochs)
    departures.stop()
    store.fail(StoreUnavailable())
    assert clock.getDelayedCalls() == []


def test_a_long_queue_is_written_without_recursion():
    clock, memory, store, departures, epochs = make(members=0)
    store.absent = True
    outcomes = outcomes_of(departures, range(5000))
    store.absent = False
    clock.pump([1.0] * 2)
    assert len(departures) == 0
    assert len(outcomes) == 5000


def test_the_outcome_may_be_awaited():
    _, _, _, departures, epochs = make()

    async def leave():
        return await departures.add("room", "m0", epochs[0], False, nobody)

    assert result_of(leave()) == 2
    assert isinstance(departures.add("room", "m1", epochs[1], True, nobody), Deferred)
