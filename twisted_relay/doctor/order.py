"""What is to be looked at, and how."""

from __future__ import annotations

import attrs

from twisted_relay.doctor.network import Trust
from twisted_relay.doctor.target import Target


@attrs.frozen
class Order:
    """What is to be looked at.

    Attributes:
        ops: where /health and /metrics are; None for where the settings or the target have them.
        limit: seconds for each question.
        whole: seconds for everything together; the idle test comes on top.
        room: whether to make one.
        idle: seconds of silence in it.
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
