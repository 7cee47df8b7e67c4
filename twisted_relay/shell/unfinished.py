"""Frames and messages that have begun to come, and must be whole in time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T", bound=Hashable)

MESSAGE_SECONDS = 60.0
"""A message must be whole within this time of its first byte. The largest frame of the default
settings makes it at 35 kbit/s."""


class Unfinished(Generic[T]):
    """Calls ``overdue(item)`` for what is not over ``seconds`` after it has begun.

    All have the same time, so they lie in the order in which they are due, and beginning and ending
    is a matter of a dict. The one timer is not moved with each of them: it runs out, and looks.
    """

    def __init__(self, clock: IReactorTime, seconds: float, overdue: Callable[[T], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._overdue = overdue
        self._since: dict[T, float] = {}
        self._call: IDelayedCall | None = None

    def __contains__(self, item: T) -> bool:
        return item in self._since

    def began(self, item: T) -> None:
        """The time of an item begins, anew if it was running."""
        self._since.pop(item, None)
        self._since[item] = self._clock.seconds()
        if self._call is None:
            self._call = self._clock.callLater(self._seconds, self._look)

    def ended(self, item: T) -> None:
        """An item is over, if it had begun."""
        self._since.pop(item, None)

    def stop(self) -> None:
        """Forget everything."""
        self._since.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None
        now = self._clock.seconds()
        late = []
        for item, since in self._since.items():
            left = since + self._seconds - now
            if left > 0:
                self._call = self._clock.callLater(left, self._look)
                break
            late.append(item)
        for item in late:
            # What ends one may end another.
            if self._since.pop(item, None) is not None:
                self._overdue(item)
