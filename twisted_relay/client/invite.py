"""An invitation as one URL-safe text: ``v1.ROOM.KEY`` or ``v1.ROOM.KEY.TOKEN``.

Without a token it lasts as long as the room: who joins fetches a join token from the relay by
room id. With one it serves once, for as long as the token lives. It holds the key, so it goes
from person to person and never to the relay.
"""

import re
from typing import Self

import attrs

from .cipher import KEY_BYTES, from_base64url, to_base64url
from .errors import ClientError

_SHAPE = re.compile(
    r"v1\.(?P<room>[A-Za-z0-9_-]{8,128})\.(?P<key>[A-Za-z0-9_-]{43})"
    r"(?:\.(?P<token>[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+))?",
    re.ASCII,
)
_LONGEST = 4096


class InviteError(ClientError):
    """The text is not an invite, or only part of one."""


@attrs.frozen
class Invite:
    """Room id, room key (32 bytes) and, for a single use, a join token."""

    room_id: str
    key: bytes = attrs.field(repr=False)
    token: str | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        parts = ["v1", self.room_id, to_base64url(self.key)]
        return ".".join(parts if self.token is None else [*parts, self.token])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an invite; spaces around it do not matter. Raises InviteError, naming no secret."""
        text = text.strip()
        match = _SHAPE.fullmatch(text) if len(text) <= _LONGEST else None
        if match is None:
            raise InviteError("not a whole invite: it looks like v1.ROOM.KEY")
        key = from_base64url(match["key"])
        if len(key) != KEY_BYTES or to_base64url(key) != match["key"]:
            raise InviteError("the key in this invite is damaged")
        return cls(match["room"], key, match["token"])
