"""What coroutines wait for: all are woken, once, and look again."""

import pytest
from twisted.internet.defer import Deferred

from twisted_relay.engine.condition import Condition


def outcomes(*turns):
    """What became of each, None while it waits."""
    found = []
    for turn in turns:
        seen = []
        turn.addBoth(seen.append)
        found.append(seen)
    return found


def test_all_who_wait_are_woken_in_order():
    condition, log = Condition(), []
    for name in "abc":
        condition.wait().addCallback(lambda _, name=name: log.append(name))
    condition.notify_all()
    assert log == ["a", "b", "c"]


def test_nobody_waits_for_what_came_before():
    condition = Condition()
    condition.notify_all()
    condition.fail_all(ValueError)
    assert outcomes(condition.wait()) == [[]]


def test_one_who_waits_again_is_woken_the_next_time():
    condition, looks = Condition(), []

    async def until_third_look():
        while len(looks) < 3:
            await condition.wait()
            looks.append(None)

    done = Deferred.fromCoroutine(until_third_look())
    for count in (1, 2, 3):
        assert not done.called
        condition.notify_all()
        assert len(looks) == count
    assert done.called


@pytest.mark.parametrize("count", [1, 3])
def test_what_cannot_be_fails_for_each(count):
    condition = Condition()
    found = outcomes(*(condition.wait() for _ in range(count)))
    condition.fail_all(ValueError)
    assert [seen[0].type for seen in found] == [ValueError] * count
    # Each has a fault of its own: one exception raised twice would join their tracebacks.
    assert len({id(seen[0].value) for seen in found}) == count
    condition.notify_all()
    assert all(len(seen) == 1 for seen in found)
