"""Encryption as a layer of its own: what a cipher must do, and the standard one.

Sealed text is base64url without padding of a 12-byte nonce and the AES-256-GCM ciphertext with its
tag. The context is GCM's additional data: it names what the text is for, and is not sent.
"""

import secrets
from typing import Protocol, Self

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .base64url import from_base64url, to_base64url
from .errors import ClientError

KEY_BYTES = 32
NONCE_BYTES = 12
CHAT_CONTEXT = b"chat:v1"
"""The context of messages; pieces of files have contexts of their own (``media.context``)."""


class CipherError(ClientError):
    """What came cannot be opened: another key, another context, or it is damaged."""


class Cipher(Protocol):
    """What a conversation asks of its encryption."""

    def seal(self, plaintext: bytes, context: bytes) -> str:
        """Encrypt; the answer is base64 or base64url text. ``context`` must be authenticated."""

    def open(self, sealed: str, context: bytes) -> bytes:
        """Decrypt what was sealed with the same ``context``. Raises CipherError."""


@attrs.frozen
class RoomCipher:
    """AES-256-GCM under the room key, the standard cipher. The key never leaves the clients."""

    key: bytes = attrs.field(repr=False)
    _aes: AESGCM = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise CipherError(f"a room key is {KEY_BYTES} bytes, not {len(self.key)}")
        object.__setattr__(self, "_aes", AESGCM(self.key))

    @classmethod
    def generate(cls) -> Self:
        """A cipher under a new random key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def seal(self, plaintext: bytes, context: bytes) -> str:
        """Encrypt under a fresh random nonce."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return to_base64url(nonce + self._aes.encrypt(nonce, plaintext, context))

    def open(self, sealed: str, context: bytes) -> bytes:
        """Decrypt. Raises CipherError."""
        try:
            data = from_base64url(sealed)
            return self._aes.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as fault:
            raise CipherError("cannot decrypt: another room key, or a damaged message") from fault
