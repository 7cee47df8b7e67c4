"""What a client tells its owner, as values."""

import attrs


@attrs.frozen
class Joined:
    """In the room: at first, or back after a loss (``resumed`` if the same seat)."""

    room_id: str
    member_id: str
    label: str
    participants: int
    max: int
    resumed: bool


@attrs.frozen
class Message:
    """A member said something. ``own``: it is this client's, come back as acknowledgement."""

    id: str
    member_id: str
    ciphertext: str
    own: bool


@attrs.frozen
class Notice:
    """A line of the relay about the room; ``kind`` is info, warn or error."""

    text: str
    kind: str


@attrs.frozen
class Stats:
    """How many members the room has."""

    participants: int
    max: int


@attrs.frozen
class QrRotated:
    """A new single-use join token for somebody else; ``expires`` in Unix milliseconds."""

    token: str = attrs.field(repr=False)
    expires: int


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


Event = Joined | Message | Notice | Stats | QrRotated | Lost | Gap | Ended
