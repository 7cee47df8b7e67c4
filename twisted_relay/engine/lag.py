"""How late the event loop is: what every client waits for when the process has too much to do."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_relay.engine.histogram import Histogram

#: Seconds between two looks: often enough for a scrape, too seldom to cost anything.
PERIOD = 0.5


class LoopLag:
    """Sets a timer again and again, and counts how long after its time it is called.

    Args:
        clock: an `IReactorTime`.
        lags: takes each lag, in seconds.
    """

    def __init__(self, clock: IReactorTime, lags: Histogram) -> None:
        self._clock = clock
        self._lags = lags
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to look."""
        self._due = self._clock.seconds() + PERIOD
        self._call = self._clock.callLater(PERIOD, self._look)

    def stop(self) -> None:
        """Look no more; harmless if it was not started."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._lags.observe(max(0.0, self._clock.seconds() - self._due))
        self.start()
