"""AES-256-GCM under a room key: the ciphertext format that the web client also speaks.

base64url without padding of a 12-byte nonce followed by ciphertext and tag; additional data
``chat:v1``; the plaintext is JSON ``{"type": "text", "id", "ts", "from", "text"}``.
"""

import base64
import binascii
import secrets
from typing import Self

import attrs
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import ClientError

KEY_BYTES = 32
NONCE_BYTES = 12
ADDITIONAL_DATA = b"chat:v1"


class CipherError(ClientError):
    """The key does not fit, or what was decrypted is not a message of this format."""


def to_base64url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The inverse; takes either alphabet and optional padding. Raises ValueError."""
    plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        padded = plain.encode("ascii") + b"=" * (-len(plain) % 4)
        return base64.b64decode(padded, validate=True)
    except (UnicodeEncodeError, binascii.Error) as fault:
        raise ValueError("not base64url") from fault


class TextMessage(msgspec.Struct, frozen=True, rename={"sender": "from"}, tag="text"):
    """What a person said: ``ts`` in Unix milliseconds, ``sender`` the name they give themselves.

    Whoever holds the room key can write any ``sender``: the key proves membership, not identity.
    """

    id: str
    ts: int
    sender: str
    text: str


_texts = msgspec.json.Decoder(TextMessage)


@attrs.frozen
class RoomCipher:
    """Seals and opens what members say to each other. The key never leaves the clients."""

    key: bytes = attrs.field(repr=False)

    @key.validator
    def _check(self, _attribute: object, value: bytes) -> None:
        if len(value) != KEY_BYTES:
            raise CipherError(f"a room key is {KEY_BYTES} bytes, not {len(value)}")

    @classmethod
    def generate(cls) -> Self:
        """A cipher under a new random key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def seal(self, plaintext: bytes) -> str:
        """Encrypt under a fresh random nonce."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return to_base64url(nonce + AESGCM(self.key).encrypt(nonce, plaintext, ADDITIONAL_DATA))

    def open(self, ciphertext: str) -> bytes:
        """Decrypt. Raises CipherError for a wrong key, a changed text, or no ciphertext at all."""
        try:
            data = from_base64url(ciphertext)
            nonce, sealed = data[:NONCE_BYTES], data[NONCE_BYTES:]
            return AESGCM(self.key).decrypt(nonce, sealed, ADDITIONAL_DATA)
        except (InvalidTag, ValueError) as fault:
            raise CipherError("cannot decrypt: another room key, or a damaged message") from fault

    def seal_text(self, message: TextMessage) -> str:
        """Encrypt a text message."""
        return self.seal(msgspec.json.encode(message))

    def open_text(self, ciphertext: str) -> TextMessage:
        """Decrypt a text message. Raises CipherError, also for other kinds of message."""
        try:
            return _texts.decode(self.open(ciphertext))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as fault:
            raise CipherError("a message of a kind that this client does not know") from fault
