"""How a relay sends everybody elsewhere, without sending them all at once."""

from __future__ import annotations

from collections.abc import Callable, Set

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from twisted_relay.core.errors import Close
from twisted_relay.core.rooms import Rooms
from twisted_relay.engine.client import Client
from twisted_relay.engine.interfaces import LEASE_SECONDS

#: Rooms told in one second at the most, so that their members do not all return in one instant.
_ROOMS_PER_SECOND = 50.0
#: The part of the time in which all have been told; the rest is for closing.
_TELLING = 1 / 3
#: Seconds between two looks at whether all are gone.
_LOOK = 0.02


async def send_everybody_away(
    clock: IReactorTime,
    seconds: float,
    clients: Set[Client],
    rooms: Rooms[Client],
    close: Callable[[Client, Close], None],
    unfinished: Callable[[], bool],
) -> None:
    """Close every client with SERVICE_RESTART, room by room.

    Ends when all are gone and nothing is `unfinished`, or after `seconds`. What is unfinished for
    longer than a lease lives comes too late: the seats are nobody's by then.
    """
    ends = clock.seconds() + seconds
    in_rooms = list(rooms)
    pause = min(seconds * _TELLING / max(1, len(in_rooms)), 1 / _ROOMS_PER_SECOND)
    for client in [client for client in clients if client.member is None]:
        close(client, Close.SERVICE_RESTART)
    for room in in_rooms:
        for member in tuple(room.members.values()):
            close(member.client, Close.SERVICE_RESTART)
        await deferLater(clock, pause)
    for client in tuple(clients):
        close(client, Close.SERVICE_RESTART)
    while clients and clock.seconds() < ends:
        await deferLater(clock, _LOOK)
    ends = min(ends, clock.seconds() + LEASE_SECONDS)
    while unfinished() and clock.seconds() < ends:
        await deferLater(clock, _LOOK)
