"""What is to be looked at, and how."""

from __future__ import annotations

import attrs

from twisted_relay.doctor.network import Trust
from twisted_relay.doctor.target import Target

WATCH_SECONDS = 2.0
"""Enough to see what a relay in use goes through, and not long to wait for."""


@attrs.frozen
class Order:
    """What is to be looked at.

    Attributes:
        ops: where /health and /metrics are; None for where the settings or the target have them.
        limit: seconds for each question.
        whole: seconds for everything together; the idle test comes on top, and a longer watch.
        room: whether to make one.
        idle: seconds of silence in it.
        watch: seconds between two looks at what the relay counts.
        pid: of the relay, where it is on this machine.
    """

    target: Target
    ops: Target | None = None
    limit: float = 5.0
    room: bool = True
    idle: float = 0.0
    pid: int | None = None
    trust: Trust = attrs.Factory(Trust)
    whole: float = 14.0
    watch: float = WATCH_SECONDS

    @property
    def bound(self) -> float:
        """Seconds until the last check has ended, whatever hangs."""
        return self.whole + max(self.idle, self.watch - WATCH_SECONDS)
