"""Reaching Redis again and again, for as long as the process runs, and saying so in two lines."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_relay.engine.metrics import Metrics
from twisted_relay.shell.redis_connection import ErrorReply, reason_of

_FIRST_WAIT, _LONGEST_WAIT, _GROWTH = 0.1, 2.0, 1.6
#: Seconds for which it must have worked before the waits begin from the shortest again.
_PROVEN = 5.0


class Reconnect:
    """Makes one attempt after another, with growing waits between them, whatever they end with.

    An outage is told in one warning and, when there was an answer again for a while, one line more.

    Args:
        attempt: connects, calls `succeeded`, and ends by raising what ended the connection.
        event: the lines are ``<event>_lost`` and ``<event>_back``.
        what: names in them what was lost.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        attempt: Callable[[], Awaitable[None]],
        metrics: Metrics,
        event: str,
        what: str,
    ) -> None:
        self._clock = clock
        self._attempt = attempt
        self._metrics = metrics
        self._event = event
        self._what = what
        self._random = random.SystemRandom().random
        self._running: Deferred[None] | None = None
        self._stopped = False
        self._failures = 0
        self._succeeded_at: float | None = None
        self._lost_at: float | None = None
        self.reason: str | None = None
        """Why the last attempt ended, in one word; None before the first did."""

    def start(self) -> None:
        """Begin, and go on until `stop`."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def stop(self) -> None:
        """Make no attempt any more; one that goes on is cancelled."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()

    def succeeded(self) -> None:
        """There is a connection."""
        self._succeeded_at = self._clock.seconds()

    def steady(self) -> None:
        """It has answered for a while."""
        if self._lost_at is not None:
            away, self._lost_at = self._clock.seconds() - self._lost_at, None
            self._log.info(
                f"{self._what} is back",
                event=f"{self._event}_back",
                duration_ms=round(away * 1000),
            )

    async def _run(self) -> None:
        while True:
            self._succeeded_at = None
            try:
                await self._attempt()
            except Exception as trouble:
                # An endpoint that is cancelled fails with an exception of its own.
                if self._stopped:
                    return
                self._ended(trouble)
            await deferLater(self._clock, self._next_wait())
            self._metrics.redis_reconnect_attempts += 1

    def _ended(self, trouble: Exception) -> None:
        reason = reason_of(trouble)
        if isinstance(trouble, ErrorReply):
            # Nobody but this waits for AUTH and SELECT.
            self._metrics.redis_errors += 1
        if reason is None:
            self._log.failure("a bug ended a connection to Redis", event="redis_failed")
        self.reason = reason or "bug"
        if self._lost_at is None:
            self._lost_at = self._clock.seconds()
            self._log.warn(
                f"{self._what} is not there: {{reason}}; trying again until it is",
                event=f"{self._event}_lost",
                reason=self.reason,
            )

    def _next_wait(self) -> float:
        began, now = self._succeeded_at, self._clock.seconds()
        if began is not None and now - began >= _PROVEN:
            self._failures = 0
        span = min(_LONGEST_WAIT, _FIRST_WAIT * _GROWTH ** min(self._failures, 32))
        self._failures += 1
        # Jitter, so that many instances do not come in one instant.
        return span * (0.5 + self._random() / 2)
