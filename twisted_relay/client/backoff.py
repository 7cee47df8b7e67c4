"""How long to wait before coming back, so that a restarted relay is not stormed."""

from collections.abc import Callable

import attrs


@attrs.define
class Backoff:
    """Doubling waits with jitter: each is drawn from the upper half of the current span.

    ``first`` and ``longest`` are seconds; ``random`` draws from [0, 1).
    """

    random: Callable[[], float]
    first: float = 0.5
    longest: float = 30.0
    _attempts: int = attrs.field(default=0, init=False)

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        span = min(self.longest, self.first * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return span * (0.5 + self.random() / 2)

    def reset(self) -> None:
        """It worked: the next trouble starts from the shortest wait."""
        self._attempts = 0
