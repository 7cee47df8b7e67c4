"""What members say to each other inside the ciphertext: JSON, told apart by its ``type``."""

from typing import Annotated

import msgspec

from .errors import ClientError

Time = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
"""Unix milliseconds, until the end of the year 9999: what a calendar can show."""


class UnknownMessage(ClientError):
    """It was decrypted, and is not a message of this format."""


class TextMessage(msgspec.Struct, frozen=True, rename={"sender": "from"}, tag="text"):
    """What a person said: ``ts`` in Unix milliseconds, ``sender`` the name they give themselves.

    Whoever holds the room key can write any ``sender``: the key proves membership, not identity.
    """

    id: str
    ts: Time
    sender: str
    text: str


class FileMessage(
    msgspec.Struct,
    frozen=True,
    rename={"sender": "from", "media_id": "mediaId"},
    tag="file",
):
    """Announces a file: its pieces follow as media frames with this ``media_id``.

    ``size`` in bytes, ``sha256`` of the content in lower-case hexadecimal digits.
    """

    id: str
    ts: Time
    sender: str
    media_id: str
    name: str
    mime: str
    size: int
    sha256: str


_decoder = msgspec.json.Decoder(TextMessage | FileMessage)


def encode(message: TextMessage | FileMessage) -> bytes:
    """The plaintext of a message. Raises ClientError for what is no text in any encoding."""
    try:
        return msgspec.json.encode(message)
    except UnicodeEncodeError as fault:
        raise ClientError("half a character (a lone surrogate) cannot be sent") from fault


def decode(plaintext: bytes) -> TextMessage | FileMessage:
    """The message in a plaintext. Raises UnknownMessage, also for kinds that came later."""
    try:
        return _decoder.decode(plaintext)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as fault:
        raise UnknownMessage("a message of a kind that this client does not know") from fault
