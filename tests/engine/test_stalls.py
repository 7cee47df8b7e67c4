"""A process that stood still notices, before it trusts its leases again."""

import pytest
from twisted.internet.task import Clock

from twisted_relay.engine.interfaces import LEASE_SECONDS
from twisted_relay.engine.stalls import PERIOD, stall_watch


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stalls():
    return []


@pytest.fixture
def watch(clock, stalls):
    watch = stall_watch(clock, lambda: stalls.append(clock.seconds()))
    watch.start()
    return watch


def test_a_loop_that_is_late_by_less_than_most_of_a_lease_did_not_stand_still(watch, clock, stalls):
    clock.pump([PERIOD, PERIOD + LEASE_SECONDS * 0.5, PERIOD] * 3)
    assert stalls == []


def test_each_stall_is_told_once(watch, clock, stalls):
    stall = PERIOD + LEASE_SECONDS * 0.7
    clock.pump([PERIOD, stall, PERIOD, PERIOD, stall, PERIOD])
    assert stalls == [PERIOD + stall, 3 * PERIOD + 2 * stall]


def test_one_whose_room_fails_looks_on(clock):
    watch = stall_watch(clock, lambda: 1 / 0)
    watch.start()
    with pytest.raises(ZeroDivisionError):
        clock.advance(LEASE_SECONDS * 2)
    assert len(clock.getDelayedCalls()) == 1


def test_it_stops(watch, clock, stalls):
    watch.stop()
    watch.stop()
    clock.advance(LEASE_SECONDS * 2)
    assert stalls == clock.getDelayedCalls() == []
