"""Leaves reach the store in order, and again and again while it is away."""

from stand_ins import LateStore, result_of, room_limits
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_relay.engine.departures import Departures
from twisted_relay.engine.interfaces import Entry, StoreRefused, StoreUnavailable
from twisted_relay.engine.memory_store import MemoryStore


def make(late=False, members=3):
    clock = Clock()
    memory = MemoryStore(clock, lambda: 0, room_limits())
    store = LateStore(memory, late)
    result_of(memory.create("room", "", None, None))
    holds = [f"hold{n}" for n in range(members)]
    for n, hold in enumerate(holds):
        result_of(memory.join("room", Entry(f"m{n}", hold, "lease", f"jti{n}")))
    return clock, memory, store, Departures(clock, store), holds


def nobody(room_id, standing):
    raise AssertionError("nothing was late")


def outcomes_of(departures, holds, late=None):
    outcomes = []
    for number, hold in enumerate(holds):
        departures.add("room", f"m{number}", hold, False, late or nobody).addBoth(
            lambda result, number=number: outcomes.append(
                (number, getattr(result, "participants", result))
            )
        )
    return outcomes


def test_a_leave_comes_back_with_what_the_store_said():
    _, _, _, departures, holds = make()
    assert outcomes_of(departures, holds) == [(0, 2), (1, 1), (2, 0)]
    assert len(departures) == 0


def test_leaves_are_asked_for_many_at_once_in_the_order_in_which_they_arose():
    _, _, store, departures, holds = make(late=True)
    outcomes = outcomes_of(departures, holds)
    assert store.calls == ["leave"] * 3
    store.answer(1)
    assert outcomes == [(0, 2)]
    store.answer()
    assert outcomes == [(0, 2), (1, 1), (2, 0)]


def test_no_more_than_a_few_leaves_are_asked_for_at_once():
    _, _, store, departures, _ = make(late=True, members=0)
    outcomes_of(departures, [f"hold{n}" for n in range(500)])
    assert len(store.calls) == 64
    assert len(departures) == 500
    store.answer(10)
    assert len(store.calls) == 74


def test_leaves_that_failed_are_tried_again_in_their_order():
    clock, _, store, departures, holds = make(late=True)
    outcomes_of(departures, holds, lambda *_: None)
    for _ in holds:
        store.fail(StoreUnavailable())
    store.late, asked = False, []
    leave = store.behind.leave

    async def noting(room_id, member_id, *rest):
        asked.append(member_id)
        return await leave(room_id, member_id, *rest)

    store.behind.leave = noting
    clock.advance(1)
    assert asked == ["m0", "m1", "m2"]


def test_while_the_store_is_away_the_asker_is_told_so_at_once():
    _, _, store, departures, holds = make()
    store.absent = True
    outcomes = outcomes_of(departures, holds)
    assert [number for number, _ in outcomes] == [0, 1, 2]
    for _, failure in outcomes:
        failure.trap(StoreUnavailable)


def test_those_who_waited_behind_a_vain_attempt_are_told_at_once_too():
    _, _, store, departures, _ = make(late=True, members=0)
    outcomes = outcomes_of(departures, [f"hold{n}" for n in range(66)])
    store.fail(StoreUnavailable())
    assert [number for number, _ in outcomes] == [64, 65, 0]


def test_a_leave_that_is_written_late_says_how_many_are_left():
    clock, _, store, departures, holds = make()
    store.absent, late = True, []
    outcomes_of(departures, holds, lambda id, standing: late.append((id, standing.participants)))
    assert late == []
    store.absent = False
    clock.advance(1)
    assert late == [("room", 2), ("room", 1), ("room", 0)]


def test_leaves_are_tried_again_until_the_store_is_back_and_then_all_are_written():
    clock, memory, store, departures, holds = make()
    store.absent = True
    outcomes_of(departures, holds, lambda *_: None)
    clock.pump([1.0] * 30)
    assert len(departures) == 3
    store.absent = False
    clock.pump([1.0] * 2)
    assert len(departures) == 0
    assert memory._rooms["room"].seats == {}
    assert clock.getDelayedCalls() == []


def test_a_store_that_is_away_is_not_asked_in_a_frenzy():
    clock, _, store, departures, holds = make()
    store.absent = True
    outcomes_of(departures, holds)
    clock.pump([0.1] * 100)
    assert len(store.calls) <= 11


def test_a_leave_that_fails_by_a_bug_holds_up_no_other():
    _, _, store, departures, holds = make(late=True)
    outcomes = outcomes_of(departures, holds)
    store.fail(ValueError("a bug"))
    store.answer()
    outcomes[0][1].trap(ValueError)
    assert outcomes[1:] == [(1, 1), (2, 0)]


def test_a_stopped_queue_tries_no_more_and_keeps_no_timer():
    clock, _, store, departures, holds = make()
    store.absent = True
    outcomes_of(departures, holds)
    departures.stop()
    asked = len(store.calls)
    clock.pump([1.0] * 10)
    assert len(store.calls) == asked
    assert clock.getDelayedCalls() == []


def test_a_queue_stopped_while_the_store_is_asked_keeps_no_timer():
    clock, _, store, departures, holds = make(late=True)
    outcomes_of(departures, holds)
    departures.stop()
    store.fail(StoreUnavailable())
    assert clock.getDelayedCalls() == []


def test_a_long_queue_is_written_without_recursion():
    clock, memory, store, departures, holds = make(members=0)
    store.absent = True
    outcomes = outcomes_of(departures, [f"hold{n}" for n in range(5000)])
    store.absent = False
    clock.pump([1.0] * 2)
    assert len(departures) == 0
    assert len(outcomes) == 5000


def test_the_outcome_may_be_awaited():
    _, _, _, departures, holds = make()

    async def leave():
        return await departures.add("room", "m0", holds[0], False, nobody)

    assert result_of(leave()).participants == 2
    assert isinstance(departures.add("room", "m1", holds[1], True, nobody), Deferred)


def test_a_seat_that_may_have_been_given_is_given_back_once_that_is_certain():
    clock, memory, store, departures, holds = make(members=2)
    late = []

    def told(room_id, standing):
        late.append(standing.participants)

    departures.add_later(3.0, "room", "m0", holds[0], False, told, None)
    departures.add_later(3.0, "room", "m1", "never-given", False, nobody, None)
    assert len(departures) == 2
    clock.advance(2.9)
    assert store.calls == []
    clock.advance(0.2)
    assert late == [1]
    assert list(memory._rooms["room"].seats) == ["m1"]
    assert len(departures) == 0


def test_a_stopped_queue_keeps_no_timer_for_what_was_to_be_given_back_later():
    clock, _, store, departures, holds = make()
    departures.add_later(3.0, "room", "m0", holds[0], False, nobody, None)
    departures.stop()
    clock.advance(10)
    assert store.calls == []
    assert clock.getDelayedCalls() == []


def refuses(store, member_id):
    """Let the store refuse whatever concerns one member."""
    leave = store.leave

    async def refusing(room_id, member, *rest):
        if member == member_id:
            store.calls.append("refused")
            raise StoreRefused
        return await leave(room_id, member, *rest)

    store.leave = refusing


def test_a_leave_that_is_refused_holds_up_no_other():
    clock, memory, store, departures, holds = make()
    refuses(store, "m0")
    outcomes = outcomes_of(departures, holds)
    outcomes[0][1].trap(StoreUnavailable)
    assert outcomes[1:] == [(1, 2), (2, 1)]
    assert list(memory._rooms["room"].seats) == ["m0"]


def test_a_leave_that_is_refused_is_tried_again_and_not_for_ever():
    clock, memory, store, departures, holds = make(members=1)
    refuses(store, "m0")
    outcomes_of(departures, holds)
    clock.pump([1.0] * 30)
    assert store.calls.count("refused") == 6
    assert len(departures) == 0
    assert clock.getDelayedCalls() == []


def test_a_leave_that_was_refused_at_first_is_told_late():
    clock, _, store, departures, holds = make(members=2)
    leave, late = store.leave, []
    refuses(store, "m0")
    outcomes_of(departures, holds[:1], lambda id, standing: late.append(standing.participants))
    store.leave = leave
    clock.advance(1)
    assert late == [1]
