"""What began and is not over in time is named, once, and one timer serves all."""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_relay.shell.unfinished import Unfinished


def test_each_has_its_own_time_on_one_timer() -> None:
    clock, late = Clock(), []
    unfinished: Unfinished[str] = Unfinished(clock, 10.0, lambda item: late.append(item))
    for item in ("a", "b", "c"):
        unfinished.began(item)
        clock.advance(3)
    unfinished.ended("b")
    unfinished.began("a")
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(6.9)
    assert (late, "c" in unfinished, "b" in unfinished) == ([], True, False)
    clock.advance(0.1)
    assert late == ["c"]
    clock.advance(3)
    assert late == ["c", "a"]
    clock.advance(100)
    assert clock.getDelayedCalls() == []
    unfinished.ended("a")
    assert late == ["c", "a"]


def test_nothing_is_named_twice_or_after_the_end() -> None:
    clock, late = Clock(), []

    def overdue(item: str) -> None:
        late.append(item)
        unfinished.ended("b")

    unfinished: Unfinished[str] = Unfinished(clock, 10.0, overdue)
    unfinished.began("a")
    unfinished.began("b")
    clock.advance(10)
    assert late == ["a"]
    unfinished.began("c")
    unfinished.stop()
    clock.advance(100)
    assert late == ["a"]
    assert clock.getDelayedCalls() == []
