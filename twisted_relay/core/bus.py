"""What instances say to each other about a room: sealed, so that only a relay can have said it.

An envelope on a room's channel is ``version (1 byte) + MAC (16 bytes) + MessagePack``. The MAC is
keyed BLAKE2b (RFC 7693) over the room's id and the content, so that nothing can be made up by
whoever reaches Redis, nor moved from one room to another. What was said before and is said again
is recognized by its sequence number (`span`).
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

_VERSION = b"\x01"
_MAC_BYTES = 16
_START = len(_VERSION) + _MAC_BYTES

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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


class Seal:
    """Closes and opens envelopes.

    Args:
        keys: the first seals, each opens, so that secrets can be changed one instance after
            another.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def close(self, room_id: str, envelope: Envelope) -> bytes:
        """The bytes for a room's channel."""
        content = _encoder.encode(envelope)
        return _VERSION + _mac(self._keys[0], room_id, content) + content

    def open(self, room_id: str, data: bytes) -> Envelope | None:
        """What the bytes say; None if no relay that knows a key said that of this room."""
        if data[:1] != _VERSION:
            return None
        mac, content = data[1:_START], data[_START:]
        if not any(hmac.compare_digest(_mac(key, room_id, content), mac) for key in self._keys):
            return None
        try:
            return _decoder.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


def _mac(key: bytes, room_id: str, content: bytes) -> bytes:
    name = room_id.encode()
    mac = hashlib.blake2b(len(name).to_bytes(2, "big") + name, key=key, digest_size=_MAC_BYTES)
    mac.update(content)
    return mac.digest()
