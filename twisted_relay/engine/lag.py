"""How late the event loop is: what every client waits for when the process has too much to do."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds between two looks: often enough for a scrape, too seldom to cost anything.
PERIOD = 0.5


class LoopLag:
    """Sets a timer again and again, and tells how long after its time it is called.

    Args:
        clock: an `IReactorTime`.
        tell: called with each lag, in seconds.
        period: seconds between two looks.
    """

    def __init__(
        self, clock: IReactorTime, tell: Callable[[float], None], period: float = PERIOD
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._period = period
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to look."""
        self._due = self._clock.seconds() + self._period
        self._call = self._clock.callLater(self._period, self._look)

    def stop(self) -> None:
        """Look no more; harmless if it was not started."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        lag = max(0.0, self._clock.seconds() - self._due)
        # First, as what is told may fail.
        self.start()
        self._tell(lag)
