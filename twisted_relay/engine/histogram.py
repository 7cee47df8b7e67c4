"""Counts of durations, as Prometheus wants them."""

from __future__ import annotations

import bisect

#: Upper bounds in seconds; 10 ms is "normal" and 100 ms alarms, by the runbook.
LATENCY_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
#: From what a person cannot notice to what loses connections.
LOOP_LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Histogram:
    """How often a duration fell under each bound, in seconds."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration, in seconds."""
        self._counts[bisect.bisect_left(self._bounds, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return cumulative counts, ``("+Inf", all)`` last, as Prometheus wants them."""
        found, running = [], 0
        for bound, count in zip((*self._bounds, None), self._counts, strict=True):
            running += count
            found.append(("+Inf" if bound is None else repr(bound), float(running)))
        return found
