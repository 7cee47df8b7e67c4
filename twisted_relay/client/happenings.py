"""What a conversation tells its owner: decrypted, and beside it what the transport says."""

import attrs

from .events import Ended, Gap, Joined, Lost, Notice, QrRotated, Stats


@attrs.frozen
class Said:
    """A member said ``text`` at ``ts`` (Unix milliseconds, by the sender's clock).

    ``sender`` is the name that the sender gives itself; tell members apart by ``member_id``, which
    the relay sets. ``own``: this client said it, and the relay has handed it to the room.
    """

    id: str
    member_id: str
    sender: str
    text: str
    ts: int
    own: bool


@attrs.frozen
class FileOffered:
    """A file of ``size`` bytes is coming; ``name`` has been made safe to use as a file name.

    ``media_id`` is the sender's choice: what tells a file apart is ``member_id`` and ``media_id``.
    """

    media_id: str
    member_id: str
    sender: str
    name: str
    mime: str
    size: int


@attrs.frozen
class FileProgress:
    """``received`` of ``size`` bytes of a file that was offered are here."""

    media_id: str
    member_id: str
    received: int
    size: int


@attrs.frozen
class FileReceived:
    """A file or a picture is here, whole and checked. ``mime`` is what the sender says it is.

    A picture comes without an offer, and its ``name`` is made up.
    """

    media_id: str
    member_id: str
    sender: str
    name: str
    mime: str
    content: bytes = attrs.field(repr=False)


@attrs.frozen
class FileFailed:
    """A file that was offered will not come; ``reason`` is one line."""

    media_id: str
    member_id: str
    name: str
    reason: str


@attrs.frozen
class Unreadable:
    """A member sent what this client cannot open or does not know; ``reason`` is one line."""

    member_id: str
    reason: str


Happening = (
    Said
    | FileOffered
    | FileProgress
    | FileReceived
    | FileFailed
    | Unreadable
    | Joined
    | Notice
    | Stats
    | QrRotated
    | Lost
    | Gap
    | Ended
)
"""Everything that a ``Conversation`` tells."""
