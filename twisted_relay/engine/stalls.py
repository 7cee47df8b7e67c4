"""Whether the process stood still: then leases may have lapsed, whatever the links say."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twisted_relay.engine.interfaces import LEASE_SECONDS
from twisted_relay.engine.lag import LoopLag

#: Seconds between two looks at the clock.
PERIOD = 1.0
#: How late a look may be before the process is taken to have stood still. A lease that was renewed
#: in time outlives a shorter stall.
_STALL = LEASE_SECONDS * 0.6

_log = Logger()


def stall_watch(clock: IReactorTime, stalled: Callable[[], None]) -> LoopLag:
    """What calls `stalled`, once started, when the loop is late by most of a lease's life; before
    anything is read from a socket."""

    def look(lag: float) -> None:
        if lag > _STALL:
            _log.warn(
                "this process stood still; its rooms are checked",
                event="stalled",
                duration_ms=round((lag + PERIOD) * 1000),
            )
            stalled()

    return LoopLag(clock, look, PERIOD)
