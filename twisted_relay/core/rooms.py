"""Who is in which room in this process. The whole room, over all processes, is the store's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from twisted_relay.core.span import Span

_AUTOMATIC_LABEL = re.compile(r"P([1-9][0-9]{0,8})")

ClientT = TypeVar("ClientT")


@attrs.frozen
class Standing:
    """A room's membership at one moment.

    Attributes:
        revision: counts each change of the room's membership, and never goes back; of two
            standings of a room the higher is the later.
        participants: members of the whole room.
        leases: the stays that have members there.
        reaped: whether the very step that gave this answer dropped a lapsed lease.
        held: how many seats are held under the asking lease; told to a renewal only.
    """

    revision: int
    participants: int
    leases: frozenset[str]
    reaped: bool = False
    held: int | None = attrs.field(default=None, eq=False)


def automatic_number(label: str | None) -> int:
    """The n of a label ``P<n>``, else 0."""
    match = _AUTOMATIC_LABEL.fullmatch(label or "")
    return int(match[1]) if match else 0


class Member(Generic[ClientT]):
    """A seat of a room that is held by a connection of this process.

    Attributes:
        id: the member's id, random, for life.
        label: the name that the others see.
        hold: names this holding of the seat; a store write with another one is void.
        since: the room's revision with which it came.
        came_with: the generation of the token that was used to come in.
        generation: the generation of the last token that was handed out.
        client: whoever hears the room in this seat.
    """

    __slots__ = ("came_with", "client", "generation", "hold", "id", "label", "room", "since")

    def __init__(
        self,
        room: Room[ClientT],
        id: str,
        label: str,
        hold: str,
        since: int,
        generation: int,
        client: ClientT,
    ) -> None:
        self.room = room
        self.id = id
        self.label = label
        self.hold = hold
        self.since = since
        self.came_with = self.generation = generation
        self.client = client


class Room(Generic[ClientT]):
    """One room's members in this process, in the order in which they came.

    Attributes:
        span: this process's part in the room.
        participants: members over all processes, as those here were last told.
        qr_id, qr_expires_ms: the ``jti`` of the QR token last shown to the room, and its expiry.
    """

    __slots__ = ("id", "members", "participants", "qr_expires_ms", "qr_id", "queue", "span")

    def __init__(self, id: str, span: Span) -> None:
        self.id = id
        self.span = span
        self.members: dict[str, Member[ClientT]] = {}
        self.participants = 0
        self.qr_id = ""
        self.qr_expires_ms = 0
        #: Encoded frames that wait for the end of this reactor turn, each with whom it skips.
        self.queue: list[tuple[bytes, Member[ClientT] | None]] = []


class Rooms(Generic[ClientT]):
    """Every room that has a member in this process; a room without one is forgotten at once."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room[ClientT]] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[Room[ClientT]]:
        return iter(tuple(self._rooms.values()))

    def __contains__(self, room: object) -> bool:
        return isinstance(room, Room) and self._rooms.get(room.id) is room

    def get(self, room_id: str) -> Room[ClientT] | None:
        """The room, if it has a member here."""
        return self._rooms.get(room_id)

    def enter(
        self,
        room_id: str,
        span: Span,
        id: str,
        label: str,
        hold: str,
        since: int,
        generation: int,
        client: ClientT,
    ) -> tuple[Member[ClientT], Member[ClientT] | None]:
        """Take a seat; returns the member, and the one that held the seat here before, if any."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = Room(room_id, span)
        replaced = room.members.pop(id, None)
        member = Member(room, id, label, hold, since, generation, client)
        room.members[id] = member
        return member, replaced

    def remove(self, member: Member[ClientT]) -> bool:
        """Give up a seat; False, and nothing changed, if somebody else holds it by now."""
        members = member.room.members
        if members.get(member.id) is not member:
            return False
        del members[member.id]
        if not members and self._rooms.get(member.room.id) is member.room:
            del self._rooms[member.room.id]
        return True
