"""A call that is made at once, though not too often, and never left out at the end."""

import pytest
from twisted.internet.task import Clock

from twisted_relay.engine.throttle import Throttle


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def throttle(clock, calls):
    return Throttle(clock, 1.0, lambda: calls.append(clock.seconds()))


def test_the_first_call_is_made_at_once(throttle, calls):
    throttle()
    assert calls == [0.0]


def test_what_comes_in_the_pause_is_one_call_at_its_end(throttle, clock, calls):
    for _ in range(4):
        throttle()
        clock.advance(0.25)
    assert calls == [0.0, 1.0]


def test_without_further_cause_there_is_no_further_call(throttle, clock, calls):
    throttle()
    clock.pump([1.0] * 5)
    assert calls == [0.0]
    assert not clock.getDelayedCalls()
    throttle()
    assert calls == [0.0, 5.0]


def test_a_call_at_the_end_of_a_pause_begins_another(throttle, clock, calls):
    throttle()
    throttle()
    clock.advance(1.0)
    throttle()
    assert calls == [0.0, 1.0]
    clock.advance(1.0)
    assert calls == [0.0, 1.0, 2.0]


def test_cause_that_the_call_itself_gives_waits_for_the_pause(clock, calls):
    def call():
        calls.append(clock.seconds())
        if len(calls) < 3:
            throttle()

    throttle = Throttle(clock, 1.0, call)
    throttle()
    clock.pump([1.0] * 5)
    assert calls == [0.0, 1.0, 2.0]


def test_what_waits_is_forgotten_at_the_end(throttle, clock, calls):
    throttle()
    throttle()
    throttle.stop()
    throttle.stop()
    clock.pump([1.0] * 3)
    assert calls == [0.0]
    assert not clock.getDelayedCalls()
