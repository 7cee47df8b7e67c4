"""How fast a client may send, so that the relay does not close its connection. Time is a number."""

import attrs

from .limits import Limits

_SHARE = 0.8  # of what the relay allows; the rest is for frames of other kinds


@attrs.define
class _Bucket:
    """Holds ``burst``, refills ``rate`` a second."""

    burst: float
    rate: float
    level: float

    def refill(self, seconds: float) -> None:
        self.level = min(self.burst, self.level + seconds * self.rate)

    def wait(self, amount: float) -> float:
        """Seconds until ``amount`` may be taken. What exceeds the bucket is let out by a full one,

        and is a debt afterwards.
        """
        return max(0.0, (min(amount, self.burst) - self.level) / self.rate)

    def change(self, burst: float, rate: float) -> None:
        full = self.level >= self.burst
        self.burst, self.rate = burst, rate
        self.level = burst if full else min(self.level, burst)


def _bucket(per_10s: float) -> _Bucket:
    burst = max(per_10s * _SHARE, 1.0)
    return _Bucket(burst, burst / 10, burst)


@attrs.define
class Pace:
    """Messages and bytes, each in a bucket that refills smoothly, as the relay counts them."""

    _messages: _Bucket = attrs.field(factory=lambda: _bucket(Limits().max_msgs_per_10s))
    _bytes: _Bucket = attrs.field(factory=lambda: _bucket(Limits().max_bytes_per_10s))
    _at: float = attrs.field(default=0.0, init=False)

    def allow(self, limits: Limits) -> None:
        """Keep under other limits from now on."""
        messages, size = limits.max_msgs_per_10s * _SHARE, limits.max_bytes_per_10s * _SHARE
        self._messages.change(max(messages, 1.0), max(messages / 10, 0.1))
        self._bytes.change(max(size, 1.0), max(size / 10, 0.1))

    def take(self, size: int, now: float) -> float:
        """Seconds to wait before a message of ``size`` bytes; 0.0: it may go, and is counted."""
        passed, self._at = max(now - self._at, 0.0), now
        self._messages.refill(passed)
        self._bytes.refill(passed)
        wait = max(self._messages.wait(1.0), self._bytes.wait(size))
        if wait > 0.0:
            return wait + 0.001  # timers may be early by a rounding
        self._messages.level -= 1.0
        self._bytes.level -= size
        return 0.0
