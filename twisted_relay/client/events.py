"""What a client tells its owner, as values."""

from typing import Self

import attrs

from .frames import Frame
from .part import MediaPart


@attrs.frozen
class Joined:
    """In the room: at first, or back after a loss (``resumed`` if the same seat)."""

    room_id: str
    member_id: str
    label: str
    participants: int
    max: int
    resumed: bool

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """From ROOM_CREATED or JOINED. Raises FrameError."""
        created = frame.t == "ROOM_CREATED"
        return cls(
            frame.text("roomId"),
            frame.text_or("memberId"),
            frame.text_or("label"),
            1 if created else frame.number("participants", 1),
            frame.number("maxParticipants" if created else "max"),
            frame.body.get("resumed") is True,
        )


@attrs.frozen
class Message:
    """A member said something. ``own``: it is this client's, come back as acknowledgement."""

    id: str
    member_id: str
    ciphertext: str
    own: bool


@attrs.frozen
class Media:
    """Another member sent a part of a file; ``sender`` is that member's label, by the relay."""

    id: str
    member_id: str
    sender: str
    part: MediaPart

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """From MEDIA_MSG. Raises FrameError."""
        member_id, sender = frame.text_or("memberId"), frame.text_or("from")
        return cls(frame.id, member_id, sender, MediaPart.of(frame))


@attrs.frozen
class Notice:
    """A line of the relay about the room; ``kind`` is info, warn or error."""

    text: str
    kind: str

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """From SYSTEM_MSG. Raises FrameError."""
        return cls(frame.text("text"), frame.text_or("type", "info"))


@attrs.frozen
class Stats:
    """How many members the room has."""

    participants: int
    max: int

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """From ROOM_STATS."""
        return cls(frame.number("participants"), frame.number("max"))


@attrs.frozen
class QrRotated:
    """A new single-use join token for somebody else; ``expires`` in Unix milliseconds."""

    token: str = attrs.field(repr=False)
    expires: int

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """From QR_ROTATED or ROOM_CREATED. Raises FrameError."""
        return cls(frame.text("qrToken"), frame.number("qrExpUnixMs"))


@attrs.frozen
class Lost:
    """The connection is lost; the client tries again in ``retry_in`` seconds."""

    reason: str
    retry_in: float


@attrs.frozen
class Gap:
    """Messages of others may have been missed."""


@attrs.frozen
class Ended:
    """It is over, and the client will not come back by itself."""

    reason: str


Event = Joined | Message | Media | Notice | Stats | QrRotated | Lost | Gap | Ended
"""Everything that a ``RelayClient`` tells."""
