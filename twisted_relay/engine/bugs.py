"""What becomes of bugs of our own: they are counted and logged, and nothing else goes down."""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_relay.engine.metrics import Metrics


class Bugs:
    """Takes the failures that nobody waits for.

    Args:
        metrics: where they are counted.
    """

    _log = Logger()

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def surfaced(self, failure: Failure, kind: str) -> None:
        """Count and log a failure; `kind` says what it was about, mostly the type of a frame."""
        self._metrics.count_unhandled(kind)
        self._log.failure("unhandled error", failure, event="unhandled_error")
