"""How the tests of this ring wait: for something, with a bound, or for time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.task import deferLater

PATIENCE = 10.0


async def until(true: Callable[[], object], patience: float = PATIENCE) -> None:
    """Let the reactor run until it is so."""
    ends = time.monotonic() + patience
    while not true():
        assert time.monotonic() < ends, f"it did not come about in {patience} s"
        await deferLater(reactor, 0.01)


async def later(seconds: float) -> None:
    """Let this much time pass, in which something must not happen."""
    await deferLater(reactor, seconds)
