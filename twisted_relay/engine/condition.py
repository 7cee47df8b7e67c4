"""Coroutines that wait for something to come true."""

from __future__ import annotations

from twisted.internet.defer import Deferred


class Condition:
    """What coroutines wait for until somebody says that it may have come true.

    As with a condition variable, whoever is woken looks again:
    ``while not true_yet(): await condition.wait()``.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] | None = None

    def wait(self) -> Deferred[None]:
        """Fires at the next `notify_all`, fails at the next `fail_all`."""
        turn: Deferred[None] = Deferred()
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(turn)
        return turn

    def notify_all(self) -> None:
        """Wake all who wait by now; one who waits again is not meant."""
        waiting, self._waiting = self._waiting, None
        for turn in waiting or ():
            turn.callback(None)

    def fail_all(self, fault: type[Exception]) -> None:
        """Let nobody wait any more: what they waited for cannot be."""
        waiting, self._waiting = self._waiting, None
        for turn in waiting or ():
            turn.errback(fault())
