"""Many deadlines on one timer: each at its time, none after it was cancelled, no timer left."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twisted_relay.engine.deadlines import Deadlines


def make(delay=10.0):
    clock, expired = Clock(), []
    deadlines = Deadlines(clock, delay, lambda item: expired.append((item, clock.seconds())))
    return clock, deadlines, expired


def test_each_item_expires_after_its_own_delay():
    clock, deadlines, expired = make()
    deadlines.add("a")
    clock.advance(4)
    deadlines.add("b")
    clock.pump([1.0] * 20)
    assert expired == [("a", 10.0), ("b", 14.0)]


def test_a_cancelled_item_does_not_expire():
    clock, deadlines, expired = make()
    deadlines.add("a")
    deadlines.add("b")
    deadlines.cancel("a")
    clock.advance(10)
    assert [item for item, _ in expired] == ["b"]


def test_cancelling_what_was_never_added_is_harmless():
    _, deadlines, _ = make()
    deadlines.cancel("a")
    assert len(deadlines) == 0


def test_adding_again_starts_the_time_anew():
    clock, deadlines, expired = make()
    deadlines.add("a")
    clock.advance(6)
    deadlines.add("a")
    clock.pump([1.0] * 11)
    assert expired == [("a", 16.0)]


def test_an_item_added_again_as_it_expires_delays_no_other():
    clock, seen = Clock(), []

    def expired(item):
        seen.append((item, clock.seconds()))
        deadlines.add(item)

    deadlines = Deadlines(clock, 10.0, expired)
    deadlines.add("a")
    clock.advance(5)
    deadlines.add("b")
    clock.pump([1.0] * 16)
    assert seen == [("a", 10.0), ("b", 15.0), ("a", 20.0)]


def test_an_item_that_expires_may_cancel_the_next():
    clock, seen = Clock(), []
    deadlines = Deadlines(clock, 1.0, lambda item: (seen.append(item), deadlines.cancel("b")))
    deadlines.add("a")
    deadlines.add("b")
    clock.advance(1)
    assert seen == ["a"]
    assert clock.getDelayedCalls() == []


def test_ten_thousand_items_need_one_timer():
    clock, deadlines, _ = make()
    for number in range(10_000):
        deadlines.add(number)
    assert len(clock.getDelayedCalls()) == 1


def test_nothing_is_left_once_stopped():
    clock, deadlines, expired = make()
    deadlines.add("a")
    deadlines.stop()
    clock.advance(100)
    assert expired == []
    assert clock.getDelayedCalls() == []


def test_an_item_that_fails_holds_up_no_other():
    clock, seen = Clock(), []

    def expired(item):
        seen.append(item)
        if item == "a":
            raise ValueError(item)

    deadlines = Deadlines(clock, 1.0, expired)
    deadlines.add("a")
    deadlines.add("b")
    for _ in range(2):
        try:
            clock.advance(1)
        except ValueError:
            continue
    assert seen == ["a", "b"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "cancel", "wait"]), st.integers(0, 4), st.integers(1, 7)),
        max_size=60,
    )
)
def test_whatever_is_added_and_cancelled_the_due_ones_expire_at_their_time(steps):
    clock, deadlines, expired = make(5.0)
    due, expected = {}, []
    for what, item, seconds in steps:
        if what == "add":
            deadlines.add(item)
            due.pop(item, None)
            due[item] = clock.seconds() + 5
        elif what == "cancel":
            deadlines.cancel(item)
            due.pop(item, None)
        else:
            for _ in range(seconds):
                clock.advance(1)
                for key in [key for key, when in due.items() if when <= clock.seconds()]:
                    expected.append((key, due.pop(key)))
        assert expired == expected
        assert len(deadlines) == len(due)
        assert len(clock.getDelayedCalls()) <= 1
    clock.pump([1.0] * 6)
    assert clock.getDelayedCalls() == []
