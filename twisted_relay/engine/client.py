"""A connected client: its session, its connection, and the seat that it holds."""

from __future__ import annotations

from twisted_relay.core.rooms import Member, Room
from twisted_relay.core.session import Session
from twisted_relay.engine.interfaces import IConnection

Seated = Member["Client"]
LocalRoom = Room["Client"]


class Client:
    """What the relay knows of one connection.

    Attributes:
        heard_at: when anything last came, seconds of the reactor's clock; set by the shell before
            it passes on what came, and what the limits go by.
        pinged_at: when the last ping left.
        slot: the heartbeat's slot.
        cut_off: whether something was withheld from it, so that it must be closed.
        resuming: whether its parked frames are being dealt with further up the stack.
    """

    __slots__ = (
        "connection",
        "cut_off",
        "heard_at",
        "member",
        "pinged_at",
        "resuming",
        "session",
        "slot",
    )

    def __init__(self, connection: IConnection, session: Session, now: float) -> None:
        self.connection = connection
        self.session = session
        self.member: Seated | None = None
        self.heard_at = now
        self.pinged_at = 0.0
        self.slot = 0
        self.resuming = False
        self.cut_off = False
