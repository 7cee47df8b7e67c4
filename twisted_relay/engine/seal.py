"""Seals what instances say to each other, so that only they can read it or can have said it.

A sealed envelope is ``version (1 byte) + length of the lease (1 byte) + lease + sequence number
(8 bytes, big endian) + ciphertext``. The ciphertext is AES-256-GCM (NIST SP 800-38D), which ends in
its 16 byte MAC, of the items as MessagePack. Each lease has a key of its own, derived from the
shared one, and its sequence numbers are the nonces: no nonce is used twice with a key, as no lease
name and, within a lease, no number is. The MAC also covers the room's id and all that stands before
the ciphertext, so that nothing can be moved from one room, lease or place to another.

Redis sees which channel is busy and how much is said; no label, no room id, no ciphertext of a
member's. What was said once and is said again is known by its number (`twisted_relay.core.span`).
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twisted_relay.core.bus import Envelope, Item

_VERSION = 1
_SEQUENCE_BYTES = 8
_NONCE_BYTES = 12
#: Leases whose keys are kept at hand.
_LEASES_AT_HAND = 4096

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Item, ...])


class Seal:
    """Closes and opens envelopes.

    Args:
        keys: the first seals, each opens, so that secrets can be changed one instance after
            another.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._cipher = functools.lru_cache(maxsize=_LEASES_AT_HAND)(_cipher)
        self.change(keys)

    def change(self, keys: Sequence[bytes]) -> None:
        """Seal and open by these from now on. A lease's sequence numbers must go on counting."""
        self._keys = tuple(keys)

    def close(self, room_id: str, envelope: Envelope) -> bytes:
        """The bytes for a room's channel."""
        lease = envelope.lease.encode()
        head = bytes((_VERSION, len(lease))) + lease
        head += envelope.sequence.to_bytes(_SEQUENCE_BYTES, "big")
        cipher = self._cipher(self._keys[0], lease)
        content = _encoder.encode(envelope.items)
        return head + cipher.encrypt(_nonce(envelope.sequence), content, head + room_id.encode())

    def open(self, room_id: str, data: bytes) -> Envelope | None:
        """What the bytes say; None if no relay that knows a key said that of this room."""
        end = 2 + data[1] + _SEQUENCE_BYTES if len(data) > 1 and data[0] == _VERSION else 0
        if not 0 < end < len(data):
            return None
        head, lease = data[:end], data[2 : end - _SEQUENCE_BYTES]
        sequence = int.from_bytes(head[-_SEQUENCE_BYTES:], "big")
        for key in self._keys:
            try:
                content = self._cipher(key, lease).decrypt(
                    _nonce(sequence), data[end:], head + room_id.encode()
                )
                return Envelope(lease.decode(), sequence, _decoder.decode(content))
            except InvalidTag:
                continue
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                break
        return None


def _cipher(key: bytes, lease: bytes) -> AESGCM:
    return AESGCM(hmac.digest(key, lease, hashlib.sha256))


def _nonce(sequence: int) -> bytes:
    return sequence.to_bytes(_NONCE_BYTES, "big")
