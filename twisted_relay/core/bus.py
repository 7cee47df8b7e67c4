"""What instances say to each other about a room. `twisted_relay.engine.seal` makes bytes of it."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec

_Id = Annotated[str, msgspec.Meta(max_length=128)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Occupant(msgspec.Struct, array_like=True, frozen=True):
    """A member in its seat, on the instance that says so.

    Attributes:
        member_id: the seat.
        label: the name that the others see.
        since: the room's revision with which it came to this seat; of two who claim one seat the
            later one has it.
    """

    member_id: _Id
    label: Annotated[str, msgspec.Meta(max_length=32)]
    since: _Count


class Tell(enum.IntEnum):
    """Whether members are told the count of a room."""

    NOT = 0
    IF_NEWS = 1
    ALWAYS = 2


class Presence(msgspec.Struct, array_like=True, frozen=True, tag="p"):
    """How an instance knows a room, and who is there with it.

    Attributes:
        revision, participants, leases: the latest `Standing` that it knows of.
        occupants: its own members.
        quiet: those of them who came back, and are not announced.
        asks: whether the others are to answer with their own presence.
        tells: whether members are to be told the count.
        apart: whether its members may have heard what the others did not.
    """

    revision: _Count
    participants: _Count
    leases: tuple[_Id, ...]
    occupants: tuple[Occupant, ...]
    quiet: tuple[_Id, ...] = ()
    asks: bool = False
    tells: Tell = Tell.NOT
    apart: bool = False


class Message(msgspec.Struct, array_like=True, frozen=True, tag="m"):
    """A member's message, encoded as every member is to hear it.

    Attributes:
        kind: the frame's type, for the metrics.
        skip: the member who is not to hear it; empty for none.
        frame: the whole WebSocket frame.
    """

    kind: Literal["APP_MSG", "MEDIA_MSG"]
    skip: _Id
    frame: bytes


class Shown(msgspec.Struct, array_like=True, frozen=True, tag="q"):
    """The QR token that the room shows from now on: its ``jti``, its expiry in Unix ms."""

    id: _Id
    expires_ms: _Count


Item = Presence | Message | Shown


class Envelope(msgspec.Struct, array_like=True, frozen=True):
    """What one instance says at once; `sequence` counts up by one within a lease."""

    lease: _Id
    sequence: _Count
    items: tuple[Item, ...]
