"""The frames of wire protocol v1: the only JSON of the chat is read and written here.

Incoming text becomes one of the typed frames below; outgoing frames become the bytes of one
WebSocket text frame, encoded once however many members hear it (RFC 6455 section 5.2).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from twisted_relay.core.errors import Code, RelayError

MAX_MEDIA_BYTES = 10_485_760
MAX_MEDIA_CHUNKS = 128
MAX_LABEL_CHARS = 32

_Id = Annotated[str, msgspec.Meta(min_length=8, max_length=256)]
_RoomId = Annotated[str, msgspec.Meta(min_length=8, max_length=128)]
_Token = Annotated[str, msgspec.Meta(min_length=8, max_length=2048)]
_Part = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class _Body(msgspec.Struct):
    """Unknown fields are ignored, and so never relayed."""


class EmptyBody(_Body):
    """The body of PING."""


class CreateBody(_Body):
    label: str | None = None


class JoinBody(_Body):
    roomId: _RoomId
    qrToken: _Token | None = None
    token: _Token | None = None
    label: str | None = None


class LeaveBody(_Body):
    roomId: _RoomId


class AppBody(_Body):
    roomId: _RoomId
    ciphertextB64: str


class MediaBody(_Body, omit_defaults=True):
    roomId: _RoomId
    mime: Annotated[str, msgspec.Meta(max_length=128)]
    size: int | str
    chunkSize: int | str
    chunks: Annotated[list[str], msgspec.Meta(min_length=1)]
    mediaId: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    part: _Part | None = None
    parts: _Part | None = None


class Frame(msgspec.Struct, tag_field="t"):
    """What every client frame has; `id` is the client's, and answers carry it as ``re``."""

    v: Literal[1]
    id: _Id


class RoomCreate(Frame, tag="ROOM_CREATE"):
    body: CreateBody


class JoinRequest(Frame, tag="JOIN_REQUEST"):
    body: JoinBody


class Leave(Frame, tag="LEAVE"):
    body: LeaveBody


class AppMsg(Frame, tag="APP_MSG"):
    body: AppBody


class MediaMsg(Frame, tag="MEDIA_MSG"):
    body: MediaBody


class Ping(Frame, tag="PING"):
    body: EmptyBody


ClientFrame = RoomCreate | JoinRequest | Leave | AppMsg | MediaMsg | Ping
CLIENT_TYPES = ("ROOM_CREATE", "JOIN_REQUEST", "LEAVE", "APP_MSG", "MEDIA_MSG", "PING")

_decoder = msgspec.json.Decoder(ClientFrame)
_encoder = msgspec.json.Encoder()
_FIELD = re.compile(
    r"(?:field `(?P<missing>[A-Za-z0-9]+)`)?(?:(?: - )?at `\$\.?(?P<at>[A-Za-z0-9_.\[\]]*)`)?$"
)
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"


class NotAFrame(Exception):
    """The text is not a JSON object at all; the connection is closed with 1003."""


class InvalidFrame(Exception):
    """A JSON object that is no valid frame, or asks for too much.

    Attributes:
        error: what the client is told.
        re: the id to answer, if the frame had a legible one.
        kind: the frame's type if it is a known one, for the counters.
    """

    def __init__(self, error: RelayError, re: str | None, kind: str | None = None) -> None:
        self.error = error
        self.re = re
        self.kind = kind
        super().__init__(error.code.value)


def decode(payload: bytes, max_ciphertext_chars: int) -> ClientFrame:
    """The frame that a client's text message holds.

    Raises:
        NotAFrame: not a JSON object (also: nested too deeply to be looked at).
        InvalidFrame: a JSON object, but no frame of this protocol.
    """
    try:
        frame: ClientFrame = _decoder.decode(payload)
    except msgspec.ValidationError as fault:
        raise _invalid(payload, fault) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unreadable(payload) from None
    if type(frame) is AppMsg:
        text = frame.body.ciphertextB64
        if len(text) > max_ciphertext_chars:
            raise InvalidFrame(RelayError(Code.CIPHERTEXT_TOO_LARGE), frame.id, "APP_MSG")
        if not _is_base64(text):
            raise InvalidFrame(_fault("body.ciphertextB64"), frame.id, "APP_MSG")
    elif type(frame) is MediaMsg:
        _check_media(frame)
    elif type(frame) is JoinRequest and (frame.body.qrToken or frame.body.token) is None:
        raise InvalidFrame(_fault("body.qrToken"), frame.id, "JOIN_REQUEST")
    return frame


def _is_base64(text: str) -> bool:
    """Whether `text` is base64 or base64url by its alphabet; nothing is decoded.

    `bytes.translate` looks at 4 KB in a few microseconds, where a regular expression takes tens.
    """
    try:
        raw = text.encode("ascii")
    except UnicodeEncodeError:
        return False
    padding = raw.translate(None, _BASE64)
    return bool(raw) and padding in (b"", b"=", b"==") and raw.endswith(padding) and raw != padding


def _check_media(frame: MediaMsg) -> None:
    body = frame.body
    body.size = _number(body.size, "body.size", 1, frame)
    body.chunkSize = _number(body.chunkSize, "body.chunkSize", 1024, frame)
    if body.size > MAX_MEDIA_BYTES or len(body.chunks) > MAX_MEDIA_CHUNKS:
        raise InvalidFrame(RelayError(Code.MEDIA_TOO_LARGE), frame.id, "MEDIA_MSG")
    if not all(map(_is_base64, body.chunks)):
        raise InvalidFrame(_fault("body.chunks"), frame.id, "MEDIA_MSG")


def _number(value: int | str, field: str, least: int, frame: MediaMsg) -> int:
    if isinstance(value, str):
        # 16 digits hold every allowed value; int() on a long string would cost quadratic time.
        if not (value.isascii() and value.isdigit() and len(value) <= 16):
            raise InvalidFrame(_fault(field), frame.id, "MEDIA_MSG")
        value = int(value)
    if value < least:
        raise InvalidFrame(_fault(field), frame.id, "MEDIA_MSG")
    return value


def _fault(field: str) -> RelayError:
    return RelayError(Code.INVALID_MESSAGE, f"The field {field} is missing or not valid.")


class _Legible(msgspec.Struct):
    id: Any = None
    t: Any = None


_legible = msgspec.json.Decoder(_Legible)


def _invalid(payload: bytes, fault: msgspec.ValidationError) -> InvalidFrame | NotAFrame:
    try:
        # The typed decoder stops at the first fault: is what follows JSON at all?
        seen = _legible.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _unreadable(payload)
    # Only the path is taken from the decoder's text; the rest may quote the client.
    match = _FIELD.search(str(fault))
    field = ".".join(filter(None, match.group("at", "missing"))) if match else ""
    legible = isinstance(seen.id, str) and 1 <= len(seen.id) <= 256
    kind = seen.t if isinstance(seen.t, str) and seen.t in CLIENT_TYPES else None
    return InvalidFrame(_fault(field or "t"), seen.id if legible else None, kind)


def _unreadable(payload: bytes) -> InvalidFrame | NotAFrame:
    """What to say of a text that the strict decoder cannot read.

    A client that cuts a label inside an emoji sends half a surrogate pair as an escape: that is a
    JSON object by its grammar, which only means no text. Numbers are not even looked at, since
    they may be thousands of digits long.
    """
    try:
        seen = json.loads(
            payload.decode(), parse_int=str, parse_float=str, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        return NotAFrame()
    if not isinstance(seen, dict):
        return NotAFrame()
    id, kind = seen.get("id"), seen.get("t")
    legible = isinstance(id, str) and 1 <= len(id) <= 256 and id.isprintable()
    error = RelayError(Code.INVALID_MESSAGE, "The message holds a text or number out of range.")
    return InvalidFrame(
        error,
        id if legible else None,
        kind if isinstance(kind, str) and kind in CLIENT_TYPES else None,
    )


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are no JSON (RFC 8259 section 6)


def framed(payload: bytes) -> bytes:
    """`payload` as one unmasked, final WebSocket text frame."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def encode(kind: str, id: str, body: Mapping[str, Any], re: str | None = None) -> bytes:
    """A server frame, ready for the transport. `re` is the id of the frame that it answers."""
    envelope: dict[str, Any] = {"v": 1, "t": kind, "id": id}
    if re is not None:
        envelope["re"] = re
    envelope["body"] = body
    return framed(_encoder.encode(envelope))


def encode_app_msg(frame: AppMsg, member_id: str) -> bytes:
    """A member's message as the room hears it: the sender's id, and who sent it."""
    body = frame.body
    return encode(
        "APP_MSG",
        frame.id,
        {"roomId": body.roomId, "ciphertextB64": body.ciphertextB64, "memberId": member_id},
    )


def encode_media_msg(frame: MediaMsg, member_id: str, label: str) -> bytes:
    """A member's media as the others hear it; the relay says whose it is."""
    body = msgspec.to_builtins(frame.body)
    body |= {"from": label, "memberId": member_id}
    return encode("MEDIA_MSG", frame.id, body)


def encode_error(error: RelayError, id: str, re: str | None) -> bytes:
    """The ERROR frame for a refusal."""
    body: dict[str, Any] = {
        "code": error.code.value,
        "retryable": error.retryable,
        "message": error.message,
    }
    if error.retry_after_ms is not None:
        body["retryAfterMs"] = error.retry_after_ms
    return encode("ERROR", id, body, re)
