"""A call that is made at once, though not too often."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Throttle:
    """Makes a call at most once in so many seconds, and once more after the last cause.

    Args:
        clock: an `IReactorTime`.
        seconds: the least time between two calls.
        call: what is called.
    """

    __slots__ = ("_again", "_call", "_clock", "_pause", "_seconds")

    def __init__(self, clock: IReactorTime, seconds: float, call: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._call = call
        self._pause: IDelayedCall | None = None
        self._again = False

    def __call__(self) -> None:
        """There is cause: call now, or at the end of the pause since the last call."""
        if self._pause is not None:
            self._again = True
            return
        self._again = False
        self._pause = self._clock.callLater(self._seconds, self._pause_ends)
        self._call()

    def stop(self) -> None:
        """Forget what waits for the end of a pause."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _pause_ends(self) -> None:
        self._pause = None
        if self._again:
            self()
