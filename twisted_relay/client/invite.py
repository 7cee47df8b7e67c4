"""An invite: the link that brings somebody into a room.

``https://HOST/#k=KEY&roomId=ROOM``, and with ``&token=TOKEN`` for a single use. All of it is in the
fragment, so that neither the relay nor a log on the way sees key or room. Links of the web client
that this project replaces have the room in the query; they are read, too.

Without a token a link lasts as long as the room: who joins fetches a join token by the room id.
"""

import re
from typing import Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

import attrs

from .base64url import from_base64url, to_base64url
from .errors import ClientError

KEY_BYTES = 32
_LONGEST = 4096  # characters of a link
_ROOM = re.compile(r"[A-Za-z0-9_-]{8,128}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{8,2048}", re.ASCII)
_SCHEMES = {"http": "ws", "https": "wss"}


class InviteError(ClientError):
    """The text is not an invite, or only part of one."""


def _check_room(_invite: object, _attribute: object, value: str) -> None:
    if _ROOM.fullmatch(value) is None:
        raise InviteError("the room in this invite is damaged")


def _check_key(_invite: object, _attribute: object, value: bytes) -> None:
    if len(value) != KEY_BYTES:
        raise InviteError(f"a room key is {KEY_BYTES} bytes, not {len(value)}")


def _check_token(_invite: object, _attribute: object, value: str | None) -> None:
    if value is not None and _TOKEN.fullmatch(value) is None:
        raise InviteError("the token in this invite is damaged")


@attrs.frozen
class Invite:
    """Where the relay is, which room, its key (32 bytes) and, for a single use, a join token.

    ``relay_url`` is the ``ws://`` or ``wss://`` address; None if the text named no host. The key
    goes from person to person and never to the relay: whoever has it can read everything.
    Raises InviteError.
    """

    relay_url: str | None
    room_id: str = attrs.field(validator=_check_room)
    key: bytes = attrs.field(repr=False, validator=_check_key)
    token: str | None = attrs.field(default=None, repr=False, validator=_check_token)

    @property
    def link(self) -> str:
        """The invite as a link to the page that the relay serves. Raises InviteError."""
        if self.relay_url is None:
            raise InviteError("an invite without the address of a relay makes no link")
        relay = urlsplit(self.relay_url)
        scheme = {"ws": "http", "wss": "https"}.get(relay.scheme, "https")
        folder = relay.path.rpartition("/")[0]
        fragment = f"k={to_base64url(self.key)}&roomId={self.room_id}"
        if self.token is not None:
            fragment += f"&token={quote(self.token, safe='')}"
        return f"{scheme}://{relay.netloc}{folder}/#{fragment}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a link, new or old; spaces around it do not matter.

        Also reads its fragment alone (``#k=...``). Raises InviteError, which names no secret.
        """
        text = text.strip()
        parts = _split(text)
        found = _parameters(parts.query) | _parameters(parts.fragment)
        room, key = found.get("roomId"), found.get("k")
        if room is None or key is None:
            raise InviteError("not a whole invite: it looks like https://host/#k=KEY&roomId=ROOM")
        return cls(_relay_of(parts), room, _key(key), found.get("token") or None)


def _split(text: str) -> SplitResult:
    try:
        if len(text) > _LONGEST or re.search(r"[\x00-\x20\x7f]", text):
            raise ValueError
        parts = urlsplit(text)
        if text.startswith("#"):
            return parts
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.port == 0:
            raise ValueError
        if parts.username is not None:
            raise ValueError
    except ValueError as fault:
        raise InviteError("not an invite: it looks like https://host/#k=KEY&roomId=ROOM") from fault
    return parts


def _parameters(text: str) -> dict[str, str]:
    """``name=value`` pairs; a plus sign is itself, since base64 has it; the first one wins."""
    found: dict[str, str] = {}
    for pair in text.split("&"):
        name, equals, value = pair.partition("=")
        if equals:
            found.setdefault(unquote(name), unquote(value))
    return found


def _key(text: str) -> bytes:
    try:
        key = from_base64url(text)
    except ValueError:
        key = b""
    # The last of 43 characters has two bits to spare: another spelling of them is a typing error.
    spelling = text.rstrip("=").translate(str.maketrans("+/", "-_"))
    if len(key) != KEY_BYTES or to_base64url(key) != spelling:
        raise InviteError("the key in this invite is damaged")
    return key


def _relay_of(parts: SplitResult) -> str | None:
    if not parts.scheme:
        return None
    folder = parts.path.removesuffix("/join/").rpartition("/")[0]
    if parts.path.endswith("/join/"):
        folder = parts.path.removesuffix("/join/")
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{folder}/ws"
