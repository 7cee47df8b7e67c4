"""Many deadlines of one length, kept by one timer."""

from __future__ import annotations

import collections
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Calls `expired(item)` once `delay` seconds after the item was added.

    All have the same delay, so the one added first is due first: a queue and a single delayed
    call serve ten thousand of them, and adding or cancelling is a dictionary's work.

    Args:
        clock: an `IReactorTime`.
        delay: seconds.
        expired: called with each item that was not cancelled; it may add the item again.
    """

    def __init__(self, clock: IReactorTime, delay: float, expired: Callable[[T], None]) -> None:
        self._clock = clock
        self._delay = delay
        self._expired = expired
        self._due: collections.OrderedDict[T, float] = collections.OrderedDict()
        self._call: IDelayedCall | None = None
        self._turning = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, item: T) -> None:
        """Start the item's time, anew if it was running."""
        self._due.pop(item, None)
        self._due[item] = self._clock.seconds() + self._delay
        self._schedule()

    def cancel(self, item: T) -> None:
        """The item's time no longer matters; nothing happens if it was not running."""
        self._due.pop(item, None)
        if not self._due:
            self.stop()

    def stop(self) -> None:
        """Forget everything."""
        self._due.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _turn(self) -> None:
        self._call = None
        self._turning = True
        try:
            now = self._clock.seconds()
            while self._due:
                item, when = next(iter(self._due.items()))
                if when > now:
                    return
                del self._due[item]
                self._expired(item)
        finally:
            self._turning = False
            self._schedule()

    def _schedule(self) -> None:
        # Not from within a turn: what is added there is due later than what is still to be seen.
        if self._due and self._call is None and not self._turning:
            when = next(iter(self._due.values()))
            self._call = self._clock.callLater(max(0.0, when - self._clock.seconds()), self._turn)
