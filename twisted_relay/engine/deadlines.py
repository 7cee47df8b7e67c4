"""Many deadlines, kept by one timer."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Calls `expired(item)` once an item's time is over; one delayed call serves them all.

    Args:
        clock: an `IReactorTime`.
        delay: seconds, for an item that brings no time of its own.
        expired: called with each item that was not cancelled; it may add the item again.
    """

    def __init__(self, clock: IReactorTime, delay: float, expired: Callable[[T], None]) -> None:
        self._clock = clock
        self._delay = delay
        self._expired = expired
        # An entry of the heap counts only while `_due` still holds its number.
        self._heap: list[tuple[float, int, T]] = []
        self._due: dict[T, int] = {}
        self._numbers = itertools.count()
        self._call: IDelayedCall | None = None
        self._when = 0.0
        self._turning = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, item: T, delay: float | None = None) -> None:
        """Start the item's time, anew if it was running; `delay` in seconds."""
        when = self._clock.seconds() + (self._delay if delay is None else max(0.0, delay))
        number = self._due[item] = next(self._numbers)
        heapq.heappush(self._heap, (when, number, item))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)
        self._schedule()

    def change(self, delay: float) -> None:
        """Give items another time from now on; what is running keeps the one it has."""
        self._delay = delay

    def cancel(self, item: T) -> None:
        """The item's time no longer matters; nothing happens if it was not running."""
        self._due.pop(item, None)
        if not self._due:
            self.stop()

    def stop(self) -> None:
        """Forget everything."""
        self._due.clear()
        self._heap.clear()
        self._schedule()

    def _turn(self) -> None:
        self._call = None
        self._turning = True
        try:
            now = self._clock.seconds()
            while self._heap and self._heap[0][0] <= now:
                _, number, item = heapq.heappop(self._heap)
                if self._due.get(item) == number:
                    del self._due[item]
                    self._expired(item)
        finally:
            self._turning = False
            self._schedule()

    def _schedule(self) -> None:
        if self._turning:
            return
        when = self._heap[0][0] if self._heap else None
        if self._call is not None:
            if when == self._when:
                return
            self._call.cancel()
            self._call = None
        if when is not None:
            self._when = when
            self._call = self._clock.callLater(max(0.0, when - self._clock.seconds()), self._turn)
