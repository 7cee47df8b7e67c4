"""What members say to each other inside the ciphertext: JSON, told apart by its ``type``."""

import msgspec

from .errors import ClientError


class UnknownMessage(ClientError):
    """It was decrypted, and is not a message of this format."""


class TextMessage(msgspec.Struct, frozen=True, rename={"sender": "from"}, tag="text"):
    """What a person said: ``ts`` in Unix milliseconds, ``sender`` the name they give themselves.

    Whoever holds the room key can write any ``sender``: the key proves membership, not identity.
    """

    id: str
    ts: int
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
    ts: int
    sender: str
    media_id: str
    name: str
    mime: str
    size: int
    sha256: str


_decoder = msgspec.json.Decoder(TextMessage | FileMessage)


def encode(message: TextMessage | FileMessage) -> bytes:
    """The plaintext of a message."""
    return msgspec.json.encode(message)


def decode(plaintext: bytes) -> TextMessage | FileMessage:
    """The message in a plaintext. Raises UnknownMessage, also for kinds that came later."""
    try:
        return _decoder.decode(plaintext)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as fault:
        raise UnknownMessage("a message of a kind that this client does not know") from fault
