"""Who is in which room in this process. The whole room, over all processes, is the store's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

ClientT = TypeVar("ClientT")


class Member(Generic[ClientT]):
    """A seat of a room that is held by a connection of this process.

    Attributes:
        id: the member's id, random, for life.
        label: the name that the others see.
        epoch: which holding of the seat this is; a store write with an older one is void.
        generation: the generation of the token that was used to come in.
        client: whoever hears the room in this seat.
    """

    __slots__ = ("client", "epoch", "generation", "id", "label", "room")

    def __init__(
        self,
        room: Room[ClientT],
        id: str,
        label: str,
        epoch: int,
        generation: int,
        client: ClientT,
    ) -> None:
        self.room = room
        self.id = id
        self.label = label
        self.epoch = epoch
        self.generation = generation
        self.client = client


class Room(Generic[ClientT]):
    """One room's members in this process, in the order in which they came.

    Attributes:
        participants: members over all processes, as the store last said.
        qr_id: the ``jti`` of the QR token last shown to the room.
    """

    __slots__ = ("id", "members", "participants", "qr_id", "queue")

    def __init__(self, id: str) -> None:
        self.id = id
        self.members: dict[str, Member[ClientT]] = {}
        self.participants = 0
        self.qr_id = ""
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
        self, room_id: str, id: str, label: str, epoch: int, generation: int, client: ClientT
    ) -> tuple[Member[ClientT], Member[ClientT] | None]:
        """Take a seat; returns the member, and the one that held the seat here before, if any."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = Room(room_id)
        replaced = room.members.pop(id, None)
        member = Member(room, id, label, epoch, generation, client)
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
