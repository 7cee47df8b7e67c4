"""Whether the process stood still: then leases may have lapsed, whatever the links say."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_relay.engine.interfaces import LEASE_SECONDS

#: Seconds between two looks at the clock.
PERIOD = 1.0
#: How late a look may be before the process is taken to have stood still. A lease that was renewed
#: in time outlives a shorter stall.
_STALL = LEASE_SECONDS * 0.6


class StallWatch:
    """Sets a timer again and again, and says when one was late by most of a lease's life.

    Args:
        clock: an `IReactorTime`.
        stalled: called then, before anything is read from a socket.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, stalled: Callable[[], None]) -> None:
        self._clock = clock
        self._stalled = stalled
        self._looked_at = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to look."""
        self._looked_at = self._clock.seconds()
        self._call = self._clock.callLater(PERIOD, self._look)

    def stop(self) -> None:
        """Look no more; harmless if it was not started."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        passed = self._clock.seconds() - self._looked_at
        self.start()
        if passed > PERIOD + _STALL:
            self._log.warn(
                "this process stood still; its rooms are checked",
                event="stalled",
                duration_ms=round(passed * 1000),
            )
            self._stalled()
