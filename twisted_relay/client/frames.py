"""The envelope of the wire protocol as a client sees it: build one, read one."""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from .errors import ClientError

VERSION = 1
_LARGEST = 2**53


class FrameError(ClientError):
    """What the relay sent is not a frame of this protocol, or lacks a field it must have."""


class Frame(msgspec.Struct, frozen=True):
    """One frame: ``t`` its type, ``id`` its id, ``re`` the id of the frame it answers, if any."""

    t: str
    id: str = ""
    body: dict[str, Any] = {}
    re: str | None = None
    v: int = VERSION

    def text(self, field: str) -> str:
        """The string ``field`` of the body. Raises FrameError if it is not there."""
        value = self.body.get(field)
        if not isinstance(value, str):
            raise FrameError(f"{field} is missing in a frame of the relay")
        return value

    def text_or(self, field: str, default: str = "") -> str:
        """The string ``field`` of the body, or ``default`` for one that older relays lack."""
        value = self.body.get(field)
        return value if isinstance(value, str) else default

    def number(self, field: str, default: int = 0) -> int:
        """The whole number ``field`` of the body, up to 2**53 as JSON has it, or ``default``."""
        value = self.body.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST:
            return default
        return value


_decoder = msgspec.json.Decoder(Frame)


def new_id() -> str:
    """A fresh frame id: 16 random bytes, so that two members never choose the same."""
    return secrets.token_urlsafe(16)


def build(frame_type: str, body: Mapping[str, object], frame_id: str) -> bytes:
    """The bytes of one text frame; fields that are None are left out."""
    kept = {name: value for name, value in body.items() if value is not None}
    return msgspec.json.encode({"v": VERSION, "t": frame_type, "id": frame_id, "body": kept})


def parse(payload: bytes) -> Frame:
    """Read one text frame. Unknown fields are ignored. Raises FrameError."""
    try:
        frame = _decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as fault:
        raise FrameError("the relay sent something that is no frame") from fault
    if frame.v != VERSION:
        raise FrameError("the relay speaks another version of the protocol")
    return frame
